/* vni - numbers of overlay networks: outside the range of VLAN ids, as in Swarm. */
#pragma once
#include "proto/pb.h"

#include <stdint.h>

struct error;
struct view;

#define VNI_INGRESS 4096u
#define VNI_MAX ((1u << 24) - 1)

/*
 * The number behind the largest one in use, so that a number is not used again soon; when the last one is reached, the
 * lowest free one.
 *   Errors  ERR_EXHAUSTED all are in use
 */
int vni_next(const struct view *view, uint32_t *ret, struct error *err);
