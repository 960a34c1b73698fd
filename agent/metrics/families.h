/*
 * families - all metrics of cluster-agent as data: what is written, documented and checked.
 */
#pragma once
#include "common/metrics/metrics.h"

/* In the order in which a container's values are written. */
enum container_family {
	C_CPU, C_CPU_USER, C_CPU_SYSTEM, C_CPU_LIMIT, C_PERIODS, C_THROTTLED_PERIODS, C_THROTTLED,
	C_MEMORY, C_WORKING_SET, C_RSS, C_CACHE, C_SWAP, C_MEMORY_LIMIT, C_FAULTS, C_MAJOR_FAULTS, C_OOM_KILLS,
	C_PIDS, C_PIDS_LIMIT, C_READ, C_WRITTEN, C_READS, C_WRITES,
	C_RECEIVED, C_SENT, C_RECEIVED_PACKETS, C_SENT_PACKETS, C_RECEIVED_ERRORS, C_SENT_ERRORS, C_RECEIVED_DROPS, C_SENT_DROPS,
	C_WAITING, C_STALLED, C_START_TIME, C_RESTARTS, C_STATE, C_HEALTH,
	CONTAINER_FAMILIES,
};

enum node_family {
	N_INFO, N_CPU_CAPACITY, N_MEMORY_CAPACITY, N_CPU_RESERVED, N_MEMORY_RESERVED, N_CPU_ALLOCATABLE, N_MEMORY_ALLOCATABLE,
	N_TASKS, N_SESSION_UP, N_SESSIONS, N_RUNTIME_UP, N_NETWORK_UP, N_CERTIFICATE,
	NODE_FAMILIES,
};

enum work_family {
	W_IMAGES, W_IMAGE_BYTES, W_FETCHES, W_START_DURATION, W_START_FAILURES,
	W_OVERLAY_TASKS, W_OVERLAY_PEERS, W_LB_SERVICES, W_LB_ENDPOINTS, W_LB_CONNECTIONS, W_DNS,
	WORK_FAMILIES,
};

extern const struct metric_family container_families[CONTAINER_FAMILIES], node_families[NODE_FAMILIES], work_families[WORK_FAMILIES];

/* All of them, and those of every daemon (process.h). */
#define AGENT_TABLES 4
extern const struct metric_table *const agent_tables[AGENT_TABLES];
