/* outgoing_internal - what the stream and its producers share. */
#pragma once
#include "agent/migrate/outgoing.h"

#include "common/error.h"

/* A producer of frames: a tree, a round. Gone from the list: no callback any more. */
struct producer {
	struct outgoing *out;
	void (*on_drain)(struct producer *p);                                /* there is room again */
	bool (*on_ack)(struct producer *p, const Skein__MoveAck *ack);       /* true: it was for this one */
	void (*on_lost)(struct producer *p, const struct error *err);        /* NULL: closed by its owner, say nothing */
};

struct outgoing {
	struct outgoing_options o;
	struct rpc_channel *channel;
	struct rpc_call *call;       /* NULL: over */
	struct producer *tree, *pages;
	uint32_t items;
	uint64_t bytes;
	struct error err;            /* why it is over */
	bool closed, ending;
};

bool outgoing_full(const struct outgoing *o);
