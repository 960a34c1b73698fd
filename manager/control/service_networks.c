#include "service_networks.h"
#include "resolve.h"

#include "common/error.h"
#include "common/hostport.h"
#include "common/ipaddr.h"
#include "common/mem.h"
#include "common/str.h"
#include "manager/store/txn.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define PREDEFINED_INGRESS "ingress"
#define REF_SHOWN_MAX "\"%.80s\""

/* ---------------------------------------------------------------- references */

static const char *ref_of(const pb_attachment_config *c)
{
	return str_empty(c->network_id) ? c->network_name : c->network_id;
}

/* A kind of network rather than one of several. */
static bool is_kind(const char *ref)
{
	return str_eq(ref, "host") || str_eq(ref, "none") || str_eq(ref, "bridge");
}

static int take_kind(pb_task_spec *task, size_t i, struct error *err)
{
	const pb_attachment_config *c = task->networks[i];
	const char *ref = ref_of(c);

	if (c->n_aliases || !str_empty(c->ipv4) || !str_empty(c->ipv6))
		return error_set(err, ERR_INVALID,
				 "task.networks[%zu] \"%s\": has no aliases and addresses to choose", i,
				 ref);
	/* What a container has besides its other networks, anyhow. */
	if (!str_eq(ref, "bridge") && task->n_networks > 1)
		return error_set(err, ERR_INVALID,
				 "task.networks[%zu] \"%s\": goes with no other network", i, ref);
	if (!str_eq(task->network, "bridge") && !str_empty(task->network) &&
	    !str_eq(task->network, ref))
		return error_set(err, ERR_INVALID, "task.networks[%zu] \"%s\": task.network is %.80s", i,
				 ref, task->network);
	pb_set_str(&task->network, ref);
	return 0;
}

static int resolve_one(const struct view *v, pb_task_spec *task, size_t i, struct error *err)
{
	pb_attachment_config *c = task->networks[i];
	const pb_network *network = resolve_network(v, ref_of(c), err);

	if (!network)
		return error_wrap(err, "task.networks[%zu]", i);
	if (str_eq(network->id, PREDEFINED_INGRESS) || (network->spec && network->spec->ingress))
		return error_set(err, ERR_INVALID,
				 "task.networks[%zu] " REF_SHOWN_MAX
				 ": published ports travel on it, services cannot join it",
				 i, ref_of(c));
	for (size_t k = 0; k < i; k++)
		if (str_eq(task->networks[k]->network_id, network->id))
			return error_set(err, ERR_INVALID,
					 "task.networks[%zu] " REF_SHOWN_MAX ": is there twice", i,
					 network->spec->name);
	pb_set_str(&c->network_name, network->spec->name);
	pb_set_str(&c->network_id, network->id);
	return 0;
}

int service_networks_resolve(const struct view *v, pb_service_spec *spec, struct error *err)
{
	pb_task_spec *task = spec->task;

	for (size_t i = 0; i < task->n_networks; i++) {
		if (is_kind(ref_of(task->networks[i]))) {
			if (take_kind(task, i, err) < 0)
				return -1;
			pb_msgs_del(&task->n_networks, &task->networks, i--);
		} else if (resolve_one(v, task, i, err) < 0) {
			return -1;
		}
	}
	return 0;
}

/* ---------------------------------------------------------------- addresses */

static bool aux_has(const pb_ipam_pool *pool, const struct ipaddr *addr)
{
	struct ipaddr aux;

	for (size_t i = 0; i < pool->n_aux_addresses; i++)
		if (ipaddr_parse(pool->aux_addresses[i]->value, &aux, NULL) == 0 &&
		    ipaddr_same_host(&aux, addr))
			return true;
	return false;
}

static int refuse_address(const char *text, const pb_network *network, const char *why,
			  enum error_code code, struct error *err)
{
	return error_set(err, code, "address %.64s in network %s: %s", text, network->spec->name, why);
}

/* Inside a pool and not one of the addresses that belong to the network itself. */
static int check_in_pools(const pb_network *network, const char *text, const struct ipaddr *addr,
			  struct error *err)
{
	_cleanup_strbuf_ struct strbuf accepted = {0};

	strbuf_puts(&accepted, "must be inside");
	for (size_t i = 0; i < network->n_pools; i++) {
		const pb_ipam_pool *pool = network->pools[i];
		struct ipaddr subnet, gateway, first, last;

		strbuf_printf(&accepted, "%s %s", i ? " or" : "", pool->subnet);
		if (ipaddr_parse_subnet(pool->subnet, &subnet, NULL) < 0 ||
		    !ipaddr_contains(&subnet, addr))
			continue;
		first = ipaddr_nth(&subnet, 0);
		last = ipaddr_last(&subnet);
		if (ipaddr_same_host(&first, addr) ||
		    (subnet.family == AF_INET && ipaddr_same_host(&last, addr)))
			return refuse_address(text, network, "is the address of the network itself",
					      ERR_INVALID, err);
		if (ipaddr_parse(pool->gateway, &gateway, NULL) == 0 &&
		    ipaddr_same_host(&gateway, addr))
			return refuse_address(text, network, "is its gateway", ERR_EXISTS, err);
		if (aux_has(pool, addr))
			return refuse_address(text, network, "is an auxiliary address of it", ERR_EXISTS,
					      err);
		return 0;
	}
	return refuse_address(text, network, accepted.p, ERR_INVALID, err);
}

static bool is_address(const char *text, const struct ipaddr *addr)
{
	struct ipaddr other;

	return !str_empty(text) && ipaddr_parse(text, &other, NULL) == 0 &&
	       ipaddr_same_host(&other, addr);
}

/* Wanted by another service, or its virtual address. */
static bool service_has(const pb_service *service, const char *network_id, const struct ipaddr *addr)
{
	const pb_task_spec *task = service->spec ? service->spec->task : NULL;
	const pb_endpoint *e = service->endpoint;

	for (size_t i = 0; task && i < task->n_networks; i++)
		if (str_eq(task->networks[i]->network_id, network_id) &&
		    (is_address(task->networks[i]->ipv4, addr) ||
		     is_address(task->networks[i]->ipv6, addr)))
			return true;
	for (size_t i = 0; e && i < e->n_vips; i++)
		if (str_eq(e->vips[i]->network_id, network_id) &&
		    (is_address(e->vips[i]->ipv4, addr) || is_address(e->vips[i]->ipv6, addr)))
			return true;
	return false;
}

static int check_address(const struct view *v, const pb_network *network, const char *text,
			 const char *service_id, struct error *err)
{
	_cleanup_free_ const pb_service **services = NULL;
	struct ipaddr addr;
	size_t n;

	/* Its pools may be on their way from the allocator, which then has the last word. */
	if (str_empty(text) || !network->n_pools || ipaddr_parse(text, &addr, NULL) < 0)
		return 0;
	if (check_in_pools(network, text, &addr, err) < 0)
		return -1;
	services = view_services_of_network(v, network->id, &n);
	for (size_t i = 0; i < n; i++) {
		char why[160];

		if (str_eq(services[i]->id, service_id) ||
		    !service_has(services[i], network->id, &addr))
			continue;
		snprintf(why, sizeof(why), "belongs to service '%s' (%s)", services[i]->spec->name,
			 services[i]->id);
		return refuse_address(text, network, why, ERR_EXISTS, err);
	}
	return 0;
}

/* ---------------------------------------------------------------- ports */

static int refuse_own(const pb_port *p, const char *what, struct error *err)
{
	return error_set(err, ERR_EXISTS, "port %" PRIu32 "/%s is needed by the cluster itself: %s",
			 p->published, p->protocol, what);
}

static int check_own(const struct view *v, const pb_port *p, const struct own_port *own,
		     struct error *err)
{
	_cleanup_free_ const void **nodes = NULL;
	struct hostport hp;
	size_t n;

	for (; own && own->port; own++)
		if (p->published == own->port && str_eq(p->protocol, own->protocol))
			return refuse_own(p, own->what, err);
	if (!str_eq(p->protocol, "tcp"))
		return 0;
	nodes = view_list(v, KIND_NODE, &n);
	for (size_t i = 0; i < n; i++) {
		const pb_node *node = nodes[i];

		if (node->peer_port == p->published)
			return refuse_own(p, "agents listen on it for each other", err);
		if (node->manager && hostport_parse(node->manager->address, 0, &hp, NULL) == 0 &&
		    hp.port == p->published)
			return refuse_own(p, "managers listen on it", err);
	}
	return 0;
}

/* With one of them open on every node there is no room for the other on any. */
static bool collide(const pb_port *a, const pb_port *b)
{
	return a->published == b->published && str_eq(a->protocol, b->protocol) &&
	       ((int)a->mode == PUBLISH_INGRESS || (int)b->mode == PUBLISH_INGRESS);
}

static const pb_port *find_collision(const pb_port *p, pb_port *const *ports, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (collide(p, ports[i]))
			return ports[i];
	return NULL;
}

/* What it asked for, and what it got. */
static const pb_port *port_of(const pb_service *service, const pb_port *p)
{
	const pb_endpoint_spec *wanted = service->spec ? service->spec->endpoint : NULL;
	const pb_port *found = wanted ? find_collision(p, wanted->ports, wanted->n_ports) : NULL;

	if (!found && service->endpoint)
		found = find_collision(p, service->endpoint->ports, service->endpoint->n_ports);
	return found;
}

static int check_others(const pb_endpoint_spec *e, const pb_service *other, struct error *err)
{
	for (size_t i = 0; i < e->n_ports; i++) {
		const pb_port *taken = e->ports[i]->published ? port_of(other, e->ports[i]) : NULL;

		if (taken)
			return error_set(err, ERR_EXISTS,
					 "port %" PRIu32
					 "/%s is already in use by service '%s' (%s) as %s port",
					 taken->published, taken->protocol, other->spec->name, other->id,
					 (int)taken->mode == PUBLISH_INGRESS ? "an ingress"
									    : "a host-published");
	}
	return 0;
}

static int check_ports(const struct view *v, const pb_service_spec *spec, const char *service_id,
		       const struct own_port *own, struct error *err)
{
	const pb_endpoint_spec *e = spec->endpoint;
	_cleanup_free_ const void **services = NULL;
	size_t n;

	if (!e || !e->n_ports)
		return 0;
	for (size_t i = 0; i < e->n_ports; i++)
		if (e->ports[i]->published && check_own(v, e->ports[i], own, err) < 0)
			return -1;
	services = view_list(v, KIND_SERVICE, &n);
	for (size_t i = 0; i < n; i++)
		if (!str_eq(((const pb_service *)services[i])->id, service_id) &&
		    check_others(e, services[i], err) < 0)
			return -1;
	return 0;
}

/* ---------------------------------------------------------------- all together */

int service_networks_check(const struct view *v, const pb_service_spec *spec, const char *service_id,
			   const struct own_port *own, struct error *err)
{
	const pb_task_spec *task = spec->task;
	bool way_out = !task->n_networks;

	for (size_t i = 0; i < task->n_networks; i++) {
		const pb_attachment_config *c = task->networks[i];
		const pb_network *network = view_network(v, c->network_id);

		if (!network || !network->spec)
			return error_set(err, ERR_NOT_FOUND, "no such network: %s", c->network_name);
		if (!str_empty(c->ipv6) && !network->spec->ipv6)
			return refuse_address(c->ipv6, network, "the network has no IPv6", ERR_INVALID,
					      err);
		if (check_address(v, network, c->ipv4, service_id, err) < 0 ||
		    check_address(v, network, c->ipv6, service_id, err) < 0)
			return -1;
		way_out |= !network->spec->internal;
	}
	if (spec->endpoint && spec->endpoint->n_ports && !way_out)
		return error_set(err, ERR_INVALID,
				 "endpoint.ports: the networks of the service are all internal: nothing "
				 "outside reaches its containers");
	return check_ports(v, spec, service_id, own, err);
}

/* Whoever has the fewest connections is known to IPVS alone. */
static bool knows_connections(const pb_node *node)
{
	const pb_node_description *d = node->description;

	return !d || !str_eq(pb_kv_get(d->features, d->n_features, "network.balancer"), "nftables");
}

char *service_networks_warning(const struct view *v, const pb_service_spec *spec)
{
	const char *scheduler = pb_kv_get(spec->labels, spec->n_labels, "skein.lb.scheduler");
	_cleanup_free_ const void **nodes = NULL;
	size_t n, without = 0;

	if (!str_eq(scheduler, "lc"))
		return NULL;
	nodes = view_list(v, KIND_NODE, &n);
	for (size_t i = 0; i < n; i++)
		without += !knows_connections(nodes[i]);
	if (!without)
		return NULL;
	return xasprintf("labels skein.lb.scheduler lc: %zu of %zu nodes balance with nftables, which does not count "
			 "connections: there it is as rr (network.balancer in `node inspect`)",
			 without, n);
}

void service_networks_require(struct txn *t, const struct view *v, const pb_service_spec *spec)
{
	for (size_t i = 0; i < spec->task->n_networks; i++)
		if (view_network(v, spec->task->networks[i]->network_id))
			txn_require(t, KIND_NETWORK, spec->task->networks[i]->network_id);
}
