/*
 * dns_forward - questions under way to resolvers, from the namespace of this process or, through sockets that somebody else
 * opens there, from another one. Loop thread.
 *
 * The first two are asked at once, by UDP, each from a socket (and so a port) and with an id of its own; a resolver that
 * fails or is silent for 2 s brings in the others. The first good answer wins (no error, or no such name); without one the
 * last bad one is better than none. A truncated answer is asked for again by TCP when the client takes it whole.
 */
#pragma once
#include "dns.h"

#include "common/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct dns_forwarder;
struct dns_job;

/* port: of the resolvers. */
struct dns_forwarder *dns_forwarder_new(uv_loop_t *loop, uint16_t port);
/* All jobs must have ended or been cancelled. closed once, later. */
void dns_forwarder_close(struct dns_forwarder *f, void (*closed)(void *data), void *data);

struct dns_ask {
	const uint8_t *query;         /* as dns_answer() found it good; copied */
	size_t len;
	bool tcp;                     /* the client came by TCP */
	const struct strv *servers;   /* address literals; copied */
	uint32_t inside;              /* bit i: the ith server is asked from the task's namespace */
	dns_open_cb open;             /* for those */
	void *open_data;
	const char *task_id;          /* copied */
};

/* answer NULL: nobody did. It is borrowed. */
typedef void (*dns_forwarded_cb)(void *data, const uint8_t *answer, size_t len);
/* cb exactly once, later, unless cancelled. NULL: as many are under way as may be. */
struct dns_job *dns_forward(struct dns_forwarder *f, const struct dns_ask *ask, dns_forwarded_cb cb, void *data);
void dns_forward_cancel(struct dns_job *job);
