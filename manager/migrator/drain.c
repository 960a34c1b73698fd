/* Nodes that are being drained: what can be moved is moved, not stopped. */
#include "internal.h"
#include "migrator.h"

#include "common/mem.h"
#include "common/str.h"

#include <stdlib.h>

static bool must_leave(const struct plan *p, const pb_task *task)
{
	const pb_node *node = *task->node_id ? view_node(p->view, task->node_id) : NULL;

	return node && node_availability(node) == AVAILABILITY_DRAIN && node_state(node) == NODE_READY && task->spec &&
	       task->spec->live_migrate && task_state(task) == TASK_RUNNING && (int)task->desired == TASK_RUNNING &&
	       !view_migration_from(p->view, task->id) && !view_migration_to(p->view, task->id);
}

/* It was tried, and it did not work out. */
static bool was_tried(const struct plan *p, const pb_migration *const *all, size_t n, const pb_task *task)
{
	for (size_t i = 0; i < n; i++)
		if (str_eq(all[i]->source_task, task->id) && str_eq(all[i]->cause, "drain") && migration_over(all[i]) &&
		    all[i]->finished_at > p->now - MIGRATOR_DRAIN_AGAIN_NS)
			return true;
	return false;
}

/* A successor is on its way: the slot is about to be elsewhere. */
static bool has_other(const pb_task *const *tasks, size_t n, const pb_task *task)
{
	for (size_t i = 0; i < n; i++)
		if (tasks[i] != task && tasks[i]->slot == task->slot && task_live(tasks[i]))
			return true;
	return false;
}

static void ask(struct plan *p, const pb_task *task)
{
	pb_migration *m = pb_new(&skein__migration__descriptor);
	char id[ID_LEN + 1];

	p->new_id(p->id_data, id);
	pb_set_str(&m->id, id);
	m->meta = pb_new(&skein__meta__descriptor);
	m->meta->created_at = p->now;
	pb_set_str(&m->service_id, task->service_id);
	pb_set_str(&m->service_name, task->service_name);
	m->slot = task->slot;
	pb_set_str(&m->source_task, task->id);
	pb_set_str(&m->source_node, task->node_id);
	m->options = pb_new(&skein__migration_options__descriptor);
	pb_set_str(&m->cause, "drain");
	m->phase_at = p->now;
	txn_put(p->txn, KIND_MIGRATION, m);
}

static void drain_service(struct plan *p, const pb_service *service)
{
	_cleanup_free_ const pb_migration **migrations = NULL;
	_cleanup_free_ const pb_task **tasks = NULL;
	size_t n, n_migrations;

	tasks = view_tasks_of_service(p->view, service->id, &n);
	migrations = view_migrations_of_service(p->view, service->id, &n_migrations);
	for (size_t i = 0; i < n; i++)
		if (must_leave(p, tasks[i]) && !has_other(tasks, n, tasks[i]) && !was_tried(p, migrations, n_migrations, tasks[i]))
			ask(p, tasks[i]);
}

void drain_plan(struct plan *p)
{
	for (struct idset_entry *e = p->scope.entries; e; e = e->hh.next) {
		const pb_service *service = view_service(p->view, e->id);

		if (service && !service_is_global(service))
			drain_service(p, service);
	}
}
