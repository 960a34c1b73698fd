#include "migrator.h"

#include "internal.h"
#include "plan.h"

#include "common/mem.h"
#include "common/str.h"

#include <stdlib.h>

/* More than a migration has phases. */
#define STEPS_MAX 12

/* ---- one that is under way */

static void settle(struct plan *p, const char *task_id, enum migration_fate fate, const char *message)
{
	const pb_task *task = view_task(p->view, task_id);
	pb_task *copy;

	if (!task || fate == FATE_STAY)
		return;
	if (fate == FATE_REMOVE) {
		plan_desire(p, task, TASK_REMOVE);
		return;
	}
	copy = plan_edit(p, task);
	if (fate == FATE_RELEASE) {
		pb_set_str(&copy->migration_id, "");
	} else if ((int)copy->desired < TASK_SHUTDOWN) {
		copy->desired = TASK_SHUTDOWN;
		pb_set_str(&copy->status->message, message);
	}
	plan_put(p, copy);
}

static void enter(struct plan *p, const pb_migration *m, const struct migration_verdict *v)
{
	pb_migration *copy;

	settle(p, m->target_task, v->target, v->message);
	settle(p, m->source_task, v->source, v->message);
	copy = txn_edit(p->txn, KIND_MIGRATION, m->id);
	if (v->phase == MIGRATION_ABORT)
		copy->reached = copy->phase;
	copy->phase = (Skein__MigrationPhase)v->phase;
	copy->phase_at = p->now;
	if (*v->message)
		pb_set_str(&copy->message, v->message);
	if (migration_over(copy))
		copy->finished_at = p->now;
	txn_put(p->txn, KIND_MIGRATION, copy);
}

static const char *why_to_stop(const struct plan *p, const pb_migration *m, const pb_task *source)
{
	if (!view_service(p->view, m->service_id))
		return "the service was removed";
	return source && !task_live(source) ? "the task is being stopped" : NULL;
}

/* A plan of which only the beginning was committed may have left it out. */
static const pb_task *claimed(struct plan *p, const pb_migration *m)
{
	const pb_task *source = view_task(p->view, m->source_task);
	pb_task *copy;

	if (!source || str_eq(source->migration_id, m->id))
		return source;
	copy = plan_edit(p, source);
	pb_set_str(&copy->migration_id, m->id);
	return plan_put(p, copy);
}

static void advance(struct plan *p, const char *id)
{
	for (unsigned i = 0; i < STEPS_MAX; i++) {
		const pb_migration *m = view_migration(p->view, id);
		struct migration_end source, target;
		struct migration_verdict v;

		if (migration_over(m))
			return;
		source = (struct migration_end){claimed(p, m), view_node(p->view, m->source_node), m->source};
		target = (struct migration_end){view_task(p->view, m->target_task), view_node(p->view, m->target_node), m->target};
		migration_plan(m, &source, &target, why_to_stop(p, m, source.task), p->now, &v);
		if (v.phase == (int)m->phase) {
			if (v.look_at != INT64_MAX)
				wakes_set(p->wakes, WAKE_MIGRATION, "", v.look_at);
			return;
		}
		enter(p, m, &v);
	}
}

/* ---- all */

static int by_age(const void *a, const void *b)
{
	const pb_migration *x = *(pb_migration *const *)a, *y = *(pb_migration *const *)b;
	int64_t xt = x->meta ? x->meta->created_at : 0, yt = y->meta ? y->meta->created_at : 0;

	if (xt != yt)
		return xt < yt ? -1 : 1;
	return strcmp(x->id, y->id);
}

void running_add(struct running *running, const pb_migration *m)
{
	if (running->n == ARRAY_SIZE(running->v))
		return;
	running->v[running->n].source = m->source_node;
	running->v[running->n++].target = m->target_node;
}

static void advance_all(struct plan *p)
{
	_cleanup_free_ const pb_migration **active = NULL;
	size_t n;

	active = view_migrations_active(p->view, &n);
	qsort(active, n, sizeof(*active), by_age);
	for (size_t i = 0; i < n; i++)
		if ((int)active[i]->phase > MIGRATION_NEW)
			advance(p, active[i]->id);
}

/* Ends stand before beginnings, so that a part of it makes room before it takes any. */
void migrator_plan(struct plan *p)
{
	_cleanup_free_ const pb_migration **active = NULL;
	struct running running = {.n = 0};
	size_t n;

	wakes_drop(p->wakes, WAKE_MIGRATION, "");
	advance_all(p);
	drain_plan(p);
	active = view_migrations_active(p->view, &n);
	qsort(active, n, sizeof(*active), by_age);
	/* What has come to its end just now makes room. */
	for (size_t i = 0; i < n; i++)
		if ((int)active[i]->phase > MIGRATION_NEW)
			running_add(&running, active[i]);
	for (size_t i = 0; i < n; i++)
		if ((int)active[i]->phase == MIGRATION_NEW)
			begin_plan(p, active[i], &running);
}
