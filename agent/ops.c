/* What the local socket asks about the cluster: info, init, join, leave. One operation at a time. */
#include "op.h"

#include "bootstrap.h"
#include "manager_child.h"
#include "session.h"
#include "worker.h"

/* ---------------------------------------------------------------- info */

static void op_get_info(void *data, Skein__LocalInfo *info)
{
	struct agent *a = data;
	const struct identity_data *id;

	info->description = agent_describe(a);
	info->tasks_running = worker_running(a->worker);
	pb_set_str(&info->state, a->op ? "joining" : "inactive");
	if (a->exec_probed && !a->exec_works)
		pb_set_str(&info->error, a->exec_error.msg);
	if (!active_is(a)) {
		if (error_is_set(&a->unusable)) {
			pb_set_str(&info->state, "error");
			pb_set_str(&info->error, a->unusable.msg);
		}
		return;
	}
	id = identity_get(a->identity);
	pb_set_str(&info->state, a->removed ? "error" : "active");
	if (a->removed)
		pb_set_str(&info->error, "this node was removed from the cluster: run \"clusterctl leave\"");
	pb_set_str(&info->node_id, id->node_id);
	pb_set_str(&info->cluster_id, id->cluster_id);
	info->role = (Skein__NodeRole)id->role;
	pb_set_str(&info->address, id->address);
	for (size_t i = 0; i < id->managers.n; i++)
		pb_strs_add(&info->n_managers, &info->managers, id->managers.v[i]);
	pb_set_str(&info->session, session_manager(a->session));
	if (a->manager_wanted && manager_child_error(a->manager)[0])
		pb_set_str(&info->error, manager_child_error(a->manager));
	info->cert_expires_at = id->not_after_ns;
	if (a->manager_wanted)
		pb_set_str(&info->manager_socket, a->manager_socket);
}

static void nothing(void *data)
{
	(void)data;
}

/* ---------------------------------------------------------------- the agent ends */

/* Cut short what only waits; the rest has short deadlines of its own. */
static void cut_short(struct op *op)
{
	struct agent *a = op->agent;

	if (op->bootstrap) {
		bootstrap_cancel(op->bootstrap);
	} else if (op->awaits_manager) {
		manager_child_give_up(a->manager);
	} else if (op->kind == OP_JOIN && op->timer_open) {
		op_finish(op);
	} else if (op->kind == OP_LEAVE && op->timer_open && uv_is_active((uv_handle_t *)&op->timer)) {
		worker_stop_all(a->worker, nothing, NULL);
		error_set(&op->err, ERR_CANCELLED, "the agent ends: this node is still part of its cluster");
		op_finish(op);
	}
}

void ops_close(struct agent *a, void (*closed)(void *data))
{
	if (!a->op) {
		closed(a);
		return;
	}
	a->ops_closed = closed;
	cut_short(a->op);
}

const struct local_ops agent_ops = {
	.get_info = op_get_info,
	.init = op_init,
	.join = op_join,
	.leave = op_leave,
};
