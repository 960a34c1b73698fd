/*
 * control - the Control service: what clusterctl asks of a manager.
 *
 * Reads come from the store's view; a write is one transaction, and the answer goes out once the
 * view has its revision. Who may call: manager certificates and the local unix socket. Everything
 * that belongs to a sibling folder (scheduler, ca, membership, registries) comes in through struct
 * control_ops.
 */
#pragma once
#include "proto/pb.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct control;
struct error;
struct history;
struct usage;
struct rpc;
struct rpc_creds;
struct rpc_server;
struct store;
struct strv;
struct txn;
struct view;

/* cb runs exactly once, on the loop, after the function that took it has returned. err NULL = done.
 */
typedef void (*control_done_cb)(void *cb_data, const struct error *err);
/* digest: "sha256:<hex>" of the manifest (or index) that the reference names now; NULL on error. */
typedef void (*control_digest_cb)(void *cb_data, const char *digest, const struct error *err);

/* Whether a task may run on a node; `reason` is valid during the call. */
typedef void (*control_verdict_cb)(void *cb_data, const pb_node *node, bool fits, const char *filter,
				   const char *reason);
/* A task that is to move, and where. */
typedef void (*control_move_cb)(void *cb_data, const pb_task *task, const pb_node *to);

/* What control needs of its siblings. Every function is required; `data` is passed to each. */
struct control_ops {
	void *data;

	/* ---- scheduler */
	/* Syntax of one constraint, "node.labels.rack==a". ERR_INVALID with what is accepted. */
	int (*constraint_check)(void *data, const char *expr, struct error *err);
	/* Why each task of a service is where it is. Heap message, taken over by control. */
	Skein__ExplainServiceResponse *(*explain)(void *data, struct view *v,
						  const pb_service *service, int64_t now);
	/* Nodes that a global service runs on now: eligible ones. */
	uint64_t (*global_wanted)(void *data, struct view *v, const pb_service *service);

	/* Whether a running task could be moved to each node; it does not count as load itself. */
	void (*verdicts)(void *data, const struct view *v, const pb_task *task, int64_t now,
			 control_verdict_cb cb, void *cb_data);
	/* Which tasks to move so that a service is spread again; in the order in which it is best done. */
	void (*rebalance)(void *data, const struct view *v, const pb_service *service, int64_t now,
			  control_move_cb cb, void *cb_data);

	/* ---- join tokens: staged into `t`; texts are heap strings that control wipes and frees */
	/* The standing token of a role; made when there is none, replaced when `rotate`. */
	int (*token_standing)(void *data, struct txn *t, struct view *v, int role, bool rotate,
			      int64_t now, char **ret_text, struct error *err);
	/* A token as CreateToken asks for it (already checked by control). */
	int (*token_create)(void *data, struct txn *t, struct view *v,
			    const Skein__CreateTokenRequest *request, int64_t now, char **ret_id,
			    char **ret_text, struct error *err);
	int (*token_revoke)(void *data, struct txn *t, struct view *v, const char *id,
			    struct error *err);

	/* ---- the web page */
	/* A token to sign in with, staged into `t`; the text is as those of join tokens. */
	int (*ui_token_create)(void *data, struct txn *t, struct view *v, int64_t ttl_ns,
			       int64_t now, char **ret_id, char **ret_text, struct error *err);
	/* Where the page of this manager is, heap; NULL when it is off: ERR_PRECONDITION. */
	char *(*ui_url)(void *data, struct error *err);

	/* ---- membership of the managers' etcd */
	/*
	 * Take a manager out of etcd's members. Refused (ERR_PRECONDITION with the reason) when it
	 * is the last one or quorum would be lost. Repeating it is harmless: not a member (any
	 * more) is success.
	 */
	void (*remove_member)(void *data, const char *node_id, control_done_cb cb, void *cb_data);
	/* Node id of the leader, "" when there is none. */
	const char *(*leader_id)(void *data);
	/* Is that manager in touch with this one? More recent than the state of its node, which
	 * cannot change without a quorum. */
	bool (*manager_alive)(void *data, const char *node_id);
	/* Is etcd our child, and where it is ("https://10.0.0.1:2379"); appended to ret_endpoints.
	 */
	void (*etcd_info)(void *data, bool *ret_embedded, struct strv *ret_endpoints);

	/* What this manager complains of about itself, "" = nothing. */
	const char *(*complaint)(void *data);

	/* ---- registries */
	/*
	 * Ask the registry for the digest of a normalised reference; must answer within timeout_ms.
	 *   auth  the spec's registry_auth, "" = none
	 */
	void (*resolve_image)(void *data, const char *ref, const char *auth, uint64_t timeout_ms,
			      control_digest_cb cb, void *cb_data);
};

struct control_options {
	uv_loop_t *loop;
	struct store *store;
	struct rpc *rpc;	       /* for Logs: streams to agents */
	struct rpc_creds *creds;       /* the manager's; a reference is taken */
	struct history *history;       /* borrowed; must live longer */
	struct usage *usage;	       /* borrowed; must live longer */
	const char *node_id;	       /* of this manager; copied */
	const struct control_ops *ops; /* copied */
};

struct control *control_new(const struct control_options *options);

/* Offer the service; call for each server (TLS, unix socket) before rpc_server_start. */
void control_add_to(struct control *c, struct rpc_server *server);

/* After the servers are closed (their calls have ended). Waits for transactions and operations on
 * their way; close the store afterwards or at the same time. */
void control_close(struct control *c, void (*closed)(void *data), void *data);
