/* moves - hosts whose containers are moved: what is really there, and what their agents do about migrations. */
#pragma once
#include "support/sim.h"

#define HOSTS 4
#define CONTAINERS_MAX 4096
#define ENDS_MAX 4096

/* ---- what is really there, whatever anybody believes */

enum link { ALIVE, CUT, DEAD }; /* a host that is cut off works on; a dead one loses its containers */

struct container {
	char task[ID_LEN + 1];
	char node[16];
	bool frozen;
};

/* What an agent knows of its end; survives everything but its host. */
struct end {
	char migration[ID_LEN + 1];
	bool target, promised, froze;
	int seen, step;
	const char *err;
};

struct world {
	struct sim sim; /* first: sim.h's checks take it */
	enum link links[HOSTS];
	struct container containers[CONTAINERS_MAX];
	size_t n_containers;
	struct end ends[ENDS_MAX];
	size_t n_ends;
	size_t outcomes[1024]; /* by phase */
	uint64_t replicas;
	size_t busiest; /* migrations at once */
};

static inline enum link link_of(const struct world *w, const char *node_id)
{
	return w->links[node_id[1] - '1'];
}

static inline struct container *container_find(struct world *w, const char *task_id)
{
	for (size_t i = 0; i < w->n_containers; i++)
		if (str_eq(w->containers[i].task, task_id))
			return &w->containers[i];
	return NULL;
}

static inline void run(struct world *w, const char *task_id, const char *node_id)
{
	struct container *c = &w->containers[w->n_containers];

	assert_true(w->n_containers < CONTAINERS_MAX);
	assert_null(container_find(w, task_id));
	w->n_containers++;
	snprintf(c->task, sizeof(c->task), "%s", task_id);
	snprintf(c->node, sizeof(c->node), "%s", node_id);
	c->frozen = false;
}

static inline void kill_container(struct world *w, const char *task_id)
{
	struct container *c = container_find(w, task_id);

	if (c)
		*c = w->containers[--w->n_containers];
}

static inline bool runs(struct world *w, const char *task_id)
{
	const struct container *c = container_find(w, task_id);

	return c && !c->frozen;
}

static inline struct end *end_of(struct world *w, const char *migration_id, bool target)
{
	for (size_t i = 0; i < w->n_ends; i++)
		if (str_eq(w->ends[i].migration, migration_id) && w->ends[i].target == target)
			return &w->ends[i];
	assert_true(w->n_ends < ENDS_MAX);
	w->ends[w->n_ends] = (struct end){.target = target};
	snprintf(w->ends[w->n_ends].migration, sizeof(w->ends[0].migration), "%s", migration_id);
	return &w->ends[w->n_ends++];
}

/* ---- ends */

static inline void step(struct end *e, int to)
{
	e->step = MAX(e->step, to);
}

static inline void source_works(struct world *w, struct end *e, const pb_migration *m)
{
	struct container *c = container_find(w, m->source_task);
	struct end *peer = end_of(w, m->id, true);

	if (!c) {
		step(e, STEP_GONE);
		return;
	}
	if (migration_over(m) && !e->froze)
		return; /* another migration of it may be under way */
	if (e->seen < MIGRATION_ABORT && !e->err && chance(&w->sim, w->sim.trouble / 4))
		e->err = "the source cannot";
	if (e->err && e->seen < MIGRATION_ABORT)
		return;
	if (e->seen == MIGRATION_PREPARE)
		step(e, STEP_PREPARED);
	else if (e->seen == MIGRATION_COPY)
		step(e, STEP_CONVERGED);
	else if (e->seen == MIGRATION_RESUME || (migration_over(m) && m->phase != (Skein__MigrationPhase)MIGRATION_MOVED &&
						 link_of(w, c->node) == ALIVE)) {
		c->frozen = e->froze = false;
		step(e, STEP_RESUMED);
	} else if (e->seen == MIGRATION_FREEZE && e->step < STEP_FROZEN) {
		c->frozen = e->froze = true;
		step(e, STEP_FROZEN);
	} else if (e->seen == MIGRATION_FREEZE && e->step == STEP_FROZEN && link_of(w, c->node) == ALIVE) {
		step(e, STEP_SENT);
	} else if (c->frozen && peer->seen < MIGRATION_SWITCH && link_of(w, c->node) != DEAD && chance(&w->sim, w->sim.trouble / 2) &&
		   *m->target_node && link_of(w, m->target_node) != DEAD && link_of(w, m->target_node) == link_of(w, c->node)) {
		/* No manager answers: the other end promises never to run it. */
		peer->promised = true;
		step(peer, STEP_DISCARDED);
		c->frozen = e->froze = false;
		step(e, STEP_RESUMED);
	}
}

static inline void target_works(struct world *w, struct end *e, const pb_migration *m, const pb_task *task)
{
	bool unwanted = e->seen == MIGRATION_ABORT || e->seen == MIGRATION_RESUME || !task_live(task) ||
			(migration_over(m) && m->phase != (Skein__MigrationPhase)MIGRATION_MOVED);

	if (unwanted && link_of(w, task->node_id) == ALIVE) {
		kill_container(w, task->id);
		e->promised = true;
		step(e, STEP_DISCARDED);
		return;
	}
	if (e->promised || e->step >= STEP_RESTORED)
		return;
	if (!e->err && chance(&w->sim, w->sim.trouble / 4))
		e->err = "the target cannot";
	if (e->err)
		return;
	if (e->seen == MIGRATION_PREPARE)
		step(e, STEP_PREPARED);
	else if (e->step == STEP_PREPARED && end_of(w, m->id, false)->step == STEP_SENT)
		step(e, STEP_RECEIVED);
	else if (e->seen == MIGRATION_SWITCH && e->step == STEP_RECEIVED) {
		run(w, task->id, task->node_id);
		step(e, STEP_RESTORED);
	}
}

/* As the dispatcher writes it. */
static inline void tell(struct world *w, const struct end *e, const pb_migration *m)
{
	const pb_migration_report *had = e->target ? m->target : m->source;
	pb_migration *copy;
	pb_migration_report *report;

	if (migration_over(m) || (had && (int)had->step == e->step && str_eq(had->err, e->err ? e->err : "")))
		return;
	copy = pb_dup(m);
	report = pb_new(&skein__migration_report__descriptor);
	pb_set_str(&report->migration_id, m->id);
	report->target = e->target;
	report->step = (Skein__MigrationStep)e->step;
	pb_set_str(&report->err, e->err);
	pb_set_msg(e->target ? &copy->target : &copy->source, report);
	pb_free(report);
	rounds_put(&w->sim.r, KIND_MIGRATION, copy->id, copy);
}

static inline void work_end(struct world *w, const char *id, bool target)
{
	const pb_migration *m = view_migration(w->sim.r.view, id);
	const pb_task *task = view_task(w->sim.r.view, target ? m->target_task : m->source_task);
	struct end *e;

	if (!task || (int)m->phase == MIGRATION_NEW || link_of(w, task->node_id) == DEAD)
		return;
	e = end_of(w, id, target);
	if (link_of(w, task->node_id) == ALIVE)
		e->seen = (int)m->phase;
	if (target)
		target_works(w, e, m, task);
	else
		source_works(w, e, m);
	if (link_of(w, task->node_id) == ALIVE)
		tell(w, e, m);
}

/* ---- agents */

static inline void work_task(struct world *w, const char *id)
{
	static const int states[] = {TASK_ASSIGNED, TASK_ACCEPTED, TASK_PREPARING, TASK_READY, TASK_STARTING, TASK_RUNNING};
	const pb_task *task = view_task(w->sim.r.view, id);
	const pb_migration *m = task ? view_migration(w->sim.r.view, task->migration_id) : NULL;
	bool guest = task && *task->migrated_from;
	int state;

	if (!task || !task_on_node(task) || link_of(w, task->node_id) != ALIVE)
		return;
	state = task_state(task);
	if (!task_live(task)) {
		kill_container(w, id);
		rounds_report(&w->sim.r, id, TASK_SHUTDOWN);
	} else if (state == TASK_RUNNING || (guest && m && end_of(w, m->id, true)->step == STEP_RESTORED)) {
		if (!container_find(w, id) || (runs(w, id) && chance(&w->sim, w->sim.trouble / 20))) {
			kill_container(w, id);
			rounds_report(&w->sim.r, id, TASK_FAILED);
		} else if (state != TASK_RUNNING) {
			rounds_report(&w->sim.r, id, TASK_RUNNING);
		}
	} else if (!(guest && state >= TASK_READY) && state < ((int)task->desired == TASK_READY ? TASK_READY : TASK_RUNNING)) {
		for (size_t i = 0; i + 1 < ARRAY_SIZE(states); i++)
			if (states[i] == state) {
				if (states[i + 1] == TASK_RUNNING)
					run(w, id, task->node_id);
				rounds_report(&w->sim.r, id, states[i + 1]);
				return;
			}
	}
}

static inline void each(struct world *w, enum kind kind, void (*cb)(struct world *w, const char *id))
{
	size_t n;
	const void **list = view_list(w->sim.r.view, kind, &n);
	char **ids = xcalloc(n, sizeof(*ids));

	for (size_t i = 0; i < n; i++)
		ids[i] = xstrdup(kind_info(kind)->id(list[i]));
	for (size_t i = 0; i < n; i++) {
		cb(w, ids[i]);
		free(ids[i]);
	}
	free(ids);
	free(list);
}

static inline void work_migration(struct world *w, const char *id)
{
	if (chance(&w->sim, 700))
		work_end(w, id, false);
	if (chance(&w->sim, 700))
		work_end(w, id, true);
}
