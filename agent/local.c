#include "agent/local.h"

#include "agent/local_internal.h"
#include "common/mem.h"

#define SOCKET_MODE 0660
#define CHUNK_MAX_BYTES ((256u << 10) + 1024)

/* ---- cluster methods */

/* An operation of the agent outlives a caller who hangs up. */
struct operation {
	struct local *local;
	struct rpc_call *call; /* NULL: the caller has gone */
};

static struct operation *operation_new(struct local *l, struct rpc_call *call)
{
	struct operation *op = xnew(struct operation);

	*op = (struct operation){.local = l, .call = call};
	rpc_call_set_data(call, op);
	closer_hold(&l->closer);
	return op;
}

static void operation_end(struct operation *op, const ProtobufCMessage *response, const struct error *err)
{
	struct local *l = op->local;

	if (op->call) {
		rpc_call_set_data(op->call, NULL);
		if (err)
			rpc_call_fail(op->call, err);
		else
			rpc_call_reply(op->call, response);
	}
	free(op);
	closer_drop(&l->closer);
}

static void on_operation_done(struct rpc_call *call, void *data)
{
	struct operation *op = rpc_call_data(call);

	if (op)
		op->call = NULL;
}

static void on_get_info(struct rpc_call *call, const ProtobufCMessage *msg, void *data)
{
	struct local *l = data;
	_cleanup_pb_ Skein__LocalInfo *info = pb_new(&skein__local_info__descriptor);

	l->o.ops->get_info(l->o.data, info);
	rpc_call_reply(call, &info->base);
}

static void on_init_done(void *data, const Skein__InitResponse *response, const struct error *err)
{
	operation_end(data, response ? &response->base : NULL, err);
}

static void on_init(struct rpc_call *call, const ProtobufCMessage *msg, void *data)
{
	struct local *l = data;

	l->o.ops->init(l->o.data, (const Skein__InitRequest *)msg, on_init_done, operation_new(l, call));
}

static void on_join_done(void *data, const Skein__JoinResponse *response, const struct error *err)
{
	operation_end(data, response ? &response->base : NULL, err);
}

static void on_join(struct rpc_call *call, const ProtobufCMessage *msg, void *data)
{
	struct local *l = data;

	l->o.ops->join(l->o.data, (const Skein__JoinRequest *)msg, on_join_done, operation_new(l, call));
}

static void on_leave_done(void *data, const struct error *err)
{
	Skein__Empty empty = SKEIN__EMPTY__INIT;

	operation_end(data, &empty.base, err);
}

static void on_leave(struct rpc_call *call, const ProtobufCMessage *msg, void *data)
{
	struct local *l = data;

	l->o.ops->leave(l->o.data, ((const Skein__LeaveRequest *)msg)->force, on_leave_done,
			operation_new(l, call));
}

/* ---- the server */

static const struct rpc_method methods[] = {
	{"GetInfo", RPC_ROLE_LOCAL, .on_message = on_get_info},
	{"InitCluster", RPC_ROLE_LOCAL, .on_message = on_init, .on_done = on_operation_done},
	{"Join", RPC_ROLE_LOCAL, .on_message = on_join, .on_done = on_operation_done},
	{"Leave", RPC_ROLE_LOCAL, .on_message = on_leave, .on_done = on_operation_done},
	{"PullImage", RPC_ROLE_LOCAL, .on_message = local_pull_image, .on_done = local_pull_done},
	{"LoadImage", RPC_ROLE_LOCAL, CHUNK_MAX_BYTES, local_load_image, local_load_half_close,
	 .on_done = local_load_done},
	{"ListImages", RPC_ROLE_LOCAL, .on_message = local_list_images},
	{"RemoveImage", RPC_ROLE_LOCAL, .on_message = local_remove_image},
};

struct local *local_new(const struct local_options *options)
{
	struct local *l = xnew(struct local);

	l->o = *options;
	l->tmp_dir = xstrdup(options->tmp_dir);
	closer_init(&l->closer);
	return l;
}

int local_listen(struct local *l, const char *path, struct error *err)
{
	_cleanup_free_ char *address = xasprintf("unix:%s", path);

	l->server = rpc_server_new(l->o.rpc, NULL);
	rpc_server_add_service(l->server, &skein__local__descriptor, methods, ARRAY_SIZE(methods), l);
	if (rpc_server_listen(l->server, address, SOCKET_MODE, NULL, err) < 0) {
		rpc_server_close(TAKE_PTR(l->server), NULL, NULL);
		return -1;
	}
	rpc_server_start(l->server);
	return 0;
}

struct closing {
	struct local *l;
	void (*closed)(void *data);
	void *data;
};

static void on_closed(void *data)
{
	struct closing c = *(struct closing *)data;

	free(data);
	free(c.l->tmp_dir);
	free(c.l);
	if (c.closed)
		c.closed(c.data);
}

static void on_server_closed(void *data)
{
	struct local *l = data;

	closer_drop(&l->closer);
}

void local_close(struct local *l, void (*closed)(void *data), void *data)
{
	struct closing *c = xnew(struct closing);

	*c = (struct closing){l, closed, data};
	if (!closer_begin(&l->closer, on_closed, c)) {
		free(c);
		return;
	}
	if (l->server) {
		closer_hold(&l->closer);
		rpc_server_close(TAKE_PTR(l->server), on_server_closed, l);
	}
	closer_end(&l->closer);
}
