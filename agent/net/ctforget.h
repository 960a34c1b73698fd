/*
 * ctforget - makes a namespace's connection tracking forget flows that were translated to an address that is gone, so
 * that their next packet is balanced anew. Without it a client that keeps sending datagrams would speak to nobody for
 * as long as it does. Blocking; needs Linux 5.8 (filters in dumps). Serial thread.
 */
#pragma once
#include "common/ipaddr.h"

#include <stddef.h>
#include <stdint.h>

struct error;

struct ctforget {
	struct ipaddr address; /* who answers: source of the replies */
	uint8_t protocol;      /* IPPROTO_UDP, ...; 0 = any */
	uint16_t port;         /* of the answers; 0 = any; only with a protocol */
};

/* In the namespace that this thread is in. No such flow: fine. */
int ctforget_run(const struct ctforget *v, size_t n, struct error *err);
