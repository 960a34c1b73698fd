#include "net_internal.h"

#include "common/clock.h"
#include "common/error.h"
#include "common/log.h"
#include "common/mem.h"

#include <stdio.h>
#include <string.h>

#define WAIT_NS (30 * NS_PER_SEC)
/* Others have heard by then that a task is about to stop. */
#define DRAIN_MIN_NS (200 * NS_PER_MS)
#define DRAIN_ASK_NS (100 * NS_PER_MS)
#define PREDEFINED_BRIDGE "bridge" /* the gateway interface alone */

bool net_wanted(const pb_task *task)
{
	const char *network = task->spec ? task->spec->network : "";

	return !str_eq(network, "host") && !str_eq(network, "none");
}

static struct attached *find(const struct net *n, const char *task_id)
{
	struct attached *a;

	HASH_FIND_STR(n->attached, task_id, a);
	return a;
}

bool attached_in(const struct attached *a, const char *network_id)
{
	for (size_t i = 0; i < a->task->n_networks; i++)
		if (str_eq(a->task->networks[i]->network_id, network_id))
			return true;
	return false;
}

static struct attached *attached_new(struct net *n, const pb_task *task, enum attached_state state, net_attach_cb cb,
				     void *data)
{
	struct attached *a = xnew(struct attached);
	_cleanup_free_ char *path = xasprintf("%s/task-%s", n->dir, task->id);

	a->net = n;
	a->task = pb_dup(task);
	a->id = xstrdup(task->id);
	a->state = state;
	a->attach_cb = cb;
	a->attach_data = data;
	a->sockets = DNS_SOCKETS_NONE;
	a->deadline = clock_mono_ns() + WAIT_NS;
	space_init(&a->space, path);
	HASH_ADD_KEYPTR(hh, n->attached, a->id, strlen(a->id), a);
	return a;
}

void attached_free(struct attached *a)
{
	HASH_DEL(a->net->attached, a);
	dns_sockets_close(&a->sockets);
	space_fini(&a->space);
	pb_free(a->task);
	free(a->plan.ports);
	free(a->own_vips);
	free(a->resolv_conf);
	free(a->id);
	free(a);
}

static void answer(struct attached *a, const struct error *err)
{
	net_attach_cb cb = a->attach_cb;

	a->attach_cb = NULL;
	if (!cb)
		return;
	if (!err) {
		free(a->resolv_conf);
		a->resolv_conf = dns_resolv_conf(a->net->dns, a->task);
		a->attachment = (struct net_attachment){a->space.path, a->resolv_conf, ""};
	}
	cb(a->attach_data, err ? NULL : &a->attachment, err);
}

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

/* Is all known that its plan needs? false with an error: it cannot be had; without: not yet. */
static bool is_known(const struct attached *a, struct error *err)
{
	const struct net *n = a->net;

	for (size_t i = 0; i < a->task->n_networks; i++) {
		const struct model_network *network = model_network(n->model, a->task->networks[i]->network_id);

		if (str_eq(a->task->networks[i]->network_id, PREDEFINED_BRIDGE))
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

	if (str_eq(at->network_id, PREDEFINED_BRIDGE))
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

static int make_plan(struct attached *a, struct error *err)
{
	a->plan = (struct plan_task){.id = a->id, .service_id = a->task->service_id, .path = a->space.path,
				     .rotation = rotation_of(a->id)};
	a->plan.ports = xcalloc(a->task->n_networks + 1, sizeof(*a->plan.ports));
	for (size_t i = 0; i < a->task->n_networks; i++)
		if (plan_port(a, a->task->networks[i], err) < 0)
			return -1;
	if (plan_gateway(a, err) < 0)
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
static void take_plan_back(struct attached *a)
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
	if (ipaddr_is_set(&a->gateway4))
		gateway_ipam_give(&n->ipam, &a->gateway4);
	a->gateway4.family = a->gateway6.family = 0;
	host_service_dirty(n, model_service(n->model, a->task->service_id));
}

/* ---------------------------------------------------------------- its ruleset */

static void add_own(struct attached *a, const struct model_vip *vip, void *data)
{
	struct strbuf *list = data;

	if (ipaddr_is_set(&vip->ipv4))
		strbuf_add(list, (const char *)&vip->ipv4, sizeof(vip->ipv4));
	if (ipaddr_is_set(&vip->ipv6))
		strbuf_add(list, (const char *)&vip->ipv6, sizeof(vip->ipv6));
}

static bool has_address(const struct ipaddr *list, size_t n, const struct ipaddr *a)
{
	for (size_t i = 0; i < n; i++)
		if (ipaddr_same_host(&list[i], a))
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
static void put_own_change(struct attached *a, struct strbuf *text, const struct ipaddr *address, bool before, bool now)
{
	if (before != now)
		plan_balance_own(text, address, now);
	if (a->net->self.ipvs)
		plan_balance_vip(text, now ? vip_of(a, address) : NULL, address, before, now, a->plan.rotation);
}

/* The programmed ones become what is wanted now. */
static void flush_own(struct attached *a, struct strbuf *text)
{
	struct strbuf list = {0};
	struct ipaddr *now;
	size_t n;

	each_own_vip(a, add_own, &list);
	n = list.len / sizeof(*now);
	now = (struct ipaddr *)strbuf_take(&list);
	for (size_t i = 0; i < a->n_own_vips; i++)
		if (!has_address(now, n, &a->own_vips[i]))
			put_own_change(a, text, &a->own_vips[i], true, false);
	for (size_t i = 0; i < n; i++)
		put_own_change(a, text, &now[i], has_address(a->own_vips, a->n_own_vips, &now[i]), true);
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

static bool wants_ruleset(const struct attached *a)
{
	const struct model_service *s = model_service(a->net->model, a->task->service_id);

	for (size_t i = 0; i < a->plan.n_ports; i++)
		if (!a->net->self.ipvs && overlay_find(a->net, a->plan.ports[i].net.id))
			return true;
	return s && s->n_vips;
}

char *attached_ruleset(struct attached *a)
{
	struct strbuf text = {0};
	_cleanup_free_ char *table = plan_balance_table();

	if (!wants_ruleset(a))
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
		a->table = wants_ruleset(a);
		return; /* with the whole ruleset */
	}
	if (!a->table) {
		_cleanup_free_ char *text = NULL;

		if (!a->own_dirty)
			return;
		text = attached_ruleset(a);
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
	char *text = rulesets ? attached_ruleset(a) : NULL;

	if (text && *text)
		s.text = text;
	else
		free(text);
	return s;
}

/* ---------------------------------------------------------------- making, dropping */

static void dropped(void *data, struct work_job *job, const struct error *err)
{
	struct attached *a = data;
	net_done_cb cb = a->detach_cb;
	void *cb_data = a->detach_data;

	attached_free(a);
	if (cb)
		cb(cb_data, err);
}

static void drop(struct attached *a)
{
	struct work_job *job = work_job_new();

	a->state = ATTACHED_DROPPING;
	dns_detach(a->net->dns, a->id);
	take_plan_back(a);
	work_destroy(job, a->space.path);
	work_run(a->net->work, job, dropped, a);
	net_flush(a->net, NULL, NULL);
}

static void fail(struct attached *a, const struct error *err)
{
	struct error copy = *err;

	answer(a, &copy);
	drop(a);
}

static void open_sockets(void *data)
{
	struct attached *a = data;

	if (dns_sockets_open(&a->sockets, &a->sockets_err) < 0)
		a->sockets = DNS_SOCKETS_NONE;
}

void attached_open_names(void *data, struct netns *ns, struct error *err)
{
	struct attached *a = data;

	a->sockets_err = ERROR_INIT;
	if (netns_run(ns, open_sockets, a, err) == 0 && error_is_set(&a->sockets_err))
		*err = a->sockets_err;
}

static void made(void *data, struct work_job *job, const struct error *err)
{
	struct attached *a = data;
	const struct error *own = work_job_error(job, a->space.path);
	struct error cancelled = ERROR_INIT;

	if (net_closing(a->net))
		return;
	if (a->detach_asked) {
		error_set(&cancelled, ERR_CANCELLED, "the task was detached");
		own = &cancelled;
	}
	if (own) {
		fail(a, own);
		return;
	}
	dns_attach(a->net->dns, a->task, &a->sockets);
	a->sockets = DNS_SOCKETS_NONE;
	a->state = ATTACHED_UP;
	host_service_dirty(a->net, model_service(a->net->model, a->task->service_id));
	answer(a, NULL);
	net_flush(a->net, NULL, NULL);
}

static void begin(struct attached *a)
{
	struct error err = ERROR_INIT;

	a->state = ATTACHED_MAKING;
	if (make_plan(a, &err) < 0) {
		fail(a, &err);
		return;
	}
	a->space.fresh = a->open_names = true;
	net_flush(a->net, made, a);
}

/* An earlier agent's: differences only, nothing is interrupted. */
static void take_over(struct attached *a)
{
	struct error err = ERROR_INIT;

	if (make_plan(a, &err) < 0) {
		log_warn("network_adopt", kv_str("task", a->id), kv_err(&err));
		a->deadline = INT64_MAX; /* as it is; nothing new will come of trying again */
		return;
	}
	a->space.sync = true;
	a->state = ATTACHED_UP;
	host_service_dirty(a->net, model_service(a->net->model, a->task->service_id));
}

static void adopt(struct attached *a);

void attached_advance(struct attached *a)
{
	struct error err = ERROR_INIT;

	if (!a->net->ready || a->planned || a->detach_asked)
		return;
	if (a->state == ATTACHED_WAITING) {
		if (a->net->failed)
			fail(a, &a->net->error);
		else if (is_known(a, &err))
			begin(a);
		else if (error_is_set(&err))
			fail(a, &err);
	} else if (a->state == ATTACHED_FOUND) {
		if (a->attach_cb)
			adopt(a);
		if (!a->net->failed && a->deadline != INT64_MAX && is_known(a, &err))
			take_over(a);
	}
}

/* ---------------------------------------------------------------- from outside */

static void kicked(void *data, struct work_job *job, const struct error *err)
{
	struct attached *a = data;

	if (net_closing(a->net))
		return;
	attached_advance(a);
	net_flush(a->net, NULL, NULL);
}

struct refusal {
	net_attach_cb cb;
	void *data;
	struct error err;
};

static void run_refusal(void *data, struct work_job *job, const struct error *err)
{
	struct refusal *r = data;

	r->cb(r->data, NULL, &r->err);
	free(r);
}

/* Callbacks come from the loop, never from inside the call: behind an empty job. */
void net_attach(struct net *n, const pb_task *task, net_attach_cb cb, void *data)
{
	struct refusal *r;

	if (find(n, task->id)) { /* our caller's mistake */
		r = xnew(struct refusal);
		*r = (struct refusal){.cb = cb, .data = data};
		error_set(&r->err, ERR_EXISTS, "task %s has its networks already", task->id);
		work_run(n->work, work_job_new(), run_refusal, r);
		return;
	}
	work_run(n->work, work_job_new(), kicked, attached_new(n, task, ATTACHED_WAITING, cb, data));
	net_tick_start(n);
}

static void adopted(void *data, struct work_job *job, const struct error *err)
{
	struct attached *a = data;

	if (net_closing(a->net))
		return;
	if (a->detach_asked) {
		drop(a);
		return;
	}
	if (err)
		log_warn("names_adopt", kv_str("task", a->id), kv_err(err));
	else
		dns_attach(a->net->dns, a->task, &a->sockets);
	a->sockets = DNS_SOCKETS_NONE;
	answer(a, NULL);
}

static void not_there(void *data, struct work_job *job, const struct error *unused)
{
	struct attached *a = data;
	struct error err = ERROR_INIT;

	if (net_closing(a->net))
		return;
	error_set(&err, ERR_NOT_FOUND, "namespace %s is gone", a->space.path);
	answer(a, &err);
	dropped(a, job, NULL);
}

static void adopt(struct attached *a)
{
	struct work_job *job = work_job_new();
	bool there = leftover_find(a->net, a->space.path + strlen(a->net->dir) + 1) != NULL;

	if (a->adopting) { /* once: a second job would close what the first has opened */
		work_job_free(job);
		return;
	}
	a->adopting = true;
	if (there)
		work_call(job, a->space.path, attached_open_names, a);
	else
		a->state = ATTACHED_DROPPING;
	work_run(a->net->work, job, there ? adopted : not_there, a);
}

void net_adopt(struct net *n, const pb_task *task, net_attach_cb cb, void *data)
{
	work_run(n->work, work_job_new(), kicked, attached_new(n, task, ATTACHED_FOUND, cb, data));
}

struct later {
	net_done_cb cb;
	void *data;
};

static void run_later(void *data, struct work_job *job, const struct error *err)
{
	struct later *l = data;

	l->cb(l->data, NULL);
	free(l);
}

static void done_later(struct net *n, net_done_cb cb, void *data)
{
	struct later *l = xnew(struct later);

	*l = (struct later){cb, data};
	work_run(n->work, work_job_new(), run_later, l);
}

static void end_drain(struct attached *a)
{
	net_done_cb cb = a->drain.cb;

	a->drain.cb = NULL;
	if (cb)
		cb(a->drain.data, NULL);
}

void net_detach(struct net *n, const char *task_id, net_done_cb cb, void *data)
{
	struct attached *a = find(n, task_id);
	struct error err = ERROR_INIT;

	if (!a || a->state == ATTACHED_DROPPING) {
		if (a && !a->detach_cb) {
			a->detach_cb = cb;
			a->detach_data = data;
		} else {
			done_later(n, cb, data);
		}
		return;
	}
	a->detach_cb = cb;
	a->detach_data = data;
	end_drain(a);
	if (model_endpoint(n->model, task_id))
		model_set_draining(n->model, task_id, true);
	if (a->state == ATTACHED_MAKING || (a->state == ATTACHED_FOUND && a->attach_cb)) {
		a->detach_asked = true; /* when that job is back */
		return;
	}
	if (a->state == ATTACHED_WAITING) {
		error_set(&err, ERR_CANCELLED, "the task was detached");
		answer(a, &err);
	}
	drop(a);
}

void net_forget(struct net *n, const char *task_id)
{
	struct attached *a = find(n, task_id);

	if (!a)
		return;
	a->attach_cb = NULL;
	a->drain.cb = NULL;
	a->detach_cb = NULL;
}

/* ---------------------------------------------------------------- draining */

static void count_connections(void *data, struct netns *ns, struct error *err)
{
	struct attached *a = data;

	a->drain.left = 0;
	netns_tcp_connections(ns, NULL, 0, &a->drain.left, err);
}

static void counted(void *data, struct work_job *job, const struct error *err)
{
	struct attached *a = data;

	a->drain.asking = false;
	a->drain.not_before = clock_mono_ns() + DRAIN_ASK_NS;
	if (net_closing(a->net))
		return;
	if (err || !a->drain.left) /* what cannot be counted is not waited for */
		end_drain(a);
}

static void tick_drain(struct attached *a, int64_t now)
{
	struct work_job *job;

	if (now >= a->drain.until) {
		log_info("drain_cut", kv_str("task", a->id), kv_u64("connections", a->drain.left));
		end_drain(a);
		return;
	}
	if (now < a->drain.not_before || a->drain.asking)
		return;
	a->drain.asking = true;
	job = work_job_new();
	work_call(job, a->space.path, count_connections, a);
	work_run(a->net->work, job, counted, a);
}

void net_drain(struct net *n, const char *task_id, int64_t max_ns, net_done_cb cb, void *data)
{
	struct attached *a = find(n, task_id);
	int64_t now = clock_mono_ns();

	model_set_draining(n->model, task_id, true);
	if (!a || a->state == ATTACHED_DROPPING || a->state == ATTACHED_WAITING) {
		done_later(n, cb, data);
		return;
	}
	end_drain(a);
	a->drain = (struct drain){.cb = cb, .data = data, .not_before = now + DRAIN_MIN_NS,
				  .until = now + MAX(max_ns, DRAIN_MIN_NS), .asking = a->drain.asking};
	net_flush(n, NULL, NULL);
	net_tick_start(n);
}

/* ---------------------------------------------------------------- deadlines */

static void name_missing(const struct attached *a, struct error *err)
{
	const struct net *n = a->net;

	for (size_t i = 0; i < a->task->n_networks; i++) {
		const char *id = a->task->networks[i]->network_id;
		const struct model_network *network = model_network(n->model, id);

		if (str_eq(id, PREDEFINED_BRIDGE))
			continue;
		if (!network) {
			error_set(err, ERR_TIMEOUT, "network %s: no manager has told about it", id);
			return;
		}
		if (network->driver == NETWORK_OVERLAY && !network->vni) {
			error_set(err, ERR_TIMEOUT, "network %s: it has no VNI yet", network->pb->spec->name);
			return;
		}
	}
	error_set(err, ERR_TIMEOUT, "networks: %s", n->link_known ? "no manager has told about them" :
								    "this node's address is not known");
}

bool attached_tick(struct attached *a, int64_t now)
{
	struct error err = ERROR_INIT;

	if (a->drain.cb)
		tick_drain(a, now);
	if (a->state == ATTACHED_WAITING && now >= a->deadline) {
		name_missing(a, &err);
		fail(a, &err);
		return true;
	}
	return a->drain.cb || a->drain.asking || a->state == ATTACHED_WAITING;
}
