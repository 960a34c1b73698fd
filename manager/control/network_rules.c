#include "network_rules.h"

#include "common/error.h"
#include "common/ipaddr.h"
#include "common/mem.h"
#include "common/str.h"
#include "manager/store/plan.h"

#define NAMES_SHOWN 5

/* ---------------------------------------------------------------- create */

static const struct {
	const char *subnet, *what;
} reserved[] = {
	{"10.255.0.0/16", "the ingress network"},
	{"172.30.0.0/16", "the way of containers out of their node"},
	{"fd53:6b00::/64", "the way of containers out of their node"},
};

static int refuse_overlap(const char *subnet, const char *other, const char *whose, struct error *err)
{
	return error_set(err, ERR_EXISTS, "pools.subnet \"%.80s\": overlaps with %s of %s", subnet, other,
			 whose);
}

static int check_network(const char *text, const struct ipaddr *subnet, const pb_network *network,
			 pb_ipam_pool *const *pools, size_t n, struct error *err)
{
	struct ipaddr theirs;

	for (size_t i = 0; i < n; i++) {
		_cleanup_free_ char *whose = NULL;

		if (str_empty(pools[i]->subnet) ||
		    ipaddr_parse_subnet(pools[i]->subnet, &theirs, NULL) < 0 ||
		    !ipaddr_overlaps(&theirs, subnet))
			continue;
		whose = xasprintf("network '%s' (%s)", network->spec->name, network->id);
		return refuse_overlap(text, pools[i]->subnet, whose, err);
	}
	return 0;
}

/* A bridge in the host's namespace, and routes of containers, would take its address from the node. */
static int check_nodes(const struct view *v, const char *text, const struct ipaddr *subnet,
		       struct error *err)
{
	_cleanup_free_ const void **nodes = NULL;
	size_t n;

	nodes = view_list(v, KIND_NODE, &n);
	for (size_t i = 0; i < n; i++) {
		const pb_node *node = nodes[i];
		_cleanup_free_ char *whose = NULL;
		struct ipaddr addr;

		if (!node->status || ipaddr_parse(node->status->address, &addr, NULL) < 0 ||
		    !ipaddr_contains(subnet, &addr))
			continue;
		whose = xasprintf("node %s", node->id);
		return refuse_overlap(text, node->status->address, whose, err);
	}
	return 0;
}

static int check_pool(const struct view *v, const pb_network_spec *spec, const pb_ipam_pool *pool,
		      struct error *err)
{
	bool own_links = str_eq(spec->driver, "overlay") || str_eq(spec->driver, "bridge");
	_cleanup_free_ const void **networks = NULL;
	struct ipaddr subnet, other;
	size_t n;

	if (ipaddr_parse_subnet(pool->subnet, &subnet, err) < 0)
		return -1;
	for (size_t i = 0; i < ARRAY_SIZE(reserved); i++)
		if (ipaddr_parse_subnet(reserved[i].subnet, &other, NULL) == 0 &&
		    ipaddr_overlaps(&other, &subnet))
			return refuse_overlap(pool->subnet, reserved[i].subnet, reserved[i].what, err);
	networks = view_list(v, KIND_NETWORK, &n);
	for (size_t i = 0; i < n; i++) {
		const pb_network *network = networks[i];

		if (!network->spec)
			continue;
		if (check_network(pool->subnet, &subnet, network, network->pools, network->n_pools,
				  err) < 0 ||
		    check_network(pool->subnet, &subnet, network, network->spec->pools,
				  network->spec->n_pools, err) < 0)
			return -1;
	}
	return own_links ? check_nodes(v, pool->subnet, &subnet, err) : 0;
}

int network_rules_create(const struct view *v, const pb_network_spec *spec, struct error *err)
{
	const pb_network *same = view_network_by_name(v, spec->name);

	if (same)
		return error_set(err, ERR_EXISTS, "name \"%s\" is in use by network %s", spec->name,
				 same->id);
	for (size_t i = 0; i < spec->n_pools; i++)
		if (check_pool(v, spec, spec->pools[i], err) < 0)
			return -1;
	return 0;
}

/* ---------------------------------------------------------------- remove */

static bool spec_uses(const pb_service_spec *spec, const char *network_id)
{
	const pb_task_spec *task = spec ? spec->task : NULL;

	for (size_t i = 0; task && i < task->n_networks; i++)
		if (str_eq(task->networks[i]->network_id, network_id))
			return true;
	return false;
}

/* What it is being updated from may be wanted again. */
static bool may_roll_back(const pb_service *service)
{
	int state = service->update ? (int)service->update->state : SKEIN__UPDATE_STATE__UPDATE_NONE;

	return state == SKEIN__UPDATE_STATE__UPDATE_UPDATING ||
	       state == SKEIN__UPDATE_STATE__UPDATE_PAUSED ||
	       state == SKEIN__UPDATE_STATE__UPDATE_ROLLBACK_STARTED;
}

static int check_users(const struct view *v, const pb_network *network, struct error *err)
{
	_cleanup_strbuf_ struct strbuf names = {0};
	_cleanup_free_ const void **services = NULL;
	size_t n, users = 0;

	services = view_list(v, KIND_SERVICE, &n);
	for (size_t i = 0; i < n; i++) {
		const pb_service *s = services[i];
		bool now = spec_uses(s->spec, network->id);

		if (!now && !(may_roll_back(s) && spec_uses(s->previous_spec, network->id)))
			continue;
		if (users++ < NAMES_SHOWN)
			strbuf_printf(&names, "%s%s%s", users > 1 ? ", " : "", s->spec->name,
				      now ? "" : " (its update may be rolled back)");
	}
	if (!users)
		return 0;
	if (users > NAMES_SHOWN)
		strbuf_printf(&names, " and %zu more", users - NAMES_SHOWN);
	return error_set(err, ERR_PRECONDITION, "network %s is in use by service%s %s",
			 network->spec->name, users > 1 ? "s" : "", names.p);
}

/* Tasks of a node that is down are not waited for: it drops them when it is back. */
static size_t count_stopping(const struct view *v, const char *network_id)
{
	_cleanup_free_ const pb_task **tasks = NULL;
	size_t n, stopping = 0;

	tasks = view_tasks_of_network(v, network_id, &n);
	for (size_t i = 0; i < n; i++) {
		const pb_node *node = view_node(v, tasks[i]->node_id);

		stopping += task_on_node(tasks[i]) && node && node_state(node) != NODE_DOWN;
	}
	return stopping;
}

int network_rules_remove(const struct view *v, const pb_network *network, size_t *ret_stopping,
			 struct error *err)
{
	*ret_stopping = 0;
	if (network->predefined)
		return error_set(err, ERR_PRECONDITION,
				 "network %s is predefined: it cannot be removed", network->spec->name);
	if (check_users(v, network, err) < 0)
		return -1;
	*ret_stopping = count_stopping(v, network->id);
	return 0;
}
