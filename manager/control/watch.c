/*
 * WatchService: the present state at once, then after every change. All changes of one turn of the
 * loop are one message; a client that does not keep up gets only the newest state, because nothing
 * is queued for it.
 */
#include "internal.h"
#include "redact.h"
#include "resolve.h"
#include "text.h"

#include "common/mem.h"
#include "manager/store/store.h"
#include "rpc/rpc.h"

#include <stdio.h>
#include <string.h>

#define WATCHES_MAX 1000
#define TASKS_MAX 5000 /* in one message; a slim task has about 300 bytes */

struct watch {
	LIST_ENTRY(watch) entry;
	struct control *c;
	struct rpc_call *call;
	char service_id[64];
	bool dirty, ended;
};

/*
 * What of a service's tasks is not history: wanted, still there, or the newest of its slot; and the one before that when
 * it ended by itself, because its failure and the replacement often come in one message.
 */
static bool is_current(const pb_task *const *tasks, size_t n, size_t i, bool global)
{
	const pb_task *task = tasks[i];
	int state = task->status ? (int)task->status->state : TASK_NEW;
	bool ended = state == TASK_COMPLETE || state == TASK_FAILED || state == TASK_REJECTED;
	unsigned newer = 0;

	if ((int)task->desired <= TASK_RUNNING || state <= TASK_RUNNING)
		return true;
	for (size_t k = i + 1; k < n; k++) {
		bool same = global ? str_eq(tasks[k]->node_id, task->node_id)
				   : tasks[k]->slot == task->slot;

		newer += same;
		if (newer > 1)
			return false;
		/* Slots of replicated services lie together. */
		if (!same && !global)
			break;
	}
	return newer == 0 || ended;
}

static void fill(struct control *c, const pb_service *service, struct redact *redact,
		 Skein__WatchServiceResponse *out)
{
	struct view *v = control_view(c);
	bool global = service->spec->mode_case == SKEIN__SERVICE_SPEC__MODE_GLOBAL;
	_cleanup_free_ const pb_task **tasks = NULL;
	size_t n;

	tasks = view_tasks_of_service(v, service->id, &n);
	out->service = redact_service(redact, service);
	out->tasks = redact_alloc(redact, MIN(n, (size_t)TASKS_MAX) * sizeof(*out->tasks));
	for (size_t i = 0; i < n && out->n_tasks < TASKS_MAX; i++) {
		if (!is_current((const pb_task *const *)tasks, n, i, global))
			continue;
		out->tasks[out->n_tasks++] = redact_task_slim(redact, tasks[i]);
	}
	redact_node_names(redact, v, &out->n_node_names, &out->node_names);
	out->desired = global ? c->ops.global_wanted(c->ops.data, v, service)
			      : service->spec->replicated->replicas;
}

static void send_state(struct watch *w)
{
	Skein__WatchServiceResponse out = SKEIN__WATCH_SERVICE_RESPONSE__INIT;
	_cleanup_redact_ struct redact redact = {0};
	const pb_service *service = view_service(control_view(w->c), w->service_id);
	struct error err = ERROR_INIT;

	w->dirty = false;
	if (service)
		fill(w->c, service, &redact, &out);
	if (rpc_call_send(w->call, &out.base, &err) < 0) {
		w->ended = true;
		rpc_call_fail(w->call, &err);
	} else if (!service) {
		w->ended = true;
		rpc_call_finish(w->call);
	}
}

static void on_turn(uv_idle_t *idle)
{
	struct control *c = idle->data;
	struct watch *w;

	uv_idle_stop(idle);
	LIST_FOREACH(w, &c->watches, entry)
	{
		/* A client that has not taken the last state yet waits for on_drain. */
		if (w->dirty && !w->ended && rpc_call_unsent(w->call) == 0)
			send_state(w);
	}
	migration_watch_turn(c);
	events_turn(c);
}

void watch_open(struct control *c)
{
	uv_idle_init(c->loop, &c->turn);
	c->turn.data = c;
}

void watch_wake(struct control *c)
{
	if (!c->closer.closing)
		uv_idle_start(&c->turn, on_turn);
}

static void mark(struct watch *w)
{
	w->dirty = true;
	watch_wake(w->c);
}

static bool concerns(const struct watch *w, const struct store_event *e)
{
	const pb_task *task = e->now ? e->now : e->old;

	switch (e->kind) {
	case KIND_SERVICE:
		return str_eq(e->id, w->service_id);
	case KIND_TASK:
		return str_eq(task->service_id, w->service_id);
	default:
		return false;
	}
}

/* The nodes that a global service wants may change with any node. */
static bool node_matters(const struct watch *w, const struct store_event *e)
{
	const pb_service *service;

	if (e->kind != KIND_NODE)
		return false;
	service = view_service(control_view(w->c), w->service_id);
	return service && service->spec->mode_case == SKEIN__SERVICE_SPEC__MODE_GLOBAL;
}

void watch_on_event(struct control *c, const struct store_event *e)
{
	struct watch *w;

	LIST_FOREACH(w, &c->watches, entry)
	if (!w->dirty && !w->ended && (concerns(w, e) || node_matters(w, e)))
		mark(w);
}

void watch_on_message(struct rpc_call *call, const ProtobufCMessage *raw, void *data)
{
	_cleanup_pb_ Skein__RefRequest *request = NULL;
	struct control *c = data;
	const pb_service *service;
	struct error err = ERROR_INIT;
	struct watch *w;

	if (rpc_call_data(call))
		return; /* one request per call */
	request = text_checked_dup(raw, &err);
	service = request ? resolve_service(control_view(c), request->ref, &err) : NULL;
	if (service && c->n_watches >= WATCHES_MAX) {
		error_set(&err, ERR_EXHAUSTED, "%zu services are being watched here: at most %d",
			  c->n_watches, WATCHES_MAX);
		service = NULL;
	}
	if (!service) {
		rpc_call_fail(call, &err);
		return;
	}
	w = xnew(struct watch);
	w->c = c;
	w->call = call;
	snprintf(w->service_id, sizeof(w->service_id), "%s", service->id);
	LIST_INSERT_HEAD(&c->watches, w, entry);
	c->n_watches++;
	rpc_call_set_data(call, w);
	send_state(w);
}

void watch_on_drain(struct rpc_call *call, void *data)
{
	struct watch *w = rpc_call_data(call);

	if (w && w->dirty && !w->ended)
		mark(w);
}

void watch_on_done(struct rpc_call *call, void *data)
{
	struct watch *w = rpc_call_data(call);

	if (!w)
		return;
	LIST_REMOVE(w, entry);
	w->c->n_watches--;
	free(w);
}
