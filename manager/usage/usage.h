/*
 * usage - what nodes and tasks use now, while somebody wants to know: one stream to each agent, shared by all who look
 * (`clusterctl top`, the web page). Nothing is written to etcd, and nothing is asked while nobody looks. Loop thread.
 */
#pragma once
#include "proto/pb.h"

#include <uv.h>

struct rpc;
struct rpc_creds;
struct store;
struct usage;
struct usage_sub;

struct usage_options {
	uv_loop_t *loop;
	struct store *store;     /* borrowed, as rpc */
	struct rpc *rpc;
	struct rpc_creds *creds; /* the manager's; a reference is taken */
};

/*
 * A node's newest sample, borrowed for the call. Only tasks that the node has by the view are in it, each once; `error` says why
 * there is no sample: told once, until there is one again. Never inside usage_subscribe().
 */
typedef void (*usage_cb)(void *data, const pb_node_usage *sample);

struct usage *usage_new(const struct usage_options *options);
/* All subscribers must have gone. closed runs once, when the streams have ended; the struct is freed then. */
void usage_close(struct usage *u, void (*closed)(void *data), void *data);

struct usage_sub *usage_subscribe(struct usage *u, usage_cb cb, void *data);
/* NULL is fine. The last one that goes ends the streams. */
void usage_unsubscribe(struct usage_sub *sub);

/* What is known now, one call per node: for whoever came when others were looking already. */
void usage_each(const struct usage *u, usage_cb cb, void *data);
