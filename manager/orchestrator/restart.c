#include "restart.h"

#include "updater.h"

#include "common/clock.h"
#include "common/mem.h"

#define DELAY_DEFAULT_NS (5 * NS_PER_SEC)

static bool ended_by_itself(const pb_task *task)
{
	int state = task_state(task);

	return state == TASK_COMPLETE || state == TASK_FAILED || state == TASK_REJECTED;
}

/* ---- policy */

static int condition_of(const pb_task *task)
{
	const pb_restart_policy *policy = task->spec ? task->spec->restart : NULL;

	return policy ? (int)policy->condition : RESTART_ANY;
}

static int64_t delay_of(const pb_task *task)
{
	const pb_restart_policy *policy = task->spec ? task->spec->restart : NULL;

	return policy ? MAX(policy->delay, 0) : DELAY_DEFAULT_NS;
}

/*
 * Restarts that this version had in the slot until the task ended. Each follows a task that ended
 * by itself; the oldest of those was not a restart, or, when history dropped older ones, lies
 * before all that count: the reaper keeps max_attempts + 1 tasks.
 */
static uint64_t attempts(const struct slot *slot, const pb_task *task, int64_t window)
{
	bool first = true;
	uint64_t n = 0;

	for (size_t i = 0; i < slot->n; i++) {
		const pb_task *t = slot->tasks[i];

		if (t->spec_version != task->spec_version || !ended_by_itself(t))
			continue;
		if (!first && (!window || task_created_at(t) > task->status->at - window))
			n++;
		first = false;
		if (t == task)
			break;
	}
	return n;
}

bool restart_wanted(const struct slot *slot, const pb_task *task)
{
	const pb_restart_policy *policy = task->spec ? task->spec->restart : NULL;
	int condition = condition_of(task);

	if (!ended_by_itself(task))
		/* A global service runs on each node that is there, so coming back is not a
		 * restart. */
		return condition != RESTART_NONE || slot->node_id;
	if (condition == RESTART_NONE ||
	    (condition == RESTART_ON_FAILURE && task_state(task) == TASK_COMPLETE))
		return false;
	if (!policy || !policy->max_attempts)
		return true;
	return attempts(slot, task, policy->window) < policy->max_attempts;
}

const pb_task *restart_last(struct plan *p, const pb_service *service, const struct slot *slot)
{
	/* After a rollback the task that ran on is older than those that were tried. */
	for (size_t i = slot->n; i-- > 0;)
		if (!slot_task_outdated(p, service, slot->tasks[i]))
			return slot->tasks[i];
	return slot_newest(slot);
}

bool restart_slot_finished(struct plan *p, const pb_service *service, const struct slot *slot)
{
	const pb_task *last;

	if (!slot->n || slot_is_live(slot))
		return false;
	last = restart_last(p, service, slot);
	return last->desired == (Skein__TaskState)TASK_SHUTDOWN && !restart_wanted(slot, last);
}

/* ---- why a live task cannot stay */

enum verdict { KEEP, ENDED, LOST, DRAINED };

static enum verdict judge(struct plan *p, const pb_task *task)
{
	const pb_node *node = *task->node_id ? view_node(p->view, task->node_id) : NULL;

	if (*task->node_id && (!node || node_state(node) == NODE_DOWN))
		return LOST;
	/* What is to be moved from there waits for its turn. */
	if (node && node_availability(node) == AVAILABILITY_DRAIN && (task_ended(task) || !view_migration_from(p->view, task->id)))
		return DRAINED;
	if (!task_ended(task))
		return KEEP;
	/* It failed before its own delay was over (its image is not there, say): no faster than
	 * that. */
	if (task->start_after > p->now) {
		plan_wake(p, task->service_id, task->start_after);
		return KEEP;
	}
	return ENDED;
}

static bool has_current(struct plan *p, const pb_service *service, const struct slot *slot,
			const pb_task *but)
{
	for (size_t i = 0; i < slot->n; i++)
		if (slot->tasks[i] != but && task_live(slot->tasks[i]) &&
		    !slot_task_outdated(p, service, slot->tasks[i]))
			return true;
	return false;
}

/* Its node is being drained, and it runs on until its successor does. */
static bool stays_meanwhile(struct plan *p, const pb_service *service, const pb_task *task)
{
	return updater_starts_first(service) && !service_is_global(service) && task_state(task) == TASK_RUNNING &&
	       (int)task->desired == TASK_RUNNING && !slot_task_outdated(p, service, task) && judge(p, task) == DRAINED;
}

static bool current_runs(struct plan *p, const pb_service *service, const struct slot *slot, const pb_task *but)
{
	for (size_t i = 0; i < slot->n; i++)
		if (slot->tasks[i] != but && task_live(slot->tasks[i]) && task_state(slot->tasks[i]) == TASK_RUNNING &&
		    !slot_task_outdated(p, service, slot->tasks[i]))
			return true;
	return false;
}

static int64_t successor_start(struct plan *p, const pb_service *service, const pb_task *old,
			       enum verdict verdict)
{
	/* The delay is there for what failed to be tried again; another spec is something else. */
	if (slot_task_outdated(p, service, old))
		return 0;
	if (verdict == ENDED)
		return p->now + delay_of(old);
	/* A delay that was running goes on elsewhere. */
	return old->start_after > p->now ? old->start_after : 0;
}

/*
 * The successor is staged first and as READY: should only a part of the plan be committed, neither
 * is the slot forgotten nor do two tasks want to run in it. restart_promote() starts it in a later
 * round.
 */
static void succeed(struct plan *p, const pb_service *service, struct slot *slot, size_t i,
		    enum verdict verdict)
{
	const pb_task *old = slot->tasks[i];

	if (verdict == DRAINED && stays_meanwhile(p, service, old) && !current_runs(p, service, slot, old)) {
		if (!has_current(p, service, slot, old) && restart_wanted(slot, old))
			slot_create(p, service, slot, TASK_RUNNING, 0);
		return;
	}
	if (!has_current(p, service, slot, old) && restart_wanted(slot, old) &&
	    !slot_create(p, service, slot, TASK_READY, successor_start(p, service, old, verdict)))
		return;
	slot_desire(p, slot, i, TASK_SHUTDOWN);
}

void restart_slot(struct plan *p, const pb_service *service, struct slot *slot)
{
	size_t n = slot->n;

	for (size_t i = 0; i < n; i++) {
		enum verdict verdict;

		if (!task_live(slot->tasks[i]))
			continue;
		verdict = judge(p, slot->tasks[i]);
		if (verdict != KEEP)
			succeed(p, service, slot, i, verdict);
	}
}

bool restart_fill(struct plan *p, const pb_service *service, struct slot *slot)
{
	const pb_task *last = slot->n ? restart_last(p, service, slot) : NULL;
	int64_t start_after = 0;
	bool wait;

	if (last && last->desired == (Skein__TaskState)TASK_SHUTDOWN && ended_by_itself(last) &&
	    !slot_task_outdated(p, service, last))
		start_after = p->now + delay_of(last);
	wait = start_after > p->now || slot_must_wait(p, slot, NULL);
	return slot_create(p, service, slot, wait ? TASK_READY : TASK_RUNNING, start_after) != NULL;
}

/* ---- more than one */

/* Which of two live tasks rather stays: the one that is wanted to run, that is further, that is
 * older. */
static bool better(const pb_task *a, const pb_task *b)
{
	if (a->desired != b->desired)
		return a->desired > b->desired;
	return task_state(a) > task_state(b);
}

void restart_dedupe(struct plan *p, const pb_service *service, struct slot *slot)
{
	size_t best[2] = {SIZE_MAX, SIZE_MAX}; /* current, outdated */

	for (size_t i = 0; i < slot->n; i++) {
		size_t *keep, drop = i;

		if (!task_live(slot->tasks[i]) || stays_meanwhile(p, service, slot->tasks[i]))
			continue;
		keep = &best[slot_task_outdated(p, service, slot->tasks[i])];
		if (*keep == SIZE_MAX) {
			*keep = i;
			continue;
		}
		if (better(slot->tasks[i], slot->tasks[*keep])) {
			drop = *keep;
			*keep = i;
		}
		slot_desire(p, slot, drop, TASK_SHUTDOWN);
	}
}

/* ---- READY -> RUNNING */

static bool other_runs(struct plan *p, const pb_service *service, const struct slot *slot,
		       const pb_task *task, bool start_first)
{
	for (size_t i = 0; i < slot->n; i++) {
		const pb_task *other = slot->tasks[i];

		if (other == task || other->desired != (Skein__TaskState)TASK_RUNNING)
			continue;
		if (!start_first || !slot_task_outdated(p, service, other))
			return true;
	}
	return false;
}

/* Delay and old tasks allow it. */
static bool is_due(struct plan *p, const struct slot *slot, const pb_task *task)
{
	int64_t give_up = task_created_at(task) + PLAN_WAIT_FOR_OLD_NS;

	if (task->start_after > p->now) {
		plan_wake(p, task->service_id, task->start_after);
		return false;
	}
	if (give_up <= p->now || !slot_must_wait(p, slot, task))
		return true;
	plan_wake(p, task->service_id, give_up);
	return false;
}

void restart_promote(struct plan *p, const pb_service *service, struct slot *slot, bool start_first)
{
	/* What this round changes is not committed yet; its events bring us back. */
	bool changed = slot->changed;

	for (size_t i = 0; i < slot->n; i++) {
		const pb_task *task = slot->tasks[i];
		pb_task *copy;

		if (task->desired != (Skein__TaskState)TASK_READY || task_ended(task) ||
		    !is_due(p, slot, task))
			continue;
		if (changed || other_runs(p, service, slot, task, start_first))
			continue;
		copy = plan_edit(p, task);
		copy->desired = (Skein__TaskState)TASK_RUNNING;
		copy->start_after = 0;
		slot->tasks[i] = plan_put(p, copy);
	}
}
