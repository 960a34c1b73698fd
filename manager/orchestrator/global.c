#include "global.h"

#include "restart.h"
#include "slot.h"
#include "updater.h"

#include "common/mem.h"

#include <stdlib.h>
#include <string.h>

static struct slot *find_slot(const struct slots *slots, size_t loaded, const char *node_id)
{
	size_t low = 0, high = loaded;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		int order = strcmp(node_id, slots->v[mid].node_id);

		if (order == 0)
			return &slots->v[mid];
		if (order < 0)
			high = mid;
		else
			low = mid + 1;
	}
	return NULL;
}

static bool is_eligible(struct plan *p, const pb_service *service, const pb_node *node)
{
	const pb_task_spec *spec = service_task_spec(service);

	return node_state(node) != NODE_DOWN && node_availability(node) != AVAILABILITY_DRAIN &&
	       p->meets_constraints(spec ? spec->placement : NULL, node);
}

/* Nobody waits for the tasks of a paused node; one that ended is not followed by another. */
static void freeze(struct plan *p, struct slot *slot)
{
	slot->frozen = true;
	for (size_t i = 0; i < slot->n; i++)
		if (task_live(slot->tasks[i]) && task_ended(slot->tasks[i]))
			slot_desire(p, slot, i, TASK_SHUTDOWN);
}

/* What is there already. */
static void plan_slot(struct plan *p, const pb_service *service, struct slot *slot)
{
	const pb_node *node = view_node(p->view, slot->node_id);

	if (!node) {
		slot->gone = true;
		slot_desire_all(p, slot, TASK_REMOVE, false);
		return;
	}
	if (!is_eligible(p, service, node)) {
		slot->gone = true;
		slot_desire_all(p, slot, TASK_SHUTDOWN, true);
		return;
	}
	if (node_availability(node) == AVAILABILITY_PAUSE) {
		freeze(p, slot);
		return;
	}
	restart_slot(p, service, slot);
	restart_dedupe(p, service, slot);
	if (!slot_is_live(slot) && !restart_slot_finished(p, service, slot))
		restart_fill(p, service, slot);
}

/* Nodes that have had no task of the service yet. */
static void add_slots(struct plan *p, const pb_service *service, struct slots *slots)
{
	_cleanup_free_ const void **nodes = NULL;
	size_t n, loaded = slots->n;

	nodes = view_list(p->view, KIND_NODE, &n);
	for (size_t i = 0; i < n; i++) {
		const pb_node *node = nodes[i];

		if (node_availability(node) != AVAILABILITY_ACTIVE ||
		    !is_eligible(p, service, node) || find_slot(slots, loaded, node->id))
			continue;
		if (!restart_fill(p, service, slots_add(slots, 0, node->id)))
			return;
	}
}

void global_plan(struct plan *p, const pb_service *service)
{
	struct slots slots;

	slots_load(&slots, p, service);
	for (size_t i = 0; i < slots.n; i++)
		slot_orphan(p, &slots.v[i]);
	updater_check(p, service, &slots);
	service = view_service(p->view, service->id);
	for (size_t i = 0; i < slots.n; i++)
		plan_slot(p, service, &slots.v[i]);
	add_slots(p, service, &slots);
	updater_step(p, service, &slots);
	for (size_t i = 0; i < slots.n; i++)
		if (!slots.v[i].gone && !slots.v[i].frozen)
			restart_promote(p, service, &slots.v[i], updater_starts_first(service));
	slots_fini(&slots);
}
