/* A task has been started: does somebody listen where its service sends connections? Asked of the kernel, soon and then
 * less and less often, in the task's namespace. */
#include "net_internal.h"

#include "common/clock.h"
#include "common/loop.h"
#include "common/mem.h"

#include <stdlib.h>

#define DELAY_MIN_NS NS_PER_MS
#define DELAY_MAX_NS (100 * NS_PER_MS)

/* ---------------------------------------------------------------- which ports */

static bool has_port(const struct await *w, uint16_t port)
{
	for (size_t i = 0; i < w->n; i++)
		if (w->ports[i] == port)
			return true;
	return false;
}

static void add_port(struct await *w, uint32_t port)
{
	if (!port || port > UINT16_MAX || has_port(w, (uint16_t)port))
		return;
	w->ports = xreallocarray(w->ports, w->n + 1, sizeof(*w->ports));
	w->ports[w->n++] = (uint16_t)port;
}

/* Published ones, all of them; else, behind a virtual address, any of those that the image speaks of. False: there are none. */
static bool choose_ports(struct attached *a)
{
	const struct model_service *s = model_service(a->net->model, a->task->service_id);
	struct await *w = &a->await;

	w->n = 0;
	w->any = false;
	for (size_t i = 0; s && i < s->pb->n_ports; i++)
		if (str_eq(s->pb->ports[i]->protocol, "tcp"))
			add_port(w, s->pb->ports[i]->target);
	if (!w->n && s && s->n_vips) {
		w->any = true;
		for (size_t i = 0; i < w->n_exposed; i++)
			add_port(w, w->exposed[i]);
	}
	return w->n > 0;
}

static bool is_served(const struct await *w)
{
	size_t found = 0;

	for (size_t i = 0; i < w->n; i++)
		found += w->listening[i];
	return w->any ? found > 0 : found == w->n;
}

/* "80/tcp, 443/tcp": those that are missing. */
static char *missing(const struct await *w)
{
	struct strbuf out = {0};

	for (size_t i = 0; i < w->n; i++)
		if (!w->listening || !w->listening[i])
			strbuf_printf(&out, "%s%u/tcp", out.len ? (w->any ? " or " : ", ") : "", w->ports[i]);
	return strbuf_take(&out);
}

/* ---------------------------------------------------------------- asking */

static void schedule(struct net *n);

void await_end(struct attached *a)
{
	struct await *w = &a->await;

	if (w->cb)
		LIST_REMOVE(w, link);
	w->cb = NULL;
}

/* The wait is over; `why` NULL = it serves. */
static void finish(struct attached *a, const char *why)
{
	net_ready_cb cb = a->await.cb;
	void *data = a->await.data;

	await_end(a);
	cb(data, why);
}

/* Serial thread; nobody touches ports and answers meanwhile. */
static void look(void *data, struct netns *ns, struct error *err)
{
	struct await *w = &((struct attached *)data)->await;

	netns_tcp_listening(ns, w->ports, w->n, w->listening, err);
}

static void looked(void *data, struct work_job *job, const struct error *err)
{
	struct attached *a = data;
	struct await *w = &a->await;
	int64_t now = clock_mono_ns();

	w->asking = false;
	if (net_closing(a->net) || !w->cb)
		return;
	if (!err && is_served(w)) {
		finish(a, NULL);
	} else if (now >= w->until) {
		_cleanup_free_ char *ports = missing(w);

		finish(a, ports);
	} else {
		w->due = MIN(now + w->delay, w->until);
		w->delay = MIN(2 * w->delay, DELAY_MAX_NS);
		schedule(a->net);
	}
}

static void ask(struct attached *a)
{
	struct await *w = &a->await;
	struct work_job *job;

	if (!choose_ports(a)) {
		if (model_complete(a->net->model) || clock_mono_ns() >= w->until) {
			finish(a, NULL);
		} else { /* what it publishes is not known yet: the agent has just begun */
			w->due = clock_mono_ns() + DELAY_MAX_NS;
		}
		return;
	}
	free(w->listening);
	w->listening = xcalloc(w->n, sizeof(*w->listening));
	w->asking = true;
	job = work_job_new();
	work_call(job, a->space.path, look, a);
	work_run(a->net->work, job, looked, a);
}

static void on_due(uv_timer_t *timer)
{
	struct net *n = container_of(timer, struct net, await_timer);
	int64_t now = clock_mono_ns();
	struct await *w, *next;

	for (w = LIST_FIRST(&n->awaited); w; w = next) {
		next = LIST_NEXT(w, link);
		if (!w->asking && w->due <= now)
			ask(container_of(w, struct attached, await));
	}
	schedule(n);
}

static void schedule(struct net *n)
{
	int64_t now = clock_mono_ns(), first = INT64_MAX;
	const struct await *w;

	LIST_FOREACH(w, &n->awaited, link)
		if (!w->asking)
			first = MIN(first, w->due);
	if (first != INT64_MAX && !net_closing(n))
		loop_timer_in(&n->await_timer, MAX(first - now, INT64_C(0)), on_due);
}

/* ---------------------------------------------------------------- from outside */

bool net_await(struct net *n, const char *task_id, const uint16_t *exposed, size_t n_exposed, int64_t max_ns, net_ready_cb cb,
	       void *data)
{
	struct attached *a = attached_find(n, task_id);
	struct await *w;

	if (!a || a->state == ATTACHED_DROPPING || max_ns <= 0)
		return false;
	w = &a->await;
	await_end(a);
	free(w->exposed);
	w->exposed = xcalloc(n_exposed + 1, sizeof(*w->exposed));
	for (size_t i = 0; i < n_exposed; i++)
		w->exposed[i] = exposed[i];
	w->n_exposed = n_exposed;
	/* While the last answer of an earlier wait is on its way, its ports are the other thread's. */
	if (!w->asking && !choose_ports(a) && model_complete(n->model))
		return false;
	w->cb = cb;
	w->data = data;
	w->due = clock_mono_ns();
	w->until = w->due + max_ns;
	w->delay = DELAY_MIN_NS;
	LIST_INSERT_HEAD(&n->awaited, w, link);
	schedule(n);
	return true;
}

void net_await_cancel(struct net *n, const char *task_id)
{
	struct attached *a = attached_find(n, task_id);

	if (a)
		await_end(a);
}

void await_fini(struct attached *a)
{
	await_end(a);
	free(a->await.ports);
	free(a->await.listening);
	free(a->await.exposed);
}
