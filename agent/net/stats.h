/*
 * stats - what the kernel counts for this node's networks: traffic of tasks, connections of balanced services.
 *
 * A task's traffic is read at the outer ends of its links: one dump of the host's namespace and one of each overlay's
 * tell it for all tasks, and no descriptor keeps a namespace that is to go. Only links without an outer end (macvlan,
 * ipvlan) are looked at inside. It is read by the net thread, between its other jobs.
 */
#pragma once
#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct dns_stats;
struct net;

struct net_traffic {
	const char *task_id;            /* sorted by it */
	char interface[IFNAMSIZ];       /* in the task: "eth0" */
	const char *network;            /* its name; "bridge" = the gateway interface */
	uint64_t rx_bytes, rx_packets, rx_errors, rx_dropped; /* as the task sees it */
	uint64_t tx_bytes, tx_packets, tx_errors, tx_dropped;
};

struct net_overlay_stats {
	const char *network;
	unsigned tasks, peers;          /* tasks here; other nodes that have some */
	bool balanced;                  /* by IPVS: what follows is known */
	unsigned services, endpoints;
	uint64_t active, inactive;      /* connections */
};

struct net_stats {
	const struct net_traffic *traffic;
	size_t n_traffic;
	const struct net_overlay_stats *overlays;
	size_t n_overlays;
};

/* cb exactly once, from the loop; stats are borrowed until it has returned. What cannot be read is left out. */
typedef void (*net_stats_cb)(void *data, const struct net_stats *stats);
void net_stats_read(struct net *n, net_stats_cb cb, void *data);

const struct dns_stats *net_dns_stats(const struct net *n);
