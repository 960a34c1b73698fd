#include "task.h"

#include "common/clock.h"
#include "common/mem.h"

#define DRAIN_MAX_NS (5 * NS_PER_SEC)
/* Whoever waits for an answer of it may wait for ever. */
#define UNHEALTHY_DRAIN_NS NS_PER_SEC

static enum task_action decide_running(const struct task_facts *f)
{
	if (f->stopping || f->draining)
		return ACT_NONE;
	/* It stands still, or another copy runs: none of its code may run any more. */
	if (f->move == MOVE_STAND || f->move == MOVE_KILL || f->move == MOVE_DISCARD)
		return ACT_STOP;
	/* Nobody has sent it anything before it was RUNNING. */
	return f->wants_network && !f->network_lost && !f->drained && f->state >= TASK_RUNNING ? ACT_DRAIN : ACT_STOP;
}

static enum task_action decide_stop(const struct task_facts *f)
{
	if (f->op == OP_IMAGE || f->op == OP_NETWORK)
		return ACT_CANCEL;
	if (f->op != OP_NONE)
		return ACT_NONE;
	return f->running ? decide_running(f) : ACT_SHUTDOWN;
}

static enum task_action decide_go(const struct task_facts *f)
{
	if (f->op != OP_NONE)
		return ACT_NONE;
	if (f->state < TASK_ACCEPTED)
		return ACT_ACCEPT;
	if (!f->saved || f->probing)
		return ACT_NONE;
	if (f->state < TASK_PREPARING || (f->state == TASK_PREPARING && !f->has_image))
		return ACT_PREPARE;
	if (f->state == TASK_PREPARING && !f->has_container)
		return f->wants_network && !f->has_network ? ACT_ATTACH : ACT_CREATE;
	if (f->state == TASK_PREPARING)
		return ACT_READY;
	if (f->state == TASK_READY && (f->move == MOVE_HOLD || f->move == MOVE_RESTORE))
		return f->move == MOVE_RESTORE ? ACT_RESTORE : ACT_NONE;
	if (f->state == TASK_READY && f->desired >= TASK_RUNNING)
		return ACT_START;
	if (f->state == TASK_STARTING && f->running && f->ready)
		return ACT_RUNNING;
	return ACT_NONE;
}

/* A drain under way still calls back, within seconds. The addresses go long before the logs: others get them. */
static enum task_action decide_ended(const struct task_facts *f)
{
	if (f->op != OP_NONE || f->draining)
		return ACT_NONE;
	if (f->attached && !f->running)
		return ACT_DETACH;
	/* What was given up leaves nothing, whether or not the manager still knows it. */
	if (f->has_container && (!f->assigned || f->move == MOVE_DISCARD))
		return ACT_REMOVE;
	return f->assigned ? ACT_NONE : ACT_FORGET;
}

enum task_action task_decide(const struct task_facts *f)
{
	if (f->state > TASK_RUNNING)
		return decide_ended(f);
	if (f->move == MOVE_STAND && f->assigned)
		return ACT_NONE;
	if (!f->assigned || f->desired > TASK_RUNNING || f->network_lost || f->unhealthy || f->move == MOVE_KILL ||
	    f->move == MOVE_DISCARD)
		return decide_stop(f);
	return decide_go(f);
}

int task_state_of_exit(int exit_code, bool stop_was_asked)
{
	if (stop_was_asked)
		return TASK_SHUTDOWN;
	return exit_code == 0 ? TASK_COMPLETE : TASK_FAILED;
}

int64_t task_drain_ns(int64_t grace_ns, bool unhealthy)
{
	return MAX(MIN(grace_ns, unhealthy ? UNHEALTHY_DRAIN_NS : DRAIN_MAX_NS), 0);
}
