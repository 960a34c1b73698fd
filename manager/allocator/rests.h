/*
 * rests - what a leader remembers about addresses beyond the view: which were given back lately, and where the search
 * for the next one goes on. A fresh one (a new leader) is made up for from the view, and VNIs by a gap (vni.h).
 */
#pragma once
#include "common/ipaddr.h"

#include <stdint.h>

#define RESTS_NS INT64_C(60000000000)

struct rests;

struct rests *rests_new(void);
void rests_free(struct rests *r);

/* An address (with or without prefix length; "" and what is none: ignored) came free. */
void rests_add(struct rests *r, const char *network_id, const char *address, int64_t now);
/* Told about each address of the network that came free less than RESTS_NS ago; others are forgotten. */
typedef void (*rests_each_cb)(void *data, const struct ipaddr *address, int64_t since);
void rests_each(struct rests *r, const char *network_id, int64_t now, rests_each_cb cb, void *data);

/* The largest VNI that was seen in use; 0 = none. */
void rests_set_last_vni(struct rests *r, uint32_t vni);
uint32_t rests_last_vni(const struct rests *r);

/* The address that was given last in a network and family (AF_INET, AF_INET6); family 0 = not known. */
void rests_set_last(struct rests *r, const char *network_id, const struct ipaddr *address);
struct ipaddr rests_last(const struct rests *r, const char *network_id, int family);
