#include "enforcer.h"

#include "slot.h"

#include "common/mem.h"

/* What the node has left as its tasks are gone through. */
struct room {
	int64_t cpu_nano, mem_bytes;
};

static bool take(struct room *room, const pb_task *task)
{
	const Skein__ResourceRequirements *resources = task->spec ? task->spec->resources : NULL;
	const pb_resources *r = resources ? resources->reservations : NULL;

	if (!r)
		return true;
	if ((r->mem_bytes > 0 && r->mem_bytes > room->mem_bytes) ||
	    (r->cpu_nano > 0 && r->cpu_nano > room->cpu_nano))
		return false;
	room->mem_bytes -= r->mem_bytes;
	room->cpu_nano -= r->cpu_nano;
	return true;
}

/*
 * The constraints that count: the service's present ones, also for a task that was not replaced
 * when only they changed. A task of an older spec keeps its own: replacing it is up to the update,
 * in the update's pace.
 */
static const pb_placement *placement_of(struct plan *p, const pb_task *task, const pb_node *node)
{
	const pb_service *service = view_service(p->view, task->service_id);
	const pb_task_spec *wanted = service ? service_task_spec(service) : NULL;

	if (wanted && !slot_task_outdated(p, service, task))
		return wanted->placement;
	return task->spec ? task->spec->placement : NULL;
}

static void reject(struct plan *p, const pb_task *task)
{
	pb_task *copy = plan_edit(p, task);

	plan_status(p, copy, TASK_REJECTED, "task rejected by constraint enforcer",
		    "assigned node no longer meets constraints");
	plan_put(p, copy);
}

static void enforce(struct plan *p, const pb_node *node)
{
	const pb_resources *capacity = node->description ? node->description->capacity : NULL;
	_cleanup_free_ const pb_task **tasks = NULL;
	struct room room = {0};
	size_t n;

	/* Without a description (the node has not registered yet) nothing is known about it. */
	if (node_availability(node) != AVAILABILITY_ACTIVE || !capacity)
		return;
	room = (struct room){capacity->cpu_nano, capacity->mem_bytes};
	tasks = view_tasks_of_node(p->view, node->id, &n);
	for (size_t i = 0; i < n; i++) {
		if (!task_live(tasks[i]) || !task_on_node(tasks[i]))
			continue;
		if (task_moving(p->view, tasks[i])) {
			take(&room, tasks[i]);
			continue;
		}
		if (!p->meets_constraints(placement_of(p, tasks[i], node), node) ||
		    !take(&room, tasks[i]))
			reject(p, tasks[i]);
	}
}

void enforcer_plan(struct plan *p)
{
	_cleanup_free_ const void **nodes = NULL;
	size_t n;

	if (p->dirty->all) {
		nodes = view_list(p->view, KIND_NODE, &n);
		for (size_t i = 0; i < n; i++)
			enforce(p, nodes[i]);
		return;
	}
	for (struct idset_entry *e = p->dirty->nodes.entries; e; e = e->hh.next) {
		const pb_node *node = view_node(p->view, e->id);

		if (node)
			enforce(p, node);
	}
}
