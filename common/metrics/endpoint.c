#include "common/metrics/endpoint.h"

#include "common/http/http.h"
#include "common/loop.h"
#include "common/mem.h"
#include "common/metrics/metrics.h"

#include <sys/queue.h>

/* Two scrapers at the same moment see the same numbers; longer than this nobody's are old, and the memory is given back. */
#define YOUNG_MS 100

struct waiter {
	STAILQ_ENTRY(waiter) link;
	struct http_request *req;
	enum metrics_format format;
};
STAILQ_HEAD(waiters, waiter);

struct metrics_endpoint {
	uv_loop_t *loop;
	struct metrics_source source;
	struct waiters next;                 /* to be served */
	bool busy;                           /* a collection is under way, of: */
	struct metrics_writer writer;
	size_t last_len[METRICS_FORMATS];    /* what the last one needed: the next one grows its buffer once */
	struct http_body *body[METRICS_FORMATS]; /* NULL = none that is young enough */
	uv_timer_t forget;
	struct closer closer;
	void (*closed)(void *data);
	void *closed_data;
};

struct metrics_endpoint *metrics_endpoint_new(uv_loop_t *loop, const struct metrics_source *source)
{
	struct metrics_endpoint *e = xnew(struct metrics_endpoint);

	e->loop = loop;
	e->source = *source;
	STAILQ_INIT(&e->next);
	closer_init(&e->closer);
	uv_timer_init(loop, &e->forget);
	return e;
}

static void forget_bodies(struct metrics_endpoint *e)
{
	for (int i = 0; i < METRICS_FORMATS; i++) {
		http_body_unref(e->body[i]); /* who takes it holds it */
		e->body[i] = NULL;
	}
}

static void on_forget(uv_timer_t *timer)
{
	forget_bodies(container_of(timer, struct metrics_endpoint, forget));
}

static void answer(struct metrics_endpoint *e, struct waiter *w)
{
	http_answer_body(w->req, 200, metrics_content_type(w->format), e->body[w->format]);
	free(w);
}

static void begin(struct metrics_endpoint *e);

static void on_collected(void *data)
{
	struct metrics_endpoint *e = data;
	enum metrics_format format = e->writer.format;
	struct waiters all = STAILQ_HEAD_INITIALIZER(all);
	struct waiter *w;
	size_t len;

	metrics_end(&e->writer);
	if (e->source.done)
		e->source.done(e->source.data);
	len = e->last_len[format] = e->writer.text.len;
	http_body_unref(e->body[format]);
	e->body[format] = http_body_new(strbuf_take(&e->writer.text), len);
	if (!e->closer.closing)
		uv_timer_start(&e->forget, on_forget, YOUNG_MS, 0);
	e->busy = false;
	STAILQ_CONCAT(&all, &e->next);
	while ((w = STAILQ_FIRST(&all))) {
		STAILQ_REMOVE_HEAD(&all, link);
		if (w->format == format)
			answer(e, w);
		else
			STAILQ_INSERT_TAIL(&e->next, w, link);
	}
	begin(e);
	closer_drop(&e->closer);
}

static void collect_pool(void *data)
{
	struct metrics_endpoint *e = data;

	e->source.collect_pool(e->source.data, &e->writer);
}

static void on_prepared(void *data)
{
	struct metrics_endpoint *e = data;
	enum metrics_format format = STAILQ_FIRST(&e->next)->format;

	metrics_begin(&e->writer, format);
	strbuf_reserve(&e->writer.text, e->last_len[format] + 4096);
	e->source.collect(e->source.data, &e->writer);
	if (e->source.collect_pool)
		loop_work(e->loop, collect_pool, on_collected, e);
	else
		on_collected(e);
}

static void begin(struct metrics_endpoint *e)
{
	if (e->busy || STAILQ_EMPTY(&e->next) || e->closer.closing)
		return;
	e->busy = true;
	closer_hold(&e->closer);
	if (e->source.prepare)
		e->source.prepare(e->source.data, on_prepared, e);
	else
		on_prepared(e);
}

void metrics_endpoint_handle(struct http_request *req, void *endpoint)
{
	struct metrics_endpoint *e = endpoint;
	enum metrics_format format = metrics_negotiate(http_header(req, "Accept"));
	struct waiter *w = xnew(struct waiter);

	w->req = req;
	w->format = format;
	if (e->body[format]) {
		answer(e, w);
		return;
	}
	STAILQ_INSERT_TAIL(&e->next, w, link);
	begin(e);
}

static void on_closed(void *data)
{
	struct metrics_endpoint *e = data;
	void (*closed)(void *) = e->closed;
	void *closed_data = e->closed_data;
	struct waiter *w;

	while ((w = STAILQ_FIRST(&e->next))) {
		STAILQ_REMOVE_HEAD(&e->next, link);
		http_answer_text(w->req, 503, "stopping"); /* goes nowhere: the server has closed */
		free(w);
	}
	forget_bodies(e);
	free(e);
	if (closed)
		closed(closed_data);
}

void metrics_endpoint_close(struct metrics_endpoint *e, void (*closed)(void *data), void *data)
{
	e->closed = closed;
	e->closed_data = data;
	closer_begin(&e->closer, on_closed, e);
	closer_add(&e->closer, (uv_handle_t *)&e->forget);
	closer_end(&e->closer);
}
