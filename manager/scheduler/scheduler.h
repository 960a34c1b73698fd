/*
 * scheduler - put PENDING tasks on nodes: filter, rank, ASSIGNED; or say why not.
 *
 * Tasks of one service version are placed together. Tasks that are bound to a node (global
 * services) are checked first. No running task is ever moved. A task that fits nowhere stays
 * PENDING with the reason in its status; a reason that only changed is written again after
 * SCHEDULER_REWRITE_NS at the earliest.
 */
#pragma once
#include "proto/pb.h"

#include <stdbool.h>
#include <stdint.h>

struct plan;
struct view;

#define SCHEDULER_REWRITE_NS INT64_C(10000000000)

void scheduler_plan(struct plan *p);

/*
 * Why a task may or may not run on each node, in order of node ids. The task itself does not count
 * as load. filter  name of the filter that refuses; "" when the node fits reason  "insufficient
 * memory (asked 4GiB, free 1.2GiB)"; "" when it fits. Valid during the callback.
 */
typedef void (*scheduler_verdict_cb)(void *data, const pb_node *node, bool fits, const char *filter,
				     const char *reason);
void scheduler_explain(const struct view *view, const pb_task *task, int64_t now,
		       scheduler_verdict_cb cb, void *data);

/* Of struct plan: a node for one task that is not in the view yet, all that is staged counted. NULL: *ret_why, yours. */
const pb_node *scheduler_place(struct plan *p, const pb_task *task, const char *want_node, char **ret_why);
