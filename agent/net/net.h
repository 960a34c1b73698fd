/*
 * net - the networks of this node: overlay namespaces, namespaces of tasks, balancing, published ports, names.
 *
 * What should be follows from NetState messages (cluster) and from the tasks that are attached here. It is turned into
 * netstate entries and nftables texts by pure functions (plan_*.c), and carried out by one serial worker (work.c).
 * Kernel state survives the agent: a new one takes over what it finds (net_adopt) and only applies differences.
 * Loop thread.
 */
#pragma once
#include "common/error.h"
#include "common/str.h"
#include "proto/pb.h"

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct net;

struct net_options {
	uv_loop_t *loop;
	const char *state_dir, *run_dir;
	const char *gateway_subnet;   /* of the bridge that leads out: "172.30.0.0/16"; NULL = that */
	uint16_t vxlan_port;          /* 0 = 4789 */
	const char *balancer;         /* "ipvs", "nftables"; NULL or "auto": ipvs where the kernel has it */
};

/* `ready` once: what the kernel can do is known (an error: no networks but host and none, and why). */
struct net *net_new(const struct net_options *options, void (*ready)(void *data, const struct error *err), void *data);
/* Kernel state stays. */
void net_close(struct net *n, void (*closed)(void *data), void *data);

/* Our node id and underlay address; called when the node becomes active, and again when it changes. */
void net_set_node(struct net *n, const char *node_id, const char *address);
/* Features for the node's description: "network.balancer=ipvs", "network.vxlan=true", ... */
void net_features(const struct net *n, pb_node_description *desc);

/* A message of the session. Errors: ERR_CONFLICT it applies to another sequence: the session must begin anew. */
int net_apply(struct net *n, const pb_net_state *state, struct error *err);
/* A new session: the next message is a complete one. What is known stays in force. */
void net_begin(struct net *n);

/* ---- tasks */

/* What a container needs to know of its network; borrowed until net_detach. */
struct net_attachment {
	const char *netns;            /* path for the runtime; "" = the host's network or a fresh, empty namespace */
	const char *resolv_conf;      /* text; NULL = the host's file */
	const char *hosts;            /* lines to add to /etc/hosts; may be "" */
};
typedef void (*net_attach_cb)(void *data, const struct net_attachment *attachment, const struct error *err);
typedef void (*net_done_cb)(void *data, const struct error *err);

/* Does the task have a namespace made here (anything but host and none)? */
bool net_wanted(const pb_task *task);

/*
 * Give a task its namespace: interfaces, addresses, routes, names, host-mode ports. cb exactly once, from the loop. It waits
 * (at most 30 s) for a network that no message has told about yet. On error nothing stays.
 */
void net_attach(struct net *n, const pb_task *task, net_attach_cb cb, void *data);
/* After a restart of the agent: the task's namespace is there (or not: error ERR_NOT_FOUND); takes it over. */
void net_adopt(struct net *n, const pb_task *task, net_attach_cb cb, void *data);
/*
 * Its process runs: wait until somebody listens on every TCP port that its service publishes; where it publishes none and
 * has a virtual address, on one of `exposed`. At most max_ns (0 = not at all). False: there is nothing to wait for, cb will not
 * be called. cb once, from the loop: missing NULL = it serves; else the ports that nobody listens on ("80/tcp, 443/tcp").
 */
typedef void (*net_ready_cb)(void *data, const char *missing);
bool net_await(struct net *n, const char *task_id, const uint16_t *exposed, size_t n_exposed, int64_t max_ns,
	       net_ready_cb cb, void *data);
void net_await_cancel(struct net *n, const char *task_id);
/* The task is to stop: take it out of this node's balancing now; cb when its connections have ended, no new one comes
 * any more and none can come, or when `max_ns` has passed. */
void net_drain(struct net *n, const char *task_id, int64_t max_ns, net_done_cb cb, void *data);
/* The container is gone: drop the namespace. cb exactly once. Also for tasks not attached: then at once. While net_attach()
 * or net_drain() is under way for it: that one ends first, attaching with ERR_CANCELLED (nothing stays). */
void net_detach(struct net *n, const char *task_id, net_done_cb cb, void *data);
/* Forget pending callbacks of a task (the agent stops); kernel state stays. */
void net_forget(struct net *n, const char *task_id);

/* ---- a task that moves to another node (docs/adr/0020-a-moving-task-keeps-its-network.md) */

/* How far what is outside reaches a task's namespace. */
enum net_gate {
	NET_OPEN,
	NET_SHUT, /* at the target: made, with all its addresses, but nothing goes in or out before net_open() */
	NET_CUT,  /* at the source: nothing goes in or out until net_open() */
};

/* Can a task with these networks be moved at all? Errors: ERR_PRECONDITION with the network and why not. */
int net_can_move(const struct net *n, const pb_task *task, struct error *err);
/* As net_attach() of the target's task, NET_SHUT. What is sent to it from the moment that the cluster's endpoint is here is kept
 * for it, where the kernel can (sch_plug), and arrives when it opens. */
void net_attach_shut(struct net *n, const pb_task *task, net_attach_cb cb, void *data);
/* net_adopt() opens; this takes over as it should be. Nothing is opened in between. */
void net_adopt_as(struct net *n, const pb_task *task, enum net_gate gate, net_attach_cb cb, void *data);
/* Nothing goes in or out any more when cb comes, without an error; nobody is answered, refused or reset. Again: fine. Errors:
 * ERR_NOT_FOUND the task is not attached, else what the kernel said (it may be half cut: net_open() or again). */
void net_cut(struct net *n, const char *task_id, net_done_cb cb, void *data);
/* Open what was shut or cut: at the target after the restore, at the source after a rollback. What was kept arrives. Again: fine. */
void net_open(struct net *n, const char *task_id, net_done_cb cb, void *data);

/* What the kernel remembers of the task's connections, and which address it has towards the host: a few KiB, at most
 * NET_EXPORT_MAX bytes (what is more is left out, oldest first: err stays NULL). Source, after net_cut(). The bytes are borrowed. */
#define NET_EXPORT_MAX (4u << 20)
typedef void (*net_export_cb)(void *data, const uint8_t *bytes, size_t len, const struct error *err);
void net_export_flows(struct net *n, const char *task_id, net_export_cb cb, void *data);
/* The same at the target, while it is shut and before the restore (sockets are bound to the addresses in it). `from`: the source's
 * node id. Errors: ERR_INVALID malformed, ERR_NOT_FOUND not attached. */
void net_import_flows(struct net *n, const char *task_id, const char *from, const uint8_t *bytes, size_t len, net_done_cb cb,
		      void *data);

/* The node leaves its cluster, its tasks are detached: every namespace, link, rule and table of ours goes, and what is known
 * is forgotten, until net_set_node(). cb exactly once. */
void net_leave(struct net *n, net_done_cb cb, void *data);

/* ---- looking */

/* Compare the kernel with what should be; repair differences when asked. network_id "" = all. */
typedef void (*net_check_cb)(void *data, const Skein__CheckNetResponse *result, const struct error *err);
void net_check(struct net *n, const char *network_id, bool repair, net_check_cb cb, void *data);
