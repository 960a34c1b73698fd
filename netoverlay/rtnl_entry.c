#include "rtnl.h"

#include <errno.h>
#include <linux/fib_rules.h>
#include <linux/if_addr.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <string.h>

#define HEADER(h, type_, flags_, value)                                                                                \
	do {                                                                                                           \
		_Static_assert(sizeof(value) <= RTNL_HEADER_MAX, "header");                                            \
		*(h) = (struct rtnl_head){.type = (type_), .flags = (flags_), .header_len = sizeof(value)};            \
		memcpy((h)->header, &(value), sizeof(value));                                                          \
	} while (0)

#define MAKE_SO (NLM_F_CREATE | NLM_F_REPLACE)

static void put_host(struct nl_msg *msg, int attr, const struct ipaddr *a)
{
	if (ipaddr_is_set(a))
		nla_put(msg, attr, a->family == AF_INET6 ? 16 : 4, a->bytes);
}

static void tolerate(struct rtnl_head *h, int e1, int e2, int e3)
{
	h->tolerate[0] = e1;
	h->tolerate[1] = e2;
	h->tolerate[2] = e3;
}

/* ---------------------------------------------------------------- addresses */

static void addr_head(const struct netstate_addr *a, int index, bool del, struct rtnl_head *h)
{
	struct ifaddrmsg ifa = {
		.ifa_family = a->addr.family,
		.ifa_prefixlen = a->addr.prefix,
		.ifa_index = index,
		.ifa_scope = RT_SCOPE_UNIVERSE,
	};

	if (del) {
		HEADER(h, RTM_DELADDR, 0, ifa);
		tolerate(h, EADDRNOTAVAIL, ENODEV, 0);
	} else {
		HEADER(h, RTM_NEWADDR, MAKE_SO, ifa);
		tolerate(h, EEXIST, 0, 0);
	}
}

static void addr_attrs(struct nl_msg *msg, const struct netstate_addr *a, bool del)
{
	put_host(msg, IFA_LOCAL, &a->addr);
	put_host(msg, IFA_ADDRESS, &a->addr);
	if (!del && a->addr.family == AF_INET6)
		nla_put_u32(msg, IFA_FLAGS, IFA_F_NODAD); /* the cluster hands them out: usable at once */
}

/* ---------------------------------------------------------------- routes */

static uint32_t route_table(const struct netstate_route *r)
{
	return r->table ? r->table : r->local ? RT_TABLE_LOCAL : RT_TABLE_MAIN;
}

static void route_head(const struct netstate_route *r, bool del, struct rtnl_head *h)
{
	uint32_t table = route_table(r);
	struct rtmsg rtm = {
		.rtm_family = r->dst.family,
		.rtm_dst_len = r->dst.prefix,
		.rtm_table = table < 256 ? table : RT_TABLE_UNSPEC,
		.rtm_protocol = NETSTATE_PROTO,
		.rtm_type = r->local ? RTN_LOCAL : RTN_UNICAST,
		.rtm_scope = r->local ? RT_SCOPE_HOST : ipaddr_is_set(&r->via) ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK,
		.rtm_flags = r->onlink ? RTNH_F_ONLINK : 0,
	};

	if (!del) {
		HEADER(h, RTM_NEWROUTE, MAKE_SO, rtm);
		return;
	}
	rtm.rtm_scope = RT_SCOPE_NOWHERE; /* any */
	rtm.rtm_flags = 0;
	if (table != RT_TABLE_MAIN && table != RT_TABLE_LOCAL)
		rtm.rtm_protocol = RTPROT_UNSPEC; /* all of a table of our own is ours */
	HEADER(h, RTM_DELROUTE, 0, rtm);
	tolerate(h, ESRCH, ENODEV, ENETUNREACH);
}

static void route_attrs(struct nl_msg *msg, const struct netstate_route *r, int index, bool del)
{
	if (r->dst.prefix)
		put_host(msg, RTA_DST, &r->dst);
	nla_put_u32(msg, RTA_TABLE, route_table(r));
	if (index)
		nla_put_u32(msg, RTA_OIF, index);
	if (!del) {
		put_host(msg, RTA_GATEWAY, &r->via);
		put_host(msg, RTA_PREFSRC, &r->src);
	}
}

/* ---------------------------------------------------------------- rules */

static void rule_head(const struct netstate_rule *r, bool del, struct rtnl_head *h)
{
	struct fib_rule_hdr frh = {
		.family = r->family,
		.table = r->table < 256 ? r->table : RT_TABLE_UNSPEC,
		.action = FR_ACT_TO_TBL,
	};

	if (del) {
		HEADER(h, RTM_DELRULE, 0, frh);
		tolerate(h, ENOENT, 0, 0);
	} else {
		HEADER(h, RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL, frh);
		tolerate(h, EEXIST, 0, 0);
	}
}

static void rule_attrs(struct nl_msg *msg, const struct netstate_rule *r)
{
	nla_put_u32(msg, FRA_PRIORITY, r->priority);
	nla_put_u32(msg, FRA_TABLE, r->table);
	nla_put_u8(msg, FRA_PROTOCOL, NETSTATE_PROTO);
	if (r->fwmask) {
		nla_put_u32(msg, FRA_FWMARK, r->fwmark);
		nla_put_u32(msg, FRA_FWMASK, r->fwmask);
	}
}

/* ---------------------------------------------------------------- neighbours and forwarding entries */

static void neigh_head(uint8_t family, int index, bool del, struct rtnl_head *h)
{
	struct ndmsg ndm = {
		.ndm_family = family,
		.ndm_ifindex = index,
		.ndm_state = NUD_PERMANENT,
		.ndm_flags = family == AF_BRIDGE ? NTF_SELF : 0,
	};

	HEADER(h, del ? RTM_DELNEIGH : RTM_NEWNEIGH, del ? 0 : MAKE_SO, ndm);
	if (del)
		tolerate(h, ENOENT, ENODEV, ENXIO);
}

static void neigh_attrs(struct nl_msg *msg, const struct netstate_neigh *n, bool del)
{
	put_host(msg, NDA_DST, &n->addr);
	if (!del)
		nla_put(msg, NDA_LLADDR, sizeof(n->mac.bytes), n->mac.bytes);
}

/* Without its remote end a deletion takes the entry as it is; it need not have been ours in every bit. */
static void fdb_attrs(struct nl_msg *msg, const struct netstate_fdb *f, bool del)
{
	nla_put(msg, NDA_LLADDR, sizeof(f->mac.bytes), f->mac.bytes);
	if (!del)
		put_host(msg, NDA_DST, &f->dst);
}

/* ---------------------------------------------------------------- all of them */

bool rtnl_entry_head(const struct netstate_entry *e, int index, bool del, struct rtnl_head *ret)
{
	switch (e->kind) {
	case NETSTATE_ADDR:
		addr_head(&e->addr, index, del, ret);
		return true;
	case NETSTATE_ROUTE:
		route_head(&e->route, del, ret);
		return true;
	case NETSTATE_RULE:
		rule_head(&e->rule, del, ret);
		return true;
	case NETSTATE_NEIGH:
		neigh_head(e->neigh.addr.family, index, del, ret);
		return true;
	case NETSTATE_FDB:
		neigh_head(AF_BRIDGE, index, del, ret);
		return true;
	default:
		return false;
	}
}

void rtnl_entry_attrs(struct nl_msg *msg, const struct netstate_entry *e, int index, bool del)
{
	switch (e->kind) {
	case NETSTATE_ADDR:
		addr_attrs(msg, &e->addr, del);
		break;
	case NETSTATE_ROUTE:
		route_attrs(msg, &e->route, index, del);
		break;
	case NETSTATE_RULE:
		rule_attrs(msg, &e->rule);
		break;
	case NETSTATE_NEIGH:
		neigh_attrs(msg, &e->neigh, del);
		break;
	case NETSTATE_FDB:
		fdb_attrs(msg, &e->fdb, del);
		break;
	default:
		break;
	}
}
