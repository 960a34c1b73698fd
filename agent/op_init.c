#include "op.h"

#include "common/hostport.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/proc.h"
#include "common/str.h"
#include "manager_child.h"
#include "session.h"
#include "worker.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define BOOTSTRAP_TIMEOUT_MS 30000

static void ask_token(struct op *op, Skein__NodeRole role, rpc_reply_cb cb)
{
	Skein__TokenRequest request = SKEIN__TOKEN_REQUEST__INIT;

	request.role = role;
	op_call_manager(op, "GetToken", &request.base, cb);
}

static void on_manager_token(void *data, const ProtobufCMessage *reply, const struct error *err)
{
	struct op *op = data;

	if (err) {
		op->err = *err;
		op_go_inactive(op);
		return;
	}
	pb_set_str(&op->response->manager_token, ((const Skein__TokenResponse *)reply)->token);
	op_finish(op);
}

static void on_worker_token(void *data, const ProtobufCMessage *reply, const struct error *err)
{
	struct op *op = data;

	if (err) {
		op->err = *err;
		op_go_inactive(op);
		return;
	}
	pb_set_str(&op->response->worker_token, ((const Skein__TokenResponse *)reply)->token);
	ask_token(op, NODE_ROLE_MANAGER, on_manager_token);
}

static void on_first_manager_ready(void *data, const struct error *err)
{
	struct op *op = data;
	struct agent *a = op->agent;

	op->awaits_manager = false;
	if (err) {
		op->err = *err;
		op_go_inactive(op);
		return;
	}
	session_kick(a->session);
	op->response = pb_new(&skein__init_response__descriptor);
	pb_set_str(&op->response->node_id, identity_get(a->identity)->node_id);
	pb_set_str(&op->response->cluster_id, identity_get(a->identity)->cluster_id);
	pb_set_str(&op->response->address, a->advertise);
	ask_token(op, NODE_ROLE_WORKER, on_worker_token);
}

static void on_bootstrapped(void *data, struct proc *proc, const struct proc_exit *end)
{
	struct op *op = data;
	struct agent *a = op->agent;

	if (end->exit_code != 0) {
		const char *text = end->errout_len > 0 ? end->errout : "no message";

		error_set(&op->err, ERR_INTERNAL, "make the cluster's identity: exit code %d: %.500s", end->exit_code, text);
		op_wipe(op);
		return;
	}
	if (active_begin(a, &op->err) < 0 || active_write_manager_conf(a, op->init, &op->err) < 0) {
		op_go_inactive(op);
		return;
	}
	op_start_manager(op, on_first_manager_ready);
}

static int spawn_bootstrap(struct op *op, const char *address)
{
	struct agent *a = op->agent;
	const Skein__InitRequest *r = op->init;
	static const char *const availabilities[] = {"active", "pause", "drain"};
	_cleanup_strv_ struct strv argv = {0};
	_cleanup_free_ char *listen = op_listen_of(a, r->listen_address);
	struct hostport hp = {0}, bound = {.port = (uint16_t)a->config->manager_port};
	char advertise[HOSTPORT_MAX];
	struct proc_options options = {
		.timeout_ms = BOOTSTRAP_TIMEOUT_MS,
		.max_capture = 4096,
		.on_exit = on_bootstrapped,
		.data = op,
	};

	if (hostport_parse(listen, bound.port, &bound, &op->err) < 0)
		return error_wrap(&op->err, "listen address");
	if ((unsigned)r->availability >= ARRAY_SIZE(availabilities))
		return error_set(&op->err, ERR_INVALID, "availability %d: accepted are active, pause, drain", (int)r->availability);
	strncpy(hp.host, address, sizeof(hp.host) - 1);
	hp.port = bound.port;
	strv_add(&argv, a->manager_binary);
	strv_add(&argv, "--bootstrap");
	strv_addf(&argv, "--state-dir=%s", a->config->state_dir);
	strv_addf(&argv, "--listen=%s", listen);
	strv_addf(&argv, "--advertise-address=%s", hostport_format(&hp, advertise));
	strv_addf(&argv, "--availability=%s", availabilities[r->availability]);
	strv_addf(&argv, "--peer-port=%" PRIu64, a->config->peer_port);
	if (r->cert_expiry > 0)
		strv_addf(&argv, "--cert-expiry=%" PRId64 "ns", r->cert_expiry);
	if (r->heartbeat_period > 0)
		strv_addf(&argv, "--heartbeat-period=%" PRId64 "ns", r->heartbeat_period);
	if (r->task_history_limit > 0)
		strv_addf(&argv, "--task-history-limit=%" PRIu32, r->task_history_limit);
	for (size_t i = 0; i < r->n_address_pools; i++)
		strv_addf(&argv, "--address-pool=%s", r->address_pools[i]);
	if (r->address_pool_prefix > 0)
		strv_addf(&argv, "--address-pool-prefix=%" PRIu32, r->address_pool_prefix);
	options.argv = (const char *const *)argv.v;
	return proc_spawn(a->loop, &options, &op->err) ? 0 : -1;
}

static void on_forced_ready(void *data, const struct error *err)
{
	struct op *op = data;
	struct error conf_err = ERROR_INIT;

	op->awaits_manager = false;
	/* Only this one start was to be forced. */
	op->init->force_new_cluster = false;
	if (active_write_manager_conf(op->agent, op->init, &conf_err) < 0)
		log_error("manager_conf", kv_err(&conf_err));
	if (err) {
		op->err = *err;
		op_finish(op);
		return;
	}
	on_first_manager_ready(op, NULL);
}

static void on_stopped_to_force(void *data)
{
	struct op *op = data;

	if (active_write_manager_conf(op->agent, op->init, &op->err) < 0) {
		active_start_manager(op->agent, NULL, NULL); /* as it was */
		op_finish(op);
		return;
	}
	op_start_manager(op, on_forced_ready);
}

static bool has_etcd_data(const struct agent *a)
{
	_cleanup_free_ char *path = xasprintf("%s/etcd/member", a->config->state_dir);

	return access(path, F_OK) == 0;
}

static int check_init(struct agent *a, const Skein__InitRequest *request, struct error *err)
{
	bool is_manager = active_is(a) && identity_get(a->identity)->role == PKI_MANAGER;

	if (request->force_new_cluster && !is_manager)
		return error_set(err, ERR_PRECONDITION, "--force-new-cluster needs a manager's data: this node is not a manager");
	if (!request->force_new_cluster && op_check_outside(a, err) < 0)
		return -1;
	if (request->n_etcd_endpoints > 0 && request->force_new_cluster)
		return error_set(err, ERR_INVALID, "--force-new-cluster is for the embedded etcd");
	if (request->force_new_cluster && !has_etcd_data(a))
		return error_set(err, ERR_PRECONDITION,
				 "--force-new-cluster needs an embedded etcd's data: the etcd of this manager is external");
	return 0;
}

void op_init(void *data, const Skein__InitRequest *request, local_init_cb cb, void *cb_data)
{
	struct agent *a = data;
	char address[ADDR_TEXT_MAX] = "";
	struct error err = ERROR_INIT;
	enum op_kind kind = request->force_new_cluster ? OP_FORCE_NEW : OP_INIT;
	struct op *op;

	if (check_init(a, request, &err) < 0 ||
	    (kind == OP_INIT && op_choose_address(a, request->advertise_address, address, &err) < 0) ||
	    !op_begin(a, kind, cb_data, &op, &err)) {
		op_refuse(a, OP_INIT, cb_data, &err)->cb.init = cb;
		return;
	}
	op->cb.init = cb;
	op->init = pb_dup(request);
	if (kind == OP_FORCE_NEW)
		manager_child_stop(a->manager, on_stopped_to_force, op);
	else if (spawn_bootstrap(op, address) < 0)
		op_wipe(op);
}
