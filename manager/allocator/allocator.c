#include "allocator.h"

#include "manager/store/plan.h"

#include "common/mem.h"
#include "common/str.h"

#include <string.h>

static bool network_known(const char *network)
{
	return str_empty(network) || str_eq(network, "host") || str_eq(network, "none");
}

static void allocate(struct plan *p, const pb_task *task)
{
	const char *network = task->spec ? task->spec->network : NULL;
	_cleanup_free_ char *err = NULL;
	pb_task *copy;

	if (!network_known(network))
		err = xasprintf("network \"%s\" is not there (known: host, none)", network);
	if (err && task->status && str_eq(task->status->err, err))
		return;
	copy = plan_edit(p, task);
	if (err)
		plan_status(p, copy, TASK_NEW, "waiting for network", err);
	else
		plan_status(p, copy, TASK_PENDING, "pending task scheduling", NULL);
	plan_put(p, copy);
}

void allocator_plan(struct plan *p)
{
	_cleanup_free_ const pb_task **tasks = NULL;
	size_t n;

	tasks = view_tasks_unassigned(p->view, &n);
	for (size_t i = 0; i < n; i++)
		if (task_state(tasks[i]) == TASK_NEW)
			allocate(p, tasks[i]);
}
