#include "discovery.h"

#include "common/hostport.h"
#include "common/mem.h"
#include "common/metrics/metrics.h"
#include "common/str.h"
#include "manager/store/view.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#define META "__meta_skein_"

/* ---- labels */

static void put(json_t *labels, const char *name, const char *value)
{
	/* The library takes UTF-8 only; names and labels are checked to be that when they come in. */
	if (!str_empty(value))
		json_object_set_new(labels, name, json_string(value));
}

static void put_labels(json_t *labels, const char *prefix, pb_kv *const *kvs, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		_cleanup_free_ char *name = metrics_label_name(prefix, kvs[i]->key);

		json_object_set_new(labels, name, json_string(kvs[i]->value));
	}
}

static void put_node(json_t *labels, const pb_node *node)
{
	put(labels, META "node_id", node->id);
	put(labels, META "node_name", pb_node_name(node));
	put(labels, META "node_role", pb_role_name((int)node->role));
	put(labels, META "node_availability", pb_availability_name(node->spec ? (int)node->spec->availability : 0));
	put(labels, META "node_address", node->status ? node->status->address : NULL);
	if (node->description) {
		put(labels, META "node_arch", node->description->arch);
		put_labels(labels, META "engine_label_", node->description->engine_labels, node->description->n_engine_labels);
	}
	if (node->spec)
		put_labels(labels, META "node_label_", node->spec->labels, node->spec->n_labels);
}

/* Takes the labels over. */
static void add_target(json_t *list, const char *host, unsigned port, json_t *labels)
{
	struct hostport hp = {.port = (uint16_t)port};
	char text[HOSTPORT_MAX];

	snprintf(hp.host, sizeof(hp.host), "%s", host);
	json_array_append_new(list, json_pack("{s:[s], s:o}", "targets", hostport_format(&hp, text), "labels", labels));
}

/* ---- agents and managers */

static bool port_of(const char *text, uint64_t *ret)
{
	return str_parse_u64(text, ret, NULL) == 0 && *ret >= 1 && *ret <= 65535;
}

static void add_daemon(json_t *list, const pb_node *node, const char *feature, const char *role, const char *cluster)
{
	const char *where = node->description ? pb_kv_get(node->description->features, node->description->n_features, feature)
					      : NULL;
	const char *colon = where ? strchr(where, ':') : NULL;
	_cleanup_free_ char *scheme = colon ? xstrndup(where, (size_t)(colon - where)) : NULL;
	json_t *labels;
	uint64_t port;

	if (!colon || !port_of(colon + 1, &port) || (!str_eq(scheme, "http") && !str_eq(scheme, "https")) || !node->status ||
	    str_empty(node->status->address))
		return;
	labels = json_object();
	put(labels, "__scheme__", scheme);
	put(labels, META "role", role);
	put(labels, META "cluster", cluster);
	put_node(labels, node);
	add_target(list, node->status->address, (unsigned)port, labels);
}

/* ---- tasks */

/* A label of the container, else of the service. */
static const char *label_of(const pb_task *task, const char *key)
{
	const pb_container_spec *container = task->spec ? task->spec->container : NULL;
	const char *value = container ? pb_kv_get(container->labels, container->n_labels, key) : NULL;

	return value ? value : pb_kv_get(task->service_labels, task->n_service_labels, key);
}

static bool runs(const pb_task *task)
{
	return task->status && (int)task->status->state == TASK_RUNNING && (int)task->desired <= TASK_RUNNING;
}

/* The port of the host by which exactly this task is reached; 0 = none. */
static unsigned host_port(const struct view *v, const pb_task *task, uint64_t port)
{
	const pb_service *service = view_service(v, task->service_id);
	const pb_endpoint *endpoint = service ? service->endpoint : NULL;

	if (task->spec && str_eq(task->spec->network, "host"))
		return (unsigned)port;
	for (size_t i = 0; endpoint && i < endpoint->n_ports; i++) {
		const pb_port *p = endpoint->ports[i];

		if (p->mode == PUBLISH_HOST && p->target == port && str_eq(p->protocol, "tcp"))
			return p->published;
	}
	return 0;
}

static const char *network_name(const struct view *v, const char *id)
{
	const pb_network *network = view_network(v, id);

	return network && network->spec ? network->spec->name : "";
}

/* Its address in the network that a label names, else in the first that is not the ingress one; without the prefix length. */
static bool overlay_address(const struct view *v, const pb_task *task, char ret[static 64], const char **ret_network)
{
	const char *wanted = label_of(task, "prometheus.network");

	for (size_t i = 0; i < task->n_networks; i++) {
		const pb_attachment *a = task->networks[i];
		const pb_network *network = view_network(v, a->network_id);
		const char *address = *a->ipv4 ? a->ipv4 : a->ipv6;

		if (!network || !*address || (wanted && !str_eq(network_name(v, a->network_id), wanted)) ||
		    (!wanted && network->spec && network->spec->ingress))
			continue;
		snprintf(ret, 64, "%.*s", (int)strcspn(address, "/"), address);
		*ret_network = network_name(v, a->network_id);
		return true;
	}
	return false;
}

static json_t *task_labels(const struct view *v, const pb_task *task, const pb_node *node, const char *network)
{
	const pb_container_spec *container = task->spec ? task->spec->container : NULL;
	json_t *labels = json_object();
	char name[PB_TASK_NAME_MAX], slot[24];

	snprintf(slot, sizeof(slot), "%" PRIu64, task->slot);
	put(labels, "__metrics_path__", label_of(task, "prometheus.path"));
	put(labels, "__scheme__", label_of(task, "prometheus.scheme"));
	put(labels, META "role", "task");
	put(labels, META "cluster", view_cluster(v) ? view_cluster(v)->id : NULL);
	put(labels, META "job", label_of(task, "prometheus.job") ?: task->service_name);
	put(labels, META "service_id", task->service_id);
	put(labels, META "service_name", task->service_name);
	put(labels, META "task_id", task->id);
	put(labels, META "task_name", pb_task_name(task, name));
	put(labels, META "task_slot", slot);
	put(labels, META "container_id", task->status->container_id);
	put(labels, META "network_name", network);
	put_labels(labels, META "service_label_", task->service_labels, task->n_service_labels);
	if (container) {
		put(labels, META "image", container->image);
		put_labels(labels, META "container_label_", container->labels, container->n_labels);
	}
	put_node(labels, node);
	return labels;
}

struct adding {
	const struct view *v;
	json_t *list;
};

static void add_task(void *data, const void *obj)
{
	const struct adding *a = data;
	const pb_task *task = obj;
	const char *text = label_of(task, "prometheus.port"), *network = "";
	const pb_node *node = view_node(a->v, task->node_id);
	char address[64];
	unsigned published;
	uint64_t port;

	if (!text || !runs(task) || !node || !port_of(text, &port))
		return;
	published = host_port(a->v, task, port);
	if (published && node->status && *node->status->address)
		add_target(a->list, node->status->address, published, task_labels(a->v, task, node, ""));
	else if (overlay_address(a->v, task, address, &network))
		add_target(a->list, address, (unsigned)port, task_labels(a->v, task, node, network));
}

char *discovery_json(const struct view *v)
{
	const char *cluster = view_cluster(v) ? view_cluster(v)->id : "";
	_cleanup_free_ const void **nodes = NULL;
	struct adding adding = {v, json_array()};
	char *text;
	size_t n;

	nodes = view_list(v, KIND_NODE, &n);
	for (size_t i = 0; i < n; i++) {
		const pb_node *node = nodes[i];

		add_daemon(adding.list, node, DISCOVERY_AGENT, "agent", cluster);
		if (node->manager)
			add_daemon(adding.list, node, DISCOVERY_MANAGER, "manager", cluster);
	}
	view_each(v, KIND_TASK, add_task, &adding);
	text = json_dumps(adding.list, JSON_COMPACT);
	json_decref(adding.list);
	return text ? text : xstrdup("[]");
}
