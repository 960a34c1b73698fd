/* The frame of an operation: begin, finish, refuse, undo; and what init and join share. */
#include "op.h"

#include "agent/net/net.h"
#include "common/file.h"
#include "common/hostport.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/str.h"
#include "manager_child.h"

#include <stdio.h>
#include <string.h>

#define CALL_TIMEOUT_MS 10000

/* ---------------------------------------------------------------- frame */

bool op_begin(struct agent *a, enum op_kind kind, void *cb_data, struct op **ret, struct error *err)
{
	if (a->op || a->closing) {
		error_set(err, ERR_UNAVAILABLE, "another init, join or leave is under way on this node");
		return false;
	}
	a->op = xnew(struct op);
	a->op->agent = a;
	a->op->kind = kind;
	a->op->cb_data = cb_data;
	closer_hold(&a->closer);
	*ret = a->op;
	return true;
}

static void on_timer_closed(uv_handle_t *handle)
{
	struct op *op = handle->data;

	closer_drop(&op->agent->closer);
	free(op);
}

void op_start_timer(struct op *op, int64_t delay_ns, uv_timer_cb cb)
{
	if (!op->timer_open)
		uv_timer_init(op->agent->loop, &op->timer);
	op->timer.data = op;
	op->timer_open = true;
	loop_timer_in(&op->timer, delay_ns, cb);
}

/* Tell the caller and forget the operation. */
void op_finish(struct op *op)
{
	struct agent *a = op->agent;
	const struct error *err = error_is_set(&op->err) ? &op->err : NULL;
	Skein__JoinResponse joined = SKEIN__JOIN_RESPONSE__INIT;

	if (err)
		log_error("operation_failed", kv_i64("kind", op->kind), kv_err(err));
	a->op = NULL;
	if (op->channel)
		rpc_channel_close(op->channel);
	if (op->kind == OP_INIT || op->kind == OP_FORCE_NEW) {
		op->cb.init(op->cb_data, err ? NULL : op->response, err);
	} else if (op->kind == OP_LEAVE) {
		op->cb.leave(op->cb_data, err);
	} else if (op->auto_join) {
		a->auto_join_refusals = err && err->code == ERR_DENIED ? a->auto_join_refusals + 1 : 0;
		if (err)
			ops_auto_join(a);
	} else {
		if (!err) {
			joined.node_id = identity_get(a->identity)->node_id;
			joined.role = (Skein__NodeRole)identity_get(a->identity)->role;
		}
		op->cb.join(op->cb_data, err ? NULL : &joined, err);
	}
	pb_free(op->init);
	pb_free(op->join);
	pb_free(op->node_spec);
	pb_free(op->response);
	if (op->timer_open) {
		uv_close((uv_handle_t *)&op->timer, on_timer_closed);
	} else {
		closer_drop(&a->closer);
		free(op);
	}
	if (a->ops_closed)
		a->ops_closed(a);
}

static void on_refusal_closed(uv_handle_t *handle)
{
	struct refusal *r = handle->data;

	closer_drop(&r->agent->closer);
	free(r);
}

static void on_refusal(uv_timer_t *timer)
{
	struct refusal *r = timer->data;

	if (r->kind == OP_LEAVE)
		r->cb.leave(r->cb_data, &r->err);
	else if (r->kind == OP_JOIN)
		r->cb.join(r->cb_data, NULL, &r->err);
	else
		r->cb.init(r->cb_data, NULL, &r->err);
	uv_close((uv_handle_t *)timer, on_refusal_closed);
}

struct refusal *op_refuse(struct agent *a, enum op_kind kind, void *cb_data, const struct error *err)
{
	struct refusal *r = xnew(struct refusal);

	*r = (struct refusal){.agent = a, .kind = kind, .cb_data = cb_data, .err = *err};
	closer_hold(&a->closer);
	uv_timer_init(a->loop, &r->timer);
	r->timer.data = r;
	uv_timer_start(&r->timer, on_refusal, 0, 0);
	return r;
}

/* ---------------------------------------------------------------- undoing */

static void wipe_state(void *data)
{
	struct op *op = data;
	const char *names[] = {"identity", "etcd", "manager"};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		_cleanup_free_ char *path = xasprintf("%s/%s", op->agent->config->state_dir, names[i]);
		struct error err = ERROR_INIT;

		if (file_remove_tree(path, &err) < 0)
			log_error("wipe", kv_err(&err));
	}
}

static void on_wiped(void *data)
{
	op_finish(data);
}

void op_wipe(void *data)
{
	struct op *op = data;

	op->agent->unusable = ERROR_INIT;
	if (op->agent->manager_leaving) {
		op->awaits_wipe = true;
		return;
	}
	loop_work(op->agent->loop, wipe_state, on_wiped, op);
}

void ops_manager_gone(struct agent *a)
{
	if (a->op && a->op->awaits_wipe) {
		a->op->awaits_wipe = false;
		op_wipe(a->op);
	}
}

static void on_net_left(void *data, const struct error *err)
{
	if (err)
		log_error("leave_networks", kv_err(err));
	op_wipe(data);
}

/* The session is over: nothing tells of networks any more. */
static void leave_networks(void *data)
{
	struct op *op = data;

	net_leave(op->agent->net, on_net_left, op);
}

static void on_manager_stopped(void *data)
{
	struct op *op = data;

	active_end(op->agent, leave_networks, op);
}

/* Back to being in no cluster: the manager, the session, the networks, then the files. */
void op_go_inactive(struct op *op)
{
	op->agent->manager_wanted = false;
	manager_child_stop(op->agent->manager, on_manager_stopped, op);
}

/* ---------------------------------------------------------------- addresses */

/* "10.0.0.1", "10.0.0.1:2377", "eth0", "" -> a literal address of this host. */
int op_choose_address(struct agent *a, const char *want, char ret[static ADDR_TEXT_MAX], struct error *err)
{
	struct hostport hp = {0};
	const char *from = str_empty(want) ? a->config->advertise_address : want;

	if (!str_empty(from)) {
		if (hostport_parse(from, (uint16_t)a->config->manager_port, &hp, err) < 0)
			return error_wrap(err, "advertise address");
		from = hp.host;
	}
	return addr_choose(from, ret, err);
}

char *op_listen_of(struct agent *a, const char *want)
{
	struct hostport hp = {.port = (uint16_t)a->config->manager_port};
	char text[HOSTPORT_MAX];

	if (!str_empty(want))
		return xstrdup(want);
	strncpy(hp.host, a->config->listen, sizeof(hp.host) - 1);
	return xstrdup(hostport_format(&hp, text));
}

int op_check_outside(struct agent *a, struct error *err)
{
	if (active_is(a))
		return error_set(err, ERR_PRECONDITION,
				 "this node is already part of a cluster: leave it first with \"clusterctl leave\"");
	if (error_is_set(&a->unusable))
		return error_set(err, ERR_PRECONDITION,
				 "this node is already part of a cluster, but cannot take part (%.300s): "
				 "\"clusterctl leave --force\" forgets it", a->unusable.msg);
	return 0;
}

/* ---------------------------------------------------------------- init */

void op_call_manager(struct op *op, const char *method, const ProtobufCMessage *request, rpc_reply_cb cb)
{
	_cleanup_free_ char *target = xasprintf("unix:%s", op->agent->manager_socket);
	struct rpc_channel_options options = {.target = target};

	if (!op->channel)
		op->channel = rpc_channel_new(op->agent->rpc, &options);
	rpc_unary(op->channel, &skein__control__descriptor, method, request, CALL_TIMEOUT_MS, cb, op);
}

void op_start_manager(struct op *op, void (*ready)(void *data, const struct error *err))
{
	op->awaits_manager = true;
	active_start_manager(op->agent, ready, op);
}
