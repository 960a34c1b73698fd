#include "net_internal.h"

#include "common/error.h"
#include "common/log.h"
#include "common/mem.h"

/*
 * Namespaces made ahead, so that a task that starts does not wait for the kernel to make one: loopback up, what every task
 * has set, its names answered. They have no file: nothing of them is left when this process ends, however it does.
 *
 * They are made one at a time while no task waits for the thread that makes them.
 */
#define SPARES_MAX 4

struct spare {
	STAILQ_ENTRY(spare) link;
	struct net *net;
	struct netstate *want;
	struct netns *ns;
	struct dns_sockets sockets;
};

static void spare_free(struct spare *s)
{
	netns_close(s->ns);
	dns_sockets_close(&s->sockets);
	netstate_free(s->want);
	free(s);
}

/* Serial thread. */
static void prepare(void *data, struct netns *host, struct error *err)
{
	struct spare *s = data;
	struct netstate_ops ops = {0};

	netstate_take_changes(s->want, &ops);
	s->ns = netns_new(host, err);
	if (!s->ns || netns_apply(s->ns, ops.v, ops.n, NULL, err) < 0 || netns_nft(s->ns, plan_names_text(), NULL, err) < 0 ||
	    names_open(s->ns, &s->sockets, err) < 0) {
		netns_close(s->ns);
		s->ns = NULL;
	}
	if (s->ns)
		netns_rest(s->ns);
	netstate_ops_fini(&ops);
}

static void prepared(void *data, struct work_job *job, const struct error *err)
{
	struct spare *s = data;
	struct net *n = s->net;

	n->spares.making = false;
	if (!s->ns || n->leaving || net_closing(n)) {
		if (err)
			log_warn("namespace_prepare", kv_err(err));
		n->spares.failed = err != NULL;
		spare_free(s);
		return;
	}
	STAILQ_INSERT_TAIL(&n->spares.list, s, link);
	n->spares.n++;
}

static void make(struct net *n)
{
	struct work_job *job = work_job_new();
	struct spare *s = xnew(struct spare);
	struct plan_out out = {.set = netstate_new()};

	s->net = n;
	s->want = out.set;
	s->sockets = DNS_SOCKETS_NONE;
	plan_task_prepared(&out, &n->self);
	n->spares.making = true;
	work_call(job, NULL, prepare, s);
	work_run(n->work, job, prepared, s);
}

static bool somebody_waits(const struct net *n)
{
	struct attached *a, *next;

	HASH_ITER(hh, n->attached, a, next)
		if (a->state == ATTACHED_MAKING || a->state == ATTACHED_DROPPING)
			return true;
	return false;
}

void spares_init(struct net *n)
{
	STAILQ_INIT(&n->spares.list);
}

bool spares_tick(struct net *n)
{
	/* What did not work once is tried again with the next task. */
	if (!host_wanted(n) || n->spares.failed || n->spares.n >= SPARES_MAX)
		return false;
	if (!n->spares.making && !somebody_waits(n))
		make(n);
	return true;
}

bool spares_take(struct net *n, struct netns **ret_ns, struct dns_sockets *ret_sockets)
{
	struct spare *s = STAILQ_FIRST(&n->spares.list);

	n->spares.failed = false;
	if (!s)
		return false;
	STAILQ_REMOVE_HEAD(&n->spares.list, link);
	n->spares.n--;
	*ret_ns = TAKE_PTR(s->ns);
	*ret_sockets = s->sockets;
	s->sockets = DNS_SOCKETS_NONE;
	spare_free(s);
	return true;
}

void spares_drop(struct net *n)
{
	struct spare *s;

	while ((s = STAILQ_FIRST(&n->spares.list))) {
		STAILQ_REMOVE_HEAD(&n->spares.list, link);
		spare_free(s);
	}
	n->spares.n = 0;
}
