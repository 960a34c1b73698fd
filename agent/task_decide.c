#include "task.h"

static enum task_action decide_stop(const struct task_facts *f)
{
	if (f->op == OP_IMAGE)
		return ACT_CANCEL;
	if (f->op != OP_NONE)
		return ACT_NONE;
	if (f->running)
		return f->stopping ? ACT_NONE : ACT_STOP;
	return ACT_SHUTDOWN;
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
	if (f->state == TASK_PREPARING)
		return f->has_container ? ACT_READY : ACT_CREATE;
	if (f->state == TASK_READY && f->desired >= TASK_RUNNING)
		return ACT_START;
	return ACT_NONE;
}

static enum task_action decide_ended(const struct task_facts *f)
{
	if (f->assigned || f->op != OP_NONE)
		return ACT_NONE;
	return f->has_container ? ACT_REMOVE : ACT_FORGET;
}

enum task_action task_decide(const struct task_facts *f)
{
	if (f->state > TASK_RUNNING)
		return decide_ended(f);
	if (!f->assigned || f->desired > TASK_RUNNING)
		return decide_stop(f);
	return decide_go(f);
}

int task_state_of_exit(int exit_code, bool stop_was_asked)
{
	if (stop_was_asked)
		return TASK_SHUTDOWN;
	return exit_code == 0 ? TASK_COMPLETE : TASK_FAILED;
}
