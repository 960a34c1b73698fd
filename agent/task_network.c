#include "task_internal.h"

#include "agent/net/net.h"
#include "common/log.h"

static void on_attached(void *data, const struct net_attachment *attachment, const struct error *err)
{
	struct task *t = data;

	if (t->frozen || t->op != OP_NETWORK) /* given up: the answer to net_detach() follows */
		return;
	task_step_end(t, START_NETWORK, err);
	t->attached = err == NULL;
	t->network = attachment;
	if (err)
		task_set_failed(t, err);
	task_advance(t);
}

void task_attach(struct task *t)
{
	struct error err = ERROR_INIT;

	if (!t->env->net_ready(t->env->data, &err)) {
		task_set_failed(t, &err);
		return;
	}
	task_step_begin(t, OP_NETWORK);
	if (task_move_wants(t) == MOVE_HOLD) /* at its old node it still has the addresses */
		net_attach_shut(t->env->net, t->obj, on_attached, t);
	else
		net_attach(t->env->net, t->obj, on_attached, t);
}

static void on_detached(void *data, const struct error *err)
{
	struct task *t = data;

	if (t->frozen)
		return;
	if (err)
		log_error("network_detach", kv_str("task", t->obj->id), kv_err(err));
	t->op = OP_NONE;
	task_advance(t);
}

void task_detach(struct task *t)
{
	t->op = OP_DETACH;
	t->attached = false;
	t->network = NULL;
	net_detach(t->env->net, t->obj->id, on_detached, t);
}

static void on_drained(void *data, const struct error *err)
{
	struct task *t = data;

	if (t->frozen)
		return;
	if (err)
		log_warn("network_drain", kv_str("task", t->obj->id), kv_err(err));
	t->draining = false;
	t->drained = true;
	task_advance(t);
}

/* From here on its end is what was asked for, however it comes about. */
void task_drain(struct task *t)
{
	t->draining = true;
	if (!t->unhealthy)
		t->stop_asked = true;
	task_unwatch_serving(t);
	net_drain(t->env->net, t->obj->id,
		  task_drain_ns(t->obj->spec->container->stop_grace_period, t->unhealthy != NULL), on_drained, t);
}
