/*
 * endpoint - GET /metrics: negotiates the format, collects, encodes, answers.
 *
 * One collection runs at a time; who asks while it runs, or just behind it, gets the same bytes: any number of scrapers
 * costs one collection and one buffer. Loop thread, but for what a source does on the uv pool.
 *
 *   struct metrics_endpoint *e = metrics_endpoint_new(loop, &source);
 *   {"/metrics", HTTP_GET, metrics_endpoint_handle, e}
 */
#pragma once
#include <uv.h>

struct http_request;
struct metrics_endpoint;
struct metrics_writer;

struct metrics_source {
	/* Loop thread, first: ask others for what they know. ready (exactly once, then or later) leads to collect. NULL = nothing. */
	void (*prepare)(void *data, void (*ready)(void *ready_data), void *ready_data);
	/* Loop thread: write what is in memory (whole families), and prepare collect_pool. Does not block. */
	void (*collect)(void *data, struct metrics_writer *w);
	/* uv pool, behind collect: write further families, read kernel files. The next collect comes behind it. NULL = nothing. */
	void (*collect_pool)(void *data, struct metrics_writer *w);
	/* Loop thread, behind both. NULL = nothing. */
	void (*done)(void *data);
	void *data;
};

struct metrics_endpoint *metrics_endpoint_new(uv_loop_t *loop, const struct metrics_source *source);
/* The handler of the route; data is the endpoint. */
void metrics_endpoint_handle(struct http_request *req, void *endpoint);
/* closed runs once, when no collection is under way any more; the endpoint is freed then. Behind http_close(). */
void metrics_endpoint_close(struct metrics_endpoint *e, void (*closed)(void *data), void *data);
