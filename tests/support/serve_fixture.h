/*
 * serve_fixture - one manager's services (control, dispatcher) over real TLS and a real etcd, with
 * agents that the test plays. All on one loop; wait_for() runs it until a condition holds.
 */
#pragma once
#include "common/clock.h"
#include "common/error.h"
#include "common/mem.h"
#include "common/str.h"
#include "manager/control/control.h"
#include "manager/dispatcher/dispatcher.h"
#include "manager/history/history.h"
#include "manager/store/etcd.h"
#include "manager/usage/usage.h"
#include "manager/store/store.h"
#include "proto/pb.h"
#include "rpc/rpc.h"
#include "support/etcd_fixture.h"
#include "support/pki.h"

#include <inttypes.h>

#define SERVE_WAIT_MS 30000

struct serve {
	uv_loop_t loop;
	uv_timer_t guard;
	struct etcd *etcd;
	char prefix[32];
	struct history *history;
	struct usage *usage;
	struct store *store;
	struct rpc *rpc;
	struct pki pki;
	struct rpc_creds *creds;
	struct rpc_server *tls, *local;
	struct control *control;
	struct dispatcher *dispatcher;
	char target[64], socket[64], dir[40];
	int port;
	bool flag;

	/* what the operations answer */
	const char *resolved_digest; /* NULL: no registry */
	unsigned resolve_calls, remove_calls;
	const char *remove_error;
	const char *dead_manager;
	char removed[64];
};

static struct etcd_fixture serve_etcd;

static inline void serve_on_guard(uv_timer_t *timer)
{
	fail_msg("nothing happened for %d ms", SERVE_WAIT_MS);
}

#define wait_for(s, condition)                                                                     \
	do {                                                                                       \
		uv_update_time(&(s)->loop);                                                        \
		uv_timer_start(&(s)->guard, serve_on_guard, SERVE_WAIT_MS, 0);                     \
		while (!(condition))                                                               \
			uv_run(&(s)->loop, UV_RUN_ONCE);                                           \
		uv_timer_stop(&(s)->guard);                                                        \
	} while (0)

static inline void serve_on_flag(void *data)
{
	*(bool *)data = true;
}

static inline void serve_on_started(void *data, const struct error *err)
{
	assert_null(err);
	*(bool *)data = true;
}

/* Let time pass on the loop, to see that something does not happen. */
static inline void serve_on_pass(uv_timer_t *timer)
{
	*(bool *)timer->data = true;
}

static inline void pass_ms(struct serve *s, uint64_t ms)
{
	uv_timer_t timer;

	s->flag = false;
	uv_timer_init(&s->loop, &timer);
	timer.data = &s->flag;
	uv_update_time(&s->loop);
	uv_timer_start(&timer, serve_on_pass, ms, 0);
	wait_for(s, s->flag);
	uv_close((uv_handle_t *)&timer, NULL);
	uv_run(&s->loop, UV_RUN_NOWAIT);
}

/* ---------------------------------------------------------------- operations of the siblings */

static inline int op_constraint(void *data, const char *expr, struct error *err)
{
	return strstr(expr, "==")
		       ? 0
		       : error_set(err, ERR_INVALID, "constraint \"%s\": expected ==", expr);
}

static inline Skein__ExplainServiceResponse *op_explain(void *data, struct view *v,
							const pb_service *service, int64_t now)
{
	Skein__ExplainServiceResponse *r = pb_new(&skein__explain_service_response__descriptor);

	r->service = pb_dup(service);
	pb_set_str(&r->summary, "explained");
	return r;
}

static inline uint64_t op_global_wanted(void *data, struct view *v, const pb_service *service)
{
	return view_count(v, KIND_NODE);
}

/* The object is what is tested here, not the secret. */
static inline int op_token_standing(void *data, struct txn *t, struct view *v, int role,
				    bool rotate, int64_t now, char **ret_text, struct error *err)
{
	const pb_token *has = view_token(v, pb_role_name(role));

	if (!has || rotate) {
		pb_token *token = pb_new(&skein__join_token__descriptor);

		pb_set_str(&token->id, pb_role_name(role));
		token->role = (Skein__NodeRole)role;
		pb_set_str(&token->secret, has ? "second" : "first");
		if (has)
			token->meta = pb_dup(has->meta);
		txn_put(t, KIND_TOKEN, token);
		has = view_token(v, pb_role_name(role));
	}
	*ret_text = xstrdup(has->secret);
	return 0;
}

static inline int op_token_create(void *data, struct txn *t, struct view *v,
				  const Skein__CreateTokenRequest *request, int64_t now,
				  char **ret_id, char **ret_text, struct error *err)
{
	pb_token *token = pb_new(&skein__join_token__descriptor);

	pb_set_str(&token->id, "0123456789");
	token->max_uses = request->max_uses;
	txn_put(t, KIND_TOKEN, token);
	*ret_id = xstrdup("0123456789");
	*ret_text = xstrdup("shown once");
	return 0;
}

static inline int op_token_revoke(void *data, struct txn *t, struct view *v, const char *id,
				  struct error *err)
{
	txn_del(t, KIND_TOKEN, id);
	return 0;
}

static inline int op_ui_token_create(void *data, struct txn *t, struct view *v, int64_t ttl_ns,
				     int64_t now, char **ret_id, char **ret_text, struct error *err)
{
	pb_ui_token *token;

	if (ttl_ns <= 0)
		return error_set(err, ERR_INVALID, "ttl %" PRId64 ": must be more than 0", ttl_ns);
	token = pb_new(&skein__ui_token__descriptor);
	pb_set_str(&token->id, "9876543210");
	token->expires_at = now + ttl_ns;
	token->secret_sha256.data = xmemdup("digest", 6);
	token->secret_sha256.len = 6;
	txn_put(t, KIND_UI_TOKEN, token);
	*ret_id = xstrdup("9876543210");
	*ret_text = xstrdup("shown once");
	return 0;
}

static inline char *op_ui_url(void *data, struct error *err)
{
	return xstrdup("https://10.0.0.1:9641/ui/");
}

/* Answers as the real ones do: never inside the call. */
struct later {
	uv_timer_t timer;
	void (*run)(struct later *l);
	struct serve *s;
	control_done_cb done;
	control_digest_cb digest;
	void *data;
};

static inline void later_closed(uv_handle_t *handle)
{
	free(handle->data);
}

static inline void later_fire(uv_timer_t *timer)
{
	struct later *l = timer->data;

	l->run(l);
	uv_close((uv_handle_t *)timer, later_closed);
}

static inline struct later *later_new(struct serve *s, void (*run)(struct later *l), void *data)
{
	struct later *l = xnew(struct later);

	l->run = run;
	l->s = s;
	l->data = data;
	uv_timer_init(&s->loop, &l->timer);
	l->timer.data = l;
	uv_timer_start(&l->timer, later_fire, 0, 0);
	return l;
}

static inline void run_removed(struct later *l)
{
	struct error err = ERROR_INIT;

	if (l->s->remove_error)
		error_set(&err, ERR_PRECONDITION, "%s", l->s->remove_error);
	l->done(l->data, l->s->remove_error ? &err : NULL);
}

static inline void op_remove_member(void *data, const char *node_id, control_done_cb cb,
				    void *cb_data)
{
	struct serve *s = data;

	s->remove_calls++;
	snprintf(s->removed, sizeof(s->removed), "%s", node_id);
	later_new(s, run_removed, cb_data)->done = cb;
}

static inline void run_resolved(struct later *l)
{
	struct error err = ERROR_INIT;

	error_set(&err, ERR_UNAVAILABLE, "no registry here");
	l->digest(l->data, l->s->resolved_digest, l->s->resolved_digest ? NULL : &err);
}

static inline void op_resolve(void *data, const char *ref, const char *auth, uint64_t timeout_ms,
			      control_digest_cb cb, void *cb_data)
{
	struct serve *s = data;

	s->resolve_calls++;
	later_new(s, run_resolved, cb_data)->digest = cb;
}

static inline const char *op_leader(void *data)
{
	return "m1";
}

static inline bool op_manager_alive(void *data, const char *node_id)
{
	struct serve *s = data;

	return !s->dead_manager || strcmp(s->dead_manager, node_id) != 0;
}

static inline const char *op_complaint(void *data)
{
	return "";
}

static inline void op_etcd_info(void *data, bool *ret_embedded, struct strv *ret_endpoints)
{
	*ret_embedded = true;
	strv_add(ret_endpoints, serve_etcd.endpoint);
}

/* ---------------------------------------------------------------- the store */

struct put {
	bool done;
	struct error err;
};

static inline void on_put(void *data, const struct error *err)
{
	struct put *p = data;

	p->done = true;
	p->err = err ? *err : ERROR_INIT;
}

/* Write an object (taken over) as somebody else in the cluster would; waits for it. */
static inline void put(struct serve *s, enum kind kind, void *obj)
{
	struct txn *t = txn_begin(store_view(s->store));
	struct put p = {0};

	txn_put(t, kind, obj);
	store_commit(s->store, t, 0, on_put, &p);
	wait_for(s, p.done);
	if (p.err.code)
		fail_msg("put: %s", p.err.msg);
}

static inline void del(struct serve *s, enum kind kind, const char *id)
{
	struct txn *t = txn_begin(store_view(s->store));
	struct put p = {0};

	txn_del(t, kind, id);
	store_commit(s->store, t, 0, on_put, &p);
	wait_for(s, p.done);
	assert_int_equal(p.err.code, ERR_OK);
}

static inline pb_node *new_node(const char *id)
{
	pb_node *n = pb_new(&skein__node__descriptor);

	pb_set_str(&n->id, id);
	n->spec = pb_new(&skein__node_spec__descriptor);
	n->status = pb_new(&skein__node_status__descriptor);
	return n;
}

static inline void put_node(struct serve *s, const char *id)
{
	put(s, KIND_NODE, new_node(id));
}

static inline int node_state(struct serve *s, const char *id)
{
	const pb_node *n = view_node(store_view(s->store), id);

	return n && n->status ? (int)n->status->state : -1;
}

/* ---------------------------------------------------------------- clients */

static inline struct rpc_creds *creds_of(struct serve *s, const char *node_id, const char *role)
{
	struct pki_cert cert = pki_node(&s->pki, node_id, role, 3600);
	struct rpc_creds *creds = rpc_creds_new(s->pki.root_pem, cert.cert_pem, cert.key_pem);

	pki_cert_fini(&cert);
	return creds;
}

/* role NULL: without a certificate. node_id NULL: through the unix socket. */
static inline struct rpc_channel *channel_as(struct serve *s, const char *node_id, const char *role)
{
	struct rpc_creds *creds = !node_id ? NULL
				  : role   ? creds_of(s, node_id, role)
					   : rpc_creds_new(s->pki.root_pem, NULL, NULL);
	struct rpc_channel *channel = rpc_channel_new(
		s->rpc, &(struct rpc_channel_options){.target = node_id ? s->target : s->socket,
						      .creds = creds});

	if (creds)
		rpc_creds_unref(creds);
	return channel;
}

struct answer {
	bool done;
	struct error err;
	void *msg; /* heap */
};

static inline void on_answer(void *data, const ProtobufCMessage *reply, const struct error *err)
{
	struct answer *a = data;

	a->done = true;
	a->err = err ? *err : ERROR_INIT;
	a->msg = pb_dup(reply);
}

/* Call and wait; the answer's message is the caller's, NULL with a->err. */
static inline void *ask_on(struct serve *s, struct rpc_channel *channel, const char *method,
			   const void *request, struct error *ret_err)
{
	struct answer a = {0};

	rpc_unary(channel, &skein__control__descriptor, method, request, 15000, on_answer, &a);
	wait_for(s, a.done);
	if (ret_err)
		*ret_err = a.err;
	return a.msg;
}

static inline void *ask(struct serve *s, const char *method, const void *request,
			struct error *ret_err)
{
	struct rpc_channel *channel = channel_as(s, NULL, NULL);
	void *msg = ask_on(s, channel, method, request, ret_err);

	rpc_channel_close(channel);
	return msg;
}

/* ---------------------------------------------------------------- agents */

struct agent {
	struct serve *s;
	char id[64];
	struct rpc_channel *channel;
	struct rpc_call *call;
	bool done, registered;
	struct error err;
	int64_t beat_period;
	unsigned beat_acks, node_updates, sets, updates, removals;
	uint64_t sequence, acked, net_sequence;
	char order[64]; /* of the messages: N networks, A assignments */
	pb_net_state *net; /* the last one */
	pb_task *last_task;
	Skein__NodeUpdate *node;
	uv_timer_t beat;
	bool beating, broken_sequence;
};

static inline void agent_notes(struct agent *a, char what)
{
	size_t len = strlen(a->order);

	if (len + 1 < sizeof(a->order))
		a->order[len] = what;
}

static inline void agent_on_message(struct rpc_call *call, const ProtobufCMessage *raw, void *data)
{
	const Skein__DispatcherMessage *msg = (const Skein__DispatcherMessage *)raw;
	struct agent *a = data;

	switch (msg->body_case) {
	case SKEIN__DISPATCHER_MESSAGE__BODY_REGISTERED:
		a->registered = true;
		a->beat_period = msg->registered->beat_period;
		break;
	case SKEIN__DISPATCHER_MESSAGE__BODY_BEAT:
		a->beat_acks++;
		break;
	case SKEIN__DISPATCHER_MESSAGE__BODY_NODE:
		a->node_updates++;
		pb_free(a->node);
		a->node = pb_dup(msg->node);
		break;
	case SKEIN__DISPATCHER_MESSAGE__BODY_NET:
		agent_notes(a, 'N');
		if (msg->net->applies_to != a->net_sequence ||
		    msg->net->complete != (a->net_sequence == 0))
			a->broken_sequence = true;
		a->net_sequence = msg->net->results_in;
		pb_free(a->net);
		a->net = pb_dup(msg->net);
		break;
	case SKEIN__DISPATCHER_MESSAGE__BODY_ASSIGNMENTS:
		agent_notes(a, 'A');
		a->sets++;
		if (msg->assignments->applies_to != a->sequence ||
		    msg->assignments->complete != (a->sequence == 0))
			a->broken_sequence = true;
		a->sequence = msg->assignments->results_in;
		a->updates += msg->assignments->n_update;
		a->removals += msg->assignments->n_remove;
		if (msg->assignments->n_update) {
			pb_free(a->last_task);
			a->last_task = pb_dup(msg->assignments->update[0]->task);
		}
		break;
	case SKEIN__DISPATCHER_MESSAGE__BODY_STATUS_ACK:
		a->acked = msg->status_ack->sequence;
		break;
	default:
		break;
	}
}

static inline void agent_on_done(struct rpc_call *call, const struct error *err, void *data)
{
	struct agent *a = data;

	a->done = true;
	a->call = NULL;
	a->err = err ? *err : ERROR_INIT;
}

static inline int agent_send(struct agent *a, Skein__AgentMessage *msg)
{
	return a->call ? rpc_call_send(a->call, &msg->base, NULL) : -1;
}

static inline void agent_beat(struct agent *a)
{
	Skein__AgentMessage msg = SKEIN__AGENT_MESSAGE__INIT;
	Skein__Beat beat = SKEIN__BEAT__INIT;

	msg.body_case = SKEIN__AGENT_MESSAGE__BODY_BEAT;
	msg.beat = &beat;
	agent_send(a, &msg);
}

static inline void agent_on_beat(uv_timer_t *timer)
{
	struct agent *a = timer->data;

	if (a->beating && a->registered)
		agent_beat(a);
}

static inline void agent_describe(struct agent *a, const pb_node_description *description)
{
	Skein__AgentMessage msg = SKEIN__AGENT_MESSAGE__INIT;

	msg.body_case = SKEIN__AGENT_MESSAGE__BODY_DESCRIPTION;
	msg.description = (pb_node_description *)description;
	agent_send(a, &msg);
}

static inline void agent_report(struct agent *a, uint64_t sequence, const char *task_id, int state)
{
	Skein__AgentMessage msg = SKEIN__AGENT_MESSAGE__INIT;
	Skein__StatusReports reports = SKEIN__STATUS_REPORTS__INIT;
	Skein__TaskStatusReport report = SKEIN__TASK_STATUS_REPORT__INIT, *list[] = {&report};
	pb_task_status status = SKEIN__TASK_STATUS__INIT;

	status.state = (Skein__TaskState)state;
	report.task_id = (char *)task_id;
	report.status = &status;
	reports.sequence = sequence;
	reports.reports = list;
	reports.n_reports = 1;
	msg.body_case = SKEIN__AGENT_MESSAGE__BODY_STATUSES;
	msg.statuses = &reports;
	agent_send(a, &msg);
}

static inline void agent_register(struct agent *a, const pb_node_description *description)
{
	Skein__AgentMessage msg = SKEIN__AGENT_MESSAGE__INIT;
	Skein__Register reg = SKEIN__REGISTER__INIT;

	reg.description = (pb_node_description *)description;
	reg.address = "127.0.0.1";
	reg.peer_port = 7946;
	msg.body_case = SKEIN__AGENT_MESSAGE__BODY_REGISTER;
	msg.register_ = &reg;
	agent_send(a, &msg);
}

/* Open a stream, without registering. */
static inline struct agent *agent_open(struct serve *s, const char *id, const char *role)
{
	static const struct rpc_handlers handlers = {.on_message = agent_on_message,
						     .on_done = agent_on_done};
	struct agent *a = xnew(struct agent);

	a->s = s;
	snprintf(a->id, sizeof(a->id), "%s", id);
	a->channel = channel_as(s, id, role);
	a->call =
		rpc_stream(a->channel, &skein__dispatcher__descriptor, "Session", 0, &handlers, a);
	uv_timer_init(&s->loop, &a->beat);
	a->beat.data = a;
	a->beating = true;
	uv_timer_start(&a->beat, agent_on_beat, 40, 40);
	return a;
}

/* Open, register, and wait for the complete set. */
static inline struct agent *agent_start(struct serve *s, const char *id)
{
	pb_node_description description = SKEIN__NODE_DESCRIPTION__INIT;
	struct agent *a = agent_open(s, id, "worker");

	description.hostname = (char *)id;
	agent_register(a, &description);
	wait_for(s, a->sets || a->done);
	if (a->done)
		fail_msg("session of %s: %s", id, a->err.msg);
	return a;
}

static inline void agent_stop(struct agent *a)
{
	struct serve *s = a->s;

	if (a->call)
		rpc_call_cancel(a->call);
	wait_for(s, a->done);
	rpc_channel_close(a->channel);
	uv_close((uv_handle_t *)&a->beat, NULL);
	uv_run(&s->loop, UV_RUN_NOWAIT);
	pb_free(a->last_task);
	pb_free(a->node);
	pb_free(a->net);
	free(a);
}

/* ---------------------------------------------------------------- life */

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
