#include "agent/exec/internal.h"

#include "agent/exec/check_group.h"
#include "agent/exec/health.h"
#include "agent/exec/runtime.h"
#include "common/clock.h"
#include "common/error.h"
#include "common/mem.h"

#include <ctype.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#define PID_FILE "check.pid" /* in run_dir */
#define BACKSTOP_MS 5000     /* a runtime that outlives its check by this much is killed, too */

struct container_check {
	struct container *c; /* held */
	container_check_cb cb;
	void *data;
	int64_t timeout_ns;
	struct slot slot;
	uv_timer_t timer;
	struct closer closer;
	struct proc *proc;
	const char *group; /* the runtime's option for it; NULL: the check has none, its session is killed */
	unsigned jobs;     /* on the pool, about the group */
	bool timed_out, ended;
	unsigned freezes; /* of the container, when it began */
	struct check_end end;
	char *output;     /* of end */
	struct error err; /* why it did not begin */
};

/* ---------------------------------------------------------------- end */

static void on_closed(void *data)
{
	struct container_check *k = data;
	struct container *c = k->c;

	free(k->output);
	free(k);
	closer_drop(&c->closer);
}

static void check_close(struct container_check *k)
{
	if (!closer_begin(&k->closer, on_closed, k))
		return;
	slot_release(&k->c->exec->checks, &k->slot);
	closer_add(&k->closer, (uv_handle_t *)&k->timer);
	closer_end(&k->closer);
}

static void finish(struct container_check *k, const struct check_end *end)
{
	container_check_cb cb = k->cb;
	void *data = k->data;

	k->cb = NULL;
	check_close(k);
	if (cb)
		cb(data, end);
}

/* What a person wants to read: stdout and stderr, without blank ends; a runtime's own words without their JSON. */
static char *words(const struct proc_exit *exit)
{
	struct strbuf all = {0};
	_cleanup_free_ char *message = *exit->errout == '{' ? runtime_message(exit->errout) : NULL;
	size_t len;

	strbuf_puts(&all, exit->out);
	if (exit->out_len && exit->out[exit->out_len - 1] != '\n' && exit->errout_len)
		strbuf_putc(&all, '\n');
	strbuf_puts(&all, message ? message : exit->errout);
	len = MIN(all.len, (size_t)HEALTH_OUTPUT_MAX);
	while (len && isspace((unsigned char)all.p[len - 1]))
		len--;
	if (all.p)
		all.p[len] = '\0';
	return strbuf_take(&all);
}

/* The kernel ends the check together with the container, and tells of the container's end later. */
static bool is_gone(const struct container *c)
{
	struct pollfd p = {.fd = c->pidfd, .events = POLLIN};

	return c->phase != PHASE_RUNNING || (p.fd >= 0 && poll(&p, 1, 0) > 0);
}

/* ---------------------------------------------------------------- its group */

struct group_job {
	struct container_check *k;
	struct container *c;
	enum cgroup_mode mode;
	bool make, met;
	void (*done)(struct container_check *k, bool met);
};

static void group_work(void *data)
{
	struct group_job *job = data;

	job->met = check_group_kill(job->mode, job->c->paths.cgroup);
	if (job->make)
		check_group_make(job->mode, job->c->paths.cgroup);
}

static void group_done(void *data)
{
	struct group_job *job = data;
	struct container_check *k = job->k;

	k->jobs--;
	job->done(k, job->met);
	/* Not before: the next check's processes are in the same group. */
	if (k->ended && !k->jobs)
		finish(k, &k->end);
	free(job);
}

/* Kill what is in the group. */
static void group_clear(struct container_check *k, bool make, void (*done)(struct container_check *k, bool met))
{
	struct group_job *job = xnew(struct group_job);

	*job = (struct group_job){k, k->c, k->c->exec->probe.cgroup, make, false, done};
	k->jobs++;
	loop_work(k->c->exec->loop, group_work, group_done, job);
}

/* ---------------------------------------------------------------- its end */

static void nothing_more(struct container_check *k, bool met)
{
}

static void on_exit_of_check(void *data, struct proc *proc, const struct proc_exit *exit)
{
	struct container_check *k = data;
	_cleanup_free_ char *path = xasprintf("%s/" PID_FILE, k->c->paths.run_dir);

	k->output = words(exit);
	k->end = (struct check_end){
		.exit_code = exit->signal ? 128 + exit->signal : exit->exit_code,
		.timed_out = k->timed_out || exit->timed_out,
		.gone = is_gone(k->c) || k->c->freezing || k->freezes != k->c->freezes,
		.output = k->output,
	};
	k->proc = NULL;
	k->ended = true;
	unlink(path);
	if (k->end.timed_out)
		k->end.exit_code = -1;
	if (k->group)
		group_clear(k, false, nothing_more); /* what it has left behind */
	else
		finish(k, &k->end);
}

/* ---------------------------------------------------------------- killing */

struct killing {
	struct container *c; /* held */
	enum cgroup_mode mode;
	int64_t pid;
};

static void kill_work(void *data)
{
	struct killing *job = data;

	cgroup_kill_session(job->mode, job->c->paths.cgroup, job->pid);
}

static void kill_done(void *data)
{
	struct killing *job = data;

	closer_drop(&job->c->closer);
	free(job);
}

/* With the process that the runtime has started go those that it has started itself. */
static bool kill_session(struct container *c)
{
	struct killing *job;
	int64_t pid = container_read_pid(&c->paths, PID_FILE);

	if (!pid)
		return false;
	job = xnew(struct killing);
	*job = (struct killing){c, c->exec->probe.cgroup, pid};
	closer_hold(&c->closer);
	loop_work(c->exec->loop, kill_work, kill_done, job);
	return true;
}

/* The runtime ends with its process; when there is none yet, it is the runtime that hangs. */
static void on_killed(struct container_check *k, bool met)
{
	if (k->proc && !met)
		proc_kill(k->proc, SIGKILL);
}

static void kill_all(struct container_check *k)
{
	if (!k->proc)
		return;
	if (k->group)
		group_clear(k, false, on_killed);
	else
		on_killed(k, kill_session(k->c));
}

static void on_timeout(uv_timer_t *timer)
{
	struct container_check *k = container_of(timer, struct container_check, timer);

	k->timed_out = true;
	kill_all(k);
}

/* ---------------------------------------------------------------- begin */

static void on_not_begun(uv_timer_t *timer)
{
	struct container_check *k = container_of(timer, struct container_check, timer);

	finish(k, &(struct check_end){.exit_code = -1, .gone = k->c->freezing, .output = k->err.msg});
}

static void start(struct container_check *k)
{
	struct container *c = k->c;
	_cleanup_free_ char *root = xasprintf("%s/.runtime", c->exec->exec_dir);
	_cleanup_strv_ struct strv argv = {0};
	struct proc_options options = {
		.max_capture = HEALTH_OUTPUT_MAX,
		.timeout_ms = (uint64_t)(k->timeout_ns / NS_PER_MS) + BACKSTOP_MS,
		.die_signal = SIGKILL,
		.on_exit = on_exit_of_check,
		.data = k,
	};

	k->freezes = c->freezes;
	if (c->freezing) { /* the runtime would stand still with the rest */
		error_set(&k->err, ERR_PRECONDITION, "the container is frozen");
		loop_timer_in(&k->timer, 0, on_not_begun);
		return;
	}
	runtime_args(&argv, c->runtime, root);
	strv_add(&argv, "exec");
	if (k->group)
		strv_add(&argv, k->group);
	strv_addf(&argv, "--process=%s/" CHECK_FILE, c->paths.task_dir);
	strv_addf(&argv, "--pid-file=%s/" PID_FILE, c->paths.run_dir);
	strv_add(&argv, c->id);
	options.argv = (const char *const *)argv.v;
	k->proc = proc_spawn(c->exec->loop, &options, &k->err);
	loop_timer_in(&k->timer, k->proc ? k->timeout_ns : 0, k->proc ? on_timeout : on_not_begun);
}

static void on_group_ready(struct container_check *k, bool met)
{
	if (k->cb)
		start(k);
	else
		check_close(k); /* cancelled meanwhile */
}

static void run(struct slot *slot)
{
	struct container_check *k = container_of(slot, struct container_check, slot);
	_cleanup_free_ char *path = xasprintf("%s/" PID_FILE, k->c->paths.run_dir);

	/* What an agent that was killed has left is in the group; by its number it could be another process by now. */
	unlink(path);
	k->group = check_group_option(k->c->exec->probe.cgroup, k->c->runtime);
	if (k->group)
		group_clear(k, true, on_group_ready);
	else
		start(k);
}

/* In a turn of its own: cb never runs inside container_check(). */
static void on_begin(uv_timer_t *timer)
{
	struct container_check *k = container_of(timer, struct container_check, timer);

	slot_acquire(&k->c->exec->checks, &k->slot);
}

struct container_check *container_check(struct container *c, int64_t timeout_ns, container_check_cb cb, void *data)
{
	struct container_check *k = xnew(struct container_check);

	k->c = c;
	k->cb = cb;
	k->data = data;
	k->timeout_ns = timeout_ns;
	k->slot.run = run;
	closer_init(&k->closer);
	closer_hold(&c->closer);
	uv_timer_init(c->exec->loop, &k->timer);
	loop_timer_in(&k->timer, 0, on_begin);
	return k;
}

void container_check_cancel(struct container_check *k)
{
	k->cb = NULL;
	uv_timer_stop(&k->timer);
	if (k->proc)
		kill_all(k); /* closes when it is gone */
	else if (!k->jobs)
		check_close(k); /* otherwise when they are done */
}
