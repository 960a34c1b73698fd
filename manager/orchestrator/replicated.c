#include "replicated.h"

#include "restart.h"
#include "slot.h"
#include "updater.h"

#include "common/mem.h"
#include "common/str.h"

#include <stdlib.h>
#include <string.h>

/* A slot that counts: something runs or will run there, or ended for good. */
static bool is_filled(struct plan *p, const pb_service *service, const struct slot *slot)
{
	return slot_is_live(slot) || restart_slot_finished(p, service, slot);
}

/* ---- scale down */

struct candidate {
	struct slot *slot;
	const char *node_id;
	bool running;
	uint64_t nth; /* of the service on its node, 1..; UINT64_MAX: on none, or on several */
};

static struct candidate candidate_of(struct slot *slot)
{
	struct candidate c = {.slot = slot, .node_id = "", .nth = UINT64_MAX};
	size_t live = 0;

	for (size_t i = 0; i < slot->n; i++) {
		if (!task_live(slot->tasks[i]))
			continue;
		live++;
		c.node_id = slot->tasks[i]->node_id;
		c.running |= task_state(slot->tasks[i]) == TASK_RUNNING;
	}
	if (live != 1)
		c.node_id = "";
	return c;
}

/* Running ones first, then low numbers: the order in which slots of one node are counted. */
static int by_worth(const void *a, const void *b)
{
	const struct candidate *x = a, *y = b;

	if (x->running != y->running)
		return x->running ? -1 : 1;
	return x->slot->number < y->slot->number ? -1 : x->slot->number > y->slot->number;
}

static int by_node_and_worth(const void *a, const void *b)
{
	int order = strcmp(((const struct candidate *)a)->node_id,
			   ((const struct candidate *)b)->node_id);

	return order ? order : by_worth(a, b);
}

/* Those that stay come first: the first of each node, then the second of each, ...; what has no
 * node comes last. */
static int by_balance(const void *a, const void *b)
{
	const struct candidate *x = a, *y = b;

	if (x->nth != y->nth)
		return x->nth < y->nth ? -1 : 1;
	return by_worth(a, b);
}

static void remove_slot(struct plan *p, struct slot *slot)
{
	slot->gone = true;
	if (slot->moving)
		plan_abort(p, slot->moving, "the service was scaled down"); /* first; its end brings us back */
	else
		slot_desire_all(p, slot, TASK_REMOVE, false);
}

static void scale_down(struct plan *p, const pb_service *service, struct slots *slots,
		       uint64_t filled, uint64_t wanted)
{
	_cleanup_free_ struct candidate *all = xcalloc(filled, sizeof(*all));
	size_t n = 0;

	for (size_t i = 0; i < slots->n; i++)
		if (is_filled(p, service, &slots->v[i]))
			all[n++] = candidate_of(&slots->v[i]);
	qsort(all, n, sizeof(*all), by_node_and_worth);
	for (size_t i = 0, nth = 0; i < n; i++) {
		nth = i && str_eq(all[i].node_id, all[i - 1].node_id) ? nth + 1 : 1;
		if (*all[i].node_id)
			all[i].nth = nth;
	}
	qsort(all, n, sizeof(*all), by_balance);
	for (size_t i = wanted; i < n; i++)
		remove_slot(p, all[i].slot);
}

/* ---- scale up */

/* Put tasks into the lowest numbers that are free. slots are by number, as loaded. */
static void scale_up(struct plan *p, const pb_service *service, struct slots *slots,
		     uint64_t missing)
{
	size_t loaded = slots->n, at = 0;

	for (uint64_t number = 1; missing; number++) {
		struct slot *slot = NULL;

		while (at < loaded && slots->v[at].number < number)
			at++;
		if (at < loaded && slots->v[at].number == number) {
			slot = &slots->v[at];
			if (is_filled(p, service, slot))
				continue;
		}
		if (!slot)
			slot = slots_add(slots, number, NULL);
		missing--;
		if (!restart_fill(p, service, slot))
			return;
	}
}

/* History of slots that nothing fills any more. */
static void drop_empty(struct plan *p, const pb_service *service, struct slots *slots)
{
	for (size_t i = 0; i < slots->n; i++)
		if (!slots->v[i].gone && !is_filled(p, service, &slots->v[i]))
			remove_slot(p, &slots->v[i]);
}

static uint64_t count_filled(struct plan *p, const pb_service *service, const struct slots *slots)
{
	uint64_t filled = 0;

	for (size_t i = 0; i < slots->n; i++)
		filled += is_filled(p, service, &slots->v[i]);
	return filled;
}

static void plan_slots(struct plan *p, const pb_service *service, struct slots *slots)
{
	uint64_t wanted = service->spec->replicated ? service->spec->replicated->replicas : 0;
	uint64_t filled = count_filled(p, service, slots);

	if (filled > wanted)
		scale_down(p, service, slots, filled, wanted);
	for (size_t i = 0; i < slots->n; i++) {
		if (slots->v[i].gone || slots->v[i].moving)
			continue;
		restart_slot(p, service, &slots->v[i]);
		restart_dedupe(p, service, &slots->v[i]);
	}
	if (filled < wanted)
		scale_up(p, service, slots, wanted - filled);
	if (p->budget)
		drop_empty(p, service, slots);
	updater_step(p, service, slots);
	for (size_t i = 0; i < slots->n; i++)
		if (!slots->v[i].gone && !slots->v[i].moving)
			restart_promote(p, service, &slots->v[i], updater_starts_first(service));
}

void replicated_plan(struct plan *p, const pb_service *service)
{
	struct slots slots;

	slots_load(&slots, p, service);
	for (size_t i = 0; i < slots.n; i++)
		slot_orphan(p, &slots.v[i]);
	updater_check(p, service, &slots);
	service = view_service(p->view, service->id);
	plan_slots(p, service, &slots);
	slots_fini(&slots);
}
