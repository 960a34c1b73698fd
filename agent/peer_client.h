/*
 * peer_client - fetches blobs of images from other nodes: the image_fetcher of the store.
 * One connection per peer, kept for a short while. A peer that sends nothing for too long, or more than was
 * bounded, is given up.
 */
#pragma once
#include "agent/image/image.h"

struct peer_client;
struct rpc;
struct rpc_creds;

struct peer_client *peer_client_new(uv_loop_t *loop, struct rpc *rpc, struct rpc_creds *creds);
/* Valid as long as the client. */
struct image_fetcher peer_client_fetcher(struct peer_client *client);
/* Fetches under way end with ERR_CANCELLED before `closed` (may be NULL). Before rpc_close(). */
void peer_client_close(struct peer_client *client, void (*closed)(void *data), void *data);
