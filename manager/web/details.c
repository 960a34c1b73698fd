/* One object, whole, for the panel: asked for when somebody opens it. Environments, commands and credentials are not told. */
#include "internal.h"
#include "text.h"

#include "common/clock.h"
#include "common/mem.h"
#include "manager/store/plan.h"
#include "manager/store/view.h"

#include <stdlib.h>
#include <string.h>

#define HISTORY_MAX 50

static json_t *labels_json(pb_kv *const *labels, size_t n)
{
	json_t *list = json_array();

	for (size_t i = 0; i < n; i++)
		json_array_append_new(list, json_pack("[o,o]", text_json(labels[i]->key), text_json(labels[i]->value)));
	return list;
}

static json_t *strings_json(char *const *strings, size_t n)
{
	json_t *list = json_array();

	for (size_t i = 0; i < n; i++)
		json_array_append_new(list, text_json(strings[i]));
	return list;
}

static json_t *time_json(int64_t ns)
{
	return ns > 0 ? json_integer(ns / NS_PER_MS) : json_null();
}

static json_t *resources_json(const pb_resources *r)
{
	return r ? json_pack("{s:I,s:I,s:I}", "cpu", (json_int_t)r->cpu_nano, "mem", (json_int_t)r->mem_bytes, "pids",
			     (json_int_t)r->pids)
		 : json_null();
}

/* The object of "?id="; NULL: refused and answered. */
static const void *wanted_object(struct web *w, struct http_request *req, enum kind kind)
{
	const char *id = http_query(req, "id");
	const void *obj;

	if (!sign_check(w, req))
		return NULL;
	obj = str_empty(id) ? NULL : view_get(w->view, kind, id);
	if (!obj)
		web_refuse(req, 404, "there is no such %s any more", kind_info(kind)->name);
	return obj;
}

/* ---------------------------------------------------------------- node */

/* What the tasks on a node have reserved. */
static json_t *reserved_json(const struct view *v, const char *node_id)
{
	_cleanup_free_ const pb_task **tasks = NULL;
	pb_resources sum = SKEIN__RESOURCES__INIT;
	size_t n;

	tasks = view_tasks_of_node(v, node_id, &n);
	for (size_t i = 0; i < n; i++) {
		const Skein__ResourceRequirements *r = tasks[i]->spec ? tasks[i]->spec->resources : NULL;

		if (!task_on_node(tasks[i]) || !r || !r->reservations)
			continue;
		sum.cpu_nano += r->reservations->cpu_nano;
		sum.mem_bytes += r->reservations->mem_bytes;
	}
	return resources_json(&sum);
}

void details_node(struct web *w, struct http_request *req)
{
	const pb_node *node = wanted_object(w, req, KIND_NODE);
	const pb_node_description *d = node ? node->description : NULL;
	json_t *o;

	if (!node)
		return;
	o = json_object();
	text_set(o, "id", node->id);
	json_object_set_new(o, "created", time_json(node->meta ? node->meta->created_at : 0));
	json_object_set_new(o, "labels", labels_json(node->spec ? node->spec->labels : NULL,
						     node->spec ? node->spec->n_labels : 0));
	json_object_set_new(o, "reserved", reserved_json(w->view, node->id));
	json_object_set_new(o, "certificate", time_json(node->cert_expires_at));
	if (node->manager)
		text_set(o, "manager", node->manager->address);
	if (d) {
		text_set(o, "hostname", d->hostname);
		text_set(o, "os", d->os_name);
		text_set(o, "kernel", d->kernel);
		text_set(o, "arch", d->arch);
		text_set(o, "version", d->agent_version);
		json_object_set_new(o, "capacity", resources_json(d->capacity));
		json_object_set_new(o, "images", json_integer((json_int_t)d->n_images));
	}
	web_answer_json(req, 200, o);
}

/* ---------------------------------------------------------------- service */

static json_t *ports_json(const pb_service *service)
{
	const pb_endpoint *endpoint = service->endpoint;
	json_t *list = json_array();

	for (size_t i = 0; endpoint && i < endpoint->n_ports; i++) {
		const pb_port *port = endpoint->ports[i];

		json_array_append_new(list, json_pack("[i,i,o,s]", (int)port->published, (int)port->target,
						      text_json(port->protocol),
						      port->mode == PUBLISH_HOST ? "host" : "ingress"));
	}
	return list;
}

static json_t *network_names(const struct view *v, const pb_task_spec *task)
{
	json_t *list = json_array();

	for (size_t i = 0; i < task->n_networks; i++) {
		const pb_attachment_config *config = task->networks[i];
		const pb_network *network = view_network(v, config->network_id);

		json_array_append_new(list, text_json(network && network->spec ? network->spec->name : config->network_name));
	}
	return list;
}

void details_service(struct web *w, struct http_request *req)
{
	const pb_service *service = wanted_object(w, req, KIND_SERVICE);
	const pb_task_spec *task;
	json_t *o;

	if (!service)
		return;
	task = service_task_spec(service);
	o = json_object();
	text_set(o, "id", service->id);
	json_object_set_new(o, "created", time_json(service->meta ? service->meta->created_at : 0));
	json_object_set_new(o, "updated", time_json(service->meta ? service->meta->updated_at : 0));
	json_object_set_new(o, "labels", labels_json(service->spec->labels, service->spec->n_labels));
	json_object_set_new(o, "ports", ports_json(service));
	if (task) {
		json_object_set_new(o, "networks", network_names(w->view, task));
		if (task->container)
			text_set(o, "digest", task->container->image_digest);
		if (task->placement)
			json_object_set_new(o, "constraints",
					    strings_json(task->placement->constraints, task->placement->n_constraints));
		if (task->resources) {
			json_object_set_new(o, "limits", resources_json(task->resources->limits));
			json_object_set_new(o, "reservations", resources_json(task->resources->reservations));
		}
	}
	web_answer_json(req, 200, o);
}

/* ---------------------------------------------------------------- task */

static json_t *short_task(const struct view *v, const pb_task *task)
{
	const pb_node *node = view_node(v, task->node_id);
	const pb_task_status *s = task->status;
	json_t *o = json_object();

	text_set(o, "id", task->id);
	text_set(o, "node", node ? pb_node_name(node) : task->node_id);
	json_object_set_new(o, "state", json_integer(task_state(task)));
	json_object_set_new(o, "desired", json_integer(task->desired));
	json_object_set_new(o, "created", time_json(task_created_at(task)));
	if (s) {
		json_object_set_new(o, "since", time_json(s->at));
		text_set(o, "message", s->message);
		text_set(o, "error", s->err);
		if (s->exit_code)
			json_object_set_new(o, "exit", json_integer(s->exit_code));
	}
	return o;
}

static bool same_slot(const pb_task *a, const pb_task *b)
{
	return a->slot == b->slot && (a->slot || str_eq(a->node_id, b->node_id));
}

/* What was and is in its slot, newest first. */
static json_t *history_json(const struct view *v, const pb_task *task)
{
	_cleanup_free_ const pb_task **tasks = NULL;
	json_t *list = json_array();
	size_t n;

	tasks = view_tasks_of_service(v, task->service_id, &n);
	while (n-- > 0 && json_array_size(list) < HISTORY_MAX)
		if (same_slot(tasks[n], task))
			json_array_append_new(list, short_task(v, tasks[n]));
	return list;
}

static json_t *addresses_json(const struct view *v, const pb_task *task)
{
	json_t *list = json_array();

	for (size_t i = 0; i < task->n_networks; i++) {
		const pb_attachment *a = task->networks[i];
		const pb_network *network = view_network(v, a->network_id);

		json_array_append_new(list, json_pack("[o,o]",
						      text_json(network && network->spec ? network->spec->name : a->network_id),
						      text_json(str_empty(a->ipv4) ? a->ipv6 : a->ipv4)));
	}
	return list;
}

static json_t *health_json(const Skein__TaskHealth *health)
{
	json_t *o = json_pack("{s:i,s:i,s:o}", "state", (int)health->state, "streak", (int)health->failing_streak, "at",
			      time_json(health->checked_at));

	text_set(o, "output", health->output);
	return o;
}

void details_task(struct web *w, struct http_request *req)
{
	const pb_task *task = wanted_object(w, req, KIND_TASK);
	const pb_container_spec *container;
	json_t *o;

	if (!task)
		return;
	container = task->spec ? task->spec->container : NULL;
	o = short_task(w->view, task);
	if (container) {
		text_set(o, "image", container->image);
		text_set(o, "digest", container->image_digest);
		json_object_set_new(o, "labels", labels_json(container->labels, container->n_labels));
	}
	if (task->spec && task->spec->resources)
		json_object_set_new(o, "limits", resources_json(task->spec->resources->limits));
	if (task->status) {
		text_set(o, "container", task->status->container_id);
		if (task->status->health)
			json_object_set_new(o, "health", health_json(task->status->health));
	}
	json_object_set_new(o, "addresses", addresses_json(w->view, task));
	json_object_set_new(o, "history", history_json(w->view, task));
	web_answer_json(req, 200, o);
}
