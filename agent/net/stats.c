#include "stats.h"

#include "common/log.h"
#include "common/mem.h"
#include "net_internal.h"
#include "netoverlay/counters.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One namespace. The serial thread fills it in. */
struct place {
	const char *id;                 /* of the overlay, or of the task; NULL = host. Borrowed from copies */
	bool balance;                   /* look at IPVS, too */
	bool balanced;
	struct link_counters *links;    /* sorted by name */
	size_t n_links;
	struct balance_counters counters;
};

struct reading {
	struct net *net;
	net_stats_cb cb;
	void *data;
	struct place *places;
	size_t n_places;
	struct net_traffic *traffic;
	size_t n_traffic, cap_traffic;
	struct net_overlay_stats *overlays;
	size_t n_overlays;
};

/* ---------------------------------------------------------------- serial thread */

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct link_counters *)a)->name, ((const struct link_counters *)b)->name);
}

static void read_place(void *data, struct netns *ns, struct error *err)
{
	struct place *p = data;

	if (netns_link_counters(ns, &p->links, &p->n_links, err) == 0 && p->n_links > 0)
		qsort(p->links, p->n_links, sizeof(*p->links), by_name);
	if (p->balance)
		p->balanced = netns_balance_counters(ns, &p->counters, NULL) == 0;
}

/* ---------------------------------------------------------------- which namespaces */

static bool has_inner_links(const struct attached *a)
{
	for (size_t i = 0; i < a->plan.n_ports; i++) {
		if (!a->plan.ports[i].outer[0])
			return true;
	}
	return false;
}

static bool is_up(const struct attached *a)
{
	return a->state == ATTACHED_UP && a->planned;
}

static void add_place(struct reading *r, struct work_job *job, const char *id, const char *path, bool balance)
{
	struct place *p = &r->places[r->n_places++];

	p->id = xstrdup(id);
	p->balance = balance;
	work_call(job, path, read_place, p);
}

static struct work_job *plan_reading(struct reading *r)
{
	struct net *n = r->net;
	struct work_job *job = work_job_new();
	struct attached *a;
	struct overlay *o;

	r->places = xcalloc(1 + HASH_COUNT(n->overlays) + HASH_COUNT(n->attached), sizeof(*r->places));
	add_place(r, job, NULL, NULL, false);
	for (o = n->overlays; o; o = o->hh.next) {
		if (o->n_tasks > 0 && !o->space.fresh)
			add_place(r, job, o->id, o->space.path, n->self.ipvs);
	}
	for (a = n->attached; a; a = a->hh.next) {
		if (is_up(a) && has_inner_links(a))
			add_place(r, job, a->id, a->space.path, false);
	}
	return job;
}

/* ---------------------------------------------------------------- what it means */

static const struct place *place_of(const struct reading *r, const char *id)
{
	for (size_t i = 0; i < r->n_places; i++) {
		if (str_eq(r->places[i].id, id))
			return &r->places[i];
	}
	return NULL;
}

static const struct link_counters *link_in(const struct place *p, const char *name)
{
	struct link_counters key = {0};

	if (!p || p->n_links == 0)
		return NULL;
	snprintf(key.name, sizeof(key.name), "%s", name);
	return bsearch(&key, p->links, p->n_links, sizeof(key), by_name);
}

/* What one end sends the other one receives. */
static void put_traffic(struct net_traffic *t, const struct link_counters *c, bool outer)
{
	struct link_counters in = *c;

	if (outer) {
		in = (struct link_counters){
			.rx_bytes = c->tx_bytes, .rx_packets = c->tx_packets, .rx_errors = c->tx_errors, .rx_dropped = c->tx_dropped,
			.tx_bytes = c->rx_bytes, .tx_packets = c->rx_packets, .tx_errors = c->rx_errors, .tx_dropped = c->rx_dropped,
		};
	}
	t->rx_bytes = in.rx_bytes;
	t->rx_packets = in.rx_packets;
	t->rx_errors = in.rx_errors;
	t->rx_dropped = in.rx_dropped;
	t->tx_bytes = in.tx_bytes;
	t->tx_packets = in.tx_packets;
	t->tx_errors = in.tx_errors;
	t->tx_dropped = in.tx_dropped;
}

static void add_port(struct reading *r, const struct attached *a, const struct plan_port *port)
{
	bool outer = port->outer[0] != '\0', overlay = outer && *port->net.id && port->net.driver == NETWORK_OVERLAY;
	const struct place *p = place_of(r, !outer ? a->id : overlay ? port->net.id : NULL);
	const struct link_counters *c = link_in(p, outer ? port->outer : port->name);
	struct net_traffic *t;

	if (!c)
		return;
	if (r->n_traffic == r->cap_traffic) {
		r->cap_traffic = r->cap_traffic ? r->cap_traffic * 2 : 64;
		r->traffic = xreallocarray(r->traffic, r->cap_traffic, sizeof(*r->traffic));
	}
	t = &r->traffic[r->n_traffic++];
	*t = (struct net_traffic){.task_id = a->id, .network = *port->net.id ? net_name(r->net, port->net.id) : NET_PREDEFINED_BRIDGE};
	memcpy(t->interface, port->name, sizeof(t->interface));
	put_traffic(t, c, outer);
}

/* Nodes other than us that have an endpoint in the network. */
static unsigned count_peers(const struct net *n, const struct model_network *network)
{
	struct seen {
		UT_hash_handle hh;
		const struct model_node *node;
	} *all = NULL, *s, *next;
	const struct model_place *p;
	unsigned peers;

	LIST_FOREACH(p, &network->places, of_network) {
		const struct model_node *node = p->endpoint->node;

		HASH_FIND_PTR(all, &node, s);
		if (s || str_eq(node->id, n->node_id))
			continue;
		s = xnew(struct seen);
		s->node = node;
		HASH_ADD_PTR(all, node, s);
	}
	peers = HASH_COUNT(all);
	HASH_ITER(hh, all, s, next) {
		HASH_DEL(all, s);
		free(s);
	}
	return peers;
}

static void add_overlays(struct reading *r)
{
	const struct net *n = r->net;

	r->overlays = xcalloc(HASH_COUNT(n->overlays) + 1, sizeof(*r->overlays));
	for (struct overlay *o = n->overlays; o; o = o->hh.next) {
		const struct model_network *network = model_network(n->model, o->id);
		const struct place *p = place_of(r, o->id);
		struct net_overlay_stats *s;

		if (o->n_tasks == 0 || !network)
			continue;
		s = &r->overlays[r->n_overlays++];
		s->network = net_name(n, o->id);
		s->tasks = o->n_tasks;
		s->peers = count_peers(n, network);
		if (!p || !p->balanced)
			continue;
		s->balanced = true;
		s->services = p->counters.services;
		s->endpoints = p->counters.endpoints;
		s->active = p->counters.active;
		s->inactive = p->counters.inactive;
	}
}

static int by_task(const void *a, const void *b)
{
	const struct net_traffic *x = a, *y = b;
	int r = strcmp(x->task_id, y->task_id);

	return r ? r : strcmp(x->interface, y->interface);
}

static void reading_free(struct reading *r)
{
	for (size_t i = 0; i < r->n_places; i++) {
		free((char *)r->places[i].id);
		free(r->places[i].links);
	}
	free(r->places);
	free(r->traffic);
	free(r->overlays);
	free(r);
}

static void on_read(void *data, struct work_job *job, const struct error *err)
{
	struct reading *r = data;
	struct net_stats stats;

	if (err) /* a namespace that has just gone, say */
		log_debug("net_stats", kv_err(err));
	for (struct attached *a = r->net->attached; a; a = a->hh.next) {
		for (size_t i = 0; is_up(a) && i < a->plan.n_ports; i++)
			add_port(r, a, &a->plan.ports[i]);
	}
	if (r->n_traffic > 0)
		qsort(r->traffic, r->n_traffic, sizeof(*r->traffic), by_task);
	add_overlays(r);
	stats = (struct net_stats){r->traffic, r->n_traffic, r->overlays, r->n_overlays};
	r->cb(r->data, &stats);
	reading_free(r);
}

void net_stats_read(struct net *n, net_stats_cb cb, void *data)
{
	static const struct net_stats nothing;
	struct reading *r;

	if (!n->ready || n->failed || net_closing(n)) {
		cb(data, &nothing);
		return;
	}
	r = xnew(struct reading);
	r->net = n;
	r->cb = cb;
	r->data = data;
	work_run(n->work, plan_reading(r), on_read, r);
}

const struct dns_stats *net_dns_stats(const struct net *n)
{
	return dns_stats(n->dns);
}
