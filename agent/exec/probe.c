#include "agent/exec/probe.h"

#include "agent/exec/internal.h"
#include "agent/exec/runtime.h"
#include "common/error.h"
#include "common/file.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/str.h"

#include <assert.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>

#define OUTPUT_MAX 16384
#define VERSION_TIMEOUT_MS 10000
#define RUN_TIMEOUT_MS 30000
#define PROBE_MEM_BYTES (INT64_C(64) << 20)
#define PROBE_PIDS 16
#define WAITERS_MAX 16

/* The fastest first (measured: crun 10 ms, runc 40 ms for a container). */
static const char *const candidates[] = {"crun", "runc"};

struct waiter {
	void (*ready)(void *data, const struct error *err);
	void *data;
};

/*
 * Steps: conmon --version; then for each candidate its --version and a real container, with
 * overlay, limits, seccomp and all, prepared by the same code as every other. The first that works
 * is taken.
 */
struct probe {
	struct exec *exec;
	struct waiter waiters[WAITERS_MAX]; /* who asked, also while it was under way */
	size_t n_waiters;
	bool cancelled;
	struct probe_result result;
	const char *names[ARRAY_SIZE(candidates)];
	size_t n_names, next;
	char *runtime; /* path of the one that is tried */
	struct container_paths paths;
	pb_task *task;
	char *layer;
	struct error prepare_err;
	struct proc *proc;
};

void probe_result_fini(struct probe_result *r)
{
	free(r->conmon);
	free(r->conmon_version);
	free(r->runtime);
	free(r->runtime_name);
	free(r->runtime_version);
	strv_fini(&r->errors);
	free(r->criu);
	free(r->criu_version);
	free(r->checkpoint);
	free(r->checkpoint_error);
	*r = (struct probe_result){0};
}

static void try_next(struct probe *p);

/* ---------------------------------------------------------------- end */

static void probe_free(struct probe *p)
{
	struct exec *e = p->exec;

	probe_result_fini(&p->result);
	container_paths_fini(&p->paths);
	pb_free(p->task);
	free(p->layer);
	free(p->runtime);
	free(p);
	closer_drop(&e->closer);
}

static void probe_report(void *data)
{
	struct probe *p = data;
	struct exec *e = p->exec;
	struct error err = ERROR_INIT;

	if (p->cancelled) {
		probe_free(p);
		return;
	}
	e->probing = NULL;
	probe_result_fini(&e->probe);
	e->probe = p->result;
	p->result = (struct probe_result){0};
	if (!e->probe.works) {
		_cleanup_strbuf_ struct strbuf all = {0};

		for (size_t i = 0; i < e->probe.errors.n; i++)
			strbuf_printf(&all, "%s%s", i ? "; " : "", e->probe.errors.v[i]);
		error_set(&err, ERR_UNAVAILABLE, "no container runtime works here: %s",
			  all.p ? all.p : "none found");
	}
	for (size_t i = 0; i < p->n_waiters; i++)
		p->waiters[i].ready(p->waiters[i].data, e->probe.works ? NULL : &err);
	probe_free(p);
}

/* With or without a runtime: what the node can do beyond it. */
static void probe_end(struct probe *p)
{
	if (p->cancelled)
		probe_free(p);
	else
		probe_criu(p->exec, &p->result, &p->proc, probe_report, p);
}

static void note(struct probe *p, const char *name, const char *why)
{
	strv_addf(&p->result.errors, "%s: %s", name, str_empty(why) ? "no reason given" : why);
}

/* ---------------------------------------------------------------- processes */

static bool spawn(struct probe *p, const struct strv *argv, uint64_t timeout_ms,
		  proc_exit_cb on_exit, struct error *err)
{
	struct proc_options options = {
		.argv = (const char *const *)argv->v,
		.max_capture = OUTPUT_MAX,
		.timeout_ms = timeout_ms,
		.on_exit = on_exit,
		.data = p,
	};

	p->proc = proc_spawn(p->exec->loop, &options, err);
	return p->proc != NULL;
}

/* ---------------------------------------------------------------- a container */

static void clean_work(void *data)
{
	struct probe *p = data;
	_cleanup_free_ char *state = xasprintf("%s/.runtime/%s", p->exec->exec_dir, p->task->id);

	cgroup_remove(p->result.cgroup, p->paths.cgroup);
	prepare_undo(&p->paths, NULL);
	file_remove_tree(p->layer, NULL);
	file_remove_tree(p->paths.task_dir, NULL);
	file_remove_tree(state, NULL);
}

static void clean_done(void *data)
{
	struct probe *p = data;

	if (p->result.works || p->cancelled)
		probe_end(p);
	else
		try_next(p);
}

static void clean(struct probe *p)
{
	loop_work(p->exec->loop, clean_work, clean_done, p);
}

static void on_run(void *data, struct proc *proc, const struct proc_exit *exit)
{
	struct probe *p = data;
	const char *name = p->names[p->next - 1];

	p->proc = NULL;
	if (exit->exit_code == PROBE_EXIT_CODE) {
		p->result.works = true;
		p->result.runtime = TAKE_PTR(p->runtime);
		p->result.runtime_name = xstrdup(strrchr(p->result.runtime, '/') + 1);
	} else if (exit->timed_out) {
		note(p, name, "a trial container did not end within 30 s");
	} else {
		_cleanup_free_ char *why = runtime_message(exit->errout);

		note(p, name, why);
	}
	clean(p);
}

static pb_task *probe_task(void)
{
	pb_task *task = pb_new(&skein__task__descriptor);

	/* Not an id that a task can have in its turn: ids are random. */
	pb_set_str(&task->id, "0000000000000000000000000");
	task->slot = 1;
	task->spec = pb_new(&skein__task_spec__descriptor);
	pb_set_str(&task->spec->network, "none");
	task->spec->container = pb_new(&skein__container_spec__descriptor);
	pb_strs_add(&task->spec->container->n_command, &task->spec->container->command, "/probe");
	task->spec->resources = pb_new(&skein__resource_requirements__descriptor);
	task->spec->resources->limits = pb_new(&skein__resources__descriptor);
	return task;
}

static void set_limits(struct probe *p)
{
	pb_resources *limits = p->task->spec->resources->limits;

	limits->cpu_nano = p->result.has_cpu ? 1000000000 : 0;
	limits->mem_bytes = p->result.has_memory ? PROBE_MEM_BYTES : 0;
	limits->pids = p->result.has_pids ? PROBE_PIDS : 0;
}

static int write_program(const char *layer, struct error *err)
{
	_cleanup_free_ char *path = xasprintf("%s/probe", layer);
	size_t len;
	const void *program = probe_program(&len);

	if (file_mkdirs(layer, 0755, err) < 0)
		return -1;
	return file_write(path, program, len, 0755, err);
}

static void prepare_work(void *data)
{
	struct probe *p = data;
	char *layers[] = {p->layer};
	struct image image = {.layers = layers, .n_layers = 1};
	struct prepare prepare = {
		.paths = &p->paths,
		.task = p->task,
		.image = &image,
		.volumes_dir = p->exec->volumes_dir,
		.cgroup_v2 = p->result.cgroup == CGROUP_V2,
		.seccomp = p->result.seccomp,
		.limit_swap = p->result.limit_swap,
	};

	p->prepare_err = ERROR_INIT;
	if (write_program(p->layer, &p->prepare_err) == 0)
		prepare_container(&prepare, &p->prepare_err);
}

static void prepare_done(void *data)
{
	struct probe *p = data;
	_cleanup_free_ char *root = xasprintf("%s/.runtime", p->exec->exec_dir);
	_cleanup_strv_ struct strv argv = {0};
	struct error err = p->prepare_err;

	p->result.overlayfs = err.code == ERR_OK;
	if (err.code == ERR_OK && !p->cancelled) {
		runtime_args(&argv, p->runtime, root);
		strv_add(&argv, "run");
		strv_add(&argv, "--bundle");
		strv_add(&argv, p->paths.task_dir);
		strv_add(&argv, p->task->id);
		if (spawn(p, &argv, RUN_TIMEOUT_MS, on_run, &err))
			return;
	}
	note(p, p->names[p->next - 1], err.msg);
	clean(p);
}

/* ---------------------------------------------------------------- versions */

static void on_runtime_version(void *data, struct proc *proc, const struct proc_exit *exit)
{
	struct probe *p = data;

	p->proc = NULL;
	free(p->result.runtime_version);
	p->result.runtime_version = runtime_version(exit->out);
	/* "+SECCOMP" of crun, "libseccomp: 2.5.4" of runc; and the kernel must have it. */
	p->result.seccomp = (strstr(exit->out, "+SECCOMP") || strstr(exit->out, "libseccomp")) &&
			    prctl(PR_GET_SECCOMP, 0, 0, 0, 0) >= 0;
	if (p->cancelled) {
		probe_end(p);
		return;
	}
	loop_work(p->exec->loop, prepare_work, prepare_done, p);
}

static void try_next(struct probe *p)
{
	while (p->next < p->n_names) {
		const char *name = p->names[p->next++];
		_cleanup_strv_ struct strv argv = {0};
		struct error err = ERROR_INIT;

		free(p->runtime);
		p->runtime = runtime_find(name);
		if (!p->runtime) {
			note(p, name, "not installed");
			continue;
		}
		strv_add(&argv, p->runtime);
		strv_add(&argv, "--version");
		if (spawn(p, &argv, VERSION_TIMEOUT_MS, on_runtime_version, &err))
			return;
		note(p, name, err.msg);
	}
	probe_end(p);
}

static void on_conmon_version(void *data, struct proc *proc, const struct proc_exit *exit)
{
	struct probe *p = data;

	p->proc = NULL;
	p->result.conmon_version = runtime_version(exit->out);
	if (exit->exit_code != 0) {
		note(p, "conmon", exit->errout);
		probe_end(p);
	} else if (p->cancelled) {
		probe_end(p);
	} else {
		try_next(p);
	}
}

/* ---------------------------------------------------------------- begin */

static void look_at_kernel(struct probe_result *r)
{
	_cleanup_free_ char *apparmor = NULL;

	r->cgroup = cgroup_mode();
	r->has_cpu = cgroup_has(r->cgroup, "cpu");
	r->has_memory = cgroup_has(r->cgroup, "memory");
	r->has_pids = cgroup_has(r->cgroup, "pids");
	r->limit_swap = r->has_memory && cgroup_limits_swap(r->cgroup);
	r->apparmor = file_read("/sys/module/apparmor/parameters/enabled", 16, &apparmor, NULL,
				NULL) == 0 &&
		      apparmor[0] == 'Y';
}

static void probe_begin(void *data)
{
	struct probe *p = data;
	_cleanup_strv_ struct strv argv = {0};
	struct error err = ERROR_INIT;

	if (p->cancelled) {
		probe_end(p);
		return;
	}
	p->result.conmon = runtime_find("conmon");
	if (!p->result.conmon) {
		note(p, "conmon", "not installed (package conmon)");
		probe_end(p);
		return;
	}
	strv_add(&argv, p->result.conmon);
	strv_add(&argv, "--version");
	if (!spawn(p, &argv, VERSION_TIMEOUT_MS, on_conmon_version, &err)) {
		note(p, "conmon", err.msg);
		probe_end(p);
	}
}

static void kernel_work(void *data)
{
	struct probe *p = data;

	look_at_kernel(&p->result);
	set_limits(p);
}

static void add_waiter(struct probe *p, void (*ready)(void *data, const struct error *err),
		       void *data)
{
	if (!ready)
		return;
	assert(p->n_waiters < WAITERS_MAX);
	p->waiters[p->n_waiters++] = (struct waiter){ready, data};
}

void exec_probe(struct exec *e, void (*ready)(void *data, const struct error *err), void *data)
{
	struct probe *p;
	const char *id;

	if (e->probing) {
		add_waiter(e->probing, ready, data);
		return;
	}
	p = xnew(struct probe);
	p->exec = e;
	add_waiter(p, ready, data);
	p->task = probe_task();
	id = p->task->id;
	p->layer = xasprintf("%s/.probe", e->state_dir);
	p->paths = (struct container_paths){
		.task_dir = xasprintf("%s/.probe-task", e->state_dir),
		.run_dir = xasprintf("%s/%s", e->exec_dir, id),
		.rootfs = xasprintf("%s/%s/rootfs", e->exec_dir, id),
		.cgroup = xasprintf("/%s/%s", e->cgroup_parent, id),
	};
	if (str_eq(e->runtime_option, "auto")) {
		for (size_t i = 0; i < ARRAY_SIZE(candidates); i++)
			p->names[p->n_names++] = candidates[i];
	} else {
		p->names[p->n_names++] = e->runtime_option;
	}
	e->probing = p;
	closer_hold(&e->closer);
	loop_work(e->loop, kernel_work, probe_begin, p);
}

void probe_cancel(struct exec *e)
{
	if (!e->probing)
		return;
	e->probing->cancelled = true;
	if (e->probing->proc)
		proc_kill(e->probing->proc, SIGKILL);
	e->probing = NULL;
}
