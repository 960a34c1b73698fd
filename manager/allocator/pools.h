/*
 * pools - subnets of networks. What a network's spec names is taken as it is; what it leaves open is cut from the
 * cluster's address pools (IPv4; IPv6 when there are such pools) or from a prefix of the cluster's own (RFC 4193).
 */
#pragma once
#include "proto/pb.h"

#include <stdbool.h>

struct error;
struct view;

#define POOLS_DEFAULT "10.0.0.0/8"
#define POOLS_DEFAULT_PREFIX 24
#define POOLS_PREFIX6 64

/* It has a subnet of each family that its spec asks for. */
bool pools_complete(const pb_network *network);
/* The pool in force of a family (AF_INET, AF_INET6); NULL = none. */
const pb_ipam_pool *pools_find(const pb_network *network, int family);

/* Subnets in use, read once for all networks of a round. */
struct pools;
struct pools *pools_new(const struct view *view);
void pools_free(struct pools *pools);

/*
 * Complete network->pools, gateways included. What is cut overlaps no other network, no subnet that a spec names,
 * neither the ingress network nor the nodes' own bridges, and has no node's address in it.
 *   Errors  ERR_EXHAUSTED nothing left to cut; ERR_INVALID a subnet of the spec cannot be read; ERR_EXISTS it overlaps
 *           another overlay network's
 */
int pools_give(struct pools *pools, pb_network *network, struct error *err);
