/*
 * rounds - plan rounds over a view and commit them there, with a clock and ids of the test's own.
 * Header only.
 */
#pragma once
#include "build.h"

#include "manager/allocator/rests.h"
#include "manager/changes.h"
#include "manager/orchestrator/sightings.h"
#include "manager/round.h"
#include "manager/scheduler/faults.h"
#include "manager/store/plan.h"

#include <stdio.h>

struct rounds {
	struct view *view;
	int64_t now;
	struct dirty dirty;
	struct wakes wakes;
	struct sightings *sightings;
	struct faults *faults;
	struct rests *rests;
	uint64_t next_id;
	size_t budget;
};

static inline void rounds_init(struct rounds *r, struct view *view)
{
	*r = (struct rounds){.view = view, .now = NOW, .budget = 100000};
	r->sightings = sightings_new();
	r->faults = faults_new();
	r->rests = rests_new();
	r->dirty.all = true;
}

/* What a new leader begins with. */
static inline void rounds_new_leader(struct rounds *r)
{
	sightings_free(r->sightings);
	faults_free(r->faults);
	rests_free(r->rests);
	r->sightings = sightings_new();
	r->faults = faults_new();
	r->rests = rests_new();
	wakes_clear(&r->wakes);
	dirty_clear(&r->dirty);
	r->dirty.all = true;
}

static inline void rounds_fini(struct rounds *r)
{
	sightings_free(r->sightings);
	faults_free(r->faults);
	rests_free(r->rests);
	wakes_clear(&r->wakes);
	dirty_clear(&r->dirty);
	view_free(r->view);
}

static inline void rounds_new_id(void *data, char ret_id[static ID_LEN + 1])
{
	struct rounds *r = data;

	snprintf(ret_id, ID_LEN + 1, "x%04llu", (unsigned long long)++r->next_id);
}

static inline void rounds_random(void *data, void *buf, size_t len)
{
	struct rounds *r = data;

	memset(buf, (int)(++r->next_id & 0xff), len);
}

/* Plan a round with a stage (round_plan: all of them). The transaction is open; txn_free() it. */
static inline struct txn *rounds_plan(struct rounds *r, void (*stage)(struct plan *p))
{
	struct plan p = {
		.view = r->view,
		.now = r->now,
		.dirty = &r->dirty,
		.wakes = &r->wakes,
		.new_id = rounds_new_id,
		.random = rounds_random,
		.id_data = r,
		.sightings = r->sightings,
		.faults = r->faults,
		.rests = r->rests,
		.budget = r->budget,
	};

	p.txn = txn_begin(r->view);
	stage(&p);
	plan_fini(&p);
	return p.txn;
}

/* Tell the deciding code about a change, as the decider does. */
static inline void rounds_note(struct rounds *r, enum kind kind, const void *old, const void *now)
{
	const void *obj = now ? now : old;
	struct store_event event = {.kind = kind, .old = old, .now = now};

	if (!obj)
		return;
	event.id = kind_info(kind)->id(obj);
	changes_note(&r->dirty, r->rests, &event, r->now);
}

/* Put (obj NULL: delete) an object as a commit does, and note the change. */
static inline void rounds_put(struct rounds *r, enum kind kind, const char *id, void *obj)
{
	_cleanup_pb_ void *old = obj ? view_put(r->view, kind, obj) : view_del(r->view, kind, id);

	rounds_note(r, kind, old, obj);
}

typedef void (*rounds_check)(void *data, const struct txn_change *change);

/* Commit the first `most` changes of a transaction (SIZE_MAX: all); it is freed. Returns how many
 * there were. */
static inline size_t rounds_commit(struct rounds *r, struct txn *txn, size_t most,
				   rounds_check check, void *data)
{
	size_t n, done;
	const struct txn_change *changes = txn_changes(txn, &n);
	struct built *copies = xcalloc(n, sizeof(*copies));
	char **ids = xcalloc(n, sizeof(*ids));

	for (size_t i = 0; i < n; i++) {
		if (check)
			check(data, &changes[i]);
		copies[i] = (struct built){changes[i].kind, pb_dup(changes[i].obj)};
		ids[i] = xstrdup(changes[i].id);
	}
	txn_free(txn);
	done = MIN(n, most);
	if (done == n)
		dirty_clear(&r->dirty); /* else what was planned is still to do */
	for (size_t i = 0; i < n; i++) {
		Skein__Meta **meta = copies[i].obj ? kind_info(copies[i].kind)->meta(copies[i].obj) : NULL;

		if (meta && *meta)
			(*meta)->updated_at = r->now;
		if (i < done)
			rounds_put(r, copies[i].kind, ids[i], copies[i].obj);
		else
			pb_free(copies[i].obj);
		free(ids[i]);
	}
	free(copies);
	free(ids);
	return n;
}

/* One whole round. Returns the number of changes. */
static inline size_t rounds_run(struct rounds *r)
{
	wakes_due(&r->wakes, r->now, &r->dirty);
	return rounds_commit(r, rounds_plan(r, round_plan), SIZE_MAX, NULL, NULL);
}

/* Until nothing is left to do at this time. Returns the number of rounds that changed something. */
static inline unsigned rounds_settle(struct rounds *r)
{
	unsigned n = 0;

	while (rounds_run(r) && n < 100)
		n++;
	return n;
}

/* The agent's work: a task goes to a state. */
static inline void rounds_report(struct rounds *r, const char *task_id, int state)
{
	pb_task *t = pb_dup(view_task(r->view, task_id));

	t->status->state = (Skein__TaskState)state;
	t->status->at = r->now;
	t->meta->updated_at = r->now;
	rounds_put(r, KIND_TASK, task_id, t);
}

static inline void rounds_node_state(struct rounds *r, const char *node_id, int state)
{
	pb_node *n = pb_dup(view_node(r->view, node_id));

	n->status->state = (Skein__NodeState)state;
	n->status->since = r->now;
	rounds_put(r, KIND_NODE, node_id, n);
}

static inline void rounds_availability(struct rounds *r, const char *node_id, int availability)
{
	pb_node *n = pb_dup(view_node(r->view, node_id));

	n->spec->availability = (Skein__Availability)availability;
	rounds_put(r, KIND_NODE, node_id, n);
}

/* Count tasks of a service that satisfy both; -1 = any. */
static inline size_t rounds_count(const struct rounds *r, const char *service_id, int desired,
				  int state)
{
	size_t n, count = 0;
	const pb_task **tasks = view_tasks_of_service(r->view, service_id, &n);

	for (size_t i = 0; i < n; i++)
		count += (desired < 0 || (int)tasks[i]->desired == desired) &&
			 (state < 0 || task_state(tasks[i]) == state);
	free(tasks);
	return count;
}

/* The newest task in a slot (or of a node), NULL when there is none. */
static inline const pb_task *rounds_newest(const struct rounds *r, const char *service_id,
					   uint64_t slot, const char *node_id)
{
	size_t n;
	const pb_task **tasks = view_tasks_of_service(r->view, service_id, &n), *newest = NULL;

	for (size_t i = 0; i < n; i++)
		if (tasks[i]->slot == slot && (!node_id || str_eq(tasks[i]->node_id, node_id)))
			if (!newest || task_created_at(tasks[i]) >= task_created_at(newest))
				newest = tasks[i];
	free(tasks);
	return newest;
}
