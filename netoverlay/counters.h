/*
 * counters - what the kernel counts in a namespace: bytes and packets of links, connections of balanced services.
 * One dump each. Blocking, some microseconds per link; on the thread that has the handle.
 */
#pragma once
#include <net/if.h>
#include <stddef.h>
#include <stdint.h>

struct error;
struct netns;

struct link_counters {
	char name[IFNAMSIZ];
	uint64_t rx_bytes, rx_packets, rx_errors, rx_dropped;
	uint64_t tx_bytes, tx_packets, tx_errors, tx_dropped;
};
/* Every link of the namespace; *ret is yours. */
int netns_link_counters(struct netns *ns, struct link_counters **ret, size_t *ret_n, struct error *err);

struct balance_counters {
	unsigned services, endpoints;
	uint64_t active, inactive;      /* connections now */
};
/* All IPVS services of the namespace. Errors: ERR_UNIMPLEMENTED without IPVS. */
int netns_balance_counters(struct netns *ns, struct balance_counters *ret, struct error *err);
