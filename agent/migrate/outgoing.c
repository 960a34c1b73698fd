#include "agent/migrate/outgoing_internal.h"

#include "common/mem.h"
#include "rpc/rpc.h"

#define KEEPALIVE_MS 5000
#define KEEPALIVE_TIMEOUT_MS 5000

bool outgoing_full(const struct outgoing *o)
{
	return o->call && rpc_call_unsent(o->call) > OUTGOING_HIGH_BYTES;
}

static bool is_mine(struct producer *p, const Skein__MoveAck *ack)
{
	return p && p->on_ack(p, ack);
}

static void on_message(struct rpc_call *call, const ProtobufCMessage *msg, void *data)
{
	const Skein__MoveAck *ack = (const Skein__MoveAck *)msg;
	struct outgoing *o = data;

	if (o->closed || is_mine(o->tree, ack) || is_mine(o->pages, ack))
		return;
	o->o.on_ack(o->o.data, ack);
}

static void on_drain(struct rpc_call *call, void *data)
{
	struct outgoing *o = data;

	if (!o->closed && o->tree)
		o->tree->on_drain(o->tree);
	if (!o->closed && o->pages)
		o->pages->on_drain(o->pages);
}

static void lose_producers(struct outgoing *o, const struct error *err)
{
	struct producer *tree = o->tree, *pages = o->pages;

	o->tree = o->pages = NULL;
	if (tree)
		tree->on_lost(tree, err);
	if (pages)
		pages->on_lost(pages, err);
}

static void on_done(struct rpc_call *call, const struct error *err, void *data)
{
	struct outgoing *o = data;

	o->call = NULL;
	o->ending = true; /* each of the callbacks may close it */
	if (err)
		o->err = *err;
	else
		error_set(&o->err, ERR_UNAVAILABLE, "the target has ended the stream");
	lose_producers(o, &o->err);
	if (!o->closed)
		o->o.on_end(o->o.data, err ? &o->err : NULL);
	o->ending = false;
	if (o->closed)
		free(o);
}

struct outgoing *outgoing_open(const struct outgoing_options *options)
{
	static const struct rpc_handlers handlers = {.on_message = on_message, .on_drain = on_drain, .on_done = on_done};
	struct rpc_channel_options channel = {
		.target = options->address,
		.creds = options->creds,
		.server_name = RPC_NODE_NAME,
		.keepalive_ms = KEEPALIVE_MS,
		.keepalive_timeout_ms = KEEPALIVE_TIMEOUT_MS,
	};
	struct outgoing *o = xnew(struct outgoing);

	o->o = *options;
	o->channel = rpc_channel_new(options->rpc, &channel);
	o->call = rpc_stream(o->channel, &skein__peer__descriptor, "Move", 0, &handlers, o);
	return o;
}

void outgoing_close(struct outgoing *o)
{
	if (!o || o->closed)
		return;
	o->closed = true;
	lose_producers(o, NULL);
	rpc_channel_close(o->channel);
	o->channel = NULL;
	if (o->call)
		rpc_call_cancel(o->call); /* on_done frees */
	else if (!o->ending)
		free(o);
}

int outgoing_send(struct outgoing *o, const Skein__MoveChunk *chunk)
{
	struct error err = ERROR_INIT;

	if (!o->call)
		return -1;
	o->bytes += protobuf_c_message_get_packed_size(&chunk->base);
	if (rpc_call_send(o->call, &chunk->base, &err) == 0)
		return 0;
	if (err.code == ERR_EXHAUSTED) /* nobody sends so much without looking */
		rpc_call_cancel(o->call);
	return -1;
}

uint64_t outgoing_bytes(const struct outgoing *o)
{
	return o->bytes;
}
