/* What tasks are answered: names, types, sizes, and packets that are none. Answers are read by the library. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "support/dns_fixture.h"

#include <ldns/ldns.h>
#include <stdio.h>

#define A LDNS_RR_TYPE_A
#define AAAA LDNS_RR_TYPE_AAAA
#define ANY LDNS_RR_TYPE_ANY
#define PTR LDNS_RR_TYPE_PTR
#define MX LDNS_RR_TYPE_MX

static struct model *model;

/* Everything about one answer. */
struct got {
	enum dns_verdict verdict;
	struct dns_packet packet;
	ldns_pkt *pkt;
	char values[512]; /* of the records, sorted by the address's text, joined by spaces */
};

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void read_values(struct got *g)
{
	ldns_rr_list *list = ldns_pkt_answer(g->pkt);
	char *v[64];
	size_t n = 0;

	for (size_t i = 0; i < ldns_rr_list_rr_count(list) && n < ARRAY_SIZE(v); i++) {
		assert_int_equal(ldns_rr_ttl(ldns_rr_list_rr(list, i)), DNS_TTL);
		v[n++] = ldns_rdf2str(ldns_rr_rdf(ldns_rr_list_rr(list, i), 0));
	}
	qsort(v, n, sizeof(*v), by_text);
	for (size_t i = 0; i < n; i++) {
		snprintf(g->values + strlen(g->values), sizeof(g->values) - strlen(g->values), "%s%s", i ? " " : "", v[i]);
		free(v[i]);
	}
}

static void ask_packet(struct got *g, const struct dns_asker *who, const uint8_t *in, size_t len, bool tcp)
{
	*g = (struct got){0};
	g->verdict = dns_answer(model, who, in, len, tcp, 1, &g->packet);
	if (g->verdict != DNS_REPLY)
		return;
	assert_int_equal(ldns_wire2pkt(&g->pkt, g->packet.data, g->packet.len), LDNS_STATUS_OK);
	assert_true(ldns_pkt_qr(g->pkt));
	assert_memory_equal(g->packet.data, in, 2);
	read_values(g);
}

static void got_fini(struct got *g)
{
	ldns_pkt_free(g->pkt);
	free(g->packet.data);
}

static void ask(struct got *g, const char *network, const char *name, uint16_t type)
{
	uint8_t in[600];
	struct dns_one one;

	dns_one_init(&one, network);
	ask_packet(g, &one.who, in, dns_question(in, name, type, 0), false);
	dns_one_fini(&one);
}

/* ---------------------------------------------------------------- names */

struct row {
	const char *name;
	uint16_t type;
	const char *want;    /* values; NULL = asked elsewhere */
	const char *network; /* of the asker; NULL = front-id */
	int rcode;
};

static const struct row rows[] = {
	{"web", A, "10.0.1.2"},
	{"WEB", A, "10.0.1.2"},
	{"web", AAAA, "fd00:1::2"},
	{"web", ANY, "10.0.1.2 fd00:1::2"},
	{"web", MX, ""},
	{"web.corp.example", A, NULL}, /* may be somebody else's: below */
	{"other.corp.example", A, "10.0.2.2", "back-id"}, /* nobody else is asked */
	{"web.front", A, "10.0.1.2"},
	{"web.front.corp.example", A, NULL},
	{"web.back", A, NULL},
	{"web.example", A, NULL},
	{"corp.example", A, NULL},
	{"tasks.web", A, "10.0.1.11 10.0.1.12"},
	{"TASKS.web", AAAA, "fd00:1::11 fd00:1::12"},
	{"tasks.web.front", A, "10.0.1.11 10.0.1.12"},
	{"tasks.nothing", A, NULL},
	{"tasks", A, NULL},
	{"web.1", A, "10.0.1.11"},
	{"web.3", A, "10.0.1.13"}, /* not ready: found all the same */
	{"web.4", A, NULL},
	{"web.1." DNS_TASK_WEB1, A, "10.0.1.11"},
	{"web.2." DNS_TASK_WEB1, A, NULL},
	{"db", A, "10.0.1.21 10.0.1.22"},
	{"db", AAAA, ""},
	{"tasks.db", A, "10.0.1.21 10.0.1.22"},
	{"empty", A, ""}, /* ours, and nobody there */
	{"tasks.empty", A, ""},
	{"site", A, "10.0.1.2 10.0.1.3"}, /* both services that have the alias */
	{"SITE.front", A, "10.0.1.2 10.0.1.3"},
	{"store", A, "10.0.1.21 10.0.1.22"},
	{"myhost", A, "10.0.1.40"},
	{"myhost", AAAA, ""},
	{"other", A, NULL},
	{"hidden", A, NULL},
	{"other", A, "10.0.2.2", "back-id"},
	{"hidden", A, "10.0.2.2", "back-id"},
	{"web", A, "", "back-id", DNS_REFUSED}, /* only internal networks: nobody else is asked */
	{"example.com", A, "", "back-id", DNS_REFUSED},
	{"example.com", A, NULL},
	{"", A, NULL},
	{"11.1.0.10.in-addr.arpa", PTR, "web.1.front."},
	{"2.1.0.10.in-addr.arpa", PTR, "web.front."},
	{"11.1.0.10.IN-ADDR.arpa", A, ""},
	{"99.1.0.10.in-addr.arpa", PTR, "", .rcode = DNS_NXDOMAIN},
	{"11.2.0.10.in-addr.arpa", PTR, NULL}, /* of a network that it is not in */
	{"8.8.8.8.in-addr.arpa", PTR, NULL},
	{"300.1.0.10.in-addr.arpa", PTR, NULL},
	{"1.0.10.in-addr.arpa", PTR, NULL},
	{"1.1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.1.0.0.0.0.0.d.f.ip6.arpa", PTR, "web.1.front."},
	{"f.1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.1.0.0.0.0.0.d.f.ip6.arpa", PTR, "", .rcode = DNS_NXDOMAIN},
	{"g.1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.1.0.0.0.0.0.d.f.ip6.arpa", PTR, NULL},
};

static void every_name(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct got g;

		ask(&g, rows[i].network ? rows[i].network : "front-id", rows[i].name, rows[i].type);
		if (!rows[i].want) {
			if (g.verdict != DNS_FORWARD)
				fail_msg("%s: answered with \"%s\"", rows[i].name, g.values);
			continue;
		}
		if (g.verdict != DNS_REPLY || strcmp(g.values, rows[i].want) != 0 ||
		    (int)ldns_pkt_get_rcode(g.pkt) != rows[i].rcode)
			fail_msg("%s: verdict %d, rcode %d, \"%s\" (want \"%s\")", rows[i].name, g.verdict,
				 g.pkt ? (int)ldns_pkt_get_rcode(g.pkt) : -1, g.values, rows[i].want);
		got_fini(&g);
	}
}

static void searched_names_are_ours_when_nobody_has_them(void **state)
{
	static const struct row searched[] = {
		{"web.corp.example", A, "10.0.1.2"},
		{"Web.Corp.Example", AAAA, "fd00:1::2"},
		{"web.front.corp.example", A, "10.0.1.2"},
		{"tasks.db.corp.example", A, "10.0.1.21 10.0.1.22"},
		{"web.example", A, NULL},
		{"web", A, NULL},
		{"other.corp.example", A, NULL},
		{"corp.example", A, NULL},
	};

	for (size_t i = 0; i < ARRAY_SIZE(searched); i++) {
		uint8_t in[600];
		size_t len = dns_question(in, searched[i].name, searched[i].type, 0);
		struct dns_one one;
		struct got g = {0};
		bool known;

		dns_one_init(&one, "front-id");
		known = dns_answer_searched(model, &one.who, in, len, false, 1, &g.packet);
		assert_int_equal(known, searched[i].want != NULL);
		if (known) {
			assert_int_equal(ldns_wire2pkt(&g.pkt, g.packet.data, g.packet.len), LDNS_STATUS_OK);
			read_values(&g);
			assert_string_equal(g.values, searched[i].want);
		}
		got_fini(&g);
		dns_one_fini(&one);
	}
}

static void two_networks_answer_together(void **state)
{
	uint8_t in[600];
	struct dns_one one;
	struct got g;

	dns_one_init(&one, "back-id");
	strv_add(&one.networks, "front-id");
	strv_add(&one.networks, "unknown-id");
	ask_packet(&g, &one.who, in, dns_question(in, "other", A, 0), false);
	assert_string_equal(g.values, "10.0.2.2");
	got_fini(&g);
	ask_packet(&g, &one.who, in, dns_question(in, "web", A, 0), false);
	assert_string_equal(g.values, "10.0.1.2");
	got_fini(&g);
	/* one of them leads out */
	ask_packet(&g, &one.who, in, dns_question(in, "example.com", A, 0), false);
	assert_int_equal(g.verdict, DNS_FORWARD);
	dns_one_fini(&one);
}

static void a_task_without_networks_knows_itself_only(void **state)
{
	struct got g;

	ask(&g, NULL, "web", A);
	assert_int_equal(g.verdict, DNS_FORWARD);
	ask(&g, NULL, "empty", A);
	assert_int_equal(g.verdict, DNS_FORWARD);
	ask(&g, NULL, "myhost", A);
	assert_string_equal(g.values, "10.0.1.40");
	got_fini(&g);
}

static void a_task_that_is_about_to_stop_is_no_longer_named(void **state)
{
	struct got g;

	model_set_draining(model, "web2", true);
	ask(&g, "front-id", "tasks.web", A);
	assert_string_equal(g.values, "10.0.1.11");
	got_fini(&g);
	model_set_draining(model, "web2", false);
}

static void before_the_state_has_come_it_says_try_again(void **state)
{
	struct model *full = model;
	struct got g;

	model = model_new(NULL);
	ask(&g, "front-id", "web", A);
	assert_int_equal(ldns_pkt_get_rcode(g.pkt), DNS_SERVFAIL);
	got_fini(&g);
	ask(&g, "front-id", "tasks.web", A);
	assert_int_equal(ldns_pkt_get_rcode(g.pkt), DNS_SERVFAIL);
	got_fini(&g);
	ask(&g, "front-id", "web.1", A);
	assert_int_equal(ldns_pkt_get_rcode(g.pkt), DNS_SERVFAIL);
	got_fini(&g);
	ask(&g, "front-id", "www.example.com", A);
	assert_int_equal(g.verdict, DNS_FORWARD);
	model_free(model);
	model = full;
}

/* ---------------------------------------------------------------- many addresses */

static void add_many(struct model *m, size_t n)
{
	_cleanup_pb_ pb_net_state *s = pb_new(&skein__net_state__descriptor);
	struct error err = ERROR_INIT;

	s->applies_to = 1;
	s->results_in = 2;
	pb_msgs_add(&s->n_services, &s->services, dns_service("many-id", "many", NULL, NULL, NULL));
	for (size_t i = 0; i < n; i++) {
		char id[32], address[32];
		pb_net_endpoint *e;

		snprintf(id, sizeof(id), "many%zu", i);
		snprintf(address, sizeof(address), "10.%zu.%zu.%zu/8", 1 + i / 65536, i / 256 % 256, i % 256);
		e = dns_endpoint(id, "many-id", id, true);
		dns_place(e, "front-id", address, "", NULL);
		pb_msgs_add(&s->n_endpoints, &s->endpoints, e);
	}
	assert_int_equal(model_apply(m, s, &err), 0);
	assert_int_equal(model_malformed(m), 0);
}

static void answers_fit_what_the_client_takes(void **state)
{
	static const struct {
		uint16_t edns;
		bool tcp;
		size_t n, most;
		bool truncated;
	} sizes[] = {
		{0, false, 20, 512, false},
		{0, false, 100, 512, true},
		{100, false, 100, 512, true}, /* less than 512 means 512 */
		{1232, false, 100, 1232, true},
		{4096, false, 100, 4096, false},
		{65535, false, 5000, 65000, false},
		{0, true, 100, 65535, false},
		{0, true, 5000, 65535, false}, /* bounded: DNS_ADDRESSES_MAX of them */
	};

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct model *full = model;
		struct dns_one one;
		uint8_t in[600];
		struct got g;
		size_t n;

		model = dns_model();
		add_many(model, sizes[i].n);
		dns_one_init(&one, "front-id");
		ask_packet(&g, &one.who, in, dns_question(in, "many", A, sizes[i].edns), sizes[i].tcp);
		n = ldns_rr_list_rr_count(ldns_pkt_answer(g.pkt));
		assert_true(g.packet.len <= sizes[i].most);
		assert_int_equal(ldns_pkt_tc(g.pkt), sizes[i].truncated);
		if (sizes[i].truncated) /* as many as fit: one more would be 16 bytes */
			assert_true(n > 0 && n < sizes[i].n && g.packet.len + 16 > sizes[i].most);
		else
			assert_int_equal(n, MIN(sizes[i].n, DNS_ADDRESSES_MAX));
		assert_int_equal(ldns_pkt_edns(g.pkt), sizes[i].edns != 0);
		got_fini(&g);
		dns_one_fini(&one);
		model_free(model);
		model = full;
	}
}

static void the_order_changes_with_the_seed(void **state)
{
	struct dns_one one;
	uint8_t in[600];
	size_t len = dns_question(in, "db", A, 0);
	unsigned first[2] = {0};

	dns_one_init(&one, "front-id");
	for (uint64_t seed = 0; seed < 1000; seed++) {
		struct dns_packet p;

		assert_int_equal(dns_answer(model, &one.who, in, len, false, seed, &p), DNS_REPLY);
		/* header, question, then name, type, class, ttl, length (12 bytes) and the address */
		first[p.data[len + 12 + 3] - 21]++;
		free(p.data);
	}
	assert_true(first[0] > 400 && first[1] > 400);
	dns_one_fini(&one);
}

/* ---------------------------------------------------------------- packets that are not as they should be */

static void check_packet(const uint8_t *in, size_t len, enum dns_verdict verdict, int rcode)
{
	struct dns_one one;
	struct got g;

	dns_one_init(&one, "front-id");
	ask_packet(&g, &one.who, in, len, false);
	assert_int_equal(g.verdict, verdict);
	if (g.pkt)
		assert_int_equal(ldns_pkt_get_rcode(g.pkt), rcode);
	got_fini(&g);
	dns_one_fini(&one);
}

static void malformed_ones(void **state)
{
	uint8_t in[600], longest[600];
	size_t len = dns_question(in, "web", A, 0), n;

	for (size_t i = 0; i < DNS_HEADER_BYTES; i++)
		check_packet(in, i, DNS_DROP, 0);
	for (size_t i = DNS_HEADER_BYTES; i < len; i++)
		check_packet(in, i, DNS_REPLY, DNS_FORMERR);
	in[5] = 0; /* no question */
	check_packet(in, len, DNS_REPLY, DNS_FORMERR);
	in[5] = 2;
	check_packet(in, len, DNS_REPLY, DNS_FORMERR);
	in[5] = 1;
	in[7] = 1; /* an answer that is not there */
	check_packet(in, len, DNS_REPLY, DNS_FORMERR);
	in[7] = 0;
	in[2] |= 0x80; /* a response */
	check_packet(in, len, DNS_DROP, 0);
	in[2] &= 0x7f;
	in[12] = 0xc0; /* a name that points at itself */
	in[13] = 12;
	check_packet(in, len, DNS_REPLY, DNS_FORMERR);
	in[12] = 0x43; /* an unknown kind of label */
	check_packet(in, len, DNS_REPLY, DNS_FORMERR);
	/* a name of more than 255 bytes: labels of 63 */
	n = dns_question(longest, "", A, 0);
	memset(longest + 12, 'a', 400);
	for (size_t i = 0; i < 5; i++)
		longest[12 + 64 * i] = 63;
	longest[12 + 320] = 0;
	check_packet(longest, 12 + 321 + 4, DNS_REPLY, DNS_FORMERR);
	assert_true(n > 0);
}

static void questions_that_are_not_answered(void **state)
{
	uint8_t in[600];
	size_t len = dns_question(in, "web", A, 0);

	in[2] |= 0x28; /* update */
	check_packet(in, len, DNS_REPLY, DNS_NOTIMP);
	len = dns_question(in, "web", A, 0);
	in[len - 1] = 3; /* class CH */
	check_packet(in, len, DNS_REPLY, DNS_REFUSED);
	len = dns_question(in, "web", LDNS_RR_TYPE_AXFR, 0);
	check_packet(in, len, DNS_REPLY, DNS_REFUSED);
	len = dns_question(in, "example.com", A, 0);
	in[2] = 0; /* no recursion wanted */
	check_packet(in, len, DNS_REPLY, DNS_REFUSED);
	len = dns_question(in, "web", A, 0);
	in[2] = 0; /* ours needs none */
	check_packet(in, len, DNS_REPLY, DNS_NOERROR);
}

static void a_newer_edns_is_told_so(void **state)
{
	uint8_t in[600];
	size_t len = dns_question(in, "web", A, 1232);
	struct dns_one one;
	struct got g;

	in[len - 5] = 1; /* version */
	dns_one_init(&one, "front-id");
	ask_packet(&g, &one.who, in, len, false);
	assert_int_equal(ldns_pkt_edns_extended_rcode(g.pkt), 1);
	assert_int_equal(ldns_pkt_ancount(g.pkt), 0);
	got_fini(&g);
	dns_one_fini(&one);
}

/* A name with bytes that no host has is nobody's of ours, and is asked elsewhere as it is. */
static void strange_bytes_are_left_alone(void **state)
{
	uint8_t in[600];
	size_t len = dns_question(in, "w\001b", A, 0);

	check_packet(in, len, DNS_FORWARD, 0);
	len = dns_question(in, "web?1", A, 0);
	in[16] = '.'; /* one label "web.1" is not the two of an endpoint */
	check_packet(in, len, DNS_FORWARD, 0);
}

/* ---------------------------------------------------------------- others' answers */

static void only_the_answer_counts(void **state)
{
	uint8_t query[600], answer[600];
	size_t len = dns_question(query, "www.Example.com", A, 0);

	memcpy(answer, query, len);
	answer[0] = 0x56;
	answer[1] = 0x78;
	answer[2] |= 0x80;
	assert_true(dns_is_answer(query, len, 0x5678, answer, len));
	answer[17] = 'e';
	assert_true(dns_is_answer(query, len, 0x5678, answer, len)); /* case does not count */
	assert_false(dns_is_answer(query, len, 0x5679, answer, len));
	assert_false(dns_is_answer(query, len, 0x5678, answer, len - 1));
	assert_false(dns_is_answer(query, len, 0x5678, answer, 11));
	answer[2] &= 0x7f;
	assert_false(dns_is_answer(query, len, 0x5678, answer, len)); /* a question */
	answer[2] |= 0x80;
	answer[14] = 'x';
	assert_false(dns_is_answer(query, len, 0x5678, answer, len)); /* another name */
	answer[14] = 'w';
	answer[len - 3] = 28;
	assert_false(dns_is_answer(query, len, 0x5678, answer, len)); /* another type */
	query[len - 3] = 65; /* types that differ as letters of another case do */
	answer[len - 3] = 97;
	assert_false(dns_is_answer(query, len, 0x5678, answer, len));
	query[len - 3] = answer[len - 3] = A;
	answer[5] = 0;
	assert_false(dns_is_answer(query, len, 0x5678, answer, len));
}

static void a_large_answer_is_cut_for_udp(void **state)
{
	uint8_t query[600], answer[2000] = {0};
	size_t len = dns_question(query, "www.example.com", A, 0);
	struct dns_packet p;

	memcpy(answer, query, len);
	answer[0] = 0x56;
	answer[2] |= 0x80;
	answer[7] = 99;
	dns_relay(query, len, false, answer, 512, &p);
	assert_int_equal(p.len, 512);
	assert_false(dns_is_truncated(p.data));
	assert_memory_equal(p.data, query, 2);
	free(p.data);
	dns_relay(query, len, false, answer, sizeof(answer), &p);
	assert_int_equal(p.len, len);
	assert_true(dns_is_truncated(p.data));
	assert_int_equal(p.data[7], 0);
	free(p.data);
	dns_relay(query, len, true, answer, sizeof(answer), &p);
	assert_int_equal(p.len, sizeof(answer));
	free(p.data);
	len = dns_question(query, "www.example.com", A, 4096);
	dns_relay(query, len, false, answer, sizeof(answer), &p);
	assert_int_equal(p.len, sizeof(answer));
	free(p.data);
}

static void failures_carry_the_question(void **state)
{
	uint8_t query[600];
	size_t len = dns_question(query, "www.example.com", A, 1232);
	struct dns_packet p;
	ldns_pkt *pkt = NULL;

	dns_failure(query, len, DNS_SERVFAIL, &p);
	assert_int_equal(ldns_wire2pkt(&pkt, p.data, p.len), LDNS_STATUS_OK);
	assert_int_equal(ldns_pkt_get_rcode(pkt), DNS_SERVFAIL);
	assert_int_equal(ldns_pkt_qdcount(pkt), 1);
	assert_true(ldns_pkt_edns(pkt));
	ldns_pkt_free(pkt);
	free(p.data);
}

static int setup(void **state)
{
	model = dns_model();
	return 0;
}

static int teardown(void **state)
{
	model_free(model);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_name),
		cmocka_unit_test(searched_names_are_ours_when_nobody_has_them),
		cmocka_unit_test(two_networks_answer_together),
		cmocka_unit_test(a_task_without_networks_knows_itself_only),
		cmocka_unit_test(a_task_that_is_about_to_stop_is_no_longer_named),
		cmocka_unit_test(before_the_state_has_come_it_says_try_again),
		cmocka_unit_test(answers_fit_what_the_client_takes),
		cmocka_unit_test(the_order_changes_with_the_seed),
		cmocka_unit_test(malformed_ones),
		cmocka_unit_test(questions_that_are_not_answered),
		cmocka_unit_test(a_newer_edns_is_told_so),
		cmocka_unit_test(strange_bytes_are_left_alone),
		cmocka_unit_test(only_the_answer_counts),
		cmocka_unit_test(a_large_answer_is_cut_for_udp),
		cmocka_unit_test(failures_carry_the_question),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
