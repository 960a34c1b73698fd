#include "manager_internal.h"

#include "common/log.h"
#include "common/mem.h"
#include "common/str.h"
#include "decider.h"
#include "etcd_child.h"
#include "guard.h"
#include "leader.h"
#include "manager/ca/ca.h"
#include "manager/dispatcher/dispatcher.h"
#include "manager/history/history.h"
#include "manager/store/etcd.h"
#include "manager/store/store.h"
#include "manager/usage/usage.h"
#include "manager/web/web.h"
#include "membership.h"
#include "monitor.h"
#include "presence.h"
#include "rpc/rpc.h"

#include <string.h>

/* ---------------------------------------------------------------- leading */

static void on_elected(void *data, uint64_t create_revision)
{
	struct manager *m = data;

	log_info("elected", kv_u64("revision", create_revision));
	store_set_fence(m->store, MANAGER_LEADER_KEY, create_revision);
	decider_start(m->decider);
	dispatcher_set_leader(m->dispatcher, true);
}

static void on_deposed(void *data, const char *why)
{
	struct manager *m = data;

	log_warn("deposed", kv_str("why", why));
	store_set_fence(m->store, NULL, 0);
	decider_stop(m->decider);
	dispatcher_set_leader(m->dispatcher, false);
}

static void on_leader(void *data, const char *node_id, uint64_t create_revision)
{
	struct manager *m = data;

	log_info("leader", kv_str("node", node_id));
	history_leader(m->history, node_id, create_revision);
	if (m->monitor)
		counters_leader(monitor_counters(m->monitor), node_id);
	if (m->web)
		web_leader_changed(m->web);
}

static void on_manager_alive(void *data, const char *node_id, bool alive)
{
	struct manager *m = data;

	if (m->closing) /* our streams end because we do */
		return;
	dispatcher_manager_alive(m->dispatcher, node_id, alive);
	bring_up_set_endpoints(m);
	if (!alive)
		leader_challenge(m->leader, node_id);
}

static const char *leader_id(void *data)
{
	struct manager *m = data;

	return m->leader ? leader_present(m->leader) : "";
}

/* ---------------------------------------------------------------- serving */

static int guard(struct rpc_peer *peer, void *data, struct error *err)
{
	struct manager *m = data;

	return guard_check(store_view(m->store), m->identity.cluster_id, peer, err);
}

static void on_events(void *data, const struct store_event *events, size_t n)
{
	struct manager *m = data;
	bool managers_changed = false;

	for (size_t i = 0; i < n; i++) {
		const pb_node *old = events[i].old, *now = events[i].now;

		if (events[i].kind == KIND_NODE)
			managers_changed |= (old && old->manager) || (now && now->manager);
	}
	if (managers_changed)
		bring_up_set_endpoints(m);
	if (m->web)
		web_events(m->web, events, n);
}

static void open_services(struct manager *m)
{
	struct control_ops ops = wiring_control_ops(m);
	struct history_options history_options = {
		.store = m->store, .etcd = m->etcd, .prefix = MANAGER_KEY_PREFIX, .leader_key = MANAGER_LEADER_KEY,
	};
	struct usage_options usage_options = {.loop = m->loop, .store = m->store, .rpc = m->rpc, .creds = m->creds};
	struct control_options control_options = {
		.loop = m->loop, .store = m->store, .rpc = m->rpc, .creds = m->creds, .node_id = m->identity.node_id, .ops = &ops,
	};
	struct dispatcher_options dispatcher_options = {.loop = m->loop, .store = m->store, .node_id = m->identity.node_id};
	struct ca_options ca_options = {.loop = m->loop, .store = m->store};
	struct presence_options presence_options = {
		.loop = m->loop, .rpc = m->rpc, .creds = m->creds, .store = m->store, .node_id = m->identity.node_id,
		.on_alive = on_manager_alive, .add_member = wiring_add_member, .leader_id = leader_id, .data = m,
	};

	m->decider = decider_new(m->loop, m->store);
	control_options.history = m->history = history_new(&history_options);
	control_options.usage = m->usage = usage_new(&usage_options);
	m->control = control_new(&control_options);
	m->dispatcher = dispatcher_new(&dispatcher_options);
	m->ca = ca_new(&ca_options);
	m->presence = presence_new(&presence_options);
	m->web = m->monitor ? wiring_web(m) : NULL;
}

static int open_listeners(struct manager *m, struct error *err)
{
	_cleanup_free_ char *socket_address = xasprintf("unix:%s", m->socket_path);

	m->tls_server = rpc_server_new(m->rpc, m->creds);
	rpc_server_set_guard(m->tls_server, guard, m);
	control_add_to(m->control, m->tls_server);
	dispatcher_add_to(m->dispatcher, m->tls_server);
	ca_add_to(m->ca, m->tls_server);
	presence_add_to(m->presence, m->tls_server);
	if (rpc_server_listen(m->tls_server, m->config->listen, 0, NULL, err) < 0)
		return -1;
	m->unix_server = rpc_server_new(m->rpc, NULL);
	control_add_to(m->control, m->unix_server);
	if (rpc_server_listen(m->unix_server, socket_address, 0660, NULL, err) < 0)
		return -1;
	monitor_services(m->monitor);
	rpc_server_start(m->tls_server);
	rpc_server_start(m->unix_server);
	return 0;
}

void manager_serve(struct manager *m)
{
	struct error err = ERROR_INIT;
	struct leader_options leader_options = {
		.loop = m->loop, .etcd = m->etcd, .key = MANAGER_LEADER_KEY, .node_id = m->identity.node_id,
		.ttl_s = (m->config->leader_ttl_ns + 999999999) / 1000000000, .on_elected = on_elected, .on_deposed = on_deposed,
		.on_leader = on_leader, .data = m,
	};

	m->serving = true;
	open_services(m);
	if (open_listeners(m, &err) < 0) {
		manager_tell_ready(m, &err);
		return;
	}
	m->sub = store_subscribe(m->store, on_events, m);
	bring_up_set_endpoints(m);
	dispatcher_start(m->dispatcher);
	m->leader = leader_start(&leader_options);
	presence_start(m->presence);
	log_info("serving", kv_str("listen", m->config->listen), kv_str("socket", m->socket_path));
	manager_tell_ready(m, NULL);
}

void manager_tell_ready(struct manager *m, const struct error *err)
{
	void (*ready)(void *, const struct error *) = m->ready;

	m->ready = NULL;
	if (ready)
		ready(m->ready_data, err);
	else if (err)
		log_error("start", kv_err(err));
}

/* ---------------------------------------------------------------- life */

static int load_identity(struct manager *m, struct identity_data *ret, struct error *err)
{
	if (identity_dir_load(m->identity_dir, ret, err) < 0)
		return error_wrap(err, "load the identity");
	if (ret->role != PKI_MANAGER) {
		identity_data_fini(ret);
		return error_set(err, ERR_PRECONDITION, "the certificate in %s is not a manager's", m->identity_dir);
	}
	return 0;
}

static void free_manager(struct manager *m)
{
	rpc_creds_unref(m->creds);
	identity_data_fini(&m->identity);
	external_etcd_fini(&m->external);
	free(m->identity_dir);
	free(m->ca_file);
	free(m->cert_file);
	free(m->key_file);
	free(m->socket_path);
	free(m);
}

struct manager *manager_new(uv_loop_t *loop, const struct manager_config *config,
			    void (*ready)(void *data, const struct error *err), void *data, struct error *err)
{
	struct manager *m = xnew(struct manager);

	m->loop = loop;
	m->config = config;
	m->ready = ready;
	m->ready_data = data;
	m->identity_dir = xasprintf("%s/identity", config->state_dir);
	m->ca_file = xasprintf("%s/root.crt", m->identity_dir);
	m->cert_file = xasprintf("%s/node.crt", m->identity_dir);
	m->key_file = xasprintf("%s/node.key", m->identity_dir);
	m->socket_path = xasprintf("%s/manager.sock", config->run_dir);
	if (load_identity(m, &m->identity, err) < 0) {
		free_manager(m);
		return NULL;
	}
	closer_init(&m->closer);
	uv_timer_init(loop, &m->retry);
	m->retry.data = m;
	m->creds = rpc_creds_new(m->identity.root_pem, m->identity.cert_pem, m->identity.key_pem);
	m->rpc = rpc_new(loop);
	/* A cluster does not stand still for want of a port for its metrics; info tells. */
	m->monitor = monitor_open(m, &m->monitor_error);
	if (error_is_set(&m->monitor_error))
		log_error("http", kv_err(&m->monitor_error));
	bring_up(m);
	return m;
}

void manager_reload(struct manager *m)
{
	struct identity_data fresh = {0};
	struct error err = ERROR_INIT;

	if (load_identity(m, &fresh, &err) < 0) {
		log_error("reload", kv_err(&err)); /* the old certificate serves on */
		return;
	}
	rpc_creds_update(m->creds, fresh.root_pem, fresh.cert_pem, fresh.key_pem);
	identity_data_fini(&m->identity);
	m->identity = fresh;
	log_info("reloaded", kv_i64("cert_expires_at", fresh.not_after_ns));
}

/* ---------------------------------------------------------------- close: listeners, services, store, etcd, rpc */

static void on_closed(void *data)
{
	struct manager *m = data;
	void (*closed)(void *) = m->closed;
	void *closed_data = m->closed_data;

	free_manager(m);
	closed(closed_data);
}

static void on_rpc_closed(void *data)
{
	struct manager *m = data;

	closer_begin(&m->closer, on_closed, m);
	closer_add(&m->closer, (uv_handle_t *)&m->retry);
	closer_end(&m->closer);
}

/* Parts that close side by side; `then` when all have. */
struct stage {
	struct manager *m;
	struct closer closer;
	void (*then)(void *data);
};

static struct stage *stage_begin(struct manager *m, void (*then)(void *data))
{
	struct stage *s = xnew(struct stage);

	s->m = m;
	s->then = then;
	closer_init(&s->closer);
	return s;
}

static void on_part_closed(void *data)
{
	struct stage *s = data;

	closer_drop(&s->closer);
}

static void on_stage_closed(void *data)
{
	struct stage *s = data;
	struct stage copy = *s;

	free(s);
	copy.then(copy.m);
}

static void close_etcd_child(void *data)
{
	struct manager *m = data;
	struct stage *s = stage_begin(m, on_rpc_closed);

	closer_begin(&s->closer, on_stage_closed, s);
	if (m->etcd_child) {
		closer_hold(&s->closer);
		etcd_child_close(m->etcd_child, on_part_closed, s);
	}
	closer_hold(&s->closer);
	rpc_close(m->rpc, on_part_closed, s);
	closer_end(&s->closer);
}

static void close_etcd(void *data)
{
	struct manager *m = data;

	if (m->etcd)
		etcd_close(m->etcd, close_etcd_child, m);
	else
		close_etcd_child(m);
}

static void close_store(void *data)
{
	struct manager *m = data;

	history_free(TAKE_PTR(m->history));
	if (m->store)
		store_close(m->store, close_etcd, m);
	else
		close_etcd(m);
}

static void close_services(void *data)
{
	struct manager *m = data;
	struct stage *s = stage_begin(m, close_store);

	closer_begin(&s->closer, on_stage_closed, s);
	store_unsubscribe(m->sub);
	m->sub = NULL;
	if (m->serving) {
		for (int i = 0; i < 7; i++)
			closer_hold(&s->closer);
		web_close(TAKE_PTR(m->web), on_part_closed, s);
		usage_close(m->usage, on_part_closed, s);
		control_close(m->control, on_part_closed, s);
		dispatcher_close(m->dispatcher, on_part_closed, s);
		ca_close(m->ca, on_part_closed, s);
		presence_close(m->presence, on_part_closed, s);
		decider_close(m->decider, on_part_closed, s);
	}
	if (m->membership) {
		closer_hold(&s->closer);
		membership_close(m->membership, on_part_closed, s);
		m->membership = NULL;
	}
	if (m->leader) {
		closer_hold(&s->closer);
		leader_close(m->leader, on_part_closed, s);
		m->leader = NULL;
	}
	closer_end(&s->closer);
}

static void close_listeners(void *data)
{
	struct manager *m = data;
	struct stage *s = stage_begin(m, close_services);
	struct rpc_server *servers[] = {m->tls_server, m->unix_server};

	closer_begin(&s->closer, on_stage_closed, s);
	closer_hold(&s->closer);
	monitor_close(TAKE_PTR(m->monitor), on_part_closed, s);
	for (size_t i = 0; i < ARRAY_SIZE(servers); i++) {
		if (servers[i]) {
			closer_hold(&s->closer);
			rpc_server_close(servers[i], on_part_closed, s);
		}
	}
	m->tls_server = m->unix_server = NULL;
	closer_end(&s->closer);
}

void manager_close(struct manager *m, void (*closed)(void *data), void *data)
{
	if (m->closing)
		return;
	m->closing = true;
	m->closed = closed;
	m->closed_data = data;
	uv_timer_stop(&m->retry);
	bring_up_cancel(m);
	wiring_cancel(m);
	if (m->leader)
		leader_resign(m->leader, close_listeners, m);
	else
		close_listeners(m);
}
