#include "agent/exec/internal.h"

#include "agent/exec/runtime.h"
#include "common/clock.h"
#include "common/error.h"
#include "common/id.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/str.h"

#include <signal.h>

#define RUNTIME_OUTPUT_MAX 65536
#define STATE_TIMEOUT_MS 30000
#define EXIT_UNKNOWN 255

struct adopt {
	struct container *c;
	container_adopted_cb cb;
	enum cgroup_mode cgroup;
	/* What the disk says. */
	bool has_state, has_exit, has_runtime_dir;
	struct container_state state;
	struct container_exit exit;
};

static void report(struct adopt *a, enum container_found found)
{
	struct container *c = a->c;

	c->phase = found == CONTAINER_RUNNING  ? PHASE_RUNNING
		   : found == CONTAINER_EXITED ? PHASE_EXITED
					       : PHASE_CREATED;
	if (!c->forgotten) {
		a->cb(c->data, c, found, found == CONTAINER_EXITED ? &c->exit : NULL);
		if (!c->forgotten && c->phase == PHASE_RUNNING) {
			container_watch(c);
			if (c->remove_cb)
				container_send_signal(c, SIGKILL);
		}
		container_settled(c);
	}
	free(a->state.runtime);
	free(a);
	closer_drop(&c->closer);
}

static void report_exited(struct adopt *a)
{
	a->c->exit = a->exit;
	report(a, CONTAINER_EXITED);
}

static void report_running(void *data)
{
	report(data, CONTAINER_RUNNING);
}

/* It ran when the last agent saw it. */
static void find_running(struct adopt *a)
{
	struct container *c = a->c;

	/* The process is looked for before the exit file: conmon may write it in between. */
	if (container_open_pidfd(c) == 0 ||
	    proc_start_time((pid_t)c->conmon_pid) == c->conmon_start) {
		checkpoint_adopt(c, report_running, a);
		return;
	}
	if (container_exit_load(&c->paths, a->cgroup, &a->exit)) {
		report_exited(a);
		return;
	}
	a->exit =
		(struct container_exit){.exit_code = EXIT_UNKNOWN, .finished_at = clock_wall_ns()};
	report_exited(a);
}

static void on_runtime_state(void *data, struct proc *proc, const struct proc_exit *exit)
{
	struct adopt *a = data;
	struct container *c = a->c;
	_cleanup_free_ char *status = runtime_parse_state(exit->out, exit->out_len);

	if (exit->exit_code == 0 && str_eq(status, "running") && !c->forgotten) {
		if (container_state_save(c, true, NULL) < 0)
			log_warn("container_state", kv_str("task", c->id));
		find_running(a);
		return;
	}
	report(a, CONTAINER_CREATED);
}

/* The agent died between "create" and noting "start": only the runtime knows which it was. */
static void ask_runtime(struct adopt *a)
{
	struct container *c = a->c;
	_cleanup_free_ char *root = xasprintf("%s/.runtime", c->exec->exec_dir);
	_cleanup_strv_ struct strv argv = {0};
	struct proc_options options = {
		.max_capture = RUNTIME_OUTPUT_MAX,
		.timeout_ms = STATE_TIMEOUT_MS,
		.on_exit = on_runtime_state,
		.data = a,
	};
	struct error err = ERROR_INIT;

	runtime_args(&argv, c->runtime, root);
	strv_add(&argv, "state");
	strv_add(&argv, c->id);
	options.argv = (const char *const *)argv.v;
	if (!proc_spawn(c->exec->loop, &options, &err)) {
		log_warn("container_adopt", kv_str("task", c->id), kv_err(&err));
		report(a, CONTAINER_CREATED);
	}
}

static void adopt_work(void *data)
{
	struct adopt *a = data;
	struct container *c = a->c;
	_cleanup_free_ char *dir = xasprintf("%s/.runtime/%s", c->exec->exec_dir, c->id);

	if (!id_valid(c->id))
		return;
	a->has_state =
		container_state_load(c->paths.task_dir, c->exec->boot_id, &a->state, NULL) == 0;
	a->has_runtime_dir = access(dir, F_OK) == 0;
	a->has_exit = container_exit_load(&c->paths, a->cgroup, &a->exit);
}

/* pid files are there although "started" is not: take the numbers from them. */
static void take_pids(struct adopt *a)
{
	struct container *c = a->c;

	c->pid = container_read_pid(&c->paths, "pid");
	c->conmon_pid = container_read_pid(&c->paths, "conmon.pid");
	c->pid_start = proc_start_time((pid_t)c->pid);
	c->conmon_start = proc_start_time((pid_t)c->conmon_pid);
}

static void adopt_done(void *data)
{
	struct adopt *a = data;
	struct container *c = a->c;

	if (!a->has_state || c->forgotten) {
		report(a, CONTAINER_GONE);
		return;
	}
	c->runtime = xstrdup(a->state.runtime);
	c->stop_signal = a->state.stop_signal;
	c->pid = a->state.pid;
	c->pid_start = a->state.pid_start;
	c->conmon_pid = a->state.conmon_pid;
	c->conmon_start = a->state.conmon_start;
	if (a->has_exit)
		report_exited(a);
	else if (!a->state.same_boot)
		report(a, CONTAINER_GONE);
	else if (a->state.started)
		find_running(a);
	else if (!a->has_runtime_dir)
		report(a, CONTAINER_CREATED);
	else {
		take_pids(a);
		ask_runtime(a);
	}
}

struct container *container_adopt(struct exec *e, const pb_task *task, container_exit_cb on_exit,
				  container_adopted_cb cb, void *data)
{
	struct adopt *a = xnew(struct adopt);
	struct container *c = container_new(e, task, on_exit, data);

	c->phase = PHASE_ADOPTING;
	a->c = c;
	a->cb = cb;
	a->cgroup = e->probe.cgroup;
	closer_hold(&c->closer);
	loop_work(e->loop, adopt_work, adopt_done, a);
	return c;
}
