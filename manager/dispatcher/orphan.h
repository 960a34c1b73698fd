/*
 * orphan - tasks whose node will not say any more what became of them: it was removed, or is DOWN
 * for very long. Pure: view and time in, transaction out. The leader commits it.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

struct txn;
struct view;

/*
 * Stage ORPHANED for every such task, at most `max` of them.
 *   now, after_ns  wall clock; how long a node must be DOWN
 *   ret_next       wall clock time when more are due (INT64_MAX: none awaited; `now` when max was
 * reached) returns        the number staged
 */
size_t orphan_plan(struct txn *t, const struct view *v, int64_t now, int64_t after_ns, size_t max,
		   int64_t *ret_next);
