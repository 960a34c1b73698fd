/*
 * reporter - statuses on their way to the manager: the newest per task, one batch in flight, kept until acknowledged.
 */
#pragma once
#include "proto/pb.h"

#include <stdint.h>
#include <uv.h>

struct reporter;

/* Progress below RUNNING is for people, no decision waits for it: most of it is overtaken within this time. */
#define REPORTER_HOLD_MS 100

/* send: hand a batch to the session; returns 0, or -1 when there is none (it stays pending). */
struct reporter *reporter_new(uv_loop_t *loop, int (*send)(void *data, const Skein__StatusReports *batch),
			      void *data);
/* The loop must turn once more. */
void reporter_free(struct reporter *r);

/*
 * A task's status changed. RUNNING and every end are sent at once (with all that is pending) unless a batch is in
 * flight; what is below RUNNING after REPORTER_HOLD_MS, if nothing newer has taken its place.
 */
void reporter_put(struct reporter *r, const char *task_id, const pb_task_status *status);
/* The task is gone: nothing more to say about it. */
void reporter_drop(struct reporter *r, const char *task_id);
/* The manager has written batch `sequence`. */
void reporter_ack(struct reporter *r, uint64_t sequence);
/* A session began (what was in flight is pending again) or ended. */
void reporter_session(struct reporter *r, bool up);
