/*
 * Who looks at the page: each a stream and a position in the feed. Nothing is queued for a slow one: it gets the newest
 * state when it has taken what was sent before. The board exists only while somebody looks, and a moment longer.
 */
#include "board.h"
#include "internal.h"
#include "model.h"
#include "session.h"

#include "common/clock.h"
#include "common/id.h"
#include "common/log.h"
#include "common/mem.h"
#include "manager/store/plan.h"
#include "manager/store/view.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BATCH_ITEMS 400              /* about 30 KB, 1 ms */
#define UNSENT_MAX_BYTES (64u << 10) /* more is not sent to who has not taken this */
#define FLUSH_NS (80 * NS_PER_MS)    /* changes of this time are told together */
#define REST_NS (60 * NS_PER_SEC)
#define EVENT_ID_MAX 48

struct viewer {
	LIST_ENTRY(viewer) entry;
	struct web *w;
	struct http_stream *stream;
	uint64_t session; /* 0: it is being ended */
	uint64_t seq;	/* position in the feed */
	uint64_t start; /* marks up to here it never knew: a snapshot began there */
	bool whole;	/* was told that it knows everything */
	/* What comes next, while the feed is still at next_seq: so a snapshot's pieces need no search. */
	const struct feed_item *next;
	uint64_t next_seq;
};

/* ---------------------------------------------------------------- encoding */

static uint64_t wanted(struct web *w, const pb_service *service)
{
	if (service_is_global(service))
		return w->ops.global_wanted(w->ops.data, w->view, service);
	return service->spec && service->spec->replicated ? service->spec->replicated->replicas : 0;
}

static uint32_t num_of(struct feed *f, enum kind kind, const char *id)
{
	const struct feed_item *item = str_empty(id) ? NULL : feed_get(f, kind, id);

	return item ? item->num : 0;
}

struct batch_lists {
	json_t *nodes, *services, *tasks, *gone;
};

static void add(json_t **list, json_t *entry)
{
	if (!*list)
		*list = json_array();
	json_array_append_new(*list, entry);
}

static json_t *mark_of(const struct feed_item *item)
{
	return json_pack("[s,s,i]", kind_info(item->kind)->name, item->id, item->last);
}

static void add_item(struct web *w, struct feed *f, const struct feed_item *item, struct batch_lists *lists)
{
	const void *obj = item->gone ? NULL : view_get(w->view, item->kind, item->id);
	const pb_task *task = obj;

	if (item->gone)
		add(&lists->gone, mark_of(item));
	else if (!obj)
		return; /* its removal is on the way to the board */
	else if (item->kind == KIND_NODE)
		add(&lists->nodes, model_node(obj, item->num, str_eq(item->id, w->leader_id)));
	else if (item->kind == KIND_SERVICE)
		add(&lists->services, model_service(obj, item->num, wanted(w, obj)));
	else
		add(&lists->tasks, model_task(task, num_of(f, KIND_SERVICE, task->service_id),
					      num_of(f, KIND_NODE, task->node_id)));
}

static void set_list(json_t *object, const char *name, json_t *list)
{
	if (list)
		json_object_set_new(object, name, list);
}

static const char *event_id(const struct web *w, uint64_t seq, char buf[static EVENT_ID_MAX])
{
	snprintf(buf, EVENT_ID_MAX, "%s-%" PRIu64, w->epoch, seq);
	return buf;
}

/* What comes behind a viewer's position, at most BATCH_ITEMS of it; returns the new position. */
static uint64_t encode(struct web *w, struct viewer *v, struct strbuf *out)
{
	struct feed *f = board_feed(w->board);
	const struct feed_item *item = v->next_seq == feed_seq(f) ? v->next : feed_after(f, v->seq);
	struct batch_lists lists = {0};
	json_t *object = json_object();
	char id[EVENT_ID_MAX];
	uint64_t to = v->seq;

	for (size_t n = 0; item && n < BATCH_ITEMS; item = feed_next(item)) {
		to = item->seq;
		if (item->gone && item->seq <= v->start)
			continue;
		add_item(w, f, item, &lists);
		n++;
	}
	v->next = item;
	v->next_seq = feed_seq(f);
	set_list(object, "nodes", lists.nodes);
	set_list(object, "services", lists.services);
	set_list(object, "tasks", lists.tasks);
	set_list(object, "gone", lists.gone);
	web_event(out, NULL, event_id(w, to, id), object);
	return to;
}

/* Viewers that keep up are told the same: it is made once. */
static const struct strbuf *batch_for(struct web *w, struct viewer *v, uint64_t *ret_to)
{
	bool shared = v->seq >= v->start;

	if (!shared || w->batch.from != v->seq || w->batch.to != feed_seq(board_feed(w->board))) {
		strbuf_fini(&w->batch.text);
		w->batch.from = v->seq;
		w->batch.to = encode(w, v, &w->batch.text);
		*ret_to = w->batch.to;
		if (!shared)
			w->batch.to = 0;
		return &w->batch.text;
	}
	*ret_to = w->batch.to;
	return &w->batch.text;
}

/* ---------------------------------------------------------------- sending */

static void push_empty(struct viewer *v, const char *name)
{
	_cleanup_strbuf_ struct strbuf text = {0};

	web_event(&text, name, NULL, json_object());
	http_stream_push(v->stream, text.p, text.len);
}

static void hello(struct viewer *v)
{
	_cleanup_strbuf_ struct strbuf text = {0};
	json_t *object = json_pack("{s:s,s:s}", "manager", v->w->node_id, "version", SKEIN_VERSION);

	web_event(&text, "reset", NULL, object);
	http_stream_push(v->stream, text.p, text.len);
}

/* From the beginning; the page keeps what it shows until it knows what of it is still true. */
static void begin_anew(struct viewer *v)
{
	v->seq = v->next_seq = 0;
	v->start = feed_seq(board_feed(v->w->board));
	v->whole = false;
	hello(v);
}

static void pump(struct viewer *v)
{
	struct feed *f = board_feed(v->w->board);
	const struct strbuf *text;
	uint64_t to;

	if (!v->session || http_stream_unsent(v->stream) >= UNSENT_MAX_BYTES)
		return;
	if (MAX(v->seq, v->start) < feed_forgotten(f))
		begin_anew(v);
	if (v->seq < feed_seq(f)) {
		text = batch_for(v->w, v, &to);
		if (http_stream_push(v->stream, text->p, text->len) < 0)
			return;
		v->seq = to;
	}
	if (v->seq < feed_seq(f) || v->whole)
		return;
	v->whole = true;
	push_empty(v, "whole");
}

static void on_drain(void *data)
{
	pump(data);
}

void viewers_on_flush(uv_timer_t *timer)
{
	struct web *w = timer->data;
	struct viewer *v;

	LIST_FOREACH(v, &w->viewers, entry)
	pump(v);
}

static void flush_soon(struct web *w)
{
	if (!LIST_EMPTY(&w->viewers) && !uv_is_active((uv_handle_t *)&w->flush))
		loop_timer_in(&w->flush, FLUSH_NS, viewers_on_flush);
}

void viewers_events(struct web *w, const struct store_event *events, size_t n)
{
	uint64_t before;

	if (!w->board)
		return;
	before = feed_seq(board_feed(w->board));
	board_events(w->board, events, n);
	if (feed_seq(board_feed(w->board)) != before)
		flush_soon(w);
}

void viewers_touch_node(struct web *w, const char *node_id)
{
	if (!w->board || str_empty(node_id))
		return;
	board_touch_node(w->board, node_id);
	flush_soon(w);
}

/* ---------------------------------------------------------------- the board's life */

static void board_open(struct web *w)
{
	char id[ID_LEN + 1];

	uv_timer_stop(&w->rest);
	if (w->board)
		return;
	id_new(id);
	snprintf(w->epoch, sizeof(w->epoch), "%.10s", id);
	w->board = board_new(w->view);
}

void viewers_close(struct web *w)
{
	board_free(TAKE_PTR(w->board));
	strbuf_fini(&w->batch.text);
	w->batch.from = w->batch.to = 0;
}

void viewers_on_rest(uv_timer_t *timer)
{
	viewers_close(timer->data);
}

/* ---------------------------------------------------------------- a viewer's life */

static void on_close(void *data)
{
	struct viewer *v = data;
	struct web *w = v->w;

	LIST_REMOVE(v, entry);
	w->n_viewers--;
	if (!w->n_viewers && !w->closer.closing)
		loop_timer_in(&w->rest, REST_NS, viewers_on_rest);
	free(v);
	closer_drop(&w->closer);
}

/* Where it was; -1: that is unknown, or too long ago. */
static int resume(struct web *w, const char *last, uint64_t *ret_seq)
{
	struct feed *f = board_feed(w->board);
	size_t len = strlen(w->epoch);
	struct error err = ERROR_INIT;
	uint64_t seq;

	if (!last || strncmp(last, w->epoch, len) || last[len] != '-' || str_parse_u64(last + len + 1, &seq, &err) < 0 ||
	    seq > feed_seq(f) || seq < feed_forgotten(f))
		return -1;
	*ret_seq = seq;
	return 0;
}

void viewers_begin(struct web *w, struct http_request *req)
{
	struct http_stream_options options = {
		.content_type = "text/event-stream", .heartbeat = ":\n\n", .on_close = on_close, .on_drain = on_drain,
	};
	uint64_t session = sign_check(w, req), seq = 0;
	struct viewer *v;
	bool resumed;

	if (!session)
		return;
	if (w->n_viewers >= WEB_PAGES_MAX || w->closer.closing) {
		web_refuse(req, 503, "%d pages are open on this manager already", WEB_PAGES_MAX);
		return;
	}
	board_open(w);
	resumed = resume(w, http_header(req, "Last-Event-ID"), &seq) == 0;
	v = xnew(struct viewer);
	v->w = w;
	v->session = session;
	v->seq = seq;
	options.data = v;
	v->stream = http_stream_begin(req, &options);
	if (!v->stream) {
		free(v);
		if (!w->n_viewers)
			loop_timer_in(&w->rest, REST_NS, viewers_on_rest);
		return;
	}
	LIST_INSERT_HEAD(&w->viewers, v, entry);
	w->n_viewers++;
	closer_hold(&w->closer);
	if (!resumed)
		begin_anew(v);
	pump(v);
}

void viewers_check(struct web *w)
{
	int64_t now = clock_wall_ns();
	struct viewer *v;

	LIST_FOREACH(v, &w->viewers, entry)
	{
		if (!v->session || sessions_has(w->sessions, v->session, now))
			continue;
		v->session = 0;
		push_empty(v, "signed-out");
		http_stream_close(v->stream);
	}
}
