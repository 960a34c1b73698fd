/*
 * One watch = one POST whose answer never ends. It is lost when the connection breaks, when etcd says
 * "canceled" (the connection then stays open), or when nothing comes for SILENCE_MS and the server does
 * not answer a question either: a frozen member keeps its connections.
 */
#include "etcd_internal.h"

#include "common/mem.h"

#include <string.h>

#define LINE_MAX_BYTES ((size_t)16 << 20)
#define CREATE_TIMEOUT_MS 3000
#define SILENCE_MS 8000
#define PROBE_TIMEOUT_MS 2000
#define BACKOFF_MIN_MS 20
#define BACKOFF_MAX_MS 1000

struct etcd_watch {
	LIST_ENTRY(etcd_watch) entry;
	struct etcd *etcd;
	char *key, *end;
	uint64_t next_revision;   /* where the next attempt starts; 0 = now */
	struct etcd_watch_handlers handlers;
	void *data;
	struct etcd_http_call *call;
	struct etcd_request *probe;
	char *endpoint;
	uv_timer_t timer;         /* silence while connected, backoff while not */
	uint64_t backoff_ms;
	bool up, told_down;
	bool over;                /* cancelled or compacted: no callback any more */
};

static void connect_now(struct etcd_watch *w);
static void on_silence(uv_timer_t *timer);

static void on_reconnect(uv_timer_t *timer)
{
	connect_now(container_of(timer, struct etcd_watch, timer));
}

static void drop_connection(struct etcd_watch *w)
{
	etcd_http_cancel(TAKE_PTR(w->call));
	/* Its callback finds no probe and does nothing. */
	if (w->probe)
		etcd_request_cancel(TAKE_PTR(w->probe));
}

static void lost(struct etcd_watch *w, const struct error *why)
{
	struct error err = *why;

	drop_connection(w);
	etcd_endpoint_failed(w->etcd, w->endpoint);
	uv_timer_start(&w->timer, on_reconnect, w->backoff_ms, 0);
	w->backoff_ms = MIN(w->backoff_ms * 2, BACKOFF_MAX_MS);
	w->up = false;
	if (w->told_down)
		return;
	w->told_down = true;
	error_wrap(&err, "watch at %s", w->endpoint);
	if (w->handlers.on_state)
		w->handlers.on_state(w->data, &err);
}

/* The watch cannot go on from where it was. */
static void end_compacted(struct etcd_watch *w, uint64_t compact_revision)
{
	void (*tell)(void *, uint64_t) = w->handlers.on_compacted;
	void *data = w->data;

	etcd_watch_cancel(w);
	tell(data, compact_revision);
}

static void alive(struct etcd_watch *w)
{
	if (w->probe)
		etcd_request_cancel(TAKE_PTR(w->probe));
	uv_timer_start(&w->timer, on_silence, SILENCE_MS, 0);
}

static void came_up(struct etcd_watch *w)
{
	w->up = true;
	w->told_down = false;
	w->backoff_ms = BACKOFF_MIN_MS;
	if (w->handlers.on_state)
		w->handlers.on_state(w->data, NULL);
}

static void on_answer(struct etcd_watch *w, const struct etcd_answer *a)
{
	struct error err;

	etcd_note_term(w->etcd, a->term);
	if (error_is_set(&a->error)) {
		lost(w, &a->error);
	} else if (a->canceled && a->compact_revision) {
		end_compacted(w, a->compact_revision);
	} else if (a->canceled) {
		error_set(&err, ERR_UNAVAILABLE, "etcd cancelled the watch");
		lost(w, &err);
	} else if (a->created) {
		/* Its revision is no progress, events before it may still come - unless the watch begins with it. */
		if (!w->next_revision)
			w->next_revision = a->revision + 1;
		alive(w);
		came_up(w);
	} else if (a->n_events) {
		uint64_t last = a->events[a->n_events - 1].kv.mod_revision;

		alive(w);
		w->next_revision = last + 1;
		w->handlers.on_events(w->data, last, a->events, a->n_events);
	} else {
		alive(w);
		if (a->revision >= w->next_revision)
			w->next_revision = a->revision + 1;
		w->handlers.on_events(w->data, a->revision, NULL, 0);
	}
}

static size_t on_data(void *data, const char *bytes, size_t len)
{
	struct etcd_watch *w = data;
	struct etcd_http_call *call = w->call;
	size_t used = 0;
	const char *newline;

	while ((newline = memchr(bytes + used, '\n', len - used))) {
		_cleanup_answer_ struct etcd_answer answer = {0};
		size_t line = (size_t)(newline - bytes) - used;
		struct error err;

		if (line && etcd_json_parse(bytes + used, line, &answer, &err) < 0)
			lost(w, &err);
		else if (line)
			on_answer(w, &answer);
		used += line + 1;
		/* The callback may have ended the watch (its memory stays until the timer is closed). */
		if (w->over || w->call != call)
			return used;
	}
	return used;
}

static void on_done(void *data, const struct etcd_http_result *result)
{
	struct etcd_watch *w = data;
	struct error err = result->error;

	w->call = NULL;
	if (err.code == ERR_EXHAUSTED) {
		/* Too much at once after a long absence: loading everything is the way that is bounded. */
		end_compacted(w, 0);
		return;
	}
	if (!error_is_set(&err))
		error_set(&err, ERR_UNAVAILABLE, "watch ended with HTTP status %ld", result->status);
	lost(w, &err);
}

static void on_probe(void *data, const struct etcd_range_result *result, const struct error *err)
{
	struct etcd_watch *w = data;
	struct error behind;

	/* Cancelled by us. */
	if (!w->probe)
		return;
	w->probe = NULL;
	if (err) {
		lost(w, err);
	} else if (result->revision + 1 < w->next_revision) {
		/* Less than was seen already: this etcd was restored from an older state. */
		end_compacted(w, 0);
	} else if (w->next_revision && result->revision >= w->next_revision) {
		/* etcd went on, of this watch nothing was heard: other keys, or it is stuck. */
		error_set(&behind, ERR_UNAVAILABLE, "nothing was heard for %d ms", SILENCE_MS);
		lost(w, &behind);
	} else {
		alive(w);
		w->handlers.on_events(w->data, result->revision, NULL, 0);
	}
}

static void on_silence(uv_timer_t *timer)
{
	struct etcd_watch *w = container_of(timer, struct etcd_watch, timer);
	struct error err;

	if (w->up) {
		w->probe = etcd_probe(w->etcd, w->endpoint, w->key, PROBE_TIMEOUT_MS, on_probe, w);
		return;
	}
	error_set(&err, ERR_TIMEOUT, "no answer within %d ms", CREATE_TIMEOUT_MS);
	lost(w, &err);
}

static void connect_now(struct etcd_watch *w)
{
	struct etcd_http_post post = {
		.path = "/v3/watch",
		.body = etcd_json_watch(w->key, w->end, w->next_revision, w->handlers.prev),
		.connect_timeout_ms = ETCD_CONNECT_TIMEOUT_MS,
		.max_body = LINE_MAX_BYTES,
		.on_data = on_data,
		.on_done = on_done,
		.data = w,
	};

	free(w->endpoint);
	w->endpoint = xstrdup(etcd_endpoint(w->etcd));
	post.endpoint = w->endpoint;
	w->call = etcd_http_post(w->etcd->http, &post);
	uv_timer_start(&w->timer, on_silence, CREATE_TIMEOUT_MS, 0);
}

void etcd_watches_move(struct etcd *e)
{
	struct etcd_watch *w;

	LIST_FOREACH(w, &e->watches, entry) {
		if (str_eq(w->endpoint, etcd_endpoint(e)))
			continue;
		drop_connection(w);
		w->up = false;
		connect_now(w);
	}
}

struct etcd_watch *etcd_watch(struct etcd *e, const char *key, const char *end, uint64_t start_revision,
			      const struct etcd_watch_handlers *handlers, void *data)
{
	struct etcd_watch *w = xnew(struct etcd_watch);

	w->etcd = e;
	w->key = xstrdup(key);
	w->end = xstrdup(end);
	w->next_revision = start_revision;
	w->handlers = *handlers;
	w->data = data;
	w->backoff_ms = BACKOFF_MIN_MS;
	uv_timer_init(e->loop, &w->timer);
	closer_hold(&e->closer);
	LIST_INSERT_HEAD(&e->watches, w, entry);
	connect_now(w);
	return w;
}

static void on_timer_closed(uv_handle_t *handle)
{
	struct etcd_watch *w = container_of((uv_timer_t *)handle, struct etcd_watch, timer);

	closer_drop(&w->etcd->closer);
	free(w->key);
	free(w->end);
	free(w->endpoint);
	free(w);
}

void etcd_watch_cancel(struct etcd_watch *w)
{
	if (!w || w->over)
		return;
	w->over = true;
	LIST_REMOVE(w, entry);
	drop_connection(w);
	uv_close((uv_handle_t *)&w->timer, on_timer_closed);
}
