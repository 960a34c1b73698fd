/* fixture - a runtime, a server with our three test services, and a client, in one process on one loop. */
#pragma once
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/error.h"
#include "common/mem.h"
#include "common/str.h"
#include "proto/pb.h"
#include "rpc/rpc.h"
#include "support/pki.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define GUARD_MS 30000
#define GUARD_TICK_MS 20

struct fixture {
	uv_loop_t loop;
	uv_timer_t guard;
	int guard_ticks;
	struct rpc *rpc;
	struct pki pki;
	struct rpc_creds *server_creds;
	struct rpc_server *server;
	char target[64];
	char dir[64];
	bool closed;

	/* what the services saw */
	int calls, messages, half_closes, drains, dones;
	struct rpc_peer peer;
	struct rpc_call *session;
	bool echo;          /* Session answers every beat */
	bool hold;          /* Session does not finish with its caller */
	bool pause;         /* Session pauses at the first message */

	/* What calls of clients came to; streams live until the runtime is closed. */
	struct outcome {
		int done;
		enum error_code code;
		char msg[ERROR_MSG_MAX];
		char text[128];
		int messages, drains;
		uint64_t last;
		bool in_order;
		struct rpc_call *call;
	} a, b;
};

/* No HB through a library without instrumentation: see also tag_came_back() in rpc/internal.h. */
const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
	return "ignore_noninstrumented_modules=1";
}

static void on_guard(uv_timer_t *timer)
{
	struct fixture *f = container_of(timer, struct fixture, guard);

	if (++f->guard_ticks < GUARD_MS / GUARD_TICK_MS)
		return;
	/* No fail_msg(): it would jump out of the loop, which cannot be used or closed any more. */
	fprintf(stderr,
		"nothing happened for %d ms: server: %d calls, %d messages, %d drains, %d done; "
		"a: %d messages, last %ju, done %d, code %d (%s)\n",
		GUARD_MS, f->calls, f->messages, f->drains, f->dones, f->a.messages, (uintmax_t)f->a.last,
		f->a.done, f->a.code, f->a.msg);
	abort();
}

/*
 * Run the loop until the condition holds. The guard ticks, because a turn of the loop waits for
 * descriptors even when a timer has just made the condition true.
 */
#define run_until(f, condition)                                                                    \
	do {                                                                                       \
		(f)->guard_ticks = 0;                                                              \
		uv_timer_start(&(f)->guard, on_guard, GUARD_TICK_MS, GUARD_TICK_MS);               \
		while (!(condition))                                                               \
			uv_run(&(f)->loop, UV_RUN_ONCE);                                           \
		uv_timer_stop(&(f)->guard);                                                        \
	} while (0)

/* Let time pass on the loop, to see that something does not happen. */
static inline void on_pass(uv_timer_t *timer)
{
	*(bool *)timer->data = true;
}

static inline void pass_ms(struct fixture *f, uint64_t ms)
{
	bool passed = false;
	uv_timer_t timer;

	uv_timer_init(&f->loop, &timer);
	timer.data = &passed;
	uv_timer_start(&timer, on_pass, ms, 0);
	run_until(f, passed);
	uv_close((uv_handle_t *)&timer, NULL);
	uv_run(&f->loop, UV_RUN_NOWAIT); /* closes handles before it returns */
}

static inline void on_flag(void *data)
{
	*(bool *)data = true;
}

/* ---------------------------------------------------------------- the services */

static inline void serve_get_info(struct rpc_call *call, const ProtobufCMessage *msg, void *data)
{
	struct fixture *f = data;
	Skein__Info info = SKEIN__INFO__INIT;

	f->calls++;
	f->peer = *rpc_call_peer(call);
	info.cluster_id = "the cluster";
	info.nodes = 7;
	rpc_call_reply(call, &info.base);
}

/* ref "fail": an error; "stream N": N messages. */
static inline void serve_watch(struct rpc_call *call, const ProtobufCMessage *msg, void *data)
{
	const Skein__RefRequest *ref = (const Skein__RefRequest *)msg;
	Skein__WatchServiceResponse r = SKEIN__WATCH_SERVICE_RESPONSE__INIT;
	struct fixture *f = data;
	struct error err = ERROR_INIT;
	uint64_t n = 0;

	f->calls++;
	if (str_eq(ref->ref, "fail")) {
		error_set(&err, ERR_NOT_FOUND, "no service %s\nhere, grüße", ref->ref);
		rpc_call_fail(call, &err);
		return;
	}
	if (str_eq(ref->ref, "wait")) {
		f->session = call;
		return;
	}
	assert_int_equal(str_parse_u64(ref->ref, &n, &err), 0);
	for (uint64_t i = 1; i <= n; i++) {
		r.desired = i;
		assert_int_equal(rpc_call_send(call, &r.base, &err), 0);
	}
	rpc_call_finish(call);
}

static inline void serve_done(struct rpc_call *call, void *data)
{
	struct fixture *f = data;

	f->dones++;
	if (f->session == call)
		f->session = NULL;
}

static inline void serve_session(struct rpc_call *call, const ProtobufCMessage *raw, void *data)
{
	const Skein__AgentMessage *msg = (const Skein__AgentMessage *)raw;
	Skein__DispatcherMessage answer = SKEIN__DISPATCHER_MESSAGE__INIT;
	Skein__BeatAck ack = SKEIN__BEAT_ACK__INIT;
	struct fixture *f = data;

	f->messages++;
	f->session = call;
	f->peer = *rpc_call_peer(call);
	if (f->pause) {
		rpc_call_pause(call);
		f->pause = false;
	}
	if (!f->echo || msg->body_case != SKEIN__AGENT_MESSAGE__BODY_BEAT)
		return;
	ack.sequence = msg->beat->sequence;
	answer.body_case = SKEIN__DISPATCHER_MESSAGE__BODY_BEAT;
	answer.beat = &ack;
	rpc_call_send(call, &answer.base, NULL);
}

static inline void serve_session_half_close(struct rpc_call *call, void *data)
{
	struct fixture *f = data;

	f->half_closes++;
	if (!f->hold)
		rpc_call_finish(call);
}

static inline void serve_session_drain(struct rpc_call *call, void *data)
{
	struct fixture *f = data;

	f->drains++;
}

static inline void serve_get_root(struct rpc_call *call, const ProtobufCMessage *msg, void *data)
{
	Skein__GetRootResponse r = SKEIN__GET_ROOT_RESPONSE__INIT;
	struct fixture *f = data;

	f->peer = *rpc_call_peer(call);
	r.root_cert_pem = "root";
	rpc_call_reply(call, &r.base);
}

static inline void serve_renew(struct rpc_call *call, const ProtobufCMessage *msg, void *data)
{
	Skein__IssueResponse r = SKEIN__ISSUE_RESPONSE__INIT;

	r.node_id = (char *)rpc_call_peer(call)->node_id;
	rpc_call_reply(call, &r.base);
}

#define ANYBODY (RPC_ROLE_ANONYMOUS | RPC_ROLE_WORKER | RPC_ROLE_MANAGER | RPC_ROLE_LOCAL)

static inline void offer(struct rpc_server *server, struct fixture *f)
{
	const struct rpc_method control[] = {
		{"GetInfo", .allow = RPC_ROLE_MANAGER | RPC_ROLE_LOCAL, .on_message = serve_get_info,
		 .on_done = serve_done},
		{"WatchService", .allow = RPC_ROLE_MANAGER | RPC_ROLE_LOCAL, .on_message = serve_watch,
		 .on_done = serve_done},
	};
	const struct rpc_method dispatcher[] = {
		{"Session", .allow = RPC_ROLE_WORKER | RPC_ROLE_MANAGER | RPC_ROLE_LOCAL,
		 .on_message = serve_session, .on_half_close = serve_session_half_close,
		 .on_drain = serve_session_drain, .on_done = serve_done},
	};
	const struct rpc_method ca[] = {
		{"GetRoot", .allow = ANYBODY, .max_request_bytes = 16, .on_message = serve_get_root},
		{"Renew", .allow = RPC_ROLE_WORKER | RPC_ROLE_MANAGER, .max_request_bytes = 16,
		 .on_message = serve_renew},
	};

	rpc_server_add_service(server, &skein__control__descriptor, control, ARRAY_SIZE(control), f);
	rpc_server_add_service(server, &skein__dispatcher__descriptor, dispatcher, ARRAY_SIZE(dispatcher), f);
	rpc_server_add_service(server, &skein__ca__descriptor, ca, ARRAY_SIZE(ca), f);
}

/* ---------------------------------------------------------------- the client */

static inline struct rpc_creds *node_creds(struct fixture *f, const char *node_id, const char *role)
{
	struct pki_cert cert = pki_node(&f->pki, node_id, role, 3600);
	struct rpc_creds *creds = rpc_creds_new(f->pki.root_pem, cert.cert_pem, cert.key_pem);

	pki_cert_fini(&cert);
	return creds;
}

static inline struct rpc_channel *channel_to(struct fixture *f, const char *target, struct rpc_creds *creds)
{
	struct rpc_channel *c = rpc_channel_new(f->rpc, &(struct rpc_channel_options){
								.target = target,
								.creds = creds,
								.keepalive_ms = 1000,
								.keepalive_timeout_ms = 1000,
							});

	rpc_creds_unref(creds);
	return c;
}

static inline struct rpc_channel *channel_as(struct fixture *f, const char *role)
{
	return channel_to(f, f->target, role ? node_creds(f, "n1", role) : rpc_creds_new(f->pki.root_pem, NULL, NULL));
}

static inline void on_reply(void *data, const ProtobufCMessage *reply, const struct error *err)
{
	struct outcome *o = data;

	o->done++;
	o->code = err ? err->code : ERR_OK;
	snprintf(o->msg, sizeof(o->msg), "%s", err ? err->msg : "");
	assert_true(!reply == !!err);
	if (reply && reply->descriptor == &skein__info__descriptor)
		snprintf(o->text, sizeof(o->text), "%s", ((const Skein__Info *)reply)->cluster_id);
	if (reply && reply->descriptor == &skein__issue_response__descriptor)
		snprintf(o->text, sizeof(o->text), "%s", ((const Skein__IssueResponse *)reply)->node_id);
}

static inline struct outcome call_unary(struct fixture *f, struct rpc_channel *channel,
					const ProtobufCServiceDescriptor *service, const char *method,
					const ProtobufCMessage *request)
{
	struct outcome o = {0};

	rpc_unary(channel, service, method, request, 10000, on_reply, &o);
	assert_int_equal(o.done, 0); /* never inside */
	run_until(f, o.done);
	assert_int_equal(o.done, 1);
	return o;
}

static inline struct outcome get_info(struct fixture *f, struct rpc_channel *channel)
{
	Skein__GetInfoRequest request = SKEIN__GET_INFO_REQUEST__INIT;

	return call_unary(f, channel, &skein__control__descriptor, "GetInfo", &request.base);
}

static inline struct outcome get_root(struct fixture *f, struct rpc_channel *channel)
{
	Skein__GetRootRequest request = SKEIN__GET_ROOT_REQUEST__INIT;

	return call_unary(f, channel, &skein__ca__descriptor, "GetRoot", &request.base);
}

static inline void on_stream_message(struct rpc_call *call, const ProtobufCMessage *raw, void *data)
{
	struct outcome *o = data;
	const Skein__DispatcherMessage *d = (const Skein__DispatcherMessage *)raw;
	uint64_t n;

	if (raw->descriptor == &skein__watch_service_response__descriptor)
		n = ((const Skein__WatchServiceResponse *)raw)->desired;
	else if (d->body_case == SKEIN__DISPATCHER_MESSAGE__BODY_ASSIGNMENTS)
		n = d->assignments->applies_to;
	else
		n = d->beat->sequence;

	o->messages++;
	if (n != o->last + 1)
		o->in_order = false;
	o->last = n;
}

static inline void on_stream_drain(struct rpc_call *call, void *data)
{
	struct outcome *o = data;

	o->drains++;
}

static inline void on_stream_done(struct rpc_call *call, const struct error *err, void *data)
{
	struct outcome *o = data;

	o->done++;
	o->code = err ? err->code : ERR_OK;
	snprintf(o->msg, sizeof(o->msg), "%s", err ? err->msg : "");
	o->call = NULL;
}

static const struct rpc_handlers stream_handlers = {
	.on_message = on_stream_message,
	.on_drain = on_stream_drain,
	.on_done = on_stream_done,
};

static inline void start_session(struct fixture *f, struct rpc_channel *channel, uint64_t timeout_ms, struct outcome *o)
{
	*o = (struct outcome){.in_order = true};
	o->call = rpc_stream(channel, &skein__dispatcher__descriptor, "Session", timeout_ms, &stream_handlers, o);
}

static inline void start_watch(struct fixture *f, struct rpc_channel *channel, const char *ref, struct outcome *o)
{
	Skein__RefRequest request = SKEIN__REF_REQUEST__INIT;

	*o = (struct outcome){.in_order = true};
	o->call = rpc_stream(channel, &skein__control__descriptor, "WatchService", 0, &stream_handlers, o);
	request.ref = (char *)ref;
	assert_int_equal(rpc_call_send(o->call, &request.base, NULL), 0);
	rpc_call_half_close(o->call);
}

static inline int send_beat(struct rpc_call *call, uint64_t sequence, struct error *err)
{
	Skein__AgentMessage msg = SKEIN__AGENT_MESSAGE__INIT;
	Skein__Beat beat = SKEIN__BEAT__INIT;

	beat.sequence = sequence;
	msg.body_case = SKEIN__AGENT_MESSAGE__BODY_BEAT;
	msg.beat = &beat;
	return rpc_call_send(call, &msg.base, err);
}

/* A message of about n bytes. */
static inline int send_big(struct rpc_call *call, size_t n, struct error *err)
{
	Skein__AgentMessage msg = SKEIN__AGENT_MESSAGE__INIT;
	Skein__NodeDescription description = SKEIN__NODE_DESCRIPTION__INIT;
	char *text = xmalloc(n + 1);
	int r;

	memset(text, 'x', n);
	text[n] = '\0';
	description.hostname = text;
	msg.body_case = SKEIN__AGENT_MESSAGE__BODY_DESCRIPTION;
	msg.description = &description;
	r = rpc_call_send(call, &msg.base, err);
	free(text);
	return r;
}

/* From the server: a numbered message of about n bytes. */
static inline int send_big_down(struct rpc_call *call, uint64_t number, size_t n, struct error *err)
{
	Skein__DispatcherMessage msg = SKEIN__DISPATCHER_MESSAGE__INIT;
	Skein__Assignments set = SKEIN__ASSIGNMENTS__INIT;
	char *text = xmalloc(n + 1);
	int r;

	memset(text, 'x', n);
	text[n] = '\0';
	set.applies_to = number;
	set.n_remove = 1;
	set.remove = &text;
	msg.body_case = SKEIN__DISPATCHER_MESSAGE__BODY_ASSIGNMENTS;
	msg.assignments = &set;
	r = rpc_call_send(call, &msg.base, err);
	free(text);
	return r;
}

/* ---------------------------------------------------------------- life */

static inline void server_start(struct fixture *f)
{
	struct error err = ERROR_INIT;
	int port = 0;

	f->server = rpc_server_new(f->rpc, f->server_creds);
	offer(f->server, f);
	if (rpc_server_listen(f->server, "127.0.0.1:0", 0, &port, &err) < 0)
		fail_msg("%s", err.msg);
	rpc_server_start(f->server);
	snprintf(f->target, sizeof(f->target), "127.0.0.1:%d", port);
}

static inline int fixture_setup(void **state)
{
	struct fixture *f = xnew(struct fixture);
	struct pki_cert cert;

	*state = f;
	f->echo = true;
	strcpy(f->dir, "/tmp/skein-rpc.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	uv_loop_init(&f->loop);
	uv_timer_init(&f->loop, &f->guard);
	pki_init(&f->pki, "test ca");
	cert = pki_node(&f->pki, "m1", "manager", 3600);
	f->server_creds = rpc_creds_new(f->pki.root_pem, cert.cert_pem, cert.key_pem);
	pki_cert_fini(&cert);
	f->rpc = rpc_new(&f->loop);
	server_start(f);
	return 0;
}

/* Whatever a test left open closes with the runtime. */
static inline int fixture_teardown(void **state)
{
	struct fixture *f = *state;

	rpc_close(f->rpc, on_flag, &f->closed);
	run_until(f, f->closed);
	rpc_creds_unref(f->server_creds);
	pki_fini(&f->pki);
	uv_close((uv_handle_t *)&f->guard, NULL);
	uv_run(&f->loop, UV_RUN_DEFAULT);
	if (uv_loop_close(&f->loop) < 0)
		return -1;
	rmdir(f->dir);
	free(f);
	return 0;
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)
