#include "orchestrator.h"

#include "global.h"
#include "replicated.h"

#include "common/mem.h"

static void remove_tasks(struct plan *p, const char *service_id)
{
	_cleanup_free_ const pb_task **tasks = NULL;
	size_t n;

	tasks = view_tasks_of_service(p->view, service_id, &n);
	for (size_t i = 0; i < n; i++)
		if (!task_moving(p->view, tasks[i])) /* else when that was given up */
			plan_desire(p, tasks[i], TASK_REMOVE);
}

void orchestrator_plan(struct plan *p)
{
	for (struct idset_entry *e = p->scope.entries; e; e = e->hh.next) {
		const pb_service *service = view_service(p->view, e->id);

		if (!service)
			remove_tasks(p, e->id);
		else if (service_is_global(service))
			global_plan(p, service);
		else
			replicated_plan(p, service);
	}
}
