#include "network_uses.h"
#include "internal.h"
#include "redact.h"

#include "common/ipaddr.h"
#include "common/mem.h"
#include "common/str.h"
#include "manager/store/plan.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

struct uses {
	const struct view *view;
	const pb_network *network;
	struct redact *redact;
	Skein__NetworkUse **v;
	size_t n, cap;
};

static char *keep(struct uses *u, const char *text)
{
	size_t size = strlen(text) + 1;

	return memcpy(redact_alloc(u->redact, size), text, size);
}

static Skein__NetworkUse *use_add(struct uses *u, const char *kind, const char *name, const char *id)
{
	Skein__NetworkUse *use = redact_alloc(u->redact, sizeof(*use));

	*use = (Skein__NetworkUse)SKEIN__NETWORK_USE__INIT;
	use->kind = (char *)kind;
	use->name = (char *)name;
	use->id = (char *)id;
	if (u->n == u->cap) {
		u->cap = u->cap ? 2 * u->cap : 64;
		u->v = xreallocarray(u->v, u->cap, sizeof(*u->v));
	}
	return u->v[u->n++] = use;
}

static void set_node(struct uses *u, Skein__NetworkUse *use, const char *node_id)
{
	const pb_node *node = view_node(u->view, node_id);

	use->node_id = (char *)node_id;
	use->node_name = (char *)(node ? pb_node_name(node) : node_id);
}

/* Without a prefix length: it is the subnet's. */
static void set_address(struct uses *u, Skein__NetworkUse *use, const char *text)
{
	char buf[IPADDR_TEXT_MAX];
	struct ipaddr addr;

	if (str_empty(text) || ipaddr_parse(text, &addr, NULL) < 0)
		return;
	if (addr.family == AF_INET)
		use->ipv4 = keep(u, ipaddr_format_host(&addr, buf));
	else
		use->ipv6 = keep(u, ipaddr_format_host(&addr, buf));
}

static void set_mac(struct uses *u, Skein__NetworkUse *use, const struct mac *mac)
{
	char buf[MAC_TEXT_MAX];

	use->mac = keep(u, mac_format(mac, buf));
}

/* ---------------------------------------------------------------- who has addresses */

static void add_pool(struct uses *u, const pb_ipam_pool *pool)
{
	struct ipaddr gateway;

	if (!str_empty(pool->gateway) && ipaddr_parse(pool->gateway, &gateway, NULL) == 0) {
		Skein__NetworkUse *use = use_add(u, "gateway", "", "");
		struct mac mac = mac_of_address(&gateway);

		set_address(u, use, pool->gateway);
		set_mac(u, use, &mac);
	}
	for (size_t i = 0; i < pool->n_aux_addresses; i++)
		set_address(u, use_add(u, "aux", pool->aux_addresses[i]->key, ""),
			    pool->aux_addresses[i]->value);
}

static void add_vips(struct uses *u)
{
	_cleanup_free_ const pb_service **services = NULL;
	size_t n;

	services = view_services_of_network(u->view, u->network->id, &n);
	for (size_t i = 0; i < n; i++) {
		const pb_endpoint *e = services[i]->endpoint;

		for (size_t k = 0; e && k < e->n_vips; k++) {
			Skein__NetworkUse *use;

			if (!str_eq(e->vips[k]->network_id, u->network->id))
				continue;
			use = use_add(u, "vip", services[i]->spec->name, services[i]->id);
			set_address(u, use, e->vips[k]->ipv4);
			set_address(u, use, e->vips[k]->ipv6);
		}
	}
}

static void add_tasks(struct uses *u)
{
	_cleanup_free_ const pb_task **tasks = NULL;
	size_t n;

	tasks = view_tasks_of_network(u->view, u->network->id, &n);
	for (size_t i = 0; i < n; i++) {
		const pb_task *task = tasks[i];
		char name[PB_TASK_NAME_MAX];

		for (size_t k = 0; !task_ended(task) && k < task->n_networks; k++) {
			const pb_attachment *a = task->networks[k];
			Skein__NetworkUse *use;

			if (!str_eq(a->network_id, u->network->id))
				continue;
			use = use_add(u, "task", keep(u, pb_task_name(task, name)), task->id);
			set_node(u, use, task->node_id);
			set_address(u, use, a->ipv4);
			set_address(u, use, a->ipv6);
			use->mac = a->mac;
			use->ready = task_state(task) == TASK_RUNNING &&
				     (int)task->desired == TASK_RUNNING;
		}
	}
}

/* In the ingress network each node has an address, found from its index. */
static void add_nodes(struct uses *u)
{
	_cleanup_free_ const void **nodes = NULL;
	struct ipaddr subnet;
	size_t n;

	if (!u->network->n_pools ||
	    ipaddr_parse_subnet(u->network->pools[0]->subnet, &subnet, NULL) < 0)
		return;
	nodes = view_list(u->view, KIND_NODE, &n);
	for (size_t i = 0; i < n; i++) {
		const pb_node *node = nodes[i];
		struct ipaddr addr = ipaddr_nth(&subnet, node->index);
		struct mac mac = mac_of_node(node->index);
		char text[IPADDR_TEXT_MAX];
		Skein__NetworkUse *use;

		if (!node->index)
			continue;
		use = use_add(u, "node", pb_node_name(node), node->id);
		set_node(u, use, node->id);
		set_address(u, use, ipaddr_format_host(&addr, text));
		set_mac(u, use, &mac);
		use->ready = node_state(node) == NODE_READY;
	}
}

/* ---------------------------------------------------------------- what is free */

static int by_address(const void *a, const void *b)
{
	return ipaddr_cmp(a, b);
}

static void take(struct ipaddr *taken, size_t *n, const struct ipaddr *range,
		 const struct ipaddr *addr)
{
	if (ipaddr_contains(range, addr))
		taken[(*n)++] = ipaddr_host(addr);
}

static uint64_t count_free(const struct uses *u, const struct ipaddr *subnet,
			   const struct ipaddr *range)
{
	_cleanup_free_ struct ipaddr *taken = xcalloc(u->n + 2, sizeof(*taken));
	struct ipaddr first = ipaddr_nth(subnet, 0), last = ipaddr_last(subnet), addr;
	uint64_t total = ipaddr_count(range), distinct = 0;
	size_t n = 0;

	take(taken, &n, range, &first);
	if (subnet->family == AF_INET)
		take(taken, &n, range, &last);
	for (size_t i = 0; i < u->n; i++) {
		const char *text = subnet->family == AF_INET ? u->v[i]->ipv4 : u->v[i]->ipv6;

		if (!str_empty(text) && ipaddr_parse(text, &addr, NULL) == 0)
			take(taken, &n, range, &addr);
	}
	if (n)
		qsort(taken, n, sizeof(*taken), by_address);
	for (size_t i = 0; i < n; i++)
		distinct += !i || !ipaddr_same_host(&taken[i - 1], &taken[i]);
	return total - MIN(total, distinct);
}

static void add_free(struct uses *u, const pb_ipam_pool *pool, Skein__NetworkResponse *response)
{
	struct ipaddr subnet, range;
	char number[24];
	pb_kv *kv;

	if (ipaddr_parse_subnet(pool->subnet, &subnet, NULL) < 0)
		return;
	if (str_empty(pool->ip_range) || ipaddr_parse_subnet(pool->ip_range, &range, NULL) < 0)
		range = subnet;
	snprintf(number, sizeof(number), "%" PRIu64, count_free(u, &subnet, &range));
	kv = redact_alloc(u->redact, sizeof(*kv));
	*kv = (pb_kv)SKEIN__KEY_VALUE__INIT;
	kv->key = pool->subnet;
	kv->value = keep(u, number);
	response->free[response->n_free++] = kv;
}

void network_uses(const struct view *v, const pb_network *network, struct redact *r,
		  Skein__NetworkResponse *response)
{
	struct uses u = {.view = v, .network = network, .redact = r};
	size_t bytes;

	for (size_t i = 0; i < network->n_pools; i++)
		add_pool(&u, network->pools[i]);
	if (network->spec && network->spec->ingress)
		add_nodes(&u);
	add_vips(&u);
	add_tasks(&u);
	response->free = redact_alloc(r, network->n_pools * sizeof(*response->free));
	for (size_t i = 0; i < network->n_pools; i++)
		add_free(&u, network->pools[i], response);
	bytes = u.n * sizeof(*u.v);
	response->uses = redact_alloc(r, bytes);
	response->n_uses = u.n;
	if (bytes)
		memcpy(response->uses, u.v, bytes);
	free(u.v);
}
