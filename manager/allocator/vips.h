/*
 * vips - virtual addresses of services: one per family in each overlay network of their tasks, in endpoint mode VIP.
 * (Elsewhere a name stands for the tasks' own addresses: what is not an overlay reaches no further than its link does.)
 */
#pragma once
#include "proto/pb.h"

#include "common/str.h"

struct addresses;
struct plan;

/* Fill in endpoint->vips: what the service has already stays. It keeps its address in a network that it leaves until
 * its last task there has ended. Reasons for what is missing are added to `why`. */
void vips_give(struct plan *p, struct addresses *a, const pb_service *service, pb_endpoint *endpoint,
	       struct strbuf *why);
