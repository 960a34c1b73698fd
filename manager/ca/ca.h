/*
 * ca - the CA service: nodes join with a token, and renew their certificates.
 *
 * Runs on every manager; the root key is in the store. Issue is the one method for a peer without a
 * certificate. A join is one transaction: the Node object and the use of the token, or neither.
 */
#pragma once
#include <stdint.h>
#include <uv.h>

struct ca;
struct rpc_server;
struct store;

struct ca_options {
	uv_loop_t *loop;
	struct store *store;
};

struct ca *ca_new(const struct ca_options *options);

/* Offer the service; before rpc_server_start. */
void ca_add_to(struct ca *ca, struct rpc_server *server);

/* For metrics. */
struct ca_stats {
	uint64_t joined, renewed, refused, conflicts;
};
const struct ca_stats *ca_stats(const struct ca *ca);

/* After the servers are closed; waits for its transactions: close the store at the same time. */
void ca_close(struct ca *ca, void (*closed)(void *data), void *data);
