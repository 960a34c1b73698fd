#include "rpc/internal.h"

#include "common/error.h"
#include "common/mem.h"

#include <assert.h>
#include <grpc/byte_buffer.h>
#include <grpc/slice.h>
#include <grpc/support/alloc.h>
#include <stdio.h>
#include <string.h>

/* ---------------------------------------------------------------- operations; all under the mutex
 */

static void post(struct rpc_call *call, const grpc_op *ops, size_t n, struct tag *tag)
{
	grpc_call_error e;

	call->ops++;
	tag_handed_out(tag);
	e = grpc_call_start_batch(call->call, ops, n, tag, NULL);
	assert(e == GRPC_CALL_OK); /* else our own order of operations is wrong */
	(void)e;
}

static void arm_read(struct rpc_call *call)
{
	const grpc_op op = {.op = GRPC_OP_RECV_MESSAGE,
			    .data.recv_message.recv_message = &call->read_buffer};

	call->reading = true;
	post(call, &op, 1, &call->read_tag);
}

/* Divisor 1: may the inbox take one more; 2: it is half empty again. */
static bool wants_reads(const struct rpc_call *call, unsigned divisor)
{
	/* A client reads on behind the status, until gRPC says that nothing is left. */
	return !call->reading && !call->read_ended && !call->discard &&
	       !(call->over && !call->is_client) && call->n_inbox < MAX_INBOX / divisor &&
	       call->inbox_bytes < MAX_INBOX_BYTES / divisor;
}

static void out_msg_free(struct out_msg *m)
{
	if (!m)
		return;
	grpc_byte_buffer_destroy(m->buffer);
	free(m);
}

static void drop_outbox(struct rpc_call *call)
{
	struct out_msg *m;

	while ((m = STAILQ_FIRST(&call->outbox))) {
		STAILQ_REMOVE_HEAD(&call->outbox, link);
		call->unsent -= m->len;
		out_msg_free(m);
	}
}

static void drop_inbox(struct rpc_call *call)
{
	struct codec_msg *m;

	while ((m = STAILQ_FIRST(&call->inbox))) {
		STAILQ_REMOVE_HEAD(&call->inbox, link);
		codec_msg_free(m);
	}
	call->n_inbox = 0;
	call->inbox_bytes = 0;
}

static void fin_op(struct rpc_call *call, grpc_op *op, grpc_slice *details)
{
	if (call->is_client) {
		*op = (grpc_op){.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT};
		return;
	}
	*details =
		grpc_slice_from_copied_string(call->status.code == ERR_OK ? "" : call->status.msg);
	*op = (grpc_op){
		.op = GRPC_OP_SEND_STATUS_FROM_SERVER,
		.data.send_status_from_server = {.status = (grpc_status_code)call->status.code,
						 .status_details = details}};
}

/* Start the next send if none is under way: first metadata, a message and the end share a batch. */
static void pump(struct rpc_call *call)
{
	struct out_msg *m = STAILQ_FIRST(&call->outbox);
	grpc_slice details = grpc_empty_slice();
	grpc_op ops[3];
	size_t n = 0;

	if (call->writing || call->over || call->fin == FIN_SENT || (!m && call->fin == FIN_NONE))
		return;

	if (!call->initial_sent)
		ops[n++] = (grpc_op){.op = GRPC_OP_SEND_INITIAL_METADATA};
	call->initial_sent = true;
	if (m) {
		STAILQ_REMOVE_HEAD(&call->outbox, link);
		call->in_flight = m;
		ops[n++] =
			(grpc_op){.op = GRPC_OP_SEND_MESSAGE,
				  .flags = STAILQ_EMPTY(&call->outbox) ? 0 : GRPC_WRITE_BUFFER_HINT,
				  .data.send_message.send_message = m->buffer};
	}
	if (call->fin == FIN_WANTED && STAILQ_EMPTY(&call->outbox)) {
		fin_op(call, &ops[n++], &details);
		call->fin = FIN_SENT;
	}
	call->writing = true;
	post(call, ops, n, &call->write_tag);
	grpc_slice_unref(details);
}

static int send_check(const struct rpc_call *call, size_t len, struct error *err)
{
	if (len > RPC_MAX_MESSAGE_BYTES)
		return error_set(err, ERR_EXHAUSTED,
				 "message of %zu bytes, accepted are at most %u", len,
				 RPC_MAX_MESSAGE_BYTES);
	if (call->over || call->cancelled_here || call->fin != FIN_NONE)
		return error_set(err, ERR_CANCELLED, "the call has ended");
	if (call->unsent + len > MAX_UNSENT_BYTES)
		return error_set(err, ERR_EXHAUSTED,
				 "%zu bytes wait for a slow peer, accepted are at most %u",
				 call->unsent + len, MAX_UNSENT_BYTES);
	return 0;
}

/* Under the mutex. `last`: the end of our side leaves in the same batch. */
static int queue_msg(struct rpc_call *call, const ProtobufCMessage *msg, bool last,
		     struct error *err)
{
	struct out_msg *m = xnew(struct out_msg);

	m->buffer = codec_pack(msg, &m->len);
	if (send_check(call, m->len, err) < 0) {
		out_msg_free(m);
		return -1;
	}
	STAILQ_INSERT_TAIL(&call->outbox, m, link);
	call->unsent += m->len;
	if (last)
		call->fin = FIN_WANTED;
	pump(call);
	return 0;
}

/* ---------------------------------------------------------------- poller thread */

static void fail_locked(struct rpc_call *call, enum error_code code, const char *msg)
{
	if (call->fin != FIN_NONE || call->over)
		return;
	error_set(&call->status, code, "%s", msg);
	call->discard = true;
	drop_outbox(call);
	drop_inbox(call);
	call->fin = FIN_WANTED;
	pump(call);
}

/* A message that cannot be accepted ends the call, and the other end is told why. */
static void refuse_message(struct rpc_call *call, const struct error *err)
{
	call->read_ended = true;
	if (!call->is_client) {
		fail_locked(call, err->code, err->msg);
		return;
	}
	if (call->status.code == ERR_OK)
		call->status = *err; /* also when the server has said OK meanwhile */
	if (!call->over)
		grpc_call_cancel(call->call, NULL);
}

static void on_read(struct tag *tag, bool ok)
{
	struct rpc_call *call = container_of(tag, struct rpc_call, read_tag);
	struct error err = ERROR_INIT;
	grpc_byte_buffer *buffer;
	struct codec_msg *msg = NULL;

	/* Ours alone until the read is armed again. */
	buffer = TAKE_PTR(call->read_buffer);
	if (buffer) {
		msg = codec_unpack(call->in_type, buffer, call->max_in_bytes, &err);
		grpc_byte_buffer_destroy(buffer);
	}

	pthread_mutex_lock(&call->mutex);
	call->reading = false;
	if (!buffer)
		call->read_ended = true;
	else if (!msg)
		refuse_message(call, &err);
	if (msg && !call->discard) {
		STAILQ_INSERT_TAIL(&call->inbox, msg, link);
		call->n_inbox++;
		call->inbox_bytes += msg->len;
		msg = NULL;
	}
	if (call->unary)
		call->read_ended = true;
	if (wants_reads(call, 1))
		arm_read(call);
	call->ops--;
	if (!call->on_reply || call->over) /* an answer is told with its status */
		rpc_ready(call->rpc, &call->ready);
	pthread_mutex_unlock(&call->mutex); /* from here on the loop may free the call */
	codec_msg_free(msg);
}

static void on_written(struct tag *tag, bool ok)
{
	struct rpc_call *call = container_of(tag, struct rpc_call, write_tag);
	struct out_msg *sent;

	pthread_mutex_lock(&call->mutex);
	sent = TAKE_PTR(call->in_flight);
	if (sent)
		call->unsent -= sent->len;
	call->writing = false;
	if (!ok)
		drop_outbox(call); /* the end of the call is on its way to us */
	else
		pump(call);
	if (sent && !call->writing && call->fin == FIN_NONE)
		call->drained = call->wants_drain;
	call->ops--;
	if (call->over || call->drained)
		rpc_ready(call->rpc, &call->ready);
	pthread_mutex_unlock(&call->mutex);
	out_msg_free(sent);
}

static void take_client_status(struct rpc_call *call)
{
	char text[ERROR_MSG_MAX];

	if (call->status.code == ERR_OK && call->code != GRPC_STATUS_OK) {
		codec_clean_text(GRPC_SLICE_START_PTR(call->details),
				 GRPC_SLICE_LENGTH(call->details), text, sizeof(text));
		error_set(&call->status,
			  (int)call->code > 0 && (int)call->code <= ERR_UNAUTHENTICATED
				  ? (enum error_code)call->code
				  : ERR_UNKNOWN,
			  "%s", text);
	}
}

static void on_end(struct tag *tag, bool ok)
{
	struct rpc_call *call = container_of(tag, struct rpc_call, end_tag);

	pthread_mutex_lock(&call->mutex);
	call->over = true;
	if (call->is_client)
		take_client_status(call);
	else
		call->discard = true; /* the caller is gone or has our status: nobody to answer */
	drop_outbox(call);
	if (call->discard)
		drop_inbox(call);
	call->ops--;
	rpc_ready(call->rpc, &call->ready);
	pthread_mutex_unlock(&call->mutex);
}

/* ---------------------------------------------------------------- loop thread: events */

static bool is_finished(const struct rpc_call *call)
{
	return call->over && call->ops == 0 && (call->read_ended || call->discard);
}

static void call_free(struct rpc_call *call)
{
	struct rpc *rpc = call->rpc;
	struct rpc_server *server = call->server;

	drop_inbox(call);
	drop_outbox(call);
	if (call->channel)
		LIST_REMOVE(call, link);
	if (call->call)
		grpc_call_unref(call->call);
	grpc_metadata_array_destroy(&call->initial_md);
	grpc_metadata_array_destroy(&call->trailing_md);
	grpc_slice_unref(call->details);
	pthread_mutex_destroy(&call->mutex);
	free(call);

	atomic_fetch_sub(&rpc->n_calls, 1);
	if (server)
		server_call_gone(server);
	rpc_check_closed(rpc);
}

static struct codec_msg *take_msg(struct rpc_call *call)
{
	struct codec_msg *msg = NULL;

	pthread_mutex_lock(&call->mutex);
	if (call->discard)
		drop_inbox(call);
	msg = STAILQ_FIRST(&call->inbox);
	if (msg) {
		STAILQ_REMOVE_HEAD(&call->inbox, link);
		call->n_inbox--;
		call->inbox_bytes -= msg->len;
	}
	if (call->call && wants_reads(call, 2))
		arm_read(call);
	pthread_mutex_unlock(&call->mutex);
	return msg;
}

static void tell_message(struct rpc_call *call, const struct codec_msg *msg)
{
	call->called = true;
	if (call->is_client && call->handlers.on_message)
		call->handlers.on_message(call, msg->msg, call->cb_data);
	else if (!call->is_client)
		call->method->m.on_message(call, msg->msg, call->cb_data);
}

/* Messages in order; the handler may pause, cancel or finish the call at each of them. */
static void tell_messages(struct rpc_call *call)
{
	struct codec_msg *msg;

	while (!call->paused && (msg = take_msg(call))) {
		tell_message(call, msg);
		codec_msg_free(msg);
	}
}

/* A server's caller said that no more comes. */
static void tell_half_close(struct rpc_call *call)
{
	bool now;

	pthread_mutex_lock(&call->mutex);
	now = !call->half_close_told && call->read_ended && !call->discard && call->n_inbox == 0;
	pthread_mutex_unlock(&call->mutex);
	if (!now || call->paused)
		return;

	call->half_close_told = true;
	if (!call->unary) {
		call->called = true;
		call->method->m.on_half_close(call, call->cb_data);
	} else if (!call->called) {
		call_fail(call, ERR_INVALID, "the call was closed before its request message");
	}
}

static void tell_drained(struct rpc_call *call)
{
	bool now;

	pthread_mutex_lock(&call->mutex);
	now = call->drained && call->unsent == 0 && !call->over && !call->discard;
	call->drained = false;
	pthread_mutex_unlock(&call->mutex);
	if (!now)
		return;
	if (call->is_client && call->handlers.on_drain)
		call->handlers.on_drain(call, call->cb_data);
	else if (!call->is_client && call->called && call->method->m.on_drain)
		call->method->m.on_drain(call, call->cb_data);
}

static void tell_reply(struct rpc_call *call, const struct error *err)
{
	struct codec_msg *msg = err ? NULL : STAILQ_FIRST(&call->inbox);
	struct error none = ERROR_INIT;

	if (!err && !msg) {
		error_set(&none, ERR_INTERNAL, "the call succeeded without an answer");
		err = &none;
	}
	call->on_reply(call->cb_data, msg ? msg->msg : NULL, err);
}

/* Nothing is outstanding: no other thread looks at the call any more. */
static void tell_done(struct rpc_call *call)
{
	if (call->cancelled_here && call->status.code != ERR_CANCELLED)
		error_set(&call->status, ERR_CANCELLED, "the call was cancelled");

	if (call->is_client) {
		const struct error *err = call->status.code == ERR_OK ? NULL : &call->status;

		if (call->on_reply)
			tell_reply(call, err);
		else
			call->handlers.on_done(call, err, call->cb_data);
		return;
	}
	server_observe(call);
	if (call->called && call->method->m.on_done)
		call->method->m.on_done(call, call->cb_data);
}

static bool passes_guard(struct rpc_call *call)
{
	struct error err = ERROR_INIT;

	if (call->guarded)
		return !call->muted;
	call->guarded = true;
	if (call->muted)
		return false;
	if (server_check_peer(call->server, &call->peer, &err) < 0) {
		call->muted = true;
	} else if (!(call->method->m.allow & call->peer.role)) {
		call->muted = true;
		error_set(&err, ERR_DENIED, "%s is not for this peer: its role was taken back",
			  call->method->m.name);
	}
	if (call->muted)
		call_fail(call, err.code, err.msg);
	return !call->muted;
}

static void on_ready(struct ready *ready)
{
	struct rpc_call *call = container_of(ready, struct rpc_call, ready);
	bool finished;

	if (call->is_client || passes_guard(call)) {
		if (!call->on_reply)
			tell_messages(call);
		if (!call->is_client)
			tell_half_close(call);
		tell_drained(call);
	}

	/* While it was told, the poller may have queued it again: then the next turn ends it. */
	pthread_mutex_lock(&call->mutex);
	finished = is_finished(call) && (call->on_reply || call->discard || call->n_inbox == 0) &&
		   !rpc_is_ready(call->rpc, ready);
	pthread_mutex_unlock(&call->mutex);
	if (!finished)
		return;
	call->dead = true;
	tell_done(call);
	call_free(call);
}

/* ---------------------------------------------------------------- start */

struct rpc_call *call_new(struct rpc *rpc)
{
	struct rpc_call *call = xnew(struct rpc_call);

	call->rpc = rpc;
	call->ready.run = on_ready;
	call->read_tag.on_event = on_read;
	call->write_tag.on_event = on_written;
	call->end_tag.on_event = on_end;
	call->max_in_bytes = RPC_MAX_MESSAGE_BYTES;
	call->details = grpc_empty_slice();
	STAILQ_INIT(&call->inbox);
	STAILQ_INIT(&call->outbox);
	pthread_mutex_init(&call->mutex, NULL);
	grpc_metadata_array_init(&call->initial_md);
	grpc_metadata_array_init(&call->trailing_md);
	atomic_fetch_add(&rpc->n_calls, 1);
	return call;
}

void call_begin_client(struct rpc_call *call, const ProtobufCMessage *request)
{
	const grpc_op ops[] = {
		{.op = GRPC_OP_SEND_INITIAL_METADATA},
		{.op = GRPC_OP_RECV_INITIAL_METADATA,
		 .data.recv_initial_metadata.recv_initial_metadata = &call->initial_md},
		{.op = GRPC_OP_RECV_STATUS_ON_CLIENT,
		 .data.recv_status_on_client = {.trailing_metadata = &call->trailing_md,
						.status = &call->code,
						.status_details = &call->details}},
	};

	pthread_mutex_lock(&call->mutex);
	call->initial_sent = true;
	post(call, ops, ARRAY_SIZE(ops), &call->end_tag);
	arm_read(call);
	if (request && queue_msg(call, request, true, &call->status) < 0)
		grpc_call_cancel(call->call, NULL); /* on_done tells the reason */
	pthread_mutex_unlock(&call->mutex);
}

void call_begin_server(struct rpc_call *call, enum error_code refusal, const char *msg)
{
	const grpc_op op = {.op = GRPC_OP_RECV_CLOSE_ON_SERVER,
			    .data.recv_close_on_server.cancelled = &call->cancelled};

	pthread_mutex_lock(&call->mutex);
	post(call, &op, 1, &call->end_tag);
	if (refusal == ERR_OK)
		arm_read(call);
	else
		fail_locked(call, refusal, msg);
	pthread_mutex_unlock(&call->mutex);
}

/* ---------------------------------------------------------------- what owners call, on the loop */

const struct rpc_peer *rpc_call_peer(const struct rpc_call *call)
{
	return &call->peer;
}

void rpc_call_remote(const struct rpc_call *call, char *ret_address, size_t size)
{
	char *address = grpc_call_get_peer(call->call);

	snprintf(ret_address, size, "%s", address ? address : "");
	gpr_free(address);
}

void rpc_call_set_data(struct rpc_call *call, void *data)
{
	call->data = data;
}

void *rpc_call_data(const struct rpc_call *call)
{
	return call->data;
}

int rpc_call_send(struct rpc_call *call, const ProtobufCMessage *msg, struct error *err)
{
	int r;

	pthread_mutex_lock(&call->mutex);
	r = queue_msg(call, msg, false, err);
	pthread_mutex_unlock(&call->mutex);
	return r;
}

size_t rpc_call_unsent(const struct rpc_call *call)
{
	struct rpc_call *c = (struct rpc_call *)call;
	size_t unsent;

	pthread_mutex_lock(&c->mutex);
	unsent = c->unsent;
	pthread_mutex_unlock(&c->mutex);
	return unsent;
}

/* No more is sent: half-close of a client, status of a server. */
static void finish(struct rpc_call *call)
{
	pthread_mutex_lock(&call->mutex);
	if (call->fin == FIN_NONE && !call->over) {
		call->fin = FIN_WANTED;
		if (!call->is_client)
			call->discard = true;
		pump(call);
	}
	pthread_mutex_unlock(&call->mutex);
}

void rpc_call_half_close(struct rpc_call *call)
{
	assert(call->is_client);
	finish(call);
}

void rpc_call_finish(struct rpc_call *call)
{
	assert(!call->is_client);
	finish(call);
}

void rpc_call_reply(struct rpc_call *call, const ProtobufCMessage *msg)
{
	struct error err = ERROR_INIT;

	assert(!call->is_client);
	call->replied = true;
	pthread_mutex_lock(&call->mutex);
	if (queue_msg(call, msg, true, &err) == 0)
		call->discard = true;
	else
		fail_locked(call, err.code, err.msg); /* no-op when it has ended */
	pthread_mutex_unlock(&call->mutex);
}

void call_fail(struct rpc_call *call, enum error_code code, const char *msg)
{
	pthread_mutex_lock(&call->mutex);
	fail_locked(call, code == ERR_OK ? ERR_UNKNOWN : code, msg);
	pthread_mutex_unlock(&call->mutex);
}

void rpc_call_fail(struct rpc_call *call, const struct error *err)
{
	assert(!call->is_client);
	call_fail(call, err->code, err->msg);
}

void call_cancel(struct rpc_call *call)
{
	if (call->dead)
		return;
	pthread_mutex_lock(&call->mutex);
	call->cancelled_here = true;
	call->discard = true;
	drop_inbox(call);
	drop_outbox(call);
	if (call->call && !call->over)
		grpc_call_cancel(call->call, NULL);
	rpc_ready(call->rpc, &call->ready);
	pthread_mutex_unlock(&call->mutex);
}

void rpc_call_cancel(struct rpc_call *call)
{
	call_cancel(call);
}

void rpc_call_pause(struct rpc_call *call)
{
	call->paused = true;
}

void rpc_call_resume(struct rpc_call *call)
{
	if (!call->paused || call->dead)
		return;
	call->paused = false;
	rpc_ready(call->rpc, &call->ready);
}
