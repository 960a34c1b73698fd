/* feed_world - a cluster in a view, and what agents on its nodes are told of networks. */
#pragma once
#include "manager/dispatcher/netfeed.h"
#include "manager/dispatcher/netindex.h"
#include "manager/dispatcher/netobj.h"
#include "manager/store/plan.h"
#include "support/build.h"

#include <stdio.h>

#define NODES 4

struct agent {
	struct netfeed *feed;
	unsigned touched;
	uint64_t sequence;
};

struct world {
	struct view *view;
	struct netindex *index;
	struct agent agents[NODES]; /* n0, n1, ... */
	uint64_t revision;
};

static inline void on_touched(void *data)
{
	((struct agent *)data)->touched++;
}

/* As the store does: first the view, then the event. */
static inline void change(struct world *w, enum kind kind, void *now)
{
	const char *id = kind_info(kind)->id(now);
	_cleanup_pb_ void *old = view_put(w->view, kind, now);

	netindex_event(w->index, w->view, kind, id, old, now);
	w->revision++;
}

static inline void gone(struct world *w, enum kind kind, const char *id)
{
	_cleanup_pb_ void *old = view_del(w->view, kind, id);

	assert_non_null(old);
	netindex_event(w->index, w->view, kind, kind_info(kind)->id(old), old, NULL);
	w->revision++;
}

static inline void put_node(struct world *w, const char *id, const char *address, uint32_t index)
{
	struct built b = node(id, .address = address);

	((pb_node *)b.obj)->index = index;
	change(w, KIND_NODE, b.obj);
}

static inline void put_network(struct world *w, const char *id)
{
	pb_network *n = pb_new(&skein__network__descriptor);
	Skein__NetworkKey *key = pb_new(&skein__network_key__descriptor);

	pb_set_str(&n->id, id);
	n->spec = pb_new(&skein__network_spec__descriptor);
	pb_set_str(&n->spec->name, id);
	n->vni = 4096;
	key->id = 1;
	pb_msgs_add(&n->n_keys, &n->keys, key);
	change(w, KIND_NETWORK, n);
}

static inline void add_vip(pb_service *s, const char *network, const char *ipv4)
{
	pb_vip *vip = pb_new(&skein__virtual_ip__descriptor);
	pb_attachment_config *config = pb_new(&skein__network_attachment_config__descriptor);

	pb_set_str(&config->network_id, network);
	pb_msgs_add(&s->spec->task->n_networks, &s->spec->task->networks, config);
	pb_set_str(&vip->network_id, network);
	pb_set_str(&vip->ipv4, ipv4);
	pb_msgs_add(&s->endpoint->n_vips, &s->endpoint->vips, vip);
}

static inline pb_service *new_service(const char *id, const char *network)
{
	pb_service *s = service(id).obj;

	s->endpoint = pb_new(&skein__endpoint__descriptor);
	if (network)
		add_vip(s, network, "10.0.1.2");
	return s;
}

static inline void publish(pb_service *s, uint32_t port, int mode)
{
	pb_port *p = pb_new(&skein__port_config__descriptor);

	pb_set_str(&p->protocol, "tcp");
	p->target = 80;
	p->published = port;
	p->mode = (Skein__PublishMode)mode;
	pb_msgs_add(&s->endpoint->n_ports, &s->endpoint->ports, p);
}

static inline void attach(pb_task *t, const char *network)
{
	pb_attachment *a = pb_new(&skein__network_attachment__descriptor);

	pb_set_str(&a->network_id, network);
	pb_set_str(&a->ipv4, "10.0.1.9/24");
	pb_msgs_add(&t->n_networks, &t->networks, a);
}

static inline void put_task(struct world *w, const char *id, const char *service_id, const char *node_id,
		     const char *network, int state, int desired)
{
	pb_task *t = task(id, .service = service_id, .node = node_id, .slot = 1, .state = state,
			  .desired = desired)
			     .obj;

	if (network)
		attach(t, network);
	change(w, KIND_TASK, t);
}

static inline void set_task(struct world *w, const char *id, int state, int desired)
{
	pb_task *t = pb_dup(view_task(w->view, id));

	t->status->state = (Skein__TaskState)state;
	t->desired = (Skein__TaskState)desired;
	change(w, KIND_TASK, t);
}

static inline void agent_start(struct world *w, unsigned i)
{
	char id[8];

	snprintf(id, sizeof(id), "n%u", i);
	w->agents[i].feed = netfeed_new(w->index, id, on_touched, &w->agents[i]);
}

/* n0 to n3, networks ingress, a and b; no agent yet. */
static inline struct world *world_new(void)
{
	struct world *w = xnew(struct world);

	w->view = view_new();
	w->index = netindex_new();
	for (unsigned i = 0; i < NODES; i++) {
		char id[8], address[16];

		snprintf(id, sizeof(id), "n%u", i);
		snprintf(address, sizeof(address), "192.0.2.%u", i + 1);
		put_node(w, id, address, i + 1);
	}
	put_network(w, "ingress");
	put_network(w, "a");
	put_network(w, "b");
	return w;
}

static inline void world_free(struct world *w)
{
	for (unsigned i = 0; i < NODES; i++)
		netfeed_free(w->agents[i].feed);
	netindex_free(w->index);
	view_free(w->view);
	free(w);
}

/* The next message of an agent; its sequence must fit. */
static Skein__NetState *next(struct world *w, unsigned i)
{
	struct agent *a = &w->agents[i];
	Skein__NetState *s = netfeed_next(a->feed, w->view, w->revision);

	if (!s)
		return NULL;
	assert_int_equal(s->applies_to, a->sequence);
	assert_int_equal(s->complete, a->sequence == 0);
	assert_int_equal(s->results_in, a->sequence + 1);
	assert_int_equal(s->revision, w->revision);
	a->sequence = s->results_in;
	return s;
}

static inline void quiet(struct world *w, unsigned i)
{
	_cleanup_pb_ Skein__NetState *s = next(w, i);

	assert_null(s);
}

/* Bring an agent up to date without looking. */
static inline void catch_up(struct world *w, unsigned i)
{
	Skein__NetState *s;

	while ((s = next(w, i)))
		pb_free(s);
	w->agents[i].touched = 0;
}

static inline size_t all_of(const Skein__NetState *s)
{
	return s->n_networks + s->n_nodes + s->n_services + s->n_endpoints + s->n_remove_networks +
	       s->n_remove_nodes + s->n_remove_services + s->n_remove_endpoints;
}
