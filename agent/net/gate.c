/*
 * A task that moves. Its veths stand, and are down at the bridge's side: that is the whole of "shut" and of "cut", so that
 * healing and checking know it as they know any other wish.
 *
 * At the target, between the moment at which everybody's packets come here and the one at which the restored processes may get
 * them, both ends of each veth keep what leaves by them (sch_plug), where the kernel can: what came meanwhile arrives in order
 * when it opens, instead of after the senders' next time-outs.
 */
#include "net_internal.h"

#include "common/clock.h"
#include "common/error.h"
#include "common/log.h"
#include "common/mem.h"

#include <string.h>

/* Of each interface: more would be repeated by its senders in any case. */
#define KEPT_MAX_BYTES (4u << 20)
/* By then everything that was kept has left. */
#define UNPLUG_NS NS_PER_SEC
#define UPLINK "vx0"

int net_can_move(const struct net *n, const pb_task *task, struct error *err)
{
	for (size_t i = 0; i < task->n_networks; i++) {
		const char *id = task->networks[i]->network_id;
		const struct model_network *network = model_network(n->model, id);

		if (str_eq(id, NET_PREDEFINED_BRIDGE) || (network && network->driver == NETWORK_OVERLAY))
			continue;
		if (!network)
			return error_set(err, ERR_PRECONDITION, "network %s: no manager has told about it", id);
		return error_set(err, ERR_PRECONDITION,
				 "network %s (driver %s) is this node's own: only tasks in overlay networks can move",
				 network->pb->spec->name, network->pb->spec->driver);
	}
	return net_wanted(task) || str_eq(task->spec->network, "none") ?
		       0 :
		       error_set(err, ERR_PRECONDITION, "the task is in the host's network, which stays here");
}

bool gate_is_shut(const struct attached *a)
{
	return a->gate == NET_SHUT && !a->here;
}

/* ---------------------------------------------------------------- one change */

struct gate_step {
	enum { GATE_KEEP, GATE_RELEASE, GATE_REMOVE, GATE_FORGET } what;
	char link[IFNAMSIZ];
	struct mac mac;
};

/* Carried out in two jobs at most: the steps, then the wishes. */
struct gate_change {
	struct net *net;
	char *id;
	net_done_cb cb;
	void *data;
	struct error err;
	struct gate_step *steps;
	size_t n;
};

static struct gate_change *change_new(struct attached *a, net_done_cb cb, void *data)
{
	struct gate_change *c = xnew(struct gate_change);

	*c = (struct gate_change){.net = a->net, .id = xstrdup(a->id), .cb = cb, .data = data};
	/* Two ends, and one to forget, of each. */
	c->steps = xcalloc(3 * (a->plan.n_ports + 1), sizeof(*c->steps));
	return c;
}

static void change_free(struct gate_change *c)
{
	free(c->steps);
	free(c->id);
	free(c);
}

/* Serial thread. */
static void run_step(void *data, struct netns *ns, struct error *err)
{
	const struct gate_step *s = data;

	switch (s->what) {
	case GATE_KEEP:
		netns_plug(ns, s->link, KEPT_MAX_BYTES, err);
		break;
	case GATE_RELEASE:
		netns_plug_release(ns, s->link, err);
		break;
	case GATE_REMOVE:
		netns_plug_remove(ns, s->link, err);
		break;
	case GATE_FORGET:
		netns_bridge_forget(ns, s->link, &s->mac, err);
		break;
	}
}

static void add_step(struct gate_change *c, struct work_job *job, const char *path, int what, const char *link,
		     const struct mac *mac)
{
	struct gate_step *s = &c->steps[c->n++];

	s->what = what;
	memcpy(s->link, link, sizeof(s->link));
	s->mac = *mac;
	work_call(job, path, run_step, s);
}

/* At both ends of each veth. */
static void add_ends(struct gate_change *c, struct work_job *job, struct attached *a, int what)
{
	for (size_t i = 0; i < a->plan.n_ports; i++) {
		const struct plan_port *port = &a->plan.ports[i];
		struct overlay *o = overlay_find(a->net, port->net.id);

		if (!*port->outer)
			continue;
		add_step(c, job, o ? o->space.path : NULL, what, port->outer, &port->mac);
		add_step(c, job, a->space.path, what, port->name, &port->mac);
	}
}

/* So far it was behind the other nodes: the bridges have learnt that. */
static void add_forgetting(struct gate_change *c, struct work_job *job, struct attached *a)
{
	for (size_t i = 0; i < a->plan.n_ports; i++) {
		struct overlay *o = overlay_find(a->net, a->plan.ports[i].net.id);
		char uplink[IFNAMSIZ] = UPLINK;

		if (o)
			add_step(c, job, o->space.path, GATE_FORGET, uplink, &a->plan.ports[i].mac);
	}
}

static void put_wishes(struct attached *a, bool shut)
{
	struct net *n = a->net;

	a->plan.shut = shut;
	for (size_t i = 0; i < a->plan.n_ports; i++) {
		struct overlay *o = overlay_find(n, a->plan.ports[i].net.id);
		struct plan_out out = space_out(o ? &o->space : &n->host, false);

		if (o)
			plan_network_port(&out, &o->facts, &a->plan, &a->plan.ports[i]);
		else
			plan_host_port(&out, &n->self, &a->plan, &a->plan.ports[i]);
	}
}

static void changed(void *data, struct work_job *job, const struct error *err)
{
	struct gate_change *c = data;

	if (c->cb && !net_closing(c->net))
		c->cb(c->data, err ? err : error_is_set(&c->err) ? &c->err : NULL);
	change_free(c);
}

/* What else is to be done goes before, so that the answer is about this alone. */
static void apply(struct gate_change *c, struct attached *a, bool shut)
{
	net_flush(c->net, NULL, NULL);
	put_wishes(a, shut);
	net_flush(c->net, changed, c);
}

static void keep_error(void *data, const char *path, const struct error *err)
{
	struct gate_change *c = data;

	if (err->code != ERR_NOT_FOUND) /* each is looked for everywhere */
		c->err = *err;
}

static void found_changed(void *data, struct work_job *job, const struct error *err)
{
	work_each_error(job, keep_error, data);
	changed(data, job, NULL);
}

/* An earlier agent's, and no manager has said yet what its networks look like: its links have names that are known. */
static void apply_found(struct gate_change *c, struct attached *a, bool shut)
{
	struct net *n = a->net;
	struct work_job *job = work_job_new();

	for (size_t k = 0; k <= a->task->n_networks; k++) {
		_cleanup_free_ char *path = NULL;

		if (k < a->task->n_networks) {
			if (!leftover_find(n, a->task->networks[k]->network_id))
				continue;
			path = xasprintf("%s/%s", n->dir, a->task->networks[k]->network_id);
		}
		for (unsigned i = 0; i <= a->task->n_networks; i++) {
			struct netstate_ops ops = {.v = xcalloc(1, sizeof(*ops.v)), .n = 1};
			struct netstate_link *l = &ops.v[0].entry.link;

			l->kind = LINK_OTHER; /* only where it is there */
			l->up = !shut;
			l->down = shut;
			plan_port_name(a->id, i, l->name);
			work_apply(job, path, &ops);
		}
	}
	work_run(n->work, job, found_changed, c);
}

struct refusal {
	net_done_cb cb;
	void *data;
	struct error err;
};

static void run_refusal(void *data, struct work_job *job, const struct error *unused)
{
	struct refusal *r = data;

	r->cb(r->data, &r->err);
	free(r);
}

static bool is_there(struct net *n, const struct attached *a, const char *task_id, net_done_cb cb, void *data)
{
	struct refusal *r;

	if (a && !a->detach_asked && (a->state == ATTACHED_UP || a->state == ATTACHED_FOUND))
		return true;
	r = xnew(struct refusal);
	*r = (struct refusal){.cb = cb, .data = data};
	error_set(&r->err, ERR_NOT_FOUND, "task %s has no network here", task_id);
	work_run(n->work, work_job_new(), run_refusal, r);
	return false;
}

/* ---------------------------------------------------------------- cut, opened */

void net_cut(struct net *n, const char *task_id, net_done_cb cb, void *data)
{
	struct attached *a = attached_find(n, task_id);
	struct gate_change *c;

	if (!is_there(n, a, task_id, cb, data))
		return;
	a->gate = NET_CUT;
	c = change_new(a, cb, data);
	if (a->planned)
		apply(c, a, true);
	else
		apply_found(c, a, true);
}

static void released(void *data, struct work_job *job, const struct error *err)
{
	struct gate_change *c = data;

	if (err)
		c->err = *err;
}

void net_open(struct net *n, const char *task_id, net_done_cb cb, void *data)
{
	struct attached *a = attached_find(n, task_id);
	struct gate_change *c;
	struct work_job *job;

	if (!is_there(n, a, task_id, cb, data))
		return;
	c = change_new(a, cb, data);
	if (!a->planned) {
		a->gate = NET_OPEN;
		apply_found(c, a, false);
		return;
	}
	if (a->gate == NET_SHUT) {
		job = work_job_new();
		add_forgetting(c, job, a);
		add_ends(c, job, a, GATE_RELEASE);
		work_run(n->work, job, released, c);
		a->unplug_at = clock_mono_ns() + UNPLUG_NS;
		net_tick_start(n);
	}
	a->gate = NET_OPEN;
	host_service_dirty(n, model_service(n->model, a->task->service_id));
	apply(c, a, false);
}

/* ---------------------------------------------------------------- shut, and the packets come */

static void kept(void *data, struct work_job *job, const struct error *err)
{
	struct gate_change *c = data;
	struct attached *a = attached_find(c->net, c->id);

	if (err)
		log_info("network_keeps_nothing", kv_str("task", c->id), kv_err(err)); /* the senders repeat it */
	else if (!net_closing(c->net) && a && a->planned && a->gate == NET_SHUT && a->here) {
		put_wishes(a, false);
		net_flush(a->net, NULL, NULL);
	}
	change_free(c);
}

static void keep(struct attached *a)
{
	struct gate_change *c = change_new(a, NULL, NULL);
	struct work_job *job = work_job_new();

	add_forgetting(c, job, a);
	add_ends(c, job, a, GATE_KEEP);
	work_run(a->net->work, job, kept, c);
}

static void drop_kept(struct attached *a)
{
	struct gate_change *c = change_new(a, NULL, NULL);
	struct work_job *job = work_job_new();

	add_ends(c, job, a, GATE_REMOVE);
	work_run(a->net->work, job, changed, c);
}

void gate_advance(struct attached *a)
{
	const struct model_endpoint *e;
	bool here;

	if (a->gate != NET_SHUT || !a->planned || a->state != ATTACHED_UP)
		return;
	e = model_endpoint(a->net->model, a->id);
	here = e && str_eq(e->node->id, a->net->node_id);
	if (here == a->here)
		return;
	a->here = here;
	host_service_dirty(a->net, model_service(a->net->model, a->task->service_id));
	if (here) {
		keep(a);
		return;
	}
	put_wishes(a, true);
	net_flush(a->net, NULL, NULL);
	drop_kept(a);
}

void gate_adopt(struct attached *a)
{
	if (a->gate == NET_OPEN && !str_empty(a->task->migrated_from))
		drop_kept(a);
	gate_advance(a);
}

bool gate_tick(struct attached *a, int64_t now)
{
	if (a->unplug_at && now >= a->unplug_at) {
		a->unplug_at = 0;
		if (a->planned && a->state == ATTACHED_UP)
			drop_kept(a);
	}
	return a->unplug_at != 0;
}
