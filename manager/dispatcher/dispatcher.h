/*
 * dispatcher - one stream per agent: registration, beats and statuses up; assignments down.
 *
 * Runs on every manager; an agent may hold its session with any of them. It decides which nodes are
 * DOWN: each manager for its own sessions, the leader also for nodes whose manager is gone. Beats
 * never reach etcd; a node's state is written when it changes. Statuses of all agents share one
 * transaction in flight.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct dispatcher;
struct rpc_server;
struct store;

struct dispatcher_options {
	uv_loop_t *loop;
	struct store *store;
	const char *node_id; /* of this manager; copied */

	/* Timing in ns, 0 = default. Tests shorten them. */
	int64_t beat_min_ns;	/* shortest beat period; 250 ms */
	int64_t silence_min_ns; /* a node is never DOWN for less silence than this; 1 s */
	int64_t busy_ns;	/* silence of an agent whose host answers; 10 s */
	int64_t grace_ns;	/* for a broken stream or a lost manager; 5 s */
};

struct dispatcher *dispatcher_new(const struct dispatcher_options *options);

/* Offer the Dispatcher service; before rpc_server_start. */
void dispatcher_add_to(struct dispatcher *d, struct rpc_server *server);

/* Begin once the store is loaded: nodes that named this manager get their grace from here on. */
void dispatcher_start(struct dispatcher *d);

/* This manager became (or is no longer) the leader: it answers for nodes without a living manager.
 */
void dispatcher_set_leader(struct dispatcher *d, bool leader);

/* Another manager's presence, by node id. One never told of counts as gone. */
void dispatcher_manager_alive(struct dispatcher *d, const char *node_id, bool alive);

/* For metrics. */
struct dispatcher_stats {
	size_t sessions;
	uint64_t registrations, beats, reports, reports_dropped, assignments, net_states, nodes_down, stalls;
	int64_t beat_period_ns;
};
const struct dispatcher_stats *dispatcher_stats(struct dispatcher *d);

/* After the servers are closed; waits for its transactions: close the store at the same time. */
void dispatcher_close(struct dispatcher *d, void (*closed)(void *data), void *data);
