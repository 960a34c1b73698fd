#include "internal.h"

#include "common/mem.h"
#include "manager/store/store.h"
#include "rpc/rpc.h"

#include <assert.h>

#define SMALL_REQUEST_BYTES (64u << 10)
#define SPEC_REQUEST_BYTES                                                                         \
	(512u << 10) /* twice the largest spec: its own check has the better message */
#define MAY_CONTROL (RPC_ROLE_MANAGER | RPC_ROLE_LOCAL)

struct view *control_view(const struct control *c)
{
	return store_view(c->store);
}

static void on_req_done(struct rpc_call *call, void *data)
{
	req_gone(call);
}

#define UNARY(method, step, max_bytes)                                                             \
	static void on_##step(struct rpc_call *call, const ProtobufCMessage *msg, void *data)      \
	{                                                                                          \
		req_begin(data, call, msg, step);                                                  \
	}
#define ROW(method, step, max_bytes)                                                               \
	{.name = method,                                                                           \
	 .allow = MAY_CONTROL,                                                                     \
	 .max_request_bytes = max_bytes,                                                           \
	 .on_message = on_##step,                                                                  \
	 .on_done = on_req_done},
#define UNARY_METHODS(X)                                                                           \
	X("GetInfo", step_get_info, SMALL_REQUEST_BYTES)                                           \
	X("UpdateCluster", step_update_cluster, SPEC_REQUEST_BYTES)                                \
	X("GetToken", step_get_token, SMALL_REQUEST_BYTES)                                         \
	X("CreateToken", step_create_token, SMALL_REQUEST_BYTES)                                   \
	X("ListTokens", step_list_tokens, SMALL_REQUEST_BYTES)                                     \
	X("RevokeToken", step_revoke_token, SMALL_REQUEST_BYTES)                                   \
	X("CreateUiToken", step_create_ui_token, SMALL_REQUEST_BYTES)                              \
	X("ListUiTokens", step_list_ui_tokens, SMALL_REQUEST_BYTES)                                \
	X("RevokeUiToken", step_revoke_ui_token, SMALL_REQUEST_BYTES)                              \
	X("ListNodes", step_list_nodes, SMALL_REQUEST_BYTES)                                       \
	X("GetNode", step_get_node, SMALL_REQUEST_BYTES)                                           \
	X("UpdateNode", step_update_node, SPEC_REQUEST_BYTES)                                      \
	X("RemoveNode", step_remove_node, SMALL_REQUEST_BYTES)                                     \
	X("CreateService", step_create_service, SPEC_REQUEST_BYTES)                                \
	X("GetService", step_get_service, SMALL_REQUEST_BYTES)                                     \
	X("UpdateService", step_update_service, SPEC_REQUEST_BYTES)                                \
	X("RemoveService", step_remove_service, SMALL_REQUEST_BYTES)                               \
	X("ListServices", step_list_services, SMALL_REQUEST_BYTES)                                 \
	X("ExplainService", step_explain_service, SMALL_REQUEST_BYTES)                             \
	X("CreateNetwork", step_create_network, SPEC_REQUEST_BYTES)                                \
	X("ListNetworks", step_list_networks, SMALL_REQUEST_BYTES)                                 \
	X("GetNetwork", step_get_network, SMALL_REQUEST_BYTES)                                     \
	X("RemoveNetwork", step_remove_network, SMALL_REQUEST_BYTES)                               \
	X("ListTasks", step_list_tasks, SMALL_REQUEST_BYTES)                                       \
	X("GetTask", step_get_task, SMALL_REQUEST_BYTES)                                           \
	X("MigrateTask", step_migrate_task, SMALL_REQUEST_BYTES)                                   \
	X("CancelMigration", step_cancel_migration, SMALL_REQUEST_BYTES)                           \
	X("ListMigrations", step_list_migrations, SMALL_REQUEST_BYTES)                             \
	X("Rebalance", step_rebalance, SMALL_REQUEST_BYTES)

UNARY_METHODS(UNARY)

/* The macro's rows end with a comma. */
/* clang-format off */
static const struct rpc_method methods[] = {
	UNARY_METHODS(ROW)
	{.name = "WatchService",
	 .allow = MAY_CONTROL,
	 .max_request_bytes = SMALL_REQUEST_BYTES,
	 .on_message = watch_on_message,
	 .on_drain = watch_on_drain,
	 .on_done = watch_on_done},
	{.name = "WatchMigration",
	 .allow = MAY_CONTROL,
	 .max_request_bytes = SMALL_REQUEST_BYTES,
	 .on_message = migration_watch_on_message,
	 .on_drain = migration_watch_on_drain,
	 .on_done = migration_watch_on_done},
	{.name = "Logs",
	 .allow = MAY_CONTROL,
	 .max_request_bytes = SMALL_REQUEST_BYTES,
	 .on_message = logs_on_message,
	 .on_drain = logs_on_drain,
	 .on_done = logs_on_done},
	{.name = "Events",
	 .allow = MAY_CONTROL,
	 .max_request_bytes = SMALL_REQUEST_BYTES,
	 .on_message = events_on_message,
	 .on_drain = events_on_drain,
	 .on_done = events_on_done},
	{.name = "Usage",
	 .allow = MAY_CONTROL,
	 .max_request_bytes = SMALL_REQUEST_BYTES,
	 .on_message = usage_on_message,
	 .on_done = usage_on_done},
	{.name = "CheckNetworks",
	 .allow = MAY_CONTROL,
	 .max_request_bytes = SMALL_REQUEST_BYTES,
	 .on_message = net_check_on_message,
	 .on_drain = net_check_on_drain,
	 .on_done = net_check_on_done},
};
/* clang-format on */

static void on_events(void *data, const struct store_event *events, size_t n)
{
	struct control *c = data;

	for (size_t i = 0; i < n; i++) {
		watch_on_event(c, &events[i]);
		logs_on_event(c, &events[i]);
		migration_watch_on_event(c, &events[i]);
	}
}

struct control *control_new(const struct control_options *options)
{
	const struct control_ops *ops = options->ops;
	struct control *c = xnew(struct control);

	assert(ops->constraint_check && ops->explain && ops->global_wanted && ops->verdicts &&
	       ops->rebalance && ops->token_standing &&
	       ops->token_create && ops->token_revoke && ops->remove_member && ops->leader_id &&
	       ops->etcd_info && ops->complaint && ops->resolve_image && ops->ui_token_create && ops->ui_url);
	c->loop = options->loop;
	c->store = options->store;
	c->rpc = options->rpc;
	c->creds = options->creds ? rpc_creds_ref(options->creds) : NULL;
	c->node_id = xstrdup(options->node_id);
	c->ops = *ops;
	LIST_INIT(&c->watches);
	LIST_INIT(&c->logs);
	LIST_INIT(&c->net_checks);
	LIST_INIT(&c->events);
	LIST_INIT(&c->usages);
	LIST_INIT(&c->migration_watches);
	c->history = options->history;
	c->usage = options->usage;
	closer_init(&c->closer);
	watch_open(c);
	events_open(c);
	c->sub = store_subscribe(c->store, on_events, c);
	return c;
}

void control_add_to(struct control *c, struct rpc_server *server)
{
	rpc_server_add_service(server, &skein__control__descriptor, methods, ARRAY_SIZE(methods),
			       c);
}

struct closing {
	struct control *c;
	void (*closed)(void *data);
	void *data;
};

static void on_closed(void *data)
{
	struct closing closing = *(struct closing *)data;

	free(data);
	if (closing.c->creds)
		rpc_creds_unref(closing.c->creds);
	free(closing.c->node_id);
	free(closing.c);
	if (closing.closed)
		closing.closed(closing.data);
}

void control_close(struct control *c, void (*closed)(void *data), void *data)
{
	struct closing *closing = xnew(struct closing);

	*closing = (struct closing){c, closed, data};
	if (!closer_begin(&c->closer, on_closed, closing)) {
		free(closing);
		return;
	}
	store_unsubscribe(c->sub);
	events_close(c);
	closer_add(&c->closer, (uv_handle_t *)&c->turn);
	closer_end(&c->closer);
}
