/*
 * move - migrations as agents see them: what an end is told with its task, and what it says, judged against the view and
 * staged into a transaction. Plain data, no I/O. A report that is late, foreign or impossible is dropped: the agent would
 * only repeat it.
 */
#pragma once
#include "proto/pb.h"

#include <stdbool.h>
#include <stdint.h>

struct txn;
struct view;

#define MOVE_TEXT_MAX 1024 /* bytes of err and doing; the rest is cut off */
#define MOVE_ROUNDS_MAX 64 /* the newest */

/* What the agent of this task is told about its migration; NULL = it stays where it is. Heap. */
pb_migration_order *move_order(const struct view *v, const pb_task *task);

/* The orders of both ends are still what they were: nobody need be told. NULL = there is none. */
bool move_same_orders(const pb_migration *a, const pb_migration *b);

enum move_verdict {
	MOVE_TAKEN,
	MOVE_SAME,    /* says what the view has */
	MOVE_STALE,   /* behind the step that the end had reached */
	MOVE_UNKNOWN, /* no such migration, or it has not begun */
	MOVE_FOREIGN, /* the node is not that end */
	MOVE_INVALID,
};

enum move_verdict move_judge(const struct view *v, const char *node_id, const pb_migration_report *report);
/* Stage it if it holds. */
enum move_verdict move_stage(struct txn *t, const struct view *v, const char *node_id, const pb_migration_report *report);
