/*
 * A task is about to stop. Its connections end before it does, and none that has been begun is lost:
 *
 *   1. It is taken out of this node's balancing at once; the other nodes hear of it at the same time from their managers.
 *   2. It goes on serving until no connection is left and no new one has come for a while: an agent that is late with
 *      its rulesets shows by sending more.
 *   3. The door is closed: whoever is still late gets no answer, so the client's kernel asks again after a second, and its
 *      agent has forgotten by then to whom the first question went (stale.c). Then it is counted once more.
 *   4. The stop signal.
 */
#include "net_internal.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"

#include <netinet/in.h>

#define ASK_NS (100 * NS_PER_MS)
/* Programs that connect to themselves all the time would never seem quiet. */
#define QUIET_MAX_NS NS_PER_SEC

void drain_end(struct attached *a)
{
	net_done_cb cb = a->drain.cb;

	a->drain.cb = NULL;
	if (cb)
		cb(a->drain.data, NULL);
}

/* ---------------------------------------------------------------- the door */

/* Where each task is asked for by its own address, a refusal says more than silence: the client tries the next one. */
static bool has_door(const struct attached *a)
{
	const struct model_service *s = model_service(a->net->model, a->task->service_id);

	return a->net->features.nftables && s && (s->n_vips || s->pb->n_ports);
}

static void forget_unanswered(struct net *n, const struct ipaddr *address)
{
	host_forget(n, &(struct conntrack_flow){.address = *address, .protocol = IPPROTO_TCP, .unanswered = true});
}

static void count(void *data, struct netns *ns, struct error *err);
static void counted(void *data, struct work_job *job, const struct error *err);

/* An agent that has ended may have closed it: whether its task is to stop is known soon. */
void drain_open_door(struct attached *a, struct work_job *job)
{
	if (a->net->features.nftables)
		work_nft(job, a->space.path, xstrdup("add table inet skein-door\ndelete table inet skein-door\n"), false);
}

/* A table of its own: the other one is compared with what it should be from time to time. */
static void close_door(struct attached *a)
{
	struct net *n = a->net;
	struct work_job *job = work_job_new();

	a->drain.closed = a->drain.asking = true;
	host_service_dirty(n, model_service(n->model, a->task->service_id));
	forget_unanswered(n, &a->gateway4);
	forget_unanswered(n, &a->gateway6);
	net_flush(n, NULL, NULL);
	work_nft(job, a->space.path,
		 xstrdup("table inet skein-door {\n"
			 "\tchain in {\n"
			 "\t\ttype filter hook input priority filter - 1; policy accept;\n"
			 "\t\tiifname != \"lo\" tcp flags & (fin | syn | rst | ack) == syn drop\n"
			 "\t}\n"
			 "}\n"),
		 false);
	work_call(job, a->space.path, count, a);
	work_run(n->work, job, counted, a);
}

/* ---------------------------------------------------------------- counting */

/* Serial thread. */
static void count(void *data, struct netns *ns, struct error *err)
{
	struct attached *a = data;

	a->drain.left = 0;
	if (netns_tcp_connections(ns, NULL, 0, &a->drain.left, err) == 0)
		netns_tcp_accepted(ns, &a->drain.accepted, err);
}

static bool is_quiet(const struct drain *d, int64_t now)
{
	if (d->left)
		return false;
	return d->closed || now >= d->quiet_until || (d->counted && d->accepted == d->accepted_before);
}

static void counted(void *data, struct work_job *job, const struct error *err)
{
	struct attached *a = data;
	struct drain *d = &a->drain;
	int64_t now = clock_mono_ns();
	bool quiet = is_quiet(d, now);

	d->asking = false;
	d->not_before = now + ASK_NS;
	d->accepted_before = d->accepted;
	d->counted = true;
	if (net_closing(a->net) || !d->cb)
		return;
	if (err) { /* what cannot be counted is not waited for */
		log_warn("drain_count", kv_str("task", a->id), kv_err(err));
		drain_end(a);
	} else if (quiet && !d->closed && has_door(a)) {
		close_door(a);
	} else if (quiet) {
		drain_end(a);
	}
}

/* ---------------------------------------------------------------- time */

static void ask(struct attached *a)
{
	struct work_job *job = work_job_new();

	a->drain.asking = true;
	work_call(job, a->space.path, count, a);
	work_run(a->net->work, job, counted, a);
}

void drain_tick(struct attached *a, int64_t now)
{
	struct drain *d = &a->drain;

	if (d->asking || !d->cb)
		return;
	if (now < d->until) {
		if (now >= d->not_before)
			ask(a);
	} else if (!d->closed && has_door(a)) {
		close_door(a);
	} else {
		log_info("drain_cut", kv_str("task", a->id), kv_u64("connections", d->left));
		drain_end(a);
	}
}

void net_drain(struct net *n, const char *task_id, int64_t max_ns, net_done_cb cb, void *data)
{
	struct attached *a = attached_find(n, task_id);
	int64_t now = clock_mono_ns();

	if (model_endpoint(n->model, task_id)) /* the mark goes with the endpoint */
		model_set_draining(n->model, task_id, true);
	/* Behind a closed gate there is nobody to wait for: what had connections to it goes on elsewhere. */
	if (!a || a->state == ATTACHED_DROPPING || a->state == ATTACHED_WAITING || a->gate != NET_OPEN) {
		net_done_later(n, cb, data);
		return;
	}
	drain_end(a);
	/* Two counts, so that others have had twice this time. */
	a->drain = (struct drain){.cb = cb, .data = data, .not_before = now + ASK_NS, .quiet_until = now + QUIET_MAX_NS,
				  .until = now + MAX(max_ns, 2 * ASK_NS), .asking = a->drain.asking,
				  .closed = a->drain.closed};
	net_flush(n, NULL, NULL);
	net_tick_start(n);
}
