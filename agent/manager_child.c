#include "manager_child.h"

#include "common/clock.h"
#include "common/file.h"
#include "common/log.h"
#include "common/loop.h"
#include "common/mem.h"
#include "common/proc.h"
#include "common/str.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/queue.h>

#define BACKOFF_MIN_NS (100 * NS_PER_MS)
#define BACKOFF_MAX_NS (5 * NS_PER_SEC)
#define STABLE_NS (10 * NS_PER_SEC)     /* a run this long resets the back-off */
#define STOP_TIMEOUT_NS (10 * NS_PER_SEC)
#define READY_MESSAGE_MAX ERROR_MSG_MAX

/* Who waits for its end. */
struct waiter {
	STAILQ_ENTRY(waiter) link;
	void (*stopped)(void *data);
	void *data;
};
STAILQ_HEAD(waiters, waiter);

struct manager_child {
	uv_loop_t *loop;
	char *binary, *pid_path;
	struct strv argv;
	struct proc *proc;
	uv_pipe_t ready_pipe;      /* the child's word: "ready\n" or "error: ...\n" */
	bool pipe_open;
	char word[READY_MESSAGE_MAX];
	size_t word_len;
	uv_timer_t timer;          /* restart, or kill when stopping */
	int64_t started_at, backoff_ns;
	bool wanted, stopping;
	char error[ERROR_MSG_MAX]; /* why it does not serve */
	void (*ready)(void *data, const struct error *err);
	void *ready_data;
	struct waiters waiters;
	struct closer closer;
};

struct manager_child *manager_child_new(const struct manager_child_options *options)
{
	struct manager_child *m = xnew(struct manager_child);

	m->loop = options->loop;
	m->binary = xstrdup(options->binary);
	strv_add(&m->argv, options->binary);
	strv_add(&m->argv, "--config");
	strv_add(&m->argv, options->config_path);
	strv_add(&m->argv, "--ready-fd");
	strv_add(&m->argv, "3");
	strv_add(&m->argv, "--log-level");
	strv_add(&m->argv, options->log_level);
	for (char *const *flag = options->flags; flag && *flag; flag++)
		strv_add(&m->argv, *flag);
	m->pid_path = xasprintf("%s/manager.pid", options->run_dir);
	m->backoff_ns = BACKOFF_MIN_NS;
	uv_timer_init(m->loop, &m->timer);
	m->timer.data = m;
	STAILQ_INIT(&m->waiters);
	closer_init(&m->closer);
	return m;
}

static void tell_ready(struct manager_child *m, const struct error *err)
{
	void (*ready)(void *, const struct error *) = m->ready;

	if (!err)
		m->error[0] = '\0';
	else if (err->code != ERR_CANCELLED)
		snprintf(m->error, sizeof(m->error), "%s", err->msg);
	m->ready = NULL;
	if (ready)
		ready(m->ready_data, err);
}

static void tell_stopped(struct manager_child *m)
{
	struct waiters waiters = STAILQ_HEAD_INITIALIZER(waiters);
	struct waiter *w;

	m->stopping = false;
	STAILQ_CONCAT(&waiters, &m->waiters);
	while ((w = STAILQ_FIRST(&waiters))) {
		STAILQ_REMOVE_HEAD(&waiters, link);
		w->stopped(w->data);
		free(w);
	}
}

static void on_pipe_closed(uv_handle_t *handle)
{
	struct manager_child *m = handle->data;

	m->pipe_open = false;
	closer_drop(&m->closer);
}

static void close_pipe(struct manager_child *m)
{
	if (m->pipe_open && !uv_is_closing((uv_handle_t *)&m->ready_pipe))
		uv_close((uv_handle_t *)&m->ready_pipe, on_pipe_closed);
}

/* ---------------------------------------------------------------- its word */

static void take_word(struct manager_child *m)
{
	struct error err = ERROR_INIT;

	m->word[m->word_len] = '\0';
	m->word[strcspn(m->word, "\n")] = '\0';
	if (strcmp(m->word, "ready") == 0) {
		log_info("manager_ready", kv_i64("pid", m->proc ? proc_pid(m->proc) : 0));
		tell_ready(m, NULL);
	} else if (m->word[0]) {
		const char *text = str_starts(m->word, "error: ") ? m->word + 7 : m->word;

		error_set(&err, ERR_INTERNAL, "cluster-manager: %s", text);
		tell_ready(m, &err);
	}
}

static void on_alloc(uv_handle_t *handle, size_t size, uv_buf_t *buf)
{
	struct manager_child *m = handle->data;

	*buf = uv_buf_init(m->word + m->word_len, (unsigned)(sizeof(m->word) - 1 - m->word_len));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct manager_child *m = stream->data;

	if (n > 0)
		m->word_len += (size_t)n;
	if (n < 0 || memchr(m->word, '\n', m->word_len) || m->word_len == sizeof(m->word) - 1) {
		take_word(m);
		close_pipe(m);
	}
}

/* ---------------------------------------------------------------- life */

static void spawn(struct manager_child *m);

static void on_restart(uv_timer_t *timer)
{
	struct manager_child *m = timer->data;

	if (m->wanted && !m->proc)
		spawn(m);
}

static void restart_later(struct manager_child *m)
{
	if (clock_mono_ns() - m->started_at > STABLE_NS)
		m->backoff_ns = BACKOFF_MIN_NS;
	loop_timer_in(&m->timer, m->backoff_ns, on_restart);
	m->backoff_ns = MIN(m->backoff_ns * 2, BACKOFF_MAX_NS);
}

static void on_exit_of_manager(void *data, struct proc *proc, const struct proc_exit *end)
{
	struct manager_child *m = data;
	struct error err = ERROR_INIT;

	m->proc = NULL;
	unlink(m->pid_path);
	uv_timer_stop(&m->timer);
	if (m->wanted && !m->stopping) {
		log_error("manager_exit", kv_i64("exit_code", end->exit_code), kv_i64("signal", end->signal));
		/* What it said itself says more than how it ended. */
		if (m->ready)
			take_word(m);
		if (m->ready || !m->error[0]) {
			error_set(&err, ERR_INTERNAL, "cluster-manager ended (exit code %d, signal %d)", end->exit_code, end->signal);
			tell_ready(m, &err);
		}
	}
	tell_stopped(m);
	if (m->wanted && !m->proc)
		restart_later(m);
}

static void write_pid(struct manager_child *m)
{
	struct error err = ERROR_INIT;
	char text[64];
	int len = snprintf(text, sizeof(text), "%d %" PRIu64 "\n", (int)proc_pid(m->proc),
			   proc_start_time(proc_pid(m->proc)));

	if (file_write(m->pid_path, text, (size_t)len, 0600, &err) < 0)
		log_error("manager_pid", kv_err(&err));
}

static int open_ready_pipe(struct manager_child *m, int *ret_child_end, struct error *err)
{
	int fds[2];

	if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0)
		return error_set_errno(err, errno, "make a pipe");
	uv_pipe_init(m->loop, &m->ready_pipe, 0);
	m->ready_pipe.data = m;
	m->pipe_open = true;
	closer_hold(&m->closer);
	uv_pipe_open(&m->ready_pipe, fds[0]);
	*ret_child_end = fds[1];
	return 0;
}

static void spawn(struct manager_child *m)
{
	_cleanup_close_ int child_end = -1;
	struct error err = ERROR_INIT;
	struct proc_options options = {
		.argv = (const char *const *)m->argv.v,
		.new_session = true,
		.n_extra_fds = 1,
		.on_exit = on_exit_of_manager,
		.data = m,
	};

	if (m->pipe_open) { /* the last one is still closing */
		restart_later(m);
		return;
	}
	m->word_len = 0;
	m->started_at = clock_mono_ns();
	if (open_ready_pipe(m, &child_end, &err) == 0) {
		options.extra_fds = &child_end;
		m->proc = proc_spawn(m->loop, &options, &err);
	}
	if (!m->proc) {
		error_wrap(&err, "start %s", m->binary);
		log_error("manager_start", kv_err(&err));
		close_pipe(m);
		tell_ready(m, &err);
		restart_later(m);
		return;
	}
	write_pid(m);
	uv_read_start((uv_stream_t *)&m->ready_pipe, on_alloc, on_read);
}

/* A manager that an earlier agent started. */
static bool adopt(struct manager_child *m)
{
	_cleanup_free_ char *text = NULL;
	struct error err = ERROR_INIT;
	uint64_t start_time = 0;
	int pid = 0;

	if (file_read(m->pid_path, 64, &text, NULL, NULL) < 0 ||
	    sscanf(text, "%d %" SCNu64, &pid, &start_time) != 2 || pid <= 1)
		return false;
	m->proc = proc_watch(m->loop, pid, start_time, on_exit_of_manager, m, &err);
	if (!m->proc)
		return false;
	log_info("manager_found", kv_i64("pid", pid));
	return true;
}

static void on_adopted(uv_timer_t *timer)
{
	tell_ready(timer->data, NULL);
}

void manager_child_start(struct manager_child *m, void (*ready)(void *data, const struct error *err), void *data)
{
	m->ready = ready;
	m->ready_data = data;
	m->wanted = true;
	m->error[0] = '\0';
	if (m->stopping)
		return; /* on_exit_of_manager() starts it */
	if (m->proc || adopt(m))
		loop_timer_in(&m->timer, 0, on_adopted);
	else
		spawn(m);
}

void manager_child_reload(struct manager_child *m)
{
	if (m->proc)
		proc_kill(m->proc, SIGHUP);
}

void manager_child_give_up(struct manager_child *m)
{
	struct error err = ERROR_INIT;

	error_set(&err, ERR_CANCELLED, "cluster-manager was not ready yet");
	tell_ready(m, &err);
}

const char *manager_child_error(const struct manager_child *m)
{
	return m->error;
}

static void on_stop_timeout(uv_timer_t *timer)
{
	struct manager_child *m = timer->data;

	if (m->proc) {
		log_warn("manager_killed", kv_i64("pid", proc_pid(m->proc)));
		proc_kill(m->proc, SIGKILL);
		return;
	}
	tell_stopped(m);
	if (m->wanted && !m->proc)
		spawn(m);
}

void manager_child_stop(struct manager_child *m, void (*stopped)(void *data), void *data)
{
	struct waiter *w = xnew(struct waiter);

	*w = (struct waiter){.stopped = stopped, .data = data};
	STAILQ_INSERT_TAIL(&m->waiters, w, link);
	m->wanted = false;
	m->error[0] = '\0';
	if (!m->stopping) {
		m->stopping = true;
		if (m->proc || adopt(m))
			proc_kill(m->proc, SIGTERM);
		loop_timer_in(&m->timer, m->proc ? STOP_TIMEOUT_NS : 0, on_stop_timeout);
	}
	manager_child_give_up(m);
}

struct closing {
	struct manager_child *m;
	void (*closed)(void *data);
	void *data;
};

static void on_closed(void *data)
{
	struct closing *c = data;
	struct closing copy = *c;
	struct manager_child *m = copy.m;

	free(c);
	free(m->binary);
	strv_fini(&m->argv);
	free(m->pid_path);

	free(m);
	copy.closed(copy.data);
}

void manager_child_close(struct manager_child *m, void (*closed)(void *data), void *data)
{
	struct closing *c = xnew(struct closing);
	struct waiter *w;

	*c = (struct closing){m, closed, data};
	m->wanted = false;
	m->ready = NULL;
	if (!closer_begin(&m->closer, on_closed, c)) {
		free(c);
		return;
	}
	while ((w = STAILQ_FIRST(&m->waiters))) {
		STAILQ_REMOVE_HEAD(&m->waiters, link);
		free(w);
	}
	if (m->proc)
		proc_detach(m->proc);
	m->proc = NULL;
	closer_add(&m->closer, (uv_handle_t *)&m->timer);
	close_pipe(m);
	closer_end(&m->closer);
}
