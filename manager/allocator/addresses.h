/*
 * addresses - which addresses of networks are in use, and the next free one. For one round: a network is read from the
 * view (with what is staged) when it is first asked about.
 *
 * The search goes on behind the address that was given last. One that was given back less than RESTS_NS ago is taken
 * only when no other is left, the one that has rested longest first.
 */
#pragma once
#include "common/ipaddr.h"
#include "proto/pb.h"

struct addresses;
struct error;
struct plan;

struct addresses *addresses_new(struct plan *p);
void addresses_free(struct addresses *a);

/*
 * An address in the network's pool of a family (AF_INET, AF_INET6), with the prefix length of its subnet. With `want` (not
 * empty) that one, which no other object may have; else one that no service wants.
 *   for_id  id of the task or service that gets it
 *   Errors  ERR_EXHAUSTED none is free; ERR_EXISTS somebody has the wanted one; ERR_INVALID it is not in the subnet.
 *           Messages begin with "network NAME: ".
 */
int addresses_take(struct addresses *a, const pb_network *network, int family, const char *want, const char *for_id,
		   struct ipaddr *ret, struct error *err);
/* What was taken in this round is not needed after all. */
void addresses_give_back(struct addresses *a, const pb_network *network, const struct ipaddr *address);
