/*
 * worker_world - a worker with its real database and reporter over played siblings (worker_play.h), its assignment sets, and
 * what an agent before this one left.
 */
#pragma once
#include "agent/reporter.h"
#include "agent/taskdb.h"
#include "agent/worker.h"
#include "common/clock.h"
#include "common/file.h"
#include "support/worker_play.h"

struct world {
	uv_loop_t loop;
	char dir[64];
	struct taskdb *db;
	struct reporter *reporter;
	struct worker *worker;
	bool closed;
	unsigned stopped;
	int64_t seen[TASK_REMOVE + 1]; /* statuses sent, by state */
	uint64_t sent;                 /* sequence of the last batch; acknowledged by the next turn() */
};

static inline int send_batch(void *data, const Skein__StatusReports *batch)
{
	struct world *w = data;

	for (size_t i = 0; i < batch->n_reports; i++)
		w->seen[batch->reports[i]->status->state]++;
	w->sent = batch->sequence;
	return 0;
}

static bool probing; /* which runtime works is not known yet */

static inline bool exec_ready(void *data, struct error *err)
{
	return !probing;
}

static inline bool net_ready(void *data, struct error *err)
{
	return true;
}

static inline void open_worker(struct world *w)
{
	struct error err = ERROR_INIT;
	struct worker_options options = {.loop = &w->loop, .exec_ready = exec_ready, .net_ready = net_ready, .data = w,
					 .migrate = (struct migrate *)&moving};

	w->db = taskdb_new(&w->loop, w->dir, &err);
	assert_non_null(w->db);
	w->reporter = reporter_new(&w->loop, send_batch, w);
	reporter_session(w->reporter, true);
	options.db = w->db;
	options.reporter = w->reporter;
	w->worker = worker_new(&options);
}

static inline void on_db_closed(void *data)
{
	((struct world *)data)->closed = true;
}

static inline void turn(struct world *w)
{
	uint64_t sent;

	uv_run(&w->loop, UV_RUN_NOWAIT);
	sent = w->sent;
	w->sent = 0;
	reporter_ack(w->reporter, sent); /* which may send the next */
	answer_image();
	for (unsigned i = 0; i < play.n_networks; i++)
		answer_network(play.networks[i]);
	for (unsigned i = 0; i < play.n; i++)
		answer_container(&play.list[i]);
}

#define until(w, condition)                                                          \
	do {                                                                         \
		int64_t end_ = clock_mono_ns() + 20 * NS_PER_SEC;                    \
		while (!(condition)) {                                               \
			if (clock_mono_ns() > end_)                                  \
				fail_msg("gave up waiting for: %s", #condition);     \
			turn(w);                                                     \
		}                                                                    \
	} while (0)

/* As the agent ends: frozen, then the image store ends its jobs, then the database what it has to write. */
static inline void close_worker(struct world *w)
{
	worker_freeze(w->worker);
	for (unsigned i = 0; i < play.n_jobs; i++)
		play.jobs[i]->cancelled = true;
	while (play.n_jobs > 0)
		answer_image();
	w->closed = false;
	taskdb_close(w->db, on_db_closed, w);
	while (!w->closed)
		uv_run(&w->loop, UV_RUN_ONCE);
	worker_free(w->worker);
	reporter_free(w->reporter);
	uv_run(&w->loop, UV_RUN_DEFAULT);
}

static inline int setup(void **state)
{
	struct world *w = xnew(struct world);

	memset(&play, 0, sizeof(play));
	memset(&moving, 0, sizeof(moving));
	uv_loop_init(&w->loop);
	snprintf(w->dir, sizeof(w->dir), "/tmp/skein-worker-XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	open_worker(w);
	*state = w;
	return 0;
}

static inline int teardown(void **state)
{
	struct world *w = *state;

	close_worker(w);
	assert_int_equal(uv_loop_close(&w->loop), 0);
	while (play.n_networks > 0)
		free(play.networks[--play.n_networks]);
	file_remove_tree(w->dir, NULL);
	free(w);
	return 0;
}

/* ---------------------------------------------------------------- sets */

static inline pb_task *make_task(const char *id, int desired, int task_state)
{
	pb_task *t = pb_new(&skein__task__descriptor);

	pb_set_str(&t->id, id);
	pb_set_str(&t->service_name, "web");
	t->desired = (Skein__TaskState)desired;
	t->spec = pb_new(&skein__task_spec__descriptor);
	t->spec->container = pb_new(&skein__container_spec__descriptor);
	t->spec->container->stop_grace_period = 7;
	if (play.check_command) {
		pb_health_check *h = t->spec->container->health = pb_new(&skein__health_check__descriptor);

		pb_strs_add(&h->n_test, &h->test, "CMD-SHELL");
		pb_strs_add(&h->n_test, &h->test, play.check_command);
		h->interval = h->timeout = NS_PER_MS;
		h->retries = 2;
	}
	pb_set_str(&t->spec->container->image, "docker.io/library/web:1");
	t->status = pb_new(&skein__task_status__descriptor);
	t->status->state = (Skein__TaskState)task_state;
	return t;
}

struct part {
	bool complete, more;
	uint64_t from, to;
	const char *update[3], *remove[3];
	int desired; /* 0 = RUNNING */
	int phase;   /* > 0: with an order; */
	bool target; /* of the end that the container comes to */
};

static inline int apply(struct world *w, struct part part, struct error *err)
{
	_cleanup_pb_ Skein__Assignments *set = pb_new(&skein__assignments__descriptor);

	set->complete = part.complete;
	set->more = part.more;
	set->applies_to = part.from;
	set->results_in = part.to;
	for (size_t i = 0; i < 3 && part.update[i]; i++) {
		Skein__Assignment *a = pb_new(&skein__assignment__descriptor);

		a->task = make_task(part.update[i], part.desired ? part.desired : TASK_RUNNING, TASK_ASSIGNED);
		if (part.target)
			pb_set_str(&a->task->migrated_from, T3);
		if (part.phase) {
			a->migration = pb_new(&skein__migration_order__descriptor);
			pb_set_str(&a->migration->id, "migrationmigrationmigrati");
			a->migration->target = part.target;
			a->migration->phase = (Skein__MigrationPhase)part.phase;
		}
		pb_msgs_add(&set->n_update, &set->update, a);
	}
	for (size_t i = 0; i < 3 && part.remove[i]; i++)
		pb_strs_add(&set->n_remove, &set->remove, part.remove[i]);
	return worker_apply(w->worker, set, err);
}

static inline void must_apply(struct world *w, struct part part)
{
	struct error err = ERROR_INIT;

	if (apply(w, part, &err) < 0)
		fail_msg("%s", err.msg);
}

static inline bool runs(const char *id)
{
	struct container *c = container_of_task(id);

	return c && c->running;
}

static inline bool on_disk(const struct world *w, const char *id)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", w->dir, id);

	return access(path, F_OK) == 0;
}

/* As the agent before this one left a task. */
static inline void save(struct world *w, int desired, int task_state)
{
	_cleanup_pb_ pb_task *t = make_task(T1, desired, task_state);

	taskdb_put(w->db, t, NULL, NULL);
	until(w, on_disk(w, T1));
}

/* Time in which something must not happen. */
static inline void turns(struct world *w)
{
	for (int i = 0; i < 20; i++)
		turn(w);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
