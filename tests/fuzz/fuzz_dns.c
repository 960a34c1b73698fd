// links: agent_core
/*
 * Bytes as a task's DNS packet, by UDP and TCP: never a crash, every answer is a packet that the library reads, carries the
 * id and fits. Then the same bytes as a resolver's answer, and as a resolv.conf.
 */
#include "../support/dns_fixture.h"
#include "agent/net/dns_conf.h"

#include <ldns/ldns.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_reply(const struct dns_packet *p, const uint8_t *in, size_t most)
{
	ldns_pkt *pkt = NULL;

	if (p->len < DNS_HEADER_BYTES || p->len > most || memcmp(p->data, in, 2) != 0 || !(p->data[2] & 0x80))
		abort();
	if (ldns_wire2pkt(&pkt, p->data, p->len) != LDNS_STATUS_OK)
		abort();
	ldns_pkt_free(pkt);
}

static void as_question(const struct model *m, const uint8_t *data, size_t size)
{
	struct dns_one one;

	dns_one_init(&one, "front-id");
	for (int tcp = 0; tcp < 2; tcp++) {
		struct dns_packet p = {0};
		enum dns_verdict verdict = dns_answer(m, &one.who, data, size, tcp, 1, &p);

		if (verdict == DNS_FORWARD) {
			if (dns_answer_searched(m, &one.who, data, size, tcp, 1, &p))
				free(p.data);
			dns_failure(data, size, DNS_SERVFAIL, &p);
			/* what came is its own answer once it is marked as one */
			uint8_t *copy = xmemdup(data, size);

			copy[2] |= 0x80;
			if (!dns_is_answer(data, size, (uint16_t)(data[0] << 8 | data[1]), copy, size))
				abort();
			free(copy);
		}
		if (verdict != DNS_DROP)
			check_reply(&p, data, tcp ? DNS_PACKET_MAX : 65000);
		else if (p.data)
			abort();
		free(p.data);
	}
	dns_one_fini(&one);
}

static void as_answer(const uint8_t *data, size_t size)
{
	uint8_t query[600];
	size_t len = dns_question(query, "www.example.com", 1, 0);
	struct dns_packet p;

	if (size < DNS_HEADER_BYTES || size > DNS_PACKET_MAX ||
	    !dns_is_answer(query, len, (uint16_t)(data[0] << 8 | data[1]), data, size))
		return;
	dns_rcode(data);
	dns_is_truncated(data);
	dns_relay(query, len, false, data, size, &p);
	if (p.len > 512 || memcmp(p.data, query, 2) != 0)
		abort();
	free(p.data);
}

static void as_conf(const uint8_t *data, size_t size)
{
	_cleanup_free_ char *text = xstrndup((const char *)data, size), *made = NULL;
	_cleanup_pb_ pb_container_spec *spec = pb_new(&skein__container_spec__descriptor);
	struct dns_conf conf, again;

	dns_conf_parse(text, &conf);
	if (conf.servers.n > DNS_CONF_SERVERS_MAX || conf.search.n > DNS_CONF_SEARCH_MAX)
		abort();
	/* what is written is read as the same again */
	made = dns_conf_text(&conf, spec, false);
	dns_conf_parse(made, &again);
	if (again.servers.n > conf.servers.n || again.search.n > conf.search.n)
		abort();
	dns_conf_fini(&conf);
	dns_conf_fini(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct model *m;

	if (!m)
		m = dns_model();
	as_question(m, data, size);
	as_answer(data, size);
	as_conf(data, size);
	return 0;
}
