/*
 * status - what agents report about their tasks, judged against the view and staged into a
 * transaction. Plain data, no I/O. A report that is late, foreign or impossible is dropped and
 * counted, never an error: the agent would only repeat it.
 */
#pragma once
#include "proto/pb.h"

#include <stdint.h>

struct txn;
struct view;

#define STATUS_REPORTS_MAX 1000 /* in one message */
#define STATUS_TEXT_MAX 1024	/* bytes of message and err; the rest is cut off */
#define STATUS_HEALTH_OUTPUT_MAX 4096
#define STATUS_CONTAINER_ID_MAX 128

enum status_verdict {
	STATUS_TAKEN,
	STATUS_SAME,  /* says what the view has */
	STATUS_STALE, /* behind the state that the task has */
	STATUS_NO_TASK,
	STATUS_FOREIGN, /* the task is not on that node */
	STATUS_INVALID, /* a state that is not an agent's to set */
	STATUS_VERDICTS,
};

enum status_verdict status_judge(const struct view *v, const char *node_id,
				 const Skein__TaskStatusReport *report);

/*
 * Stage all reports of one message that hold (each sees those before it).
 *   now     wall clock, for a report without a time
 *   counts  incremented per verdict; may be NULL
 */
void status_stage(struct txn *t, const struct view *v, const char *node_id,
		  const Skein__StatusReports *reports, int64_t now,
		  uint64_t counts[static STATUS_VERDICTS]);
