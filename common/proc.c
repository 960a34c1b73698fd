#include "common/proc.h"

#include "common/error.h"
#include "common/file.h"
#include "common/loop.h"
#include "common/mem.h"
#include "common/proc_fork.h"
#include "common/str.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/queue.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define LINE_MAX_BYTES 4096
#define READ_BYTES 65536
#define READS_PER_TURN 4 /* a chatty child must not hold the loop */
#define LAST_READS 64	 /* more than a pipe holds */
#define LINGER_MS 200	 /* how long output of a grandchild is waited for behind the exit */
#define MAX_EXTRA_FDS 32
#define MAX_CAPTURE_BYTES (256u << 20)
#define DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

/* One output of the child that we read. */
struct output {
	struct proc *proc;
	uv_poll_t poll;
	int fd;
	bool is_stderr;
	bool open; /* no end of file yet */
	char *buf; /* capture, or the line that is being collected */
	size_t len, cap;
};

struct proc {
	uv_loop_t *loop;
	struct closer closer;
	pid_t pid;
	int pidfd;
	uv_poll_t exit_poll;
	uv_timer_t timer; /* first the timeout, behind the exit the wait for output */
	struct output out, errout;
	bool is_child;
	bool exited;
	bool forgotten;
	size_t max_capture;
	proc_line_cb on_line;
	proc_exit_cb on_exit;
	void *data;
	struct proc_exit exit;
};

/* Children that were forgotten before they ended; reaped when there is an occasion. */
struct orphan {
	int pidfd;
	SLIST_ENTRY(orphan) link;
};

static SLIST_HEAD(, orphan) orphans = SLIST_HEAD_INITIALIZER(orphans);

/* Close-on-exec by definition. Some are held as long as a container runs: not in a low number. */
static int open_pidfd(pid_t pid)
{
	return file_fd_high((int)syscall(SYS_pidfd_open, pid, 0));
}

static int reap(int pidfd, siginfo_t *ret_info)
{
	int r;

	ret_info->si_pid = 0;
	do
		r = waitid(P_PIDFD, (id_t)pidfd, ret_info, WEXITED | WNOHANG);
	while (r < 0 && errno == EINTR);
	return r;
}

static void reap_orphans(void)
{
	struct orphan *o, *next;
	siginfo_t info;

	for (o = SLIST_FIRST(&orphans); o; o = next) {
		next = SLIST_NEXT(o, link);
		if (reap(o->pidfd, &info) == 0 && info.si_pid == 0)
			continue; /* still runs */
		SLIST_REMOVE(&orphans, o, orphan, link);
		close(o->pidfd);
		free(o);
	}
}

/* ---------------------------------------------------------------- end */

/* What was captured, as strings: the tail of stderr moves to the front. */
static void exit_set_output(struct proc *p)
{
	struct output *e = &p->errout;

	p->exit.out = p->exit.errout = "";
	if (p->on_line)
		return;
	if (p->out.buf) {
		p->out.buf[p->out.len] = '\0';
		p->exit.out = p->out.buf;
		p->exit.out_len = p->out.len;
	}
	if (e->buf) {
		size_t n = MIN(e->len, p->max_capture);

		e->buf[e->len] = '\0';
		p->exit.errout = e->buf + e->len - n;
		p->exit.errout_len = n;
	}
}

static void on_all_closed(void *data)
{
	struct proc *p = data;
	struct orphan *o;

	if (p->out.fd >= 0)
		close(p->out.fd);
	if (p->errout.fd >= 0)
		close(p->errout.fd);

	if (p->is_child && !p->exited) {
		o = xnew(struct orphan);
		o->pidfd = TAKE_FD(p->pidfd);
		SLIST_INSERT_HEAD(&orphans, o, link);
	}
	if (p->pidfd >= 0)
		close(p->pidfd);

	/* Last: the callback may start the next child, or end the loop. */
	if (!p->forgotten && p->on_exit) {
		exit_set_output(p);
		p->on_exit(p->data, p, &p->exit);
	}

	free(p->out.buf);
	free(p->errout.buf);
	free(p);
}

static void close_all(struct proc *p)
{
	if (!closer_begin(&p->closer, on_all_closed, p))
		return;

	closer_add(&p->closer, (uv_handle_t *)&p->exit_poll);
	closer_add(&p->closer, (uv_handle_t *)&p->timer);
	if (p->out.fd >= 0)
		closer_add(&p->closer, (uv_handle_t *)&p->out.poll);
	if (p->errout.fd >= 0)
		closer_add(&p->closer, (uv_handle_t *)&p->errout.poll);
	closer_end(&p->closer);
}

/* ---------------------------------------------------------------- output */

static void line_flush(struct output *o)
{
	if (o->len == 0)
		return;
	o->buf[o->len] = '\0';
	o->len = 0;
	o->proc->on_line(o->proc->data, o->buf, o->is_stderr);
}

static void line_add(struct output *o, const char *data, size_t n)
{
	for (size_t i = 0; i < n && !o->proc->forgotten; i++) {
		if (data[i] == '\n') {
			o->buf[o->len] = '\0';
			o->len = 0;
			o->proc->on_line(o->proc->data, o->buf, o->is_stderr);
			continue;
		}
		o->buf[o->len++] =
			data[i] ? data[i] : '?'; /* a NUL would hide the rest of the line */
		if (o->len == LINE_MAX_BYTES)
			line_flush(o);
	}
}

static void grow(struct output *o, size_t want, size_t max)
{
	size_t cap = MAX(o->cap, 1024);

	if (want <= o->cap)
		return;
	while (cap < want)
		cap *= 2;
	o->cap = MIN(cap, max);
	o->buf = xrealloc(o->buf, o->cap + 1);
}

/* Of stdout the beginning is kept, of stderr the end: there stands why it failed. */
static void capture(struct output *o, const char *data, size_t n)
{
	size_t max = o->proc->max_capture;

	if (!o->is_stderr) {
		n = MIN(n, max - o->len);
		grow(o, o->len + n, max);
	} else {
		if (n > max) {
			data += n - max;
			n = max;
		}
		if (o->len + n > 2 * max) { /* twice the bound, so that moving is rare */
			memmove(o->buf, o->buf + o->len - max, max);
			o->len = max;
		}
		grow(o, o->len + n, 2 * max);
	}
	if (n)
		memcpy(o->buf + o->len, data, n);
	o->len += n;
}

/* Returns false at the end of the output. */
static bool read_some(struct output *o, unsigned reads)
{
	static char chunk[READ_BYTES]; /* loop thread only, and not kept across callbacks */
	struct proc *p = o->proc;
	char part[LINE_MAX_BYTES];
	ssize_t n;

	for (unsigned i = 0; i < reads; i++) {
		/* on_line may start a child whose output lands in `chunk`: lines come from the
		 * stack. */
		if (p->on_line)
			n = read(o->fd, part, sizeof(part));
		else
			n = read(o->fd, chunk, sizeof(chunk));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN;
		if (n == 0)
			return false;
		if (p->on_line)
			line_add(o, part, (size_t)n);
		else
			capture(o, chunk, (size_t)n);
		if (p->forgotten)
			return true;
	}
	return true;
}

static void finish_if_over(struct proc *p)
{
	if (p->exited && !p->out.open && !p->errout.open)
		close_all(p);
}

static void output_end(struct output *o)
{
	if (!o->open)
		return;
	o->open = false;
	uv_poll_stop(&o->poll);
	if (o->proc->on_line && !o->proc->forgotten)
		line_flush(o);
}

static void on_output(uv_poll_t *handle, int status, int events)
{
	struct output *o = container_of(handle, struct output, poll);

	if (status < 0 || !read_some(o, READS_PER_TURN)) {
		output_end(o);
		finish_if_over(o->proc);
	}
}

static void output_open(struct proc *p, struct output *o, int fd)
{
	o->fd = fd;
	o->open = true;
	if (p->on_line)
		o->buf = xmalloc(LINE_MAX_BYTES + 1);
	uv_poll_init(p->loop, &o->poll, fd);
	uv_poll_start(&o->poll, UV_READABLE | UV_DISCONNECT, on_output);
}

/* ---------------------------------------------------------------- exit */

static void end_outputs(struct proc *p)
{
	struct output *outputs[] = {&p->out, &p->errout};

	for (size_t i = 0; i < ARRAY_SIZE(outputs); i++) {
		if (!outputs[i]->open)
			continue;
		read_some(outputs[i], LAST_READS);
		output_end(outputs[i]);
	}
}

static void on_linger(uv_timer_t *timer)
{
	struct proc *p = container_of(timer, struct proc, timer);

	end_outputs(p);
	close_all(p);
}

static void on_timeout(uv_timer_t *timer)
{
	struct proc *p = container_of(timer, struct proc, timer);

	/* Not reaped yet, so the number still names this group. */
	p->exit.timed_out = true;
	kill(-p->pid, SIGKILL);
	proc_kill(p, SIGKILL); /* in case it left its group */
}

static void on_pidfd(uv_poll_t *handle, int status, int events)
{
	struct proc *p = container_of(handle, struct proc, exit_poll);
	siginfo_t info;

	p->exit.exit_code = -1;
	if (p->is_child && reap(p->pidfd, &info) == 0) {
		if (info.si_pid == 0)
			return; /* not yet */
		if (info.si_code == CLD_EXITED)
			p->exit.exit_code = info.si_status;
		else
			p->exit.signal = info.si_status;
	}

	p->exited = true;
	uv_poll_stop(&p->exit_poll);
	uv_timer_stop(&p->timer);
	if (p->out.open || p->errout.open)
		uv_timer_start(&p->timer, on_linger, LINGER_MS, 0);
	finish_if_over(p);
}

static struct proc *proc_new(uv_loop_t *loop, pid_t pid, int pidfd)
{
	struct proc *p = xnew(struct proc);

	p->loop = loop;
	p->pid = pid;
	p->pidfd = pidfd;
	p->out.proc = p->errout.proc = p;
	p->out.fd = p->errout.fd = -1;
	p->errout.is_stderr = true;
	p->exit.exit_code = -1;
	p->exit.out = p->exit.errout = "";
	closer_init(&p->closer);
	uv_timer_init(loop, &p->timer);
	uv_poll_init(loop, &p->exit_poll, pidfd);
	uv_poll_start(&p->exit_poll, UV_READABLE, on_pidfd);
	return p;
}

/* ---------------------------------------------------------------- start */

static int look_up(const char *name, char **ret_path, struct error *err)
{
	const char *path = getenv("PATH");

	if (str_empty(name))
		return error_set(err, ERR_INVALID,
				 "program name is empty, accepted is a path or a name in PATH");
	if (strchr(name, '/')) {
		*ret_path = xstrdup(name);
		return 0;
	}

	for (const char *dir = str_empty(path) ? DEFAULT_PATH : path; dir;) {
		const char *end = strchrnul(dir, ':');
		char *full = xasprintf("%.*s/%s", (int)(end - dir), dir, name);

		if (end > dir && access(full, X_OK) == 0) {
			*ret_path = full;
			return 0;
		}
		free(full);
		dir = *end ? end + 1 : NULL;
	}
	return error_set(err, ERR_NOT_FOUND, "program %s is not in PATH (%s)", name,
			 str_empty(path) ? DEFAULT_PATH : path);
}

/* A file in memory: no writer to drive, no SIGPIPE when the child does not read. */
static int stdin_open(const struct proc_options *o, struct error *err)
{
	int fd;

	if (!o->stdin_data) {
		fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
		return fd < 0 ? error_set_errno(err, errno, "open /dev/null") : fd;
	}

	fd = memfd_create("stdin", MFD_CLOEXEC);
	if (fd < 0)
		return error_set_errno(err, errno, "stdin of %s", o->argv[0]);
	for (size_t done = 0; done < o->stdin_len;) {
		ssize_t n = write(fd, o->stdin_data + done, o->stdin_len - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			error_set_errno(err, errno, "stdin of %s, %zu bytes", o->argv[0],
					o->stdin_len);
			close(fd);
			return -1;
		}
		done += (size_t)n;
	}
	lseek(fd, 0, SEEK_SET);
	return fd;
}

static int output_pipe(int *ret_read, int *ret_write, struct error *err)
{
	int fds[2];

	if (pipe2(fds, O_CLOEXEC) < 0)
		return error_set_errno(err, errno, "pipe");
	fcntl(fds[0], F_SETFL, O_NONBLOCK); /* our end only: programs do not expect it of theirs */
	*ret_read = file_fd_high(fds[0]);
	*ret_write = fds[1];
	return 0;
}

static void default_env(struct strv *env)
{
	const char *path = getenv("PATH"), *home = getenv("HOME");

	strv_addf(env, "PATH=%s", str_empty(path) ? DEFAULT_PATH : path);
	strv_addf(env, "HOME=%s", str_empty(home) ? "/" : home);
	strv_add(env, "LANG=C.UTF-8");
}

static int options_check(const struct proc_options *o, struct error *err)
{
	if (o->n_extra_fds > MAX_EXTRA_FDS)
		return error_set(err, ERR_INVALID,
				 "%u extra descriptors for %s, accepted are at most %d",
				 o->n_extra_fds, o->argv[0], MAX_EXTRA_FDS);
	if (o->max_capture > MAX_CAPTURE_BYTES)
		return error_set(err, ERR_INVALID,
				 "capture of %zu bytes of %s, accepted are at most %u",
				 o->max_capture, o->argv[0], MAX_CAPTURE_BYTES);
	return 0;
}

static pid_t start(const struct proc_options *o, const int fds[static 3], struct error *err)
{
	_cleanup_free_ char *path = NULL;
	_cleanup_strv_ struct strv env = {0};
	int all[3 + MAX_EXTRA_FDS];
	struct proc_fork_options fork = {
		.argv = o->argv,
		.cwd = o->cwd,
		.fds = all,
		.n_fds = 3 + o->n_extra_fds,
		.die_signal = o->die_signal,
		.new_session = o->new_session,
	};

	if (look_up(o->argv[0], &path, err) < 0)
		return -1;
	default_env(&env);
	fork.path = path;
	fork.env = o->env ? o->env : (const char *const *)env.v;
	memcpy(all, fds, 3 * sizeof(int));
	if (o->n_extra_fds)
		memcpy(all + 3, o->extra_fds, o->n_extra_fds * sizeof(int));
	return proc_fork(&fork, err);
}

struct proc *proc_spawn(uv_loop_t *loop, const struct proc_options *options, struct error *err)
{
	_cleanup_close_ int in = -1, out = -1, errout = -1, out_read = -1, err_read = -1;
	bool piped = options->on_line || options->max_capture;
	struct proc *p;
	pid_t pid;
	int pidfd;

	reap_orphans();
	if (options_check(options, err) < 0)
		return NULL;
	in = stdin_open(options, err);
	if (in < 0)
		return NULL;
	if (piped &&
	    (output_pipe(&out_read, &out, err) < 0 || output_pipe(&err_read, &errout, err) < 0))
		return NULL;

	pid = start(options,
		    (const int[]){in, piped ? out : STDERR_FILENO, piped ? errout : STDERR_FILENO},
		    err);
	if (pid < 0)
		return NULL;
	pidfd = open_pidfd(pid);
	if (pidfd < 0) {
		error_set_errno(err, errno, "watch %s, pid %d", options->argv[0], (int)pid);
		kill(-pid, SIGKILL);
		waitpid(pid, NULL, 0); /* killed: comes at once */
		return NULL;
	}

	p = proc_new(loop, pid, pidfd);
	p->is_child = true;
	p->max_capture = options->max_capture;
	p->on_line = options->on_line;
	p->on_exit = options->on_exit;
	p->data = options->data;
	if (piped) {
		output_open(p, &p->out, TAKE_FD(out_read));
		output_open(p, &p->errout, TAKE_FD(err_read));
	}
	if (options->timeout_ms)
		loop_timer_in(&p->timer,
			      (int64_t)MIN(options->timeout_ms, INT64_MAX / 1000000) * 1000000,
			      on_timeout);
	return p;
}

pid_t proc_pid(const struct proc *proc)
{
	return proc->pid;
}

void proc_kill(struct proc *proc, int signum)
{
	if (proc->pidfd >= 0)
		syscall(SYS_pidfd_send_signal, proc->pidfd, signum, NULL, 0);
}

void proc_detach(struct proc *proc)
{
	proc->forgotten = true;
	close_all(proc);
}

/* ---------------------------------------------------------------- foreign processes */

uint64_t proc_start_time(pid_t pid)
{
	char path[64], stat[1024], *p;
	uint64_t ticks = 0;
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	n = read(fd, stat, sizeof(stat) - 1);
	close(fd);
	if (n <= 0)
		return 0;
	stat[n] = '\0';

	/* Field 2 is the name in parentheses and may hold anything: count from the last one. */
	p = strrchr(stat, ')');
	for (int field = 2; p && field < 22; field++) {
		p = strchr(p, ' ');
		if (p)
			p++;
	}
	return p && sscanf(p, "%" SCNu64, &ticks) == 1 ? ticks : 0;
}

struct proc *proc_watch(uv_loop_t *loop, pid_t pid, uint64_t start_time, proc_exit_cb on_exit,
			void *data, struct error *err)
{
	struct proc *p;
	uint64_t found;
	int pidfd;

	if (pid <= 0) {
		error_set(err, ERR_INVALID, "pid %d, accepted are positive numbers", (int)pid);
		return NULL;
	}
	pidfd = open_pidfd(pid);
	if (pidfd < 0) {
		error_set_errno(err, errno, "watch pid %d", (int)pid);
		return NULL;
	}

	/* The descriptor is held first: now the number cannot change its meaning. */
	found = start_time ? proc_start_time(pid) : 0;
	if (found != start_time) {
		close(pidfd);
		error_set(err, ERR_NOT_FOUND,
			  "pid %d is another process: started at tick %" PRIu64 ", not %" PRIu64,
			  (int)pid, found, start_time);
		return NULL;
	}

	p = proc_new(loop, pid, pidfd);
	p->on_exit = on_exit;
	p->data = data;
	return p;
}
