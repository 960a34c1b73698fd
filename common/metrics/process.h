/*
 * process - metrics that every daemon has: its own process, its loop, its HTTP server.
 */
#pragma once
#include "metrics.h"

struct http_server;

extern const struct metric_table process_table;

/* Loop thread: the loop and the HTTP server (may be NULL). */
void process_collect(struct metrics_writer *w, const struct http_server *http);
/* Any thread: what the kernel says of the process; counting thousands of descriptors takes milliseconds. */
void process_collect_pool(struct metrics_writer *w);
