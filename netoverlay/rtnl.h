/*
 * rtnl - rtnetlink messages: entries of a netstate into requests, and the kernel's messages into entries.
 * Pure: no I/O; names of links are indexes here, which the caller looks up. Decoders take bytes as they come (fuzzed).
 * Source: linux/rtnetlink.h, if_link.h, neighbour.h, fib_rules.h; what the kernel does with them, measured on 6.1 and 6.18.
 */
#pragma once
#include "netstate.h"

struct nl_msg;
struct nlmsghdr;

#define RTNL_HEADER_MAX 32

/* A request without its attributes. */
struct rtnl_head {
	uint16_t type, flags;
	uint8_t header[RTNL_HEADER_MAX];
	size_t header_len;
	int tolerate[3]; /* errnos that mean "already so" or "already gone" */
};

/* ---- links */

/* How a link is addressed and what it refers to. */
struct rtnl_link_refs {
	const char *name;      /* instead of the link's own; NULL */
	int parent;            /* index, in the namespace of the socket; 0 */
	int target_fd;         /* namespace to make it in; -1 = that of the socket */
	int peer_fd;           /* namespace of a veth's other end; -1 = that of the socket */
};
void rtnl_link_create_head(struct rtnl_head *ret);
/* False: the mode is none of its kind's, or the kind cannot be created. */
bool rtnl_link_create_attrs(struct nl_msg *msg, const struct netstate_link *l, const struct rtnl_link_refs *refs);

/* Change a link. Only what is given: name NULL, mac all zero, mtu 0, master 0, up and down false are left alone. */
struct rtnl_link_set {
	int index;             /* or, when 0, by `by_name` */
	const char *by_name;
	const char *name;
	struct mac mac;
	uint32_t mtu;
	int master;
	bool up, down, ours;   /* ours: put it into our link group; only by index */
};
void rtnl_link_set_head(const struct rtnl_link_set *set, struct rtnl_head *ret);
void rtnl_link_set_attrs(struct nl_msg *msg, const struct rtnl_link_set *set);
/* Attributes of a bridge's port; with the head of rtnl_link_set. */
void rtnl_link_port_attrs(struct nl_msg *msg, const char *by_name, bool isolated, bool hairpin);
void rtnl_link_delete_head(int index, struct rtnl_head *ret);
/* Ask for one link. */
void rtnl_link_get_head(int index, struct rtnl_head *ret);

/* ---- what stands on links; index = that link (rules: 0) */

/* False: not an entry of these kinds. */
bool rtnl_entry_head(const struct netstate_entry *e, int index, bool del, struct rtnl_head *ret);
void rtnl_entry_attrs(struct nl_msg *msg, const struct netstate_entry *e, int index, bool del);

/* ---- from the kernel */

struct rtnl_fact {
	struct netstate_entry entry;   /* without the names of other links */
	int index;                     /* the link that it stands on; of a link: its own */
	int link_index, link_nsid;     /* of a link: parent or other end; nsid -1 = same namespace */
	int master_index;
	uint8_t protocol, scope;       /* of routes and rules; of addresses */
	bool permanent;                /* neighbours, FDB entries: not learnt */
};

/* False: malformed, or nothing that a netstate can hold (multipath routes, multicast, ...). */
bool rtnl_decode(const struct nlmsghdr *nlh, struct rtnl_fact *ret);
