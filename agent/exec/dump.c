#include "agent/exec/checkpoint_int.h"

#include "agent/exec/criu.h"
#include "agent/exec/crstats.h"
#include "common/clock.h"
#include "common/error.h"
#include "common/file.h"
#include "common/log.h"
#include "common/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#define TIMEOUT_MS (10 * 60 * 1000)
#define TRIAL_TIMEOUT_MS (2 * 60 * 1000)
#define END_NS (20 * NS_PER_SEC) /* behind the timeout: for criu to leave the processes as they were */
#define OUTPUT_MAX 4096
#define CONFIG_MAX (4u << 20)
#define WORK_DIR "criu" /* in the bundle */

/*
 * One run of criu, or two for a trial: a pass over the memory first, so that the container stands still for what has changed
 * since and not for all of its memory. Steps: look at the bundle (pool), criu (child), read what it left (pool).
 */
struct dump {
	struct container *c; /* held */
	bool pre, trial;
	unsigned round; /* of a trial */
	container_dumped_cb cb;
	void *data;
	char *images, *parent, *work_dir, *cgroup_dir;
	int pages_fd; /* our copy: shutting it down is how criu is told to give up */
	uint64_t timeout_ms;
	struct strv argv;
	struct page_sink *sink;
	struct proc *proc;
	int64_t began;
	bool timed_out, failed;
	char *output; /* what criu said that is not in its log */
	struct checkpoint_stats stats;
	struct error err;
	uv_timer_t timer;
	struct closer closer;
};

/* ---------------------------------------------------------------- end */

static void on_closed(void *data)
{
	struct dump *d = data;
	struct container *c = d->c;

	mem_closep(&d->pages_fd);
	strv_fini(&d->argv);
	free(d->images);
	free(d->parent);
	free(d->work_dir);
	free(d->cgroup_dir);
	free(d->output);
	free(d);
	closer_drop(&c->closer);
}

static void dump_close(struct dump *d)
{
	if (!closer_begin(&d->closer, on_closed, d))
		return;
	if (d->c->dump == d)
		d->c->dump = NULL;
	if (d->sink)
		page_sink_close(d->sink);
	closer_add(&d->closer, (uv_handle_t *)&d->timer);
	closer_end(&d->closer);
}

static void finish(struct dump *d)
{
	struct container *c = d->c;
	container_dumped_cb cb = d->cb;
	struct checkpoint_stats stats = d->stats;
	struct error err = d->err;
	void *data = d->data;
	bool failed = err.code != ERR_OK;

	closer_hold(&c->closer);
	dump_close(d);
	if (failed)
		log_info("checkpoint_failed", kv_str("task", c->id), kv_err(&err));
	if (cb && !c->forgotten)
		cb(data, c, failed ? NULL : &stats, failed ? &err : NULL);
	closer_drop(&c->closer);
}

/* ---------------------------------------------------------------- what criu left (pool) */

static void read_reason(struct dump *d)
{
	_cleanup_free_ char *path = xasprintf("%s/" CRIU_LOG, d->work_dir), *text = NULL, *reason = NULL;
	size_t len;

	if (file_read(path, CRSTATS_LOG_MAX, &text, &len, NULL) == 0)
		reason = crstats_reason(text, len);
	if (!reason && d->output)
		reason = crstats_reason(d->output, strlen(d->output));
	error_set(&d->err, ERR_PRECONDITION, "the container cannot be copied: %s",
		  reason ? reason : !str_empty(d->output) ? d->output : "criu ended without a reason");
}

static int read_stats(struct dump *d, struct error *err)
{
	_cleanup_free_ char *path = xasprintf("%s/stats-dump", d->work_dir), *text = NULL;
	struct checkpoint_stats stats = {0};
	size_t len;

	if (file_read(path, CRSTATS_MAX_BYTES, &text, &len, err) < 0 || crstats_dump(text, len, &stats, err) < 0)
		return -1;
	stats.took_ns = d->stats.took_ns;
	d->stats = stats;
	return 0;
}

/* Where the container's 0, 1 and 2 led when it began: runc's restore puts its new monitor's there. */
static int write_descriptors(const struct dump *d, struct error *err)
{
	const struct container *c = d->c;
	_cleanup_free_ char *path = xasprintf("%s/.runtime/%s/state.json", c->exec->exec_dir, c->id), *text = NULL;
	_cleanup_free_ char *out = NULL;
	json_t *state, *list;
	size_t len;

	if (file_read(path, CONFIG_MAX, &text, &len, err) < 0)
		return -1;
	state = json_loadb(text, len, 0, NULL);
	list = json_object_get(state, "external_descriptors");
	if (json_array_size(list) != 3) {
		json_decref(state);
		return error_set(err, ERR_DATA_LOSS, "%s does not name three descriptors", path);
	}
	out = json_dumps(list, JSON_COMPACT);
	json_decref(state);
	return container_file_replace(d->images, "descriptors.json", out, strlen(out), err);
}

static void after_work(void *data)
{
	struct dump *d = data;

	if (d->failed)
		read_reason(d);
	else if (read_stats(d, &d->err) == 0 && !d->pre && !d->trial)
		write_descriptors(d, &d->err);
	if (d->trial && (d->failed || !d->pre)) {
		_cleanup_free_ char *trial = xasprintf("%s/trial", d->work_dir);

		file_remove_tree(trial, NULL);
	}
}

static void run(struct dump *d);

static void after_done(void *data)
{
	struct dump *d = data;

	if (d->c->phase != PHASE_RUNNING)
		error_set(&d->err, ERR_CANCELLED, "the container ended");
	else if (d->timed_out)
		error_set(&d->err, ERR_TIMEOUT, "the container could not be copied within %" PRIu64 " s", d->timeout_ms / 1000);
	if (d->err.code == ERR_OK && d->trial && d->round == 1 && !d->c->forgotten)
		run(d);
	else
		finish(d);
}

/* ---------------------------------------------------------------- criu */

static void on_criu_gone(void *data, struct proc *proc, const struct proc_exit *exit)
{
	struct dump *d = data;
	struct container *c = d->c;

	d->proc = NULL;
	uv_timer_stop(&d->timer);
	mem_closep(&d->pages_fd);
	if (d->sink)
		page_sink_close(d->sink);
	d->sink = NULL;
	d->failed = exit->exit_code != 0;
	d->stats.took_ns = clock_mono_ns() - d->began;
	/* It lets the group go while it works, and freezes it again at its end; but not when it was killed. */
	if (c->frozen && d->failed)
		freeze_write(d->cgroup_dir, true, NULL);
	c->criu_pid = 0;
	checkpoint_mark(c);
	free(d->output);
	d->output = xstrndup(exit->errout, exit->errout_len);
	d->output[strcspn(d->output, "\n")] = '\0';
	loop_work(c->exec->loop, after_work, after_done, d);
}

static void on_late(uv_timer_t *timer)
{
	struct dump *d = container_of(timer, struct dump, timer);

	if (d->timed_out) {
		log_warn("checkpoint_killed", kv_str("task", d->c->id));
		proc_kill(d->proc, SIGKILL);
		return;
	}
	d->timed_out = true;
	if (d->pages_fd >= 0)
		shutdown(d->pages_fd, SHUT_RDWR);
	else
		proc_kill(d->proc, SIGTERM);
	loop_timer_in(&d->timer, END_NS, on_late);
}

static int open_sink(struct dump *d, int *ret_fd, struct error *err)
{
	int fds[2];

	if (page_socket_pair(fds, err) < 0)
		return -1;
	d->sink = page_sink_open(d->c->exec->loop, fds[0], d->round == 2);
	*ret_fd = fds[1];
	return 0;
}

static void spawn(struct dump *d)
{
	struct container *c = d->c;
	struct proc_options options = {
		.argv = (const char *const *)d->argv.v,
		.max_capture = OUTPUT_MAX,
		.new_session = true, /* goes on when we do not: a half-done copy must be brought to its end */
		.on_exit = on_criu_gone,
		.data = d,
	};

	if (d->trial && open_sink(d, &d->pages_fd, &d->err) < 0) {
		finish(d);
		return;
	}
	options.extra_fds = &d->pages_fd;
	options.n_extra_fds = d->pages_fd >= 0;
	d->began = clock_mono_ns();
	d->proc = proc_spawn(c->exec->loop, &options, &d->err);
	if (!d->proc) {
		finish(d);
		return;
	}
	c->criu_pid = proc_pid(d->proc);
	c->criu_start = proc_start_time((pid_t)c->criu_pid);
	checkpoint_mark(c);
	loop_timer_in(&d->timer, (int64_t)d->timeout_ms * NS_PER_MS, on_late);
}

/* ---------------------------------------------------------------- begin (pool) */

static json_t *read_config(const struct container *c, struct error *err)
{
	_cleanup_free_ char *path = xasprintf("%s/config.json", c->paths.task_dir), *text = NULL;
	json_t *config;
	size_t len;

	if (file_read(path, CONFIG_MAX, &text, &len, err) < 0)
		return NULL;
	config = json_loadb(text, len, 0, NULL);
	if (!config)
		error_set(err, ERR_DATA_LOSS, "%s is damaged", path);
	return config;
}

/* The runtime has put /dev/null over files of the list, an empty tmpfs over directories. */
static void find_masked(const struct container *c, const json_t *config, struct strv *files, struct strv *dirs)
{
	json_t *path;
	size_t i;

	json_array_foreach(json_object_get(json_object_get(config, "linux"), "maskedPaths"), i, path)
	{
		_cleanup_free_ char *seen = xasprintf("/proc/%" PRId64 "/root%s", c->pid, json_string_value(path));
		struct stat st;

		if (json_is_string(path) && stat(seen, &st) == 0)
			strv_add(S_ISDIR(st.st_mode) ? dirs : files, json_string_value(path));
	}
}

static int find_netns(const json_t *config, uint64_t *ret_inode, struct error *err)
{
	const char *path = criu_netns_path(config);
	struct stat st;

	*ret_inode = 0;
	if (str_empty(path))
		return 0;
	if (stat(path, &st) < 0)
		return error_set_errno(err, errno, "the container's network namespace %s", path);
	*ret_inode = st.st_ino;
	return 0;
}

static int make_dirs(struct dump *d, struct error *err)
{
	if (!d->trial || d->pre) {
		if (file_remove_tree(d->work_dir, err) < 0 || file_mkdirs(d->work_dir, 0700, err) < 0)
			return -1;
	}
	return d->trial ? file_mkdirs(d->images, 0700, err) : 0;
}

static void before_work(void *data)
{
	struct dump *d = data;
	const struct container *c = d->c;
	_cleanup_strv_ struct strv files = {0}, dirs = {0};
	struct criu_dump criu = {
		.criu = c->exec->probe.criu,
		.pid = c->pid,
		.cgroup_dir = d->cgroup_dir,
		.images = d->images,
		.parent = d->parent,
		.work_dir = d->work_dir,
		.pages = d->trial || d->pages_fd >= 0,
		.pre = d->pre,
		.masked_files = &files,
		.masked_dirs = &dirs,
		.rootfs = c->paths.rootfs,
	};
	json_t *config = make_dirs(d, &d->err) < 0 ? NULL : read_config(c, &d->err);

	criu.config = config;
	if (config && find_netns(config, &criu.netns_inode, &d->err) == 0) {
		find_masked(c, config, &files, &dirs);
		criu_dump_args(&d->argv, &criu);
	}
	json_decref(config);
}

static void before_done(void *data)
{
	struct dump *d = data;

	if (d->c->phase != PHASE_RUNNING)
		error_set(&d->err, ERR_CANCELLED, "the container ended");
	if (d->err.code != ERR_OK || d->c->forgotten)
		finish(d);
	else
		spawn(d);
}

static void run(struct dump *d)
{
	if (d->trial) {
		d->round++;
		d->pre = d->round == 1;
		d->parent = d->pre ? NULL : d->images;
		d->images = xasprintf("%s/trial/%u", d->work_dir, d->round);
	}
	strv_fini(&d->argv);
	d->argv = (struct strv){0};
	loop_work(d->c->exec->loop, before_work, before_done, d);
}

static bool refused(struct dump *d)
{
	struct container *c = d->c;
	const char *why;

	if (d->err.code != ERR_OK)
		return true;
	if (!exec_can_checkpoint(c->exec, &why))
		error_set(&d->err, ERR_UNAVAILABLE, "this node cannot copy containers: %s", why);
	else if (c->phase != PHASE_RUNNING)
		error_set(&d->err, ERR_PRECONDITION, "the container does not run");
	else if (!str_eq(c->runtime, c->exec->probe.checkpoint))
		error_set(&d->err, ERR_PRECONDITION,
			  "the container runs under %s, which cannot copy it (only tasks with live_migrate run under %s)",
			  c->runtime, c->exec->probe.checkpoint);
	else if (c->task->spec->container->tty)
		error_set(&d->err, ERR_PRECONDITION, "the container has a terminal (tty), which cannot be copied");
	else if ((d->pre || d->trial) && (c->frozen || c->freezing))
		error_set(&d->err, ERR_PRECONDITION, "the container is frozen");
	else if (!d->pre && !d->trial && !c->frozen)
		error_set(&d->err, ERR_PRECONDITION, "the container is not frozen");
	return d->err.code != ERR_OK;
}

static void on_begin(uv_timer_t *timer)
{
	struct dump *d = container_of(timer, struct dump, timer);

	if (refused(d))
		finish(d);
	else
		run(d);
}

static struct dump *dump_new(struct container *c, container_dumped_cb cb, void *data)
{
	struct dump *d = xnew(struct dump);

	*d = (struct dump){.c = c, .cb = cb, .data = data, .pages_fd = -1};
	d->cgroup_dir = freeze_dir(c);
	d->work_dir = xasprintf("%s/" WORK_DIR, c->paths.task_dir);
	closer_init(&d->closer);
	closer_hold(&c->closer);
	uv_timer_init(c->exec->loop, &d->timer);
	if (c->freeze || c->dump)
		error_set(&d->err, ERR_PRECONDITION, "the container is being %s already", c->dump ? "copied" : "frozen or thawed");
	else
		c->dump = d;
	loop_timer_in(&d->timer, 0, on_begin);
	return d;
}

static void dump_with(struct container *c, bool pre, const struct checkpoint_options *o, container_dumped_cb cb, void *data)
{
	struct dump *d = dump_new(c, cb, data);

	d->pre = pre;
	d->images = xstrdup(o->images);
	d->parent = xstrdup(o->parent);
	d->pages_fd = o->pages_fd;
	d->timeout_ms = o->timeout_ms ? o->timeout_ms : TIMEOUT_MS;
}

void container_predump(struct container *c, const struct checkpoint_options *options, container_dumped_cb cb, void *data)
{
	dump_with(c, true, options, cb, data);
}

void container_dump(struct container *c, const struct checkpoint_options *options, container_dumped_cb cb, void *data)
{
	dump_with(c, false, options, cb, data);
}

void container_trial_dump(struct container *c, container_dumped_cb cb, void *data)
{
	struct dump *d = dump_new(c, cb, data);

	d->trial = true;
	d->timeout_ms = TRIAL_TIMEOUT_MS;
}

void dump_drop(struct container *c)
{
	if (c->dump)
		c->dump->cb = NULL;
}

void container_checkpoint_drop(struct container *c)
{
	freeze_drop(c);
	dump_drop(c);
}

void dump_cancel(struct container *c)
{
	struct dump *d = c->dump;

	if (!d || !c->forgotten)
		return; /* criu sees that the processes are gone */
	d->cb = NULL;
	if (d->proc) {
		proc_detach(d->proc);
		d->proc = NULL;
		dump_close(d);
	}
}
