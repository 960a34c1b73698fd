/*
 * session - the one stream to a manager: registers the node, beats, brings assignments, takes statuses.
 * Any manager will do; when the stream ends the next one is tried at once, then with back-off (100 ms .. 8 s, jittered).
 */
#pragma once
#include "common/error.h"
#include "proto/pb.h"

#include <stdbool.h>
#include <uv.h>

struct session;
struct rpc;
struct rpc_creds;

struct session_options {
	uv_loop_t *loop;
	struct rpc *rpc;
	struct rpc_creds *creds;
	const char *address;       /* where peers reach this node, no port; copied */
	unsigned peer_port;
	const char *prefer;        /* manager tried first ("host:port"), e.g. our own; NULL = none; copied */
	/* Fills in what is sent at registration; heap message, taken over. */
	pb_node_description *(*describe)(void *data);
	int64_t (*cert_expires_at)(void *data);
	void (*on_up)(void *data, const char *manager);
	void (*on_down)(void *data, const struct error *err);
	/* -1: the set does not fit, the session starts over. */
	int (*on_assignments)(void *data, const Skein__Assignments *set, struct error *err);
	/* Of the networks, before the assignments that need it. -1: as above. */
	int (*on_net)(void *data, const pb_net_state *state, struct error *err);
	void (*on_ack)(void *data, uint64_t sequence);
	void (*on_node)(void *data, const Skein__NodeUpdate *update);
	/* The cluster no longer knows this node (removed). The session stops trying. */
	void (*on_removed)(void *data, const struct error *err);
	void *data;
};

struct session *session_new(const struct session_options *options);
/* Where managers are, "host:port"; copied. The session moves only when its manager is lost. */
void session_set_managers(struct session *s, const char *const *managers, size_t n);
void session_set_prefer(struct session *s, const char *manager);
void session_start(struct session *s);
/* The node leaves: say so, end the stream, and do not try again until session_start(). */
void session_leave(struct session *s);
void session_close(struct session *s, void (*closed)(void *data), void *data);
/* End the stream and begin again (new certificate, unfit assignments). */
void session_restart(struct session *s);

/* A manager has just come up (ours): if there is no session, try now instead of when the back-off says. */
void session_kick(struct session *s);

/* -1 when there is no session or it is full. */
int session_send_statuses(struct session *s, const Skein__StatusReports *batch);
/* The newest word of one end of a migration. -1: as above. */
int session_send_migration(struct session *s, const pb_migration_report *report);
/* The description changed. */
void session_send_description(struct session *s);
const char *session_manager(const struct session *s); /* "" = none */
uint64_t session_count(const struct session *s);       /* sessions that came about so far */
