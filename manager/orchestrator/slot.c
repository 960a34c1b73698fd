#include "slot.h"

#include "common/mem.h"
#include "common/str.h"

#include <stdlib.h>
#include <string.h>

static void slot_append(struct slot *slot, const pb_task *task)
{
	slot->tasks = xreallocarray(slot->tasks, slot->n + 1, sizeof(*slot->tasks));
	slot->tasks[slot->n++] = task;
}

struct slot *slots_add(struct slots *slots, uint64_t number, const char *node_id)
{
	struct slot *slot;

	/* Grown by doubling: n is the only counter. */
	if ((slots->n & (slots->n - 1)) == 0)
		slots->v = xreallocarray(slots->v, slots->n ? 2 * slots->n : 1, sizeof(*slots->v));
	slot = &slots->v[slots->n++];
	*slot = (struct slot){.number = number, .node_id = node_id};
	return slot;
}

static bool in_slot(const struct slot *slot, const pb_task *task)
{
	return slot->node_id ? strcmp(slot->node_id, task->node_id) == 0
			     : slot->number == task->slot;
}

static int by_node(const void *a, const void *b)
{
	const pb_task *x = *(pb_task *const *)a, *y = *(pb_task *const *)b;
	int order = strcmp(x->node_id, y->node_id);

	if (order)
		return order;
	if (task_created_at(x) != task_created_at(y))
		return task_created_at(x) < task_created_at(y) ? -1 : 1;
	return strcmp(x->id, y->id);
}

void slots_load(struct slots *slots, const struct plan *p, const pb_service *service)
{
	_cleanup_free_ const pb_task **tasks = NULL;
	bool global = service_is_global(service);
	size_t n;

	*slots = (struct slots){0};
	tasks = view_tasks_of_service(p->view, service->id, &n);
	if (global)
		qsort(tasks, n, sizeof(*tasks), by_node);
	for (size_t i = 0; i < n; i++) {
		struct slot *slot = slots->n ? &slots->v[slots->n - 1] : NULL;
		const pb_migration *moving = task_moving(p->view, tasks[i]);

		if (task_is_guest(p->view, tasks[i]))
			continue;
		if (!slot || !in_slot(slot, tasks[i]))
			slot = slots_add(slots, tasks[i]->slot, global ? tasks[i]->node_id : NULL);
		slot_append(slot, tasks[i]);
		if (moving)
			slot->moving = moving;
	}
}

void slots_fini(struct slots *slots)
{
	for (size_t i = 0; i < slots->n; i++)
		free(slots->v[i].tasks);
	free(slots->v);
	*slots = (struct slots){0};
}

/* ---- changes */

static void replace(struct slot *slot, size_t i, const pb_task *task)
{
	if (slot->tasks[i] == task)
		return;
	slot->tasks[i] = task;
	slot->changed = true;
}

void slot_desire(struct plan *p, struct slot *slot, size_t i, int desired)
{
	replace(slot, i, plan_desire(p, slot->tasks[i], desired));
}

void slot_desire_all(struct plan *p, struct slot *slot, int desired, bool live_only)
{
	for (size_t i = 0; i < slot->n; i++)
		if (!live_only || task_live(slot->tasks[i]))
			slot_desire(p, slot, i, desired);
}

/* When a node went down, as far as is known. */
static int64_t down_since(const pb_node *node, int64_t now)
{
	return node->status && node->status->since ? node->status->since : now;
}

static bool is_orphan(struct plan *p, const pb_task *task)
{
	const pb_node *node;
	int64_t give_up;

	if (!*task->node_id || !task_on_node(task))
		return false;
	node = view_node(p->view, task->node_id);
	if (!node)
		return true;
	if (node_state(node) != NODE_DOWN)
		return false;
	give_up = down_since(node, p->now) + PLAN_ORPHAN_AFTER_NS;
	if (give_up > p->now)
		plan_wake(p, task->service_id, give_up);
	return give_up <= p->now;
}

void slot_orphan(struct plan *p, struct slot *slot)
{
	for (size_t i = 0; i < slot->n && !slot->moving; i++) {
		pb_task *copy;

		if (!is_orphan(p, slot->tasks[i]))
			continue;
		copy = plan_edit(p, slot->tasks[i]);
		plan_status(p, copy, TASK_ORPHANED, "task orphaned",
			    view_node(p->view, copy->node_id)
				    ? "node has been down for more than 24 hours"
				    : "node was removed");
		replace(slot, i, plan_put(p, copy));
	}
}

static void copy_labels(pb_task *task, const pb_service_spec *spec)
{
	for (size_t i = 0; i < spec->n_labels; i++)
		pb_kv_set(&task->n_service_labels, &task->service_labels, spec->labels[i]->key,
			  spec->labels[i]->value);
}

const pb_task *slot_create(struct plan *p, const pb_service *service, struct slot *slot,
			   int desired, int64_t start_after)
{
	char id[ID_LEN + 1];
	pb_task *task;

	if (!p->budget) {
		plan_wake(p, service->id, p->now);
		return NULL;
	}
	p->budget--;
	p->new_id(p->id_data, id);
	task = pb_new(&skein__task__descriptor);
	pb_set_str(&task->id, id);
	task->meta = pb_new(&skein__meta__descriptor);
	/* Behind what the slot had, whatever a clock did. */
	task->meta->created_at =
		slot->n ? MAX(p->now, task_created_at(slot_newest(slot)) + 1) : p->now;
	pb_set_str(&task->service_id, service->id);
	pb_set_str(&task->service_name, service->spec->name);
	task->slot = slot->node_id ? 0 : slot->number;
	pb_set_str(&task->node_id, slot->node_id);
	task->spec_version = service->spec_version;
	pb_set_msg(&task->spec, service_task_spec(service));
	task->desired = (Skein__TaskState)desired;
	task->start_after = start_after;
	task->status = pb_new(&skein__task_status__descriptor);
	plan_status(p, task, TASK_NEW, "created", NULL);
	copy_labels(task, service->spec);
	slot_append(slot, plan_put(p, task));
	slot->changed = true;
	return task;
}

/* ---- questions */

bool slot_is_live(const struct slot *slot)
{
	for (size_t i = 0; i < slot->n; i++)
		if (task_live(slot->tasks[i]))
			return true;
	return false;
}

const pb_task *slot_newest(const struct slot *slot)
{
	return slot->n ? slot->tasks[slot->n - 1] : NULL;
}

bool slot_must_wait(const struct plan *p, const struct slot *slot, const pb_task *task)
{
	for (size_t i = 0; i < slot->n; i++) {
		const pb_task *old = slot->tasks[i];
		const pb_node *node;

		if (old == task || task_live(old) || !task_on_node(old))
			continue;
		node = view_node(p->view, old->node_id);
		if (node && node_state(node) != NODE_DOWN)
			return true;
	}
	return false;
}

/* In what two specs differ, as bits. */
enum { DIFFER_AUTH = 1, DIFFER_PLACEMENT = 2, DIFFER_REST = 4 };

static char *auth_of(const pb_task_spec *spec)
{
	return spec->container ? spec->container->registry_auth : NULL;
}

static unsigned differences(const pb_task_spec *wanted, const pb_task_spec *have)
{
	_cleanup_pb_ pb_task_spec *a = pb_dup(wanted), *b = pb_dup(have);
	unsigned differ = 0;

	if (!a || !b)
		return a == b ? 0 : DIFFER_REST;
	if (!str_eq(auth_of(a), auth_of(b)))
		differ |= DIFFER_AUTH;
	if (!pb_equal(a->placement, b->placement))
		differ |= DIFFER_PLACEMENT;
	pb_set_msg(&a->placement, NULL);
	pb_set_msg(&b->placement, NULL);
	if (a->container && b->container) {
		pb_set_str(&a->container->registry_auth, NULL);
		pb_set_str(&b->container->registry_auth, NULL);
	}
	if (!pb_equal(a, b))
		differ |= DIFFER_REST;
	return differ;
}

/* Tasks of one version have one spec, and in an update nearly all are of one old version. */
static unsigned differences_of(struct plan *p, const pb_service *service, const pb_task *task)
{
	if (p->compared.service != service || p->compared.task_version != task->spec_version) {
		p->compared.service = service;
		p->compared.task_version = task->spec_version;
		p->compared.differences = differences(service_task_spec(service), task->spec);
	}
	return p->compared.differences;
}

bool slot_task_outdated(struct plan *p, const pb_service *service, const pb_task *task)
{
	int state = task_state(task);
	const pb_node *node;
	unsigned differ;

	if (task->spec_version == service->spec_version)
		return false;
	differ = differences_of(p, service, task);
	/* The image is there already: how to pull it does not matter. */
	if (state >= TASK_READY && state <= TASK_RUNNING)
		differ &= ~DIFFER_AUTH;
	if (differ != DIFFER_PLACEMENT)
		return differ != 0;
	node = *task->node_id ? view_node(p->view, task->node_id) : NULL;
	return !node || !p->meets_constraints(service_task_spec(service)->placement, node);
}
