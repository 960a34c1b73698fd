#include "net_internal.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"

#include <string.h>

/* A namespace that nobody needs stays for a successor: a task that is replaced finds its network made. */
#define IDLE_NS (5 * NS_PER_SEC)

struct overlay *overlay_find(const struct net *n, const char *network_id)
{
	struct overlay *o;

	HASH_FIND_STR(n->overlays, network_id, o);
	return o;
}

unsigned overlay_kinds(const struct net *n)
{
	return NET_SYNC_KINDS_OVERLAY | (n->self.ipvs ? NET_SYNC_KINDS_IPVS : 0);
}

/* ---- what it holds */

static void put_dests(const struct plan_out *out, const struct model_vip *vip)
{
	const struct model_endpoint *e;

	LIST_FOREACH(e, &vip->service->endpoints, of_service) {
		const struct model_place *p = e->pb ? model_endpoint_place(e, vip->network) : NULL;

		if (p)
			plan_ipvs_dest(out, vip, p);
	}
}

static void put_vip(const struct net *n, const struct plan_out *out, const struct model_vip *vip)
{
	if (!n->self.ipvs)
		return;
	plan_ipvs_vip(out, vip);
	put_dests(out, vip);
}

static void put_ports(const struct overlay *o, const struct plan_out *out)
{
	const struct attached *a, *next;

	HASH_ITER(hh, o->net->attached, a, next) {
		for (size_t i = 0; a->planned && i < a->plan.n_ports; i++)
			if (str_eq(a->plan.ports[i].net.id, o->id))
				plan_network_port(out, &o->facts, &a->plan, &a->plan.ports[i]);
	}
}

static struct netstate *wishes(const struct overlay *o)
{
	const struct net *n = o->net;
	const struct model_network *network = model_network(n->model, o->id);
	struct netstate *s = netstate_new();
	struct plan_out out = {.set = s};
	const struct model_place *p;
	const struct model_vip *vip;

	plan_network_base(&out, &n->self, &o->facts);
	put_ports(o, &out);
	if (!network)
		return s;
	LIST_FOREACH(p, &network->places, of_network)
		plan_network_place(&out, &n->self, p);
	LIST_FOREACH(vip, &network->vips, of_network)
		put_vip(n, &out, vip);
	return s;
}

static void put_ruleset(struct overlay *o)
{
	_cleanup_free_ char *text = plan_network_text(&o->net->self, &o->facts, net_own_index(o->net));

	strbuf_fini(&o->space.text);
	strbuf_puts(&o->space.text, text);
}

/* ---- addresses of services, for the rulesets of tasks */

static void slot_dirty(struct overlay *o, const struct ipaddr *address)
{
	struct ipaddr key;
	struct vip_slot *slot;

	if (!ipaddr_is_set(address))
		return;
	memset(&key, 0, sizeof(key));
	key.family = address->family;
	key.prefix = address->prefix;
	memcpy(key.bytes, address->bytes, address->family == AF_INET ? 4 : 16);
	HASH_FIND(hh, o->slots, &key, sizeof(key), slot);
	if (!slot) {
		slot = xnew(struct vip_slot);
		slot->addr = key;
		HASH_ADD(hh, o->slots, addr, sizeof(slot->addr), slot);
	}
	if (slot->dirty)
		return;
	slot->dirty = true;
	TAILQ_INSERT_TAIL(&o->dirty, slot, dirty_link);
}

static void vip_dirty(struct overlay *o, const struct model_vip *vip)
{
	slot_dirty(o, &vip->ipv4);
	slot_dirty(o, &vip->ipv6);
}

void overlay_flushed(struct overlay *o)
{
	const struct model_network *network = model_network(o->net->model, o->id);
	struct vip_slot *slot;

	while ((slot = TAILQ_FIRST(&o->dirty))) {
		TAILQ_REMOVE(&o->dirty, slot, dirty_link);
		slot->dirty = false;
		slot->programmed = network && model_vip_by_address(o->net->model, network, &slot->addr);
		if (slot->programmed)
			continue;
		HASH_DEL(o->slots, slot);
		free(slot);
	}
}

/* ---- life */

struct overlay *overlay_use(struct net *n, const struct model_network *network)
{
	struct overlay *o = overlay_find(n, network->id);
	const struct model_vip *vip;
	_cleanup_free_ char *path = NULL;

	if (o) {
		o->n_tasks++;
		o->idle_since = 0;
		return o;
	}
	o = xnew(struct overlay);
	o->net = n;
	o->id = xstrdup(network->id);
	o->n_tasks = 1;
	TAILQ_INIT(&o->dirty);
	path = xasprintf("%s/%s", n->dir, o->id);
	space_init(&o->space, path);
	plan_net_of(&n->self, network, &o->facts);
	HASH_ADD_KEYPTR(hh, n->overlays, o->id, strlen(o->id), o);
	space_replace(&o->space, wishes(o));
	put_ruleset(o);
	o->space.sync = leftover_find(n, o->id) != NULL;
	o->space.fresh = !o->space.sync;
	/* Rulesets of tasks begin with what there is. */
	LIST_FOREACH(vip, &network->vips, of_network)
		vip_dirty(o, vip);
	overlay_flushed(o);
	o->heal = heal_open(n, o);
	host_overlay(n, &o->facts, true);
	log_debug("network_made", kv_str("network", o->id), kv_str("name", net_name(n, o->id)));
	return o;
}

void overlay_release(struct overlay *o)
{
	if (--o->n_tasks == 0) {
		o->idle_since = clock_mono_ns();
		net_tick_start(o->net);
	}
}

void overlay_free(struct overlay *o)
{
	struct vip_slot *slot, *next;

	HASH_DEL(o->net->overlays, o);
	heal_close(o->heal);
	HASH_ITER(hh, o->slots, slot, next) {
		HASH_DEL(o->slots, slot);
		free(slot);
	}
	space_fini(&o->space);
	free(o->gone);
	free(o->id);
	free(o);
}

bool overlay_expire(struct net *n, struct work_job *job, int64_t now, bool all)
{
	struct overlay *o, *next;
	bool more = false;

	HASH_ITER(hh, n->overlays, o, next) {
		if (!all && (o->n_tasks || now < o->idle_since + IDLE_NS)) {
			more |= o->n_tasks == 0;
			continue;
		}
		work_unwatch(n->work, o->space.path);
		work_destroy(job, o->space.path);
		host_overlay(n, &o->facts, false);
		overlay_free(o);
		n->host_changed = true;
	}
	return more;
}

/* ---- what changes */

void overlay_service(struct net *n, struct model_service *s, bool appears)
{
	for (size_t i = 0; i < s->n_vips; i++) {
		struct overlay *o = overlay_find(n, s->vips[i].network->id);
		struct plan_out out;

		if (!o)
			continue;
		out = space_out(&o->space, !appears);
		put_vip(n, &out, &s->vips[i]);
		vip_dirty(o, &s->vips[i]);
	}
}

/* An address that two have for a moment (one comes before the other has gone) stays with the one that is left. */
static void keep_shared(struct net *n, const struct plan_out *gone, const struct model_place *p)
{
	struct plan_out out = {.set = gone->set};
	const struct model_place *other;
	const struct model_vip *vip;

	LIST_FOREACH(other, &p->network->places, of_network) {
		if (other == p || !(ipaddr_is_set(&p->ipv4) ? ipaddr_same_host(&other->ipv4, &p->ipv4) :
							       ipaddr_same_host(&other->ipv6, &p->ipv6)))
			continue;
		plan_network_place(&out, &n->self, other);
		vip = model_service_vip(other->endpoint->service, p->network);
		if (vip && n->self.ipvs)
			plan_ipvs_dest(&out, vip, other);
	}
}

static bool is_shared(const struct net *n, const struct model_place *p)
{
	const struct ipaddr *a = ipaddr_is_set(&p->ipv4) ? &p->ipv4 : &p->ipv6;

	return model_count_by_address(n->model, p->network, a) > 1;
}

static void address_gone(struct overlay *o, const struct ipaddr *a, bool gone)
{
	if (!ipaddr_is_set(a))
		return;
	for (size_t i = 0; i < o->n_gone; i++) {
		if (!ipaddr_same_host(&o->gone[i], a))
			continue;
		if (!gone)
			o->gone[i] = o->gone[--o->n_gone];
		return;
	}
	if (!gone)
		return;
	o->gone = xreallocarray(o->gone, o->n_gone + 1, sizeof(*o->gone));
	o->gone[o->n_gone++] = *a;
}

struct ipaddr *overlay_take_gone(struct overlay *o, size_t *ret_n)
{
	*ret_n = o->n_gone;
	o->n_gone = 0;
	return TAKE_PTR(o->gone);
}

void overlay_forget(struct overlay *o, struct work_job *job, const struct conntrack_flow *v, size_t n)
{
	struct attached *a, *next;

	HASH_ITER(hh, o->net->attached, a, next) {
		struct conntrack_flow *copy;

		if (!a->planned || !a->table || !attached_in(a, o->id))
			continue;
		copy = xcalloc(n, sizeof(*copy));
		memcpy(copy, v, n * sizeof(*copy));
		work_forget(job, a->space.path, copy, n);
	}
}

void overlay_endpoint(struct net *n, struct model_endpoint *e, bool appears)
{
	for (size_t i = 0; i < e->n_places; i++) {
		const struct model_place *p = &e->places[i];
		const struct model_vip *vip = model_service_vip(e->service, p->network);
		struct overlay *o = overlay_find(n, p->network->id);
		bool shared = !appears && is_shared(n, p);
		struct plan_out out;

		if (!o)
			continue;
		out = space_out(&o->space, !appears);
		plan_network_place(&out, &n->self, p);
		if (vip && n->self.ipvs)
			plan_ipvs_dest(&out, vip, p);
		if (shared)
			keep_shared(n, &out, p);
		if (vip)
			vip_dirty(o, vip);
		address_gone(o, &p->ipv4, !appears && !shared); /* a change takes it back at once */
		address_gone(o, &p->ipv6, !appears && !shared);
	}
}

void overlay_node(struct net *n, struct model_node *node, bool appears)
{
	const struct model_endpoint *e;

	LIST_FOREACH(e, &node->endpoints, of_node) {
		for (size_t i = 0; i < e->n_places; i++) {
			struct overlay *o = overlay_find(n, e->places[i].network->id);
			struct plan_out out;

			if (!o)
				continue;
			out = space_out(&o->space, !appears);
			plan_network_place(&out, &n->self, &e->places[i]);
		}
	}
}

void overlay_network(struct net *n, struct model_network *network)
{
	struct overlay *o = overlay_find(n, network->id);
	struct plan_net facts;

	if (!o || network->driver != NETWORK_OVERLAY || !network->vni)
		return;
	plan_net_of(&n->self, network, &facts);
	if (plan_net_equal(&facts, &o->facts))
		return;
	o->facts = facts;
	space_replace(&o->space, wishes(o));
	put_ruleset(o);
}

void overlay_refresh_all(struct net *n)
{
	struct overlay *o, *next;

	HASH_ITER(hh, n->overlays, o, next) {
		struct model_network *network = model_network(n->model, o->id);

		if (network)
			plan_net_of(&n->self, network, &o->facts);
		space_replace(&o->space, wishes(o));
		put_ruleset(o);
	}
}

void overlay_own_index_changed(struct net *n)
{
	struct overlay *o, *next;

	HASH_ITER(hh, n->overlays, o, next)
		put_ruleset(o);
}

struct work_sync sync_of_overlay(struct overlay *o, bool rulesets, bool repair)
{
	struct work_sync s = {.path = o->space.path, .want = net_copy(o->space.want), .kinds = overlay_kinds(o->net),
			      .owns = plan_network_owns, .repair = repair};
	char *text = plan_network_text(&o->net->self, &o->facts, net_own_index(o->net));

	if (rulesets && *text)
		s.text = text;
	else
		free(text);
	return s;
}
