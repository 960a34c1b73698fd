#include "reaper.h"

#include "slot.h"

#include "common/mem.h"

/* Nothing runs for it any more, as far as can be known. */
static bool is_over(const struct plan *p, const pb_task *task)
{
	const pb_node *node;

	if (task_moving(p->view, task))
		return false;
	if (!task_on_node(task))
		return true;
	node = view_node(p->view, task->node_id);
	return !node || node_state(node) == NODE_DOWN;
}

/* A new task with a restart limit needs its predecessors: they are its count. */
static uint64_t history_limit(const struct plan *p, const pb_task *newest)
{
	const pb_cluster *cluster = view_cluster(p->view);
	const pb_restart_policy *policy = newest->spec ? newest->spec->restart : NULL;

	if (policy && policy->max_attempts)
		return policy->max_attempts + 1;
	if (cluster && cluster->spec && cluster->spec->task_history_limit)
		return cluster->spec->task_history_limit;
	return PLAN_HISTORY_DEFAULT;
}

/* Ended, or never came to a node and never will. */
static bool is_history(const pb_task *task)
{
	return !task_live(task) && (task_ended(task) || task_state(task) < TASK_ASSIGNED);
}

static void reap_slot(struct plan *p, const struct slot *slot)
{
	uint64_t left = slot->n, limit;

	for (size_t i = 0; i < slot->n; i++) {
		if (slot->tasks[i]->desired != (Skein__TaskState)TASK_REMOVE ||
		    !is_over(p, slot->tasks[i]))
			continue;
		txn_del(p->txn, KIND_TASK, slot->tasks[i]->id);
		left--;
	}
	limit = history_limit(p, slot_newest(slot));
	/* The newest stays: it tells whether the slot is finished. */
	for (size_t i = 0; i + 1 < slot->n && left > limit; i++) {
		if (slot->tasks[i]->desired == (Skein__TaskState)TASK_REMOVE ||
		    !is_history(slot->tasks[i]))
			continue;
		txn_del(p->txn, KIND_TASK, slot->tasks[i]->id);
		left--;
	}
}

/* Tasks that waited for a container which did not come. */
static void reap_guests(struct plan *p, const char *service_id)
{
	_cleanup_free_ const pb_task **tasks = NULL;
	size_t n;

	tasks = view_tasks_of_service(p->view, service_id, &n);
	for (size_t i = 0; i < n; i++)
		if (task_is_guest(p->view, tasks[i]) && tasks[i]->desired == (Skein__TaskState)TASK_REMOVE && is_over(p, tasks[i]))
			txn_del(p->txn, KIND_TASK, tasks[i]->id);
}

/* All tasks of a service that is gone are to be removed. */
static void reap_service(struct plan *p, const char *service_id)
{
	_cleanup_free_ const pb_task **tasks = NULL;
	size_t n;

	tasks = view_tasks_of_service(p->view, service_id, &n);
	for (size_t i = 0; i < n; i++)
		if (is_over(p, tasks[i]))
			txn_del(p->txn, KIND_TASK, tasks[i]->id);
}

void reaper_plan(struct plan *p)
{
	for (struct idset_entry *e = p->scope.entries; e; e = e->hh.next) {
		const pb_service *service = view_service(p->view, e->id);
		struct slots slots;

		if (!service) {
			reap_service(p, e->id);
			continue;
		}
		reap_guests(p, e->id);
		slots_load(&slots, p, service);
		for (size_t i = 0; i < slots.n; i++)
			reap_slot(p, &slots.v[i]);
		slots_fini(&slots);
	}
}
