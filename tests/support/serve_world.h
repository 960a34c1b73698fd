/*
 * serve_world - one manager's services as serve_fixture.h brings them up: waiting for them, writing to their store as somebody
 * else in the cluster would, and calling them.
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

static inline void *ask_ref(struct serve *s, const char *method, const char *ref, struct error *err)
{
	Skein__RefRequest request = SKEIN__REF_REQUEST__INIT;

	request.ref = (char *)ref;
	return ask(s, method, &request, err);
}
