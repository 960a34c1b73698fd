#include "rtnl.h"

#include "common/mem.h"
#include "common/str.h"
#include "nlsock.h"

#include <arpa/inet.h>
#include <linux/fib_rules.h>
#include <linux/if_addr.h>
#include <linux/if_bridge.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <stdio.h>
#include <string.h>

/* Attributes behind a fixed header; false when one of them is not what the policy says. */
static bool parse(const struct nlmsghdr *nlh, size_t header_len, struct nlattr **tb, int max, const struct nla_policy *policy)
{
	return nlmsg_parse((struct nlmsghdr *)nlh, header_len, tb, max, policy) >= 0;
}

static bool nested(struct nlattr *attr, struct nlattr **tb, int max, const struct nla_policy *policy)
{
	if (attr)
		return nla_parse_nested(tb, max, attr, policy) >= 0;
	memset(tb, 0, (max + 1) * sizeof(*tb));
	return true;
}

static uint32_t get_u32(const struct nlattr *attr)
{
	return attr ? nla_get_u32(attr) : 0;
}

static uint8_t get_u8(const struct nlattr *attr)
{
	return attr ? nla_get_u8(attr) : 0;
}

static bool get_mac(const struct nlattr *attr, struct mac *ret)
{
	if (!attr || nla_len(attr) != sizeof(ret->bytes))
		return false;
	memcpy(ret->bytes, nla_data(attr), sizeof(ret->bytes));
	return true;
}

/* Absent: none. False: not an address of that family. */
static bool get_addr(const struct nlattr *attr, uint8_t family, uint8_t prefix, struct ipaddr *ret)
{
	int len = family == AF_INET6 ? 16 : 4;

	*ret = (struct ipaddr){};
	if (!attr)
		return true;
	if (nla_len(attr) != len || prefix > len * 8)
		return false;
	ret->family = family;
	ret->prefix = prefix;
	memcpy(ret->bytes, nla_data(attr), len);
	return true;
}

static bool get_host(const struct nlattr *attr, uint8_t family, struct ipaddr *ret)
{
	return get_addr(attr, family, family == AF_INET6 ? 128 : 32, ret);
}

static bool is_ip(uint8_t family)
{
	return family == AF_INET || family == AF_INET6;
}

/* ---------------------------------------------------------------- links */

static bool decode_vxlan(struct nlattr *data, struct netstate_link *l)
{
	static const struct nla_policy policy[IFLA_VXLAN_MAX + 1] = {
		[IFLA_VXLAN_ID] = {.type = NLA_U32},
		[IFLA_VXLAN_PORT] = {.type = NLA_U16},
		[IFLA_VXLAN_LOCAL] = {.minlen = 4, .maxlen = 4},
		[IFLA_VXLAN_LOCAL6] = {.minlen = 16, .maxlen = 16},
	};
	struct nlattr *tb[IFLA_VXLAN_MAX + 1];

	if (!nested(data, tb, IFLA_VXLAN_MAX, policy))
		return false;
	l->vni = get_u32(tb[IFLA_VXLAN_ID]);
	l->port = tb[IFLA_VXLAN_PORT] ? ntohs(nla_get_u16(tb[IFLA_VXLAN_PORT])) : 0;
	if (tb[IFLA_VXLAN_LOCAL])
		return get_host(tb[IFLA_VXLAN_LOCAL], AF_INET, &l->local);
	return get_host(tb[IFLA_VXLAN_LOCAL6], AF_INET6, &l->local);
}

static const char *macvlan_mode(uint32_t mode)
{
	switch (mode) {
	case MACVLAN_MODE_BRIDGE:
		return "bridge";
	case MACVLAN_MODE_PRIVATE:
		return "private";
	case MACVLAN_MODE_VEPA:
		return "vepa";
	case MACVLAN_MODE_PASSTHRU:
		return "passthru";
	default:
		return "other";
	}
}

static bool decode_macvlan(struct nlattr *data, struct netstate_link *l)
{
	static const struct nla_policy policy[IFLA_MACVLAN_MODE + 1] = {[IFLA_MACVLAN_MODE] = {.type = NLA_U32}};
	struct nlattr *tb[IFLA_MACVLAN_MODE + 1];

	if (!nested(data, tb, IFLA_MACVLAN_MODE, policy))
		return false;
	if (tb[IFLA_MACVLAN_MODE])
		snprintf(l->mode, sizeof(l->mode), "%s", macvlan_mode(nla_get_u32(tb[IFLA_MACVLAN_MODE])));
	return true;
}

static bool decode_ipvlan(struct nlattr *data, struct netstate_link *l)
{
	static const struct nla_policy policy[IFLA_IPVLAN_MODE + 1] = {[IFLA_IPVLAN_MODE] = {.type = NLA_U16}};
	static const char *const modes[] = {[IPVLAN_MODE_L2] = "l2", [IPVLAN_MODE_L3] = "l3", [IPVLAN_MODE_L3S] = "l3s"};
	struct nlattr *tb[IFLA_IPVLAN_MODE + 1];
	uint16_t mode;

	if (!nested(data, tb, IFLA_IPVLAN_MODE, policy))
		return false;
	if (tb[IFLA_IPVLAN_MODE]) {
		mode = nla_get_u16(tb[IFLA_IPVLAN_MODE]);
		snprintf(l->mode, sizeof(l->mode), "%s", mode < ARRAY_SIZE(modes) ? modes[mode] : "other");
	}
	return true;
}

static bool decode_vlan(struct nlattr *data, struct netstate_link *l)
{
	static const struct nla_policy policy[IFLA_VLAN_ID + 1] = {[IFLA_VLAN_ID] = {.type = NLA_U16}};
	struct nlattr *tb[IFLA_VLAN_ID + 1];

	if (!nested(data, tb, IFLA_VLAN_ID, policy))
		return false;
	l->vlan_id = tb[IFLA_VLAN_ID] ? nla_get_u16(tb[IFLA_VLAN_ID]) : 0;
	return true;
}

static bool decode_plain(struct nlattr *data, struct netstate_link *l)
{
	return true;
}

static const struct kind {
	const char *name;
	bool (*decode)(struct nlattr *data, struct netstate_link *l);
} kinds[] = {
	[LINK_BRIDGE] = {"bridge", decode_plain}, [LINK_VXLAN] = {"vxlan", decode_vxlan},
	[LINK_VETH] = {"veth", decode_plain},     [LINK_MACVLAN] = {"macvlan", decode_macvlan},
	[LINK_IPVLAN] = {"ipvlan", decode_ipvlan}, [LINK_VLAN] = {"vlan", decode_vlan},
	[LINK_DUMMY] = {"dummy", decode_plain},
};

static bool decode_port(struct nlattr *data, struct netstate_link *l)
{
	static const struct nla_policy policy[IFLA_BRPORT_MAX + 1] = {
		[IFLA_BRPORT_MODE] = {.type = NLA_U8},
		[IFLA_BRPORT_ISOLATED] = {.type = NLA_U8},
	};
	struct nlattr *tb[IFLA_BRPORT_MAX + 1];

	if (!nested(data, tb, IFLA_BRPORT_MAX, policy))
		return false;
	l->hairpin = get_u8(tb[IFLA_BRPORT_MODE]);
	l->isolated = get_u8(tb[IFLA_BRPORT_ISOLATED]);
	return true;
}

static bool decode_linkinfo(struct nlattr *attr, struct netstate_link *l)
{
	static const struct nla_policy policy[IFLA_INFO_MAX + 1] = {
		[IFLA_INFO_KIND] = {.type = NLA_STRING, .maxlen = 64},
		[IFLA_INFO_SLAVE_KIND] = {.type = NLA_STRING, .maxlen = 64},
		[IFLA_INFO_DATA] = {.type = NLA_NESTED},
		[IFLA_INFO_SLAVE_DATA] = {.type = NLA_NESTED},
	};
	struct nlattr *tb[IFLA_INFO_MAX + 1];

	l->kind = LINK_OTHER;
	if (!nested(attr, tb, IFLA_INFO_MAX, policy))
		return false;
	for (unsigned i = 0; tb[IFLA_INFO_KIND] && i < ARRAY_SIZE(kinds); i++) {
		if (nla_strcmp(tb[IFLA_INFO_KIND], kinds[i].name) != 0)
			continue;
		l->kind = i;
		if (!kinds[i].decode(tb[IFLA_INFO_DATA], l))
			return false;
	}
	if (tb[IFLA_INFO_SLAVE_KIND] && nla_strcmp(tb[IFLA_INFO_SLAVE_KIND], "bridge") == 0)
		return decode_port(tb[IFLA_INFO_SLAVE_DATA], l);
	return true;
}

static bool decode_link(const struct nlmsghdr *nlh, struct rtnl_fact *ret)
{
	static const struct nla_policy policy[IFLA_MAX + 1] = {
		[IFLA_IFNAME] = {.type = NLA_STRING, .minlen = 1, .maxlen = IFNAMSIZ},
		[IFLA_MTU] = {.type = NLA_U32},
		[IFLA_LINK] = {.type = NLA_U32},
		[IFLA_MASTER] = {.type = NLA_U32},
		[IFLA_GROUP] = {.type = NLA_U32},
		[IFLA_LINK_NETNSID] = {.type = NLA_U32},
		[IFLA_LINKINFO] = {.type = NLA_NESTED},
	};
	const struct ifinfomsg *ifi = nlsock_header(nlh, sizeof(*ifi));
	struct netstate_link *l = &ret->entry.link;
	struct nlattr *tb[IFLA_MAX + 1];

	/* A bridge tells of its ports in messages of the same type, but of another family. */
	if (!ifi || ifi->ifi_family != AF_UNSPEC || !parse(nlh, sizeof(*ifi), tb, IFLA_MAX, policy) || !tb[IFLA_IFNAME])
		return false;
	ret->entry.kind = NETSTATE_LINK;
	ret->index = ifi->ifi_index;
	nla_strlcpy(l->name, tb[IFLA_IFNAME], sizeof(l->name));
	get_mac(tb[IFLA_ADDRESS], &l->mac);
	l->mtu = get_u32(tb[IFLA_MTU]);
	l->up = ifi->ifi_flags & IFF_UP;
	l->foreign = get_u32(tb[IFLA_GROUP]) != NETSTATE_PROTO;
	ret->link_index = get_u32(tb[IFLA_LINK]);
	ret->link_nsid = tb[IFLA_LINK_NETNSID] ? nla_get_s32(tb[IFLA_LINK_NETNSID]) : -1;
	ret->master_index = get_u32(tb[IFLA_MASTER]);
	return decode_linkinfo(tb[IFLA_LINKINFO], l);
}

/* ---------------------------------------------------------------- addresses, routes, rules */

static bool decode_addr(const struct nlmsghdr *nlh, struct rtnl_fact *ret)
{
	const struct ifaddrmsg *ifa = nlsock_header(nlh, sizeof(*ifa));
	struct nlattr *tb[IFA_MAX + 1];

	if (!ifa || !is_ip(ifa->ifa_family) || !parse(nlh, sizeof(*ifa), tb, IFA_MAX, NULL))
		return false;
	ret->entry.kind = NETSTATE_ADDR;
	ret->index = ifa->ifa_index;
	ret->scope = ifa->ifa_scope;
	return get_addr(tb[IFA_LOCAL] ?: tb[IFA_ADDRESS], ifa->ifa_family, ifa->ifa_prefixlen, &ret->entry.addr.addr) &&
	       ipaddr_is_set(&ret->entry.addr.addr);
}

static bool decode_route(const struct nlmsghdr *nlh, struct rtnl_fact *ret)
{
	static const struct nla_policy policy[RTA_MAX + 1] = {
		[RTA_TABLE] = {.type = NLA_U32},
		[RTA_OIF] = {.type = NLA_U32},
	};
	const struct rtmsg *rtm = nlsock_header(nlh, sizeof(*rtm));
	struct netstate_route *r = &ret->entry.route;
	struct nlattr *tb[RTA_MAX + 1];

	if (!rtm || !is_ip(rtm->rtm_family) || !parse(nlh, sizeof(*rtm), tb, RTA_MAX, policy))
		return false;
	if ((rtm->rtm_type != RTN_UNICAST && rtm->rtm_type != RTN_LOCAL) || rtm->rtm_flags & RTM_F_CLONED ||
	    tb[RTA_MULTIPATH])
		return false;
	ret->entry.kind = NETSTATE_ROUTE;
	ret->index = get_u32(tb[RTA_OIF]);
	ret->protocol = rtm->rtm_protocol;
	r->table = tb[RTA_TABLE] ? nla_get_u32(tb[RTA_TABLE]) : rtm->rtm_table;
	r->local = rtm->rtm_type == RTN_LOCAL;
	r->onlink = rtm->rtm_flags & RTNH_F_ONLINK;
	if (!get_addr(tb[RTA_DST], rtm->rtm_family, rtm->rtm_dst_len, &r->dst))
		return false;
	if (!ipaddr_is_set(&r->dst)) {
		if (rtm->rtm_dst_len)
			return false;
		r->dst.family = rtm->rtm_family;
	}
	return get_host(tb[RTA_GATEWAY], rtm->rtm_family, &r->via) && get_host(tb[RTA_PREFSRC], rtm->rtm_family, &r->src);
}

static bool decode_rule(const struct nlmsghdr *nlh, struct rtnl_fact *ret)
{
	static const struct nla_policy policy[FRA_MAX + 1] = {
		[FRA_PRIORITY] = {.type = NLA_U32}, [FRA_TABLE] = {.type = NLA_U32},  [FRA_FWMARK] = {.type = NLA_U32},
		[FRA_FWMASK] = {.type = NLA_U32},   [FRA_PROTOCOL] = {.type = NLA_U8},
	};
	const struct fib_rule_hdr *frh = nlsock_header(nlh, sizeof(*frh));
	struct netstate_rule *r = &ret->entry.rule;
	struct nlattr *tb[FRA_MAX + 1];

	if (!frh || !is_ip(frh->family) || frh->action != FR_ACT_TO_TBL ||
	    !parse(nlh, sizeof(*frh), tb, FRA_MAX, policy))
		return false;
	ret->entry.kind = NETSTATE_RULE;
	ret->protocol = get_u8(tb[FRA_PROTOCOL]);
	r->family = frh->family;
	r->priority = get_u32(tb[FRA_PRIORITY]);
	r->table = tb[FRA_TABLE] ? nla_get_u32(tb[FRA_TABLE]) : frh->table;
	r->fwmask = get_u32(tb[FRA_FWMASK]);
	r->fwmark = get_u32(tb[FRA_FWMARK]);
	return true;
}

/* ---------------------------------------------------------------- neighbours, forwarding entries */

static bool decode_fdb(const struct ndmsg *ndm, struct nlattr **tb, struct rtnl_fact *ret)
{
	struct netstate_fdb *f = &ret->entry.fdb;
	uint8_t family = AF_INET;

	ret->entry.kind = NETSTATE_FDB;
	if (!tb[NDA_DST] || !(ndm->ndm_flags & NTF_SELF) || !get_mac(tb[NDA_LLADDR], &f->mac))
		return false; /* the bridge's own table: it has no remote end */
	if (nla_len(tb[NDA_DST]) == 16)
		family = AF_INET6;
	return get_host(tb[NDA_DST], family, &f->dst);
}

static bool decode_neigh(const struct nlmsghdr *nlh, struct rtnl_fact *ret)
{
	const struct ndmsg *ndm = nlsock_header(nlh, sizeof(*ndm));
	struct netstate_neigh *n = &ret->entry.neigh;
	struct nlattr *tb[NDA_MAX + 1];

	if (!ndm || !parse(nlh, sizeof(*ndm), tb, NDA_MAX, NULL) || ndm->ndm_flags & NTF_PROXY)
		return false;
	ret->index = ndm->ndm_ifindex;
	ret->permanent = ndm->ndm_state & NUD_PERMANENT;
	if (ndm->ndm_family == AF_BRIDGE)
		return decode_fdb(ndm, tb, ret);
	if (!is_ip(ndm->ndm_family))
		return false;
	ret->entry.kind = NETSTATE_NEIGH;
	get_mac(tb[NDA_LLADDR], &n->mac); /* one that failed has none */
	return get_host(tb[NDA_DST], ndm->ndm_family, &n->addr) && ipaddr_is_set(&n->addr);
}

bool rtnl_decode(const struct nlmsghdr *nlh, struct rtnl_fact *ret)
{
	memset(ret, 0, sizeof(*ret));
	switch (nlh->nlmsg_type) {
	case RTM_NEWLINK:
	case RTM_DELLINK:
		return decode_link(nlh, ret);
	case RTM_NEWADDR:
	case RTM_DELADDR:
		return decode_addr(nlh, ret);
	case RTM_NEWROUTE:
	case RTM_DELROUTE:
		return decode_route(nlh, ret);
	case RTM_NEWRULE:
	case RTM_DELRULE:
		return decode_rule(nlh, ret);
	case RTM_NEWNEIGH:
	case RTM_DELNEIGH:
		return decode_neigh(nlh, ret);
	default:
		return false;
	}
}
