/*
 * logs_source - the log of one task, streamed from the agent of its node, one batch at a time.
 * Reading pauses while a batch is not consumed, so what is kept of one task is bounded.
 */
#pragma once
#include "proto/pb.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#define LOGS_SOURCE_ID_MAX 64
#define LOGS_SOURCE_NAME_MAX 256

struct error;
struct logs;
struct rpc_call;
struct rpc_channel;

struct log_batch {
	STAILQ_ENTRY(log_batch) entry;
	Skein__TaskLogsResponse *msg;
	size_t next; /* line */
};

struct logs_source {
	TAILQ_ENTRY(logs_source) entry;
	struct logs *logs;
	char task_id[LOGS_SOURCE_ID_MAX];
	char task_name[LOGS_SOURCE_NAME_MAX];
	char node_id[LOGS_SOURCE_ID_MAX];
	struct rpc_call *call; /* NULL: no stream at the moment */
	STAILQ_HEAD(, log_batch) batches;
	bool ended; /* nothing will come behind what is queued */
	bool paused;
	int64_t opened_at; /* CLOCK_MONOTONIC: of the stream, or when its last batch came */
	int64_t last_at;   /* time of the newest line */
	uint64_t n_last;   /* lines of that time: what is written at once has the same */
	int64_t retry_at;  /* CLOCK_MONOTONIC; 0 = no retry is due */
	unsigned failures;
};

struct logs_source *logs_source_new(struct logs *logs, const pb_task *task);
/* Its stream must have ended. */
void logs_source_free(struct logs_source *s);

/* Start the stream; a repeated one begins behind the newest line. Calls logs_source_changed /
 * _failed later. */
void logs_source_open(struct logs_source *s, struct rpc_channel *channel,
		      const Skein__LogsRequest *request);
void logs_source_stop(struct logs_source *s);

/* The next line, or NULL. `ret_run`: how many lines from it on are in the same batch and not after
 * `limit`. */
const pb_log_line *logs_source_head(const struct logs_source *s);
size_t logs_source_run(const struct logs_source *s, int64_t limit, pb_log_line ***ret_lines);
void logs_source_consume(struct logs_source *s, size_t lines);

/* ---- what the owner (logs.c) does about it */

/* A batch came, or the stream ended well. */
void logs_source_changed(struct logs_source *s);
/* The stream ended with an error. */
void logs_source_failed(struct logs_source *s, const struct error *err);
void logs_source_hold(struct logs *logs);
void logs_source_drop(struct logs *logs);
