/*
 * netobj - what agents are told of nodes, services and tasks, made from the store's objects. Pure.
 */
#pragma once
#include "proto/pb.h"

#include <stdbool.h>
#include <stdint.h>

struct idset;
struct view;

#define NETOBJ_INGRESS "ingress" /* id of the network that every node has */
#define NETOBJ_WEIGHT_MAX 256

/*
 * Heap messages, or NULL when agents are told nothing of the object: a node without an address or a
 * place in the ingress network; a task that is not (or no longer) on a node, or that has neither a
 * network nor a published port.
 *   networks  the result speaks of these only; NULL = of all
 *   service   of the task; NULL = it is gone
 */
pb_net_node *netobj_node(const pb_node *node);
pb_network *netobj_network(const pb_network *network); /* without its Meta */
pb_net_service *netobj_service(const pb_service *service, const struct idset *networks);
/* Of the two tasks of a migration one has the endpoint (v says how far it is): the source's up to SWITCH, the target's from then on,
 * and, given up, the source's again. It is as ready as before all the while. */
pb_net_endpoint *netobj_endpoint(const struct view *v, const pb_task *task, const pb_service *service,
				 const struct idset *networks);
/* Does the target's task have the endpoint? NULL: no. */
bool netobj_is_switched(const pb_migration *migration);

/* Is on a node and may have something there: ASSIGNED to RUNNING. */
bool netobj_task_counts(const pb_task *task);

/* Networks of a service: of its spec, and those where it has a virtual address. Added to `out`. */
void netobj_service_networks(const pb_service *service, struct idset *out);
/* Some port of it is open on every node. NULL: no. */
bool netobj_service_is_ingress(const pb_service *service);
bool netobj_service_publishes(const pb_service *service);
/* Label skein.lb.weight, 1 without it. */
uint32_t netobj_service_weight(const pb_service *service);

/* Of the packed message. */
uint64_t netobj_fingerprint(const ProtobufCMessage *msg);
