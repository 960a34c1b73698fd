/*
 * process - metrics that every daemon has: its own process, its loop, its HTTP server.
 */
#pragma once
#include "metrics.h"

struct http_server;

extern const struct metric_table process_table;

/* Loop thread (two small reads of /proc/self). http may be NULL. */
void process_collect(struct metrics_writer *w, const struct http_server *http);
