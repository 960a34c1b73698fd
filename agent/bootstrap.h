/*
 * bootstrap - join a cluster: pin its root by the token, ask for a certificate, store the identity.
 *
 * Managers are tried in order. Before anything is sent, the server's chain must hold the root whose
 * digest is in the token, and its leaf must be a valid manager's certificate from that root.
 */
#pragma once
#include "common/error.h"
#include "common/identity_dir.h"

#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct bootstrap;
struct rpc;

struct bootstrap_options {
	uv_loop_t *loop;
	struct rpc *rpc;
	const char *dir;               /* <state>/identity; made */
	const char *token;
	char *const *managers;         /* "host[:port]", port 2377 if not given */
	size_t n_managers;
	const char *address;           /* literal: where peers reach this node */
	const char *hostname;
	const char *listen;            /* of a manager's API here; kept in the identity */
	int availability;
	unsigned peer_port;
	uint64_t timeout_ms;           /* of each step at each manager; 0 = 10000 */
};

/*
 * cb runs exactly once, on the loop, after this has returned. On success the identity is on disk; `identity` is
 * borrowed during the callback. Errors: ERR_INVALID token or address; ERR_DENIED the token is refused or
 * a pin does not fit; ERR_UNAVAILABLE, ERR_TIMEOUT no manager; ERR_CANCELLED.
 */
typedef void (*bootstrap_done_cb)(void *data, const struct identity_data *identity, const struct error *err);
struct bootstrap *bootstrap_join(const struct bootstrap_options *options, bootstrap_done_cb cb, void *data);

/* cb comes with ERR_CANCELLED; when a manager is being connected to, only after the timeout of that. */
void bootstrap_cancel(struct bootstrap *b);
