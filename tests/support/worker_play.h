/*
 * worker_play - the siblings of a worker, played: containers, images and networks. Each call is answered later, by answer_*(),
 * as the real ones answer later. What may be asked of them is checked as they are called.
 * A test program includes it once: it defines the functions of agent/exec, agent/image and agent/net that a worker calls.
 */
#pragma once
#include "agent/exec/exec.h"
#include "agent/image/image.h"
#include "agent/net/net.h"
#include "common/mem.h"
#include "common/str.h"
#include "support/worker_move.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONTAINERS_MAX 16
#define T1 "11111111111111111111task1"
#define T2 "22222222222222222222task2"
#define T3 "33333333333333333333task3"

/* ---------------------------------------------------------------- containers */

enum call { CALL_NONE, CALL_CREATE, CALL_START, CALL_RESTORE, CALL_REMOVE, CALL_ADOPT };

struct container {
	char id[32];
	void *data;
	container_exit_cb on_exit;
	container_cb cb;
	container_adopted_cb adopted;
	container_restored_cb restored;
	enum call pending;
	bool running, gone, forgotten;
	unsigned stops, kills;
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

static inline struct container *container_of_task(const char *id)
{
	for (unsigned i = play.n; i-- > 0;) {
		if (str_eq(play.list[i].id, id) && !play.list[i].gone)
			return &play.list[i];
	}
	return NULL;
}

static inline struct container *add(const pb_task *task, container_exit_cb on_exit, void *data, enum call pending)
{
	struct container *c = &play.list[play.n];

	assert_true(play.n < CONTAINERS_MAX);
	assert_null(container_of_task(task->id)); /* never two of one task */
	play.n++;
	*c = (struct container){.on_exit = on_exit, .data = data, .pending = pending};
	snprintf(c->id, sizeof(c->id), "%s", task->id);
	return c;
}

static inline struct network *network_of_task(const char *id);
static inline bool is_attached(const char *id);

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

void container_kill(struct container *c, int signum)
{
	c->kills++;
}

void container_restore(struct container *c, const char *images, container_restored_cb cb, void *data)
{
	assert_int_equal(c->pending, CALL_NONE);
	assert_string_equal(images, "/images/3");
	c->pending = CALL_RESTORE;
	c->restored = cb;
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

static inline void end_process(struct container *c, int exit_code)
{
	struct container_exit end = {.exit_code = exit_code};

	c->running = false;
	c->on_exit(c->data, c, &end);
}

static inline void answer_container(struct container *c)
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
	case CALL_RESTORE:
		c->running = !error_is_set(&moving.restore_error);
		c->restored(c->data, c, NULL, c->running ? NULL : &moving.restore_error);
		break;
	case CALL_REMOVE:
		c->gone = true;
		c->cb(c->data, c, NULL);
		break;
	case CALL_CREATE:
		c->cb(c->data, c, NULL);
		break;
	case CALL_NONE:
		if (c->running && ((c->stops && !play.deaf) || c->kills))
			end_process(c, c->kills ? 137 : 143);
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

static inline struct network *network_of_task(const char *id)
{
	for (unsigned i = 0; i < play.n_networks; i++)
		if (str_eq(play.networks[i]->id, id))
			return play.networks[i];
	return NULL;
}

static inline bool is_attached(const char *id)
{
	struct network *n = network_of_task(id);

	return n && n->attached;
}

static inline struct network *network_for(const char *id, void *data)
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

void net_attach_shut(struct net *net, const pb_task *task, net_attach_cb cb, void *data)
{
	assert_string_not_equal(task->migrated_from, ""); /* nobody would open it */
	net_attach(net, task, cb, data);
}

void net_adopt_as(struct net *net, const pb_task *task, enum net_gate gate, net_attach_cb cb, void *data)
{
	struct network *n = network_for(task->id, data);

	moving.gate = gate;
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

static inline void answer_network(struct network *n)
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

static inline void answer_image(void)
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
