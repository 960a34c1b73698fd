#include "agent/exec/checkpoint_int.h"

#include "agent/exec/crstats.h"
#include "agent/exec/runtime.h"
#include "common/error.h"
#include "common/mem.h"
#include "common/str.h"

#include <string.h>

#define OUTPUT_MAX 16384
#define TIMEOUT_MS 30000

/* Steps, each a child: what it is asked, and what its answer means. */
struct criu_probe {
	struct exec *exec;
	struct probe_result *r;
	struct proc **child;
	void (*done)(void *data);
	void *data;
	unsigned step;
};

/* Runtimes that restore by `restore --image-path`, with what their --version says of it; Debian's crun is built without. */
static const char restorer[] = "runc";

static void next(struct criu_probe *p);

static void refuse(struct criu_probe *p, const char *why)
{
	if (!p->r->checkpoint_error)
		p->r->checkpoint_error = xstrdup(why);
}

static void end(struct criu_probe *p)
{
	void (*done)(void *) = p->done;
	void *data = p->data;

	if (p->r->checkpoint_error) {
		free(p->r->checkpoint);
		p->r->checkpoint = NULL;
	}
	free(p);
	done(data);
}

static bool succeeded(const struct proc_exit *exit)
{
	return exit->exit_code == 0 && !exit->timed_out;
}

static void take_version(struct criu_probe *p, const struct proc_exit *exit)
{
	free(p->r->criu_version);
	p->r->criu_version = runtime_version(exit->out);
	if (!succeeded(exit))
		refuse(p, "criu --version failed");
}

static void take_check(struct criu_probe *p, const struct proc_exit *exit)
{
	_cleanup_free_ char *text = xasprintf("%s\n%s", exit->out, exit->errout), *reason = NULL, *why = NULL;

	if (succeeded(exit))
		return;
	reason = crstats_reason(text, strlen(text));
	why = xasprintf("criu check: %s", exit->timed_out ? "no answer within 30 s" : reason ? reason : "failed");
	refuse(p, why);
}

static void take_mem_track(struct criu_probe *p, const struct proc_exit *exit)
{
	p->r->mem_track = succeeded(exit);
	if (!p->r->mem_track)
		refuse(p, "the kernel does not tell which pages have changed (CONFIG_MEM_SOFT_DIRTY)");
}

static void take_lazy(struct criu_probe *p, const struct proc_exit *exit)
{
	p->r->lazy_pages = succeeded(exit);
}

static const struct {
	const char *args[4];
	void (*take)(struct criu_probe *p, const struct proc_exit *exit);
} steps[] = {
	{{"--version"}, take_version},
	{{"check"}, take_check},
	{{"check", "--feature", "mem_dirty_track"}, take_mem_track},
	{{"check", "--feature", "uffd-noncoop"}, take_lazy},
};

static void on_answer(void *data, struct proc *proc, const struct proc_exit *exit)
{
	struct criu_probe *p = data;

	*p->child = NULL;
	steps[p->step++].take(p, exit);
	next(p);
}

static void next(struct criu_probe *p)
{
	_cleanup_strv_ struct strv argv = {0};
	struct error err = ERROR_INIT;
	struct proc_options options = {
		.max_capture = OUTPUT_MAX, .timeout_ms = TIMEOUT_MS, .on_exit = on_answer, .data = p};

	/* Without success so far the rest would only cost time; the version is told in any case. */
	if (!p->r->criu || p->step == ARRAY_SIZE(steps) || (p->step && p->r->checkpoint_error)) {
		end(p);
		return;
	}
	strv_add(&argv, p->r->criu);
	for (size_t i = 0; i < ARRAY_SIZE(steps[0].args) && steps[p->step].args[i]; i++)
		strv_add(&argv, steps[p->step].args[i]);
	options.argv = (const char *const *)argv.v;
	*p->child = proc_spawn(p->exec->loop, &options, &err);
	if (!*p->child) {
		refuse(p, err.msg);
		end(p);
	}
}

void probe_criu(struct exec *e, struct probe_result *result, struct proc **child, void (*done)(void *data), void *data)
{
	struct criu_probe *p = xnew(struct criu_probe);

	*p = (struct criu_probe){.exec = e, .r = result, .child = child, .done = done, .data = data};
	result->criu = runtime_find("criu");
	result->checkpoint = runtime_find(restorer);
	if (!result->works)
		refuse(p, "no container runtime works");
	else if (result->cgroup != CGROUP_V2)
		refuse(p, "it has no cgroup v2, by which containers are frozen");
	else if (!result->checkpoint)
		refuse(p, "runc is not installed (package runc)");
	else if (!result->criu)
		refuse(p, "criu is not installed (package criu)");
	next(p);
}

bool exec_can_checkpoint(const struct exec *e, const char **ret_why)
{
	*ret_why = e->probe.checkpoint			 ? NULL
		   : e->probe.checkpoint_error		 ? e->probe.checkpoint_error
							 : "it is not known yet what it can";
	return e->probe.checkpoint != NULL;
}
