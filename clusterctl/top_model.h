/*
 * top_model - samples of nodes, joined with the lists of tasks and services, as sorted rows. Pure.
 */
#pragma once
#include "listing.h"
#include "proto/pb.h"

struct error;

enum top_kind { TOP_NODES, TOP_SERVICES, TOP_TASKS };
enum top_sort { TOP_BY_NAME, TOP_BY_CPU, TOP_BY_MEMORY, TOP_BY_NETWORK, TOP_BY_RESTARTS };

extern const struct list_field top_node_fields[], top_service_fields[], top_task_fields[];

struct top_row {
	char *name, *node, *status;
	uint64_t cpu_nano, mem_bytes, mem_limit_bytes, net_rx_rate, net_tx_rate, block_read_bytes, block_write_bytes, pids;
	uint64_t running, desired, restarts;
	bool measured;   /* there is a sample, or (of a service) one of each task */
};

struct top_rows {
	struct top_row *v;
	size_t n;
};

/* What is known at one moment; everything is borrowed. */
struct top_state {
	pb_node_usage *const *samples; /* one per node at most */
	size_t n_samples;
	const Skein__ListNodesResponse *nodes;       /* TOP_NODES; else NULL */
	const Skein__ListServicesResponse *services; /* TOP_SERVICES; else NULL */
	const Skein__ListTasksResponse *tasks;
};

void top_rows_make(const struct top_state *state, enum top_kind kind, enum top_sort sort, struct top_rows *ret);
void top_rows_fini(struct top_rows *rows);

/* One listing row per row. */
void top_fill(struct listing *l, enum top_kind kind, const struct top_rows *rows);

/* Has every node said what it uses over some time, or why it cannot? Then a single picture is complete. */
bool top_complete(const struct top_state *state);
