#include "agent/exec/internal.h"

#include "agent/exec/runtime.h"
#include "common/clock.h"
#include "common/error.h"
#include "common/file.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/str.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>

#define SYNC_MAX_BYTES 65536
#define RUNTIME_OUTPUT_MAX 16384
#define START_TIMEOUT_NS (120 * NS_PER_SEC)
#define RUNTIME_TIMEOUT_MS 60000
#define EXIT_UNKNOWN 255 /* as Docker has it */

/*
 * One start: conmon forks into the background and runs `runtime create`, then tells the pid through
 * the sync pipe; we then run `runtime start`. It lives until all of that has been answered.
 */
struct start {
	struct container *c; /* NULL once it is cancelled */
	struct exec *exec;
	struct closer closer;
	struct slot slot;
	uv_pipe_t sync;
	uv_timer_t timeout;
	char *line;
	size_t line_len;
	bool launcher_gone, synced;
	struct error launch_err; /* what conmon itself said */
	char *images;		 /* restore from these; NULL = an ordinary start */
	struct proc *launcher, *starter;
};

/* ---------------------------------------------------------------- end of a container */

static void report_exit(struct container *c)
{
	c->phase = PHASE_EXITED;
	c->frozen = c->freezing = false;
	c->stop_deadline = 0;
	uv_timer_stop(&c->stop_timer);
	rotate_unwatch(c);
	mem_closep(&c->pidfd);
	log_readers_wake(c->exec, c->id);
	closer_hold(&c->closer);
	freeze_cancel(c);
	c->on_exit(c->data, c, &c->exit);
	container_settled(c);
	closer_drop(&c->closer);
}

static void exit_unknown(struct container *c)
{
	log_warn("container_exit_unknown", kv_str("task", c->id),
		 kv_str("why", "its monitor ended without leaving an exit code"));
	c->exit =
		(struct container_exit){.exit_code = EXIT_UNKNOWN, .finished_at = clock_wall_ns()};
	report_exit(c);
}

static void on_init_gone(void *data, struct proc *proc, const struct proc_exit *exit)
{
	struct container *c = data;

	c->init = NULL;
	exit_unknown(c);
}

/* conmon writes the exit file before it ends. Without one it was killed: then the container itself
 * is watched. */
static void on_monitor_gone(struct container *c)
{
	if (container_exit_load(&c->paths, c->exec->probe.cgroup, &c->exit)) {
		report_exit(c);
		return;
	}
	c->init = proc_watch(c->exec->loop, (pid_t)c->pid, c->pid_start, on_init_gone, c, NULL);
	if (!c->init)
		exit_unknown(c);
}

static void on_conmon_gone(void *data, struct proc *proc, const struct proc_exit *exit)
{
	struct container *c = data;

	c->conmon = NULL;
	if (c->phase == PHASE_RUNNING)
		on_monitor_gone(c);
	else
		c->monitor_gone = true;
}

static int watch_monitor(struct container *c, struct error *err)
{
	c->conmon = proc_watch(c->exec->loop, (pid_t)c->conmon_pid, c->conmon_start, on_conmon_gone,
			       c, err);
	return c->conmon ? 0 : -1;
}

static void on_gone_already(uv_timer_t *timer)
{
	struct container *c = container_of(timer, struct container, defer_timer);

	if (c->phase == PHASE_RUNNING)
		on_monitor_gone(c);
}

void container_watch(struct container *c)
{
	if (!c->conmon && !c->monitor_gone && watch_monitor(c, NULL) < 0)
		c->monitor_gone = true;
	if (c->monitor_gone)
		loop_timer_in(&c->defer_timer, 0, on_gone_already);
	rotate_watch(c);
	log_readers_wake(c->exec, c->id);
}

void container_unwatch(struct container *c)
{
	if (c->conmon)
		proc_detach(c->conmon);
	if (c->init)
		proc_detach(c->init);
	c->conmon = c->init = NULL;
}

/* ---------------------------------------------------------------- end of a start */

static void on_start_closed(void *data)
{
	struct start *s = data;
	struct exec *e = s->exec;

	free(s->line);
	free(s->images);
	free(s);
	closer_drop(&e->closer);
}

static void start_close(struct start *s)
{
	if (!closer_begin(&s->closer, on_start_closed, s))
		return;
	slot_release(&s->exec->starts, &s->slot);
	if (s->launcher)
		proc_detach(s->launcher);
	if (s->starter)
		proc_detach(s->starter);
	closer_add(&s->closer, (uv_handle_t *)&s->sync);
	closer_add(&s->closer, (uv_handle_t *)&s->timeout);
	closer_end(&s->closer);
}

void start_cancel(struct container *c)
{
	if (!c->start)
		return;
	c->start->c = NULL;
	start_close(c->start);
	c->start = NULL;
}

/* Tell the caller; then what happened meanwhile (an exit, a removal) takes its course. */
static void finish(struct start *s, const struct error *err)
{
	struct container *c = s->c;
	container_cb cb = c->cb;

	c->start = NULL;
	c->cb = NULL;
	start_close(s);
	c->phase = err ? PHASE_EXITED : PHASE_RUNNING;
	closer_hold(&c->closer);
	if (err) {
		container_unwatch(c);
		log_readers_wake(c->exec, c->id);
	}
	cb(c->data, c, err);
	if (!c->forgotten && c->phase == PHASE_RUNNING) {
		container_watch(c);
		if (c->stop_wanted || c->remove_cb)
			container_send_signal(c, SIGKILL);
	}
	container_settled(c);
	closer_drop(&c->closer);
}

static void fail(struct start *s, enum error_code code, const char *what, const char *why)
{
	struct error err = ERROR_INIT;

	error_set(&err, code, "%s: %s", what, str_empty(why) ? "no reason given" : why);
	if (s->images && code == ERR_PRECONDITION)
		restore_explain(s->c, &err);
	finish(s, &err);
}

static void on_timeout(uv_timer_t *timer)
{
	struct start *s = container_of(timer, struct start, timeout);
	int64_t pid = container_read_pid(&s->c->paths, "conmon.pid");

	if (pid) /* its children die with it */
		kill((pid_t)pid, SIGKILL);
	fail(s, ERR_TIMEOUT, "start container", "the runtime has not answered for two minutes");
}

/* ---------------------------------------------------------------- runtime start */

static void started(struct start *s)
{
	struct error err = ERROR_INIT;

	if (container_state_save(s->c, true, &err) < 0)
		log_warn("container_state", kv_str("task", s->c->id), kv_err(&err));
	finish(s, NULL);
}

static void on_started(void *data, struct proc *proc, const struct proc_exit *exit)
{
	struct start *s = data;
	_cleanup_free_ char *why = NULL;

	s->starter = NULL;
	if (exit->exit_code != 0) {
		why = runtime_message(exit->errout);
		fail(s, ERR_PRECONDITION, "start container",
		     exit->timed_out ? "the runtime did not answer" : why);
		return;
	}
	started(s);
}

static void runtime_start(struct start *s)
{
	struct container *c = s->c;
	_cleanup_free_ char *root = xasprintf("%s/.runtime", c->exec->exec_dir);
	_cleanup_strv_ struct strv argv = {0};
	struct error err = ERROR_INIT;
	struct proc_options options = {
		.max_capture = RUNTIME_OUTPUT_MAX,
		.timeout_ms = RUNTIME_TIMEOUT_MS,
		.on_exit = on_started,
		.data = s,
	};

	runtime_args(&argv, c->runtime, root);
	strv_add(&argv, "start");
	strv_add(&argv, c->id);
	options.argv = (const char *const *)argv.v;
	s->starter = proc_spawn(c->exec->loop, &options, &err);
	if (!s->starter)
		finish(s, &err);
}

/* ---------------------------------------------------------------- conmon */

/* The container exists, its process waits to be let go. */
static void on_created(struct start *s, int64_t pid)
{
	struct container *c = s->c;

	c->pid = pid;
	c->pid_start = proc_start_time((pid_t)pid);
	c->conmon_pid = container_read_pid(&c->paths, "conmon.pid");
	c->conmon_start = proc_start_time((pid_t)c->conmon_pid);
	if (container_open_pidfd(c) < 0 || watch_monitor(c, NULL) < 0) {
		fail(s, ERR_UNAVAILABLE, "start container", "it ended before it was started");
		return;
	}
	if (c->stop_wanted || c->remove_cb) {
		fail(s, ERR_CANCELLED, "start container", "it was stopped before it ran");
		return;
	}
	if (s->images) /* restored processes run already */
		started(s);
	else
		runtime_start(s);
}

/* Both answers are there: conmon is in the background and the pipe has spoken (or closed). */
static void on_answers(struct start *s)
{
	_cleanup_free_ char *message = NULL, *why = NULL;
	int64_t pid;

	if (!s->launcher_gone || !s->synced)
		return;
	pid = runtime_parse_sync(s->line ? s->line : "", s->line_len, &message);
	if (pid > 0) {
		on_created(s, pid);
		return;
	}
	if (message)
		why = runtime_message(message);
	if (str_empty(why) && s->launch_err.code != ERR_OK)
		fail(s, ERR_UNAVAILABLE, "start container", s->launch_err.msg);
	else
		fail(s, ERR_PRECONDITION, "start container",
		     str_empty(why) ? "the runtime could not create it and gave no reason" : why);
}

static void on_launcher_gone(void *data, struct proc *proc, const struct proc_exit *exit)
{
	struct start *s = data;

	s->launcher = NULL;
	s->launcher_gone = true;
	if (exit->exit_code != 0) {
		_cleanup_free_ char *why = runtime_message(exit->errout);

		error_set(&s->launch_err, ERR_UNAVAILABLE, "conmon: %s", why);
	}
	on_answers(s);
}

static void on_sync_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
	struct start *s = container_of((uv_pipe_t *)handle, struct start, sync);

	if (!s->line)
		s->line = xmalloc(SYNC_MAX_BYTES + 1);
	*buf = uv_buf_init(s->line + s->line_len, (unsigned)(SYNC_MAX_BYTES - s->line_len));
}

static void on_sync(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct start *s = container_of((uv_pipe_t *)stream, struct start, sync);

	if (n > 0)
		s->line_len += (size_t)n;
	if (n >= 0 && s->line_len < SYNC_MAX_BYTES && !memchr(s->line, '\n', s->line_len))
		return;
	uv_read_stop(stream);
	s->synced = true;
	on_answers(s);
}

static int spawn_conmon(struct start *s, int sync_fd, struct error *err)
{
	struct container *c = s->c;
	_cleanup_strv_ struct strv argv = {0};
	_cleanup_free_ char *root = xasprintf("%s/.runtime", c->exec->exec_dir);
	static const char *const env[] = {
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"_OCI_SYNCPIPE=3", NULL};
	struct conmon_args args = {
		.conmon = c->exec->probe.conmon,
		.runtime = c->runtime,
		.root = root,
		.id = c->id,
		.bundle = c->paths.task_dir,
		.run_dir = c->paths.run_dir,
		.tty = c->task->spec->container->tty,
		.restore = s->images,
	};
	struct proc_options options = {
		.env = env,
		.cwd = c->paths.task_dir,
		.max_capture = RUNTIME_OUTPUT_MAX,
		.new_session = true,
		.extra_fds = &sync_fd,
		.n_extra_fds = 1,
		.on_exit = on_launcher_gone,
		.data = s,
	};

	runtime_conmon_args(&argv, &args);
	options.argv = (const char *const *)argv.v;
	s->launcher = proc_spawn(c->exec->loop, &options, err);
	return s->launcher ? 0 : -1;
}

static void launch(struct start *s)
{
	struct error err = ERROR_INIT;
	int fds[2];

	if (!s->exec->probe.conmon) {
		fail(s, ERR_UNAVAILABLE, "start container", "conmon is not installed");
		return;
	}
	if (pipe2(fds, O_CLOEXEC) < 0) {
		error_set_errno(&err, errno, "start container: pipe");
		finish(s, &err);
		return;
	}
	uv_pipe_open(&s->sync, fds[0]);
	uv_read_start((uv_stream_t *)&s->sync, on_sync_alloc, on_sync);
	loop_timer_in(&s->timeout, START_TIMEOUT_NS, on_timeout);
	if (spawn_conmon(s, fds[1], &err) < 0) {
		close(fds[1]);
		finish(s, &err);
		return;
	}
	close(fds[1]);
}

/* ---------------------------------------------------------------- restore */

struct prepare_restore {
	struct start *s; /* held */
	struct container *c; /* held */
	struct error err;
};

static void prepare_work(void *data)
{
	struct prepare_restore *job = data;

	restore_prepare(job->c, job->s->images, &job->err);
}

static void prepare_done(void *data)
{
	struct prepare_restore *job = data;
	struct start *s = job->s;
	struct container *c = job->c;

	if (s->c && job->err.code != ERR_OK)
		finish(s, &job->err);
	else if (s->c)
		launch(s);
	closer_drop(&s->closer);
	closer_drop(&c->closer);
	free(job);
}

static void start_run(struct slot *slot)
{
	struct start *s = container_of(slot, struct start, slot);
	struct prepare_restore *job;

	if (s->c->stop_wanted || s->c->remove_cb) {
		fail(s, ERR_CANCELLED, "start container", "it was stopped before it ran");
		return;
	}
	if (!s->images) {
		launch(s);
		return;
	}
	job = xnew(struct prepare_restore);
	*job = (struct prepare_restore){.s = s, .c = s->c};
	closer_hold(&s->closer);
	closer_hold(&s->c->closer);
	loop_work(s->exec->loop, prepare_work, prepare_done, job);
}

/* In a turn of its own: cb never runs inside container_start(). */
static void on_begin(uv_timer_t *timer)
{
	struct start *s = container_of(timer, struct start, timeout);

	slot_acquire(&s->exec->starts, &s->slot);
}

void start_begin(struct container *c, const char *images, container_cb cb)
{
	struct start *s = xnew(struct start);

	s->c = c;
	s->exec = c->exec;
	s->images = xstrdup(images);
	s->slot.run = start_run;
	closer_init(&s->closer);
	closer_hold(&c->exec->closer);
	uv_pipe_init(c->exec->loop, &s->sync, 0);
	uv_timer_init(c->exec->loop, &s->timeout);
	c->start = s;
	c->cb = cb;
	c->phase = PHASE_STARTING;
	loop_timer_in(&s->timeout, 0, on_begin);
}

void container_start(struct container *c, container_cb cb)
{
	start_begin(c, NULL, cb);
}
