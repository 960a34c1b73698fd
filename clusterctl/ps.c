#include "ps.h"

#include "conn.h"
#include "ctl.h"
#include "values.h"
#include "values_port.h"

#include "common/clock.h"
#include "common/error.h"
#include "common/imageref.h"
#include "common/mem.h"
#include "proto/pb.h"

#include <string.h>

#define ERROR_SHOWN 30
#define SERVICES_NAMED 50

const struct list_field ps_fields[] = {
	{"ID", "ID"},
	{"Name", "NAME"},
	{"Image", "IMAGE"},
	{"Node", "NODE"},
	{"DesiredState", "DESIRED STATE"},
	{"CurrentState", "CURRENT STATE"},
	{"Error", "ERROR"},
	{"Ports", "PORTS"},
	{0},
};

const char *ps_state_text(int state)
{
	static const struct {
		int state;
		const char *text;
	} texts[] = {
		{TASK_NEW, "New"},
		{TASK_PENDING, "Pending"},
		{TASK_ASSIGNED, "Assigned"},
		{TASK_ACCEPTED, "Accepted"},
		{TASK_PREPARING, "Preparing"},
		{TASK_READY, "Ready"},
		{TASK_STARTING, "Starting"},
		{TASK_RUNNING, "Running"},
		{TASK_COMPLETE, "Complete"},
		{TASK_SHUTDOWN, "Shutdown"},
		{TASK_FAILED, "Failed"},
		{TASK_REJECTED, "Rejected"},
		{TASK_REMOVE, "Remove"},
		{TASK_ORPHANED, "Orphaned"},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(texts); i++)
		if (texts[i].state == state)
			return texts[i].text;
	return "Unknown";
}

char *ps_task_name(const pb_task *task)
{
	char name[PB_TASK_NAME_MAX];

	return xstrdup(pb_task_name(task, name));
}

static int64_t created_at(const pb_task *task)
{
	return task->meta ? task->meta->created_at : 0;
}

static bool same_slot(const pb_task *a, const pb_task *b)
{
	if (!str_eq(a->service_id, b->service_id) || a->slot != b->slot)
		return false;
	return a->slot > 0 || str_eq(a->node_id, b->node_id);
}

static int compare(const void *pa, const void *pb)
{
	const pb_task *a = *(pb_task *const *)pa, *b = *(pb_task *const *)pb;
	int r = strcmp(a->service_name, b->service_name);

	if (r == 0)
		r = strcmp(a->service_id, b->service_id);
	if (r == 0)
		r = (a->slot > b->slot) - (a->slot < b->slot);
	if (r == 0 && a->slot == 0)
		r = strcmp(a->node_id, b->node_id);
	/* the one that should run stands first, then the newest */
	if (r == 0)
		r = ((int)a->desired > TASK_RUNNING) - ((int)b->desired > TASK_RUNNING);
	if (r == 0)
		r = (created_at(b) > created_at(a)) - (created_at(b) < created_at(a));
	return r ? r : strcmp(a->id, b->id);
}

void ps_sort(pb_task **tasks, size_t n)
{
	if (n > 0)
		qsort(tasks, n, sizeof(*tasks), compare);
}

static char *image_text(const pb_task *task, bool no_trunc)
{
	const char *image = task->spec && task->spec->container ? task->spec->container->image : "";
	char buf[IMAGEREF_MAX];
	struct imageref ref;

	if (no_trunc && task->spec && task->spec->container &&
	    *task->spec->container->image_digest && !strchr(image, '@'))
		return xasprintf("%s@%s", image, task->spec->container->image_digest);
	if (imageref_parse(image, &ref, NULL) < 0)
		return xstrdup(image);
	if (!no_trunc && ref.tag[0])
		ref.digest[0] = '\0';
	return xstrdup(imageref_familiar(&ref, buf));
}

static char *state_since(const pb_task *task, int64_t now)
{
	const char *state = ps_state_text(task->status ? (int)task->status->state : TASK_NEW);
	_cleanup_free_ char *ago = text_ago(task->status ? task->status->at : 0, now);

	return xasprintf("%s%s%s", state, *ago ? " " : "", ago);
}

static char *error_text(const pb_task *task, bool no_trunc)
{
	const char *text = task->status ? task->status->err : "";
	struct strbuf out = {0};

	if (!*text)
		return xstrdup("");
	strbuf_putc(&out, '"');
	text_cut(&out, text, no_trunc ? TEXT_NO_LIMIT : ERROR_SHOWN);
	strbuf_putc(&out, '"');
	return strbuf_take(&out);
}

/* Ports of mode=host are where the task is; those of mode=ingress are everywhere: `service ls`. */
static char *host_ports(const pb_task *task, const Skein__ListServicesResponse *services)
{
	if (!task->status || (int)task->status->state != TASK_RUNNING)
		return xstrdup("");
	for (size_t i = 0; services && i < services->n_services; i++) {
		const pb_service *service = services->services[i]->service;

		if (service && service->endpoint && str_eq(service->id, task->service_id))
			return ports_text(service->endpoint->ports, service->endpoint->n_ports,
					  PUBLISH_HOST);
	}
	return xstrdup("");
}

static void add_task(struct listing *l, const pb_task *task, bool history, const char *node,
		     const char *ports, const struct list_flags *f, int64_t now)
{
	_cleanup_free_ char *name = f->no_resolve ? xasprintf("%s.%llu", task->service_id,
							      (unsigned long long)task->slot)
						  : ps_task_name(task);
	_cleanup_free_ char *image = image_text(task, f->no_trunc);
	_cleanup_free_ char *state = state_since(task, now);
	_cleanup_free_ char *error = error_text(task, f->no_trunc);
	char buf[TEXT_ID_SHOWN + 1];

	listing_cell(l, list_id(f, task->id, buf));
	listing_cellf(l, "%s%s", history ? " \\_ " : "", name);
	listing_cell(l, image);
	listing_cell(l, node);
	listing_cell(l, ps_state_text((int)task->desired));
	listing_cell(l, state);
	listing_cell(l, error);
	listing_cell(l, ports);
}

void ps_fill(struct listing *l, pb_task *const *tasks, size_t n, pb_kv *const *node_names,
	     size_t n_names, const Skein__ListServicesResponse *services,
	     const struct list_flags *f, int64_t now)
{
	for (size_t i = 0; i < n; i++) {
		const char *node =
			f->no_resolve ? NULL : pb_kv_get(node_names, n_names, tasks[i]->node_id);
		bool history = i > 0 && same_slot(tasks[i - 1], tasks[i]);
		_cleanup_free_ char *ports = host_ports(tasks[i], services);

		add_task(l, tasks[i], history, node ?: tasks[i]->node_id, ports, f, now);
	}
}

/* The services of the tasks, for their ports. NULL: not needed, or nobody answered (the list is worth
 * printing without). Tasks are sorted by service. */
static Skein__ListServicesResponse *get_services(struct ctl *ctl, const struct listing *l,
						 pb_task *const *tasks, size_t n)
{
	_cleanup_pb_ Skein__ListRequest *request = pb_new(&skein__list_request__descriptor);
	Skein__ListServicesResponse *reply = NULL;
	struct error err = ERROR_INIT;

	if (l->kind == LISTING_QUIET || n == 0)
		return NULL;
	for (size_t i = 0; i < n && request->n_filters <= SERVICES_NAMED; i++)
		if (i == 0 || !str_eq(tasks[i]->service_id, tasks[i - 1]->service_id))
			value_filter_add("id", tasks[i]->service_id, &request->n_filters,
					 &request->filters);
	/* many: all of them */
	if (request->n_filters > SERVICES_NAMED)
		while (request->n_filters > 0)
			pb_msgs_del(&request->n_filters, &request->filters, request->n_filters - 1);
	if (conn_call(ctl_conn(ctl), CONN_MANAGER, "ListServices", request, CONN_TIMEOUT_MS, &reply,
		      &err) < 0)
		return NULL;
	return reply;
}

enum ctl_exit ps_run(struct ctl *ctl, const struct verb *verb, const struct list_flags *f,
		     const struct strv *services, const struct strv *nodes, struct error *err)
{
	_cleanup_listing_ struct listing l = {0};
	_cleanup_pb_ Skein__ListTasksRequest *request =
		pb_new(&skein__list_tasks_request__descriptor);
	_cleanup_pb_ Skein__ListTasksResponse *reply = NULL;
	_cleanup_pb_ Skein__ListServicesResponse *owners = NULL;

	if (list_prepare(&l, verb, f, &request->n_filters, &request->filters, err) < 0)
		return CTL_USAGE;
	for (size_t i = 0; services && i < services->n; i++)
		pb_strs_add(&request->n_services, &request->services, services->v[i]);
	for (size_t i = 0; nodes && i < nodes->n; i++)
		pb_strs_add(&request->n_nodes, &request->nodes, nodes->v[i]);
	if (conn_call(ctl_conn(ctl), CONN_MANAGER, "ListTasks", request, CONN_TIMEOUT_MS, &reply,
		      err) < 0)
		return CTL_FAILED;
	ps_sort(reply->tasks, reply->n_tasks);
	owners = get_services(ctl, &l, reply->tasks, reply->n_tasks);
	ps_fill(&l, reply->tasks, reply->n_tasks, reply->node_names, reply->n_node_names, owners,
		f, clock_wall_ns());
	listing_print(&l, stdout);
	return CTL_OK;
}
