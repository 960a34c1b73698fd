#include "work_internal.h"

#include "common/error.h"
#include "common/mem.h"
#include "common/serial.h"
#include "common/str.h"
#include "netoverlay/conntrack.h"

#include <stdio.h>
#include <string.h>

/* So many namespaces stay open at most; each holds a few descriptors. */
#define OPEN_MAX 256
/*
 * Of them with rulesets' sockets: these have low numbers, of which there are few, and keep memory. Whoever closes one just behind a
 * change waits in the kernel for a grace period of RCU (20-30 ms: nf_tables frees what the change dropped); made again in 30 us.
 */
#define RULES_MAX 16

enum step_kind { STEP_CREATE, STEP_ADOPT, STEP_DESTROY, STEP_APPLY, STEP_NFT, STEP_FORGET, STEP_CALL, STEP_SYNC };

struct step {
	STAILQ_ENTRY(step) link;
	enum step_kind kind;
	char *path;
	struct netstate_ops ops;
	char *text;
	bool fill;
	struct netns *adopt;
	struct conntrack_flow *forget;
	size_t n_forget;
	void (*fn)(void *data, struct netns *ns, struct error *err);
	void *data;
	struct work_sync sync;
	struct error err;
};

struct work_job {
	struct work *work;
	STAILQ_HEAD(, step) steps;
	work_done_cb done;
	void *data;
};

struct work *work_new(uv_loop_t *loop)
{
	struct work *w = xnew(struct work);

	w->loop = loop;
	w->serial = serial_new(loop, "net");
	TAILQ_INIT(&w->lru);
	return w;
}

/* ---------------------------------------------------------------- building a job */

struct work_job *work_job_new(void)
{
	struct work_job *job = xnew(struct work_job);

	STAILQ_INIT(&job->steps);
	return job;
}

bool work_job_empty(const struct work_job *job)
{
	return STAILQ_EMPTY(&job->steps);
}

static void sync_fini(struct work_sync *s)
{
	for (size_t i = 0; i < s->n_diffs; i++) {
		free(s->diffs[i].wanted);
		free(s->diffs[i].found);
	}
	free(s->diffs);
	free(s->path);
	free(s->text);
	netstate_free(s->want);
}

void work_job_free(struct work_job *job)
{
	struct step *s;

	while ((s = STAILQ_FIRST(&job->steps))) {
		STAILQ_REMOVE_HEAD(&job->steps, link);
		netstate_ops_fini(&s->ops);
		sync_fini(&s->sync);
		netns_close(s->adopt);
		free(s->path);
		free(s->text);
		free(s->forget);
		free(s);
	}
	free(job);
}

static struct step *add_step(struct work_job *job, enum step_kind kind, const char *path)
{
	struct step *s = xnew(struct step);

	s->kind = kind;
	s->path = xstrdup(path);
	STAILQ_INSERT_TAIL(&job->steps, s, link);
	return s;
}

void work_create(struct work_job *job, const char *path)
{
	add_step(job, STEP_CREATE, path);
}

void work_adopt(struct work_job *job, const char *path, struct netns *ns)
{
	add_step(job, STEP_ADOPT, path)->adopt = ns;
}

void work_destroy(struct work_job *job, const char *path)
{
	add_step(job, STEP_DESTROY, path);
}

void work_apply(struct work_job *job, const char *path, struct netstate_ops *ops)
{
	if (ops->n)
		add_step(job, STEP_APPLY, path)->ops = *ops;
	else
		netstate_ops_fini(ops);
	*ops = (struct netstate_ops){0};
}

void work_nft(struct work_job *job, const char *path, char *text, bool fill)
{
	struct step *s;

	if (str_empty(text)) {
		free(text);
		return;
	}
	s = add_step(job, STEP_NFT, path);
	s->text = text;
	s->fill = fill;
}

void work_forget(struct work_job *job, const char *path, struct conntrack_flow *v, size_t n)
{
	struct step *s = add_step(job, STEP_FORGET, path);

	s->forget = v;
	s->n_forget = n;
}

void work_call(struct work_job *job, const char *path, void (*fn)(void *data, struct netns *ns, struct error *err),
	       void *data)
{
	struct step *s = add_step(job, STEP_CALL, path);

	s->fn = fn;
	s->data = data;
}

const struct work_sync *work_sync(struct work_job *job, const struct work_sync *wish)
{
	struct step *s = add_step(job, STEP_SYNC, wish->path);

	s->sync = *wish;
	s->sync.path = xstrdup(wish->path);
	s->sync.diffs = NULL;
	s->sync.n_diffs = s->sync.checked = 0;
	return &s->sync;
}

/* ---------------------------------------------------------------- serial thread: open namespaces */

static void handle_close(struct work *w, struct handle *h)
{
	HASH_DEL(w->handles, h);
	TAILQ_REMOVE(&w->lru, h, used);
	w->n_rules -= h->rules;
	netns_close(h->ns);
	free(h);
	w->n_open--;
}

static void close_oldest(struct work *w)
{
	struct handle *h, *next;

	for (h = TAILQ_FIRST(&w->lru); h && w->n_open >= OPEN_MAX; h = next) {
		next = TAILQ_NEXT(h, used);
		if (!h->watched)
			handle_close(w, h);
	}
}

static struct netns *open_host(struct work *w, struct error *err)
{
	if (!w->host)
		w->host = netns_open(NULL, NULL, err);
	return w->host;
}

struct handle *work_find(struct work *w, const char *path)
{
	struct handle *h;

	HASH_FIND_STR(w->handles, path, h);
	return h;
}

static void rest(struct work *w, struct handle *h)
{
	netns_rest(h->ns);
	w->n_rules -= h->rules;
	h->rules = false;
}

void work_rest(struct work *w, const char *path)
{
	struct handle *h = work_find(w, path);

	if (h)
		rest(w, h);
}

void work_rest_later(struct work *w, const char *path)
{
	struct handle *h = work_find(w, path);

	if (!h)
		return;
	w->n_rules += !h->rules;
	h->rules = true;
	TAILQ_FOREACH(h, &w->lru, used) {
		if (w->n_rules <= RULES_MAX)
			return;
		if (h->rules)
			rest(w, h);
	}
}

static void keep_open(struct work *w, const char *path, struct netns *ns)
{
	struct handle *h = xcalloc(1, sizeof(*h) + strlen(path) + 1);

	strcpy(h->path, path);
	h->ns = ns;
	HASH_ADD_STR(w->handles, path, h);
	TAILQ_INSERT_TAIL(&w->lru, h, used);
	w->n_open++;
}

struct netns *work_open(struct work *w, const char *path, struct error *err)
{
	struct netns *host = open_host(w, err), *ns;
	struct handle *h;

	if (!path || !host)
		return host;
	h = work_find(w, path);
	if (h) {
		TAILQ_REMOVE(&w->lru, h, used);
		TAILQ_INSERT_TAIL(&w->lru, h, used);
		return h->ns;
	}
	close_oldest(w);
	ns = netns_open(path, host, err);
	if (ns)
		keep_open(w, path, ns);
	return ns;
}

static void close_ns(struct work *w, const char *path)
{
	struct handle *h = work_find(w, path);

	if (h)
		handle_close(w, h);
}

static int adopt(struct work *w, struct step *s, struct error *err)
{
	close_oldest(w);
	if (netns_bind(s->adopt, s->path, err) < 0)
		return -1;
	keep_open(w, s->path, TAKE_PTR(s->adopt));
	return 0;
}

/* ---------------------------------------------------------------- serial thread: entries */

struct work_diff *work_add_diff(struct work_sync *s, const char *what)
{
	struct work_diff *d;

	s->diffs = xreallocarray(s->diffs, s->n_diffs + 1, sizeof(*s->diffs));
	d = &s->diffs[s->n_diffs++];
	*d = (struct work_diff){.repaired = false};
	snprintf(d->what, sizeof(d->what), "%s", what);
	return d;
}

static void describe(struct work_sync *s, const struct netstate_op *op, bool repaired)
{
	struct work_diff *d = work_add_diff(s, netstate_kind_name(op->entry.kind));
	char text[NETSTATE_ENTRY_TEXT_MAX];

	if (op->del) {
		d->found = xstrdup(netstate_entry_text(&op->entry, text));
	} else {
		d->wanted = xstrdup(netstate_entry_text(&op->entry, text));
		d->found = op->replaces ? xstrdup(netstate_entry_text(&op->old, text)) : NULL;
	}
	d->repaired = repaired;
}

/* What is there, is not wanted, and is not ours, is left alone. */
static void drop_foreign(struct netstate_ops *ops, bool (*owns)(const struct netstate_entry *e))
{
	size_t n = 0;

	for (size_t i = 0; i < ops->n; i++)
		if (!ops->v[i].del || !owns || owns(&ops->v[i].entry))
			ops->v[n++] = ops->v[i];
	ops->n = n;
}

static int sync_entries(struct netns *ns, struct work_sync *s, struct error *err)
{
	struct netstate *have = netstate_new();
	struct netstate_ops ops = {0};
	int r = netns_dump(ns, s->kinds, s->want, have, err);
	size_t failed = 0;

	if (r == 0) {
		s->checked += netstate_count(s->want);
		netstate_diff(s->want, have, s->kinds, &ops);
		drop_foreign(&ops, s->owns);
		if (s->repair && ops.n)
			r = netns_apply(ns, ops.v, ops.n, &failed, err);
		for (size_t i = 0; i < ops.n; i++)
			describe(s, &ops.v[i], s->repair && !failed);
	}
	netstate_ops_fini(&ops);
	netstate_free(have);
	return r;
}

/* ---------------------------------------------------------------- serial thread: a job */

static int run_step(struct work *w, struct step *s, struct error *err)
{
	struct netns *ns;
	int r = 0;

	if (s->kind == STEP_CREATE)
		return netns_create(s->path, err);
	if (s->kind == STEP_ADOPT)
		return adopt(w, s, err);
	if (s->kind == STEP_DESTROY) {
		close_ns(w, s->path);
		return netns_destroy(s->path, err);
	}
	ns = work_open(w, s->path, err);
	if (!ns)
		return -1;
	switch (s->kind) {
	case STEP_APPLY:
		return netns_apply(ns, s->ops.v, s->ops.n, NULL, err);
	case STEP_NFT:
		r = work_run_nft(ns, s->text, s->fill, err);
		if (s->path)
			work_rest_later(w, s->path);
		return r;
	case STEP_FORGET:
		return conntrack_forget(ns, s->forget, s->n_forget, err);
	case STEP_CALL:
		s->fn(s->data, ns, err);
		return error_is_set(err) ? -1 : 0;
	case STEP_SYNC:
		r = sync_entries(ns, &s->sync, err);
		if (s->sync.text && work_sync_rulesets(w, ns, &s->sync, r < 0 ? NULL : err) < 0)
			r = -1;
		return r;
	case STEP_CREATE:
	case STEP_ADOPT:
	case STEP_DESTROY:
		break;
	}
	return 0;
}

static void run_job(void *data)
{
	struct work_job *job = data;
	struct step *s;

	STAILQ_FOREACH(s, &job->steps, link)
		run_step(job->work, s, &s->err);
}

/* ---------------------------------------------------------------- loop */

static const struct error *first_error(const struct work_job *job)
{
	const struct step *s;

	STAILQ_FOREACH(s, &job->steps, link)
		if (error_is_set(&s->err))
			return &s->err;
	return NULL;
}

const struct error *work_job_error(const struct work_job *job, const char *path)
{
	const struct step *s;

	STAILQ_FOREACH(s, &job->steps, link)
		if (error_is_set(&s->err) && str_eq(s->path, path))
			return &s->err;
	return NULL;
}

void work_each_error(const struct work_job *job, void (*cb)(void *data, const char *path, const struct error *err),
		     void *data)
{
	const struct step *s;

	STAILQ_FOREACH(s, &job->steps, link)
		if (error_is_set(&s->err))
			cb(data, s->path, &s->err);
}

static void job_done(void *data)
{
	struct work_job *job = data;

	if (job->done)
		job->done(job->data, job, first_error(job));
	work_job_free(job);
}

void work_run(struct work *w, struct work_job *job, work_done_cb done, void *data)
{
	job->work = w;
	job->done = done;
	job->data = data;
	serial_run(w->serial, run_job, job_done, job);
}

/* ---- end */

static void close_all(void *data)
{
	struct work *w = data;
	struct handle *h, *next;

	HASH_ITER(hh, w->handles, h, next)
		handle_close(w, h);
	netns_close(w->host);
	work_forget_written(w);
}

static void serial_closed(void *data)
{
	struct work *w = data;
	void (*closed)(void *) = w->closed;
	void *closed_data = w->closed_data;

	free(w);
	closed(closed_data);
}

void work_close(struct work *w, void (*closed)(void *data), void *data)
{
	struct watch *watch, *next;

	w->closed = closed;
	w->closed_data = data;
	HASH_ITER(hh, w->watches, watch, next)
		work_unwatch(w, *watch->path ? watch->path : NULL);
	serial_run(w->serial, close_all, NULL, w);
	serial_close(w->serial, serial_closed, w);
}
