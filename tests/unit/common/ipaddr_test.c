#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/error.h"
#include "common/ipaddr.h"
#include "common/mem.h"

#include <string.h>
#include <sys/socket.h>

static struct ipaddr ip(const char *s)
{
	struct ipaddr a;

	assert_int_equal(ipaddr_parse(s, &a, NULL), 0);
	return a;
}

static void accepted(void **state)
{
	static const struct {
		const char *text, *back, *host;
		int family;
		unsigned prefix;
	} cases[] = {
		{"10.0.0.1", "10.0.0.1", "10.0.0.1", AF_INET, 32},
		{"10.0.0.1/32", "10.0.0.1", "10.0.0.1", AF_INET, 32},
		{"10.0.0.1/24", "10.0.0.1/24", "10.0.0.1", AF_INET, 24},
		{"0.0.0.0/0", "0.0.0.0/0", "0.0.0.0", AF_INET, 0},
		{"255.255.255.255", "255.255.255.255", "255.255.255.255", AF_INET, 32},
		{"FD00:0:0::1/64", "fd00::1/64", "fd00::1", AF_INET6, 64},
		{"::/0", "::/0", "::", AF_INET6, 0},
		{"::1/128", "::1", "::1", AF_INET6, 128},
		{"2001:db8:0:1:0:0:0:1", "2001:db8:0:1::1", "2001:db8:0:1::1", AF_INET6, 128},
		{"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/127",
		 "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/127",
		 "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", AF_INET6, 127},
	};
	char buf[IPADDR_TEXT_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct ipaddr a = ip(cases[i].text);

		assert_int_equal(a.family, cases[i].family);
		assert_int_equal(a.prefix, cases[i].prefix);
		assert_string_equal(ipaddr_format(&a, buf), cases[i].back);
		assert_string_equal(ipaddr_format_host(&a, buf), cases[i].host);
	}
	assert_string_equal(ipaddr_format(&(struct ipaddr){}, buf), "");
	assert_false(ipaddr_is_set(&(struct ipaddr){}));
}

static void refused(void **state)
{
	static const char *const bad[] = {"",
					  "/",
					  "10.0.0",
					  "10.0.0.256",
					  "10.0.0.01",
					  "10.0.0.1/",
					  "10.0.0.1/33",
					  "10.0.0.1/-1",
					  "10.0.0.1/08",
					  "10.0.0.1/24x",
					  "10.0.0.1/+8",
					  "10.0.0.1 ",
					  " 10.0.0.1",
					  "fd00::1%eth0",
					  "fd00:::1",
					  "::/129",
					  "1/2/3",
					  "10.0.0.1/24/24",
					  "10.0.0.1/4294967320",
					  "web"};
	static const char *const bad_subnets[] = {"10.0.0.0", "10.0.0.1/24", "fd00::1/64",
						  "10.128.0.0/8", "fd00::"};
	struct error err = ERROR_INIT;
	struct ipaddr a;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		if (ipaddr_parse(bad[i], &a, &err) == 0 ||
		    ipaddr_parse_subnet(bad[i], &a, &err) == 0)
			fail_msg("accepted \"%s\"", bad[i]);
		assert_int_equal(err.code, ERR_INVALID);
		assert_non_null(strstr(err.msg, bad[i]));
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad_subnets); i++) {
		if (ipaddr_parse_subnet(bad_subnets[i], &a, &err) == 0)
			fail_msg("accepted \"%s\"", bad_subnets[i]);
		assert_non_null(strstr(err.msg, bad_subnets[i]));
	}
	assert_int_equal(ipaddr_parse_subnet("10.0.1.7/24", &a, &err), -1);
	assert_string_equal(err.msg,
			    "\"10.0.1.7/24\" is not a subnet: that of this address is 10.0.1.0/24");
	assert_int_equal(ipaddr_parse(NULL, &a, &err), -1);
	assert_int_equal(ipaddr_parse_subnet("10.0.1.0/24", &a, NULL), 0);
	assert_int_equal(ipaddr_parse_subnet("fd00:1::/64", &a, NULL), 0);
}

static void inside_and_overlap(void **state)
{
	static const struct {
		const char *a, *b;
		bool a_contains_b, b_contains_a;
	} cases[] = {
		{"10.0.0.0/8", "10.255.0.0/16", true, false},
		{"10.0.0.0/24", "10.0.0.0/24", true, true},
		{"10.0.0.0/24", "10.0.1.0/24", false, false},
		{"10.0.0.0/24", "10.0.0.255", true, false},
		{"10.0.0.7/24", "10.0.0.1", true,
		 false}, /* the bits behind the prefix do not count */
		{"0.0.0.0/0", "9.9.9.9", true, false},
		{"0.0.0.0/0", "::/0", false, false},
		{"fd00::/48", "fd00:0:0:ff::/64", true, false},
		{"fd00::/48", "fd00:0:1::/64", false, false},
		{"::/0", "fd00::1", true, false},
		{"10.0.0.0/31", "10.0.0.2/31", false, false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct ipaddr a = ip(cases[i].a), b = ip(cases[i].b);

		assert_int_equal(ipaddr_contains(&a, &b), cases[i].a_contains_b);
		assert_int_equal(ipaddr_contains(&b, &a), cases[i].b_contains_a);
		assert_int_equal(ipaddr_overlaps(&a, &b),
				 cases[i].a_contains_b || cases[i].b_contains_a);
		assert_int_equal(ipaddr_overlaps(&b, &a),
				 cases[i].a_contains_b || cases[i].b_contains_a);
	}
	assert_false(ipaddr_contains(&(struct ipaddr){}, &(struct ipaddr){}));
}

static void comparing(void **state)
{
	/* In order. */
	static const char *const all[] = {"0.0.0.0/0",	"10.0.0.0/8", "10.0.0.0/24", "10.0.0.0",
					  "10.0.0.1/8", "255.0.0.0",  "::/0",	     "::1",
					  "fd00::/48",	"fd00::"};

	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		for (size_t j = 0; j < ARRAY_SIZE(all); j++) {
			struct ipaddr a = ip(all[i]), b = ip(all[j]);

			assert_int_equal(ipaddr_cmp(&a, &b), (i > j) - (i < j));
			assert_int_equal(ipaddr_equal(&a, &b), i == j);
		}
	assert_true(ipaddr_same_host(&(struct ipaddr){AF_INET, 8, {10}},
				     &(struct ipaddr){AF_INET, 32, {10}}));
	assert_false(ipaddr_same_host(&(struct ipaddr){AF_INET, 8, {10}},
				      &(struct ipaddr){AF_INET6, 8, {10}}));
	assert_true(ipaddr_equal(&(struct ipaddr){}, &(struct ipaddr){}));
}

static void counting(void **state)
{
	static const struct {
		const char *subnet, *host, *last;
		uint64_t index, count;
	} cases[] = {
		{"10.0.1.0/24", "10.0.1.0", "10.0.1.255", 0, 256},
		{"10.0.1.0/24", "10.0.1.255", "10.0.1.255", 255, 256},
		{"10.0.0.0/8", "10.1.2.3", "10.255.255.255", 0x10203, 1 << 24},
		{"10.0.0.8/31", "10.0.0.9", "10.0.0.9", 1, 2},
		{"10.0.0.8", "10.0.0.8", "10.0.0.8", 0, 1},
		{"0.0.0.0/0", "255.255.255.255", "255.255.255.255", UINT32_MAX, UINT64_C(1) << 32},
		{"fd00::/64", "fd00::1:2", "fd00::ffff:ffff:ffff:ffff", 0x10002, UINT64_MAX},
		{"fd00::/65", "fd00::7fff:ffff:ffff:ffff", "fd00::7fff:ffff:ffff:ffff", INT64_MAX,
		 UINT64_C(1) << 63},
		{"fd00::/48", "fd00::1:0:0:0:5", "fd00::ffff:ffff:ffff:ffff:ffff", UINT64_MAX,
		 UINT64_MAX},
		{"fd00::/48", "fd00::5", "fd00::ffff:ffff:ffff:ffff:ffff", 5, UINT64_MAX},
		{"10.0.1.0/24", "10.0.2.0", "10.0.1.255", UINT64_MAX, 256},
		{"10.0.1.0/24", "fd00::", "10.0.1.255", UINT64_MAX, 256},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct ipaddr net = ip(cases[i].subnet), host = ip(cases[i].host), back,
			      last = ip(cases[i].last);

		assert_true(ipaddr_index(&net, &host) == cases[i].index);
		assert_true(ipaddr_count(&net) == cases[i].count);
		back = ipaddr_last(&net);
		assert_true(ipaddr_equal(&back, &last));
		if (cases[i].index == UINT64_MAX)
			continue;
		back = ipaddr_nth(&net, cases[i].index);
		assert_true(ipaddr_equal(&back, &host));
	}
	assert_true(ipaddr_count(&(struct ipaddr){}) == 0);
}

static void network_and_host(void **state)
{
	struct ipaddr a = ip("10.9.8.7/20"), n = ipaddr_network(&a), h = ipaddr_host(&a);
	char buf[IPADDR_TEXT_MAX];

	assert_string_equal(ipaddr_format(&n, buf), "10.9.0.0/20");
	assert_string_equal(ipaddr_format(&h, buf), "10.9.8.7");
	a = ip("fd00:1:2:3:4::5/50");
	n = ipaddr_network(&a);
	assert_string_equal(ipaddr_format(&n, buf), "fd00:1:2::/50");
}

static void macs(void **state)
{
	static const char *const bad[] = {"",
					  "02:42:0a:00:01",
					  "02:42:0a:00:01:05:06",
					  "02-42-0a-00-01-05",
					  "02:42:0a:00:01:0g",
					  "2:42:0a:00:01:05:",
					  "02:42:0a:00:01:5 "};
	char buf[MAC_TEXT_MAX];
	struct ipaddr v4 = ip("10.0.1.5/24"), v6 = ip("fd00::a1b2:c3d4/64");
	struct mac m;
	struct error err = ERROR_INIT;

	m = mac_of_address(&v4);
	assert_string_equal(mac_format(&m, buf), "02:42:0a:00:01:05");
	m = mac_of_address(&v6);
	assert_string_equal(mac_format(&m, buf), "02:43:a1:b2:c3:d4");
	m = mac_of_node(258);
	assert_string_equal(mac_format(&m, buf), "02:53:4b:00:01:02");
	assert_int_equal(mac_parse("0A:ff:00:12:34:Fe", &m, NULL), 0);
	assert_string_equal(mac_format(&m, buf), "0a:ff:00:12:34:fe");
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		if (mac_parse(bad[i], &m, &err) == 0)
			fail_msg("accepted \"%s\"", bad[i]);
		assert_non_null(strstr(err.msg, bad[i]));
	}
	assert_int_equal(mac_parse(NULL, &m, &err), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(accepted),
		cmocka_unit_test(refused),
		cmocka_unit_test(inside_and_overlap),
		cmocka_unit_test(comparing),
		cmocka_unit_test(counting),
		cmocka_unit_test(network_and_host),
		cmocka_unit_test(macs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
