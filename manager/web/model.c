#include "model.h"
#include "text.h"

#include "common/clock.h"
#include "common/str.h"
#include "manager/store/plan.h"

static void set_time(json_t *object, const char *member, int64_t ns)
{
	if (ns > 0)
		json_object_set_new(object, member, json_integer(ns / NS_PER_MS));
}

static void set_number(json_t *object, const char *member, int64_t value)
{
	if (value)
		json_object_set_new(object, member, json_integer(value));
}

json_t *model_node(const pb_node *node, uint32_t num, bool leads)
{
	const pb_resources *capacity = node->description ? node->description->capacity : NULL;
	json_t *o = json_object();

	json_object_set_new(o, "n", json_integer(num));
	text_set(o, "id", node->id);
	text_set(o, "name", pb_node_name(node));
	set_number(o, "role", node->role);
	if (leads)
		json_object_set_new(o, "leads", json_true());
	set_number(o, "state", node_state(node));
	set_number(o, "availability", node_availability(node));
	if (node->status) {
		text_set(o, "address", node->status->address);
		text_set(o, "message", node->status->message);
		set_time(o, "since", node->status->since);
	}
	set_number(o, "cpu", capacity ? capacity->cpu_nano : 0);
	set_number(o, "mem", capacity ? capacity->mem_bytes : 0);
	return o;
}

static json_t *update_of(const pb_update_status *status)
{
	json_t *o = json_object();

	json_object_set_new(o, "state", json_integer(status->state));
	text_set(o, "message", status->message);
	set_time(o, "since", status->started_at);
	return o;
}

json_t *model_service(const pb_service *service, uint32_t num, uint64_t want)
{
	const pb_task_spec *task = service_task_spec(service);
	json_t *o = json_object();

	json_object_set_new(o, "n", json_integer(num));
	text_set(o, "id", service->id);
	text_set(o, "name", service->spec ? service->spec->name : "");
	text_set(o, "image", task && task->container ? task->container->image : "");
	if (service_is_global(service))
		json_object_set_new(o, "global", json_true());
	set_number(o, "want", (int64_t)want);
	if (service->update && service->update->state)
		json_object_set_new(o, "update", update_of(service->update));
	return o;
}

json_t *model_task(const pb_task *task, uint32_t service_num, uint32_t node_num)
{
	const pb_task_status *status = task->status;
	json_t *a = json_array();

	json_array_append_new(a, text_json(task->id));
	json_array_append_new(a, json_integer(service_num));
	json_array_append_new(a, json_integer(node_num));
	json_array_append_new(a, json_integer((json_int_t)task->slot));
	json_array_append_new(a, json_integer(task_state(task)));
	json_array_append_new(a, json_integer(task->desired));
	json_array_append_new(a, json_integer(status ? status->at / NS_PER_MS : 0));
	if (status && !str_empty(status->err))
		json_array_append_new(a, text_json(status->err));
	return a;
}

/* ---- differences; references are those of both */

static bool differ(json_t *a, json_t *b)
{
	bool same = json_equal(a, b);

	json_decref(a);
	json_decref(b);
	return !same;
}

bool model_node_differs(const pb_node *a, const pb_node *b)
{
	return differ(model_node(a, 0, false), model_node(b, 0, false));
}

/* Of a replicated service the number of replicas counts; a global one's wish comes from the nodes. */
static uint64_t replicas(const pb_service *service)
{
	return service_is_global(service) || !service->spec || !service->spec->replicated
		       ? 0 : service->spec->replicated->replicas;
}

bool model_service_differs(const pb_service *a, const pb_service *b)
{
	return differ(model_service(a, 0, replicas(a)), model_service(b, 0, replicas(b)));
}

bool model_task_differs(const pb_task *a, const pb_task *b)
{
	return !str_eq(a->service_id, b->service_id) || !str_eq(a->node_id, b->node_id) ||
	       differ(model_task(a, 0, 0), model_task(b, 0, 0));
}
