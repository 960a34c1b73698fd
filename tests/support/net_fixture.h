/* net_fixture - messages of the networks, in one line each. */
#pragma once
#include "agent/net/model.h"
#include "common/error.h"
#include "common/mem.h"
#include "common/str.h"

#include <stdlib.h>
#include <string.h>

static inline pb_net_state *net_state(bool complete, uint64_t applies_to, uint64_t results_in)
{
	pb_net_state *s = pb_new(&skein__net_state__descriptor);

	s->complete = complete;
	s->applies_to = applies_to;
	s->results_in = results_in;
	s->revision = 100 + results_in;
	return s;
}

static inline pb_network *net_network(pb_net_state *s, const char *id, const char *driver, uint32_t vni, const char *subnet4,
				      const char *subnet6)
{
	pb_network *n = pb_new(&skein__network__descriptor);
	const char *subnets[] = {subnet4, subnet6};

	pb_set_str(&n->id, id);
	n->vni = vni;
	n->spec = pb_new(&skein__network_spec__descriptor);
	pb_set_str(&n->spec->name, id);
	pb_set_str(&n->spec->driver, driver);
	n->spec->ipv6 = subnet6 != NULL;
	for (size_t i = 0; i < 2; i++) {
		pb_ipam_pool *pool;

		if (!subnets[i])
			continue;
		pool = pb_new(&skein__ipam_pool__descriptor);
		pb_set_str(&pool->subnet, subnets[i]);
		pb_msgs_add(&n->n_pools, &n->pools, pool);
	}
	pb_msgs_add(&s->n_networks, &s->networks, n);
	return n;
}

static inline pb_net_node *net_node(pb_net_state *s, const char *id, const char *address, uint32_t index)
{
	pb_net_node *n = pb_new(&skein__net_node__descriptor);

	pb_set_str(&n->node_id, id);
	pb_set_str(&n->address, address);
	n->index = index;
	pb_msgs_add(&s->n_nodes, &s->nodes, n);
	return n;
}

static inline pb_net_service *net_service(pb_net_state *s, const char *id, const char *network, const char *vip4, const char *vip6)
{
	pb_net_service *v = pb_new(&skein__net_service__descriptor);

	pb_set_str(&v->service_id, id);
	pb_set_str(&v->name, id);
	if (network) {
		pb_vip *vip = pb_new(&skein__virtual_ip__descriptor);

		pb_set_str(&vip->network_id, network);
		pb_set_str(&vip->ipv4, vip4);
		pb_set_str(&vip->ipv6, vip6);
		pb_msgs_add(&v->n_vips, &v->vips, vip);
	}
	pb_msgs_add(&s->n_services, &s->services, v);
	return v;
}

static inline pb_port *net_port(pb_net_service *s, const char *protocol, uint32_t published, uint32_t target, bool host)
{
	pb_port *p = pb_new(&skein__port_config__descriptor);

	pb_set_str(&p->protocol, protocol);
	p->published = published;
	p->target = target;
	p->mode = host ? PUBLISH_HOST : PUBLISH_INGRESS;
	pb_msgs_add(&s->n_ports, &s->ports, p);
	return p;
}

static inline pb_attachment *net_attachment_of(const char *network, const char *ipv4, const char *ipv6)
{
	pb_attachment *a = pb_new(&skein__network_attachment__descriptor);

	pb_set_str(&a->network_id, network);
	pb_set_str(&a->ipv4, ipv4);
	pb_set_str(&a->ipv6, ipv6);
	return a;
}

static inline pb_net_endpoint *net_endpoint(pb_net_state *s, const char *task, const char *service, const char *node, bool ready,
					    const char *network, const char *ipv4, const char *ipv6)
{
	pb_net_endpoint *e = pb_new(&skein__net_endpoint__descriptor);

	pb_set_str(&e->task_id, task);
	pb_set_str(&e->service_id, service);
	pb_set_str(&e->name, task);
	pb_set_str(&e->node_id, node);
	e->ready = ready;
	if (network)
		pb_msgs_add(&e->n_networks, &e->networks, net_attachment_of(network, ipv4, ipv6));
	pb_msgs_add(&s->n_endpoints, &s->endpoints, e);
	return e;
}

static inline void net_take(struct model *m, pb_net_state *s)
{
	struct error err = ERROR_INIT;

	if (model_apply(m, s, &err) < 0)
		abort();
	pb_free(s);
}
