#include "changes.h"

#include "allocator/rests.h"

#include "common/str.h"

#include <string.h>

struct noting {
	struct dirty *dirty;
	struct rests *rests;
	int64_t now;
};

/* ---- tasks */

/* A task on its way up, which no decision depends on. */
static bool is_rising(const pb_task *old, const pb_task *now)
{
	return old && now && old->desired == now->desired && task_state(old) >= TASK_ASSIGNED &&
	       task_state(now) < TASK_RUNNING && task_state(now) >= task_state(old);
}

static bool holds(const pb_task *task, const pb_attachment *address)
{
	if (!task || !task_holds_addresses(task))
		return false;
	for (size_t i = 0; i < task->n_networks; i++)
		if (str_eq(task->networks[i]->network_id, address->network_id) &&
		    str_eq(task->networks[i]->ipv4, address->ipv4) && str_eq(task->networks[i]->ipv6, address->ipv6))
			return true;
	return false;
}

static void came_free(const struct noting *n, const char *network_id, const char *ipv4, const char *ipv6)
{
	idset_add(&n->dirty->networks, network_id);
	if (!n->rests)
		return;
	rests_add(n->rests, network_id, ipv4, n->now);
	rests_add(n->rests, network_id, ipv6, n->now);
}

static void addresses_of_task(const struct noting *n, const pb_task *old, const pb_task *now)
{
	if (!old || !task_holds_addresses(old))
		return;
	for (size_t i = 0; i < old->n_networks; i++) {
		const pb_attachment *a = old->networks[i];

		if (!holds(now, a))
			came_free(n, a->network_id, a->ipv4, a->ipv6);
	}
}

static void on_task(const struct noting *n, const pb_task *old, const pb_task *now)
{
	if (is_rising(old, now))
		return;
	addresses_of_task(n, old, now);
	idset_add(&n->dirty->services, now ? now->service_id : old->service_id);
	if ((now && task_state(now) < TASK_ASSIGNED) ||
	    (old && task_on_node(old) && !(now && task_on_node(now))) ||
	    (old && now && old->desired != now->desired))
		n->dirty->schedule = true;
}

/* ---- nodes */

#define NETWORK_FEATURE "network."

/* What the kernel can do for networks, and whether containers can be moved; other features are for showing. */
static bool decides(const char *feature)
{
	return str_starts(feature, NETWORK_FEATURE) || str_eq(feature, "checkpoint") || str_eq(feature, "criu");
}

static bool features_cover(const pb_node_description *a, const pb_node_description *b)
{
	for (size_t i = 0; i < a->n_features; i++)
		if (decides(a->features[i]->key) &&
		    !str_eq(a->features[i]->value, pb_kv_get(b->features, b->n_features, a->features[i]->key)))
			return false;
	return true;
}

static bool descriptions_alike(const pb_node_description *a, const pb_node_description *b)
{
	if (!a || !b)
		return a == b;
	if (!str_eq(a->hostname, b->hostname) || !str_eq(a->os, b->os) ||
	    !str_eq(a->arch, b->arch) || !pb_equal(a->capacity, b->capacity) ||
	    a->n_engine_labels != b->n_engine_labels || !features_cover(a, b) || !features_cover(b, a))
		return false;
	for (size_t i = 0; i < a->n_engine_labels; i++)
		if (!pb_equal(a->engine_labels[i], b->engine_labels[i]))
			return false;
	return true;
}

/* Equal in all that decides where tasks run; images, for example, come and go all the time. */
static bool nodes_alike(const pb_node *a, const pb_node *b)
{
	return a->role == b->role && node_state(a) == node_state(b) && pb_equal(a->spec, b->spec) &&
	       str_eq(a->status ? a->status->address : "", b->status ? b->status->address : "") &&
	       descriptions_alike(a->description, b->description);
}

static void on_node(const struct noting *n, const pb_node *old, const pb_node *now)
{
	if (old && now && nodes_alike(old, now))
		return;
	idset_add(&n->dirty->nodes, now ? now->id : old->id);
	n->dirty->schedule = true;
}

/* ---- services */

static bool has_vip(const pb_endpoint *endpoint, const pb_vip *vip)
{
	for (size_t i = 0; endpoint && i < endpoint->n_vips; i++)
		if (pb_equal(endpoint->vips[i], vip))
			return true;
	return false;
}

static bool has_port(const pb_endpoint *endpoint, const pb_port *port)
{
	for (size_t i = 0; endpoint && i < endpoint->n_ports; i++)
		if (pb_equal(endpoint->ports[i], port))
			return true;
	return false;
}

static void on_service(const struct noting *n, const char *id, const pb_service *old, const pb_service *now)
{
	const pb_endpoint *had = old ? old->endpoint : NULL, *has = now ? now->endpoint : NULL;

	idset_add(&n->dirty->services, id);
	for (size_t i = 0; had && i < had->n_vips; i++)
		if (!has_vip(has, had->vips[i]))
			came_free(n, had->vips[i]->network_id, had->vips[i]->ipv4, had->vips[i]->ipv6);
	for (size_t i = 0; had && i < had->n_ports; i++) {
		if (has_port(has, had->ports[i]))
			continue;
		n->dirty->ports = true;
		n->dirty->schedule |= had->ports[i]->mode == PUBLISH_HOST;
	}
}

/* ---- the rest */

static void on_network(const struct noting *n, const char *id, const void *old, const void *now)
{
	idset_add(&n->dirty->networks, id);
	n->dirty->subnets |= !old || !now;
}

static bool says_something_new(const pb_migration_report *a, const pb_migration_report *b)
{
	if (!a || !b)
		return a != b;
	return a->step != b->step || !str_eq(a->err, b->err);
}

/* Reports of progress come many times a second: only what decides is looked at. */
static void on_migration(const struct noting *n, const pb_migration *old, const pb_migration *now)
{
	const pb_migration *any = now ? now : old;

	if (old && now && old->phase == now->phase && old->cancelled == now->cancelled && !says_something_new(old->source, now->source) &&
	    !says_something_new(old->target, now->target))
		return;
	n->dirty->migrations = true;
	/* The slot is the orchestrator's again, both nodes are like all others. */
	if (now && !migration_over(now))
		return;
	idset_add(&n->dirty->services, any->service_id);
	idset_add(&n->dirty->nodes, any->source_node);
	idset_add(&n->dirty->nodes, any->target_node);
	n->dirty->schedule = true;
}

static void on_cluster(const struct noting *n, const pb_cluster *old, const pb_cluster *now)
{
	/* The history limit and the address pools are all that is decided on here. */
	if (!old || !now || !pb_equal(old->spec, now->spec))
		n->dirty->all = true;
}

void changes_note(struct dirty *dirty, struct rests *rests, const struct store_event *e, int64_t now)
{
	struct noting n = {dirty, rests, now};

	switch (e->kind) {
	case KIND_TASK:
		on_task(&n, e->old, e->now);
		break;
	case KIND_NODE:
		on_node(&n, e->old, e->now);
		break;
	case KIND_SERVICE:
		on_service(&n, e->id, e->old, e->now);
		break;
	case KIND_NETWORK:
		on_network(&n, e->id, e->old, e->now);
		break;
	case KIND_CLUSTER:
		on_cluster(&n, e->old, e->now);
		break;
	case KIND_MIGRATION:
		on_migration(&n, e->old, e->now);
		break;
	case KIND_TOKEN:
	case KIND_UI_TOKEN:
	case KIND_COUNT:
		break;
	}
}
