/*
 * tcp - what the kernel knows about TCP connections of this process that a library holds for us.
 * Reads only; the library may close a connection at any moment. Any thread.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct tcp_table; /* the connections at one moment */

/* Walks all open descriptors (about 1 us each): make one for many questions. */
struct tcp_table *tcp_table_new(void);
void tcp_table_free(struct tcp_table *t); /* NULL is fine */

struct tcp_facts {
	int64_t acked_ns; /* how long ago the other host's kernel last acknowledged anything */
	int64_t sent_ns;  /* how long ago our kernel last sent data */
	int64_t rtt_ns;
	bool unacked;     /* something that our kernel sent waits for its acknowledgement */
};

/*
 * By the peer as gRPC writes it: "ipv4:10.0.0.1:1234", "ipv6:[fe80::1]:1234" (brackets may be %5B
 * %5D). Returns 0, or -1 when no connection of this process has that peer (not TCP, or closed).
 * Several connections to one peer are one host: the latest of each time, and what waits on any of them.
 */
int tcp_find(const struct tcp_table *t, const char *peer, struct tcp_facts *ret);
