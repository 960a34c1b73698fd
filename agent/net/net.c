#include "net_internal.h"

#include "common/clock.h"
#include "common/error.h"
#include "common/file.h"
#include "common/log.h"
#include "common/mem.h"

#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#define TICK_MS 50
#define VXLAN_PORT 4789
#define GATEWAY_SUBNET4 "172.30.0.0/16"
#define GATEWAY_SUBNET6 "fd53:6b00::/64"
/* So long after the first complete state a task has been taken over, or it never will be. */
#define CLAIM_NS (10 * NS_PER_SEC)

/* ---------------------------------------------------------------- spaces */

void space_init(struct space *s, const char *path)
{
	*s = (struct space){.path = xstrdup(path), .want = netstate_new()};
}

void space_fini(struct space *s)
{
	free(s->path);
	netstate_free(s->want);
	strbuf_fini(&s->text);
	netns_close(s->prepared);
	*s = (struct space){0};
}

struct entries {
	struct netstate_entry *v;
	size_t n, cap;
	const struct netstate *without;
};

static bool collect(void *data, const struct netstate_entry *e)
{
	struct entries *l = data;

	if (l->without && netstate_get(l->without, e))
		return true;
	if (l->n == l->cap) {
		l->cap = l->cap ? l->cap * 2 : 64;
		l->v = xreallocarray(l->v, l->cap, sizeof(*l->v));
	}
	l->v[l->n++] = *e;
	return true;
}

static bool put_into(void *data, const struct netstate_entry *e)
{
	netstate_put(data, e);
	return true;
}

void space_replace(struct space *s, struct netstate *fresh)
{
	struct entries gone = {.without = fresh};

	netstate_each(s->want, collect, &gone);
	for (size_t i = 0; i < gone.n; i++)
		netstate_del(s->want, &gone.v[i]);
	free(gone.v);
	netstate_each(fresh, put_into, s->want);
	netstate_free(fresh);
}

struct netstate *net_copy(const struct netstate *s)
{
	struct netstate *copy = netstate_new();

	netstate_each(s, put_into, copy);
	return copy;
}

/* ---------------------------------------------------------------- one job of all that has changed */

struct flush {
	struct net *net;
	work_done_cb done;
	void *data;
};

static void log_step(void *data, const char *path, const struct error *err)
{
	log_warn("net_apply", kv_str("where", path ? path : "host"), kv_err(err));
}

/* Something is not as it should be: the check finds out what, and says so. */
static void look_again(struct net *n, const struct work_job *job)
{
	struct overlay *o, *next;

	work_each_error(job, log_step, n);
	if (net_closing(n))
		return;
	if (work_job_error(job, NULL) && n->host_heal)
		heal_soon(n->host_heal);
	HASH_ITER(hh, n->overlays, o, next)
		if (o->heal && work_job_error(job, o->space.path))
			heal_soon(o->heal);
}

static void flushed(void *data, struct work_job *job, const struct error *err)
{
	struct flush *f = data;

	if (err)
		look_again(f->net, job);
	if (f->done)
		f->done(f->data, job, err);
	free(f);
}

/* Defaults count for the links that are made after them. */
static bool is_early(const struct netstate_op *op)
{
	const char *name = op->entry.sysctl.name;

	return op->entry.kind == NETSTATE_SYSCTL &&
	       (strstr(name, "/all/") || strstr(name, "/default/") || strstr(name, "/vs/"));
}

/* Done: they are not asked of a namespace that was prepared with them. */
static void apply_early(struct work_job *job, const char *path, struct netstate_ops *ops, bool done)
{
	struct netstate_ops early = {.v = xreallocarray(NULL, ops->n + 1, sizeof(*early.v))};
	size_t n = 0;

	for (size_t i = 0; i < ops->n; i++) {
		if (is_early(&ops->v[i]))
			early.v[early.n++] = ops->v[i];
		else
			ops->v[n++] = ops->v[i];
	}
	ops->n = n;
	if (done)
		early.n = 0;
	work_apply(job, path, &early);
}

static void discard_changes(struct space *s)
{
	struct netstate_ops ops = {0};

	netstate_take_changes(s->want, &ops);
	netstate_ops_fini(&ops);
}

static void create_space(struct work_job *job, struct space *s)
{
	if (s->prepared)
		work_adopt(job, s->path, s->prepared);
	else if (s->fresh || s->sync)
		work_create(job, s->path);
}

static void apply_space(struct work_job *job, struct space *s, struct work_sync (*sync_of)(void *owner), void *owner)
{
	struct netstate_ops ops = {0};

	if (s->sync) {
		struct work_sync sync = sync_of(owner);

		work_sync(job, &sync);
		discard_changes(s);
		strbuf_fini(&s->text);
		s->sync = s->fresh = s->fill = false;
		return;
	}
	netstate_take_changes(s->want, &ops);
	if (s->fresh)
		apply_early(job, s->path, &ops, s->prepared);
	s->fresh = false;
	s->prepared = NULL; /* the job's */
	work_apply(job, s->path, &ops);
}

static void run_text(struct work_job *job, struct space *s)
{
	if (s->text.len)
		work_nft(job, s->path, strbuf_take(&s->text), s->fill);
	s->fill = false;
}

static struct work_sync sync_host(void *owner)
{
	return sync_of_host(owner, true, true);
}

static struct work_sync sync_overlay(void *owner)
{
	return sync_of_overlay(owner, true, true);
}

static struct work_sync sync_attached(void *owner)
{
	return sync_of_attached(owner, true, true);
}

static void flush_creations(struct net *n, struct work_job *job)
{
	struct overlay *o, *o_next;
	struct attached *a, *a_next;

	HASH_ITER(hh, n->overlays, o, o_next)
		create_space(job, &o->space);
	HASH_ITER(hh, n->attached, a, a_next)
		if (a->planned)
			create_space(job, &a->space);
}

/* Veths are made from the bridge's side, so tasks come last. */
static void flush_entries(struct net *n, struct work_job *job)
{
	struct overlay *o, *o_next;
	struct attached *a, *a_next;

	apply_space(job, &n->host, sync_host, n);
	HASH_ITER(hh, n->overlays, o, o_next)
		apply_space(job, &o->space, sync_overlay, o);
	HASH_ITER(hh, n->attached, a, a_next)
		if (a->planned)
			apply_space(job, &a->space, sync_attached, a);
}

/* Behind the rulesets, so that what comes next is balanced by the new ones. */
static void flush_gone(struct net *n, struct work_job *job)
{
	struct overlay *o, *next;

	HASH_ITER(hh, n->overlays, o, next) {
		size_t n_gone;
		_cleanup_free_ struct ipaddr *gone = overlay_take_gone(o, &n_gone);
		_cleanup_free_ struct conntrack_flow *v = xcalloc(n_gone + 1, sizeof(*v));

		for (size_t i = 0; i < n_gone; i++)
			v[i].address = gone[i];
		if (n_gone)
			overlay_forget(o, job, v, n_gone);
	}
	if (n->n_host_gone)
		work_forget(job, NULL, TAKE_PTR(n->host_gone), n->n_host_gone);
	n->n_host_gone = 0;
}

static void flush_texts(struct net *n, struct work_job *job)
{
	struct overlay *o, *o_next;
	struct attached *a, *a_next;

	HASH_ITER(hh, n->overlays, o, o_next)
		run_text(job, &o->space);
	HASH_ITER(hh, n->attached, a, a_next) {
		if (a->planned)
			run_text(job, &a->space);
		if (a->open_names)
			work_call(job, a->space.path, attached_open_names, a);
		a->open_names = false;
	}
	run_text(job, &n->host);
}

void net_flush(struct net *n, work_done_cb done, void *data)
{
	struct work_job *job = work_job_new();
	struct attached *a, *a_next;
	struct overlay *o, *o_next;
	struct flush *f;

	host_flush(n);
	HASH_ITER(hh, n->attached, a, a_next)
		if (a->planned)
			attached_flush(a);
	HASH_ITER(hh, n->overlays, o, o_next)
		overlay_flushed(o);
	flush_creations(n, job);
	flush_entries(n, job);
	flush_texts(n, job);
	flush_gone(n, job);
	if (work_job_empty(job) && !done) {
		work_job_free(job);
		return;
	}
	f = xnew(struct flush);
	*f = (struct flush){n, done, data};
	work_run(n->work, job, flushed, f);
	heal_watch(n->host_heal);
	HASH_ITER(hh, n->overlays, o, o_next)
		heal_watch(o->heal);
}

/* ---------------------------------------------------------------- messages */

static void on_node(void *data, struct model_node *node, bool appears)
{
	struct net *n = data;
	struct model_network *ingress = model_ingress(n->model);
	struct plan_out out = space_out(&n->host, !appears);
	struct model_endpoint *e;

	if (str_eq(node->id, n->node_id))
		n->host_rebuild = true;
	overlay_node(n, node, appears);
	host_node_esp(n, node, appears);
	if (n->host_programmed && n->host_facts.ingress && ingress) {
		plan_host_node(&out, &n->self, ingress, node);
		if (node->index && ipaddr_is_set(&node->address) && !str_eq(node->id, n->node_id))
			plan_ingress_node(&n->host.text, ingress, node, appears);
	}
	LIST_FOREACH(e, &node->endpoints, of_node)
		host_service_dirty(n, e->service);
}

static void on_network(void *data, struct model_network *network, bool appears)
{
	struct net *n = data;

	if (network->ingress)
		n->host_rebuild = true;
	host_network(n, network, appears);
	if (appears)
		overlay_network(n, network);
}

static void on_service(void *data, struct model_service *s, bool appears)
{
	struct net *n = data;

	overlay_service(n, s, appears);
	attached_service(n, s, appears);
	host_service_dirty(n, s);
}

static void forget_unanswered(struct net *n, const struct model_place *p)
{
	struct conntrack_flow flow4 = {.address = p->ipv4, .protocol = IPPROTO_TCP};
	struct conntrack_flow flow6 = {.address = p->ipv6, .protocol = IPPROTO_TCP};

	if (!overlay_find(n, p->network->id))
		return;
	stale_add(n, p->network->id, &flow4);
	stale_add(n, p->network->id, &flow6);
}

static void on_endpoint(void *data, struct model_endpoint *e, bool appears)
{
	struct net *n = data;

	if (appears && n->was_ready && !e->ready)
		for (size_t i = 0; i < e->n_places; i++)
			forget_unanswered(n, &e->places[i]);
	n->was_ready = !appears && e->ready;
	overlay_endpoint(n, e, appears);
	attached_endpoint(n, e);
	host_service_dirty(n, e->service);
	host_endpoint(n, e, appears);
}

uint32_t net_own_index(const struct net *n)
{
	struct model_node *node = n->node_id ? model_node(n->model, n->node_id) : NULL;

	return node ? node->index : 0;
}

void net_advance(struct net *n)
{
	struct attached *a, *next;

	if (net_closing(n))
		return;
	host_refresh(n);
	HASH_ITER(hh, n->attached, a, next) {
		attached_advance(a);
		gate_advance(a);
		forward_advance(a);
	}
	net_flush(n, NULL, NULL);
}

int net_apply(struct net *n, const pb_net_state *state, struct error *err)
{
	bool was_complete = model_complete(n->model);
	uint32_t index = net_own_index(n);

	if (model_apply(n->model, state, err) < 0)
		return -1;
	if (!was_complete && model_complete(n->model)) {
		n->complete_at = clock_mono_ns();
		net_tick_start(n);
	}
	if (index != net_own_index(n))
		overlay_own_index_changed(n);
	net_advance(n);
	return 0;
}

void net_begin(struct net *n)
{
	model_begin(n->model);
}

const char *net_name(const struct net *n, const char *network_id)
{
	const struct model_network *network = model_network(n->model, network_id);

	return network ? network->pb->spec->name : network_id;
}

/* ---------------------------------------------------------------- deadlines */

static void on_tick(uv_timer_t *timer)
{
	struct net *n = container_of(timer, struct net, tick);
	struct work_job *job = work_job_new();
	int64_t now = clock_mono_ns();
	struct attached *a, *next;
	bool more = false;

	HASH_ITER(hh, n->attached, a, next)
		more |= attached_tick(a, now);
	more |= overlay_expire(n, job, now, false);
	more |= spares_tick(n);
	more |= stale_tick(n, job, now);
	if (n->complete_at && !n->claimed) {
		if (now >= n->complete_at + CLAIM_NS)
			start_drop_unclaimed(n);
		else
			more = true;
	}
	if (work_job_empty(job))
		work_job_free(job);
	else
		work_run(n->work, job, NULL, NULL);
	if (n->host_changed)
		net_flush(n, NULL, NULL);
	n->host_changed = false;
	if (!more)
		uv_timer_stop(timer);
}

void net_tick_start(struct net *n)
{
	if (!net_closing(n) && !uv_is_active((uv_handle_t *)&n->tick))
		uv_timer_start(&n->tick, on_tick, TICK_MS, TICK_MS);
}

/* ---------------------------------------------------------------- life */

static int init_gateway(struct net *n, const char *subnet, struct error *err)
{
	struct ipaddr subnet4, subnet6 = {.family = 0};

	if (ipaddr_parse_subnet(subnet ? subnet : GATEWAY_SUBNET4, &subnet4, err) < 0)
		return error_wrap(err, "gateway subnet");
	if (access("/proc/sys/net/ipv6/conf/all/forwarding", F_OK) == 0)
		ipaddr_parse_subnet(GATEWAY_SUBNET6, &subnet6, NULL);
	if (gateway_ipam_init(&n->ipam, &subnet4, &subnet6, err) < 0)
		return -1;
	n->self.gateway4 = gateway_ipam_gateway4(&n->ipam);
	n->self.gateway6 = gateway_ipam_gateway6(&n->ipam);
	return 0;
}

struct net *net_new(const struct net_options *options, void (*ready)(void *data, const struct error *err), void *data)
{
	struct net *n = xnew(struct net);
	struct model_hooks hooks = {on_node, on_network, on_service, on_endpoint, n};
	struct dns_options dns = {.loop = options->loop, .open = names_open_inside, .open_data = n};

	n->loop = options->loop;
	n->state_dir = xstrdup(options->state_dir);
	n->dir = xasprintf("%s/net", options->run_dir);
	n->balancer = xstrdup(options->balancer);
	n->on_ready = ready;
	n->on_ready_data = data;
	n->self.vxlan_port = options->vxlan_port ? options->vxlan_port : VXLAN_PORT;
	TAILQ_INIT(&n->dirty_ports);
	spares_init(n);
	TAILQ_INIT(&n->stale);
	LIST_INIT(&n->awaited);
	LIST_INIT(&n->forwards);
	space_init(&n->host, NULL);
	closer_init(&n->closer);
	uv_timer_init(n->loop, &n->tick);
	uv_timer_init(n->loop, &n->heal_timer);
	uv_timer_init(n->loop, &n->await_timer);
	n->model = model_new(&hooks);
	dns.model = n->model;
	n->dns = dns_new(&dns);
	n->work = work_new(n->loop);
	if (init_gateway(n, options->gateway_subnet, &n->error) == 0)
		file_mkdirs(n->dir, 0711, &n->error);
	start_probe(n);
	return n;
}

void net_set_node(struct net *n, const char *node_id, const char *address)
{
	struct ipaddr a = {.family = 0};
	struct error err = ERROR_INIT;

	n->leaving = false;
	if (!str_eq(n->node_id, node_id)) {
		free(n->node_id);
		n->node_id = xstrdup(node_id);
		n->self.node_id = n->node_id;
		n->host_rebuild = true;
	}
	if (ipaddr_parse(address, &a, &err) < 0)
		log_error("net_address", kv_err(&err));
	else if (!ipaddr_equal(&a, &n->self.address) || !n->link_known) {
		n->self.address = a;
		n->link_known = false;
		start_find_link(n);
	}
}

static void all_closed(void *data)
{
	struct net *n = data;
	struct attached *a, *a_next;
	struct overlay *o, *o_next;
	struct leftover *l, *l_next;
	void (*closed)(void *) = n->closed;
	void *closed_data = n->closed_data;

	HASH_ITER(hh, n->attached, a, a_next)
		attached_free(a);
	HASH_ITER(hh, n->overlays, o, o_next)
		overlay_free(o);
	HASH_ITER(hh, n->leftovers, l, l_next)
		leftover_free(n, l);
	spares_drop(n);
	stale_free(n);
	host_free(n);
	model_free(n->model);
	gateway_ipam_fini(&n->ipam);
	free(n->state_dir);
	free(n->dir);
	free(n->node_id);
	free(n->balancer);
	free(n);
	closed(closed_data);
}

static void part_closed(void *data)
{
	struct net *n = data;

	closer_drop(&n->closer);
}

void net_close(struct net *n, void (*closed)(void *data), void *data)
{
	n->closed = closed;
	n->closed_data = data;
	if (!closer_begin(&n->closer, all_closed, n))
		return;
	closer_add(&n->closer, (uv_handle_t *)&n->tick);
	closer_add(&n->closer, (uv_handle_t *)&n->heal_timer);
	closer_add(&n->closer, (uv_handle_t *)&n->await_timer);
	closer_hold(&n->closer);
	dns_close(n->dns, part_closed, n);
	closer_hold(&n->closer);
	work_close(n->work, part_closed, n);
	closer_end(&n->closer);
}

/* ---- leaving the cluster */

static void left(void *data, struct work_job *job, const struct error *err)
{
	struct net *n = data;
	net_done_cb cb = n->leave_cb;

	if (err)
		work_each_error(job, log_step, n);
	n->leave_cb = NULL;
	if (cb)
		cb(n->leave_data, err);
}

void net_leave(struct net *n, net_done_cb cb, void *data)
{
	struct work_job *job = work_job_new();

	n->leaving = true;
	n->leave_cb = cb;
	n->leave_data = data;
	model_reset(n->model);
	spares_drop(n);
	overlay_expire(n, job, 0, true);
	start_drop_unclaimed(n);
	host_leave(n, job);
	n->claimed = false;
	n->complete_at = 0;
	n->self.address = (struct ipaddr){.family = 0};
	n->link_known = false;
	work_run(n->work, job, left, n);
}
