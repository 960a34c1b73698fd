#include "net_internal.h"

#include "common/clock.h"
#include "common/error.h"
#include "common/log.h"
#include "common/mem.h"

#include <stdio.h>
#include <string.h>

#define WAIT_NS (30 * NS_PER_SEC)

bool net_wanted(const pb_task *task)
{
	const char *network = task->spec ? task->spec->network : "";

	return !str_eq(network, "host") && !str_eq(network, "none");
}

struct attached *attached_find(const struct net *n, const char *task_id)
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

static struct attached *attached_new(struct net *n, const pb_task *task, enum attached_state state, enum net_gate gate,
				     net_attach_cb cb, void *data)
{
	struct attached *a = xnew(struct attached);
	_cleanup_free_ char *path = xasprintf("%s/task-%s", n->dir, task->id);

	a->net = n;
	a->task = pb_dup(task);
	a->id = xstrdup(task->id);
	a->state = state;
	a->gate = gate;
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
	await_fini(a);
	space_fini(&a->space);
	pb_free(a->task);
	free(a->plan.ports);
	free(a->own_vips);
	free(a->direct);
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
	attached_unplan(a);
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
	gate_advance(a);
	host_service_dirty(a->net, model_service(a->net->model, a->task->service_id));
	answer(a, NULL);
	net_flush(a->net, NULL, NULL);
}

static void begin(struct attached *a)
{
	struct error err = ERROR_INIT;

	a->state = ATTACHED_MAKING;
	if (attached_plan(a, &err) < 0) {
		fail(a, &err);
		return;
	}
	a->space.fresh = true;
	if (!spares_take(a->net, &a->space.prepared, &a->sockets)) {
		a->open_names = true;
		strbuf_puts(&a->space.text, plan_names_text());
	}
	net_flush(a->net, made, a);
	net_tick_start(a->net);
}

/* An earlier agent's: differences only, nothing is interrupted. */
static void take_over(struct attached *a)
{
	struct error err = ERROR_INIT;

	if (attached_plan(a, &err) < 0) {
		log_warn("network_adopt", kv_str("task", a->id), kv_err(&err));
		a->deadline = INT64_MAX; /* as it is; nothing new will come of trying again */
		return;
	}
	a->space.sync = true;
	a->state = ATTACHED_UP;
	gate_adopt(a);
	flows_adopt(a);
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
		else if (attached_is_known(a, &err))
			begin(a);
		else if (error_is_set(&err))
			fail(a, &err);
	} else if (a->state == ATTACHED_FOUND) {
		if (a->attach_cb)
			adopt(a);
		if (!a->net->failed && a->deadline != INT64_MAX && attached_is_known(a, &err))
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
static void attach_as(struct net *n, const pb_task *task, enum net_gate gate, net_attach_cb cb, void *data)
{
	struct refusal *r;

	if (attached_find(n, task->id)) { /* our caller's mistake */
		r = xnew(struct refusal);
		*r = (struct refusal){.cb = cb, .data = data};
		error_set(&r->err, ERR_EXISTS, "task %s has its networks already", task->id);
		work_run(n->work, work_job_new(), run_refusal, r);
		return;
	}
	work_run(n->work, work_job_new(), kicked, attached_new(n, task, ATTACHED_WAITING, gate, cb, data));
	net_tick_start(n);
}

void net_attach(struct net *n, const pb_task *task, net_attach_cb cb, void *data)
{
	attach_as(n, task, NET_OPEN, cb, data);
}

void net_attach_shut(struct net *n, const pb_task *task, net_attach_cb cb, void *data)
{
	attach_as(n, task, NET_SHUT, cb, data);
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
	if (there) {
		work_call(job, a->space.path, attached_open_names, a);
		drain_open_door(a, job);
	} else {
		a->state = ATTACHED_DROPPING;
	}
	work_run(a->net->work, job, there ? adopted : not_there, a);
}

void net_adopt(struct net *n, const pb_task *task, net_attach_cb cb, void *data)
{
	net_adopt_as(n, task, NET_OPEN, cb, data);
}

void net_adopt_as(struct net *n, const pb_task *task, enum net_gate gate, net_attach_cb cb, void *data)
{
	work_run(n->work, work_job_new(), kicked, attached_new(n, task, ATTACHED_FOUND, gate, cb, data));
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

void net_done_later(struct net *n, net_done_cb cb, void *data)
{
	struct later *l = xnew(struct later);

	*l = (struct later){cb, data};
	work_run(n->work, work_job_new(), run_later, l);
}

void net_detach(struct net *n, const char *task_id, net_done_cb cb, void *data)
{
	struct attached *a = attached_find(n, task_id);
	struct error err = ERROR_INIT;

	if (!a || a->state == ATTACHED_DROPPING) {
		if (a && !a->detach_cb) {
			a->detach_cb = cb;
			a->detach_data = data;
		} else {
			net_done_later(n, cb, data);
		}
		return;
	}
	a->detach_cb = cb;
	a->detach_data = data;
	drain_end(a);
	await_end(a);
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
	struct attached *a = attached_find(n, task_id);

	if (!a)
		return;
	a->attach_cb = NULL;
	a->drain.cb = NULL;
	a->detach_cb = NULL;
	await_end(a);
}

/* ---------------------------------------------------------------- deadlines */

static void name_missing(const struct attached *a, struct error *err)
{
	const struct net *n = a->net;

	for (size_t i = 0; i < a->task->n_networks; i++) {
		const char *id = a->task->networks[i]->network_id;
		const struct model_network *network = model_network(n->model, id);

		if (str_eq(id, NET_PREDEFINED_BRIDGE))
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

	bool gated = gate_tick(a, now);

	drain_tick(a, now);
	if (a->state == ATTACHED_WAITING && now >= a->deadline) {
		name_missing(a, &err);
		fail(a, &err);
		return true;
	}
	return gated || a->drain.cb || a->drain.asking || a->state == ATTACHED_WAITING;
}
