/* vni - numbers of overlay networks: outside the range of VLAN ids, as in Swarm. */
#pragma once
#include "proto/pb.h"

#include <stdint.h>

struct error;
struct rests;
struct view;

#define VNI_INGRESS 4096u
#define VNI_GAP 256u
#define VNI_MAX ((1u << 24) - 1)

/*
 * The number behind the largest one that is or was in use, so that a number is not used again soon: a node may still hold
 * the device of a network that has just been removed. A leader that does not know what the one before it has given out
 * and taken back leaves VNI_GAP numbers out, once. When the last one is reached, the lowest free one.
 *   Errors  ERR_EXHAUSTED all are in use
 */
int vni_next(const struct view *view, struct rests *rests, uint32_t *ret, struct error *err);
