/*
 * What assignment sets, restarts and the end of the agent make of tasks. Database and reporter are the real ones; containers,
 * images and networks are played here: each call is answered by the next turn(), as the real ones answer later.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "agent/exec/exec.h"
#include "agent/image/image.h"
#include "agent/net/net.h"
#include "agent/reporter.h"
#include "agent/taskdb.h"
#include "agent/worker.h"
#include "common/clock.h"
#include "common/file.h"
#include "common/mem.h"
#include "common/str.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONTAINERS_MAX 16
#define T1 "11111111111111111111task1"
#define T2 "22222222222222222222task2"
#define T3 "33333333333333333333task3"

/* ---------------------------------------------------------------- containers */

enum call { CALL_NONE, CALL_CREATE, CALL_START, CALL_REMOVE, CALL_ADOPT };

struct container {
	char id[32];
	void *data;
	container_exit_cb on_exit;
	container_cb cb;
	container_adopted_cb adopted;
	enum call pending;
	bool running, gone, forgotten;
	unsigned stops;
};

struct image_job {
	image_done_cb done;
	void *data;
	bool cancelled;
};

static struct {
	struct container list[CONTAINERS_MAX];
	unsigned n, created, fetched;
	enum container_found found;    /* what adopting finds */
	const char *stray;             /* a directory that no task names */
	bool hold_images, deaf;        /* images do not come; containers ignore the signal */
	struct image_job *jobs[CONTAINERS_MAX];
	unsigned n_jobs;
	struct network *networks[CONTAINERS_MAX]; /* calls under way, and what is attached */
	unsigned n_networks, attached, detached, drained;
	bool hold_attach, hold_drain;
	struct error attach_error, adopt_error;
	bool hold_ready;               /* nobody listens (yet) */
	net_ready_cb await;
	container_check_cb check;      /* under way */
	void *await_data, *check_data;
	const char *check_command;     /* the service has a check */
} play;

static struct image an_image = {.digest = "sha256:1234"};

static struct container *container_of_task(const char *id)
{
	for (unsigned i = play.n; i-- > 0;) {
		if (str_eq(play.list[i].id, id) && !play.list[i].gone)
			return &play.list[i];
	}
	return NULL;
}

static struct container *add(const pb_task *task, container_exit_cb on_exit, void *data, enum call pending)
{
	struct container *c = &play.list[play.n];

	assert_true(play.n < CONTAINERS_MAX);
	assert_null(container_of_task(task->id)); /* never two of one task */
	play.n++;
	*c = (struct container){.on_exit = on_exit, .data = data, .pending = pending};
	snprintf(c->id, sizeof(c->id), "%s", task->id);
	return c;
}

static struct network *network_of_task(const char *id);
static bool is_attached(const char *id);

struct container *container_create(struct exec *e, const pb_task *task, struct image *image,
				   const struct net_attachment *network, container_exit_cb on_exit, container_cb cb, void *data)
{
	struct container *c = add(task, on_exit, data, CALL_CREATE);

	assert_non_null(network);
	assert_true(is_attached(task->id));
	c->cb = cb;
	play.created++;
	return c;
}

void container_start(struct container *c, container_cb cb)
{
	assert_int_equal(c->pending, CALL_NONE);
	c->pending = CALL_START;
	c->cb = cb;
}

void container_stop(struct container *c, int64_t grace_ns)
{
	c->stops++;
}

void container_remove(struct container *c, container_cb cb)
{
	assert_int_equal(c->pending, CALL_NONE);
	c->pending = CALL_REMOVE;
	c->cb = cb;
}

void container_forget(struct container *c)
{
	assert_false(c->forgotten);
	c->forgotten = true;
}

struct container *container_adopt(struct exec *e, const pb_task *task, container_exit_cb on_exit,
				  container_adopted_cb cb, void *data)
{
	struct container *c = add(task, on_exit, data, CALL_ADOPT);

	c->adopted = cb;
	return c;
}

const char *container_task_id(const struct container *c)
{
	return c->id;
}

int64_t container_pid(const struct container *c)
{
	return c->running ? 4711 : 0;
}

char **exec_list(const struct exec *e)
{
	struct strv ids = {0};

	if (play.stray)
		strv_add(&ids, play.stray);
	return ids.v ? ids.v : xcalloc(1, sizeof(char *));
}

static void end_process(struct container *c, int exit_code)
{
	struct container_exit end = {.exit_code = exit_code};

	c->running = false;
	c->on_exit(c->data, c, &end);
}

static void answer_container(struct container *c)
{
	struct container_exit end = {.exit_code = 3};
	enum call call = c->pending;

	if (c->forgotten)
		return;
	c->pending = CALL_NONE;
	switch (call) {
	case CALL_ADOPT:
		c->running = play.found == CONTAINER_RUNNING;
		c->adopted(c->data, c, play.found, play.found == CONTAINER_EXITED ? &end : NULL);
		break;
	case CALL_START:
		c->running = true;
		c->cb(c->data, c, NULL);
		break;
	case CALL_REMOVE:
		c->gone = true;
		c->cb(c->data, c, NULL);
		break;
	case CALL_CREATE:
		c->cb(c->data, c, NULL);
		break;
	case CALL_NONE:
		if (c->running && c->stops && !play.deaf)
			end_process(c, 143);
		break;
	}
}

/* ---------------------------------------------------------------- networks */

struct network {
	char id[32];
	bool attached, forgotten;
	net_attach_cb attach;
	net_done_cb drain, detach;
	void *data;
	struct error err;
	int64_t drain_ns;
};

static const struct net_attachment an_attachment = {.netns = "/run/skein/net/task", .hosts = ""};

static struct network *network_of_task(const char *id)
{
	for (unsigned i = 0; i < play.n_networks; i++)
		if (str_eq(play.networks[i]->id, id))
			return play.networks[i];
	return NULL;
}

static bool is_attached(const char *id)
{
	struct network *n = network_of_task(id);

	return n && n->attached;
}

static struct network *network_for(const char *id, void *data)
{
	struct network *n = network_of_task(id);

	if (!n) {
		assert_true(play.n_networks < CONTAINERS_MAX);
		n = play.networks[play.n_networks++] = xnew(struct network);
		snprintf(n->id, sizeof(n->id), "%s", id);
	}
	n->data = data;
	n->forgotten = false;
	return n;
}

bool net_wanted(const pb_task *task)
{
	return !str_eq(task->spec->network, "none") && !str_eq(task->spec->network, "host");
}

void net_attach(struct net *net, const pb_task *task, net_attach_cb cb, void *data)
{
	struct network *n = network_for(task->id, data);

	assert_null(n->attach);
	assert_false(n->attached);
	n->attach = cb;
	n->err = play.attach_error;
	play.attached++;
}

void net_adopt(struct net *net, const pb_task *task, net_attach_cb cb, void *data)
{
	struct network *n = network_for(task->id, data);

	n->attach = cb;
	n->err = play.adopt_error;
}

void net_drain(struct net *net, const char *task_id, int64_t max_ns, net_done_cb cb, void *data)
{
	struct network *n = network_for(task_id, data);

	assert_null(n->drain);
	n->drain = cb;
	n->drain_ns = max_ns;
	play.drained++;
}

void net_detach(struct net *net, const char *task_id, net_done_cb cb, void *data)
{
	struct network *n = network_for(task_id, data);
	struct container *c = container_of_task(task_id);

	assert_null(n->detach);
	assert_false(c && c->running);
	n->detach = cb;
	play.detached++;
}

void net_forget(struct net *net, const char *task_id)
{
	struct network *n = network_of_task(task_id);

	if (n)
		n->forgotten = true;
}

bool net_await(struct net *net, const char *task_id, const uint16_t *exposed, size_t n_exposed, int64_t max_ns,
	       net_ready_cb cb, void *data)
{
	play.await = play.hold_ready ? cb : NULL;
	play.await_data = data;
	return play.hold_ready;
}

void net_await_cancel(struct net *net, const char *task_id)
{
	play.await = NULL;
}

struct container_check *container_check(struct container *c, int64_t timeout_ns, container_check_cb cb, void *data)
{
	assert_true(c->running);
	play.check = cb;
	play.check_data = data;
	return (struct container_check *)&play;
}

void container_check_cancel(struct container_check *k)
{
	play.check = NULL;
}

static void answer_network(struct network *n)
{
	static const struct error cancelled = {.code = ERR_CANCELLED, .msg = "given up"};
	net_attach_cb attach = n->attach;
	net_done_cb drain = n->drain, detach = n->detach;

	if (n->forgotten)
		return;
	if (attach && (!play.hold_attach || detach)) {
		const struct error *err = detach ? &cancelled : error_is_set(&n->err) ? &n->err : NULL;

		n->attach = NULL;
		n->attached = err == NULL;
		attach(n->data, err ? NULL : &an_attachment, err);
	} else if (drain && (!play.hold_drain || detach)) {
		n->drain = NULL;
		drain(n->data, NULL);
	} else if (detach) {
		n->detach = NULL;
		n->attached = false;
		detach(n->data, NULL);
	}
}

/* ---------------------------------------------------------------- images */

struct image *image_ref(struct image *image)
{
	return image;
}

void image_unref(struct image *image)
{
}

struct image *image_held(struct image_store *s, const char *digest)
{
	return NULL;
}

struct image_job *image_ensure(struct image_store *s, const struct image_want *want, image_progress_cb progress,
			       image_done_cb done, void *data)
{
	struct image_job *job = xnew(struct image_job);

	assert_true(play.n_jobs < CONTAINERS_MAX);
	*job = (struct image_job){.done = done, .data = data};
	play.jobs[play.n_jobs++] = job;
	play.fetched++;
	return job;
}

void image_job_cancel(struct image_job *job)
{
	job->cancelled = true;
}

static void answer_image(void)
{
	struct image_job job;
	struct error err = ERROR_INIT;

	if (play.n_jobs == 0 || (play.hold_images && !play.jobs[play.n_jobs - 1]->cancelled))
		return;
	job = *play.jobs[--play.n_jobs];
	free(play.jobs[play.n_jobs]);
	error_set(&err, ERR_CANCELLED, "cancelled");
	job.done(job.data, job.cancelled ? NULL : &an_image, job.cancelled ? &err : NULL);
}

/* ---------------------------------------------------------------- the world */

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

static int send_batch(void *data, const Skein__StatusReports *batch)
{
	struct world *w = data;

	for (size_t i = 0; i < batch->n_reports; i++)
		w->seen[batch->reports[i]->status->state]++;
	w->sent = batch->sequence;
	return 0;
}

static bool probing; /* which runtime works is not known yet */

static bool exec_ready(void *data, struct error *err)
{
	return !probing;
}

static bool net_ready(void *data, struct error *err)
{
	return true;
}

static void open_worker(struct world *w)
{
	struct error err = ERROR_INIT;
	struct worker_options options = {.loop = &w->loop, .exec_ready = exec_ready, .net_ready = net_ready, .data = w};

	w->db = taskdb_new(&w->loop, w->dir, &err);
	assert_non_null(w->db);
	w->reporter = reporter_new(&w->loop, send_batch, w);
	reporter_session(w->reporter, true);
	options.db = w->db;
	options.reporter = w->reporter;
	w->worker = worker_new(&options);
}

static void on_db_closed(void *data)
{
	((struct world *)data)->closed = true;
}

static void turn(struct world *w)
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
static void close_worker(struct world *w)
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

static int setup(void **state)
{
	struct world *w = xnew(struct world);

	memset(&play, 0, sizeof(play));
	uv_loop_init(&w->loop);
	snprintf(w->dir, sizeof(w->dir), "/tmp/skein-worker-XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	open_worker(w);
	*state = w;
	return 0;
}

static int teardown(void **state)
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

static pb_task *make_task(const char *id, int desired, int task_state)
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
};

static int apply(struct world *w, struct part part, struct error *err)
{
	_cleanup_pb_ Skein__Assignments *set = pb_new(&skein__assignments__descriptor);

	set->complete = part.complete;
	set->more = part.more;
	set->applies_to = part.from;
	set->results_in = part.to;
	for (size_t i = 0; i < 3 && part.update[i]; i++) {
		Skein__Assignment *a = pb_new(&skein__assignment__descriptor);

		a->task = make_task(part.update[i], part.desired ? part.desired : TASK_RUNNING, TASK_ASSIGNED);
		pb_msgs_add(&set->n_update, &set->update, a);
	}
	for (size_t i = 0; i < 3 && part.remove[i]; i++)
		pb_strs_add(&set->n_remove, &set->remove, part.remove[i]);
	return worker_apply(w->worker, set, err);
}

static void must_apply(struct world *w, struct part part)
{
	struct error err = ERROR_INIT;

	if (apply(w, part, &err) < 0)
		fail_msg("%s", err.msg);
}

static bool runs(const char *id)
{
	struct container *c = container_of_task(id);

	return c && c->running;
}

static bool on_disk(const struct world *w, const char *id)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", w->dir, id);

	return access(path, F_OK) == 0;
}

static void assigned_tasks_run_and_removed_ones_go(void **state)
{
	struct world *w = *state;

	must_apply(w, (struct part){.complete = true, .to = 5, .update = {T1, T2}});
	until(w, worker_running(w->worker) == 2);
	must_apply(w, (struct part){.from = 5, .to = 6, .update = {T3}, .remove = {T1, "unknown"}});
	until(w, runs(T3) && !container_of_task(T1) && !on_disk(w, T1));
	assert_true(runs(T2));
	assert_int_equal(play.created, 3);
	assert_int_equal(w->seen[TASK_RUNNING] > 0, 1);
}

static void tasks_wait_until_a_runtime_is_found(void **state)
{
	struct world *w = *state;

	probing = true;
	must_apply(w, (struct part){.complete = true, .to = 5, .update = {T1, T2}});
	until(w, w->seen[TASK_ACCEPTED] > 0 && on_disk(w, T1) && on_disk(w, T2));
	for (int i = 0; i < 20; i++)
		turn(w);
	assert_int_equal(play.created, 0);
	assert_int_equal(w->seen[TASK_PREPARING], 0);
	probing = false;
	worker_kick(w->worker);
	until(w, worker_running(w->worker) == 2);
}

static void a_set_that_does_not_fit_is_refused(void **state)
{
	struct world *w = *state;
	struct error err = ERROR_INIT;

	must_apply(w, (struct part){.complete = true, .to = 5, .update = {T1}});
	assert_int_equal(apply(w, (struct part){.from = 4, .to = 6, .remove = {T1}}, &err), -1);
	assert_int_equal(err.code, ERR_CONFLICT);
	until(w, runs(T1));
	/* a complete one fits always */
	must_apply(w, (struct part){.complete = true, .to = 2, .update = {T1}});
	must_apply(w, (struct part){.from = 2, .to = 3, .remove = {T1}});
	until(w, !container_of_task(T1));
}

static void malformed_assignments_are_refused_whole(void **state)
{
	struct world *w = *state;
	static const char *const ids[] = {"", "../../etc/passwd", "short", "UPPERCASEUPPERCASEUPPERCA"};
	_cleanup_pb_ Skein__Assignments *set = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
		struct error err = ERROR_INIT;

		assert_int_equal(apply(w, (struct part){.complete = true, .to = 1, .update = {T1, ids[i]}}, &err), -1);
		assert_int_equal(err.code, ERR_INVALID);
	}
	set = pb_new(&skein__assignments__descriptor);
	set->complete = true;
	pb_msgs_add(&set->n_update, &set->update, pb_new(&skein__assignment__descriptor));
	assert_int_equal(worker_apply(w->worker, set, &(struct error){0}), -1);
	turn(w);
	assert_int_equal(play.n, 0);
}

static void a_complete_set_in_parts_drops_nothing_before_its_end(void **state)
{
	struct world *w = *state;

	must_apply(w, (struct part){.complete = true, .to = 1, .update = {T1, T2, T3}});
	until(w, worker_running(w->worker) == 3);
	must_apply(w, (struct part){.complete = true, .more = true, .to = 7, .update = {T1}});
	turn(w);
	assert_int_equal(worker_running(w->worker), 3);
	must_apply(w, (struct part){.from = 7, .to = 8, .update = {T2}});
	until(w, !container_of_task(T3));
	assert_true(runs(T1) && runs(T2));
	assert_int_equal(play.created, 3);
}

static void a_part_lost_with_its_stream_drops_nothing(void **state)
{
	struct world *w = *state;

	must_apply(w, (struct part){.complete = true, .to = 1, .update = {T1, T2}});
	until(w, worker_running(w->worker) == 2);
	must_apply(w, (struct part){.complete = true, .more = true, .to = 7, .update = {T1}});
	/* the next session begins anew */
	must_apply(w, (struct part){.complete = true, .more = true, .to = 1, .update = {T2}});
	must_apply(w, (struct part){.from = 1, .to = 2, .update = {T1}});
	for (int i = 0; i < 20; i++)
		turn(w);
	assert_int_equal(worker_running(w->worker), 2);
	assert_int_equal(play.created, 2);
}

static void what_ended_elsewhere_gets_no_container(void **state)
{
	struct world *w = *state;
	_cleanup_pb_ Skein__Assignments *set = pb_new(&skein__assignments__descriptor);
	Skein__Assignment *a = pb_new(&skein__assignment__descriptor);

	set->complete = true;
	a->task = make_task(T1, TASK_SHUTDOWN, TASK_FAILED);
	pb_msgs_add(&set->n_update, &set->update, a);
	assert_int_equal(worker_apply(w->worker, set, &(struct error){0}), 0);
	turn(w);
	assert_int_equal(play.n, 0);
	assert_false(on_disk(w, T1));
}

/* ---------------------------------------------------------------- leaving */

static void on_stopped(void *data)
{
	((struct world *)data)->stopped++;
}

static void leaving_ends_every_task_and_takes_no_more(void **state)
{
	struct world *w = *state;

	must_apply(w, (struct part){.complete = true, .to = 1, .update = {T1, T2}});
	until(w, worker_running(w->worker) == 2);
	assert_int_equal(worker_grace_ns(w->worker), 7);
	worker_stop_all(w->worker, on_stopped, w);
	/* the manager does not know yet: it sends a successor, and an old one again */
	must_apply(w, (struct part){.from = 1, .to = 2, .update = {T1, T3}});
	until(w, w->stopped == 1);
	assert_int_equal(play.created, 2);
	assert_int_equal(worker_running(w->worker), 0);
	assert_null(container_of_task(T1));
	until(w, !on_disk(w, T1) && !on_disk(w, T2));
	/* in a cluster again */
	worker_begin(w->worker);
	must_apply(w, (struct part){.complete = true, .to = 1, .update = {T3}});
	until(w, runs(T3));
	assert_int_equal(w->stopped, 1);
}

static void leaving_without_tasks_is_told_later(void **state)
{
	struct world *w = *state;

	worker_stop_all(w->worker, on_stopped, w);
	assert_int_equal(w->stopped, 0);
	until(w, w->stopped == 1);
}

/* ---------------------------------------------------------------- restarts */

static void save(struct world *w, int desired, int task_state)
{
	_cleanup_pb_ pb_task *t = make_task(T1, desired, task_state);

	taskdb_put(w->db, t, NULL, NULL);
	until(w, on_disk(w, T1));
}

static void a_running_container_is_found_again(void **state)
{
	struct world *w = *state;

	save(w, TASK_RUNNING, TASK_RUNNING);
	play.found = CONTAINER_RUNNING;
	worker_adopt(w->worker);
	until(w, worker_running(w->worker) == 1 && runs(T1));
	must_apply(w, (struct part){.complete = true, .to = 1, .update = {T1}});
	for (int i = 0; i < 20; i++)
		turn(w);
	assert_int_equal(play.created, 0);
	assert_int_equal(container_of_task(T1)->stops, 0);
}

/* The agent that had sent the stop signal is gone, and with it the timer that would have killed. */
static void a_stop_under_way_is_sent_again(void **state)
{
	struct world *w = *state;

	save(w, TASK_SHUTDOWN, TASK_RUNNING);
	play.found = CONTAINER_RUNNING;
	play.deaf = true;
	worker_adopt(w->worker);
	until(w, container_of_task(T1) && container_of_task(T1)->stops == 1);
	play.deaf = false;
	until(w, w->seen[TASK_SHUTDOWN] > 0);
	assert_int_equal(container_of_task(T1)->stops, 1);
}

static void an_exit_meanwhile_counts_as_asked_for(void **state)
{
	struct world *w = *state;

	save(w, TASK_SHUTDOWN, TASK_RUNNING);
	play.found = CONTAINER_EXITED;
	worker_adopt(w->worker);
	until(w, w->seen[TASK_SHUTDOWN] > 0);
	assert_int_equal(w->seen[TASK_FAILED], 0);
}

static void an_exit_meanwhile_without_that_is_a_failure(void **state)
{
	struct world *w = *state;

	save(w, TASK_RUNNING, TASK_RUNNING);
	play.found = CONTAINER_EXITED;
	worker_adopt(w->worker);
	until(w, w->seen[TASK_FAILED] > 0);
}

static void a_start_cut_off_leaves_nothing(void **state)
{
	struct world *w = *state;

	save(w, TASK_RUNNING, TASK_STARTING);
	play.found = CONTAINER_CREATED;
	worker_adopt(w->worker);
	until(w, w->seen[TASK_FAILED] > 0 && !container_of_task(T1));
	/* the task stays until the manager drops it */
	assert_true(on_disk(w, T1));
	must_apply(w, (struct part){.complete = true, .to = 1});
	until(w, !on_disk(w, T1));
}

static void a_preparation_cut_off_begins_again(void **state)
{
	struct world *w = *state;

	save(w, TASK_RUNNING, TASK_ACCEPTED);
	play.found = CONTAINER_GONE;
	worker_adopt(w->worker);
	until(w, runs(T1));
	assert_int_equal(play.created, 1);
	assert_int_equal(w->seen[TASK_FAILED], 0);
}

/* Saved as READY and wanted RUNNING, but not begun to start: its half-made container goes, and another one is made. */
static void a_ready_one_that_did_not_start_begins_again(void **state)
{
	struct world *w = *state;

	save(w, TASK_RUNNING, TASK_READY);
	play.found = CONTAINER_CREATED;
	worker_adopt(w->worker);
	until(w, runs(T1));
	assert_int_equal(play.created, 1);
	assert_int_equal(w->seen[TASK_FAILED], 0);
}

static void a_directory_of_no_task_is_removed(void **state)
{
	struct world *w = *state;

	play.stray = T2;
	play.found = CONTAINER_RUNNING;
	worker_adopt(w->worker);
	until(w, play.n == 1 && play.list[0].gone);
	assert_int_equal(play.list[0].stops, 1);
	until(w, !on_disk(w, T2));
}

/* ---------------------------------------------------------------- networks */

static void a_network_lasts_from_before_the_container_to_its_end(void **state)
{
	struct world *w = *state;

	must_apply(w, (struct part){.complete = true, .to = 1, .update = {T1}});
	until(w, runs(T1) && w->seen[TASK_RUNNING] > 0);
	assert_true(is_attached(T1));
	assert_int_equal(play.drained, 0);
	must_apply(w, (struct part){.from = 1, .to = 2, .update = {T1}, .desired = TASK_SHUTDOWN});
	until(w, w->seen[TASK_SHUTDOWN] > 0 && !is_attached(T1));
	assert_int_equal(play.drained, 1);
	assert_int_equal(network_of_task(T1)->drain_ns, 7); /* not longer than the grace period */
	/* its files stay until the manager drops it */
	assert_non_null(container_of_task(T1));
	must_apply(w, (struct part){.from = 2, .to = 3, .remove = {T1}});
	until(w, !on_disk(w, T1));
	assert_int_equal(play.attached, 1);
	assert_int_equal(play.detached, 1);
}

static void the_stop_signal_waits_for_the_drain(void **state)
{
	struct world *w = *state;

	must_apply(w, (struct part){.complete = true, .to = 1, .update = {T1}});
	until(w, worker_running(w->worker) == 1);
	play.hold_drain = true;
	must_apply(w, (struct part){.from = 1, .to = 2, .update = {T1}, .desired = TASK_SHUTDOWN});
	for (int i = 0; i < 20; i++)
		turn(w);
	assert_int_equal(container_of_task(T1)->stops, 0);
	play.hold_drain = false;
	until(w, w->seen[TASK_SHUTDOWN] > 0);
	assert_int_equal(container_of_task(T1)->stops, 1);
	assert_int_equal(play.drained, 1);
}

static void an_end_while_draining_is_told_at_once(void **state)
{
	struct world *w = *state;

	must_apply(w, (struct part){.complete = true, .to = 1, .update = {T1}});
	until(w, worker_running(w->worker) == 1);
	play.hold_drain = true;
	must_apply(w, (struct part){.from = 1, .to = 2, .remove = {T1}});
	until(w, play.drained == 1);
	end_process(container_of_task(T1), 1);
	until(w, w->seen[TASK_SHUTDOWN] > 0);
	assert_true(on_disk(w, T1));
	play.hold_drain = false;
	until(w, !on_disk(w, T1));
	assert_int_equal(play.detached, 1);
}

static void a_network_that_cannot_be_made_rejects_the_task(void **state)
{
	struct world *w = *state;

	error_set(&play.attach_error, ERR_TIMEOUT, "network backend: nothing was heard of it");
	must_apply(w, (struct part){.complete = true, .to = 1, .update = {T1}});
	until(w, w->seen[TASK_REJECTED] > 0);
	assert_int_equal(play.created, 0);
	must_apply(w, (struct part){.from = 1, .to = 2, .remove = {T1}});
	until(w, !on_disk(w, T1));
	assert_int_equal(play.detached, 0);
}

static void waiting_for_a_network_is_given_up(void **state)
{
	struct world *w = *state;

	play.hold_attach = true;
	must_apply(w, (struct part){.complete = true, .to = 1, .update = {T1}});
	until(w, play.attached == 1);
	must_apply(w, (struct part){.from = 1, .to = 2, .remove = {T1}});
	until(w, !on_disk(w, T1));
	assert_int_equal(play.detached, 1);
	assert_int_equal(play.created, 0);
	assert_int_equal(w->seen[TASK_REJECTED], 0);
}

static void a_container_without_its_namespace_is_replaced(void **state)
{
	struct world *w = *state;

	error_set(&play.adopt_error, ERR_NOT_FOUND, "no namespace");
	save(w, TASK_RUNNING, TASK_RUNNING);
	play.found = CONTAINER_RUNNING;
	worker_adopt(w->worker);
	until(w, w->seen[TASK_FAILED] > 0);
	assert_int_equal(container_of_task(T1)->stops, 1);
	assert_int_equal(play.drained, 0);
	assert_int_equal(w->seen[TASK_SHUTDOWN], 0);
}

static void a_network_that_is_not_understood_leaves_the_container_alone(void **state)
{
	struct world *w = *state;

	error_set(&play.adopt_error, ERR_INTERNAL, "netlink: busy");
	save(w, TASK_RUNNING, TASK_RUNNING);
	play.found = CONTAINER_RUNNING;
	worker_adopt(w->worker);
	until(w, worker_running(w->worker) == 1 && runs(T1));
	for (int i = 0; i < 20; i++)
		turn(w);
	assert_int_equal(container_of_task(T1)->stops, 0);
	must_apply(w, (struct part){.complete = true, .to = 1});
	until(w, !on_disk(w, T1));
	assert_int_equal(play.detached, 1);
}

static void what_an_ended_task_left_is_detached(void **state)
{
	struct world *w = *state;

	save(w, TASK_RUNNING, TASK_FAILED);
	play.found = CONTAINER_EXITED;
	worker_adopt(w->worker);
	until(w, play.detached == 1 && !is_attached(T1));
	assert_true(on_disk(w, T1));
}

static void networks_outlive_the_agent(void **state)
{
	struct world *w = *state;

	play.hold_attach = true;
	must_apply(w, (struct part){.complete = true, .to = 1, .update = {T1}});
	until(w, play.attached == 1);
	close_worker(w);
	assert_int_equal(play.detached, 0);
	network_of_task(T1)->attach = NULL; /* forgotten: the next agent asks anew */
	play.hold_attach = false;
	play.found = CONTAINER_GONE;
	error_set(&play.adopt_error, ERR_NOT_FOUND, "no namespace");
	open_worker(w);
	worker_adopt(w->worker);
	until(w, runs(T1));
	assert_int_equal(play.attached, 2);
}

/* ---------------------------------------------------------------- serving */

static void turns(struct world *w)
{
	for (int i = 0; i < 20; i++)
		turn(w);
}

static void answer_check(struct world *w, int exit_code)
{
	container_check_cb cb;

	until(w, play.check);
	cb = play.check;
	play.check = NULL;
	cb(play.check_data, &(struct check_end){.exit_code = exit_code, .output = "says why"});
}

static void a_task_is_running_once_it_serves(void **state)
{
	struct world *w = *state;

	play.hold_ready = true;
	must_apply(w, (struct part){.complete = true, .to = 1, .update = {T1}});
	until(w, runs(T1) && play.await);
	turns(w);
	assert_int_equal(worker_running(w->worker), 0);
	assert_int_equal(w->seen[TASK_RUNNING], 0);
	play.await(play.await_data, NULL);
	until(w, worker_running(w->worker) == 1 && w->seen[TASK_RUNNING] == 1);
}

static void one_that_does_not_serve_yet_is_stopped_at_once(void **state)
{
	struct world *w = *state;

	play.hold_ready = true;
	must_apply(w, (struct part){.complete = true, .to = 1, .update = {T1}});
	until(w, runs(T1) && play.await);
	must_apply(w, (struct part){.from = 1, .to = 2, .update = {T1}, .desired = TASK_SHUTDOWN});
	until(w, w->seen[TASK_SHUTDOWN] > 0);
	assert_int_equal(play.drained, 0);
	assert_null(play.await);
	assert_int_equal(w->seen[TASK_RUNNING], 0);
}

static void a_process_that_ends_before_it_serves_has_failed(void **state)
{
	struct world *w = *state;

	play.hold_ready = true;
	must_apply(w, (struct part){.complete = true, .to = 1, .update = {T1}});
	until(w, runs(T1) && play.await);
	end_process(container_of_task(T1), 1);
	until(w, w->seen[TASK_FAILED] > 0);
	assert_null(play.await);
}

static void an_unhealthy_task_leaves_balancing_and_fails(void **state)
{
	struct world *w = *state;

	play.check_command = "true";
	must_apply(w, (struct part){.complete = true, .to = 1, .update = {T1}});
	answer_check(w, 1);
	assert_int_equal(worker_running(w->worker), 0);
	answer_check(w, 0);
	until(w, worker_running(w->worker) == 1);
	play.hold_drain = true;
	answer_check(w, 1);
	answer_check(w, 1);
	until(w, play.drained == 1);
	turns(w);
	assert_int_equal(container_of_task(T1)->stops, 0);
	assert_int_equal(w->seen[TASK_FAILED], 0); /* its process runs */
	play.hold_drain = false;
	until(w, w->seen[TASK_FAILED] > 0);
	assert_int_equal(container_of_task(T1)->stops, 1);
	assert_int_equal(w->seen[TASK_SHUTDOWN], 0);
	assert_null(play.check);
}

static void an_unhealthy_task_that_is_told_to_stop_has_done_so(void **state)
{
	struct world *w = *state;

	play.check_command = "true";
	play.deaf = true;
	must_apply(w, (struct part){.complete = true, .to = 1, .update = {T1}});
	answer_check(w, 0);
	until(w, worker_running(w->worker) == 1);
	answer_check(w, 1);
	answer_check(w, 1);
	until(w, container_of_task(T1)->stops == 1);
	play.deaf = false;
	until(w, w->seen[TASK_FAILED] > 0);
	must_apply(w, (struct part){.from = 1, .to = 2, .remove = {T1}});
	until(w, !on_disk(w, T1));
}

/* What an agent that has ended knew of health counts for the next one. */
static void save_health(struct world *w, int task_state, int health)
{
	_cleanup_pb_ pb_task *t = NULL;

	play.check_command = "true";
	t = make_task(T1, TASK_RUNNING, task_state);
	t->status->health = pb_new(&skein__task_health__descriptor);
	t->status->health->state = (Skein__HealthState)health;
	taskdb_put(w->db, t, NULL, NULL);
	until(w, on_disk(w, T1));
	play.found = CONTAINER_RUNNING;
	worker_adopt(w->worker);
}

static void checks_go_on_after_a_restart_of_the_agent(void **state)
{
	struct world *w = *state;

	save_health(w, TASK_RUNNING, HEALTH_HEALTHY);
	until(w, worker_running(w->worker) == 1);
	answer_check(w, 1);
	answer_check(w, 1);
	until(w, w->seen[TASK_FAILED] > 0);
}

static void a_start_that_was_watched_is_watched_again(void **state)
{
	struct world *w = *state;

	save_health(w, TASK_STARTING, HEALTH_STARTING);
	until(w, play.check);
	turns(w);
	assert_int_equal(worker_running(w->worker), 0);
	answer_check(w, 0);
	until(w, worker_running(w->worker) == 1);
}

static void a_stop_for_bad_health_goes_on_after_a_restart_of_the_agent(void **state)
{
	struct world *w = *state;

	save_health(w, TASK_RUNNING, HEALTH_UNHEALTHY);
	until(w, w->seen[TASK_FAILED] > 0);
	assert_int_equal(container_of_task(T1)->stops, 1);
	assert_null(play.check);
}

/* ---------------------------------------------------------------- the agent ends */

static void frozen_tasks_go_no_step_further(void **state)
{
	struct world *w = *state;

	play.hold_images = true;
	must_apply(w, (struct part){.complete = true, .to = 1, .update = {T1}});
	until(w, play.n_jobs > 0);
	close_worker(w);
	/* the store's "cancelled" did not make it ask again */
	assert_int_equal(play.fetched, 1);
	assert_int_equal(play.created, 0);
	assert_true(on_disk(w, T1));
	play.hold_images = false;
	play.found = CONTAINER_GONE;
	open_worker(w);
	worker_adopt(w->worker);
	until(w, runs(T1));
}

static void containers_outlive_the_agent(void **state)
{
	struct world *w = *state;

	must_apply(w, (struct part){.complete = true, .to = 1, .update = {T1}});
	until(w, runs(T1));
	close_worker(w);
	assert_true(container_of_task(T1)->forgotten);
	assert_int_equal(container_of_task(T1)->stops, 0);
	play.n = 0;
	play.found = CONTAINER_RUNNING;
	open_worker(w);
	worker_adopt(w->worker);
	until(w, worker_running(w->worker) == 1 && runs(T1));
}

/* A task whose saving ends while everything closes. */
static void a_task_being_saved_starts_nothing(void **state)
{
	struct world *w = *state;

	must_apply(w, (struct part){.complete = true, .to = 1, .update = {T1}});
	close_worker(w);
	assert_int_equal(play.fetched, 0);
	assert_true(on_disk(w, T1));
	open_worker(w);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(assigned_tasks_run_and_removed_ones_go),
		T(tasks_wait_until_a_runtime_is_found),
		T(a_set_that_does_not_fit_is_refused),
		T(malformed_assignments_are_refused_whole),
		T(a_complete_set_in_parts_drops_nothing_before_its_end),
		T(a_part_lost_with_its_stream_drops_nothing),
		T(what_ended_elsewhere_gets_no_container),
		T(leaving_ends_every_task_and_takes_no_more),
		T(leaving_without_tasks_is_told_later),
		T(a_running_container_is_found_again),
		T(a_stop_under_way_is_sent_again),
		T(an_exit_meanwhile_counts_as_asked_for),
		T(an_exit_meanwhile_without_that_is_a_failure),
		T(a_start_cut_off_leaves_nothing),
		T(a_preparation_cut_off_begins_again),
		T(a_ready_one_that_did_not_start_begins_again),
		T(a_directory_of_no_task_is_removed),
		T(a_network_lasts_from_before_the_container_to_its_end),
		T(the_stop_signal_waits_for_the_drain),
		T(an_end_while_draining_is_told_at_once),
		T(a_network_that_cannot_be_made_rejects_the_task),
		T(waiting_for_a_network_is_given_up),
		T(a_container_without_its_namespace_is_replaced),
		T(a_network_that_is_not_understood_leaves_the_container_alone),
		T(what_an_ended_task_left_is_detached),
		T(networks_outlive_the_agent),
		T(a_task_is_running_once_it_serves),
		T(one_that_does_not_serve_yet_is_stopped_at_once),
		T(a_process_that_ends_before_it_serves_has_failed),
		T(an_unhealthy_task_leaves_balancing_and_fails),
		T(an_unhealthy_task_that_is_told_to_stop_has_done_so),
		T(checks_go_on_after_a_restart_of_the_agent),
		T(a_start_that_was_watched_is_watched_again),
		T(a_stop_for_bad_health_goes_on_after_a_restart_of_the_agent),
		T(frozen_tasks_go_no_step_further),
		T(containers_outlive_the_agent),
		T(a_task_being_saved_starts_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
