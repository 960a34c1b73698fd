/*
 * peer - what this node serves to other nodes (proto/peer.proto): blobs of its images to every node, the logs
 * of its tasks, the state of its networks and what it uses to managers; and it takes containers that come from
 * other nodes.
 *
 * Answers are streamed as fast as the other end takes them; files are read on the uv pool. A few transfers run
 * at once, further ones wait in line.
 */
#pragma once
#include <uv.h>

struct exec;
struct image_store;
struct migrate;
struct net;
struct peer;
struct rpc_server;
struct usage_feed;

struct peer_options {
	uv_loop_t *loop;
	struct image_store *images;
	struct exec *exec;           /* NULL: no logs */
	struct net *net;             /* NULL: no networks */
	struct usage_feed *usage;    /* NULL: nothing is measured */
	struct migrate *migrate;     /* NULL: no container comes from another node */
	unsigned max_transfers;      /* of blobs at once; 0 = 16 */
};

struct peer *peer_new(const struct peer_options *options);
/* Before rpc_server_start(). The server must be closed before the peer. */
void peer_add_service(struct peer *peer, struct rpc_server *server);
/* `closed` when the last read has ended; may be NULL. */
void peer_close(struct peer *peer, void (*closed)(void *data), void *data);
