/* From NEW to PREPARE: a node, and a task there that waits for the container. */
#include "internal.h"
#include "migrator.h"
#include "plan.h"

#include "common/mem.h"
#include "common/str.h"

#include <stdlib.h>

void begin_refuse(struct plan *p, const pb_migration *m, const char *why)
{
	pb_migration *copy = txn_edit(p->txn, KIND_MIGRATION, m->id);

	copy->phase = MIGRATION_REFUSED;
	copy->phase_at = copy->finished_at = p->now;
	pb_set_str(&copy->message, why);
	txn_put(p->txn, KIND_MIGRATION, copy);
}

/* NULL: nothing speaks against it for good. */
static const char *why_not(const struct plan *p, const pb_migration *m, const pb_task *source)
{
	const pb_service *service = view_service(p->view, m->service_id);
	const pb_node *node;

	if (m->cancelled)
		return "cancelled";
	if (!service)
		return "the service was removed";
	if (!source || !task_live(source) || task_ended(source))
		return "the task does not run any more";
	if (service_is_global(service))
		return "a global service has one task on each node: there is nowhere to go";
	if (!source->spec || !source->spec->live_migrate)
		return "the task runs under a runtime that cannot checkpoint it (service update --live-migrate makes tasks that "
		       "can be moved)";
	node = view_node(p->view, source->node_id);
	return node && node_state(node) != NODE_DOWN ? NULL : "its node is down";
}

/* It runs, and is all that its slot has: no update or restart is under way there. */
static bool is_settled(const struct plan *p, const pb_task *source)
{
	_cleanup_free_ const pb_task **tasks = NULL;
	size_t n;

	if (task_state(source) != TASK_RUNNING || (int)source->desired != TASK_RUNNING || task_moving(p->view, source))
		return false;
	tasks = view_tasks_of_service(p->view, source->service_id, &n);
	for (size_t i = 0; i < n; i++)
		if (tasks[i]->slot == source->slot && tasks[i] != source && task_live(tasks[i]))
			return false;
	return true;
}

static size_t count(const struct running *running, const char *node_id, bool leaving)
{
	size_t n = 0;

	for (size_t i = 0; i < running->n; i++)
		n += str_eq(leaving ? running->v[i].source : running->v[i].target, node_id);
	return n;
}

/* The same in all that the container can see. */
static pb_task *make_target(struct plan *p, const pb_migration *m, const pb_task *source)
{
	pb_task *target = pb_dup(source);
	char id[ID_LEN + 1];

	p->new_id(p->id_data, id);
	pb_set_str(&target->id, id);
	pb_set_msg(&target->meta, NULL);
	target->meta = pb_new(&skein__meta__descriptor);
	target->meta->created_at = MAX(p->now, task_created_at(source) + 1);
	pb_set_str(&target->node_id, "");
	pb_set_str(&target->migration_id, m->id);
	pb_set_str(&target->migrated_from, source->id);
	pb_set_msg(&target->migration_state, NULL);
	pb_set_msg(&target->status, NULL);
	target->status = pb_new(&skein__task_status__descriptor);
	target->start_after = 0;
	return target;
}

static const pb_migration *start(struct plan *p, const pb_migration *m, const char *source_node, const pb_task *target)
{
	pb_migration *copy = txn_edit(p->txn, KIND_MIGRATION, m->id);

	copy->phase = MIGRATION_PREPARE;
	copy->phase_at = p->now;
	pb_set_str(&copy->message, "");
	pb_set_str(&copy->source_node, source_node);
	pb_set_str(&copy->target_task, target->id);
	pb_set_str(&copy->target_node, target->node_id);
	free(copy->ticket.data);
	copy->ticket.data = xmalloc(MIGRATOR_TICKET_BYTES);
	copy->ticket.len = MIGRATOR_TICKET_BYTES;
	p->random(p->id_data, copy->ticket.data, MIGRATOR_TICKET_BYTES);
	txn_put(p->txn, KIND_MIGRATION, copy);
	return copy;
}

static void claim(struct plan *p, const pb_migration *m, const pb_task *source)
{
	pb_task *copy = plan_edit(p, source);

	pb_set_str(&copy->migration_id, m->id);
	plan_put(p, copy);
}

/* Its turn has not come. What is drained waits as long as others leave before it: they all come to an end. */
static void let_wait(struct plan *p, const pb_migration *m, const char *why)
{
	_cleanup_strbuf_ struct strbuf text = {0};
	int64_t deadline = migration_deadline(m);
	char human[STR_HUMAN_MAX];

	if (deadline > p->now) {
		wakes_set(p->wakes, WAKE_MIGRATION, "", deadline);
		return;
	}
	str_duration(p->now - m->phase_at, human);
	strbuf_printf(&text, "it could not begin within %s: %s", human, why);
	begin_refuse(p, m, text.p);
}

static bool may_queue(const pb_migration *m)
{
	return str_eq(m->cause, "drain");
}

void begin_plan(struct plan *p, const pb_migration *m, struct running *running)
{
	const pb_task *source = view_task(p->view, m->source_task);
	const char *why = why_not(p, m, source);
	_cleanup_free_ char *nowhere = NULL;
	_cleanup_pb_ pb_task *target = NULL;
	const pb_node *node;

	if (why) {
		begin_refuse(p, m, why);
		return;
	}
	if (!is_settled(p, source)) {
		let_wait(p, m, "an update or a restart of its slot is under way");
		return;
	}
	if (running->n >= MIGRATOR_AT_ONCE || count(running, source->node_id, true) >= MIGRATOR_PER_NODE) {
		if (!may_queue(m))
			let_wait(p, m, "too many others are being moved");
		return;
	}
	target = make_target(p, m, source);
	node = p->place(p, target, m->target_node, &nowhere);
	if (!node) {
		begin_refuse(p, m, nowhere);
		return;
	}
	if (count(running, node->id, false) >= MIGRATOR_PER_NODE) {
		if (!may_queue(m))
			let_wait(p, m, "too many others are being moved to the same node");
		return;
	}
	pb_set_str(&target->node_id, node->id);
	plan_status(p, target, TASK_ASSIGNED, "waits for the container to be moved", NULL);
	m = start(p, m, source->node_id, target);
	plan_put(p, TAKE_PTR(target));
	claim(p, m, source);
	running_add(running, m);
	wakes_set(p->wakes, WAKE_MIGRATION, "", migration_deadline(m));
}
