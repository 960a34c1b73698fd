#include "agent/exec/internal.h"
#include "agent/exec/logfiles.h"
#include "common/clock.h"
#include "common/error.h"
#include "common/log.h"
#include "common/mem.h"

#include <errno.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>

/*
 * A container that writes nothing costs nothing: its log is watched by a one-shot inotify watch.
 * The first write starts a timer, whose next tick follows from how fast the file grows; when it no
 * longer grows, the watch is armed again.
 */
#define CHECK_MIN_NS (50 * NS_PER_MS)
#define CHECK_MAX_NS (5 * NS_PER_SEC)

static char *log_path(const struct container *c)
{
	return xasprintf("%s/logs/log", c->paths.task_dir);
}

static bool get_size(const struct container *c, int64_t *ret)
{
	_cleanup_free_ char *path = log_path(c);
	struct stat st;

	if (stat(path, &st) < 0)
		return false;
	*ret = st.st_size;
	return true;
}

static void arm(struct container *c)
{
	struct exec *e = c->exec;
	_cleanup_free_ char *path = log_path(c);

	if (e->inotify_fd < 0 || c->log_wd >= 0)
		return;
	c->log_wd = inotify_add_watch(e->inotify_fd, path, IN_MODIFY | IN_ONESHOT);
	if (c->log_wd >= 0)
		HASH_ADD(hh_log, e->by_log_wd, log_wd, sizeof(c->log_wd), c);
	else if (errno != ENOENT)
		log_warn("log_watch", kv_str("task", c->id), kv_str("error", strerror(errno)));
}

static void disarm(struct container *c, bool remove)
{
	if (c->log_wd < 0)
		return;
	HASH_DELETE(hh_log, c->exec->by_log_wd, c);
	if (remove)
		inotify_rm_watch(c->exec->inotify_fd, c->log_wd);
	c->log_wd = -1;
}

/* ---------------------------------------------------------------- rotation */

struct rotate_job {
	struct container *c;
	char *bundle;
	unsigned max_files;
	struct error err;
};

static void on_check(uv_timer_t *timer);

static void rotate_work(void *data)
{
	struct rotate_job *job = data;

	logfiles_rotate(job->bundle, job->max_files, &job->err);
}

static void rotate_done(void *data)
{
	struct rotate_job *job = data;
	struct container *c = job->c;

	if (job->err.code != ERR_OK)
		log_warn("log_rotation", kv_str("task", c->id), kv_err(&job->err));
	free(job->bundle);
	free(job);
	c->log_rotating = false;
	c->log_size = 0;
	c->log_checked_at = clock_mono_ns();
	if (!c->forgotten && c->phase == PHASE_RUNNING)
		loop_timer_in(&c->log_timer, CHECK_MIN_NS, on_check);
	closer_drop(&c->closer);
}

static void rotate(struct container *c)
{
	struct rotate_job *job = xnew(struct rotate_job);

	job->c = c;
	job->bundle = xstrdup(c->paths.task_dir);
	job->max_files = c->exec->log_max_files;
	c->log_rotating = true;
	closer_hold(&c->closer);
	loop_work(c->exec->loop, rotate_work, rotate_done, job);
}

/* Half of the time that is left at this rate: the file is never much longer than it may be. */
static int64_t next_check(const struct container *c, int64_t grown, int64_t took_ns)
{
	int64_t left = c->exec->log_max_bytes - c->log_size;
	double ns = (double)left / (double)grown * (double)took_ns / 2;

	return ns >= (double)CHECK_MAX_NS ? CHECK_MAX_NS : MAX((int64_t)ns, CHECK_MIN_NS);
}

static void check(struct container *c)
{
	int64_t size, grown, now = clock_mono_ns(), took = now - c->log_checked_at;

	if (c->log_rotating || c->phase != PHASE_RUNNING)
		return;
	if (!get_size(c, &size)) { /* conmon is about to make the new one */
		loop_timer_in(&c->log_timer, CHECK_MIN_NS, on_check);
		return;
	}
	grown = size - c->log_size;
	c->log_size = size;
	c->log_checked_at = now;
	if (size >= c->exec->log_max_bytes)
		rotate(c);
	else if (grown > 0)
		loop_timer_in(&c->log_timer, next_check(c, grown, MAX(took, INT64_C(1))), on_check);
	else
		arm(c);
}

static void on_check(uv_timer_t *timer)
{
	check(container_of(timer, struct container, log_timer));
}

/* ---------------------------------------------------------------- inotify */

static void on_inotify(uv_poll_t *poll, int status, int events)
{
	struct exec *e = container_of(poll, struct exec, inotify_poll);
	char buf[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
	ssize_t n = read(e->inotify_fd, buf, sizeof(buf));

	for (ssize_t i = 0; i < n;) {
		const struct inotify_event *event = (const struct inotify_event *)(buf + i);
		struct container *c;

		HASH_FIND(hh_log, e->by_log_wd, &event->wd, sizeof(event->wd), c);
		if (c) {
			disarm(c, false);
			/* Soon, not at once: a burst of lines is one growth. */
			if (!uv_is_active((uv_handle_t *)&c->log_timer))
				loop_timer_in(&c->log_timer, CHECK_MIN_NS, on_check);
		}
		i += (ssize_t)(sizeof(*event) + event->len);
	}
}

void rotate_watch(struct container *c)
{
	c->log_size = 0;
	c->log_checked_at = clock_mono_ns();
	check(c);
}

void rotate_unwatch(struct container *c)
{
	disarm(c, true);
	uv_timer_stop(&c->log_timer);
}

int rotate_open(struct exec *e, struct error *err)
{
	e->inotify_fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (e->inotify_fd < 0)
		return error_set_errno(err, errno, "inotify");
	uv_poll_init(e->loop, &e->inotify_poll, e->inotify_fd);
	uv_poll_start(&e->inotify_poll, UV_READABLE, on_inotify);
	uv_unref((uv_handle_t *)&e->inotify_poll);
	return 0;
}

void rotate_close(struct exec *e)
{
	if (e->inotify_fd < 0)
		return;
	uv_poll_stop(&e->inotify_poll);
	mem_closep(&e->inotify_fd);
	closer_add(&e->closer, (uv_handle_t *)&e->inotify_poll);
}
