/*
 * counters - what a manager counts as it goes: observers of its parts, plain data behind. Nothing here looks at a clock.
 */
#pragma once
#include "common/metrics/metrics.h"
#include "manager/store/etcd.h"

struct api_method;
struct rpc_observation;
struct store_event;

struct manager_counters {
	struct metric_histogram start, plan, watch_lag;
	struct metric_histogram etcd[ETCD_OPERATIONS];
	uint64_t etcd_failures[ETCD_OPERATIONS];
	struct api_method *api;
	char leader[64]; /* node id; "" = none yet */
	uint64_t leader_changes;
};

void counters_fini(struct manager_counters *c);

/* ---- the forms that the parts' observers have; data is the counters */
void counters_on_call(void *data, const struct rpc_observation *o);
void counters_on_etcd(void *data, enum etcd_operation operation, int64_t took_ns, enum error_code code);
void counters_on_lag(void *data, int64_t lag_ns);
void counters_on_plan(void *data, int64_t plan_ns);
void counters_on_events(void *data, const struct store_event *events, size_t n);
void counters_leader(struct manager_counters *c, const char *node_id);

/* ---- writing */
void counters_write_api(struct metrics_writer *w, const struct manager_counters *c);
void counters_write_etcd(struct metrics_writer *w, const struct manager_counters *c);
