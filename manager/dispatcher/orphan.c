#include "orphan.h"

#include "common/mem.h"
#include "common/str.h"
#include "manager/store/txn.h"
#include "manager/store/view.h"

/* INT64_MAX: not while things are as they are; else the wall clock time from which on it is one. */
static int64_t orphaned_at(const struct view *v, const pb_task *task, int64_t now, int64_t after_ns)
{
	int state = task->status ? (int)task->status->state : TASK_NEW;
	const pb_node *node;

	if (str_empty(task->node_id) || state < TASK_ASSIGNED || state > TASK_RUNNING)
		return INT64_MAX;
	node = view_node(v, task->node_id);
	if (!node)
		return now;
	if (!node->status || node->status->state != (Skein__NodeState)NODE_DOWN)
		return INT64_MAX;
	return node->status->since + after_ns;
}

static void stage(struct txn *t, const struct view *v, const pb_task *orphan, int64_t now)
{
	bool removed = !view_node(v, orphan->node_id);
	pb_task *task = txn_edit(t, KIND_TASK, orphan->id);

	task->status->state = (Skein__TaskState)TASK_ORPHANED;
	task->status->at = now;
	pb_set_str(&task->status->message, "orphaned");
	pb_set_str(&task->status->err,
		   removed ? "its node was removed" : "its node has been down for too long");
	txn_put(t, KIND_TASK, task);
}

size_t orphan_plan(struct txn *t, const struct view *v, int64_t now, int64_t after_ns, size_t max,
		   int64_t *ret_next)
{
	_cleanup_free_ const void **tasks = NULL;
	size_t n, staged = 0;

	*ret_next = INT64_MAX;
	tasks = view_list(v, KIND_TASK, &n);
	for (size_t i = 0; i < n; i++) {
		int64_t at = orphaned_at(v, tasks[i], now, after_ns);

		if (at <= now && staged < max) {
			stage(t, v, tasks[i], now);
			staged++;
		} else {
			*ret_next = MIN(*ret_next, MAX(at, now));
		}
	}
	return staged;
}
