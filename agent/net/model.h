/*
 * model - what this node knows of the cluster's networks: nodes, networks, services, endpoints, and who belongs to whom.
 *
 * Filled by NetState messages (model_apply). Objects refer to each other by pointer; one that others speak of and that no
 * message has told about yet is there, too, with `pb` NULL. Everything here is read-only for others and valid until the
 * next model_apply / model_set_draining (`epoch` is the model's own). Pure, no I/O. Loop thread.
 */
#pragma once
#include "common/ipaddr.h"
#include "proto/pb.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <uthash.h>

struct error;
struct model;

enum network_driver { NETWORK_OVERLAY, NETWORK_BRIDGE, NETWORK_MACVLAN, NETWORK_IPVLAN, NETWORK_VLAN, NETWORK_OTHER };

struct model_node {
	UT_hash_handle hh;
	char *id;
	const pb_net_node *pb;          /* NULL: not told yet */
	struct ipaddr address;          /* underlay; none = not told yet */
	uint32_t index;                 /* 0 = none */
	LIST_HEAD(, model_endpoint) endpoints;
	unsigned epoch;
};

struct model_network {
	UT_hash_handle hh;
	char *id;
	const pb_network *pb;
	enum network_driver driver;
	bool ingress, internal, encrypted;
	uint32_t vni;                   /* 0 = none (yet) */
	uint32_t mtu;                   /* as the operator wants it; 0 = what fits */
	struct ipaddr subnet4, gateway4; /* none: not of this family; gateways with the subnet's prefix length */
	struct ipaddr subnet6, gateway6;
	LIST_HEAD(, model_place) places; /* endpoints in it */
	LIST_HEAD(, model_vip) vips;    /* services that have an address in it */
	unsigned epoch;
};

/* A service's address in a network. */
struct model_vip {
	LIST_ENTRY(model_vip) of_network;
	struct model_service *service;
	struct model_network *network;
	struct ipaddr ipv4, ipv6;       /* none = not of this family */
};

struct model_service {
	UT_hash_handle hh;
	char *id;
	const pb_net_service *pb;
	struct model_vip *vips;         /* one per network in which it has an address; empty in mode dnsrr */
	size_t n_vips;
	LIST_HEAD(, model_endpoint) endpoints;
	unsigned epoch;
};

/* An endpoint's place in a network. */
struct model_place {
	LIST_ENTRY(model_place) of_network;
	struct model_endpoint *endpoint;
	struct model_network *network;
	const pb_attachment *pb;        /* aliases */
	struct ipaddr ipv4, ipv6;       /* with the subnet's prefix length; none = not of this family */
	struct mac mac;
};

struct model_endpoint {
	UT_hash_handle hh;
	char *id;                       /* task id */
	const pb_net_endpoint *pb;
	struct model_service *service;  /* never NULL; its pb may be */
	struct model_node *node;        /* never NULL; its pb may be */
	LIST_ENTRY(model_endpoint) of_service, of_node;
	bool ready;                     /* may get new connections: the cluster says so and it is not about to stop here */
	bool draining;                  /* it is about to stop here (model_set_draining) */
	uint32_t weight;                /* 1 .. 65535 */
	struct model_place *places;
	size_t n_places;
	unsigned epoch;
};

/*
 * Told about each object that changes, as it was (appears = false) just before and as it is (appears = true) just
 * after. What follows from an object can so be taken back and made anew, at the cost of what hangs on it.
 */
struct model_hooks {
	void (*node)(void *data, struct model_node *node, bool appears);
	void (*network)(void *data, struct model_network *network, bool appears);
	void (*service)(void *data, struct model_service *service, bool appears);
	void (*endpoint)(void *data, struct model_endpoint *endpoint, bool appears);
	void *data;
};

/* hooks is copied; NULL = none. */
struct model *model_new(const struct model_hooks *hooks);
void model_free(struct model *m);

/*
 * Take a message. Objects that are not well-formed (no id, addresses that are none) are left out and counted.
 *   Errors  ERR_CONFLICT it applies to another sequence than ours
 */
int model_apply(struct model *m, const pb_net_state *state, struct error *err);
/* The next message is the first of a complete state. */
void model_begin(struct model *m);
/* Forget everything, as it was in the beginning (hooks are told). */
void model_reset(struct model *m);
/* A complete state has been received (once since the beginning). */
bool model_complete(const struct model *m);
uint64_t model_revision(const struct model *m);
unsigned model_malformed(const struct model *m);

/* A task of this node is about to stop: it counts as not ready, whatever the cluster says. Unknown: remembered. */
void model_set_draining(struct model *m, const char *task_id, bool draining);

/* ---- looking; NULL = unknown. Only objects with pb. */
struct model_node *model_node(const struct model *m, const char *id);
struct model_network *model_network(const struct model *m, const char *id);
struct model_service *model_service(const struct model *m, const char *id);
struct model_endpoint *model_endpoint(const struct model *m, const char *task_id);
/* By the whole name, ASCII case ignored: "web", "web.1". Of several with one name, the newest. */
struct model_service *model_service_by_name(const struct model *m, const char *name);
struct model_endpoint *model_endpoint_by_name(const struct model *m, const char *name);
/* The network whose spec says "ingress"; NULL = none yet. */
struct model_network *model_ingress(const struct model *m);
/* The service that has this published ingress port. */
struct model_service *model_service_by_port(const struct model *m, const char *protocol, uint16_t published);
/* The service whose address this is in the network. */
struct model_vip *model_vip_by_address(const struct model *m, const struct model_network *network,
				       const struct ipaddr *address);
/* Whose address it is in the network; NULL = no endpoint's. */
struct model_place *model_place_by_address(const struct model *m, const struct model_network *network,
					   const struct ipaddr *address);
/* How many endpoints say that it is theirs. */
size_t model_count_by_address(const struct model *m, const struct model_network *network, const struct ipaddr *address);

/* Where the service / the endpoint is in the network; NULL = it is not. */
const struct model_vip *model_service_vip(const struct model_service *s, const struct model_network *network);
const struct model_place *model_endpoint_place(const struct model_endpoint *e, const struct model_network *network);
/* Do the place's aliases (ASCII case ignored) have the name? */
bool model_place_has_alias(const struct model_place *p, const char *name);
/* Each place in the network that has the alias; false from the callback ends it. Cost: those that have it. */
void model_each_alias(const struct model *m, const struct model_network *network, const char *alias,
		      bool (*cb)(void *data, const struct model_place *p), void *data);

/* Each object (with pb) of the model, in no particular order. */
void model_each_node(const struct model *m, void (*cb)(void *data, struct model_node *n), void *data);
void model_each_network(const struct model *m, void (*cb)(void *data, struct model_network *n), void *data);
void model_each_service(const struct model *m, void (*cb)(void *data, struct model_service *s), void *data);
