#include "filters.h"
#include "internal.h"
#include "redact.h"
#include "resolve.h"

#include "common/error.h"
#include "common/mem.h"
#include "manager/store/store.h"
#include "rpc/rpc.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define REFS_MAX 100

static bool match_id(const struct view *v, const void *obj, const char *value)
{
	return str_starts(((const pb_task *)obj)->id, value);
}

static bool match_name(const struct view *v, const void *obj, const char *value)
{
	char name[PB_TASK_NAME_MAX];

	return str_starts(pb_task_name(obj, name), value);
}

static bool match_node(const struct view *v, const void *obj, const char *value)
{
	const pb_task *task = obj;
	const pb_node *node = view_node(v, task->node_id);

	if (str_empty(task->node_id))
		return false;
	return str_starts(task->node_id, value) || (node && str_eq(pb_node_name(node), value));
}

static bool match_service(const struct view *v, const void *obj, const char *value)
{
	const pb_task *task = obj;

	return str_starts(task->service_id, value) || str_eq(task->service_name, value);
}

/* Docker's three groups. */
static bool match_desired(const struct view *v, const void *obj, const char *value)
{
	int desired = (int)((const pb_task *)obj)->desired;
	const char *group = desired > TASK_RUNNING    ? "shutdown"
			    : desired == TASK_RUNNING ? "running"
						      : "accepted";

	return str_eq(group, value);
}

static bool match_label(const struct view *v, const void *obj, const char *value)
{
	const pb_task *task = obj;

	return filters_label(task->service_labels, task->n_service_labels, value);
}

static const struct filter_key task_filters[] = {
	{"id", match_id, NULL},
	{"name", match_name, NULL},
	{"node", match_node, NULL},
	{"service", match_service, NULL},
	{"label", match_label, NULL},
	{"desired-state", match_desired, "running|shutdown|accepted"},
	{0},
};

/* The objects that the refs of a request mean. */
struct scope {
	const pb_service *services[REFS_MAX];
	const pb_node *nodes[REFS_MAX];
};

static int resolve_scope(const struct view *v, const Skein__ListTasksRequest *request,
			 struct scope *ret, struct error *err)
{
	if (request->n_services > REFS_MAX || request->n_nodes > REFS_MAX)
		return error_set(err, ERR_INVALID, "%zu services, %zu nodes: at most %d each",
				 request->n_services, request->n_nodes, REFS_MAX);
	for (size_t i = 0; i < request->n_services; i++) {
		ret->services[i] = resolve_service(v, request->services[i], err);
		if (!ret->services[i])
			return -1;
	}
	for (size_t i = 0; i < request->n_nodes; i++) {
		ret->nodes[i] = resolve_node(v, request->nodes[i], err);
		if (!ret->nodes[i])
			return -1;
	}
	return 0;
}

static bool in_scope(const struct scope *scope, const Skein__ListTasksRequest *request,
		     const pb_task *task)
{
	bool service = !request->n_services, node = !request->n_nodes;

	for (size_t i = 0; i < request->n_services && !service; i++)
		service = str_eq(scope->services[i]->id, task->service_id);
	for (size_t i = 0; i < request->n_nodes && !node; i++)
		node = str_eq(scope->nodes[i]->id, task->node_id);
	return service && node;
}

/* All tasks that can be in the answer: of one service its own, in the order of slots. */
static const pb_task **candidates(const struct view *v, const Skein__ListTasksRequest *request,
				  const struct scope *scope, size_t *ret_n)
{
	if (request->n_services == 1)
		return view_tasks_of_service(v, scope->services[0]->id, ret_n);
	if (request->n_nodes == 1)
		return view_tasks_of_node(v, scope->nodes[0]->id, ret_n);
	return (const pb_task **)view_list(v, KIND_TASK, ret_n);
}

void step_list_tasks(struct req *r)
{
	const Skein__ListTasksRequest *request = r->msg;
	Skein__ListTasksResponse response = SKEIN__LIST_TASKS_RESPONSE__INIT;
	_cleanup_redact_ struct redact redact = {0};
	_cleanup_free_ const pb_task **tasks = NULL;
	struct view *v = control_view(r->c);
	struct error err = ERROR_INIT;
	struct scope scope;
	size_t n;

	if (filters_check(task_filters, request->filters, request->n_filters, &err) < 0 ||
	    resolve_scope(v, request, &scope, &err) < 0) {
		req_fail(r, &err);
		return;
	}
	tasks = candidates(v, request, &scope, &n);
	response.tasks = redact_alloc(&redact, n * sizeof(*response.tasks));
	for (size_t i = 0; i < n; i++)
		if (in_scope(&scope, request, tasks[i]) &&
		    filters_pass(task_filters, request->filters, request->n_filters, v, tasks[i]))
			response.tasks[response.n_tasks++] = redact_task(&redact, tasks[i]);
	redact_node_names(&redact, v, &response.n_node_names, &response.node_names);
	req_reply_bounded(r, &response.base, "tasks");
}

void step_get_task(struct req *r)
{
	const Skein__RefRequest *request = r->msg;
	Skein__TaskResponse response = SKEIN__TASK_RESPONSE__INIT;
	_cleanup_redact_ struct redact redact = {0};
	struct error err = ERROR_INIT;
	const pb_task *task = resolve_task(control_view(r->c), request->ref, &err);

	if (!task) {
		req_fail(r, &err);
		return;
	}
	response.task = redact_task(&redact, task);
	req_reply(r, &response);
}
