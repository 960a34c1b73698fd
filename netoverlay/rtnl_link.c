#include "rtnl.h"

#include "common/mem.h"
#include "common/str.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <string.h>

_Static_assert(sizeof(struct ifinfomsg) <= RTNL_HEADER_MAX, "header");

static void link_head(struct rtnl_head *h, uint16_t type, uint16_t flags, int index)
{
	struct ifinfomsg ifi = {.ifi_index = index};

	*h = (struct rtnl_head){.type = type, .flags = flags, .header_len = sizeof(ifi)};
	memcpy(h->header, &ifi, sizeof(ifi));
}

static bool has_mac(const struct mac *m)
{
	return memcmp(m->bytes, (const uint8_t[6]){}, 6) != 0;
}

static void put_mac(struct nl_msg *msg, const struct mac *m)
{
	if (has_mac(m))
		nla_put(msg, IFLA_ADDRESS, sizeof(m->bytes), m->bytes);
}

/* ---------------------------------------------------------------- what each kind says of itself */

static bool put_bridge(struct nl_msg *msg, const struct netstate_link *l, const struct rtnl_link_refs *refs)
{
	nla_put_u32(msg, IFLA_BR_FORWARD_DELAY, 0); /* a port forwards at once */
	return true;
}

static bool put_vxlan(struct nl_msg *msg, const struct netstate_link *l, const struct rtnl_link_refs *refs)
{
	nla_put_u32(msg, IFLA_VXLAN_ID, l->vni);
	nla_put_u16(msg, IFLA_VXLAN_PORT, htons(l->port));
	nla_put_u8(msg, IFLA_VXLAN_LEARNING, 0);
	nla_put_u8(msg, IFLA_VXLAN_PROXY, 1);
	if (l->local.family == AF_INET)
		nla_put(msg, IFLA_VXLAN_LOCAL, 4, l->local.bytes);
	else if (l->local.family == AF_INET6)
		nla_put(msg, IFLA_VXLAN_LOCAL6, 16, l->local.bytes);
	return true;
}

static bool put_veth(struct nl_msg *msg, const struct netstate_link *l, const struct rtnl_link_refs *refs)
{
	struct ifinfomsg ifi = {};
	struct nlattr *peer;

	if (str_empty(l->peer))
		return false;
	peer = nla_nest_start(msg, VETH_INFO_PEER);
	memcpy(nlmsg_reserve(msg, sizeof(ifi), NLMSG_ALIGNTO), &ifi, sizeof(ifi));
	nla_put_string(msg, IFLA_IFNAME, l->peer);
	nla_put_u32(msg, IFLA_GROUP, NETSTATE_PROTO);
	put_mac(msg, &l->peer_mac);
	if (l->mtu)
		nla_put_u32(msg, IFLA_MTU, l->mtu);
	if (refs->peer_fd >= 0)
		nla_put_u32(msg, IFLA_NET_NS_FD, refs->peer_fd);
	nla_nest_end(msg, peer);
	return true;
}

struct mode {
	const char *name;
	uint32_t value;
};
static const struct mode macvlan_modes[] = {
	{"", MACVLAN_MODE_BRIDGE},       {"bridge", MACVLAN_MODE_BRIDGE},     {"private", MACVLAN_MODE_PRIVATE},
	{"vepa", MACVLAN_MODE_VEPA},     {"passthru", MACVLAN_MODE_PASSTHRU}, {},
};
static const struct mode ipvlan_modes[] = {
	{"", IPVLAN_MODE_L2}, {"l2", IPVLAN_MODE_L2}, {"l3", IPVLAN_MODE_L3}, {"l3s", IPVLAN_MODE_L3S}, {},
};

static const struct mode *mode_named(const struct mode *modes, const char *name)
{
	for (; modes->name; modes++) {
		if (str_eq(modes->name, name))
			return modes;
	}
	return NULL;
}

static bool put_macvlan(struct nl_msg *msg, const struct netstate_link *l, const struct rtnl_link_refs *refs)
{
	const struct mode *mode = mode_named(macvlan_modes, l->mode);

	if (mode)
		nla_put_u32(msg, IFLA_MACVLAN_MODE, mode->value);
	return mode;
}

static bool put_ipvlan(struct nl_msg *msg, const struct netstate_link *l, const struct rtnl_link_refs *refs)
{
	const struct mode *mode = mode_named(ipvlan_modes, l->mode);

	if (mode)
		nla_put_u16(msg, IFLA_IPVLAN_MODE, mode->value);
	return mode;
}

static bool put_vlan(struct nl_msg *msg, const struct netstate_link *l, const struct rtnl_link_refs *refs)
{
	nla_put_u16(msg, IFLA_VLAN_ID, l->vlan_id);
	return true;
}

static bool put_dummy(struct nl_msg *msg, const struct netstate_link *l, const struct rtnl_link_refs *refs)
{
	return true;
}

static const struct kind {
	const char *name;
	bool (*put)(struct nl_msg *msg, const struct netstate_link *l, const struct rtnl_link_refs *refs);
} kinds[] = {
	[LINK_BRIDGE] = {"bridge", put_bridge},    [LINK_VXLAN] = {"vxlan", put_vxlan},
	[LINK_VETH] = {"veth", put_veth},          [LINK_MACVLAN] = {"macvlan", put_macvlan},
	[LINK_IPVLAN] = {"ipvlan", put_ipvlan},    [LINK_VLAN] = {"vlan", put_vlan},
	[LINK_DUMMY] = {"dummy", put_dummy},
};

/* ---------------------------------------------------------------- requests */

void rtnl_link_create_head(struct rtnl_head *ret)
{
	link_head(ret, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, 0);
}

bool rtnl_link_create_attrs(struct nl_msg *msg, const struct netstate_link *l, const struct rtnl_link_refs *refs)
{
	struct nlattr *info, *data;

	if ((unsigned)l->kind >= ARRAY_SIZE(kinds))
		return false;
	nla_put_string(msg, IFLA_IFNAME, refs->name ?: l->name);
	nla_put_u32(msg, IFLA_GROUP, NETSTATE_PROTO);
	put_mac(msg, &l->mac);
	/* A bridge keeps to the MTU of its ports unless it is changed, so that is done behind its making. */
	if (l->mtu && l->kind != LINK_BRIDGE)
		nla_put_u32(msg, IFLA_MTU, l->mtu);
	if (refs->parent)
		nla_put_u32(msg, IFLA_LINK, refs->parent);
	if (refs->target_fd >= 0)
		nla_put_u32(msg, IFLA_NET_NS_FD, refs->target_fd);
	info = nla_nest_start(msg, IFLA_LINKINFO);
	nla_put_string(msg, IFLA_INFO_KIND, kinds[l->kind].name);
	data = nla_nest_start(msg, IFLA_INFO_DATA);
	if (!kinds[l->kind].put(msg, l, refs))
		return false;
	nla_nest_end_keep_empty(msg, data);
	nla_nest_end(msg, info);
	return true;
}

void rtnl_link_set_head(const struct rtnl_link_set *set, struct rtnl_head *ret)
{
	struct ifinfomsg ifi = {.ifi_index = set->index,
				.ifi_flags = set->up ? IFF_UP : 0,
				.ifi_change = set->up || set->down ? IFF_UP : 0};

	link_head(ret, RTM_NEWLINK, 0, set->index);
	memcpy(ret->header, &ifi, sizeof(ifi));
}

void rtnl_link_set_attrs(struct nl_msg *msg, const struct rtnl_link_set *set)
{
	/* Without an index the name says which one; kernels before 5.16 would take a group then as "all links of it". */
	if (!set->index)
		nla_put_string(msg, IFLA_IFNAME, set->by_name);
	else if (set->name)
		nla_put_string(msg, IFLA_IFNAME, set->name);
	if (set->ours && set->index)
		nla_put_u32(msg, IFLA_GROUP, NETSTATE_PROTO);
	put_mac(msg, &set->mac);
	if (set->mtu)
		nla_put_u32(msg, IFLA_MTU, set->mtu);
	if (set->master)
		nla_put_u32(msg, IFLA_MASTER, set->master);
}

void rtnl_link_port_attrs(struct nl_msg *msg, const char *by_name, bool isolated, bool hairpin)
{
	struct nlattr *info, *data;

	nla_put_string(msg, IFLA_IFNAME, by_name);
	info = nla_nest_start(msg, IFLA_LINKINFO);
	nla_put_string(msg, IFLA_INFO_SLAVE_KIND, "bridge");
	data = nla_nest_start(msg, IFLA_INFO_SLAVE_DATA);
	nla_put_u8(msg, IFLA_BRPORT_ISOLATED, isolated);
	nla_put_u8(msg, IFLA_BRPORT_MODE, hairpin);
	nla_nest_end(msg, data);
	nla_nest_end(msg, info);
}

void rtnl_link_delete_head(int index, struct rtnl_head *ret)
{
	link_head(ret, RTM_DELLINK, 0, index);
	ret->tolerate[0] = ENODEV;
}

void rtnl_link_get_head(int index, struct rtnl_head *ret)
{
	link_head(ret, RTM_GETLINK, 0, index);
}
