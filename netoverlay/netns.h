/*
 * netns - a network namespace and the sockets into it: rtnetlink, generic netlink (IPVS), xfrm, nftables.
 *
 * Blocking, each call well below a millisecond unless it does thousands of things. A handle belongs to one thread at a
 * time (the agent's serial worker). Sockets are opened inside the namespace once and stay; only opening them, sysctls
 * and nftables enter it with setns(2), and come back.
 */
#pragma once
#include "netstate.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;
struct netns;

/* Make a namespace, bound to a file at path (directories above must exist), loopback up. An existing one stays as it is. */
int netns_create(const char *path, struct error *err);
/* Unbind and remove the file. The namespace ends with its last process. Not there: fine. */
int netns_destroy(const char *path, struct error *err);

/*
 * Open the namespace at path; NULL = the one this process is in ("the host").
 *   outer  where vxlan sockets, parents of macvlan etc. and other ends of veths are; NULL = itself. Borrowed.
 */
struct netns *netns_open(const char *path, struct netns *outer, struct error *err);
/* Make a namespace without a file, loopback up: it ends with its handle and what is opened in it, unless it is bound. */
struct netns *netns_new(struct netns *outer, struct error *err);
/* Bind what netns_new() made to a file at path: from then on it is as one of netns_create(). Errors: ERR_EXISTS. */
int netns_bind(struct netns *ns, const char *path, struct error *err);
void netns_close(struct netns *ns);

/*
 * Carry out operations in the order given, in as few messages as possible (hundreds per send). What is already so, or
 * already gone, is no error. Goes on behind a failure; the first one is returned with the entry's text in err, and
 * *ret_failed (may be NULL) counts them.
 */
int netns_apply(struct netns *ns, const struct netstate_op *ops, size_t n, size_t *ret_failed, struct error *err);

/* Read what is there, of the kinds in the mask: all links; what stands on links that are ours, routes and rules that we
 * made, and, whoever made it, what `want` (may be NULL) names and what is in route tables that it names. Sysctls: those
 * that it names. ESP: what has a request id that it names. */
int netns_dump(struct netns *ns, unsigned kinds, const struct netstate *want, struct netstate *ret, struct error *err);

/* Run a ruleset text (nft(8) syntax) as one transaction; *ret_out (may be NULL) is its output, yours. */
int netns_nft(struct netns *ns, const char *text, char **ret_out, struct error *err);
/* One of our tables as the kernel has it: "inet skein"; stateless listing, canonical; "" when there is none. Yours. */
int netns_nft_list(struct netns *ns, const char *table, char **ret, struct error *err);

/* Give back what the next use makes again: hundreds of kilobytes of the rulesets' library. For handles that rest. */
void netns_rest(struct netns *ns);

/* Run fn on this thread inside the namespace (sockets, /proc/sys/net); comes back before it returns. */
int netns_run(struct netns *ns, void (*fn)(void *data), void *data, struct error *err);

/* A descriptor that becomes readable when links, addresses, routes, neighbours or rules change in the namespace; -1 =
 * error. netns_watch_read: drain it; true when something changed that this process did not do by itself just now: a hint
 * to look, since the kernel's own doings (a carrier, an address made ready) count as well. What dump does not
 * compare does not: learnt neighbours, other people's routes in the main table. */
int netns_watch_open(struct netns *ns, struct error *err);
bool netns_watch_read(struct netns *ns);

/* ---- what a namespace is kept from (plug.c) */

/* What leaves by the link is kept, in order, up to max_bytes (what comes behind them is dropped). Again: goes on keeping.
 *   Errors  ERR_UNIMPLEMENTED the kernel has no sch_plug, ERR_NOT_FOUND no such link */
int netns_plug(struct netns *ns, const char *link, uint32_t max_bytes, struct error *err);
/* What was kept leaves, and what comes behind it too. Not plugged: fine. */
int netns_plug_release(struct netns *ns, const char *link, struct error *err);
/* As it was before netns_plug(); what is still kept is dropped. Not plugged: fine. */
int netns_plug_remove(struct netns *ns, const char *link, struct error *err);
/* A bridge forgets that it has learnt the address at this port: it looks for it everywhere. Not learnt: fine. */
int netns_bridge_forget(struct netns *ns, const char *port, const struct mac *mac, struct error *err);

/* TCP connections (IPv4 and IPv6) that somebody may still lose something by (from SYN_RECV to LAST_ACK, also those that
 * nobody has accepted yet), with others than the namespace itself, whose local port is one of ports; n_ports 0 = any port
 * that is also listened on. sock_diag(7). */
int netns_tcp_connections(struct netns *ns, const uint16_t *ports, size_t n_ports, unsigned *ret, struct error *err);

/* Which of these TCP ports somebody listens on, so that it can be reached from outside (not on a loopback address only). */
int netns_tcp_listening(struct netns *ns, const uint16_t *ports, size_t n_ports, bool *ret_each, struct error *err);

/* TCP connections that were accepted by the kernel there since the namespace began. */
int netns_tcp_accepted(struct netns *ns, uint64_t *ret, struct error *err);

/* What this kernel can do, tried out in a namespace of its own. */
struct netns_features {
	bool vxlan, macvlan, ipvlan, vlan, ipvs, nftables, nft_egress, esp;
};
int netns_probe(struct netns_features *ret, struct error *err);

/* MTU, name of the link that carries an address of the host. Errors: ERR_NOT_FOUND. */
int netns_link_of_address(struct netns *ns, const struct ipaddr *a, char ret_name[static IFNAMSIZ], uint32_t *ret_mtu,
			  struct error *err);
