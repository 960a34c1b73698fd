/* internal - what the files of control share. Not for others. */
#pragma once
#include "control.h"
#include "req.h"

#include "common/loop.h"
#include "common/str.h"

#include <sys/queue.h>
#include <uthash.h>

struct rpc_call;
struct rpc_method;
struct store_event;
struct store_sub;
struct watch;
struct logs;
struct net_check;
struct events_call;
struct history_sub;
struct usage_call;
struct migration_watch;

struct control {
	uv_loop_t *loop;
	struct store *store;
	struct rpc *rpc;
	struct rpc_creds *creds;
	char *node_id;
	struct control_ops ops;
	struct closer closer;
	struct store_sub *sub;
	uv_idle_t turn; /* sends to dirty watches at the end of a turn of the loop */
	LIST_HEAD(, watch) watches;
	size_t n_watches;
	LIST_HEAD(, logs) logs;
	size_t n_logs;
	LIST_HEAD(, net_check) net_checks;
	size_t n_net_checks;
	struct history *history;
	struct history_sub *history_sub;
	LIST_HEAD(, events_call) events;
	size_t n_events;
	struct usage *usage;
	LIST_HEAD(, usage_call) usages;
	size_t n_usages;
	LIST_HEAD(, migration_watch) migration_watches;
	size_t n_migration_watches;
};

struct view *control_view(const struct control *c);

/* ---- steps of the unary methods: called with a checked request; answer now or later */
void step_get_info(struct req *r);
void step_update_cluster(struct req *r);
void step_get_token(struct req *r);
void step_create_token(struct req *r);
void step_list_tokens(struct req *r);
void step_revoke_token(struct req *r);
void step_create_ui_token(struct req *r);
void step_list_ui_tokens(struct req *r);
void step_revoke_ui_token(struct req *r);
void step_list_nodes(struct req *r);
void step_get_node(struct req *r);
void step_update_node(struct req *r);
void step_remove_node(struct req *r);
void step_create_service(struct req *r);
void step_get_service(struct req *r);
void step_update_service(struct req *r);
void step_remove_service(struct req *r);
void step_list_services(struct req *r);
void step_explain_service(struct req *r);
void step_create_network(struct req *r);
void step_list_networks(struct req *r);
void step_get_network(struct req *r);
void step_remove_network(struct req *r);
void step_list_tasks(struct req *r);
void step_get_task(struct req *r);
void step_migrate_task(struct req *r);
void step_cancel_migration(struct req *r);
void step_list_migrations(struct req *r);
void step_rebalance(struct req *r);

/* ---- streams */
void watch_open(struct control *c);
void watch_on_message(struct rpc_call *call, const ProtobufCMessage *msg, void *data);
void watch_on_drain(struct rpc_call *call, void *data);
void watch_on_done(struct rpc_call *call, void *data);
/* Somebody is to be sent something at the end of this turn. */
void watch_wake(struct control *c);
void watch_on_event(struct control *c, const struct store_event *e);

void logs_on_message(struct rpc_call *call, const ProtobufCMessage *msg, void *data);
void logs_on_drain(struct rpc_call *call, void *data);
void logs_on_done(struct rpc_call *call, void *data);
void logs_on_event(struct control *c, const struct store_event *e);

void events_open(struct control *c);
void events_close(struct control *c);
void events_on_message(struct rpc_call *call, const ProtobufCMessage *msg, void *data);
void events_on_drain(struct rpc_call *call, void *data);
void events_on_done(struct rpc_call *call, void *data);
/* At the end of a turn in which something was added. */
void events_turn(struct control *c);

void usage_on_message(struct rpc_call *call, const ProtobufCMessage *msg, void *data);
void usage_on_done(struct rpc_call *call, void *data);

void net_check_on_message(struct rpc_call *call, const ProtobufCMessage *msg, void *data);
void net_check_on_drain(struct rpc_call *call, void *data);
void net_check_on_done(struct rpc_call *call, void *data);

void migration_watch_on_message(struct rpc_call *call, const ProtobufCMessage *msg, void *data);
void migration_watch_on_drain(struct rpc_call *call, void *data);
void migration_watch_on_done(struct rpc_call *call, void *data);
void migration_watch_on_event(struct control *c, const struct store_event *e);
void migration_watch_turn(struct control *c);
