#include "model_internal.h"

#include "common/error.h"
#include "common/mem.h"
#include "common/str.h"

#include <inttypes.h>
#include <string.h>
#include <sys/socket.h>

#define WEIGHT_MAX 65535u

struct model *model_new(const struct model_hooks *hooks)
{
	struct model *m = xnew(struct model);

	if (hooks)
		m->hooks = *hooks;
	m->beginning = true;
	return m;
}

/* ---- objects, known or only spoken of */

#define FIND_OR_MAKE(m, table, type, the_id)                                                       \
	({                                                                                         \
		struct type *obj_;                                                                 \
		HASH_FIND_STR((m)->table, the_id, obj_);                                           \
		if (!obj_) {                                                                       \
			obj_ = xnew(struct type);                                                  \
			obj_->id = xstrdup(the_id);                                                \
			HASH_ADD_KEYPTR(hh, (m)->table, obj_->id, strlen(obj_->id), obj_);         \
		}                                                                                  \
		obj_;                                                                              \
	})

#define DROP(m, table, obj)                                                                        \
	do {                                                                                       \
		HASH_DELETE(hh, (m)->table, obj);                                                  \
		free((obj)->id);                                                                   \
		free(obj);                                                                         \
	} while (0)

static void node_tidy(struct model *m, struct model_node *n)
{
	if (!n->pb && LIST_EMPTY(&n->endpoints))
		DROP(m, nodes, n);
}

static void network_tidy(struct model *m, struct model_network *n)
{
	if (!n->pb && LIST_EMPTY(&n->places) && LIST_EMPTY(&n->vips))
		DROP(m, networks, n);
}

static void service_tidy(struct model *m, struct model_service *s)
{
	if (!s->pb && LIST_EMPTY(&s->endpoints))
		DROP(m, services, s);
}

#define TELL(m, kind, obj, appears)                                                                \
	do {                                                                                       \
		if ((m)->hooks.kind)                                                               \
			(m)->hooks.kind((m)->hooks.data, obj, appears);                            \
	} while (0)

/* ---- nodes */

static void node_set(struct model *m, struct model_node *n, const pb_net_node *pb)
{
	struct ipaddr address = {.family = 0};

	if (pb && *pb->address && ipaddr_parse(pb->address, &address, NULL) < 0)
		m->malformed++;
	if (n->pb)
		TELL(m, node, n, false);
	pb_free((void *)n->pb);
	n->pb = pb_dup(pb);
	n->address = address;
	n->index = pb ? pb->index : 0;
	if (n->pb)
		TELL(m, node, n, true);
}

static void take_node(struct model *m, const pb_net_node *pb)
{
	struct model_node *n = FIND_OR_MAKE(m, nodes, model_node, pb->node_id);

	n->epoch = m->epoch;
	if (!n->pb || !pb_equal(n->pb, pb))
		node_set(m, n, pb);
}

static void lose_node(struct model *m, struct model_node *n)
{
	node_set(m, n, NULL);
	node_tidy(m, n);
}

/* ---- networks */

static enum network_driver driver_of(const char *name)
{
	static const char *const names[] = {"overlay", "bridge", "macvlan", "ipvlan", "vlan"};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (str_eq(name, names[i]))
			return (enum network_driver)i;
	return NETWORK_OTHER;
}

static void network_pools(struct model *m, struct model_network *n)
{
	n->subnet4 = n->gateway4 = n->subnet6 = n->gateway6 = (struct ipaddr){.family = 0};
	for (size_t i = 0; i < n->pb->n_pools; i++) {
		const pb_ipam_pool *pool = n->pb->pools[i];
		struct ipaddr subnet, gateway;

		if (ipaddr_parse_subnet(pool->subnet, &subnet, NULL) < 0) {
			m->malformed++;
			continue;
		}
		if (!*pool->gateway || ipaddr_parse(pool->gateway, &gateway, NULL) < 0 ||
		    !ipaddr_contains(&subnet, &gateway))
			gateway = ipaddr_nth(&subnet, 1);
		gateway.prefix = subnet.prefix;
		if (subnet.family == AF_INET) {
			n->subnet4 = subnet;
			n->gateway4 = gateway;
		} else {
			n->subnet6 = subnet;
			n->gateway6 = gateway;
		}
	}
}

static void network_set(struct model *m, struct model_network *n, const pb_network *pb)
{
	const char *mtu;
	uint64_t value;

	if (n->pb)
		TELL(m, network, n, false);
	pb_free((void *)n->pb);
	n->pb = pb_dup(pb);
	if (!n->pb)
		return;
	n->driver = driver_of(pb->spec->driver);
	n->ingress = pb->spec->ingress;
	n->internal = pb->spec->internal;
	n->encrypted = pb_kv_get(pb->spec->options, pb->spec->n_options, "encrypted") != NULL;
	n->vni = pb->vni < (1u << 24) ? pb->vni : 0;
	mtu = pb_kv_get(pb->spec->options, pb->spec->n_options, "mtu");
	n->mtu = mtu && str_parse_u64(mtu, &value, NULL) == 0 && value >= 576 && value <= 65535 ? (uint32_t)value : 0;
	network_pools(m, n);
	TELL(m, network, n, true);
}

static void take_network(struct model *m, const pb_network *pb)
{
	struct model_network *n;

	if (!pb->spec) {
		m->malformed++;
		return;
	}
	n = FIND_OR_MAKE(m, networks, model_network, pb->id);
	n->epoch = m->epoch;
	if (!n->pb || !pb_equal(n->pb, pb))
		network_set(m, n, pb);
}

static void lose_network(struct model *m, struct model_network *n)
{
	network_set(m, n, NULL);
	network_tidy(m, n);
}

/* ---- services */

static void parse_host(struct model *m, const char *text, int family, struct ipaddr *ret)
{
	*ret = (struct ipaddr){.family = 0};
	if (!*text)
		return;
	if (ipaddr_parse(text, ret, NULL) < 0 || ret->family != family) {
		*ret = (struct ipaddr){.family = 0};
		m->malformed++;
	}
}

static void service_unlink(struct model *m, struct model_service *s)
{
	model_index_service(m, s, false);
	for (size_t i = 0; i < s->n_vips; i++) {
		LIST_REMOVE(&s->vips[i], of_network);
		network_tidy(m, s->vips[i].network);
	}
	free(s->vips);
	s->vips = NULL;
	s->n_vips = 0;
}

static void service_link(struct model *m, struct model_service *s)
{
	s->vips = xcalloc(s->pb->n_vips + 1, sizeof(*s->vips));
	for (size_t i = 0; i < s->pb->n_vips; i++) {
		const pb_vip *pb = s->pb->vips[i];
		struct model_vip *vip = &s->vips[s->n_vips];

		if (!*pb->network_id || s->pb->mode != ENDPOINT_VIP)
			continue;
		parse_host(m, pb->ipv4, AF_INET, &vip->ipv4);
		parse_host(m, pb->ipv6, AF_INET6, &vip->ipv6);
		if (!ipaddr_is_set(&vip->ipv4) && !ipaddr_is_set(&vip->ipv6))
			continue;
		vip->ipv4 = ipaddr_is_set(&vip->ipv4) ? ipaddr_host(&vip->ipv4) : vip->ipv4;
		vip->ipv6 = ipaddr_is_set(&vip->ipv6) ? ipaddr_host(&vip->ipv6) : vip->ipv6;
		vip->service = s;
		vip->network = FIND_OR_MAKE(m, networks, model_network, pb->network_id);
		LIST_INSERT_HEAD(&vip->network->vips, vip, of_network);
		s->n_vips++;
	}
	model_index_service(m, s, true);
}

static void service_set(struct model *m, struct model_service *s, const pb_net_service *pb)
{
	if (s->pb) {
		TELL(m, service, s, false);
		service_unlink(m, s);
	}
	pb_free((void *)s->pb);
	s->pb = pb_dup(pb);
	if (s->pb) {
		service_link(m, s);
		TELL(m, service, s, true);
	}
}

static void take_service(struct model *m, const pb_net_service *pb)
{
	struct model_service *s = FIND_OR_MAKE(m, services, model_service, pb->service_id);

	s->epoch = m->epoch;
	if (!s->pb || !pb_equal(s->pb, pb))
		service_set(m, s, pb);
}

static void lose_service(struct model *m, struct model_service *s)
{
	service_set(m, s, NULL);
	service_tidy(m, s);
}

/* ---- endpoints */

static bool is_draining(const struct model *m, const char *task_id)
{
	struct model_drained *d;

	HASH_FIND_STR(m->draining, task_id, d);
	return d;
}

static void endpoint_unlink(struct model *m, struct model_endpoint *e)
{
	model_index_endpoint(m, e, false);
	for (size_t i = 0; i < e->n_places; i++) {
		LIST_REMOVE(&e->places[i], of_network);
		network_tidy(m, e->places[i].network);
	}
	free(e->places);
	e->places = NULL;
	e->n_places = 0;
	LIST_REMOVE(e, of_service);
	LIST_REMOVE(e, of_node);
	service_tidy(m, e->service);
	node_tidy(m, e->node);
}

static void place_link(struct model *m, struct model_endpoint *e, const pb_attachment *pb)
{
	struct model_place *p = &e->places[e->n_places];

	if (!*pb->network_id)
		return;
	parse_host(m, pb->ipv4, AF_INET, &p->ipv4);
	parse_host(m, pb->ipv6, AF_INET6, &p->ipv6);
	if (!ipaddr_is_set(&p->ipv4) && !ipaddr_is_set(&p->ipv6))
		return;
	if (!*pb->mac || mac_parse(pb->mac, &p->mac, NULL) < 0)
		p->mac = mac_of_address(ipaddr_is_set(&p->ipv4) ? &p->ipv4 : &p->ipv6);
	p->pb = pb;
	p->endpoint = e;
	p->network = FIND_OR_MAKE(m, networks, model_network, pb->network_id);
	LIST_INSERT_HEAD(&p->network->places, p, of_network);
	e->n_places++;
}

static void endpoint_link(struct model *m, struct model_endpoint *e)
{
	e->service = FIND_OR_MAKE(m, services, model_service, e->pb->service_id);
	e->node = FIND_OR_MAKE(m, nodes, model_node, e->pb->node_id);
	LIST_INSERT_HEAD(&e->service->endpoints, e, of_service);
	LIST_INSERT_HEAD(&e->node->endpoints, e, of_node);
	e->draining = is_draining(m, e->id);
	e->ready = e->pb->ready && !e->draining;
	e->weight = e->pb->weight ? MIN(e->pb->weight, WEIGHT_MAX) : 1;
	e->places = xcalloc(e->pb->n_networks + 1, sizeof(*e->places));
	for (size_t i = 0; i < e->pb->n_networks; i++)
		place_link(m, e, e->pb->networks[i]);
	model_index_endpoint(m, e, true);
}

static void endpoint_set(struct model *m, struct model_endpoint *e, const pb_net_endpoint *pb)
{
	_cleanup_pb_ pb_net_endpoint *old = (pb_net_endpoint *)e->pb;

	if (old) {
		TELL(m, endpoint, e, false);
		endpoint_unlink(m, e);
	}
	e->pb = pb_dup(pb);
	if (e->pb) {
		endpoint_link(m, e);
		TELL(m, endpoint, e, true);
	}
}

static void take_endpoint(struct model *m, const pb_net_endpoint *pb)
{
	struct model_endpoint *e = FIND_OR_MAKE(m, endpoints, model_endpoint, pb->task_id);

	e->epoch = m->epoch;
	if (!e->pb || !pb_equal(e->pb, pb))
		endpoint_set(m, e, pb);
}

static void forget_drained(struct model *m, const char *task_id)
{
	struct model_drained *d;

	HASH_FIND_STR(m->draining, task_id, d);
	if (!d)
		return;
	HASH_DELETE(hh, m->draining, d);
	free(d);
}

static void lose_endpoint(struct model *m, struct model_endpoint *e)
{
	endpoint_set(m, e, NULL);
	forget_drained(m, e->id);
	DROP(m, endpoints, e);
}

void model_set_draining(struct model *m, const char *task_id, bool draining)
{
	struct model_endpoint *e = model_endpoint(m, task_id);
	struct model_drained *d;

	HASH_FIND_STR(m->draining, task_id, d);
	if (draining == (d != NULL))
		return;
	if (d) {
		forget_drained(m, task_id);
	} else {
		d = xcalloc(1, sizeof(*d) + strlen(task_id) + 1);
		strcpy(d->id, task_id);
		HASH_ADD_STR(m->draining, id, d);
	}
	if (e) {
		TELL(m, endpoint, e, false);
		e->draining = draining;
		e->ready = e->pb->ready && !draining;
		TELL(m, endpoint, e, true);
	}
}

/* ---- messages */

/* What the complete state did not mention is gone. Endpoints first: others are held by them. */
static void sweep(struct model *m)
{
	struct model_endpoint *e, *e_next;
	struct model_service *s, *s_next;
	struct model_network *w, *w_next;
	struct model_node *n, *n_next;

	HASH_ITER(hh, m->endpoints, e, e_next)
		if (e->epoch != m->epoch)
			lose_endpoint(m, e);
	HASH_ITER(hh, m->services, s, s_next)
		if (s->pb && s->epoch != m->epoch)
			lose_service(m, s);
	HASH_ITER(hh, m->networks, w, w_next)
		if (w->pb && w->epoch != m->epoch)
			lose_network(m, w);
	HASH_ITER(hh, m->nodes, n, n_next)
		if (n->pb && n->epoch != m->epoch)
			lose_node(m, n);
}

static void take_removals(struct model *m, const pb_net_state *state)
{
	for (size_t i = 0; i < state->n_remove_endpoints; i++) {
		struct model_endpoint *e = model_endpoint(m, state->remove_endpoints[i]);

		if (e)
			lose_endpoint(m, e);
	}
	for (size_t i = 0; i < state->n_remove_services; i++) {
		struct model_service *s = model_service(m, state->remove_services[i]);

		if (s)
			lose_service(m, s);
	}
	for (size_t i = 0; i < state->n_remove_networks; i++) {
		struct model_network *n = model_network(m, state->remove_networks[i]);

		if (n)
			lose_network(m, n);
	}
	for (size_t i = 0; i < state->n_remove_nodes; i++) {
		struct model_node *n = model_node(m, state->remove_nodes[i]);

		if (n)
			lose_node(m, n);
	}
}

#define TAKE_ALL(m, list, n, take, field)                                                          \
	for (size_t i_ = 0; i_ < (n); i_++) {                                                      \
		if (*(list)[i_]->field)                                                            \
			take(m, (list)[i_]);                                                       \
		else                                                                               \
			(m)->malformed++;                                                          \
	}

int model_apply(struct model *m, const pb_net_state *state, struct error *err)
{
	if (!state->complete && m->beginning)
		return error_set(err, ERR_CONFLICT, "networks: a change before the state that it changes");
	if (!state->complete && state->applies_to != m->sequence)
		return error_set(err, ERR_CONFLICT, "networks: a change of state %" PRIu64 ", here is %" PRIu64,
				 state->applies_to, m->sequence);
	if (state->complete) {
		m->epoch++;
		m->beginning = false;
		m->completing = true;
	}
	take_removals(m, state);
	/* What others lean on first: so an endpoint is told of once, with all that belongs to it. */
	TAKE_ALL(m, state->nodes, state->n_nodes, take_node, node_id);
	TAKE_ALL(m, state->networks, state->n_networks, take_network, id);
	TAKE_ALL(m, state->services, state->n_services, take_service, service_id);
	TAKE_ALL(m, state->endpoints, state->n_endpoints, take_endpoint, task_id);
	if (m->completing && !state->more) {
		m->completing = false;
		m->complete = true;
		sweep(m);
	}
	m->sequence = state->results_in;
	m->revision = state->revision;
	return 0;
}

void model_begin(struct model *m)
{
	m->beginning = true;
	m->completing = false;
}

void model_reset(struct model *m)
{
	struct model_drained *d, *next;

	m->epoch++;
	sweep(m);
	HASH_ITER(hh, m->draining, d, next)
		forget_drained(m, d->id);
	m->beginning = true;
	m->completing = m->complete = false;
	m->sequence = m->revision = 0;
}

bool model_complete(const struct model *m)
{
	return m->complete;
}

uint64_t model_revision(const struct model *m)
{
	return m->revision;
}

unsigned model_malformed(const struct model *m)
{
	return m->malformed;
}

/* ---- looking */

#define FIND_KNOWN(table, type, the_id)                                                            \
	({                                                                                         \
		struct type *obj_;                                                                 \
		HASH_FIND_STR(table, the_id, obj_);                                                \
		obj_ && obj_->pb ? obj_ : NULL;                                                    \
	})

struct model_node *model_node(const struct model *m, const char *id)
{
	return FIND_KNOWN(m->nodes, model_node, id);
}

struct model_network *model_network(const struct model *m, const char *id)
{
	return FIND_KNOWN(m->networks, model_network, id);
}

struct model_service *model_service(const struct model *m, const char *id)
{
	return FIND_KNOWN(m->services, model_service, id);
}

struct model_endpoint *model_endpoint(const struct model *m, const char *task_id)
{
	return FIND_KNOWN(m->endpoints, model_endpoint, task_id);
}

struct model_network *model_ingress(const struct model *m)
{
	struct model_network *n, *next;

	HASH_ITER(hh, m->networks, n, next)
		if (n->pb && n->ingress)
			return n;
	return NULL;
}

#define EACH_KNOWN(table, type)                                                                    \
	do {                                                                                       \
		struct type *obj_, *next_;                                                         \
		HASH_ITER(hh, table, obj_, next_)                                                  \
			if (obj_->pb)                                                              \
				cb(data, obj_);                                                    \
	} while (0)

void model_each_node(const struct model *m, void (*cb)(void *data, struct model_node *n), void *data)
{
	EACH_KNOWN(m->nodes, model_node);
}

void model_each_network(const struct model *m, void (*cb)(void *data, struct model_network *n), void *data)
{
	EACH_KNOWN(m->networks, model_network);
}

void model_each_service(const struct model *m, void (*cb)(void *data, struct model_service *s), void *data)
{
	EACH_KNOWN(m->services, model_service);
}

void model_free(struct model *m)
{
	if (!m)
		return;
	memset(&m->hooks, 0, sizeof(m->hooks));
	model_reset(m);
	model_index_fini(m);
	free(m);
}
