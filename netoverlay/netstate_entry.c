#include "netstate_entry.h"

#include "common/str.h"

#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>

struct key {
	uint8_t *p;
	size_t n;
};

static void key_bytes(struct key *k, const void *p, size_t n)
{
	memcpy(k->p + k->n, p, n);
	k->n += n;
}

static void key_u32(struct key *k, uint32_t v)
{
	key_bytes(k, &v, sizeof(v));
}

static void key_text(struct key *k, const char *s, size_t max)
{
	key_bytes(k, s, strnlen(s, max - 1));
	key_bytes(k, "", 1);
}

static size_t address_size(uint8_t family)
{
	return family == AF_INET6 ? 16 : family == AF_INET ? 4 : 0;
}

/* Without the prefix length: callers give an endpoint's address with that of its subnet as well. */
static void key_host(struct key *k, const struct ipaddr *a)
{
	key_bytes(k, &a->family, 1);
	key_bytes(k, a->bytes, address_size(a->family));
}

static void key_subnet(struct key *k, const struct ipaddr *a)
{
	key_host(k, a);
	key_bytes(k, &a->prefix, 1);
}

static uint32_t route_table(const struct netstate_route *r)
{
	return r->table ? r->table : r->local ? RT_TABLE_LOCAL : RT_TABLE_MAIN;
}

/* A mark's service has a family, but no address. */
static void key_ipvs(struct key *k, uint8_t protocol, uint16_t port, const struct ipaddr *addr, uint32_t fwmark)
{
	uint8_t family = addr->family == AF_INET6 ? AF_INET6 : AF_INET;

	key_u32(k, fwmark);
	if (fwmark) {
		key_bytes(k, &family, 1);
		return;
	}
	key_host(k, addr);
	key_bytes(k, &protocol, 1);
	key_bytes(k, &port, sizeof(port));
}

static void key_route(struct key *k, const struct netstate_route *r)
{
	key_u32(k, route_table(r));
	key_subnet(k, &r->dst);
	key_bytes(k, &r->local, 1);
	key_text(k, r->link, sizeof(r->link));
}

static void key_rule(struct key *k, const struct netstate_rule *r)
{
	key_bytes(k, &r->family, 1);
	key_u32(k, r->priority);
	key_u32(k, r->table);
	key_u32(k, r->fwmark);
	key_u32(k, r->fwmask);
}

static void key_ipvs_dest(struct key *k, const struct netstate_ipvs_dest *d)
{
	key_ipvs(k, d->protocol, d->service_port, &d->service, d->fwmark);
	key_host(k, &d->addr);
	key_bytes(k, &d->port, sizeof(d->port));
}

static void key_xfrm_policy(struct key *k, const struct netstate_xfrm_policy *p)
{
	key_bytes(k, &p->out, 1);
	key_host(k, &p->src);
	key_host(k, &p->dst);
	key_u32(k, p->mark);
	key_u32(k, p->mask);
}

size_t netstate_entry_key(const struct netstate_entry *e, uint8_t ret[static NETSTATE_KEY_MAX])
{
	struct key k = {.p = ret};

	key_u32(&k, e->kind);
	switch (e->kind) {
	case NETSTATE_LINK:
		key_text(&k, e->link.name, sizeof(e->link.name));
		break;
	case NETSTATE_ADDR:
		key_text(&k, e->addr.link, sizeof(e->addr.link));
		key_subnet(&k, &e->addr.addr);
		break;
	case NETSTATE_ROUTE:
		key_route(&k, &e->route);
		break;
	case NETSTATE_RULE:
		key_rule(&k, &e->rule);
		break;
	case NETSTATE_NEIGH:
		key_text(&k, e->neigh.link, sizeof(e->neigh.link));
		key_host(&k, &e->neigh.addr);
		break;
	case NETSTATE_FDB:
		key_text(&k, e->fdb.link, sizeof(e->fdb.link));
		key_bytes(&k, e->fdb.mac.bytes, sizeof(e->fdb.mac.bytes));
		break;
	case NETSTATE_SYSCTL:
		key_text(&k, e->sysctl.name, sizeof(e->sysctl.name));
		break;
	case NETSTATE_IPVS_SERVICE:
		key_ipvs(&k, e->ipvs_service.protocol, e->ipvs_service.port, &e->ipvs_service.addr,
			 e->ipvs_service.fwmark);
		break;
	case NETSTATE_IPVS_DEST:
		key_ipvs_dest(&k, &e->ipvs_dest);
		break;
	case NETSTATE_XFRM_STATE:
		key_host(&k, &e->xfrm_state.src);
		key_host(&k, &e->xfrm_state.dst);
		key_u32(&k, e->xfrm_state.spi);
		break;
	case NETSTATE_XFRM_POLICY:
		key_xfrm_policy(&k, &e->xfrm_policy);
		break;
	case NETSTATE_KINDS:
		break;
	}
	return k.n;
}

/* ---------------------------------------------------------------- equal */

static bool host_equal(const struct ipaddr *a, const struct ipaddr *b)
{
	return a->family == b->family && !memcmp(a->bytes, b->bytes, address_size(a->family));
}

static bool mac_equal(const struct mac *a, const struct mac *b)
{
	return !memcmp(a->bytes, b->bytes, sizeof(a->bytes));
}

static bool mac_set(const struct mac *m)
{
	return !mac_equal(m, &(struct mac){});
}

static bool link_equal(const struct netstate_link *a, const struct netstate_link *b)
{
	return a->kind == b->kind && mac_equal(&a->mac, &b->mac) && a->mtu == b->mtu && str_eq(a->master, b->master) &&
	       a->up == b->up && a->down == b->down && a->vni == b->vni && a->port == b->port && host_equal(&a->local, &b->local) &&
	       str_eq(a->parent, b->parent) && str_eq(a->mode, b->mode) && a->vlan_id == b->vlan_id &&
	       str_eq(a->peer, b->peer) && str_eq(a->peer_ns, b->peer_ns) && mac_equal(&a->peer_mac, &b->peer_mac) &&
	       a->isolated == b->isolated && a->hairpin == b->hairpin && a->foreign == b->foreign;
}

static bool route_equal(const struct netstate_route *a, const struct netstate_route *b)
{
	return host_equal(&a->via, &b->via) && host_equal(&a->src, &b->src) && a->onlink == b->onlink;
}

static bool xfrm_state_equal(const struct netstate_xfrm_state *a, const struct netstate_xfrm_state *b)
{
	return !memcmp(a->key, b->key, sizeof(a->key)) && a->reqid == b->reqid;
}

static bool xfrm_policy_equal(const struct netstate_xfrm_policy *a, const struct netstate_xfrm_policy *b)
{
	return a->port == b->port && a->spi == b->spi && a->reqid == b->reqid && a->required == b->required;
}

static bool same_key(const struct netstate_entry *a, const struct netstate_entry *b)
{
	uint8_t ka[NETSTATE_KEY_MAX], kb[NETSTATE_KEY_MAX];
	size_t n = netstate_entry_key(a, ka);

	return netstate_entry_key(b, kb) == n && !memcmp(ka, kb, n);
}

bool netstate_entry_equal(const struct netstate_entry *a, const struct netstate_entry *b)
{
	if (!same_key(a, b))
		return false;
	switch (a->kind) {
	case NETSTATE_LINK:
		return link_equal(&a->link, &b->link);
	case NETSTATE_ROUTE:
		return route_equal(&a->route, &b->route);
	case NETSTATE_NEIGH:
		return mac_equal(&a->neigh.mac, &b->neigh.mac);
	case NETSTATE_FDB:
		return host_equal(&a->fdb.dst, &b->fdb.dst);
	case NETSTATE_SYSCTL:
		return str_eq(a->sysctl.value, b->sysctl.value);
	case NETSTATE_IPVS_SERVICE:
		return str_eq(a->ipvs_service.scheduler, b->ipvs_service.scheduler);
	case NETSTATE_IPVS_DEST:
		return a->ipvs_dest.weight == b->ipvs_dest.weight;
	case NETSTATE_XFRM_STATE:
		return xfrm_state_equal(&a->xfrm_state, &b->xfrm_state);
	case NETSTATE_XFRM_POLICY:
		return xfrm_policy_equal(&a->xfrm_policy, &b->xfrm_policy);
	default:
		return true; /* the key is all of it */
	}
}

/* ---------------------------------------------------------------- wishes and facts */

/* The kernel's text of what was not asked for, or cannot be seen from here, is "". */
static bool text_fits(const char *want, const char *have)
{
	return !*want || !*have || str_eq(want, have);
}

bool netstate_link_remade(const struct netstate_link *old, const struct netstate_link *new)
{
	if (new->kind == LINK_OTHER)
		return false; /* whatever it is */
	return old->kind != new->kind || (new->vni && old->vni != new->vni) || (new->port && old->port != new->port) ||
	       (ipaddr_is_set(&new->local) && !host_equal(&old->local, &new->local)) ||
	       !text_fits(new->parent, old->parent) || !text_fits(new->mode, old->mode) ||
	       (new->vlan_id && old->vlan_id != new->vlan_id) || !text_fits(new->peer_ns, old->peer_ns) ||
	       (str_eq(new->peer_ns, old->peer_ns) && !text_fits(new->peer, old->peer));
}

static bool link_fulfils(const struct netstate_link *have, const struct netstate_link *want)
{
	if (netstate_link_remade(have, want) || (want->up && !have->up) || (want->down && have->up))
		return false;
	if ((mac_set(&want->mac) && !mac_equal(&want->mac, &have->mac)) || (want->mtu && want->mtu != have->mtu))
		return false;
	return !*want->master || (str_eq(want->master, have->master) && want->isolated == have->isolated &&
				  want->hairpin == have->hairpin);
}

bool netstate_entry_fulfils(const struct netstate_entry *have, const struct netstate_entry *want)
{
	switch (want->kind) {
	case NETSTATE_LINK:
		return link_fulfils(&have->link, &want->link);
	case NETSTATE_ROUTE: /* "onlink" only says how a gateway is checked when the route is made */
		return host_equal(&have->route.via, &want->route.via) &&
		       (!ipaddr_is_set(&want->route.src) || host_equal(&have->route.src, &want->route.src));
	case NETSTATE_IPVS_SERVICE:
		return text_fits(want->ipvs_service.scheduler, have->ipvs_service.scheduler);
	default:
		return netstate_entry_equal(have, want);
	}
}

const char *netstate_entry_base(const struct netstate_entry *e)
{
	switch (e->kind) {
	case NETSTATE_ADDR:
		return e->addr.link;
	case NETSTATE_ROUTE:
		return e->route.link;
	case NETSTATE_NEIGH:
		return e->neigh.link;
	case NETSTATE_FDB:
		return e->fdb.link;
	default:
		return "";
	}
}
