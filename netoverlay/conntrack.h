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

/* A tracked connection, TCP or UDP, as it is taken to another node. */
struct conntrack_entry {
	uint8_t protocol;
	struct ipaddr from, to;             /* of its first packet, before any translation */
	uint16_t from_port, to_port;
	struct ipaddr answerer, answered;   /* of the replies: source and destination (behind translations of both) */
	uint16_t answerer_port, answered_port;
	uint32_t mark, timeout_s;
	uint16_t from_zone;                 /* of the first direction alone; not listed */
	uint8_t tcp_state;                  /* the kernel's number: 3 = established */
	bool seen_reply;
};

#define CONNTRACK_LIST_MAX 16384

/*
 * Those that were begun by the address, or, with `answers`, whose replies it sends; at most CONNTRACK_LIST_MAX. No
 * connection tracking at all: none. *ret is yours.
 */
int conntrack_list(struct netns *ns, const struct ipaddr *address, bool answers, struct conntrack_entry **ret, size_t *ret_n,
		   struct error *err);
/* Make them, translations included; one that is there already stays as it is. Sequence numbers are not checked: nobody here
 * has seen the ones before. Goes on behind a failure; err is the last one. */
int conntrack_add(struct netns *ns, const struct conntrack_entry *v, size_t n, struct error *err);
