/*
 * gateway_ipam - addresses of tasks on this node's own subnet (skein0). One that is given back rests before it is given
 * again: next-fit. Nothing is stored: after a restart the addresses are read from the tasks' namespaces. Pure.
 */
#pragma once
#include "common/ipaddr.h"

#include <stdbool.h>
#include <stdint.h>

struct error;

struct gateway_ipam {
	struct ipaddr subnet4; /* the first address is the bridge's */
	struct ipaddr subnet6; /* none: no IPv6 */
	uint32_t limit, next;
	uint8_t *used;         /* bitmap by offset */
};

/* subnet6 may be none. Errors: ERR_INVALID too small or not a subnet. */
int gateway_ipam_init(struct gateway_ipam *ipam, const struct ipaddr *subnet4, const struct ipaddr *subnet6, struct error *err);
void gateway_ipam_fini(struct gateway_ipam *ipam);

/* Both addresses have the same offset; with the subnets' prefix lengths. Errors: ERR_EXHAUSTED with subnet and use. */
int gateway_ipam_take(struct gateway_ipam *ipam, struct ipaddr *ret4, struct ipaddr *ret6, struct error *err);
/* One that a task has already (found in its namespace); false: not in the subnet, or somebody else's. */
bool gateway_ipam_reserve(struct gateway_ipam *ipam, const struct ipaddr *a4, struct ipaddr *ret6);
void gateway_ipam_give(struct gateway_ipam *ipam, const struct ipaddr *a4);

/* The bridge's. */
struct ipaddr gateway_ipam_gateway4(const struct gateway_ipam *ipam);
struct ipaddr gateway_ipam_gateway6(const struct gateway_ipam *ipam);
