/* What the local socket asks about the cluster: info, init, join, leave. One operation at a time. */
#include "agent_internal.h"

#include "agent/exec/exec.h"
#include "common/clock.h"
#include "common/file.h"
#include "common/hostport.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/proc.h"
#include "common/str.h"
#include "bootstrap.h"
#include "manager_child.h"
#include "netoverlay/addr.h"
#include "rpc/rpc.h"
#include "session.h"
#include "worker.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define BOOTSTRAP_TIMEOUT_MS 30000
#define CALL_TIMEOUT_MS 10000
#define JOIN_SESSION_TIMEOUT_NS (15 * NS_PER_SEC)
#define AUTO_JOIN_RETRY_NS (2 * NS_PER_SEC)
#define AUTO_JOIN_REFUSED_MAX_NS (60 * NS_PER_SEC) /* a wrong token does not get right by asking */
/* On top of the longest grace period: a container that ends by no signal does not keep its node in the cluster. */
#define LEAVE_SLACK_NS (20 * NS_PER_SEC)
/* Our etcd ends as soon as the others have removed it: the rest of the change is written through theirs. */
#define DEMOTE_TRIES 10
#define DEMOTE_RETRY_NS (300 * NS_PER_MS)
#define TOKEN_FILE_MAX 4096

enum op_kind { OP_INIT, OP_FORCE_NEW, OP_JOIN, OP_LEAVE };

struct op {
	struct agent *agent;
	enum op_kind kind;
	Skein__InitRequest *init;
	Skein__JoinRequest *join;
	bool auto_join;
	union {
		local_init_cb init;
		local_join_cb join;
		local_leave_cb leave;
	} cb;
	void *cb_data;
	struct error err;              /* why it failed, while cleaning up */
	struct bootstrap *bootstrap;
	struct rpc_channel *channel;   /* to the manager beside us */
	pb_node_spec *node_spec;
	Skein__InitResponse *response;
	uv_timer_t timer;              /* join waits for the first session, leave for the containers */
	bool timer_open;
	bool awaits_manager;           /* to be ready */
	bool awaits_wipe;              /* of what a demoted manager left */
	unsigned demotions;            /* tried */
};

/* ---------------------------------------------------------------- frame */

static bool begin(struct agent *a, enum op_kind kind, void *cb_data, struct op **ret, struct error *err)
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

static void start_timer(struct op *op, int64_t delay_ns, uv_timer_cb cb)
{
	if (!op->timer_open)
		uv_timer_init(op->agent->loop, &op->timer);
	op->timer.data = op;
	op->timer_open = true;
	loop_timer_in(&op->timer, delay_ns, cb);
}

/* Tell the caller and forget the operation. */
static void finish(struct op *op)
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

/* An operation that failed at once: its callback may only run later. */
struct refusal {
	struct agent *agent;
	enum op_kind kind;
	void *cb_data;
	struct error err;
	union {
		local_init_cb init;
		local_join_cb join;
		local_leave_cb leave;
	} cb;
	uv_timer_t timer;
};

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

static struct refusal *refuse(struct agent *a, enum op_kind kind, void *cb_data, const struct error *err)
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
	finish(data);
}

static void on_ended(void *data)
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
		on_ended(a->op);
	}
}

static void on_manager_stopped(void *data)
{
	struct op *op = data;

	active_end(op->agent, on_ended, op);
}

/* Back to being in no cluster: the manager, the session, then the files. */
static void go_inactive(struct op *op)
{
	op->agent->manager_wanted = false;
	manager_child_stop(op->agent->manager, on_manager_stopped, op);
}

/* ---------------------------------------------------------------- addresses */

/* "10.0.0.1", "10.0.0.1:2377", "eth0", "" -> a literal address of this host. */
static int choose_address(struct agent *a, const char *want, char ret[static ADDR_TEXT_MAX], struct error *err)
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

static char *listen_of(struct agent *a, const char *want)
{
	struct hostport hp = {.port = (uint16_t)a->config->manager_port};
	char text[HOSTPORT_MAX];

	if (!str_empty(want))
		return xstrdup(want);
	strncpy(hp.host, a->config->listen, sizeof(hp.host) - 1);
	return xstrdup(hostport_format(&hp, text));
}

/* ---------------------------------------------------------------- init */

static void call_manager(struct op *op, const char *method, const ProtobufCMessage *request, rpc_reply_cb cb)
{
	_cleanup_free_ char *target = xasprintf("unix:%s", op->agent->manager_socket);
	struct rpc_channel_options options = {.target = target};

	if (!op->channel)
		op->channel = rpc_channel_new(op->agent->rpc, &options);
	rpc_unary(op->channel, &skein__control__descriptor, method, request, CALL_TIMEOUT_MS, cb, op);
}

static void ask_token(struct op *op, Skein__NodeRole role, rpc_reply_cb cb)
{
	Skein__TokenRequest request = SKEIN__TOKEN_REQUEST__INIT;

	request.role = role;
	call_manager(op, "GetToken", &request.base, cb);
}

static void on_manager_token(void *data, const ProtobufCMessage *reply, const struct error *err)
{
	struct op *op = data;

	if (err) {
		op->err = *err;
		go_inactive(op);
		return;
	}
	pb_set_str(&op->response->manager_token, ((const Skein__TokenResponse *)reply)->token);
	finish(op);
}

static void on_worker_token(void *data, const ProtobufCMessage *reply, const struct error *err)
{
	struct op *op = data;

	if (err) {
		op->err = *err;
		go_inactive(op);
		return;
	}
	pb_set_str(&op->response->worker_token, ((const Skein__TokenResponse *)reply)->token);
	ask_token(op, NODE_ROLE_MANAGER, on_manager_token);
}

static void start_manager(struct op *op, void (*ready)(void *data, const struct error *err))
{
	op->awaits_manager = true;
	active_start_manager(op->agent, ready, op);
}

static void on_first_manager_ready(void *data, const struct error *err)
{
	struct op *op = data;
	struct agent *a = op->agent;

	op->awaits_manager = false;
	if (err) {
		op->err = *err;
		go_inactive(op);
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
		on_ended(op);
		return;
	}
	if (active_begin(a, &op->err) < 0 || active_write_manager_conf(a, op->init, &op->err) < 0) {
		go_inactive(op);
		return;
	}
	start_manager(op, on_first_manager_ready);
}

static int spawn_bootstrap(struct op *op, const char *address)
{
	struct agent *a = op->agent;
	const Skein__InitRequest *r = op->init;
	static const char *const availabilities[] = {"active", "pause", "drain"};
	_cleanup_strv_ struct strv argv = {0};
	_cleanup_free_ char *listen = listen_of(a, r->listen_address);
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
		finish(op);
		return;
	}
	on_first_manager_ready(op, NULL);
}

static void on_stopped_to_force(void *data)
{
	struct op *op = data;

	if (active_write_manager_conf(op->agent, op->init, &op->err) < 0) {
		active_start_manager(op->agent, NULL, NULL); /* as it was */
		finish(op);
		return;
	}
	start_manager(op, on_forced_ready);
}

static bool has_etcd_data(const struct agent *a)
{
	_cleanup_free_ char *path = xasprintf("%s/etcd/member", a->config->state_dir);

	return access(path, F_OK) == 0;
}

static int check_outside(struct agent *a, struct error *err)
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

static int check_init(struct agent *a, const Skein__InitRequest *request, struct error *err)
{
	bool is_manager = active_is(a) && identity_get(a->identity)->role == PKI_MANAGER;

	if (request->force_new_cluster && !is_manager)
		return error_set(err, ERR_PRECONDITION, "--force-new-cluster needs a manager's data: this node is not a manager");
	if (!request->force_new_cluster && check_outside(a, err) < 0)
		return -1;
	if (request->n_etcd_endpoints > 0 && request->force_new_cluster)
		return error_set(err, ERR_INVALID, "--force-new-cluster is for the embedded etcd");
	if (request->force_new_cluster && !has_etcd_data(a))
		return error_set(err, ERR_PRECONDITION,
				 "--force-new-cluster needs an embedded etcd's data: the etcd of this manager is external");
	return 0;
}

static void op_init(void *data, const Skein__InitRequest *request, local_init_cb cb, void *cb_data)
{
	struct agent *a = data;
	char address[ADDR_TEXT_MAX] = "";
	struct error err = ERROR_INIT;
	enum op_kind kind = request->force_new_cluster ? OP_FORCE_NEW : OP_INIT;
	struct op *op;

	if (check_init(a, request, &err) < 0 ||
	    (kind == OP_INIT && choose_address(a, request->advertise_address, address, &err) < 0) ||
	    !begin(a, kind, cb_data, &op, &err)) {
		refuse(a, OP_INIT, cb_data, &err)->cb.init = cb;
		return;
	}
	op->cb.init = cb;
	op->init = pb_dup(request);
	if (kind == OP_FORCE_NEW)
		manager_child_stop(a->manager, on_stopped_to_force, op);
	else if (spawn_bootstrap(op, address) < 0)
		on_ended(op);
}

/* ---------------------------------------------------------------- join */

static void stop_waiting(struct op *op)
{
	if (op->timer_open)
		uv_timer_stop(&op->timer);
}

static void on_join_timeout(uv_timer_t *timer)
{
	/* The identity is good: the session goes on trying by itself. */
	finish(timer->data);
}

static void wait_for_session(struct op *op)
{
	if (*session_manager(op->agent->session)) {
		finish(op);
		return;
	}
	start_timer(op, JOIN_SESSION_TIMEOUT_NS, on_join_timeout);
}

void ops_session_up(struct agent *a)
{
	struct op *op = a->op;

	if (op && op->kind == OP_JOIN && op->timer_open) {
		stop_waiting(op);
		finish(op);
	}
}

static void on_joined_manager_ready(void *data, const struct error *err)
{
	struct op *op = data;

	op->awaits_manager = false;
	if (!err || (err->code == ERR_CANCELLED && !op->agent->closing)) {
		session_kick(op->agent->session);
		wait_for_session(op); /* cancelled: demoted before it was ready */
		return;
	}
	op->err = *err;
	if (op->agent->closing) {
		error_set(&op->err, ERR_CANCELLED, "the agent ends before the manager is ready: its next start goes on with it");
		finish(op);
	} else {
		go_inactive(op);
	}
}

static void on_joined(void *data, const struct identity_data *identity, const struct error *err)
{
	struct op *op = data;
	struct agent *a = op->agent;

	op->bootstrap = NULL;
	if (err) {
		op->err = *err;
		finish(op);
		return;
	}
	if (a->closing) {
		error_set(&op->err, ERR_CANCELLED, "the agent ends: the node takes part from its next start on");
		finish(op);
		return;
	}
	if (active_begin(a, &op->err) < 0) {
		go_inactive(op);
		return;
	}
	if (identity_get(a->identity)->role != PKI_MANAGER) {
		wait_for_session(op);
		return;
	}
	if (active_write_manager_conf(a, NULL, &op->err) < 0)
		go_inactive(op);
	else
		start_manager(op, on_joined_manager_ready);
}

static void start_join(struct op *op, const char *address)
{
	struct agent *a = op->agent;
	const Skein__JoinRequest *r = op->join;
	_cleanup_free_ char *dir = xasprintf("%s/identity", a->config->state_dir);
	_cleanup_free_ char *listen = listen_of(a, r->listen_address);
	char hostname[256] = "";
	struct bootstrap_options options = {
		.loop = a->loop,
		.rpc = a->rpc,
		.dir = dir,
		.token = r->token,
		.managers = r->managers,
		.n_managers = r->n_managers,
		.address = address,
		.hostname = hostname,
		.listen = listen,
		.availability = (int)r->availability,
		.peer_port = (unsigned)a->config->peer_port,
	};

	gethostname(hostname, sizeof(hostname) - 1);
	op->bootstrap = bootstrap_join(&options, on_joined, op);
}

static void op_join(void *data, const Skein__JoinRequest *request, local_join_cb cb, void *cb_data)
{
	struct agent *a = data;
	char address[ADDR_TEXT_MAX] = "";
	struct error err = ERROR_INIT;
	struct op *op;

	if (check_outside(a, &err) < 0 || choose_address(a, request->advertise_address, address, &err) < 0 ||
	    !begin(a, OP_JOIN, cb_data, &op, &err)) {
		refuse(a, OP_JOIN, cb_data, &err)->cb.join = cb;
		return;
	}
	op->cb.join = cb;
	op->join = pb_dup(request);
	start_join(op, address);
}

/* ---------------------------------------------------------------- joining at boot */

static void on_auto_join(uv_timer_t *timer)
{
	struct agent *a = timer->data;
	_cleanup_free_ char *token = NULL;
	char address[ADDR_TEXT_MAX] = "";
	struct error err = ERROR_INIT;
	struct op *op;

	if (active_is(a) || a->closing)
		return;
	if (file_read(a->config->token_file, TOKEN_FILE_MAX, &token, NULL, &err) < 0 ||
	    choose_address(a, NULL, address, &err) < 0 || !begin(a, OP_JOIN, NULL, &op, &err)) {
		log_error("join", kv_err(&err));
		ops_auto_join(a);
		return;
	}
	token[strcspn(token, " \t\r\n")] = '\0';
	op->auto_join = true;
	op->join = pb_new(&skein__join_request__descriptor);
	pb_set_str(&op->join->token, token);
	pb_strs_add(&op->join->n_managers, &op->join->managers, a->config->join);
	mem_wipe(token, strlen(token));
	start_join(op, address);
}

void ops_auto_join(struct agent *a)
{
	bool first = !uv_is_active((uv_handle_t *)&a->auto_join) && a->auto_join.data == NULL;
	int64_t delay_ns = MIN(AUTO_JOIN_RETRY_NS << MIN(a->auto_join_refusals, 10u), AUTO_JOIN_REFUSED_MAX_NS);

	if (a->closing)
		return;
	a->auto_join.data = a;
	loop_timer_in(&a->auto_join, first ? 0 : delay_ns, on_auto_join);
}

/* ---------------------------------------------------------------- leave */

static void on_tasks_gone(void *data)
{
	struct op *op = data;

	uv_timer_stop(&op->timer);
	go_inactive(op);
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
	go_inactive(op);
}

static void stop_tasks(struct op *op)
{
	struct agent *a = op->agent;

	if (a->closing) {
		error_set(&op->err, ERR_CANCELLED, "the agent ends: this node is still part of its cluster");
		finish(op);
		return;
	}
	/* The node is seen to go first, so that its tasks start elsewhere meanwhile, and none here. */
	if (a->session)
		session_leave(a->session);
	start_timer(op, worker_grace_ns(a->worker) + LEAVE_SLACK_NS, on_leave_timeout);
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
		start_timer(op, DEMOTE_RETRY_NS, on_demote_retry);
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
	call_manager(op, "UpdateNode", &request.base, on_demoted);
}

static void demote_self(struct op *op)
{
	Skein__RefRequest self = SKEIN__REF_REQUEST__INIT;

	op->demotions++;
	self.ref = identity_get(op->agent->identity)->node_id;
	call_manager(op, "GetNode", &self.base, on_own_node);
}

static void op_leave(void *data, bool force, local_leave_cb cb, void *cb_data)
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
	if (error_is_set(&err) || !begin(a, OP_LEAVE, cb_data, &op, &err)) {
		refuse(a, OP_LEAVE, cb_data, &err)->cb.leave = cb;
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
		finish(op);
	} else if (op->kind == OP_LEAVE && op->timer_open && uv_is_active((uv_handle_t *)&op->timer)) {
		worker_stop_all(a->worker, nothing, NULL);
		error_set(&op->err, ERR_CANCELLED, "the agent ends: this node is still part of its cluster");
		finish(op);
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
