/* conntrack_internal - between conntrack.c (forgetting) and conntrack_flows.c (taking along): ctnetlink's messages. */
#pragma once
#include "nlsock.h"

#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <netlink/attr.h>

struct error;
struct netns;

static inline uint16_t conntrack_type(uint8_t message)
{
	return (uint16_t)(NFNL_SUBSYS_CTNETLINK << 8 | message);
}

static inline struct nfgenmsg conntrack_header(uint8_t family)
{
	return (struct nfgenmsg){.nfgen_family = family, .version = NFNETLINK_V0};
}

static inline struct nlattr *conntrack_find(struct nlattr *nested, int type)
{
	return nested ? nla_find(nla_data(nested), nla_len(nested), type) : NULL;
}

/* A socket in the namespace. 1 = there is no connection tracking. */
int conntrack_open(struct netns *ns, struct nlsock *ret, struct error *err);
