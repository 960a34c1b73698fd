/*
 * incoming - the target's end of a Move stream: frames are checked, trees become files, rounds of memory go to a page server.
 *
 * Everything that blocks is done in order by one thread per stream; when more than INCOMING_HIGH_BYTES wait for it the stream is
 * paused, and HTTP/2's window stops the source. Loop thread.
 */
#pragma once
#include "proto/pb.h"

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct error;
struct incoming;
struct rpc_call;

#define INCOMING_HIGH_BYTES (4u << 20)

struct incoming_handlers {
	/* Where an item's content goes; yours to give, freed here. NULL and err: it is not accepted. */
	char *(*dir)(void *data, const char *name, struct error *err);
	/*
	 * Start a page server for a round. Returns our end of a connection to it (taken over), or -1 and err: it cannot begin.
	 * incoming_round_done() is due when it has ended, unless the stream is over.
	 */
	int (*pages)(void *data, uint32_t round, uint32_t parent, struct error *err);
	/* All of it came, and was checked. */
	void (*sent)(void *data, uint32_t round);
	/* The stream is over, behind everything that was under way: last callback. err says why. */
	void (*end)(void *data, const struct error *err);
};

/* A stream whose hello was accepted; frames are given by incoming_take(). */
struct incoming *incoming_new(uv_loop_t *loop, struct rpc_call *call, const Skein__MoveHello *hello,
			      const struct incoming_handlers *handlers, void *data);
void incoming_take(struct incoming *in, const Skein__MoveChunk *chunk);
void incoming_ack(struct incoming *in, const Skein__MoveAck *ack);
/* The page server has written everything (NULL), or why not. */
void incoming_round_done(struct incoming *in, const struct error *err);
/* End the call: in order (NULL) or with an error. */
void incoming_finish(struct incoming *in, const struct error *err);
/* The call is over (rpc's on_done). */
void incoming_gone(struct incoming *in);
uint64_t incoming_file_bytes(const struct incoming *in);
