/*
 * netfeed - what one agent was told of networks, and the messages that bring it up to date.
 *
 * An agent has the ingress network and those of tasks on its node that have not ended. It is told
 * of all nodes, of the services and tasks in its networks, of services that are open on every node
 * and their tasks, and of what its own tasks publish. Plain data, no I/O.
 */
#pragma once
#include "proto/pb.h"

#include <stdbool.h>
#include <stdint.h>
#include <uthash.h>

struct netfeed;
struct netindex;
struct view;

#define NETFEED_MESSAGE_MAX_BYTES (7u << 19) /* 3.5 MiB, unless one object alone is larger */

enum netfeed_kind { NETFEED_NETWORK, NETFEED_NODE, NETFEED_ENDPOINT, NETFEED_SERVICE, NETFEED_KINDS };

/* touched: something may have changed, netfeed_next() is to be asked soon. Not called by it. */
struct netfeed *netfeed_new(struct netindex *ix, const char *node_id, void (*touched)(void *data),
			    void *data);
void netfeed_free(struct netfeed *f); /* NULL is fine */

/*
 * The next message for the agent, or NULL when it knows everything. The first is `complete`; if that
 * does not fit into one message, it has `more` set and goes on in the next ones, which are not
 * `complete` and remove nothing. A removal is told only of what was told before.
 *   revision  of etcd, that the view reflects
 *   returns   heap message; counts as told from now on
 */
Skein__NetState *netfeed_next(struct netfeed *f, const struct view *v, uint64_t revision);

/* ---- for netindex */

const char *netfeed_node(const struct netfeed *f);
/* Look at the object again. */
void netfeed_touch(struct netfeed *f, enum netfeed_kind kind, const char *id);
/* ... and at all tasks of the service. */
void netfeed_touch_service(struct netfeed *f, const char *id, bool with_tasks);
/* A task of the node came, changed or went: the networks may be others. */
void netfeed_touch_networks(struct netfeed *f);
