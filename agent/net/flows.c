/*
 * What the kernel knows of a task's connections, taken along when it moves. Its sockets bring their own state; what is told here
 * is the part of its node:
 *
 *   - which endpoint a balancer has chosen for a connection of the task to a virtual address: the translation in the task's
 *     namespace, or the entry in IPVS' table of the network's namespace. At the target both become entries of the connection tracking
 *     in the task's namespace: a translation, or a mark that says to whose MAC the packets go;
 *   - which connections left through the source's host: they go on doing so, by the ingress network (forward.c);
 *   - by which address the task knows itself there. The target's host may have given that one to somebody else: the task
 *     goes on with it, and is known to the host by another one.
 */
#include "net_internal.h"

#include "common/error.h"
#include "common/log.h"
#include "common/mem.h"
#include "netoverlay/ipvs_connections.h"

#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define FLOWS_MAX 65536u

/* ---------------------------------------------------------------- export */

struct export_part {
	struct export *export;
	char network_id[64];
	struct ipaddr own;             /* of the task: who began them */
	struct conntrack_entry *v, *answered;
	size_t n, n_answered;
	struct ipvs_connection *balanced;
	size_t n_balanced;
};

struct export {
	struct net *net;
	char *id;
	net_export_cb cb;
	void *data;
	struct export_part *parts;     /* of each address in an overlay network; behind them the two towards the host */
	size_t n_parts, n_overlay;
};

/* Serial thread. */
static void list_tracked(void *data, struct netns *ns, struct error *err)
{
	struct export_part *p = data;

	conntrack_list(ns, &p->own, false, &p->v, &p->n, err);
}

static void list_answered(void *data, struct netns *ns, struct error *err)
{
	struct export_part *p = data;

	conntrack_list(ns, &p->own, true, &p->answered, &p->n_answered, err);
}

static void list_balanced(void *data, struct netns *ns, struct error *err)
{
	struct export_part *p = data;

	netns_ipvs_connections(ns, &p->own, &p->balanced, &p->n_balanced, err);
}

static pb_net_flow *flow_of(const struct conntrack_entry *e)
{
	pb_net_flow *f = pb_new(&skein__net_flow__descriptor);
	char text[IPADDR_TEXT_MAX];

	f->protocol = e->protocol;
	pb_set_str(&f->from, ipaddr_format_host(&e->from, text));
	f->from_port = e->from_port;
	pb_set_str(&f->to, ipaddr_format_host(&e->to, text));
	f->to_port = e->to_port;
	pb_set_str(&f->answerer, ipaddr_format_host(&e->answerer, text));
	f->answerer_port = e->answerer_port;
	f->timeout = e->timeout_s;
	f->tcp_state = e->tcp_state;
	f->seen_reply = e->seen_reply;
	return f;
}

static void set_mac(pb_net_flow *f, const struct mac *mac)
{
	char text[MAC_TEXT_MAX];

	pb_set_str(&f->mac, mac_format(mac, text));
}

static bool is_translated(const struct conntrack_entry *e)
{
	return !ipaddr_same_host(&e->answerer, &e->to) || e->answerer_port != e->to_port;
}

/* Balanced in the task's own namespace: here, or before it came here. */
static void add_tracked(pb_net_export *out, const struct attached *a, const struct export_part *p)
{
	for (size_t i = 0; i < p->n; i++) {
		uint32_t direct = (p->v[i].mark & 0xff000000u) == PLAN_DIRECT_MARK ? p->v[i].mark & 0x00ffffffu : 0;
		pb_net_flow *f;

		if (!is_translated(&p->v[i]) && (!direct || direct > a->n_direct))
			continue;
		f = flow_of(&p->v[i]);
		if (direct && direct <= a->n_direct)
			set_mac(f, &a->direct[direct - 1]);
		pb_msgs_add(&out->n_balanced, &out->balanced, f);
	}
}

static void add_balanced(pb_net_export *out, const struct net *n, const struct export_part *p)
{
	const struct model_network *network = model_network(n->model, p->network_id);

	for (size_t i = 0; network && i < p->n_balanced; i++) {
		const struct ipvs_connection *c = &p->balanced[i];
		const struct model_place *to = model_place_by_address(n->model, network, &c->endpoint);
		struct conntrack_entry e = {.protocol = c->protocol, .from = c->client, .to = c->service, .answerer = c->service,
					    .answered = c->client, .from_port = c->client_port, .to_port = c->service_port,
					    .answerer_port = c->service_port, .answered_port = c->client_port,
					    .timeout_s = c->timeout_s, .tcp_state = c->protocol == IPPROTO_TCP ? 3 : 0,
					    .seen_reply = true};
		pb_net_flow *f;

		if (!to || !c->established)
			continue;
		f = flow_of(&e);
		set_mac(f, &to->mac);
		pb_msgs_add(&out->n_balanced, &out->balanced, f);
	}
}

/* As the task sees it: behind the translations of both ends. */
static pb_net_flow *answered_flow(const struct conntrack_entry *e)
{
	struct conntrack_entry seen = *e;

	seen.from = e->answered;
	seen.from_port = e->answered_port;
	seen.to = e->answerer;
	seen.to_port = e->answerer_port;
	return flow_of(&seen);
}

static void set_address(char **field, const struct ipaddr *a)
{
	char text[IPADDR_TEXT_MAX];

	pb_set_str(field, ipaddr_is_set(a) ? ipaddr_format_host(a, text) : "");
}

static pb_net_export *result_of(const struct export *x, const struct attached *a)
{
	pb_net_export *out = pb_new(&skein__net_export__descriptor);

	set_address(&out->gateway4, &a->gateway4);
	set_address(&out->gateway6, &a->gateway6);
	set_address(&out->inner4, &a->inner4);
	set_address(&out->inner6, &a->inner6);
	for (size_t i = 0; i < x->n_parts; i++) {
		const struct export_part *p = &x->parts[i];

		if (i < x->n_overlay) {
			add_tracked(out, a, p);
			add_balanced(out, x->net, p);
			continue;
		}
		for (size_t k = 0; k < p->n; k++)
			pb_msgs_add(&out->n_outside, &out->outside, flow_of(&p->v[k]));
		for (size_t k = 0; k < p->n_answered; k++)
			pb_msgs_add(&out->n_inside, &out->inside, answered_flow(&p->answered[k]));
	}
	return out;
}

static void halve(size_t *n, pb_net_flow **v)
{
	size_t keep = *n / 2;

	while (*n > keep)
		pb_free(v[--*n]);
}

/* The lists are in the order of the kernel's hash: one half is as good as the other. */
static void shorten(pb_net_export *out)
{
	while (protobuf_c_message_get_packed_size(&out->base) > NET_EXPORT_MAX) {
		halve(&out->n_outside, out->outside);
		halve(&out->n_balanced, out->balanced);
		halve(&out->n_inside, out->inside);
	}
}

static void exported(void *data, struct work_job *job, const struct error *err)
{
	struct export *x = data;
	struct attached *a = attached_find(x->net, x->id);
	struct error gone = ERROR_INIT;

	if (!a)
		error_set(&gone, ERR_NOT_FOUND, "task %s has no network here any more", x->id);
	if (!net_closing(x->net) && (err || !a)) {
		x->cb(x->data, NULL, 0, err ? err : &gone);
	} else if (!net_closing(x->net)) {
		_cleanup_pb_ pb_net_export *out = result_of(x, a);
		_cleanup_free_ uint8_t *bytes = NULL;
		size_t len;

		shorten(out);
		len = protobuf_c_message_get_packed_size(&out->base);
		bytes = xmalloc(len + 1);
		protobuf_c_message_pack(&out->base, bytes);
		x->cb(x->data, bytes, len, NULL);
	}
	for (size_t i = 0; i < x->n_parts; i++) {
		free(x->parts[i].v);
		free(x->parts[i].answered);
		free(x->parts[i].balanced);
	}
	free(x->parts);
	free(x->id);
	free(x);
}

static void add_part(struct export *x, const char *network_id, const struct ipaddr *own)
{
	struct export_part *p = &x->parts[x->n_parts];

	if (!ipaddr_is_set(own))
		return;
	snprintf(p->network_id, sizeof(p->network_id), "%s", network_id);
	p->own = ipaddr_host(own);
	x->n_parts++;
}

static void ask_part(struct export *x, struct work_job *job, const struct attached *a, struct export_part *p)
{
	struct overlay *o = overlay_find(x->net, p->network_id);

	work_call(job, o ? a->space.path : NULL, list_tracked, p);
	if (!o)
		work_call(job, NULL, list_answered, p);
	if (o && x->net->self.ipvs)
		work_call(job, o->space.path, list_balanced, p);
}

void net_export_flows(struct net *n, const char *task_id, net_export_cb cb, void *data)
{
	struct attached *a = attached_find(n, task_id);
	struct work_job *job = work_job_new();
	struct export *x = xnew(struct export);

	*x = (struct export){.net = n, .id = xstrdup(task_id), .cb = cb, .data = data};
	if (a && a->planned) {
		x->parts = xcalloc(2 * a->plan.n_ports + 2, sizeof(*x->parts));
		for (size_t i = 0; i < a->plan.n_ports; i++) {
			if (!overlay_find(n, a->plan.ports[i].net.id))
				continue;
			add_part(x, a->plan.ports[i].net.id, &a->plan.ports[i].ipv4);
			add_part(x, a->plan.ports[i].net.id, &a->plan.ports[i].ipv6);
		}
		x->n_overlay = x->n_parts;
		add_part(x, "", &a->gateway4);
		add_part(x, "", &a->gateway6);
		for (size_t i = 0; i < x->n_parts; i++)
			ask_part(x, job, a, &x->parts[i]);
	}
	work_run(n->work, job, exported, x);
}

/* ---------------------------------------------------------------- import */

struct import {
	struct net *net;
	char *id;
	net_done_cb cb;
	void *data;
	struct error err;
	struct conntrack_entry *balanced, *world; /* in its namespace, in the host's */
	size_t n_balanced, n_world;
};

static int read_address(const char *text, struct ipaddr *ret, struct error *err)
{
	*ret = (struct ipaddr){.family = 0};
	return *text ? ipaddr_parse(text, ret, err) : 0;
}

static int read_flow(const pb_net_flow *f, struct conntrack_entry *ret, struct error *err)
{
	*ret = (struct conntrack_entry){.protocol = (uint8_t)f->protocol, .from_port = (uint16_t)f->from_port,
					.to_port = (uint16_t)f->to_port, .answerer_port = (uint16_t)f->answerer_port,
					.answered_port = (uint16_t)f->from_port, .timeout_s = f->timeout,
					.tcp_state = (uint8_t)f->tcp_state, .seen_reply = f->seen_reply};
	if (f->protocol > 255 || f->from_port > 65535 || f->to_port > 65535 || f->answerer_port > 65535 || f->tcp_state > 255)
		return error_set(err, ERR_INVALID, "a connection's port, protocol or state is no such number");
	if (ipaddr_parse(f->from, &ret->from, err) < 0 || ipaddr_parse(f->to, &ret->to, err) < 0 ||
	    ipaddr_parse(f->answerer, &ret->answerer, err) < 0)
		return error_wrap(err, "a connection");
	ret->answered = ret->from;
	return 0;
}

static bool is_own(const struct attached *a, const struct ipaddr *address)
{
	for (size_t i = 0; i < a->plan.n_ports; i++)
		if (*a->plan.ports[i].net.id && (ipaddr_same_host(&a->plan.ports[i].ipv4, address) ||
						 ipaddr_same_host(&a->plan.ports[i].ipv6, address)))
			return true;
	return false;
}

static uint32_t direct_mark(struct attached *a, const struct mac *mac)
{
	for (size_t i = 0; i < a->n_direct; i++)
		if (memcmp(&a->direct[i], mac, sizeof(*mac)) == 0)
			return PLAN_DIRECT_MARK | (uint32_t)(i + 1);
	a->direct = xreallocarray(a->direct, a->n_direct + 1, sizeof(*a->direct));
	a->direct[a->n_direct++] = *mac;
	return PLAN_DIRECT_MARK | (uint32_t)a->n_direct;
}

static int read_balanced(struct import *m, struct attached *a, const pb_net_export *in, struct error *err)
{
	m->balanced = xcalloc(in->n_balanced + 1, sizeof(*m->balanced));
	for (size_t i = 0; i < in->n_balanced; i++) {
		struct conntrack_entry *e = &m->balanced[m->n_balanced];
		struct mac mac;

		if (read_flow(in->balanced[i], e, err) < 0)
			return -1;
		if (!is_own(a, &e->from))
			return error_set(err, ERR_INVALID, "a connection from %s, which is not the task's", in->balanced[i]->from);
		if (*in->balanced[i]->mac) {
			if (mac_parse(in->balanced[i]->mac, &mac, err) < 0)
				return error_wrap(err, "a connection");
			e->mark = direct_mark(a, &mac);
		}
		m->n_balanced++;
	}
	return 0;
}

/* By the source's host: what it knew the task by there stands in the replies. */
static int read_outside(struct import *m, const struct attached *a, const pb_net_export *in, uint32_t from_index,
			struct error *err)
{
	for (size_t i = 0; i < in->n_outside; i++) {
		struct conntrack_entry *e = &m->world[m->n_world];
		const struct ipaddr *old, *own;

		if (read_flow(in->outside[i], e, err) < 0)
			return -1;
		old = e->from.family == AF_INET ? &a->came.old4 : &a->came.old6;
		own = e->from.family == AF_INET ? &a->gateway4 : &a->gateway6;
		if (!ipaddr_same_host(&e->from, old))
			return error_set(err, ERR_INVALID, "a connection from %s, which was not the task's address",
					 in->outside[i]->from);
		if (!ipaddr_is_set(own))
			continue; /* no IPv6 here */
		e->answered = *old;
		e->answered.prefix = e->from.prefix;
		e->from = ipaddr_host(own);
		/* A host-local translation of the destination stays with the source's host. */
		e->answerer = e->to;
		e->answerer_port = e->to_port;
		e->mark = PLAN_MARK | from_index;
		m->n_world++;
	}
	return 0;
}

/* The first packet behind the move may be the task's: without an entry it would leave from the address of this host. */
static int read_inside(struct import *m, const struct attached *a, const pb_net_export *in, uint32_t from_index,
		       struct error *err)
{
	for (size_t i = 0; i < in->n_inside; i++) {
		struct conntrack_entry *e = &m->world[m->n_world];
		const struct ipaddr *old, *own;

		if (read_flow(in->inside[i], e, err) < 0)
			return -1;
		old = e->to.family == AF_INET ? &a->came.old4 : &a->came.old6;
		own = e->to.family == AF_INET ? &a->gateway4 : &a->gateway6;
		if (!ipaddr_same_host(&e->to, old))
			return error_set(err, ERR_INVALID, "a connection to %s, which was not the task's address",
					 in->inside[i]->to);
		if (!ipaddr_is_set(own))
			continue;
		e->answerer = ipaddr_host(own);
		e->answerer_port = e->to_port;
		e->from_zone = (uint16_t)from_index;
		e->mark = PLAN_MARK | from_index;
		m->n_world++;
	}
	return 0;
}

static int read_addresses(struct attached *a, const pb_net_export *in, uint32_t from_index, struct error *err)
{
	if (read_address(in->gateway4, &a->came.old4, err) < 0 || read_address(in->gateway6, &a->came.old6, err) < 0 ||
	    read_address(*in->inner4 ? in->inner4 : in->gateway4, &a->inner4, err) < 0 ||
	    read_address(*in->inner6 ? in->inner6 : in->gateway6, &a->inner6, err) < 0)
		return error_wrap(err, "an address of the task towards its host");
	if (from_index)
		a->came.from = mac_of_node(from_index);
	return 0;
}

/* Serial thread. One that cannot be made is one connection that ends; the others go on. */
static void add_balanced_flows(void *data, struct netns *ns, struct error *err)
{
	struct import *m = data;

	conntrack_add(ns, m->balanced, m->n_balanced, &m->err);
}

static void add_world_flows(void *data, struct netns *ns, struct error *err)
{
	struct import *m = data;

	conntrack_add(ns, m->world, m->n_world, &m->err);
}

static const struct plan_port *gateway_of(const struct attached *a)
{
	for (size_t i = 0; i < a->plan.n_ports; i++)
		if (!*a->plan.ports[i].net.id)
			return &a->plan.ports[i];
	return NULL;
}

/* It has the address, and speaks from it. */
static void put_inner(struct work_job *job, const struct attached *a, const struct ipaddr *inner, const struct ipaddr *own,
		      const struct ipaddr *gateway)
{
	const struct plan_port *port = gateway_of(a);
	struct netstate_ops ops = {0};

	if (!port || !ipaddr_is_set(inner) || !ipaddr_is_set(own) || ipaddr_same_host(inner, own))
		return;
	ops.v = xcalloc(PLAN_INNER_ENTRIES, sizeof(*ops.v));
	for (; ops.n < PLAN_INNER_ENTRIES; ops.n++)
		plan_moved_inner(port, inner, gateway, (unsigned)ops.n, &ops.v[ops.n].entry);
	work_apply(job, a->space.path, &ops);
}

static void imported_steps(void *data, struct work_job *job, const struct error *err)
{
	struct import *m = data;

	if (error_is_set(&m->err))
		log_warn("network_flows", kv_str("task", m->id), kv_err(&m->err));
	m->err = err ? *err : (struct error)ERROR_INIT;
}

static void imported(void *data, struct work_job *job, const struct error *err)
{
	struct import *m = data;

	if (!net_closing(m->net))
		m->cb(m->data, error_is_set(&m->err) ? &m->err : err);
	free(m->balanced);
	free(m->world);
	free(m->id);
	free(m);
}

static void carry_out(struct import *m, struct attached *a)
{
	struct net *n = m->net;
	struct work_job *job = work_job_new();

	put_inner(job, a, &a->inner4, &a->gateway4, &n->self.gateway4);
	put_inner(job, a, &a->inner6, &a->gateway6, &n->self.gateway6);
	work_nft(job, a->space.path,
		 plan_moved_task(&a->plan, &a->inner4, &a->inner6, a->direct, n->features.nft_egress ? a->n_direct : 0), false);
	if (m->n_balanced)
		work_call(job, a->space.path, add_balanced_flows, m);
	if (m->n_world && n->host_facts.ingress)
		work_call(job, NULL, add_world_flows, m);
	work_run(n->work, job, imported_steps, m);
	if (n->host_programmed)
		plan_moved_came_text(&n->host.text, &a->came, &a->gateway4, &a->gateway6, true);
}

static int read_export(struct import *m, struct attached *a, const char *from, const uint8_t *bytes, size_t len,
		       struct error *err)
{
	const struct model_node *node = model_node(m->net->model, from);
	_cleanup_pb_ pb_net_export *in = NULL;
	uint32_t index = node ? node->index : 0;

	if (!a || !a->planned || a->gate != NET_SHUT)
		return error_set(err, ERR_NOT_FOUND, "task %s has no network here that is shut", m->id);
	if (len > NET_EXPORT_MAX || !(in = pb_unpack(&skein__net_export__descriptor, bytes, len)))
		return error_set(err, ERR_INVALID, "what the source's kernel knew of the connections is malformed");
	if (in->n_balanced + in->n_outside + in->n_inside > FLOWS_MAX)
		return error_set(err, ERR_INVALID, "%zu connections: at most %u are accepted",
				 in->n_balanced + in->n_outside + in->n_inside, FLOWS_MAX);
	flows_drop(a); /* of an earlier try */
	if (read_addresses(a, in, index, err) < 0 || read_balanced(m, a, in, err) < 0)
		return -1;
	if (!index) /* nobody can send it anything from there */
		return 0;
	m->world = xcalloc(in->n_outside + in->n_inside + 1, sizeof(*m->world));
	return read_outside(m, a, in, index, err) < 0 ? -1 : read_inside(m, a, in, index, err);
}

void net_import_flows(struct net *n, const char *task_id, const char *from, const uint8_t *bytes, size_t len, net_done_cb cb,
		      void *data)
{
	struct attached *a = attached_find(n, task_id);
	struct import *m = xnew(struct import);

	*m = (struct import){.net = n, .id = xstrdup(task_id), .cb = cb, .data = data};
	if (read_export(m, a, from, bytes, len, &m->err) < 0) {
		if (a)
			a->came = (struct plan_came){0};
		work_run(n->work, work_job_new(), imported, m);
		return;
	}
	carry_out(m, a);
	net_flush(n, imported, m);
}

/* ---------------------------------------------------------------- who came here */

/* What an earlier agent was told stands in the kernel. */
struct found {
	struct net *net;
	char *id;
	struct ipaddr gateway4, gateway6, inner4, inner6;
	struct plan_came came;
	struct mac *direct;
	size_t n_direct;
};

/* Serial thread, both. Where nothing is found nothing was told. */
static void find_inner(void *data, struct netns *ns, struct error *err)
{
	struct found *f = data;
	_cleanup_free_ char *table = NULL, *direct = NULL;

	if (netns_nft_list(ns, "inet skein-moved", &table, NULL) == 0)
		plan_moved_read_task(table, &f->inner4, &f->inner6);
	if (netns_nft_list(ns, "netdev skein-moved", &direct, NULL) == 0)
		plan_moved_read_direct(direct, &f->direct, &f->n_direct);
}

static void find_came(void *data, struct netns *ns, struct error *err)
{
	struct found *f = data;
	_cleanup_free_ char *four = NULL, *six = NULL;

	if (netns_nft(ns, "list map inet skein came4\n", &four, NULL) == 0)
		plan_moved_read_came(four, &f->gateway4, &f->came.from, &f->came.old4);
	if (ipaddr_is_set(&f->gateway6) && netns_nft(ns, "list map inet skein came6\n", &six, NULL) == 0)
		plan_moved_read_came(six, &f->gateway6, &f->came.from, &f->came.old6);
}

static void was_found(void *data, struct work_job *job, const struct error *err)
{
	struct found *f = data;
	struct attached *a = attached_find(f->net, f->id);

	if (!net_closing(f->net) && a && a->planned && a->state == ATTACHED_UP) {
		a->inner4 = f->inner4;
		a->inner6 = f->inner6;
		a->came = f->came;
		free(a->direct);
		a->direct = TAKE_PTR(f->direct);
		a->n_direct = f->n_direct;
		if (f->net->host_programmed)
			plan_moved_came_text(&f->net->host.text, &a->came, &a->gateway4, &a->gateway6, true);
		net_flush(f->net, NULL, NULL);
	}
	free(f->direct);
	free(f->id);
	free(f);
}

void flows_adopt(struct attached *a)
{
	struct work_job *job;
	struct found *f;

	if (str_empty(a->task->migrated_from))
		return;
	job = work_job_new();
	f = xnew(struct found);
	*f = (struct found){.net = a->net, .id = xstrdup(a->id), .gateway4 = a->gateway4, .gateway6 = a->gateway6};
	work_call(job, a->space.path, find_inner, f);
	work_call(job, NULL, find_came, f);
	work_run(a->net->work, job, was_found, f);
}

void flows_texts(struct net *n, struct strbuf *text)
{
	struct attached *a, *next;

	HASH_ITER(hh, n->attached, a, next)
		if (a->planned)
			plan_moved_came_text(text, &a->came, &a->gateway4, &a->gateway6, true);
}

void flows_drop(struct attached *a)
{
	if (a->net->host_programmed)
		plan_moved_came_text(&a->net->host.text, &a->came, &a->gateway4, &a->gateway6, false);
	a->came = (struct plan_came){0};
	a->inner4.family = a->inner6.family = 0;
	a->n_direct = 0;
}
