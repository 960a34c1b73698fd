/*
 * peers - which nodes hold an image, so that a node without it can fetch it from them.
 * Looks at the view as it is; make a new one for each round of messages.
 */
#pragma once
#include "proto/pb.h"

struct peers;
struct view;

#define PEERS_MAX 5

struct peers *peers_new(const struct view *v); /* borrowed until peers_free */
void peers_free(struct peers *p);

/*
 * Append to `list` at most PEERS_MAX READY nodes that report the image of the task; none when the
 * node itself reports it or the image has no digest. Different nodes get different ones of many.
 */
void peers_find(struct peers *p, const pb_task *task, const char *for_node, size_t *n,
		Skein__ImagePeer ***list);

/* "host:port" at which the agent of a node answers others, "" while it is not known. Heap, yours. */
char *peers_address(const pb_node *node);
