/*
 * serve_fixture - one manager's services (control, dispatcher) over real TLS and a real etcd, with
 * agents that the test plays. All on one loop; wait_for() runs it until a condition holds.
 */
#pragma once
#include "support/serve_agent.h"
#include "support/serve_ops.h"

static inline void serve_open_store(struct serve *s)
{
	static unsigned n;
	struct etcd_options options = {
		.endpoints = (const char *const[]){serve_etcd.endpoint, NULL}, .timeout_ms = 1000};
	snprintf(s->prefix, sizeof(s->prefix), "/t%u", n++);
	s->etcd = etcd_new(&s->loop, &options, NULL);
	assert_non_null(s->etcd);
	s->store = store_new(&s->loop, s->etcd, s->prefix);
	s->flag = false;
	store_start(s->store, serve_on_started, &s->flag);
	wait_for(s, s->flag);
}

static inline void serve_open_services(struct serve *s)
{
	static const struct control_ops functions = {.constraint_check = op_constraint,
						     .explain = op_explain,
						     .global_wanted = op_global_wanted,
						     .verdicts = op_verdicts,
						     .rebalance = op_rebalance,
						     .token_standing = op_token_standing,
						     .token_create = op_token_create,
						     .token_revoke = op_token_revoke,
						     .ui_token_create = op_ui_token_create,
						     .ui_url = op_ui_url,
						     .remove_member = op_remove_member,
						     .leader_id = op_leader,
						     .manager_alive = op_manager_alive,
						     .etcd_info = op_etcd_info,
						     .complaint = op_complaint,
						     .resolve_image = op_resolve};
	struct control_ops ops = functions;
	struct dispatcher_options d = {.loop = &s->loop,
				       .store = s->store,
				       .node_id = "m1",
				       .beat_min_ns = 100 * NS_PER_MS,
				       .silence_min_ns = 600 * NS_PER_MS,
				       .busy_ns = 2500 * NS_PER_MS,
				       .grace_ns = 1500 * NS_PER_MS};
	struct control_options c = {.loop = &s->loop,
				    .store = s->store,
				    .rpc = s->rpc,
				    .creds = s->creds,
				    .node_id = "m1",
				    .ops = &ops};
	struct history_options h = {
		.store = s->store, .etcd = s->etcd, .prefix = s->prefix, .leader_key = "/leader"};
	struct usage_options u = {.loop = &s->loop, .store = s->store, .rpc = s->rpc, .creds = s->creds};
	struct error err = ERROR_INIT;

	ops.data = s;
	c.history = s->history = history_new(&h);
	c.usage = s->usage = usage_new(&u);
	s->control = control_new(&c);
	s->dispatcher = dispatcher_new(&d);
	s->tls = rpc_server_new(s->rpc, s->creds);
	s->local = rpc_server_new(s->rpc, NULL);
	control_add_to(s->control, s->tls);
	control_add_to(s->control, s->local);
	dispatcher_add_to(s->dispatcher, s->tls);
	if (rpc_server_listen(s->tls, "127.0.0.1:0", 0, &s->port, &err) < 0 ||
	    rpc_server_listen(s->local, s->socket, 0600, NULL, &err) < 0)
		fail_msg("%s", err.msg);
	snprintf(s->target, sizeof(s->target), "127.0.0.1:%d", s->port);
	rpc_server_start(s->tls);
	rpc_server_start(s->local);
	dispatcher_start(s->dispatcher);
}

static inline int serve_setup(void **state)
{
	struct serve *s = xnew(struct serve);
	struct pki_cert cert;
	pb_cluster *cluster = pb_new(&skein__cluster__descriptor);

	*state = s;
	strcpy(s->dir, "/tmp/skein-serve.XXXXXX");
	assert_non_null(mkdtemp(s->dir));
	snprintf(s->socket, sizeof(s->socket), "unix:%s/sock", s->dir);
	uv_loop_init(&s->loop);
	uv_timer_init(&s->loop, &s->guard);
	pki_init(&s->pki, "test ca");
	cert = pki_node(&s->pki, "m1", "manager", 3600);
	s->creds = rpc_creds_new(s->pki.root_pem, cert.cert_pem, cert.key_pem);
	pki_cert_fini(&cert);
	s->rpc = rpc_new(&s->loop);
	serve_open_store(s);
	pb_set_str(&cluster->id, "c1");
	pb_set_str(&cluster->root_cert_pem, "the root");
	cluster->spec = pb_new(&skein__cluster_spec__descriptor);
	put(s, KIND_CLUSTER, cluster);
	serve_open_services(s);
	return 0;
}

#define serve_close_one(s, call)                                                                   \
	do {                                                                                       \
		(s)->flag = false;                                                                 \
		call;                                                                              \
		wait_for(s, (s)->flag);                                                            \
	} while (0)

/* Port 7946 of an agent that the test plays: a node that is READY, whose Peer service is these methods. */
static inline struct rpc_server *serve_peer_open(struct serve *s, const char *id, const struct rpc_method *methods, size_t n,
						 void *data, int *ret_port)
{
	struct rpc_creds *creds = creds_of(s, id, "worker");
	struct rpc_server *server = rpc_server_new(s->rpc, creds);
	struct error err = ERROR_INIT;
	pb_node *node = new_node(id);
	int port;

	rpc_creds_unref(creds);
	rpc_server_add_service(server, &skein__peer__descriptor, methods, n, data);
	if (rpc_server_listen(server, "127.0.0.1:0", 0, &port, &err) < 0)
		fail_msg("%s", err.msg);
	rpc_server_start(server);
	node->status->state = (Skein__NodeState)NODE_READY;
	pb_set_str(&node->status->address, "127.0.0.1");
	node->peer_port = (uint32_t)port;
	put(s, KIND_NODE, node);
	if (ret_port)
		*ret_port = port;
	return server;
}

static inline void serve_peer_close(struct serve *s, struct rpc_server *server)
{
	serve_close_one(s, rpc_server_close(server, serve_on_flag, &s->flag));
}

static inline int serve_teardown(void **state)
{
	struct serve *s = *state;

	serve_close_one(s, rpc_server_close(s->tls, serve_on_flag, &s->flag));
	serve_close_one(s, rpc_server_close(s->local, serve_on_flag, &s->flag));
	serve_close_one(s, control_close(s->control, serve_on_flag, &s->flag));
	serve_close_one(s, usage_close(s->usage, serve_on_flag, &s->flag));
	history_free(s->history);
	serve_close_one(s, dispatcher_close(s->dispatcher, serve_on_flag, &s->flag));
	serve_close_one(s, rpc_close(s->rpc, serve_on_flag, &s->flag));
	serve_close_one(s, store_close(s->store, serve_on_flag, &s->flag));
	serve_close_one(s, etcd_close(s->etcd, serve_on_flag, &s->flag));
	rpc_creds_unref(s->creds);
	pki_fini(&s->pki);
	uv_close((uv_handle_t *)&s->guard, NULL);
	uv_run(&s->loop, UV_RUN_DEFAULT);
	if (uv_loop_close(&s->loop) < 0)
		return -1;
	file_remove_tree(s->dir, NULL);
	free(s);
	return 0;
}

static inline int serve_group_setup(void **state)
{
	etcd_fixture_start(&serve_etcd);
	return 0;
}

static inline int serve_group_teardown(void **state)
{
	etcd_fixture_stop(&serve_etcd);
	return 0;
}

#define SERVE_TEST(fn) cmocka_unit_test_setup_teardown(fn, serve_setup, serve_teardown)
