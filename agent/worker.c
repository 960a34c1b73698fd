#include "worker.h"

#include "common/id.h"
#include "common/log.h"
#include "common/mem.h"
#include "reporter.h"
#include "task.h"
#include "taskdb.h"

#include <inttypes.h>
#include <string.h>
#include <sys/queue.h>
#include <uthash.h>

struct entry {
	UT_hash_handle hh;
	struct task *task;
	struct worker *worker;
	bool listed; /* seen in the complete set that is coming in */
	char id[];
};

struct gone {
	STAILQ_ENTRY(gone) link;
	struct task *task;
};

struct worker {
	struct worker_options o;
	struct task_env env;
	struct entry *tasks;
	uint64_t sequence;
	bool completing;                      /* a complete set has begun and not ended */
	uv_check_t reaper;                    /* frees tasks outside their own callbacks */
	uv_idle_t awake;                      /* the loop must turn for the reaper */
	STAILQ_HEAD(, gone) gone;
	void (*stopped)(void *data);
	void *stopped_data;
	bool leaving;                         /* sets are not taken */
	bool frozen, freeing;
};

static void maybe_stopped(struct worker *w)
{
	void (*stopped)(void *) = w->stopped;

	if (!stopped || w->tasks)
		return;
	w->stopped = NULL;
	stopped(w->stopped_data);
}

static void reap(uv_check_t *check)
{
	struct worker *w = check->data;
	struct gone *g;

	while ((g = STAILQ_FIRST(&w->gone))) {
		STAILQ_REMOVE_HEAD(&w->gone, link);
		task_free(g->task);
		free(g);
	}
	uv_check_stop(&w->reaper);
	uv_idle_stop(&w->awake);
	maybe_stopped(w);
}

static void stay_awake(uv_idle_t *idle)
{
	(void)idle;
}

static void on_status(void *data, struct task *t)
{
	struct worker *w = data;

	reporter_put(w->o.reporter, task_id(t), task_status(t));
}

static void on_gone(void *data, struct task *t)
{
	struct worker *w = data;
	struct entry *e;
	struct gone *g = xnew(struct gone);

	HASH_FIND_STR(w->tasks, task_id(t), e);
	if (e) {
		HASH_DEL(w->tasks, e);
		free(e);
	}
	reporter_drop(w->o.reporter, task_id(t));
	g->task = t;
	STAILQ_INSERT_TAIL(&w->gone, g, link);
	uv_check_start(&w->reaper, reap);
	uv_idle_start(&w->awake, stay_awake);
}

static bool exec_ready(void *data, struct error *err)
{
	struct worker *w = data;

	return w->o.exec_ready(w->o.data, err);
}

static bool net_ready(void *data, struct error *err)
{
	struct worker *w = data;

	return w->o.net_ready(w->o.data, err);
}

struct worker *worker_new(const struct worker_options *options)
{
	struct worker *w = xnew(struct worker);

	w->o = *options;
	w->env = (struct task_env){
		.loop = options->loop,
		.exec = options->exec,
		.images = options->images,
		.net = options->net,
		.migrate = options->migrate,
		.db = options->db,
		.stats = options->stats,
		.exec_ready = exec_ready,
		.net_ready = net_ready,
		.on_status = on_status,
		.on_gone = on_gone,
		.data = w,
	};
	STAILQ_INIT(&w->gone);
	uv_check_init(options->loop, &w->reaper);
	uv_idle_init(options->loop, &w->awake);
	w->reaper.data = w;
	w->awake.data = w;
	return w;
}

static struct entry *find(const struct worker *w, const char *id)
{
	struct entry *e;

	HASH_FIND_STR(w->tasks, id, e);
	return e;
}

static struct entry *add_entry(struct worker *w, const char *id)
{
	size_t len = strlen(id);
	struct entry *e = xcalloc(1, sizeof(*e) + len + 1);

	memcpy(e->id, id, len);
	e->worker = w;
	HASH_ADD_STR(w->tasks, id, e);
	return e;
}

static void adopt_one(void *data, const pb_task *saved)
{
	struct worker *w = data;
	struct entry *e = add_entry(w, saved->id);

	e->task = task_adopt(&w->env, saved);
}

/* Directories of containers that no saved task names: an agent died before it had saved the task. */
static void remove_strays(struct worker *w)
{
	char **ids = exec_list(w->o.exec);

	for (char **id = ids; id && *id; id++) {
		if (!find(w, *id)) {
			_cleanup_pb_ pb_task *task = pb_new(&skein__task__descriptor);

			log_warn("stray_container", kv_str("task", *id));
			pb_set_str(&task->id, *id);
			task->desired = (Skein__TaskState)TASK_REMOVE;
			task->spec = pb_new(&skein__task_spec__descriptor);
			task->spec->container = pb_new(&skein__container_spec__descriptor);
			task->status = pb_new(&skein__task_status__descriptor);
			adopt_one(w, task);
			task_unassign(find(w, *id)->task);
		}
		free(*id);
	}
	free(ids);
}

void worker_adopt(struct worker *w)
{
	taskdb_load(w->o.db, adopt_one, w);
	remove_strays(w);
}

void worker_kick(struct worker *w)
{
	struct entry *e, *next;

	HASH_ITER(hh, w->tasks, e, next)
		task_kick(e->task);
}

void worker_freeze(struct worker *w)
{
	w->frozen = true;
	w->stopped = NULL;
	for (struct entry *e = w->tasks; e; e = e->hh.next)
		task_freeze(e->task);
}

static void on_check_closed(uv_handle_t *handle)
{
	free(handle->data);
}

static void on_idle_closed(uv_handle_t *handle)
{
	struct worker *w = handle->data;

	uv_close((uv_handle_t *)&w->reaper, on_check_closed);
}

void worker_free(struct worker *w)
{
	struct entry *e, *next;
	struct gone *g;

	if (!w || w->freeing)
		return;
	w->freeing = true;
	HASH_ITER(hh, w->tasks, e, next) {
		HASH_DEL(w->tasks, e);
		task_free(e->task);
		free(e);
	}
	while ((g = STAILQ_FIRST(&w->gone))) {
		STAILQ_REMOVE_HEAD(&w->gone, link);
		task_free(g->task);
		free(g);
	}
	uv_close((uv_handle_t *)&w->awake, on_idle_closed);
}

static void apply_update(struct worker *w, const Skein__Assignment *assignment)
{
	struct entry *e = find(w, assignment->task->id);

	if (e) {
		e->listed = true;
		task_assign(e->task, assignment);
		return;
	}
	/* A task that ended elsewhere in time, or that is only to be removed, needs no container. */
	if (assignment->task->desired > TASK_RUNNING && assignment->task->status &&
	    assignment->task->status->state > TASK_RUNNING)
		return;
	e = add_entry(w, assignment->task->id);
	e->listed = true;
	e->task = task_new(&w->env, assignment);
}

static void unassign_unlisted(struct worker *w)
{
	struct entry *e, *next;

	HASH_ITER(hh, w->tasks, e, next) {
		if (!e->listed)
			task_unassign(e->task);
	}
}

static int check_set(const struct worker *w, const Skein__Assignments *set, struct error *err)
{
	if (!set->complete && set->applies_to != w->sequence)
		return error_set(err, ERR_CONFLICT, "assignments apply to %" PRIu64 ", have %" PRIu64,
				 set->applies_to, w->sequence);
	for (size_t i = 0; i < set->n_update; i++) {
		const pb_task *task = set->update[i]->task;

		/* The id becomes a file's name. */
		if (!task || !id_valid(task->id) || !task->spec || !task->spec->container)
			return error_set(err, ERR_INVALID, "assignment %zu is not a whole task", i);
	}
	return 0;
}

int worker_apply(struct worker *w, const Skein__Assignments *set, struct error *err)
{
	struct entry *e, *next;

	/* A task that began now would hold up the leaving, and one that is assigned again would not end. */
	if (w->leaving || w->frozen)
		return 0;
	if (check_set(w, set, err) < 0)
		return -1;
	if (set->complete) {
		HASH_ITER(hh, w->tasks, e, next)
			e->listed = false;
		w->completing = true;
	}
	for (size_t i = 0; i < set->n_update; i++)
		apply_update(w, set->update[i]);
	/* A complete set may come in several messages: what is not in it is known at its end only. */
	if (w->completing && !set->more) {
		w->completing = false;
		unassign_unlisted(w);
	}
	for (size_t i = 0; i < set->n_remove; i++) {
		e = find(w, set->remove[i]);
		if (e)
			task_unassign(e->task);
	}
	w->sequence = set->results_in;
	return 0;
}

void worker_stop_all(struct worker *w, void (*cb)(void *data), void *data)
{
	struct entry *e, *next;

	w->leaving = true;
	w->stopped = cb;
	w->stopped_data = data;
	HASH_ITER(hh, w->tasks, e, next)
		task_unassign(e->task);
	if (!w->tasks) {
		uv_check_start(&w->reaper, reap);
		uv_idle_start(&w->awake, stay_awake);
	}
}

void worker_begin(struct worker *w)
{
	w->leaving = w->completing = false;
	w->sequence = 0;
}

int64_t worker_grace_ns(const struct worker *w)
{
	int64_t longest = 0;

	for (const struct entry *e = w->tasks; e; e = e->hh.next)
		longest = MAX(longest, task_object(e->task)->spec->container->stop_grace_period);
	return longest;
}

void worker_report_all(struct worker *w)
{
	for (struct entry *e = w->tasks; e; e = e->hh.next)
		reporter_put(w->o.reporter, e->id, task_status(e->task));
}

unsigned worker_running(const struct worker *w)
{
	unsigned n = 0;

	for (const struct entry *e = w->tasks; e; e = e->hh.next)
		n += task_status(e->task)->state == TASK_RUNNING;
	return n;
}

void worker_each(const struct worker *w, void (*cb)(void *data, const struct task *t), void *data)
{
	for (const struct entry *e = w->tasks; e; e = e->hh.next)
		cb(data, e->task);
}
