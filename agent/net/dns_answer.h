/*
 * dns_answer - a task's DNS packet in; the answer, or that somebody else must be asked, out. Pure; randomness is an argument.
 * Wire format: RFC 1035; EDNS(0): RFC 6891; case: RFC 4343.
 */
#pragma once
#include "dns_lookup.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DNS_PACKET_MAX 65535
#define DNS_HEADER_BYTES 12
/* Answers may change with any task: nobody keeps them for long. Seconds. */
#define DNS_TTL 5

enum { DNS_NOERROR = 0, DNS_FORMERR = 1, DNS_SERVFAIL = 2, DNS_NXDOMAIN = 3, DNS_NOTIMP = 4, DNS_REFUSED = 5 };

enum dns_verdict {
	DNS_DROP,            /* not a question: silence, so that two servers never talk to each other */
	DNS_REPLY,
	DNS_FORWARD,         /* a good question about a name that is not ours */
};

struct dns_packet {
	uint8_t *data;       /* yours: free */
	size_t len;
};

/*
 *   in, len  any bytes (fuzzed)
 *   tcp      no limit of size; UDP: what the client's EDNS says, 512 without
 *   seed     the order of several addresses follows from it
 *   ret      only with DNS_REPLY
 */
enum dns_verdict dns_answer(const struct model *m, const struct dns_asker *who, const uint8_t *in, size_t len, bool tcp,
			    uint64_t seed, struct dns_packet *ret);

/* After nobody else knew the name of a question that was forwarded: is it ours with a search domain behind it? */
bool dns_answer_searched(const struct model *m, const struct dns_asker *who, const uint8_t *in, size_t len, bool tcp,
			 uint64_t seed, struct dns_packet *ret);

/* An answer without records to a question that dns_answer() would forward. */
void dns_failure(const uint8_t *in, size_t len, int rcode, struct dns_packet *ret);

/* Is it the answer to our question (with this id instead of its own)? Any bytes (fuzzed). */
bool dns_is_answer(const uint8_t *query, size_t query_len, uint16_t id, const uint8_t *answer, size_t len);
int dns_rcode(const uint8_t *packet);
bool dns_is_truncated(const uint8_t *packet);

/*
 * What the client gets of another server's answer, which dns_is_answer(): its own id; and only header and question, marked
 * as truncated, when it is larger than the client takes.
 */
void dns_relay(const uint8_t *query, size_t query_len, bool tcp, const uint8_t *answer, size_t len, struct dns_packet *ret);
