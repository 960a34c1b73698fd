/* explain - why each task of a service is where it is, or why it does not run, node by node. Pure. */
#pragma once
#include "proto/pb.h"

#include <stdint.h>

struct view;

/* A heap message; tasks that are wanted, and of slots without one the last that ended. */
Skein__ExplainServiceResponse *explain_service(const struct view *view, const pb_service *service, int64_t now);

/* Nodes that a global service runs on: up, not drained, constraints met. */
uint64_t explain_global_wanted(const struct view *view, const pb_service *service);
