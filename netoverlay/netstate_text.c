#include "common/str.h"
#include "netstate.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

static const char *const kind_names[] = {
	[NETSTATE_LINK] = "link",
	[NETSTATE_ADDR] = "address",
	[NETSTATE_ROUTE] = "route",
	[NETSTATE_RULE] = "rule",
	[NETSTATE_NEIGH] = "neighbour",
	[NETSTATE_FDB] = "fdb",
	[NETSTATE_SYSCTL] = "sysctl",
	[NETSTATE_IPVS_SERVICE] = "ipvs service",
	[NETSTATE_IPVS_DEST] = "ipvs destination",
	[NETSTATE_XFRM_STATE] = "xfrm state",
	[NETSTATE_XFRM_POLICY] = "xfrm policy",
};

const char *netstate_kind_name(enum netstate_kind kind)
{
	return (unsigned)kind < NETSTATE_KINDS ? kind_names[kind] : "unknown";
}

static const char *const link_kind_names[] = {
	[LINK_BRIDGE] = "bridge", [LINK_VXLAN] = "vxlan", [LINK_VETH] = "veth",   [LINK_MACVLAN] = "macvlan",
	[LINK_IPVLAN] = "ipvlan", [LINK_VLAN] = "vlan",   [LINK_DUMMY] = "dummy", [LINK_OTHER] = "device",
};

/* Appends; what does not fit is cut. */
struct out {
	char *p;
	size_t len, cap;
};

static void __attribute__((format(printf, 2, 3))) put(struct out *o, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(o->p + o->len, o->cap - o->len, fmt, ap);
	va_end(ap);
	if (n > 0)
		o->len = o->len + n < o->cap ? o->len + n : o->cap - 1;
}

static void put_host(struct out *o, const char *before, const struct ipaddr *a)
{
	char buf[IPADDR_TEXT_MAX];

	if (ipaddr_is_set(a))
		put(o, "%s%s", before, ipaddr_format_host(a, buf));
}

static void put_mac(struct out *o, const char *before, const struct mac *m)
{
	char buf[MAC_TEXT_MAX];

	if (memcmp(m->bytes, (const uint8_t[6]){}, 6))
		put(o, "%s%s", before, mac_format(m, buf));
}

static void put_name(struct out *o, const char *before, const char *name)
{
	if (*name)
		put(o, "%s%s", before, name);
}

static void link_text(struct out *o, const struct netstate_link *l)
{
	put(o, "%s %s", l->name, (unsigned)l->kind <= LINK_OTHER ? link_kind_names[l->kind] : "?");
	if (l->kind == LINK_VXLAN)
		put(o, " vni %u port %u", l->vni, l->port);
	put_host(o, " local ", &l->local);
	put_name(o, " parent ", l->parent);
	put_name(o, " mode ", l->mode);
	if (l->vlan_id)
		put(o, " id %u", l->vlan_id);
	put_name(o, " peer ", l->peer);
	put_name(o, " in ", l->peer_ns);
	put_mac(o, " mac ", &l->mac);
	if (l->mtu)
		put(o, " mtu %u", l->mtu);
	put_name(o, " master ", l->master);
	put(o, "%s%s%s", l->isolated ? " isolated" : "", l->hairpin ? " hairpin" : "", l->up ? " up" : l->down ? " down" : "");
}

static void route_text(struct out *o, const struct netstate_route *r)
{
	char dst[IPADDR_TEXT_MAX];

	put(o, "%s%s", r->local ? "local " : "", r->dst.prefix ? ipaddr_format(&r->dst, dst) :
						 r->dst.family == AF_INET6 ? "default (IPv6)" : "default");
	put_host(o, " via ", &r->via);
	put_name(o, " dev ", r->link);
	put_host(o, " src ", &r->src);
	if (r->table)
		put(o, " table %u", r->table);
	if (r->onlink)
		put(o, " onlink");
}

static void rule_text(struct out *o, const struct netstate_rule *r)
{
	put(o, "%s priority %u", r->family == AF_INET6 ? "IPv6" : "IPv4", r->priority);
	if (r->fwmask)
		put(o, " fwmark 0x%x/0x%x", r->fwmark, r->fwmask);
	put(o, " lookup %u", r->table);
}

static void service_text(struct out *o, uint8_t protocol, const struct ipaddr *addr, uint16_t port, uint32_t fwmark)
{
	if (fwmark) {
		put(o, "fwmark %u%s", fwmark, addr->family == AF_INET6 ? " (IPv6)" : "");
		return;
	}
	put_host(o, "", addr);
	put(o, " port %u protocol %u", port, protocol);
}

static void dest_text(struct out *o, const struct netstate_ipvs_dest *d)
{
	service_text(o, d->protocol, &d->service, d->service_port, d->fwmark);
	put_host(o, " -> ", &d->addr);
	if (d->port)
		put(o, " port %u", d->port);
	put(o, " weight %u", d->weight);
}

static void policy_text(struct out *o, const struct netstate_xfrm_policy *p)
{
	put(o, "%s", p->out ? "out" : "in");
	put_host(o, " src ", &p->src);
	put_host(o, " dst ", &p->dst);
	put(o, " udp port %u", p->port);
	if (p->mask)
		put(o, " mark 0x%x/0x%x", p->mark, p->mask);
	put(o, " spi 0x%08x reqid %u%s", p->spi, p->reqid, p->required ? "" : " optional");
}

static void state_text(struct out *o, const struct netstate_xfrm_state *x)
{
	put_host(o, "src ", &x->src);
	put_host(o, " dst ", &x->dst);
	put(o, " spi 0x%08x reqid %u", x->spi, x->reqid); /* never the key */
}

const char *netstate_entry_text(const struct netstate_entry *e, char buf[static NETSTATE_ENTRY_TEXT_MAX])
{
	struct out o = {.p = buf, .cap = NETSTATE_ENTRY_TEXT_MAX};
	char addr[IPADDR_TEXT_MAX];

	buf[0] = '\0';
	switch (e->kind) {
	case NETSTATE_LINK:
		link_text(&o, &e->link);
		break;
	case NETSTATE_ADDR:
		put(&o, "%s dev %s", ipaddr_format(&e->addr.addr, addr), e->addr.link);
		break;
	case NETSTATE_ROUTE:
		route_text(&o, &e->route);
		break;
	case NETSTATE_RULE:
		rule_text(&o, &e->rule);
		break;
	case NETSTATE_NEIGH:
		put_host(&o, "", &e->neigh.addr);
		put(&o, " dev %s", e->neigh.link);
		put_mac(&o, " mac ", &e->neigh.mac);
		break;
	case NETSTATE_FDB:
		put_mac(&o, "", &e->fdb.mac);
		put(&o, " dev %s", e->fdb.link);
		put_host(&o, " dst ", &e->fdb.dst);
		break;
	case NETSTATE_SYSCTL:
		put(&o, "%s = %s", e->sysctl.name, e->sysctl.value);
		break;
	case NETSTATE_IPVS_SERVICE:
		service_text(&o, e->ipvs_service.protocol, &e->ipvs_service.addr, e->ipvs_service.port,
			     e->ipvs_service.fwmark);
		put_name(&o, " scheduler ", e->ipvs_service.scheduler);
		break;
	case NETSTATE_IPVS_DEST:
		dest_text(&o, &e->ipvs_dest);
		break;
	case NETSTATE_XFRM_STATE:
		state_text(&o, &e->xfrm_state);
		break;
	case NETSTATE_XFRM_POLICY:
		policy_text(&o, &e->xfrm_policy);
		break;
	case NETSTATE_KINDS:
		break;
	}
	return buf;
}
