/*
 * conntrack - makes a namespace's connection tracking forget flows that were translated to an address that is gone, so
 * that their next packet is balanced anew. Without it a client that keeps sending datagrams would speak to nobody for
 * as long as it does, and a connection that is being begun would knock at a closed door until it gives up. Blocking; the kernel picks the flows since 5.8 (filters in dumps). The thread of the handle.
 */
#pragma once
#include "common/ipaddr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;
struct netns;

struct conntrack_flow {
	struct ipaddr address; /* who answers: source of the replies */
	uint8_t protocol;      /* IPPROTO_UDP, ...; 0 = any */
	uint16_t port;         /* of the answers; 0 = any; only with a protocol */
	bool unanswered;       /* only flows that nobody has answered yet */
};

/* No such flow, or no connection tracking at all: fine. Goes on behind a failure; err is the last one. */
int conntrack_forget(struct netns *ns, const struct conntrack_flow *v, size_t n, struct error *err);
