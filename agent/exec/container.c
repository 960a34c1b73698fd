#include "agent/exec/checkpoint_int.h"

#include "agent/exec/bundle.h"
#include "agent/exec/mounts.h"
#include "agent/exec/runtime.h"
#include "agent/net/net.h"
#include "common/error.h"
#include "common/file.h"
#include "common/id.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/str.h"

#include <inttypes.h>
#include <signal.h>
#include <string.h>

#define DELETE_TIMEOUT_MS 60000
#define RETRY_NS (200 * INT64_C(1000000))
#define RUNTIME_OUTPUT_MAX 16384
#define CMDLINE_MAX 65536

/* ---------------------------------------------------------------- object */

struct container *container_new(struct exec *e, const pb_task *task, container_exit_cb on_exit,
				void *data)
{
	struct container *c = xnew(struct container);

	c->exec = e;
	c->id = xstrdup(task->id);
	c->task = pb_dup(task);
	c->on_exit = on_exit;
	c->data = data;
	c->pidfd = -1;
	c->log_wd = -1;
	c->paths = (struct container_paths){
		.task_dir = xasprintf("%s/%s", e->tasks_dir, c->id),
		.run_dir = xasprintf("%s/%s", e->exec_dir, c->id),
		.rootfs = xasprintf("%s/%s/rootfs", e->exec_dir, c->id),
		.cgroup = xasprintf("/%s/%s", e->cgroup_parent, c->id),
	};
	c->upper_dir = xasprintf("%s/upper", c->paths.task_dir);
	c->anonymous_dir = xasprintf("%s/volumes", c->paths.task_dir);
	closer_init(&c->closer);
	uv_timer_init(e->loop, &c->stop_timer);
	uv_timer_init(e->loop, &c->defer_timer);
	uv_timer_init(e->loop, &c->log_timer);
	closer_hold(&e->closer);
	HASH_ADD_KEYPTR(hh, e->containers, c->id, strlen(c->id), c);
	return c;
}

static void on_container_closed(void *data)
{
	struct container *c = data;
	struct exec *e = c->exec;

	mem_closep(&c->pidfd);
	image_unref(c->image);
	pb_free(c->task);
	container_paths_fini(&c->paths);
	free(c->upper_dir);
	free(c->anonymous_dir);
	free(c->restore);
	free(c->runtime);
	free(c->id);
	free(c);
	closer_drop(&e->closer);
}

void container_free_later(struct container *c)
{
	struct exec *e = c->exec;

	if (!closer_begin(&c->closer, on_container_closed, c))
		return;
	c->forgotten = true;
	freeze_cancel(c);
	dump_cancel(c);
	container_unwatch(c);
	rotate_unwatch(c);
	slot_release(&e->starts, &c->slot);
	HASH_DEL(e->containers, c);
	log_readers_wake(e, c->id);
	closer_add(&c->closer, (uv_handle_t *)&c->stop_timer);
	closer_add(&c->closer, (uv_handle_t *)&c->defer_timer);
	closer_add(&c->closer, (uv_handle_t *)&c->log_timer);
	closer_end(&c->closer);
}

void container_forget(struct container *c)
{
	start_cancel(c);
	container_free_later(c);
}

const char *container_task_id(const struct container *c)
{
	return c->id;
}

int64_t container_pid(const struct container *c)
{
	return c->phase == PHASE_RUNNING ? c->pid : 0;
}

/* ---------------------------------------------------------------- create */

struct create_job {
	struct container *c;
	struct prepare prepare;
	struct error err;
};

static void create_work(void *data)
{
	struct create_job *job = data;

	/* Set by the loop thread when the call cannot be served. */
	if (job->err.code == ERR_OK)
		prepare_container(&job->prepare, &job->err);
}

static void create_done(void *data)
{
	struct create_job *job = data;
	struct container *c = job->c;
	struct error err = job->err;
	container_cb cb = c->cb;

	c->stop_signal = job->prepare.ret_stop_signal;
	free(job->prepare.node_id);
	free(job->prepare.node_hostname);
	free(job->prepare.init_path);
	free(job->prepare.netns);
	free(job->prepare.resolv_conf);
	free(job->prepare.hosts);
	free(job);
	c->phase = PHASE_CREATED;
	c->cb = NULL;
	if (err.code == ERR_OK)
		container_state_save(c, false, &err);

	if (!c->forgotten && err.code != ERR_OK) {
		container_cb remove_cb = c->remove_cb;

		cb(c->data, c, &err);
		if (remove_cb)
			remove_cb(c->data, c, NULL);
		container_free_later(c);
	} else if (!c->forgotten) {
		cb(c->data, c, NULL);
		container_settled(c);
	}
	closer_drop(&c->closer);
}

/* What a task with live_migrate must not have. */
static void check_movable(const struct exec *e, const pb_task *task, struct error *err)
{
	const char *why;
	bool host_network;

	if (!exec_can_checkpoint(e, &why))
		error_set(err, ERR_INVALID, "live migration: not possible on this node: %s", why);
	else if (task->spec->container && task->spec->container->tty)
		error_set(err, ERR_INVALID, "live migration: a container with a terminal (tty) cannot be moved");
	else if (bundle_host_network(task, &host_network, err) == 0 && host_network)
		error_set(err, ERR_INVALID, "live migration: a container in the host's network cannot be moved");
}

static void check_create(struct exec *e, const pb_task *task, bool taken, struct error *err)
{
	if (!id_valid(task->id))
		error_set(err, ERR_INVALID,
			  "task id \"%.64s\": accepted are %d characters of [0-9a-z]", task->id,
			  ID_LEN);
	else if (taken)
		error_set(err, ERR_EXISTS, "task %s has a container already", task->id);
	else if (!e->probe.works)
		error_set(err, ERR_UNAVAILABLE, "no container runtime works on this node%s%s",
			  e->probe.errors.n ? ": " : "",
			  e->probe.errors.n ? e->probe.errors.v[0] : "");
	else if (task->spec && task->spec->live_migrate)
		check_movable(e, task, err);
}

static const char *runtime_for(const struct exec *e, const pb_task *task)
{
	return task->spec && task->spec->live_migrate ? e->probe.checkpoint : e->probe.runtime;
}

struct container *container_create(struct exec *e, const pb_task *task, struct image *image,
				   const struct net_attachment *network, container_exit_cb on_exit,
				   container_cb cb, void *data)
{
	struct create_job *job = xnew(struct create_job);
	struct container *taken, *c;

	HASH_FIND_STR(e->containers, task->id, taken);
	check_create(e, task, taken != NULL, &job->err);
	c = container_new(e, task, on_exit, data);
	c->phase = PHASE_PREPARING;
	c->cb = cb;
	c->image = image_ref(image);
	c->runtime = xstrdup(runtime_for(e, task) ? runtime_for(e, task) : "");
	job->c = c;
	job->prepare = (struct prepare){
		.paths = &c->paths,
		.task = c->task,
		.image = c->image,
		.volumes_dir = e->volumes_dir,
		.node_id = xstrdup(e->node_id),
		.node_hostname = xstrdup(e->node_hostname),
		.init_path = xstrdup(e->init_path),
		.netns = xstrdup(network ? network->netns : NULL),
		.resolv_conf = xstrdup(network ? network->resolv_conf : NULL),
		.hosts = xstrdup(network ? network->hosts : NULL),
		.cgroup_v2 = e->probe.cgroup == CGROUP_V2,
		.seccomp = e->probe.seccomp,
		.limit_swap = e->probe.limit_swap,
	};
	closer_hold(&c->closer);
	loop_work(e->loop, create_work, create_done, job);
	return c;
}

/* ---------------------------------------------------------------- remove */

struct remove_job {
	struct container *c;
	enum cgroup_mode cgroup;
	char *runtime_dir; /* the runtime's own directory of this container */
	struct error err;
};

static void clean_work(void *data)
{
	struct remove_job *job = data;
	const struct container_paths *paths = &job->c->paths;

	cgroup_remove(job->cgroup, paths->cgroup);
	if (mounts_unmount(paths->rootfs, &job->err) < 0 ||
	    file_remove_tree(paths->run_dir, &job->err) < 0 ||
	    file_remove_tree(job->runtime_dir, &job->err) < 0)
		return;
	file_remove_tree(paths->task_dir, &job->err);
}

static void delete_from_runtime(struct slot *slot);

static void on_retry(uv_timer_t *timer)
{
	struct container *c = container_of(timer, struct container, stop_timer);

	slot_acquire(&c->exec->starts, &c->slot);
}

static void clean_done(void *data)
{
	struct remove_job *job = data;
	struct container *c = job->c;
	struct error err = job->err;

	free(job->runtime_dir);
	free(job);
	slot_release(&c->exec->starts, &c->slot);
	if (c->forgotten) {
		/* the agent stops: the next one removes what is left */
	} else if (err.code != ERR_OK && !c->remove_retried) {
		log_warn("container_remove_retry", kv_str("task", c->id), kv_err(&err));
		c->remove_retried = true;
		loop_timer_in(&c->stop_timer, RETRY_NS, on_retry);
	} else {
		if (err.code != ERR_OK)
			error_wrap(&err, "remove container %s", c->id);
		c->remove_cb(c->data, c, err.code == ERR_OK ? NULL : &err);
		container_free_later(c);
	}
	closer_drop(&c->closer);
}

static char *runtime_root(const struct container *c)
{
	return xasprintf("%s/.runtime", c->exec->exec_dir);
}

static void clean(struct container *c)
{
	struct remove_job *job = xnew(struct remove_job);
	_cleanup_free_ char *root = runtime_root(c);

	job->c = c;
	job->cgroup = c->exec->probe.cgroup;
	job->runtime_dir = xasprintf("%s/%s", root, c->id);
	closer_hold(&c->closer);
	loop_work(c->exec->loop, clean_work, clean_done, job);
}

static void on_deleted(void *data, struct proc *proc, const struct proc_exit *exit)
{
	struct container *c = data;

	if (exit->exit_code != 0) {
		_cleanup_free_ char *why = runtime_message(exit->errout);

		/* Not the end: what the runtime could not remove is removed without it. */
		log_warn("runtime_delete", kv_str("task", c->id), kv_str("error", why));
	}
	if (!c->forgotten)
		clean(c);
	else
		slot_release(&c->exec->starts, &c->slot);
	closer_drop(&c->closer);
}

/*
 * A start that was cut off may have left its monitor: it waits for a container that is about to be
 * removed, or still creates it. What it would write or make must not come behind the cleaning.
 */
static void kill_monitor(struct container *c)
{
	int64_t pid = container_read_pid(&c->paths, "conmon.pid");
	_cleanup_free_ char *path = xasprintf("/proc/%" PRId64 "/cmdline", pid), *text = NULL;
	size_t len;

	/* The number may be another process's by now: ours carries the task id on its command line.
	 */
	if (pid && file_read(path, CMDLINE_MAX, &text, &len, NULL) == 0 &&
	    memmem(text, len, c->id, strlen(c->id)))
		kill((pid_t)pid, SIGKILL);
}

static void delete_from_runtime(struct slot *slot)
{
	struct container *c = container_of(slot, struct container, slot);
	_cleanup_free_ char *root = runtime_root(c), *dir = xasprintf("%s/%s", root, c->id);
	_cleanup_strv_ struct strv argv = {0};
	struct error err = ERROR_INIT;
	struct proc_options options = {
		.max_capture = RUNTIME_OUTPUT_MAX,
		.timeout_ms = DELETE_TIMEOUT_MS,
		.on_exit = on_deleted,
		.data = c,
	};

	kill_monitor(c);
	if (str_empty(c->runtime) || access(dir, F_OK) < 0) { /* the runtime never saw it */
		clean(c);
		return;
	}
	runtime_args(&argv, c->runtime, root);
	strv_add(&argv, "delete");
	strv_add(&argv, "--force");
	strv_add(&argv, c->id);
	options.argv = (const char *const *)argv.v;
	if (!proc_spawn(c->exec->loop, &options, &err)) {
		log_warn("runtime_delete", kv_str("task", c->id), kv_err(&err));
		clean(c);
		return;
	}
	closer_hold(&c->closer);
}

void container_settled(struct container *c)
{
	if (!c->remove_cb || c->forgotten)
		return;
	if (c->phase != PHASE_CREATED && c->phase != PHASE_EXITED)
		return;
	c->phase = PHASE_REMOVING;
	container_unwatch(c);
	rotate_unwatch(c);
	uv_timer_stop(&c->stop_timer);
	c->slot.run = delete_from_runtime;
	slot_acquire(&c->exec->starts, &c->slot);
}

/* In a turn of its own: cb never runs inside container_remove(). */
static void on_remove(uv_timer_t *timer)
{
	container_settled(container_of(timer, struct container, defer_timer));
}

void container_remove(struct container *c, container_cb cb)
{
	if (c->remove_cb)
		return;
	c->remove_cb = cb;
	if (c->phase == PHASE_RUNNING)
		container_send_signal(c, SIGKILL);
	else if (c->phase == PHASE_STARTING)
		c->stop_wanted = true;
	else
		loop_timer_in(&c->defer_timer, 0, on_remove);
}
