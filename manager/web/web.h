/*
 * web - the page that shows the cluster: read-only, signed in to with a token.
 *
 * Static files, a stream of what changes (server-sent events), details on demand. Logs and usage come from the manager's
 * own API through its unix socket: the page is a client of it as clusterctl is. Loop thread.
 */
#pragma once
#include "manager/store/store.h"
#include "proto/pb.h"

#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct http_request;
struct rpc;
struct usage;
struct view;
struct web;

/* Pages that may be open here at once; each has a stream of what changes, one of its plots and one of a log. */
#define WEB_PAGES_MAX 32
#define WEB_STREAMS_MAX (3 * WEB_PAGES_MAX)

struct web_options {
	uv_loop_t *loop;
	struct view *view;	    /* every change of it comes to web_events */
	struct rpc *rpc;
	struct usage *usage;	    /* borrowed, as rpc; NULL: there are no plots */
	const char *control_target; /* "unix:/run/skein/manager.sock"; copied */
	const char *node_id;	    /* of this manager; copied */
	/* Node id of the leader, "" when there is none. */
	const char *(*leader_id)(void *data);
	/* Nodes that a global service runs on now. */
	uint64_t (*global_wanted)(void *data, struct view *v, const pb_service *service);
	void *data;
};

struct web *web_new(const struct web_options *options);

/* Answer a request for "/ui" or what is below it. */
void web_handle(struct web *w, struct http_request *req);

/* The view is already at the new state. */
void web_events(struct web *w, const struct store_event *events, size_t n);
/* Somebody else leads the managers. */
void web_leader_changed(struct web *w);

/* After the server is closed: every stream has ended. NULL: closed is called at once. */
void web_close(struct web *w, void (*closed)(void *data), void *data);
