/*
 * dns_fixture - a small cluster as one node is told of it: network front (10.0.1.0/24, fd00:1::/64), network back
 * (10.0.2.0/24, internal), services web (VIP), db (dnsrr), api (VIP, alias "site" as web), other (not in front).
 */
#pragma once
#include "agent/net/dns_answer.h"
#include "agent/net/model.h"
#include "common/error.h"
#include "common/mem.h"
#include "common/str.h"

#include <stdlib.h>
#include <string.h>

#define DNS_TASK_WEB1 "webtaskwebtaskwebtaskweb1"

static inline pb_network *dns_network(const char *id, const char *name, const char *subnet4, const char *subnet6, bool internal)
{
	pb_network *n = pb_new(&skein__network__descriptor);
	const char *subnets[] = {subnet4, subnet6};

	pb_set_str(&n->id, id);
	n->spec = pb_new(&skein__network_spec__descriptor);
	pb_set_str(&n->spec->name, name);
	pb_set_str(&n->spec->driver, "overlay");
	n->spec->internal = internal;
	n->vni = 4097;
	for (size_t i = 0; i < 2; i++) {
		pb_ipam_pool *pool;

		if (!subnets[i])
			continue;
		pool = pb_new(&skein__ipam_pool__descriptor);
		pb_set_str(&pool->subnet, subnets[i]);
		pb_msgs_add(&n->n_pools, &n->pools, pool);
	}
	return n;
}

static inline pb_net_service *dns_service(const char *id, const char *name, const char *network, const char *ipv4, const char *ipv6)
{
	pb_net_service *s = pb_new(&skein__net_service__descriptor);

	pb_set_str(&s->service_id, id);
	pb_set_str(&s->name, name);
	s->mode = ipv4 ? ENDPOINT_VIP : ENDPOINT_DNSRR;
	if (ipv4) {
		pb_vip *vip = pb_new(&skein__virtual_ip__descriptor);

		pb_set_str(&vip->network_id, network);
		pb_set_str(&vip->ipv4, ipv4);
		pb_set_str(&vip->ipv6, ipv6);
		pb_msgs_add(&s->n_vips, &s->vips, vip);
	}
	return s;
}

static inline pb_net_endpoint *dns_endpoint(const char *id, const char *service, const char *name, bool ready)
{
	pb_net_endpoint *e = pb_new(&skein__net_endpoint__descriptor);

	pb_set_str(&e->task_id, id);
	pb_set_str(&e->service_id, service);
	pb_set_str(&e->name, name);
	pb_set_str(&e->node_id, "node1");
	e->ready = ready;
	return e;
}

static inline void dns_place(pb_net_endpoint *e, const char *network, const char *ipv4, const char *ipv6, const char *alias)
{
	pb_attachment *a = pb_new(&skein__network_attachment__descriptor);

	pb_set_str(&a->network_id, network);
	pb_set_str(&a->ipv4, ipv4);
	pb_set_str(&a->ipv6, ipv6);
	pb_set_str(&a->mac, "02:42:0a:00:01:05");
	if (alias)
		pb_strs_add(&a->n_aliases, &a->aliases, alias);
	pb_msgs_add(&e->n_networks, &e->networks, a);
}

static inline pb_net_state *dns_state(void)
{
	pb_net_state *s = pb_new(&skein__net_state__descriptor);
	static const struct {
		const char *id, *service, *name;
		bool ready;
		const char *network, *ipv4, *ipv6, *alias;
	} endpoints[] = {
		{DNS_TASK_WEB1, "web-id", "web.1", true, "front-id", "10.0.1.11/24", "fd00:1::11/64", "site"},
		{"web2", "web-id", "web.2", true, "front-id", "10.0.1.12/24", "fd00:1::12/64", "site"},
		{"web3", "web-id", "web.3", false, "front-id", "10.0.1.13/24", "fd00:1::13/64", "site"},
		{"db1", "db-id", "db.1", true, "front-id", "10.0.1.21/24", "", "store"},
		{"db2", "db-id", "db.2", true, "front-id", "10.0.1.22/24", "", "store"},
		{"db3", "db-id", "db.3", false, "front-id", "10.0.1.23/24", "", "store"},
		{"api1", "api-id", "api.1", true, "front-id", "10.0.1.31/24", "", "site"},
		{"other1", "other-id", "other.1", true, "back-id", "10.0.2.11/24", "", "hidden"},
	};

	s->complete = true;
	s->results_in = 1;
	pb_msgs_add(&s->n_networks, &s->networks, dns_network("front-id", "front", "10.0.1.0/24", "fd00:1::/64", false));
	pb_msgs_add(&s->n_networks, &s->networks, dns_network("back-id", "back", "10.0.2.0/24", NULL, true));
	pb_msgs_add(&s->n_services, &s->services, dns_service("web-id", "web", "front-id", "10.0.1.2", "fd00:1::2"));
	pb_msgs_add(&s->n_services, &s->services, dns_service("api-id", "api", "front-id", "10.0.1.3", ""));
	pb_msgs_add(&s->n_services, &s->services, dns_service("db-id", "db", NULL, NULL, NULL));
	pb_msgs_add(&s->n_services, &s->services, dns_service("empty-id", "empty", NULL, NULL, NULL));
	pb_msgs_add(&s->n_services, &s->services, dns_service("other-id", "other", "back-id", "10.0.2.2", ""));
	for (size_t i = 0; i < ARRAY_SIZE(endpoints); i++) {
		pb_net_endpoint *e = dns_endpoint(endpoints[i].id, endpoints[i].service, endpoints[i].name, endpoints[i].ready);

		dns_place(e, endpoints[i].network, endpoints[i].ipv4, endpoints[i].ipv6, endpoints[i].alias);
		pb_msgs_add(&s->n_endpoints, &s->endpoints, e);
	}
	return s;
}

static inline struct model *dns_model(void)
{
	_cleanup_pb_ pb_net_state *state = dns_state();
	struct model *m = model_new(NULL);
	struct error err = ERROR_INIT;

	if (model_apply(m, state, &err) < 0 || model_malformed(m))
		abort();
	return m;
}

/* Who asks, unless a test says otherwise: a task in front alone, with the search domain corp.example. */
struct dns_one {
	struct strv networks, search;
	struct ipaddr own;
	struct dns_asker who;
};

static inline void dns_one_init(struct dns_one *o, const char *network)
{
	*o = (struct dns_one){0};
	if (network)
		strv_add(&o->networks, network);
	strv_add(&o->search, "corp.example");
	if (ipaddr_parse("10.0.1.40", &o->own, NULL) < 0)
		abort();
	o->who = (struct dns_asker){.networks = &o->networks, .search = &o->search, .hostname = "myhost", .addresses = &o->own,
				    .n_addresses = 1};
}

static inline void dns_one_fini(struct dns_one *o)
{
	strv_fini(&o->networks);
	strv_fini(&o->search);
}

/* A question in wire form into buf; its length. edns 0 = none. */
static inline size_t dns_question(uint8_t *buf, const char *name, uint16_t type, uint16_t edns)
{
	static const uint8_t header[12] = {0x12, 0x34, 0x01, 0, 0, 1, 0, 0, 0, 0, 0, 0};
	size_t at = sizeof(header);

	memcpy(buf, header, sizeof(header));
	while (*name) {
		size_t len = strcspn(name, ".");

		buf[at++] = (uint8_t)len;
		memcpy(buf + at, name, len);
		at += len;
		name += len + (name[len] == '.');
	}
	buf[at++] = 0;
	buf[at++] = (uint8_t)(type >> 8);
	buf[at++] = (uint8_t)type;
	buf[at++] = 0;
	buf[at++] = 1;
	if (edns) {
		const uint8_t opt[] = {0, 0, 41, (uint8_t)(edns >> 8), (uint8_t)edns, 0, 0, 0, 0, 0, 0};

		memcpy(buf + at, opt, sizeof(opt));
		at += sizeof(opt);
		buf[11] = 1;
	}
	return at;
}
