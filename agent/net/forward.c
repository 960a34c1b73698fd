/*
 * A task has moved away. What the world outside sent to it through this host (published ports) and what it sent out through
 * this host still comes here, and only this host's connection tracking knows those connections: it sends the packets on to
 * where the task is now, by the ingress network, for as long as there are such connections. The addresses that the task had
 * towards this host are given to nobody else until then. The routes in the kernel are the whole memory of it: a new agent finds
 * them (docs/adr/0020-a-moving-task-keeps-its-network.md).
 */
#include "net_internal.h"

#include "common/error.h"
#include "common/log.h"
#include "common/mem.h"

#include <string.h>
#include <sys/socket.h>

struct forward {
	LIST_ENTRY(forward) link;
	struct plan_forward plan;
	struct net *net;
	bool counting;
	size_t n_flows; /* of the worker, while it counts */
};

static struct forward *find(const struct net *n, const struct ipaddr *own4)
{
	struct forward *f;

	LIST_FOREACH(f, &n->forwards, link)
		if (ipaddr_same_host(&f->plan.own4, own4))
			return f;
	return NULL;
}

/* As long as it has not been counted for the first time it may have any number. */
static void add(struct net *n, const struct plan_forward *plan)
{
	struct forward *f = xnew(struct forward);
	struct plan_out out = space_out(&n->host, false);

	*f = (struct forward){.plan = *plan, .net = n};
	LIST_INSERT_HEAD(&n->forwards, f, link);
	plan_moved_forward(&out, plan);
	if (n->host_programmed)
		plan_moved_forward_text(&n->host.text, plan, true);
}

static void drop(struct forward *f)
{
	struct net *n = f->net;
	struct plan_out out = space_out(&n->host, true);

	plan_moved_forward(&out, &f->plan);
	if (n->host_programmed)
		plan_moved_forward_text(&n->host.text, &f->plan, false);
	LIST_REMOVE(f, link);
	if (!f->counting)
		free(f);
	else
		f->net = NULL; /* when that is back */
}

/* The task that goes on with this one's connections, once the cluster says that it has them. */
static const struct model_endpoint *successor(const struct attached *a)
{
	const struct model_service *s = model_service(a->net->model, a->task->service_id);
	const struct model_endpoint *e;

	if (s)
		LIST_FOREACH(e, &s->endpoints, of_service)
			if (str_eq(e->pb->migrated_from, a->id))
				return e;
	return NULL;
}

static bool wanted(const struct attached *a, struct plan_forward *ret)
{
	const struct model_network *ingress = model_ingress(a->net->model);
	const struct model_endpoint *e = a->gate == NET_CUT ? successor(a) : NULL;

	if (!e || !ingress || !a->net->host_facts.ingress || str_eq(e->node->id, a->net->node_id) ||
	    !ipaddr_is_set(&a->gateway4))
		return false;
	*ret = (struct plan_forward){.own4 = ipaddr_host(&a->gateway4)};
	ret->via4 = plan_ingress_address(ingress, e->node->index, AF_INET);
	if (ipaddr_is_set(&a->gateway6)) {
		ret->own6 = ipaddr_host(&a->gateway6);
		ret->via6 = plan_ingress_address(ingress, e->node->index, AF_INET6);
	}
	return ipaddr_is_set(&ret->via4);
}

void forward_advance(struct attached *a)
{
	struct plan_forward now;
	struct forward *f;
	bool want;

	if (!a->planned || a->state != ATTACHED_UP)
		return;
	f = find(a->net, &a->gateway4);
	want = wanted(a, &now);
	if (f && want && ipaddr_same_host(&f->plan.via4, &now.via4))
		return;
	if (f)
		drop(f);
	if (want)
		add(a->net, &now);
}

bool forward_keeps(const struct attached *a)
{
	return find(a->net, &a->gateway4) != NULL;
}

void forward_wishes(struct net *n, const struct plan_out *out)
{
	struct forward *f;

	LIST_FOREACH(f, &n->forwards, link)
		plan_moved_forward(out, &f->plan);
}

void forward_texts(struct net *n, struct strbuf *text)
{
	struct forward *f;

	LIST_FOREACH(f, &n->forwards, link)
		plan_moved_forward_text(text, &f->plan, true);
}

/* ---------------------------------------------------------------- until nobody speaks to it any more */

/* Serial thread. */
static void count(void *data, struct netns *ns, struct error *err)
{
	struct forward *f = data;
	const struct ipaddr *own[] = {&f->plan.own4, &f->plan.own6};

	f->n_flows = 0;
	for (size_t i = 0; i < 2 * ARRAY_SIZE(own); i++) {
		_cleanup_free_ struct conntrack_entry *v = NULL;
		size_t n;

		if (ipaddr_is_set(own[i / 2]) && conntrack_list(ns, own[i / 2], i % 2, &v, &n, err) == 0)
			f->n_flows += n;
	}
}

static bool is_attached(const struct net *n, const struct forward *f)
{
	const struct attached *a, *next;

	HASH_ITER(hh, n->attached, a, next)
		if (ipaddr_same_host(&a->gateway4, &f->plan.own4))
			return true;
	return false;
}

static void counted(void *data, struct work_job *job, const struct error *err)
{
	struct forward *f = data;
	struct net *n = f->net;

	f->counting = false;
	if (!n) {
		free(f);
		return;
	}
	if (net_closing(n) || err || f->n_flows || is_attached(n, f))
		return;
	log_info("network_forwarded", kv_str("state", "no connection is left"));
	gateway_ipam_give(&n->ipam, &f->plan.own4);
	drop(f);
	net_flush(n, NULL, NULL);
}

void forward_slow(struct net *n)
{
	struct forward *f;

	LIST_FOREACH(f, &n->forwards, link) {
		struct work_job *job;

		if (f->counting || is_attached(n, f))
			continue;
		job = work_job_new();
		f->counting = true;
		work_call(job, NULL, count, f);
		work_run(n->work, job, counted, f);
	}
}

/* ---------------------------------------------------------------- life */

void forward_found(struct net *n, const struct plan_forward *plan)
{
	struct ipaddr unused;

	gateway_ipam_reserve(&n->ipam, &plan->own4, &unused);
	if (!find(n, &plan->own4))
		add(n, plan);
}

void forward_free(struct net *n)
{
	struct forward *f;

	while ((f = LIST_FIRST(&n->forwards)))
		drop(f);
}
