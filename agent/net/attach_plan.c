#include "net_internal.h"

#include "common/error.h"
#include "common/log.h"
#include "common/mem.h"

#include <stdio.h>
#include <string.h>

/* ---------------------------------------------------------------- planning */

static int check_driver(const struct net *n, const struct model_network *network, struct error *err)
{
	static const char *const names[] = {"overlay", "bridge", "macvlan", "ipvlan", "vlan"};
	const bool can[] = {n->features.vxlan, true, n->features.macvlan, n->features.ipvlan, n->features.vlan};
	const char *name = network->pb->spec->name;

	if (network->driver == NETWORK_OTHER)
		return error_set(err, ERR_INVALID, "network %s: driver \"%s\": overlay, bridge, macvlan, ipvlan and vlan are accepted",
				 name, network->pb->spec->driver);
	if (!can[network->driver])
		return error_set(err, ERR_PRECONDITION, "network %s: driver %s: not supported by the kernel", name,
				 names[network->driver]);
	if (network->driver == NETWORK_OVERLAY && network->encrypted && !n->features.esp)
		return error_set(err, ERR_PRECONDITION, "network %s is encrypted: ESP is not supported by the kernel", name);
	if (network->driver == NETWORK_OVERLAY && network->encrypted && !n->features.nft_egress)
		return error_set(err, ERR_PRECONDITION, "network %s is encrypted: nftables has no egress hook (CONFIG_NETFILTER_EGRESS)",
				 name);
	return 0;
}

bool attached_is_known(const struct attached *a, struct error *err)
{
	const struct net *n = a->net;

	for (size_t i = 0; i < a->task->n_networks; i++) {
		const struct model_network *network = model_network(n->model, a->task->networks[i]->network_id);

		if (str_eq(a->task->networks[i]->network_id, NET_PREDEFINED_BRIDGE))
			continue;
		if (!network || (network->driver == NETWORK_OVERLAY && !network->vni))
			return false;
		if (check_driver(n, network, err) < 0)
			return false;
	}
	return host_wanted(n) && n->host_facts.base;
}

static bool wants_gateway(const struct attached *a)
{
	for (size_t i = 0; i < a->task->n_networks; i++) {
		const struct model_network *network = model_network(a->net->model, a->task->networks[i]->network_id);

		if (!network || !network->internal)
			return true;
	}
	return a->task->n_networks == 0;
}

static int parse_address(const char *text, const char *what, struct ipaddr *ret, struct error *err)
{
	*ret = (struct ipaddr){.family = 0};
	if (*text && ipaddr_parse(text, ret, err) < 0)
		return error_wrap(err, "%s", what);
	return 0;
}

static int plan_port(struct attached *a, const pb_attachment *at, struct error *err)
{
	const struct model_network *network = model_network(a->net->model, at->network_id);
	struct plan_port *port = &a->plan.ports[a->plan.n_ports];

	if (str_eq(at->network_id, NET_PREDEFINED_BRIDGE))
		return 0;
	plan_net_of(&a->net->self, network, &port->net);
	if (parse_address(at->ipv4, "address of the task", &port->ipv4, err) < 0 ||
	    parse_address(at->ipv6, "address of the task", &port->ipv6, err) < 0)
		return -1;
	if (!ipaddr_is_set(&port->ipv4) && !ipaddr_is_set(&port->ipv6))
		return error_set(err, ERR_PRECONDITION, "the task has no address in network %s", network->pb->spec->name);
	if (!*at->mac || mac_parse(at->mac, &port->mac, NULL) < 0)
		port->mac = mac_of_address(ipaddr_is_set(&port->ipv4) ? &port->ipv4 : &port->ipv6);
	port->mtu = port->net.mtu;
	snprintf(port->name, sizeof(port->name), "eth%zu", a->plan.n_ports);
	if (network->driver == NETWORK_OVERLAY || network->driver == NETWORK_BRIDGE)
		plan_port_name(a->id, (unsigned)a->plan.n_ports, port->outer);
	a->plan.n_ports++;
	return 0;
}

static uint32_t gateway_mtu(const struct net *n)
{
	return plan_mtu(n->self.underlay_mtu, n->self.gateway6.family);
}

static int plan_gateway(struct attached *a, struct error *err)
{
	struct plan_port *port = &a->plan.ports[a->plan.n_ports];
	struct leftover *l = leftover_find(a->net, a->space.path + strlen(a->net->dir) + 1);

	if (!wants_gateway(a))
		return 0;
	if (l && ipaddr_is_set(&l->gateway4)) { /* reserved at the start */
		gateway_ipam_give(&a->net->ipam, &l->gateway4);
		gateway_ipam_reserve(&a->net->ipam, &l->gateway4, &a->gateway6);
		a->gateway4 = l->gateway4;
		l->gateway4.family = 0;
	} else if (gateway_ipam_take(&a->net->ipam, &a->gateway4, &a->gateway6, err) < 0) {
		return -1;
	}
	port->ipv4 = a->gateway4;
	port->ipv6 = a->gateway6;
	port->mac = mac_of_address(&port->ipv4);
	port->mtu = gateway_mtu(a->net);
	snprintf(port->name, sizeof(port->name), "eth%zu", a->plan.n_ports);
	plan_port_name(a->id, (unsigned)a->plan.n_ports, port->outer);
	a->plan.n_ports++;
	return 0;
}

static unsigned rotation_of(const char *id)
{
	unsigned h = 5381;

	for (; *id; id++)
		h = h * 33 + (unsigned char)*id;
	return h;
}

static void each_own_vip(struct attached *a, void (*fn)(struct attached *a, const struct model_vip *vip, void *data),
			 void *data)
{
	struct model_service *s = model_service(a->net->model, a->task->service_id);

	for (size_t i = 0; s && i < s->n_vips; i++)
		if (attached_in(a, s->vips[i].network->id))
			fn(a, &s->vips[i], data);
}

static void put_own_vip(struct attached *a, const struct model_vip *vip, void *data)
{
	plan_task_vip(data, &a->plan, vip);
}

/* What is restored is not asked again what it wants of its namespace; a runtime does that when it makes a container. */
static int put_sysctls(struct attached *a, struct error *err)
{
	const pb_container_spec *spec = a->task->spec ? a->task->spec->container : NULL;
	struct plan_out out = space_out(&a->space, false);

	for (size_t i = 0; spec && i < spec->n_sysctls; i++) {
		const pb_kv *kv = spec->sysctls[i];
		struct netstate_sysctl sizes;
		char name[sizeof(sizes.name)];

		if (!str_starts(kv->key, "net."))
			continue;
		if (strlen(kv->key) >= sizeof(sizes.name) || strlen(kv->value) >= sizeof(sizes.value))
			return error_set(err, ERR_PRECONDITION, "sysctl %.100s: %zu characters of name and %zu of value at most can be "
					 "taken along", kv->key, sizeof(sizes.name) - 1, sizeof(sizes.value) - 1);
		strcpy(name, kv->key);
		for (char *c = name; *c; c++)
			*c = *c == '.' ? '/' : *c;
		plan_put_sysctl(&out, kv->value, "%s", name);
	}
	return 0;
}

/* Wishes of every space that it touches. */
static void put_task(struct attached *a)
{
	struct net *n = a->net;
	struct plan_out out = space_out(&a->space, false), host = space_out(&n->host, false);

	plan_task_base(&out, &n->self, &a->plan);
	each_own_vip(a, put_own_vip, &out);
	for (size_t i = 0; i < a->plan.n_ports; i++) {
		const struct plan_port *port = &a->plan.ports[i];
		struct overlay *o;

		if (!*port->net.id || port->net.driver != NETWORK_OVERLAY) {
			host_net_use(n, &port->net);
			plan_host_port(&host, &n->self, &a->plan, port);
			continue;
		}
		o = overlay_use(n, model_network(n->model, port->net.id));
		out = space_out(&o->space, false);
		plan_network_port(&out, &o->facts, &a->plan, port);
		out = space_out(&a->space, false);
	}
}

int attached_plan(struct attached *a, struct error *err)
{
	a->plan = (struct plan_task){.id = a->id, .service_id = a->task->service_id, .path = a->space.path,
				     .rotation = rotation_of(a->id), .shut = a->gate != NET_OPEN};
	a->plan.ports = xcalloc(a->task->n_networks + 1, sizeof(*a->plan.ports));
	for (size_t i = 0; i < a->task->n_networks; i++)
		if (plan_port(a, a->task->networks[i], err) < 0)
			return -1;
	if (plan_gateway(a, err) < 0)
		return -1;
	if (a->gate == NET_SHUT && put_sysctls(a, err) < 0)
		return -1;
	a->planned = true;
	put_task(a);
	a->own_dirty = true;
	return 0;
}

static void forget_changes(struct space *s)
{
	struct netstate_ops ops = {0};

	netstate_take_changes(s->want, &ops);
	netstate_ops_fini(&ops);
}

/* Its ends elsewhere go with its namespace, at no cost: nothing is asked of the kernel for them. */
void attached_unplan(struct attached *a)
{
	struct net *n = a->net;
	struct plan_out host = space_out(&n->host, true);

	if (!a->planned)
		return;
	net_flush(n, NULL, NULL);
	a->planned = false;
	for (size_t i = 0; i < a->plan.n_ports; i++) {
		const struct plan_port *port = &a->plan.ports[i];
		struct overlay *o = overlay_find(n, port->net.id);
		struct plan_out out;

		plan_host_port(&host, &n->self, &a->plan, port);
		if (!o)
			continue;
		out = space_out(&o->space, true);
		plan_network_port(&out, &o->facts, &a->plan, port);
		forget_changes(&o->space);
		overlay_release(o);
	}
	forget_changes(&n->host);
	for (size_t i = 0; i < a->plan.n_ports; i++)
		if (*a->plan.ports[i].net.id)
			host_net_release(n, &a->plan.ports[i].net);
	flows_drop(a);
	if (!forward_keeps(a)) {
		if (ipaddr_is_set(&a->gateway4))
			gateway_ipam_give(&n->ipam, &a->gateway4);
		host_forget(n, &(struct conntrack_flow){.address = a->gateway4});
		host_forget(n, &(struct conntrack_flow){.address = a->gateway6});
	}
	a->gateway4.family = a->gateway6.family = 0;
	host_service_dirty(n, model_service(n->model, a->task->service_id));
}

/* ---------------------------------------------------------------- its ruleset */

static void add_own_address(struct strbuf *list, const struct ipaddr *vip, const struct ipaddr *home)
{
	struct own_vip own = {*vip, *home};

	if (ipaddr_is_set(vip) && ipaddr_is_set(home))
		strbuf_add(list, (const char *)&own, sizeof(own));
}

static void add_own(struct attached *a, const struct model_vip *vip, void *data)
{
	for (size_t i = 0; i < a->plan.n_ports; i++) {
		if (!str_eq(a->plan.ports[i].net.id, vip->network->id))
			continue;
		add_own_address(data, &vip->ipv4, &a->plan.ports[i].ipv4);
		add_own_address(data, &vip->ipv6, &a->plan.ports[i].ipv6);
	}
}

static bool has_own(const struct own_vip *list, size_t n, const struct own_vip *own)
{
	for (size_t i = 0; i < n; i++)
		if (ipaddr_same_host(&list[i].vip, &own->vip))
			return true;
	return false;
}

static const struct model_vip *vip_of(const struct attached *a, const struct ipaddr *address)
{
	for (size_t i = 0; i < a->plan.n_ports; i++) {
		const struct model_network *network = model_network(a->net->model, a->plan.ports[i].net.id);
		const struct model_vip *vip = network ? model_vip_by_address(a->net->model, network, address) : NULL;

		if (vip)
			return vip;
	}
	return NULL;
}

/* With IPVS only its own service is balanced here (it would find that address at home), with nftables all are. */
static void put_own_change(struct attached *a, struct strbuf *text, const struct own_vip *own, bool before, bool now)
{
	if (before != now)
		plan_balance_own(text, &own->vip, &own->home, now);
	if (a->net->self.ipvs)
		plan_balance_vip(text, now ? vip_of(a, &own->vip) : NULL, &own->vip, before, now, a->plan.rotation);
}

/* The programmed ones become what is wanted now. */
static void flush_own(struct attached *a, struct strbuf *text)
{
	struct strbuf list = {0};
	struct own_vip *now;
	size_t n;

	each_own_vip(a, add_own, &list);
	n = list.len / sizeof(*now);
	now = (struct own_vip *)strbuf_take(&list);
	for (size_t i = 0; i < a->n_own_vips; i++)
		if (!has_own(now, n, &a->own_vips[i]))
			put_own_change(a, text, &a->own_vips[i], true, false);
	for (size_t i = 0; i < n; i++)
		put_own_change(a, text, &now[i], has_own(a->own_vips, a->n_own_vips, &now[i]), true);
	free(a->own_vips);
	a->own_vips = now;
	a->n_own_vips = n;
	a->own_dirty = false;
}

static void put_all_vips(struct attached *a, struct strbuf *text)
{
	for (size_t i = 0; i < a->plan.n_ports; i++) {
		const struct model_network *network = model_network(a->net->model, a->plan.ports[i].net.id);
		const struct model_vip *vip;

		if (!network || !overlay_find(a->net, network->id))
			continue;
		LIST_FOREACH(vip, &network->vips, of_network) {
			if (ipaddr_is_set(&vip->ipv4))
				plan_balance_vip(text, vip, &vip->ipv4, false, true, a->plan.rotation);
			if (ipaddr_is_set(&vip->ipv6))
				plan_balance_vip(text, vip, &vip->ipv6, false, true, a->plan.rotation);
		}
	}
}

static bool wants_balance(const struct attached *a)
{
	const struct model_service *s = model_service(a->net->model, a->task->service_id);

	for (size_t i = 0; i < a->plan.n_ports; i++)
		if (!a->net->self.ipvs && overlay_find(a->net, a->plan.ports[i].net.id))
			return true;
	return s && s->n_vips;
}

/* "": it balances nothing. */
static char *balance_text(struct attached *a)
{
	struct strbuf text = {0};
	_cleanup_free_ char *table = plan_balance_table();

	if (!wants_balance(a))
		return xstrdup("");
	strbuf_puts(&text, table);
	free(a->own_vips);
	a->own_vips = NULL;
	a->n_own_vips = 0;
	flush_own(a, &text);
	if (!a->net->self.ipvs)
		put_all_vips(a, &text);
	return strbuf_take(&text);
}

char *attached_ruleset(struct attached *a)
{
	_cleanup_free_ char *balance = balance_text(a);

	return xasprintf("%s%s", plan_names_text(), balance);
}

static void put_dirty_vips(struct attached *a)
{
	for (size_t i = 0; i < a->plan.n_ports; i++) {
		struct overlay *o = overlay_find(a->net, a->plan.ports[i].net.id);
		const struct model_network *network = o ? model_network(a->net->model, o->id) : NULL;
		struct vip_slot *slot;

		if (!o)
			continue;
		TAILQ_FOREACH(slot, &o->dirty, dirty_link) {
			const struct model_vip *vip =
				network ? model_vip_by_address(a->net->model, network, &slot->addr) : NULL;

			plan_balance_vip(&a->space.text, vip, &slot->addr, slot->programmed, vip != NULL,
					 a->plan.rotation);
		}
	}
}

void attached_flush(struct attached *a)
{
	if (a->space.sync) {
		a->table = wants_balance(a);
		return; /* with the whole ruleset */
	}
	if (!a->table) {
		_cleanup_free_ char *text = NULL;

		if (!a->own_dirty)
			return;
		text = balance_text(a);
		a->table = *text;
		a->own_dirty = false;
		strbuf_puts(&a->space.text, text);
		return;
	}
	if (a->own_dirty)
		flush_own(a, &a->space.text);
	if (!a->net->self.ipvs)
		put_dirty_vips(a);
}

void attached_service(struct net *n, struct model_service *s, bool appears)
{
	struct attached *a, *next;

	HASH_ITER(hh, n->attached, a, next) {
		struct plan_out out = space_out(&a->space, !appears);

		if (!a->planned || !str_eq(a->task->service_id, s->id))
			continue;
		each_own_vip(a, put_own_vip, &out);
		a->own_dirty = true;
	}
}

void attached_endpoint(struct net *n, struct model_endpoint *e)
{
	struct attached *a, *next;

	if (!n->self.ipvs || !e->service->n_vips)
		return;
	HASH_ITER(hh, n->attached, a, next)
		if (a->planned && str_eq(a->task->service_id, e->service->id))
			a->own_dirty = true;
}

void attached_refresh_all(struct net *n)
{
	struct attached *a, *next;

	HASH_ITER(hh, n->attached, a, next) {
		struct plan_out out = space_out(&a->space, false);

		if (!a->planned)
			continue;
		for (size_t i = 0; i < a->plan.n_ports; i++) {
			struct plan_port *port = &a->plan.ports[i];
			struct overlay *o = overlay_find(n, port->net.id);

			if (o)
				port->mtu = port->net.mtu = o->facts.mtu;
			else if (!*port->net.id)
				port->mtu = gateway_mtu(n);
		}
		plan_task_base(&out, &n->self, &a->plan);
	}
}

struct work_sync sync_of_attached(struct attached *a, bool rulesets, bool repair)
{
	struct work_sync s = {.path = a->space.path, .want = net_copy(a->space.want),
			      .kinds = NET_SYNC_KINDS_OVERLAY & ~(1u << NETSTATE_SYSCTL), /* its user may set those */
			      .owns = plan_task_owns, .repair = repair};

	if (rulesets)
		s.text = attached_ruleset(a);
	return s;
}
