#include "op.h"

#include "common/clock.h"
#include "common/file.h"
#include "common/log.h"
#include "common/mem.h"
#include "bootstrap.h"
#include "session.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define JOIN_SESSION_TIMEOUT_NS (15 * NS_PER_SEC)
#define AUTO_JOIN_RETRY_NS (2 * NS_PER_SEC)
#define AUTO_JOIN_REFUSED_MAX_NS (60 * NS_PER_SEC) /* a wrong token does not get right by asking */
#define TOKEN_FILE_MAX 4096

/* ---------------------------------------------------------------- join */

static void stop_waiting(struct op *op)
{
	if (op->timer_open)
		uv_timer_stop(&op->timer);
}

static void on_join_timeout(uv_timer_t *timer)
{
	/* The identity is good: the session goes on trying by itself. */
	op_finish(timer->data);
}

static void wait_for_session(struct op *op)
{
	if (*session_manager(op->agent->session)) {
		op_finish(op);
		return;
	}
	op_start_timer(op, JOIN_SESSION_TIMEOUT_NS, on_join_timeout);
}

void ops_session_up(struct agent *a)
{
	struct op *op = a->op;

	if (op && op->kind == OP_JOIN && op->timer_open) {
		stop_waiting(op);
		op_finish(op);
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
		op_finish(op);
	} else {
		op_go_inactive(op);
	}
}

static void on_joined(void *data, const struct identity_data *identity, const struct error *err)
{
	struct op *op = data;
	struct agent *a = op->agent;

	op->bootstrap = NULL;
	if (err) {
		op->err = *err;
		op_finish(op);
		return;
	}
	if (a->closing) {
		error_set(&op->err, ERR_CANCELLED, "the agent ends: the node takes part from its next start on");
		op_finish(op);
		return;
	}
	if (active_begin(a, &op->err) < 0) {
		op_go_inactive(op);
		return;
	}
	if (identity_get(a->identity)->role != PKI_MANAGER) {
		wait_for_session(op);
		return;
	}
	if (active_write_manager_conf(a, NULL, &op->err) < 0)
		op_go_inactive(op);
	else
		op_start_manager(op, on_joined_manager_ready);
}

static void start_join(struct op *op, const char *address)
{
	struct agent *a = op->agent;
	const Skein__JoinRequest *r = op->join;
	_cleanup_free_ char *dir = xasprintf("%s/identity", a->config->state_dir);
	_cleanup_free_ char *listen = op_listen_of(a, r->listen_address);
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

void op_join(void *data, const Skein__JoinRequest *request, local_join_cb cb, void *cb_data)
{
	struct agent *a = data;
	char address[ADDR_TEXT_MAX] = "";
	struct error err = ERROR_INIT;
	struct op *op;

	if (op_check_outside(a, &err) < 0 || op_choose_address(a, request->advertise_address, address, &err) < 0 ||
	    !op_begin(a, OP_JOIN, cb_data, &op, &err)) {
		op_refuse(a, OP_JOIN, cb_data, &err)->cb.join = cb;
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
	    op_choose_address(a, NULL, address, &err) < 0 || !op_begin(a, OP_JOIN, NULL, &op, &err)) {
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
