#include "task_internal.h"

#include "agent/net/net.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/str.h"
#include "task_stats.h"
#include "taskdb.h"

#include <assert.h>
#include <signal.h>
#include <stdio.h>

/* ---------------------------------------------------------------- status */

/* Save what a restart must know; progress below STARTING is found again by itself. */
void task_save(struct task *t)
{
	taskdb_put(t->env->db, t->obj, NULL, NULL);
}

void task_set_state(struct task *t, int state, const char *message, const char *err)
{
	pb_task_status *s = task_status_of(t);

	if (state <= (int)s->state)
		return;
	s->state = (Skein__TaskState)state;
	s->at = clock_wall_ns();
	pb_set_str(&s->message, message);
	pb_set_str(&s->err, err);
	if (state >= TASK_STARTING)
		task_save(t);
	log_info("task_state", kv_str("task", t->obj->id), kv_str("service", t->obj->service_name),
		 kv_str("to", pb_task_state_name(state)), kv_str("error", err ? err : ""));
	t->env->on_status(t->env->data, t);
	task_tell_move(t);
}

/* An error before STARTING rejects the task, one at or after it fails it (Swarm's rule). */
void task_set_failed(struct task *t, const struct error *err)
{
	bool rejected = task_status_of(t)->state < TASK_STARTING;

	task_set_state(t, rejected ? TASK_REJECTED : TASK_FAILED, rejected ? "preparing" : "starting", err->msg);
}

/* ---------------------------------------------------------------- steps */

void task_step_begin(struct task *t, enum task_op op)
{
	t->op = op;
	t->step_began = clock_mono_ns();
}

/* What was given up is neither a success nor a failure. */
void task_step_end(struct task *t, enum start_phase phase, const struct error *err)
{
	t->op = OP_NONE;
	if (!err || err->code != ERR_CANCELLED)
		task_stats_phase(t->env->stats, phase, clock_mono_ns() - t->step_began, !err);
}

static void on_saved(void *data, const struct error *err)
{
	struct task *t = data;

	t->op = OP_NONE;
	t->saved = true;
	if (t->frozen)
		return;
	if (err)
		task_set_failed(t, err);
	task_advance(t);
}

static void do_accept(struct task *t)
{
	task_set_state(t, TASK_ACCEPTED, "accepted", NULL);
	t->op = OP_SAVE;
	taskdb_put(t->env->db, t->obj, on_saved, t);
}

static void on_image_progress(void *data, const char *message)
{
	struct task *t = data;

	log_debug("task_image", kv_str("task", t->obj->id), kv_str("progress", message));
}

static void on_image(void *data, struct image *image, const struct error *err)
{
	struct task *t = data;

	task_step_end(t, START_IMAGE, err);
	t->image_job = NULL;
	if (t->frozen)
		return;
	if (image) {
		t->image = image_ref(image);
		if (str_empty(t->obj->spec->container->image_digest)) /* a tag may move on; this task stays with it */
			pb_set_str(&t->obj->spec->container->image_digest, image->digest);
		task_resolve_health(t);
	} else if (err->code != ERR_CANCELLED)
		task_set_failed(t, err);
	task_advance(t);
}

static void do_prepare(struct task *t)
{
	const pb_container_spec *c = t->obj->spec->container;
	struct error err = ERROR_INIT;
	struct image_want want = {
		.ref = c->image,
		.digest = c->image_digest,
		.loaded = c->image_origin == IMAGE_LOADED,
		.registry_auth = str_empty(c->registry_auth) ? NULL : c->registry_auth,
		.peers = (const char *const *)t->image_peers.v,
	};

	task_set_state(t, TASK_PREPARING, "preparing", NULL);
	if (!t->env->exec_ready(t->env->data, &err)) {
		task_set_failed(t, &err);
		return;
	}
	task_step_begin(t, OP_IMAGE);
	t->image_job = image_ensure(t->env->images, &want, on_image_progress, on_image, t);
}

static void on_exit_of_container(void *data, struct container *c, const struct container_exit *end)
{
	struct task *t = data;
	char why[128] = "";

	t->running = false;
	task_unwatch_serving(t);
	task_status_of(t)->exit_code = end->exit_code;
	task_status_of(t)->pid = 0;
	task_tell_move_exit(t);
	if (t->unhealthy && !t->stop_asked) {
		task_set_state(t, TASK_FAILED, "unhealthy", t->unhealthy);
		task_advance(t);
		return;
	}
	if (t->network_lost && !t->stop_asked) {
		task_set_state(t, TASK_FAILED, "lost", "the task's network namespace was removed by hand");
		task_advance(t);
		return;
	}
	if (end->oom_killed)
		snprintf(why, sizeof(why), "task: non-zero exit (%d): killed, out of memory (limit reached)",
			 end->exit_code);
	else if (end->exit_code != 0 && !t->stop_asked)
		snprintf(why, sizeof(why), "task: non-zero exit (%d)", end->exit_code);
	task_set_state(t, task_state_of_exit(end->exit_code, t->stop_asked), task_move_wants(t) == MOVE_KILL ? "moved" : t->stop_asked ? "shutdown" : "finished", why);
	task_advance(t);
}

static void do_cancel(struct task *t)
{
	if (t->op == OP_IMAGE)
		image_job_cancel(t->image_job);
	else
		task_detach(t);
}

/* ---- container */

static void on_created(void *data, struct container *c, const struct error *err)
{
	struct task *t = data;

	task_step_end(t, START_MOUNTS, err);
	if (err) {
		t->container = NULL;
		task_set_failed(t, err);
	} else {
		t->created = true;
		pb_set_str(&task_status_of(t)->container_id, container_task_id(c));
	}
	task_advance(t);
}

static void do_create(struct task *t)
{
	task_step_begin(t, OP_CREATE);
	t->container = container_create(t->env->exec, t->obj, t->image, t->network, on_exit_of_container, on_created, t);
}

static void on_started(void *data, struct container *c, const struct error *err)
{
	struct task *t = data;

	task_step_end(t, START_RUNTIME, err);
	if (err) {
		task_set_failed(t, err);
	} else if (task_status_of(t)->state < TASK_RUNNING) {
		t->running = true;
		task_status_of(t)->pid = container_pid(c);
		task_stats_started(t->env->stats, t->obj);
		task_watch_serving(t, false);
	}
	task_advance(t);
}

static void do_start(struct task *t)
{
	task_set_state(t, TASK_STARTING, "starting", NULL);
	task_step_begin(t, OP_START);
	container_start(t->container, on_started);
}

static void do_stop(struct task *t)
{
	t->stopping = true;
	if (!t->network_lost && !t->unhealthy)
		t->stop_asked = true;
	task_unwatch_serving(t);
	if (task_move_wants(t) != MOVE_NOTHING)
		container_kill(t->container, SIGKILL);
	else
		container_stop(t->container, t->obj->spec->container->stop_grace_period);
}

static void on_removed(void *data, struct container *c, const struct error *err)
{
	struct task *t = data;

	if (err)
		log_error("container_remove", kv_str("task", t->obj->id), kv_err(err));
	t->op = OP_NONE;
	t->container = NULL;
	t->created = false;
	task_advance(t);
}

static void do_remove(struct task *t)
{
	t->op = OP_REMOVE;
	container_remove(t->container, on_removed);
}

static void do_forget(struct task *t)
{
	task_drop_move(t); /* it would save the task again */
	taskdb_del(t->env->db, t->obj->id);
	t->env->on_gone(t->env->data, t);
}

static struct task_facts facts_of(const struct task *t)
{
	struct error err = ERROR_INIT;
	bool wants_network = net_wanted(t->obj);
	bool probing = !t->env->exec_ready(t->env->data, &err) && !error_is_set(&err);

	if (wants_network && !probing) {
		err = ERROR_INIT;
		probing = !t->env->net_ready(t->env->data, &err) && !error_is_set(&err);
	}
	return (struct task_facts){
		.probing = probing,
		.wants_network = wants_network,
		.has_network = t->network != NULL,
		.attached = t->attached,
		.network_lost = t->network_lost,
		.ready = t->ready,
		.unhealthy = t->unhealthy != NULL,
		.draining = t->draining,
		.drained = t->drained,
		.move = task_move_wants(t),
		.state = (int)t->obj->status->state,
		.desired = (int)t->obj->desired,
		.assigned = t->assigned,
		.saved = t->saved,
		.has_image = t->image != NULL,
		.has_container = t->created,
		.running = t->running,
		.stopping = t->stopping,
		.op = t->op,
	};
}

/* Carry out one action. False: nothing (more) to do now, or the task is gone. */
static bool step(struct task *t)
{
	struct task_facts facts = facts_of(t);

	switch (task_decide(&facts)) {
	case ACT_NONE:
		return false;
	case ACT_ACCEPT:
		do_accept(t);
		return true;
	case ACT_PREPARE:
		do_prepare(t);
		return true;
	case ACT_ATTACH:
		task_attach(t);
		return true;
	case ACT_CREATE:
		do_create(t);
		return true;
	case ACT_READY:
		task_set_state(t, TASK_READY, "ready", NULL);
		return true;
	case ACT_START:
		do_start(t);
		return true;
	case ACT_RESTORE:
		task_restore(t);
		return true;
	case ACT_RUNNING:
		task_set_state(t, TASK_RUNNING, t->ready_message, NULL);
		return true;
	case ACT_DRAIN:
		task_drain(t);
		return true;
	case ACT_STOP:
		do_stop(t);
		return true;
	case ACT_CANCEL:
		do_cancel(t);
		return false;
	case ACT_SHUTDOWN:
		task_set_state(t, TASK_SHUTDOWN, "shutdown", NULL);
		return true;
	case ACT_DETACH:
		task_detach(t);
		return true;
	case ACT_REMOVE:
		do_remove(t);
		return true;
	case ACT_FORGET:
		do_forget(t);
		return false;
	}
	return false;
}

/* Steps may call back at once: `again` keeps one loop going instead of recursing. */
void task_advance(struct task *t)
{
	if (t->frozen)
		return;
	if (t->advancing) {
		t->again = true;
		return;
	}
	t->advancing = true;
	do
		t->again = false;
	while (step(t) || t->again);
	t->advancing = false;
}

/* ---------------------------------------------------------------- from outside */

static void take_peers(struct task *t, const Skein__Assignment *assignment)
{
	strv_fini(&t->image_peers);
	t->image_peers = (struct strv){0};
	for (size_t i = 0; i < assignment->n_image_peers; i++)
		strv_add(&t->image_peers, assignment->image_peers[i]->address);
}

struct task *task_new(const struct task_env *env, const Skein__Assignment *assignment)
{
	struct task *t = xnew(struct task);

	t->env = env;
	t->obj = pb_dup(assignment->task);
	if (!t->obj->status)
		t->obj->status = pb_new(&skein__task_status__descriptor);
	t->assigned = true;
	take_peers(t, assignment);
	task_take_order(t, assignment->migration);
	task_advance(t);
	return t;
}

/* It was being started or ran when the last agent saw it, and does not run now. */
static void lost(struct task *t, enum container_found found)
{
	if (t->stop_asked)
		task_set_state(t, TASK_SHUTDOWN, "shutdown", NULL);
	else
		task_set_state(t, TASK_FAILED, "lost", found == CONTAINER_CREATED
			  ? "the agent ended while the container was being started"
			  : "the container is gone: the host was restarted or it was removed by hand");
}

static void on_adopted(void *data, struct container *c, enum container_found found,
		       const struct container_exit *end)
{
	struct task *t = data;
	int state = (int)task_status_of(t)->state;

	t->op = OP_NONE;
	t->created = true;
	if (found != CONTAINER_RUNNING)
		task_tell_move_exit(t);
	if (found == CONTAINER_RUNNING) {
		t->running = true;
		t->network_lost = net_wanted(t->obj) && !t->attached;
		task_status_of(t)->pid = container_pid(c);
		task_set_state(t, TASK_STARTING, "starting", NULL); /* what was saved may be older */
		if (task_move_wants(t) == MOVE_NOTHING) /* what stands still answers no check */
			task_watch_serving(t, true);
		task_tell_move(t);
	} else if (found == CONTAINER_EXITED && state <= TASK_RUNNING) {
		on_exit_of_container(t, c, end);
		return;
	} else if (state > TASK_RUNNING) {
		/* ended before: only its files are left */
	} else if (state >= TASK_STARTING) {
		lost(t, found);
		if (found == CONTAINER_CREATED) { /* its monitor waits for a start that will not come */
			do_remove(t);
			return;
		}
	} else {
		if (state == TASK_READY) /* what made it ready is taken away */
			task_status_of(t)->state = TASK_PREPARING;
		do_remove(t); /* half-prepared: begin again */
		return;
	}
	task_advance(t);
}

/*
 * Without its namespace's file a running container keeps a network that nobody can look after any more: it is replaced.
 * Whatever else went wrong is the network's matter, which repairs itself; the container goes on.
 */
static void on_network_adopted(void *data, const struct net_attachment *attachment, const struct error *err)
{
	struct task *t = data;

	if (t->frozen)
		return;
	if (err)
		log_warn("network_adopt", kv_str("task", t->obj->id), kv_err(err));
	t->attached = !err || err->code != ERR_NOT_FOUND;
	t->network = attachment;
	t->container = container_adopt(t->env->exec, t->obj, on_exit_of_container, on_adopted, t);
}

struct task *task_adopt(const struct task_env *env, const pb_task *saved)
{
	struct task *t = xnew(struct task);
	struct image *image = image_held(env->images, saved->spec->container->image_digest);

	t->env = env;
	t->obj = pb_dup(saved);
	if (image) /* its layers are under the container's root: they must not be removed */
		t->image = image_ref(image);
	t->assigned = true; /* until the manager says otherwise */
	t->saved = true;
	t->op = OP_ADOPT;
	/* A stop that an earlier agent began counts as asked: the desired state was saved with it. */
	t->stop_asked = saved->desired > TASK_RUNNING;
	task_adopt_move(t);
	if (net_wanted(t->obj))
		net_adopt_as(env->net, t->obj, task_adopted_gate(t), on_network_adopted, t);
	else
		t->container = container_adopt(env->exec, t->obj, on_exit_of_container, on_adopted, t);
	return t;
}

static void let_go(struct task *t)
{
	task_unwatch_serving(t);
	if (t->container)
		container_forget(t->container);
	t->container = NULL;
	image_unref(t->image);
	t->image = NULL;
}

void task_freeze(struct task *t)
{
	t->frozen = true;
	if (net_wanted(t->obj))
		net_forget(t->env->net, t->obj->id);
	task_drop_move(t);
	let_go(t);
}

void task_free(struct task *t)
{
	if (!t)
		return;
	task_drop_move(t);
	let_go(t);
	strv_fini(&t->image_peers);
	pb_free(t->obj);
	free(t->ready_message);
	free(t->unhealthy);
	free(t);
}

void task_assign(struct task *t, const Skein__Assignment *assignment)
{
	bool changed = t->obj->desired != assignment->task->desired;

	t->assigned = true;
	if (assignment->task->desired > t->obj->desired)
		t->obj->desired = assignment->task->desired;
	take_peers(t, assignment);
	if (changed && t->saved)
		task_save(t);
	task_take_order(t, assignment->migration);
	/* The manager may have missed the latest status (it was being written when it failed over). */
	if (assignment->task->status && assignment->task->status->state < task_status_of(t)->state)
		t->env->on_status(t->env->data, t);
	task_advance(t);
}

void task_unassign(struct task *t)
{
	t->assigned = false;
	task_advance(t);
}

void task_kick(struct task *t)
{
	task_advance(t);
}

const char *task_id(const struct task *t)
{
	return t->obj->id;
}

const pb_task_status *task_status(const struct task *t)
{
	return t->obj->status;
}

const pb_task *task_object(const struct task *t)
{
	return t->obj;
}
