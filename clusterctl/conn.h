/*
 * conn - requests to a manager and to the agent of this host, one after another.
 * A request runs the loop until it is answered; gRPC starts with the first one.
 */
#pragma once
#include "rpc/rpc.h"

#include <stdint.h>
#include <uv.h>

struct error;
struct global_flags;

enum conn_end {
	CONN_MANAGER, /* Control: --host, or the socket of the manager on this host */
	CONN_AGENT,   /* Local: always the socket of the agent on this host */
};

#define CONN_TIMEOUT_MS 30000

struct conn *conn_new(const struct global_flags *global);
/* Cancels what still runs and waits for the end of gRPC. NULL is fine. */
void conn_free(struct conn *conn);

uv_loop_t *conn_loop(struct conn *conn);
/* Turn the loop until *done. */
void conn_run(struct conn *conn, const bool *done);

/*
 * Unary request. *ret_reply is a heap message of the method's answer type (pb_free); may be NULL.
 *   Errors  of the method; ERR_UNAVAILABLE and ERR_PRECONDITION say which daemon cannot be reached
 * and what to do about it
 */
int conn_call(struct conn *conn, enum conn_end end, const char *method, const void *request,
	      uint64_t timeout_ms, void *ret_reply, struct error *err);

/* Start a stream; NULL when there is nobody to talk to. */
struct rpc_call *conn_stream(struct conn *conn, enum conn_end end, const char *method,
			     const struct rpc_handlers *handlers, void *data, struct error *err);

/*
 * The manager was lost: the next stream goes to another one (of --host's list, or of those that the agent knows when
 * certificates are given), or to the same one again when there is no other. Never for requests that change something.
 */
void conn_next_manager(struct conn *conn);

/* "the manager at 10.0.0.1:2377" in front of an error that says that nobody answered. */
void conn_explain(struct conn *conn, enum conn_end end, struct error *err);
