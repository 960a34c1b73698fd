/*
 * taskdb - what this node runs, on disk: one file per task (packed pb_task with its status), so that a
 * restarted agent finds its containers again. Written on the uv pool, one batch at a time, newest state
 * per task; files are 0600 (environments may hold secrets).
 */
#pragma once
#include "common/error.h"
#include "proto/pb.h"

#include <uv.h>

struct taskdb;

/* Open (make) the directory. Short blocking I/O. */
struct taskdb *taskdb_new(uv_loop_t *loop, const char *dir, struct error *err);
/* Waits for what is queued; then frees. */
void taskdb_close(struct taskdb *db, void (*closed)(void *data), void *data);

/* Keep a copy of the task; saved (may be NULL) once it is on disk, err NULL or why not. */
typedef void (*taskdb_saved_cb)(void *data, const struct error *err);
void taskdb_put(struct taskdb *db, const pb_task *task, taskdb_saved_cb saved, void *data);
void taskdb_del(struct taskdb *db, const char *task_id);

/* Call back with every task on disk, in no order; unreadable files are logged and moved aside, half-written ones removed.
 * Blocking; at start only. The task is freed when fn returns. */
void taskdb_load(struct taskdb *db, void (*fn)(void *data, const pb_task *task), void *data);
/* Parse one file's content; NULL when it is damaged. Pure (fuzzed). */
pb_task *taskdb_parse(const void *bytes, size_t len);
