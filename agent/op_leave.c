#include "op.h"

#include "common/clock.h"
#include "common/log.h"
#include "session.h"
#include "worker.h"

/* On top of the longest grace period: a container that ends by no signal does not keep its node in the cluster. */
#define LEAVE_SLACK_NS (20 * NS_PER_SEC)
/* Our etcd ends as soon as the others have removed it: the rest of the change is written through theirs. */
#define DEMOTE_TRIES 10
#define DEMOTE_RETRY_NS (300 * NS_PER_MS)

/* ---------------------------------------------------------------- leave */

static void on_tasks_gone(void *data)
{
	struct op *op = data;

	uv_timer_stop(&op->timer);
	op_go_inactive(op);
}

static void nothing(void *data)
{
	(void)data;
}

static void on_leave_timeout(uv_timer_t *timer)
{
	struct op *op = timer->data;
	struct agent *a = op->agent;

	log_error("leave_with_containers", kv_u64("running", worker_running(a->worker)),
		  kv_str("hint", "they are removed as soon as they end"));
	worker_stop_all(a->worker, nothing, NULL);
	op_go_inactive(op);
}

static void stop_tasks(struct op *op)
{
	struct agent *a = op->agent;

	if (a->closing) {
		error_set(&op->err, ERR_CANCELLED, "the agent ends: this node is still part of its cluster");
		op_finish(op);
		return;
	}
	/* The node is seen to go first, so that its tasks start elsewhere meanwhile, and none here. */
	if (a->session)
		session_leave(a->session);
	op_start_timer(op, worker_grace_ns(a->worker) + LEAVE_SLACK_NS, on_leave_timeout);
	worker_stop_all(a->worker, on_tasks_gone, op);
}

static void demote_self(struct op *op);

static void on_demote_retry(uv_timer_t *timer)
{
	demote_self(timer->data);
}

static void on_demoted(void *data, const ProtobufCMessage *reply, const struct error *err)
{
	struct op *op = data;
	bool final = !err || err->code == ERR_PRECONDITION || err->code == ERR_NOT_FOUND || err->code == ERR_DENIED;

	if (!final && !op->agent->closing && op->demotions < DEMOTE_TRIES) {
		op_start_timer(op, DEMOTE_RETRY_NS, on_demote_retry);
		return;
	}
	if (err)
		log_warn("leave_without_demotion", kv_err(err));
	stop_tasks(op);
}

static void on_own_node(void *data, const ProtobufCMessage *reply, const struct error *err)
{
	struct op *op = data;
	const Skein__NodeResponse *response = (const Skein__NodeResponse *)reply;
	Skein__UpdateNodeRequest request = SKEIN__UPDATE_NODE_REQUEST__INIT;

	if (err || !response->node || !response->node->spec) {
		on_demoted(op, NULL, err);
		return;
	}
	pb_free(op->node_spec);
	op->node_spec = pb_dup(response->node->spec);
	op->node_spec->role = NODE_ROLE_WORKER;
	request.ref = response->node->id;
	request.spec = op->node_spec;
	op_call_manager(op, "UpdateNode", &request.base, on_demoted);
}

static void demote_self(struct op *op)
{
	Skein__RefRequest self = SKEIN__REF_REQUEST__INIT;

	op->demotions++;
	self.ref = identity_get(op->agent->identity)->node_id;
	op_call_manager(op, "GetNode", &self.base, on_own_node);
}

void op_leave(void *data, bool force, local_leave_cb cb, void *cb_data)
{
	struct agent *a = data;
	struct error err = ERROR_INIT;
	bool is_manager = active_is(a) && identity_get(a->identity)->role == PKI_MANAGER;
	struct op *op;

	if (!active_is(a) && !error_is_set(&a->unusable))
		error_set(&err, ERR_PRECONDITION, "this node is not part of a cluster");
	else if (!active_is(a) && !force)
		error_set(&err, ERR_PRECONDITION, "this node cannot take part in its cluster (%.300s): use --force to forget it",
			  a->unusable.msg);
	else if (is_manager && !a->removed && !force)
		error_set(&err, ERR_PRECONDITION,
			  "this node is a manager: demote it first (clusterctl node demote), or use --force, which may cost the cluster its quorum");
	if (error_is_set(&err) || !op_begin(a, OP_LEAVE, cb_data, &op, &err)) {
		op_refuse(a, OP_LEAVE, cb_data, &err)->cb.leave = cb;
		return;
	}
	op->cb.leave = cb;
	uv_timer_stop(&a->begin_timer);
	if (!is_manager) {
		stop_tasks(op);
		return;
	}
	/* With others left, etcd must not count on this member any more; as the last one this is refused. */
	a->wants_renewal = true; /* the role that comes back is of no interest */
	demote_self(op);
}
