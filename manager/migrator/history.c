/* Migrations that have ended: a few of each slot are kept to be looked at. */
#include "migrator.h"

#include "manager/store/plan.h"

#include "common/mem.h"
#include "common/str.h"

#include <stdlib.h>

/* A task still has to hear from it. */
static bool is_needed(const struct plan *p, const pb_migration *m)
{
	const pb_task *source = view_task(p->view, m->source_task), *target = view_task(p->view, m->target_task);

	return (source && str_eq(source->migration_id, m->id) && task_on_node(source)) || (target && task_is_guest(p->view, target));
}

/* Of a plan only the beginning was committed: the migration has ended, its guest does not know. */
static void dismiss(struct plan *p, const pb_migration *m)
{
	const pb_task *target = view_task(p->view, m->target_task);

	if (target && task_is_guest(p->view, target))
		plan_desire(p, target, TASK_REMOVE);
}

/* by_slot_and_age: the newest of a slot come last. */
static void reap_service(struct plan *p, const char *service_id)
{
	_cleanup_free_ const pb_migration **list = NULL;
	size_t n, most = view_service(p->view, service_id) ? MIGRATOR_KEPT_PER_SLOT : 0, kept = 0;

	list = view_migrations_of_service(p->view, service_id, &n);
	for (size_t i = n; i-- > 0;) {
		if (i + 1 < n && list[i]->slot != list[i + 1]->slot)
			kept = 0;
		if (!migration_over(list[i]))
			continue;
		dismiss(p, list[i]);
		if (kept < most || is_needed(p, list[i]))
			kept++;
		else
			txn_del(p->txn, KIND_MIGRATION, list[i]->id);
	}
}

static int by_end(const void *a, const void *b)
{
	const pb_migration *x = *(pb_migration *const *)a, *y = *(pb_migration *const *)b;

	if (x->finished_at != y->finished_at)
		return x->finished_at < y->finished_at ? -1 : 1;
	return strcmp(x->id, y->id);
}

/* The oldest first, whatever slot they are of. */
static void reap_oldest(struct plan *p)
{
	_cleanup_free_ const void **list = NULL;
	size_t n, ended = 0;

	if (view_count(p->view, KIND_MIGRATION) <= MIGRATOR_KEPT)
		return;
	list = view_list(p->view, KIND_MIGRATION, &n);
	for (size_t i = 0; i < n; i++)
		if (migration_over(list[i]))
			list[ended++] = list[i];
	qsort(list, ended, sizeof(*list), by_end);
	for (size_t i = 0, left = ended; i < ended && left > MIGRATOR_KEPT; i++) {
		const pb_migration *m = list[i];

		if (is_needed(p, m))
			continue;
		txn_del(p->txn, KIND_MIGRATION, m->id);
		left--;
	}
}

void migrator_reap(struct plan *p)
{
	for (struct idset_entry *e = p->scope.entries; e; e = e->hh.next)
		reap_service(p, e->id);
	reap_oldest(p);
}
