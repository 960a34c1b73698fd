/*
 * presence - the other managers, by one stream to each: that one's death shows at once.
 *
 * Serves Member.Presence and Member.AddMember; keeps a stream to every manager that the view names. A stream
 * that breaks is told (and tried again with back-off); silence is noticed by HTTP/2 pings, the leader's after about
 * half a second by what its kernel leaves unacknowledged (common/silence.h).
 */
#pragma once
#include "common/error.h"
#include "proto/pb.h"

#include <stdbool.h>
#include <uv.h>

struct presence;
struct rpc;
struct rpc_creds;
struct rpc_server;
struct store;

struct presence_options {
	uv_loop_t *loop;
	struct rpc *rpc;
	struct rpc_creds *creds;
	struct store *store;
	const char *node_id; /* ours; copied */
	void (*on_alive)(void *data, const char *node_id, bool alive);
	/* Answer AddMember: cb exactly once, later; the response is a heap message, taken over. */
	void (*add_member)(void *data, const Skein__AddMemberRequest *request,
			   void (*cb)(void *cb_data, Skein__AddMemberResponse *response, const struct error *err),
			   void *cb_data);
	const char *(*leader_id)(void *data);
	void *data;
};

struct presence *presence_new(const struct presence_options *options);
void presence_add_to(struct presence *p, struct rpc_server *server);
/* Once the view is loaded. */
void presence_start(struct presence *p);
/* Our stream to that manager is up. */
bool presence_alive(const struct presence *p, const char *node_id);
void presence_close(struct presence *p, void (*closed)(void *data), void *data);
