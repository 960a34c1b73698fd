#include "netobj.h"

#include "common/mem.h"
#include "common/str.h"
#include "manager/store/plan.h"
#include "manager/store/view.h"

#include <inttypes.h>

#define LABEL_SCHEDULER "skein.lb.scheduler"
#define LABEL_WEIGHT "skein.lb.weight"

static const char *label(const pb_service *service, const char *key)
{
	const pb_service_spec *spec = service ? service->spec : NULL;

	return spec ? pb_kv_get(spec->labels, spec->n_labels, key) : NULL;
}

uint32_t netobj_service_weight(const pb_service *service)
{
	const char *text = label(service, LABEL_WEIGHT);
	uint64_t weight;

	if (!text || str_parse_u64(text, &weight, NULL) < 0 || !weight ||
	    weight > NETOBJ_WEIGHT_MAX)
		return 1;
	return (uint32_t)weight;
}

static bool is_ingress(const pb_port *port)
{
	return port->published && (int)port->mode == PUBLISH_INGRESS;
}

bool netobj_service_is_ingress(const pb_service *service)
{
	const pb_endpoint *endpoint = service ? service->endpoint : NULL;

	for (size_t i = 0; endpoint && i < endpoint->n_ports; i++)
		if (is_ingress(endpoint->ports[i]))
			return true;
	return false;
}

bool netobj_service_publishes(const pb_service *service)
{
	return service && service->endpoint && service->endpoint->n_ports > 0;
}

void netobj_service_networks(const pb_service *service, struct idset *out)
{
	const pb_task_spec *task = service && service->spec ? service->spec->task : NULL;
	const pb_endpoint *endpoint = service ? service->endpoint : NULL;

	for (size_t i = 0; task && i < task->n_networks; i++)
		idset_add(out, task->networks[i]->network_id);
	for (size_t i = 0; endpoint && i < endpoint->n_vips; i++)
		idset_add(out, endpoint->vips[i]->network_id);
}

bool netobj_task_counts(const pb_task *task)
{
	return !str_empty(task->node_id) && task_on_node(task);
}

pb_net_node *netobj_node(const pb_node *node)
{
	pb_net_node *out;

	if (!node || !node->index || !node->status || str_empty(node->status->address))
		return NULL;
	out = pb_new(&skein__net_node__descriptor);
	pb_set_str(&out->node_id, node->id);
	pb_set_str(&out->address, node->status->address);
	out->index = node->index;
	return out;
}

pb_network *netobj_network(const pb_network *network)
{
	pb_network bare;

	if (!network)
		return NULL;
	bare = *network;
	bare.meta = NULL;
	return pb_dup(&bare);
}

pb_net_service *netobj_service(const pb_service *service, const struct idset *networks)
{
	const pb_endpoint *endpoint = service ? service->endpoint : NULL;
	const pb_endpoint_spec *wanted;
	const char *scheduler = label(service, LABEL_SCHEDULER);
	pb_net_service *out;

	if (!service || !service->spec)
		return NULL;
	wanted = service->spec->endpoint;
	out = pb_new(&skein__net_service__descriptor);
	pb_set_str(&out->service_id, service->id);
	pb_set_str(&out->name, service->spec->name);
	out->mode = endpoint ? endpoint->mode : wanted ? wanted->mode : (Skein__EndpointMode)ENDPOINT_VIP;
	for (size_t i = 0; endpoint && i < endpoint->n_vips; i++)
		if (!networks || idset_has(networks, endpoint->vips[i]->network_id))
			pb_msgs_add(&out->n_vips, &out->vips, pb_dup(endpoint->vips[i]));
	for (size_t i = 0; endpoint && i < endpoint->n_ports; i++)
		if (endpoint->ports[i]->published)
			pb_msgs_add(&out->n_ports, &out->ports, pb_dup(endpoint->ports[i]));
	pb_set_str(&out->scheduler, str_empty(scheduler) ? "rr" : scheduler);
	return out;
}

static void set_name(pb_net_endpoint *out, const pb_task *task)
{
	_cleanup_free_ char *name = NULL;

	if (task->slot)
		name = xasprintf("%s.%" PRIu64, task->service_name, task->slot);
	else
		name = xasprintf("%s.%s", task->service_name, task->node_id);
	pb_set_str(&out->name, name);
}

/* Its agent is stopping it. */
static bool is_unhealthy(const pb_task *task)
{
	return task->status->health && task->status->health->state == HEALTH_UNHEALTHY;
}

bool netobj_is_switched(const pb_migration *migration)
{
	return migration && ((int)migration->phase == MIGRATION_SWITCH || (int)migration->phase == MIGRATION_MOVED);
}

enum end { END_NONE, END_SOURCE, END_TARGET };

static enum end end_of(const pb_migration *migration, const pb_task *task)
{
	if (migration && str_eq(migration->target_task, task->id))
		return END_TARGET;
	return migration && str_eq(migration->source_task, task->id) ? END_SOURCE : END_NONE;
}

static bool is_ready(const pb_task *task, bool taken_over)
{
	if ((int)task->desired != TASK_RUNNING || is_unhealthy(task))
		return false;
	/* What is restored goes on with connections that it has. */
	return taken_over ? task_state(task) <= TASK_RUNNING : task_state(task) == TASK_RUNNING;
}

pb_net_endpoint *netobj_endpoint(const struct view *v, const pb_task *task, const pb_service *service,
				 const struct idset *networks)
{
	const pb_migration *migration;
	pb_net_endpoint *out;
	enum end end;

	if (!task || !netobj_task_counts(task) ||
	    (!task->n_networks && !netobj_service_publishes(service)))
		return NULL;
	migration = str_empty(task->migration_id) ? NULL : view_migration(v, task->migration_id);
	end = end_of(migration, task);
	if (end != END_NONE && (end == END_TARGET) != netobj_is_switched(migration))
		return NULL;
	out = pb_new(&skein__net_endpoint__descriptor);
	pb_set_str(&out->task_id, task->id);
	pb_set_str(&out->service_id, task->service_id);
	set_name(out, task);
	pb_set_str(&out->node_id, task->node_id);
	for (size_t i = 0; i < task->n_networks; i++)
		if (!networks || idset_has(networks, task->networks[i]->network_id))
			pb_msgs_add(&out->n_networks, &out->networks, pb_dup(task->networks[i]));
	out->ready = is_ready(task, end == END_TARGET);
	pb_set_str(&out->migrated_from, task->migrated_from);
	out->weight = netobj_service_weight(service);
	return out;
}

/* FNV-1a. */
uint64_t netobj_fingerprint(const ProtobufCMessage *msg)
{
	size_t len = protobuf_c_message_get_packed_size(msg);
	_cleanup_free_ uint8_t *bytes = xmalloc(len);
	uint64_t hash = UINT64_C(0xcbf29ce484222325);

	protobuf_c_message_pack(msg, bytes);
	for (size_t i = 0; i < len; i++)
		hash = (hash ^ bytes[i]) * UINT64_C(0x100000001b3);
	return hash;
}
