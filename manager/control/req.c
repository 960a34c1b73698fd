#include "req.h"
#include "internal.h"
#include "text.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"
#include "manager/store/store.h"
#include "rpc/rpc.h"

#include <stdio.h>
#include <string.h>

#define ATTEMPTS_MAX 12
#define RETRY_MIN_NS (4 * NS_PER_MS)
#define RETRY_MAX_NS (400 * NS_PER_MS)

static void req_free(struct req *r)
{
	struct control *c = r->c;

	pb_free(r->msg);
	strv_fini(&r->warnings);
	if (r->text)
		mem_wipe(r->text, strlen(r->text));
	free(r->text);
	free(r->url);
	pb_free(r->answer);
	free(r);
	closer_drop(&c->closer);
}

static void on_timer_closed(uv_handle_t *handle)
{
	req_free(handle->data);
}

static void req_end(struct req *r)
{
	if (r->call)
		rpc_call_set_data(r->call, NULL);
	if (r->timer_open)
		uv_close((uv_handle_t *)&r->timer, on_timer_closed);
	else
		req_free(r);
}

void req_reply(struct req *r, const void *msg)
{
	if (r->call)
		rpc_call_reply(r->call, msg);
	req_end(r);
}

void req_reply_bounded(struct req *r, const ProtobufCMessage *msg, const char *what)
{
	size_t bytes = protobuf_c_message_get_packed_size(msg);

	if (bytes < RPC_MAX_MESSAGE_BYTES)
		req_reply(r, msg);
	else
		req_fail_with(
			r, ERR_EXHAUSTED,
			"the answer has %zu bytes, at most %u fit: ask for fewer %s with filters",
			bytes, RPC_MAX_MESSAGE_BYTES, what);
}

void req_fail(struct req *r, const struct error *err)
{
	if (r->call)
		rpc_call_fail(r->call, err);
	req_end(r);
}

void req_fail_with(struct req *r, enum error_code code, const char *fmt, ...)
{
	char text[ERROR_MSG_MAX];
	struct error err = ERROR_INIT;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	error_set(&err, code, "%s", text);
	req_fail(r, &err);
}

void req_warn(struct req *r, const char *fmt, ...)
{
	char text[ERROR_MSG_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (!strv_has(&r->warnings, text))
		strv_add(&r->warnings, text);
}

void req_begin(struct control *c, struct rpc_call *call, const ProtobufCMessage *msg,
	       void (*step)(struct req *r))
{
	struct error err = ERROR_INIT;
	struct req *r;
	void *copy = text_checked_dup(msg, &err);

	if (!copy) {
		rpc_call_fail(call, &err);
		return;
	}
	r = xnew(struct req);
	r->c = c;
	r->call = call;
	r->msg = copy;
	r->step = step;
	closer_hold(&c->closer);
	rpc_call_set_data(call, r);
	step(r);
}

void req_gone(struct rpc_call *call)
{
	struct req *r = rpc_call_data(call);

	if (r)
		r->call = NULL;
}

static void on_retry(uv_timer_t *timer)
{
	struct req *r = timer->data;

	if (r->c->closer.closing)
		req_fail_with(r, ERR_UNAVAILABLE, "this manager is shutting down");
	else
		r->step(r);
}

void req_again(struct req *r, int64_t after_ns)
{
	if (!r->timer_open) {
		uv_timer_init(r->c->loop, &r->timer);
		r->timer.data = r;
		r->timer_open = true;
	}
	loop_timer_in(&r->timer, after_ns, on_retry);
}

static void retry_later(struct req *r)
{
	req_again(r, MIN(RETRY_MIN_NS << MIN(r->attempts, 10u), RETRY_MAX_NS));
	r->attempts++;
}

static void on_committed(void *data, const struct error *err)
{
	struct req *r = data;
	bool again = err && (err->code == ERR_CONFLICT ||
			     (err->code == ERR_UNAVAILABLE && r->retry_unavailable));

	if (!err)
		r->committed(r);
	else if (again && r->attempts < ATTEMPTS_MAX && !r->c->closer.closing)
		retry_later(r);
	else
		req_fail(r, err);
}

void req_commit(struct req *r, struct txn *t, void (*committed)(struct req *r))
{
	r->committed = committed;
	if (r->c->closer.closing) {
		txn_free(t);
		req_fail_with(r, ERR_UNAVAILABLE, "this manager is shutting down");
		return;
	}
	store_commit(r->c->store, t, 0, on_committed, r);
}
