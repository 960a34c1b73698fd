/*
 * reporter - statuses on their way to the manager: the newest per task, one batch in flight, kept until acknowledged.
 */
#pragma once
#include "proto/pb.h"

#include <stdint.h>

struct reporter;

/* send: hand a batch to the session; returns 0, or -1 when there is none (it stays pending). */
struct reporter *reporter_new(int (*send)(void *data, const Skein__StatusReports *batch), void *data);
void reporter_free(struct reporter *r);

/* A task's status changed. Sent at once unless a batch is in flight. */
void reporter_put(struct reporter *r, const char *task_id, const pb_task_status *status);
/* The task is gone: nothing more to say about it. */
void reporter_drop(struct reporter *r, const char *task_id);
/* The manager has written batch `sequence`. */
void reporter_ack(struct reporter *r, uint64_t sequence);
/* A session began (what was in flight is pending again) or ended. */
void reporter_session(struct reporter *r, bool up);
