#include "plan.h"

#include "common/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

/* Outer IP + UDP + VXLAN + inner Ethernet; ESP in transport mode: header, IV, ICV, padding. */
#define VXLAN_OVERHEAD4 50
#define VXLAN_OVERHEAD6 70
#define ESP_OVERHEAD 40
#define IPV6_MTU_MIN 1280
#define MTU_MIN6 1280

void plan_put(const struct plan_out *out, const struct netstate_entry *e)
{
	if (out->del)
		netstate_del(out->set, e);
	else
		netstate_put(out->set, e);
}

void plan_put_addr(const struct plan_out *out, const char *link, const struct ipaddr *a)
{
	struct netstate_entry e = {.kind = NETSTATE_ADDR, .addr = {.addr = *a}};

	snprintf(e.addr.link, sizeof(e.addr.link), "%s", link);
	if (ipaddr_is_set(a))
		plan_put(out, &e);
}

void plan_put_neigh(const struct plan_out *out, const char *link, const struct ipaddr *a, const struct mac *mac)
{
	struct netstate_entry e = {.kind = NETSTATE_NEIGH, .neigh = {.mac = *mac}};

	snprintf(e.neigh.link, sizeof(e.neigh.link), "%s", link);
	if (!ipaddr_is_set(a))
		return;
	e.neigh.addr = ipaddr_host(a);
	plan_put(out, &e);
}

void plan_put_sysctl(const struct plan_out *out, const char *value, const char *name_format, ...)
{
	struct netstate_entry e = {.kind = NETSTATE_SYSCTL};
	va_list args;

	va_start(args, name_format);
	vsnprintf(e.sysctl.name, sizeof(e.sysctl.name), name_format, args);
	va_end(args);
	snprintf(e.sysctl.value, sizeof(e.sysctl.value), "%s", value);
	plan_put(out, &e);
}

static uint32_t overlay_mtu(const struct plan_self *self, bool encrypted)
{
	uint32_t less = (self->address.family == AF_INET6 ? VXLAN_OVERHEAD6 : VXLAN_OVERHEAD4) + (encrypted ? ESP_OVERHEAD : 0);

	return self->underlay_mtu > less + 68 ? self->underlay_mtu - less : 0;
}

/* IPv6 wants 1280 bytes of every link (RFC 8200, 5), and the kernel drops its addresses where there are less. Over a
 * smaller underlay the outer packets are fragmented. */
uint32_t plan_mtu(uint32_t mtu, bool ipv6)
{
	return ipv6 && mtu && mtu < IPV6_MTU_MIN ? IPV6_MTU_MIN : mtu;
}

static void option(const struct model_network *n, const char *name, char *ret, size_t size)
{
	const char *value = pb_kv_get(n->pb->spec->options, n->pb->spec->n_options, name);

	snprintf(ret, size, "%s", value ? value : "");
}

void plan_net_of(const struct plan_self *self, const struct model_network *n, struct plan_net *ret)
{
	char id[16];
	uint64_t vlan = 0;

	memset(ret, 0, sizeof(*ret));
	snprintf(ret->id, sizeof(ret->id), "%s", n->id);
	ret->driver = n->driver;
	ret->internal = n->internal;
	ret->encrypted = n->encrypted;
	ret->vni = n->vni;
	ret->subnet4 = n->subnet4;
	ret->gateway4 = n->gateway4;
	ret->subnet6 = n->subnet6;
	ret->gateway6 = n->gateway6;
	ret->mtu = n->mtu;
	if (!ret->mtu && n->driver == NETWORK_OVERLAY)
		ret->mtu = overlay_mtu(self, n->encrypted);
	ret->mtu = plan_mtu(ret->mtu, n->subnet6.family);
	option(n, "parent", ret->parent, sizeof(ret->parent));
	option(n, "mode", ret->mode, sizeof(ret->mode));
	if (!*ret->mode)
		snprintf(ret->mode, sizeof(ret->mode), "%s", n->driver == NETWORK_IPVLAN ? "l2" : "bridge");
	option(n, "id", id, sizeof(id));
	if (str_parse_u64(id, &vlan, NULL) == 0 && vlan < 4095)
		ret->vlan_id = (uint16_t)vlan;
}

bool plan_net_equal(const struct plan_net *a, const struct plan_net *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

void plan_port_name(const char *task_id, unsigned nth, char ret[static IFNAMSIZ])
{
	snprintf(ret, IFNAMSIZ, "v%u-%.11s", nth % 100, task_id);
}

void plan_link_name(const char *network_id, char ret[static IFNAMSIZ])
{
	snprintf(ret, IFNAMSIZ, PLAN_BRIDGE_PREFIX "%.8s", network_id);
}

struct ipaddr plan_ingress_address(const struct model_network *ingress, uint32_t index, int family)
{
	struct ipaddr subnet = family == AF_INET ? ingress->subnet4 : ingress->subnet6, a;

	if (family == AF_INET6 && !ipaddr_is_set(&subnet))
		ipaddr_parse_subnet(PLAN_INGRESS_SUBNET6, &subnet, NULL);
	if (!index || !ipaddr_is_set(&subnet) || index >= ipaddr_count(&subnet))
		return (struct ipaddr){.family = 0};
	a = ipaddr_nth(&subnet, index);
	a.prefix = subnet.prefix;
	return a;
}
