#include "dns_answer.h"

#include "common/mem.h"

#include <arpa/inet.h>
#include <assert.h>
#include <ctype.h>
#include <ldns/ldns.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define UDP_PLAIN_BYTES 512
#define UDP_MAX_BYTES 65000
/* What we take by UDP ourselves; RFC 9715 has smaller ones for the Internet, this is a loopback. */
#define OUR_UDP_BYTES 4096
#define TEXT_OF_IP6_LABELS 32

/* ---------------------------------------------------------------- the question */

struct question {
	char name[DNS_NAME_MAX + 1]; /* lower case, without the last dot; "" = the root, or not a host's name */
	bool plain;                  /* every label is of printable characters without dots: may be ours */
	uint16_t type, class;
	size_t end;                  /* where it ends in the packet */
};

static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static bool add_label(struct question *q, const uint8_t *label, size_t len, size_t *at)
{
	if (*at + len + 1 > DNS_NAME_MAX)
		return false;
	if (*at)
		q->name[(*at)++] = '.';
	for (size_t i = 0; i < len; i++) {
		q->plain &= label[i] > ' ' && label[i] < 0x7f && label[i] != '.' && label[i] != '\\';
		q->name[(*at)++] = (char)tolower(label[i]);
	}
	return true;
}

/* The first question. A name in it cannot be compressed: nothing stands before it. */
static bool parse_question(const uint8_t *in, size_t len, struct question *ret)
{
	size_t pos = DNS_HEADER_BYTES, at = 0;

	*ret = (struct question){.plain = true};
	for (;;) {
		size_t label = pos < len ? in[pos] : 0;

		if (pos >= len || label > LDNS_MAX_LABELLEN || pos + 1 + label > len)
			return false;
		pos++;
		if (label == 0)
			break;
		if (!add_label(ret, in + pos, label, &at))
			return false;
		pos += label;
	}
	if (pos + 4 > len)
		return false;
	ret->type = get16(in + pos);
	ret->class = get16(in + pos + 2);
	ret->end = pos + 4;
	return true;
}

/* ---------------------------------------------------------------- building */

/* The library says NULL for no memory only. */
static void *have(void *p)
{
	if (!p)
		abort();
	return p;
}

static ldns_pkt *begin_reply(const ldns_pkt *query, int rcode)
{
	ldns_pkt *p = have(ldns_pkt_new());
	const ldns_rr_list *questions = ldns_pkt_question(query);

	ldns_pkt_set_id(p, ldns_pkt_id(query));
	ldns_pkt_set_qr(p, true);
	ldns_pkt_set_opcode(p, ldns_pkt_get_opcode(query));
	ldns_pkt_set_rd(p, ldns_pkt_rd(query));
	ldns_pkt_set_cd(p, ldns_pkt_cd(query));
	ldns_pkt_set_ra(p, true);
	ldns_pkt_set_rcode(p, (uint8_t)rcode);
	if (questions && ldns_rr_list_rr_count(questions) == 1)
		ldns_pkt_push_rr(p, LDNS_SECTION_QUESTION, have(ldns_rr_clone(ldns_rr_list_rr(questions, 0))));
	if (ldns_pkt_edns(query))
		ldns_pkt_set_edns_udp_size(p, OUR_UDP_BYTES);
	return p;
}

static void finish_reply(ldns_pkt *p, struct dns_packet *ret)
{
	uint8_t *wire = NULL;
	size_t len = 0;

	if (ldns_pkt2wire(&wire, p, &len) != LDNS_STATUS_OK)
		abort();
	ldns_pkt_free(p);
	ret->data = wire;
	ret->len = len;
}

static void reply_empty(const ldns_pkt *query, int rcode, struct dns_packet *ret)
{
	finish_reply(begin_reply(query, rcode), ret);
}

/* Of bytes that are no packet: only the id is used. */
static void reply_formerr(const uint8_t *in, struct dns_packet *ret)
{
	ret->len = DNS_HEADER_BYTES;
	ret->data = xcalloc(1, ret->len);
	memcpy(ret->data, in, 2);
	ret->data[2] = 0x80 | (in[2] & 0x79); /* response; opcode and RD as they came */
	ret->data[3] = 0x80 | DNS_FORMERR;
}

static ldns_rr *make_record(const ldns_pkt *query, ldns_rr_type type, ldns_rdf *value)
{
	ldns_rr *rr = have(ldns_rr_new());

	ldns_rr_set_owner(rr, have(ldns_rdf_clone(ldns_rr_owner(ldns_rr_list_rr(ldns_pkt_question(query), 0)))));
	ldns_rr_set_type(rr, type);
	ldns_rr_set_class(rr, LDNS_RR_CLASS_IN);
	ldns_rr_set_ttl(rr, DNS_TTL);
	ldns_rr_push_rdf(rr, have(value));
	return rr;
}

static ldns_rr *address_record(const ldns_pkt *query, const struct ipaddr *a)
{
	bool v4 = a->family == AF_INET;

	return make_record(query, v4 ? LDNS_RR_TYPE_A : LDNS_RR_TYPE_AAAA,
			   ldns_rdf_new_frm_data(v4 ? LDNS_RDF_TYPE_A : LDNS_RDF_TYPE_AAAA, v4 ? 4 : 16, a->bytes));
}

/* ---------------------------------------------------------------- answers of ours */

static size_t size_limit(const ldns_pkt *query, bool tcp)
{
	size_t size = UDP_PLAIN_BYTES;

	if (tcp)
		return DNS_PACKET_MAX;
	if (ldns_pkt_edns(query))
		size = MAX(size, ldns_pkt_edns_udp_size(query));
	return MIN(size, UDP_MAX_BYTES);
}

/* The first n addresses of the type that was asked for. */
static void build(const ldns_pkt *query, const struct ipaddr *const *v, size_t n, bool truncated, struct dns_packet *ret)
{
	ldns_pkt *p = begin_reply(query, DNS_NOERROR);

	ldns_pkt_set_aa(p, true);
	ldns_pkt_set_tc(p, truncated);
	for (size_t i = 0; i < n; i++)
		ldns_pkt_push_rr(p, LDNS_SECTION_ANSWER, address_record(query, v[i]));
	finish_reply(p, ret);
}

static uint64_t next_random(uint64_t *state)
{
	/* splitmix64 (Vigna, public domain) */
	uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

static void shuffle(const struct ipaddr **v, size_t n, uint64_t seed)
{
	for (size_t i = n; i > 1; i--) {
		size_t k = next_random(&seed) % i;
		const struct ipaddr *t = v[i - 1];

		v[i - 1] = v[k];
		v[k] = t;
	}
}

static void reply_addresses(const ldns_pkt *query, uint16_t type, const struct dns_addresses *found, size_t limit, uint64_t seed,
			    struct dns_packet *ret)
{
	_cleanup_free_ const struct ipaddr **v = xcalloc(found->n + 1, sizeof(*v));
	size_t n = 0, kept, bare;

	for (size_t i = 0; i < found->n; i++) {
		bool v4 = found->v[i].family == AF_INET;

		if (type == LDNS_RR_TYPE_ANY || type == (v4 ? LDNS_RR_TYPE_A : LDNS_RR_TYPE_AAAA))
			v[n++] = &found->v[i];
	}
	shuffle(v, n, seed);
	build(query, v, n, false, ret);
	if (ret->len <= limit)
		return;
	/* As many whole records as fit: about their share, then one by one. */
	bare = ret->len;
	free(ret->data);
	build(query, v, 0, true, ret);
	kept = limit > ret->len ? (limit - ret->len) * n / (bare - ret->len) + 1 : 0;
	for (kept = MIN(kept, n); kept > 0; kept--) {
		free(ret->data);
		build(query, v, kept, true, ret);
		if (ret->len <= limit)
			return;
	}
	free(ret->data);
	build(query, v, 0, true, ret);
}

/* ---- addresses as names */

static bool parse_ip4_name(const char *name, struct ipaddr *ret)
{
	unsigned b[4];
	char text[32], tail[16];
	int n = 0;

	if (sscanf(name, "%3u.%3u.%3u.%3u.%15[a-z.-]%n", &b[0], &b[1], &b[2], &b[3], tail, &n) != 5 || name[n] ||
	    strcmp(tail, "in-addr.arpa") != 0)
		return false;
	snprintf(text, sizeof(text), "%u.%u.%u.%u", b[3], b[2], b[1], b[0]);
	return ipaddr_parse(text, ret, NULL) == 0;
}

static bool parse_ip6_name(const char *name, struct ipaddr *ret)
{
	if (strlen(name) != 2 * TEXT_OF_IP6_LABELS + strlen("ip6.arpa") ||
	    strcmp(name + 2 * TEXT_OF_IP6_LABELS, "ip6.arpa") != 0)
		return false;
	*ret = (struct ipaddr){.family = AF_INET6, .prefix = 128};
	for (size_t i = 0; i < TEXT_OF_IP6_LABELS; i++) {
		unsigned char c = (unsigned char)name[2 * i];
		size_t nibble = TEXT_OF_IP6_LABELS - 1 - i;

		if (!isxdigit(c) || name[2 * i + 1] != '.')
			return false;
		ret->bytes[nibble / 2] |= (uint8_t)((isdigit(c) ? c - '0' : c - 'a' + 10) << (nibble % 2 ? 0 : 4));
	}
	return true;
}

static void reply_pointer(const ldns_pkt *query, uint16_t type, const char *name, struct dns_packet *ret)
{
	ldns_pkt *p = begin_reply(query, *name ? DNS_NOERROR : DNS_NXDOMAIN);

	ldns_pkt_set_aa(p, true);
	if (*name && (type == LDNS_RR_TYPE_PTR || type == LDNS_RR_TYPE_ANY)) {
		ldns_rdf *value = ldns_dname_new_frm_str(name);

		if (value) /* a name with a label of more than 63 characters cannot be said */
			ldns_pkt_push_rr(p, LDNS_SECTION_ANSWER, make_record(query, LDNS_RR_TYPE_PTR, value));
	}
	finish_reply(p, ret);
}

static bool reply_searched(const struct model *m, const struct dns_asker *who, const ldns_pkt *query,
			   const struct question *q, bool tcp, uint64_t seed, struct dns_packet *ret)
{
	struct dns_addresses found = {0};
	bool known = q->plain && *q->name && dns_lookup_searched(m, who, q->name, &found);

	if (known)
		reply_addresses(query, q->type, &found, size_limit(query, tcp), seed, ret);
	dns_addresses_fini(&found);
	return known;
}

/* False: not ours. */
static bool reply_from_model(const struct model *m, const struct dns_asker *who, const ldns_pkt *query,
			     const struct question *q, bool tcp, uint64_t seed, struct dns_packet *ret)
{
	struct dns_addresses found = {0};
	char name[DNS_NAME_MAX + 1];
	struct ipaddr address;
	bool known;

	if (!q->plain || !*q->name)
		return false;
	if (parse_ip4_name(q->name, &address) || parse_ip6_name(q->name, &address)) {
		if (!dns_lookup_address(m, who, &address, name))
			return false;
		reply_pointer(query, q->type, name, ret);
		return true;
	}
	known = dns_lookup_name(m, who, q->name, &found);
	if (known)
		reply_addresses(query, q->type, &found, size_limit(query, tcp), seed, ret);
	dns_addresses_fini(&found);
	return known;
}

/* ---------------------------------------------------------------- all */

/* A reason not to look for an answer; DNS_NOERROR = none. */
static int check(const ldns_pkt *query, const struct question *q)
{
	if (ldns_pkt_get_opcode(query) != LDNS_PACKET_QUERY)
		return DNS_NOTIMP;
	if (ldns_pkt_ancount(query) || ldns_pkt_nscount(query))
		return DNS_FORMERR;
	if (q->class != LDNS_RR_CLASS_IN || q->type == LDNS_RR_TYPE_AXFR || q->type == LDNS_RR_TYPE_IXFR)
		return DNS_REFUSED;
	return DNS_NOERROR;
}

/*
 * Before the cluster's state has come (once, behind the agent's start) nobody knows what is a service: better "try
 * again" than "no such name" from elsewhere.
 */
static bool may_be_ours(const struct model *m, const struct dns_asker *who, const char *name)
{
	const char *dot = strrchr(name, '.');

	return !model_complete(m) && who->networks->n > 0 &&
	       (!dot || strncmp(name, "tasks.", 6) == 0 || dot[1 + strspn(dot + 1, "0123456789")] == '\0');
}

static enum dns_verdict answer(const struct model *m, const struct dns_asker *who, const ldns_pkt *query,
			       const struct question *q, bool tcp, uint64_t seed, struct dns_packet *ret)
{
	int rcode = check(query, q);

	if (ldns_pkt_edns(query) && ldns_pkt_edns_version(query) != 0) { /* RFC 6891 6.1.3: BADVERS is 16 */
		ldns_pkt *p = begin_reply(query, 0);

		ldns_pkt_set_edns_extended_rcode(p, 1);
		finish_reply(p, ret);
		return DNS_REPLY;
	}
	if (rcode == DNS_NOERROR && reply_from_model(m, who, query, q, tcp, seed, ret))
		return DNS_REPLY;
	if (rcode == DNS_NOERROR && !dns_has_way_out(m, who) && reply_searched(m, who, query, q, tcp, seed, ret))
		return DNS_REPLY;
	if (rcode == DNS_NOERROR && (!ldns_pkt_rd(query) || !dns_has_way_out(m, who)))
		rcode = DNS_REFUSED;
	if (rcode == DNS_NOERROR && may_be_ours(m, who, q->name))
		rcode = DNS_SERVFAIL;
	if (rcode == DNS_NOERROR)
		return DNS_FORWARD;
	reply_empty(query, rcode, ret);
	return DNS_REPLY;
}

enum dns_verdict dns_answer(const struct model *m, const struct dns_asker *who, const uint8_t *in, size_t len, bool tcp,
			    uint64_t seed, struct dns_packet *ret)
{
	struct question q;
	ldns_pkt *query = NULL;
	enum dns_verdict verdict = DNS_REPLY;

	if (len < DNS_HEADER_BYTES || len > DNS_PACKET_MAX || in[2] & 0x80)
		return DNS_DROP;
	if (get16(in + 4) != 1 || !parse_question(in, len, &q) || ldns_wire2pkt(&query, in, len) != LDNS_STATUS_OK)
		reply_formerr(in, ret);
	else
		verdict = answer(m, who, query, &q, tcp, seed, ret);
	ldns_pkt_free(query);
	return verdict;
}

bool dns_answer_searched(const struct model *m, const struct dns_asker *who, const uint8_t *in, size_t len, bool tcp,
			 uint64_t seed, struct dns_packet *ret)
{
	struct question q;
	ldns_pkt *query = NULL;
	bool known;

	known = parse_question(in, len, &q) && ldns_wire2pkt(&query, in, len) == LDNS_STATUS_OK &&
		reply_searched(m, who, query, &q, tcp, seed, ret);
	ldns_pkt_free(query);
	return known;
}

void dns_failure(const uint8_t *in, size_t len, int rcode, struct dns_packet *ret)
{
	ldns_pkt *query = NULL;

	if (ldns_wire2pkt(&query, in, len) == LDNS_STATUS_OK)
		reply_empty(query, rcode, ret);
	else
		reply_formerr(in, ret);
	ldns_pkt_free(query);
}

/* ---------------------------------------------------------------- others' answers */

static bool equal_ignoring_case(const uint8_t *a, const uint8_t *b, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (tolower(a[i]) != tolower(b[i]))
			return false;
	return true;
}

bool dns_is_answer(const uint8_t *query, size_t query_len, uint16_t id, const uint8_t *answer, size_t len)
{
	struct question q;

	if (len < DNS_HEADER_BYTES || get16(answer) != id || !(answer[2] & 0x80) || get16(answer + 4) != 1)
		return false;
	if (!parse_question(query, query_len, &q) || len < q.end)
		return false;
	/* Lengths of labels are no letters; type and class may be. */
	return equal_ignoring_case(query + DNS_HEADER_BYTES, answer + DNS_HEADER_BYTES, q.end - DNS_HEADER_BYTES - 4) &&
	       memcmp(query + q.end - 4, answer + q.end - 4, 4) == 0;
}

int dns_rcode(const uint8_t *packet)
{
	return packet[3] & 0x0f;
}

bool dns_is_truncated(const uint8_t *packet)
{
	return packet[2] & 0x02;
}

void dns_relay(const uint8_t *query, size_t query_len, bool tcp, const uint8_t *answer, size_t len, struct dns_packet *ret)
{
	size_t limit = DNS_PACKET_MAX;
	ldns_pkt *parsed = NULL;
	struct question q;

	if (!tcp) {
		limit = UDP_PLAIN_BYTES;
		if (ldns_wire2pkt(&parsed, query, query_len) == LDNS_STATUS_OK)
			limit = size_limit(parsed, false);
		ldns_pkt_free(parsed);
	}
	*ret = (struct dns_packet){.data = xmemdup(answer, len), .len = len};
	memcpy(ret->data, query, 2);
	if (len > limit && parse_question(answer, len, &q)) {
		ret->len = q.end;
		ret->data[2] |= 0x02;
		memset(ret->data + 6, 0, 6); /* no records */
	}
}
