/*
 * nodestate - how sessions change node objects, and the bounds of what an agent may say of its
 * node. Plain data: each function changes a heap copy and says whether anything is different, so
 * that a node is written only when something changed.
 */
#pragma once
#include "proto/pb.h"

#include <stdbool.h>
#include <stdint.h>

struct error;

#define NODESTATE_IMAGES_MAX 1000
#define NODESTATE_IMAGE_NAMES_MAX 64
#define NODESTATE_LABELS_MAX 256
#define NODESTATE_TEXT_MAX 512
#define NODESTATE_DESCRIPTION_MAX_BYTES (256u << 10)

/* ERR_INVALID / ERR_EXHAUSTED with the field, its value and what is accepted. */
int nodestate_check_description(const pb_node_description *d, struct error *err);
int nodestate_check_register(const Skein__Register *r, struct error *err);

/* The node has a session with this manager: READY, reachable there, described so. */
bool nodestate_ready(pb_node *node, const Skein__Register *r, int role, const char *manager_id,
		     int64_t now);

/* What changed since: images and features as given, the rest only where it says something. */
bool nodestate_describe(pb_node *node, const pb_node_description *d);

/*
 * DOWN, unless it is already or its session is by now with another manager than `manager_id`.
 *   now  wall clock
 */
bool nodestate_down(pb_node *node, const char *manager_id, const char *message, int64_t now);
