#include "agent/exec/checkpoint_int.h"

#include "common/clock.h"
#include "common/error.h"
#include "common/file.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/str.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>

#define FREEZE_TIMEOUT_NS (10 * NS_PER_SEC)
#define LEFTOVER_TIMEOUT_NS (60 * NS_PER_SEC)
#define EVENTS_MAX 256

/* One freeze or thaw: write to the group, wait for its file of events to say so. */
struct freeze {
	struct container *c; /* held */
	bool to;
	container_frozen_cb cb;
	void *data;
	char *dir;
	int events_fd;
	struct error err;
	bool working, polling;
	uv_poll_t poll;
	uv_timer_t timer;
	struct closer closer;
};

/* ---------------------------------------------------------------- the kernel's files */

char *freeze_dir(const struct container *c)
{
	return xasprintf("/sys/fs/cgroup%s", c->paths.cgroup);
}

int freeze_write(const char *dir, bool frozen, struct error *err)
{
	_cleanup_free_ char *path = xasprintf("%s/cgroup.freeze", dir);
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, frozen ? "1" : "0", 1) != 1)
		return error_set_errno(err, errno, "%s the container: write %s",
				       frozen ? "freeze" : "thaw", path);
	return 0;
}

int freeze_parse_events(const char *text, bool *ret_frozen)
{
	for (const char *line = text; line && *line; line = strchr(line, '\n'), line += !!line) {
		if (str_starts(line, "frozen 0") || str_starts(line, "frozen 1")) {
			*ret_frozen = line[7] == '1';
			return 0;
		}
	}
	return -1;
}

/* The file is one that poll(2) waits on: reading it also takes what it has told. */
static bool has_reached(const struct freeze *f)
{
	char text[EVENTS_MAX];
	ssize_t n = pread(f->events_fd, text, sizeof(text) - 1, 0);
	bool frozen;

	text[MAX(n, (ssize_t)0)] = '\0';
	return freeze_parse_events(text, &frozen) == 0 && frozen == f->to;
}

static bool is_frozen_now(const char *dir)
{
	_cleanup_free_ char *path = xasprintf("%s/cgroup.freeze", dir), *text = NULL;

	return file_read(path, 16, &text, NULL, NULL) == 0 && text[0] == '1';
}

/* ---------------------------------------------------------------- end */

static void on_closed(void *data)
{
	struct freeze *f = data;
	struct container *c = f->c;

	mem_closep(&f->events_fd);
	free(f->dir);
	free(f);
	closer_drop(&c->closer);
}

static void finish(struct freeze *f, const struct error *err)
{
	struct container *c = f->c;
	container_frozen_cb cb = f->cb;
	void *data = f->data;

	f->cb = NULL;
	if (c->freeze == f)
		c->freeze = NULL;
	if (!closer_begin(&f->closer, on_closed, f))
		return;
	closer_hold(&c->closer);
	closer_add(&f->closer, (uv_handle_t *)&f->timer);
	if (f->polling)
		closer_add(&f->closer, (uv_handle_t *)&f->poll);
	closer_end(&f->closer);
	if (cb && !c->forgotten)
		cb(data, c, err);
	closer_drop(&c->closer);
}

static void fail(struct freeze *f)
{
	struct container *c = f->c;
	struct error err = f->err;

	if (c->freeze == f && c->freezing != c->frozen) {
		c->freezing = c->frozen;
		checkpoint_mark(c);
	}
	finish(f, &err);
}

static void reached(struct freeze *f)
{
	f->c->frozen = f->to;
	if (!f->to)
		checkpoint_mark(f->c);
	finish(f, NULL);
}

static void on_timeout(uv_timer_t *timer)
{
	struct freeze *f = container_of(timer, struct freeze, timer);

	error_set(&f->err, ERR_TIMEOUT, "the container did not %s within 10 s", f->to ? "stand still" : "go on");
	if (f->to)
		freeze_write(f->dir, false, NULL);
	fail(f);
}

static void on_event(uv_poll_t *poll, int status, int events)
{
	struct freeze *f = container_of(poll, struct freeze, poll);

	if (has_reached(f))
		reached(f);
}

/* ---------------------------------------------------------------- begin */

static void write_work(void *data)
{
	struct freeze *f = data;
	_cleanup_free_ char *path = xasprintf("%s/cgroup.events", f->dir);

	f->events_fd = open(path, O_RDONLY | O_CLOEXEC);
	if (f->events_fd < 0)
		error_set_errno(&f->err, errno, "freeze the container: open %s", path);
	else
		freeze_write(f->dir, f->to, &f->err);
}

static void write_done(void *data)
{
	struct freeze *f = data;
	struct container *c = f->c;

	f->working = false;
	if (c->freeze != f) { /* it ended meanwhile, or we stop */
		finish(f, NULL);
	} else if (f->err.code != ERR_OK) {
		fail(f);
	} else if (has_reached(f)) {
		reached(f);
	} else if (uv_poll_init(c->exec->loop, &f->poll, f->events_fd) < 0) {
		error_set(&f->err, ERR_INTERNAL, "freeze the container: cannot wait for %s/cgroup.events", f->dir);
		fail(f);
	} else {
		f->polling = true;
		uv_poll_start(&f->poll, UV_PRIORITIZED, on_event);
		loop_timer_in(&f->timer, FREEZE_TIMEOUT_NS, on_timeout);
	}
}

static bool refused(struct freeze *f)
{
	struct container *c = f->c;

	if (c->exec->probe.cgroup != CGROUP_V2)
		error_set(&f->err, ERR_PRECONDITION, "containers can be frozen with cgroup v2 only, this node has %s",
			  cgroup_mode_name(c->exec->probe.cgroup));
	else if (c->phase != PHASE_RUNNING)
		error_set(&f->err, ERR_PRECONDITION, "the container does not run");
	return f->err.code != ERR_OK;
}

static void on_begin(uv_timer_t *timer)
{
	struct freeze *f = container_of(timer, struct freeze, timer);
	struct container *c = f->c;

	if (f->err.code != ERR_OK || refused(f)) {
		fail(f);
		return;
	}
	if (f->to) { /* noted first: whoever finds it frozen must know by whom */
		c->freezing = true;
		c->freezes++;
		if (checkpoint_mark(c) < 0) {
			error_set(&f->err, ERR_UNAVAILABLE, "freeze the container: cannot write its state");
			fail(f);
			return;
		}
	} else {
		c->freezing = false;
	}
	f->working = true;
	loop_work(c->exec->loop, write_work, write_done, f);
}

static void begin(struct container *c, bool to, container_frozen_cb cb, void *data)
{
	struct freeze *f = xnew(struct freeze);

	*f = (struct freeze){.c = c, .to = to, .cb = cb, .data = data, .dir = freeze_dir(c), .events_fd = -1};
	closer_init(&f->closer);
	closer_hold(&c->closer);
	uv_timer_init(c->exec->loop, &f->timer);
	if (c->freeze || c->dump)
		error_set(&f->err, ERR_PRECONDITION, "the container is being %s already", c->dump ? "copied" : "frozen or thawed");
	else
		c->freeze = f;
	loop_timer_in(&f->timer, 0, on_begin);
}

void container_freeze(struct container *c, container_frozen_cb cb, void *data)
{
	begin(c, true, cb, data);
}

void container_thaw(struct container *c, container_frozen_cb cb, void *data)
{
	begin(c, false, cb, data);
}

bool container_frozen(const struct container *c)
{
	return c->frozen;
}

void freeze_drop(struct container *c)
{
	if (c->freeze)
		c->freeze->cb = NULL;
}

/* Its process has ended, or the agent stops: what was written stays written. */
void freeze_cancel(struct container *c)
{
	struct freeze *f = c->freeze;

	if (!f)
		return;
	error_set(&f->err, ERR_CANCELLED, "the container ended");
	if (f->working)
		c->freeze = NULL; /* closes behind the work */
	if (f->working && f->cb && !c->forgotten)
		f->cb(f->data, c, &f->err);
	if (f->working)
		f->cb = NULL;
	else
		fail(f);
}

/* ---------------------------------------------------------------- what an earlier agent left */

struct leftover {
	struct container *c; /* held */
	void (*done)(void *data);
	void *data;
	struct checkpoint_mark mark;
	bool frozen; /* by us, again */
	char *dir;
	struct proc *watch;
	uv_timer_t timer;
	struct closer closer;
};

static void leftover_closed(void *data)
{
	struct leftover *l = data;
	struct container *c = l->c;
	void (*done)(void *) = l->done;
	void *done_data = l->data;

	free(l->dir);
	free(l);
	done(done_data);
	closer_drop(&c->closer);
}

static void settle_done(void *data)
{
	struct leftover *l = data;
	struct container *c = l->c;

	c->frozen = c->freezing = l->frozen;
	if (l->mark.child || l->mark.frozen != l->frozen)
		checkpoint_mark(c);
	closer_begin(&l->closer, leftover_closed, l);
	closer_add(&l->closer, (uv_handle_t *)&l->timer);
	closer_end(&l->closer);
}

/* criu lets the group go while it works. Its end leaves it as it was, unless it was killed. */
static void settle_work(void *data)
{
	struct leftover *l = data;

	if (l->mark.frozen)
		l->frozen = freeze_write(l->dir, true, NULL) == 0;
	else if (l->mark.child && is_frozen_now(l->dir))
		freeze_write(l->dir, false, NULL);
}

static void on_child_gone(void *data, struct proc *proc, const struct proc_exit *exit)
{
	struct leftover *l = data;

	l->watch = NULL;
	uv_timer_stop(&l->timer);
	loop_work(l->c->exec->loop, settle_work, settle_done, l);
}

static void on_child_late(uv_timer_t *timer)
{
	struct leftover *l = container_of(timer, struct leftover, timer);

	log_warn("checkpoint_leftover_killed", kv_str("task", l->c->id), kv_i64("pid", l->mark.child));
	kill(-(pid_t)l->mark.child, SIGKILL); /* it leads a session of its own */
}

void checkpoint_adopt(struct container *c, void (*done)(void *data), void *data)
{
	struct leftover *l = xnew(struct leftover);

	l->c = c;
	l->done = done;
	l->data = data;
	l->dir = freeze_dir(c);
	closer_init(&l->closer);
	closer_hold(&c->closer);
	uv_timer_init(c->exec->loop, &l->timer);
	checkpoint_mark_load(c->paths.task_dir, c->exec->boot_id, &l->mark);
	/* Not ended by force: a process that criu works in would be left with criu's code in it. */
	if (l->mark.child)
		l->watch = proc_watch(c->exec->loop, (pid_t)l->mark.child, l->mark.child_start, on_child_gone, l, NULL);
	if (l->watch)
		loop_timer_in(&l->timer, LEFTOVER_TIMEOUT_NS, on_child_late);
	else
		loop_work(c->exec->loop, settle_work, settle_done, l);
}
