/*
 * outgoing - the source's end of a Move stream to the target's agent, over mutual TLS, and what is carried over it: trees and
 * rounds of memory. Loop thread; reading, comparing and compressing are on the uv pool.
 *
 * Bounded: a producer has one block under way, and makes no other while more than OUTGOING_HIGH_BYTES wait for the network.
 */
#pragma once
#include "agent/migrate/snapshot.h"
#include "proto/pb.h"

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct error;
struct outgoing;
struct rpc;
struct rpc_creds;

#define OUTGOING_HIGH_BYTES (2u << 20)

struct outgoing_options {
	uv_loop_t *loop;
	struct rpc *rpc;
	struct rpc_creds *creds;
	const char *address;         /* "10.0.0.2:7946" */
	/* What the target says, but for the ends of items and rounds. Not behind on_end or outgoing_close(). */
	void (*on_ack)(void *data, const Skein__MoveAck *ack);
	/* The stream is over: err says why, NULL = the target ended it in order. Last callback; outgoing_close() is still due. */
	void (*on_end)(void *data, const struct error *err);
	void *data;
};

struct outgoing *outgoing_open(const struct outgoing_options *options);
/* No callback any more, of the stream, of trees or of pages. What is on the pool is waited for by itself. */
void outgoing_close(struct outgoing *o);
/* One small frame. -1: the stream is over; why is about to be said by on_end(). */
int outgoing_send(struct outgoing *o, const Skein__MoveChunk *chunk);
uint64_t outgoing_bytes(const struct outgoing *o); /* handed to the network so far */

/* ---- trees (send_tree.c) */

struct send_tree_options {
	const char *dir;             /* on this host; copied. Missing: an empty tree */
	const char *name;            /* of the item, "upper"; copied */
	/* Of the pass before, taken over; NULL = none. It is what the target has. */
	struct snapshot *before;
	bool still;                  /* nothing writes to it any more */
};
/*
 *   now    what the target has now; yours (snapshot_fini() and free()); NULL on error
 *   bytes  of files' contents that were to be sent
 */
typedef void (*send_tree_cb)(void *data, struct snapshot *now, uint64_t bytes, const struct error *err);
/* One tree at a time per stream. cb once, later: the target has it all and the digest fits. */
void send_tree(struct outgoing *o, const struct send_tree_options *options, send_tree_cb cb, void *data);

/* ---- memory (send_pages.c) */

/*
 * Carry what comes out of `fd` (a connected stream socket, taken over) to the target's page server, and its answers back, until the
 * other end of fd has been closed and the page server has written everything. One round at a time.
 *   bytes  that came out of fd
 */
typedef void (*send_pages_cb)(void *data, uint64_t bytes, const struct error *err);
void send_pages(struct outgoing *o, uint32_t round, uint32_t parent, int fd, send_pages_cb cb, void *data);
