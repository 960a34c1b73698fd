/* Networks, names and pools as they are typed. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "clusterctl/values_net.h"

#include "common/error.h"
#include "common/mem.h"

#include <string.h>

/* `want` NULL: refused, and the message names the value (`says`). */
struct row {
	const char *text, *want, *says;
};

static void check_message(const char *text, const struct error *err, const char *says)
{
	assert_int_equal(err->code, ERR_INVALID);
	if (!strstr(err->msg, says))
		fail_msg("%s: \"%s\" lacks \"%s\"", text, err->msg, says);
}

static void networks(void **state)
{
	static const struct row cases[] = {
		{"front", "front - -", NULL},
		{"name=front", "front - -", NULL},
		{"name=front,alias=web,alias=www", "front web,www, - -", NULL},
		{"alias=web,name=front,ip=10.0.1.5,ip6=FD00::5", "front web, 10.0.1.5 fd00::5", NULL},
		{"", NULL, "\"\": expected the name of a network"},
		{"a b", NULL, "\"a b\": expected the name of a network"},
		{"alias=web", NULL, "\"alias=web\": expected the name of a network"},
		{"name=", NULL, "expected the name of a network"},
		{"name=x,alias=", NULL, "alias=\"\": expected a name"},
		{"name=x,alias=a b", NULL, "alias=\"a b\""},
		{"name=x,ip=10.0.0.0/8", NULL, "ip=\"10.0.0.0/8\": expected an IPv4 address"},
		{"name=x,ip=fd00::1", NULL, "ip=\"fd00::1\": expected an IPv4 address"},
		{"name=x,ip6=10.0.0.1", NULL, "ip6=\"10.0.0.1\": expected an IPv6 address"},
		{"name=x,driver-opt=y", NULL, "unknown key \"driver-opt\": expected name, alias, ip, ip6"},
		{"front,alias=x", NULL, "\"front\": expected NAME or name=NAME"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct error err = ERROR_INIT;
		_cleanup_pb_ pb_attachment_config *c = value_network(cases[i].text, &err);
		_cleanup_strbuf_ struct strbuf text = {0};

		if (!c != !cases[i].want)
			fail_msg("%s: %s", cases[i].text, c ? "was taken" : err.msg);
		if (!c) {
			check_message(cases[i].text, &err, cases[i].says);
			continue;
		}
		strbuf_puts(&text, c->network_id);
		strbuf_putc(&text, ' ');
		for (size_t k = 0; k < c->n_aliases; k++)
			strbuf_printf(&text, "%s,", c->aliases[k]);
		strbuf_printf(&text, "%s%s %s", c->n_aliases ? " " : "", *c->ipv4 ? c->ipv4 : "-", *c->ipv6 ? c->ipv6 : "-");
		assert_string_equal(text.p, cases[i].want);
	}
}

static void names(void **state)
{
	static const struct row servers[] = {
		{"10.0.0.53", "10.0.0.53", NULL},
		{"FD00::53", "fd00::53", NULL},
		{"dns.example", NULL, "\"dns.example\": expected the IP address"},
		{"10.0.0.0/8", NULL, "\"10.0.0.0/8\""},
		{"", NULL, "\"\""},
	};
	static const struct row hosts[] = {
		{"db:10.0.0.5", "10.0.0.5 db", NULL},
		{"db=10.0.0.5", "10.0.0.5 db", NULL},
		{"db:fd00::5", "fd00::5 db", NULL},
		{"db:[fd00::5]", "fd00::5 db", NULL},
		{"db.example.com:10.0.0.5", "10.0.0.5 db.example.com", NULL},
		{"db", NULL, "\"db\": expected NAME:IP"},
		{"db:", NULL, "\"db:\""},
		{":10.0.0.5", NULL, "\":10.0.0.5\""},
		{"d b:10.0.0.5", NULL, "\"d b:10.0.0.5\""},
		{"db:10.0.0.5/8", NULL, "expected NAME:IP"},
		{"-db:10.0.0.5", NULL, "expected NAME:IP"},
	};
	static const struct row searches[] = {
		{"example.com", "", NULL}, {"example.com.", "", NULL}, {".", "", NULL}, {"a_b-c.d", "", NULL},
		{"", NULL, "\"\""},        {"a b", NULL, "\"a b\": expected a domain"}, {"a..b", NULL, "a..b"}, {"-a", NULL, "-a"},
	};
	static const struct row options[] = {
		{"ndots:2", "", NULL}, {"rotate", "", NULL}, {"", NULL, "\"\": expected an option"}, {"a b", NULL, "\"a b\""}, {"a\nb", NULL, "expected"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(servers); i++) {
		struct error err = ERROR_INIT;
		_cleanup_free_ char *got = value_dns_server(servers[i].text, &err);

		if (servers[i].want)
			assert_string_equal(got, servers[i].want);
		else
			check_message(servers[i].text, &err, servers[i].says);
	}
	for (size_t i = 0; i < ARRAY_SIZE(hosts); i++) {
		struct error err = ERROR_INIT;
		_cleanup_free_ char *got = value_host(hosts[i].text, &err);

		if (hosts[i].want)
			assert_string_equal(got, hosts[i].want);
		else
			check_message(hosts[i].text, &err, hosts[i].says);
	}
	for (size_t i = 0; i < ARRAY_SIZE(searches); i++) {
		struct error err = ERROR_INIT;

		assert_int_equal(value_dns_search(searches[i].text, &err), searches[i].want ? 0 : -1);
		if (!searches[i].want)
			check_message(searches[i].text, &err, searches[i].says);
	}
	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		struct error err = ERROR_INIT;

		assert_int_equal(value_dns_option(options[i].text, &err), options[i].want ? 0 : -1);
		if (!options[i].want)
			check_message(options[i].text, &err, options[i].says);
	}
}

static void hosts_are_removed_by_name_or_line(void **state)
{
	static const struct {
		const char *text;
		int left; /* -1: refused */
	} cases[] = {{"db", 1}, {"db:10.0.0.5", 2}, {"db:10.0.0.9", 3}, {"cache", 2}, {"nosuch", 3}, {"", -1}, {"a b", -1}, {"db:x", -1}};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct error err = ERROR_INIT;
		char **lines = NULL;
		size_t n = 0;
		int r;

		pb_strs_add(&n, &lines, "10.0.0.5 db");
		pb_strs_add(&n, &lines, "10.0.0.6 db");
		pb_strs_add(&n, &lines, "10.0.0.7 store cache");
		r = value_host_rm(cases[i].text, &n, &lines, &err);
		assert_int_equal(r, cases[i].left < 0 ? -1 : 0);
		assert_int_equal(n, cases[i].left < 0 ? 3 : cases[i].left);
		while (n > 0)
			pb_strs_del(&n, &lines, n - 1);
		free(lines);
	}
}

/* Words divided by blanks, as a flag that was repeated. */
static void words(struct strv *v, const char *text)
{
	_cleanup_free_ char *copy = xstrdup(text);
	char *rest = copy, *word;

	while ((word = strsep(&rest, " ")))
		if (*word)
			strv_add(v, word);
}

static void pools(void **state)
{
	static const struct {
		const char *subnets, *gateways, *ranges, *aux, *want, *says;
		bool ipv6;
	} cases[] = {
		{"", "", "", "", "", NULL, false},
		{"10.0.5.0/24", "", "", "", "10.0.5.0/24 - -;", NULL, false},
		{"10.0.5.0/24 fd00:5::/64", "fd00:5::1 10.0.5.9", "10.0.5.128/25", "r=10.0.5.3 s=fd00:5::3",
		 "10.0.5.0/24 10.0.5.9 10.0.5.128/25 r=10.0.5.3;fd00:5::/64 fd00:5::1 - s=fd00:5::3;", NULL, true},
		{"10.0.5.0/24", "", "10.0.5.7/32", "", "10.0.5.0/24 - 10.0.5.7/32;", NULL, false},
		{"10.0.5.1/24", "", "", "", NULL, "--subnet: \"10.0.5.1/24\"", false},
		{"x", "", "", "", NULL, "--subnet: \"x\"", false},
		{"10.0.5.0", "", "", "", NULL, "--subnet: \"10.0.5.0\"", false},
		{"fd00::/64", "", "", "", NULL, "--subnet fd00::/64: goes only with --ipv6", false},
		{"10.0.0.0/16 10.0.5.0/24", "", "", "", NULL, "--subnet 10.0.5.0/24: overlaps with 10.0.0.0/16", false},
		{"", "10.0.5.1", "", "", NULL, "--gateway 10.0.5.1: no --subnet holds it", false},
		{"10.0.5.0/24", "10.0.6.1", "", "", NULL, "--gateway 10.0.6.1: no --subnet", false},
		{"10.0.5.0/24", "10.0.5.0/24", "", "", NULL, "--gateway: \"10.0.5.0/24\": expected an IP", false},
		{"10.0.5.0/24", "10.0.5.1 10.0.5.2", "", "", NULL, "--gateway 10.0.5.2: subnet 10.0.5.0/24 has one", false},
		{"10.0.5.0/24", "", "10.0.0.0/8", "", NULL, "--ip-range 10.0.0.0/8: no --subnet", false},
		{"10.0.5.0/24", "", "x", "", NULL, "--ip-range: \"x\"", false},
		{"10.0.5.0/24", "", "10.0.5.0/25 10.0.5.128/25", "", NULL, "--ip-range 10.0.5.128/25: subnet", false},
		{"10.0.5.0/24", "", "", "10.0.5.3", NULL, "--aux-address: \"10.0.5.3\": expected NAME=IP", false},
		{"10.0.5.0/24", "", "", "r=x", NULL, "--aux-address: \"r=x\"", false},
		{"10.0.5.0/24", "", "", "r=10.9.9.9", NULL, "--aux-address r=10.9.9.9: no --subnet", false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_strv_ struct strv subnets = {0}, gateways = {0}, ranges = {0}, aux = {0};
		struct pool_flags flags = {&subnets, &gateways, &ranges, &aux, cases[i].ipv6};
		_cleanup_strbuf_ struct strbuf text = {0};
		struct error err = ERROR_INIT;
		pb_ipam_pool **list = NULL;
		size_t n = 0;
		int r;

		words(&subnets, cases[i].subnets);
		words(&gateways, cases[i].gateways);
		words(&ranges, cases[i].ranges);
		words(&aux, cases[i].aux);
		r = value_pools(&flags, &n, &list, &err);
		if (r != (cases[i].want ? 0 : -1))
			fail_msg("row %zu (%s): %s", i, cases[i].subnets, r < 0 ? err.msg : "was taken");
		if (r < 0)
			check_message(cases[i].subnets, &err, cases[i].says);
		strbuf_puts(&text, "");
		for (size_t k = 0; k < n; k++) {
			strbuf_printf(&text, "%s %s %s", list[k]->subnet, *list[k]->gateway ? list[k]->gateway : "-",
				      *list[k]->ip_range ? list[k]->ip_range : "-");
			for (size_t a = 0; a < list[k]->n_aux_addresses; a++)
				strbuf_printf(&text, " %s=%s", list[k]->aux_addresses[a]->key, list[k]->aux_addresses[a]->value);
			strbuf_putc(&text, ';');
		}
		if (cases[i].want)
			assert_string_equal(text.p ? text.p : "", cases[i].want);
		while (n > 0)
			pb_msgs_del(&n, &list, n - 1);
		free(list);
	}
}

static void pools_of_the_cluster(void **state)
{
	struct error err = ERROR_INIT;

	assert_int_equal(value_addr_pool("10.20.0.0/16", 24, &err), 0);
	assert_int_equal(value_addr_pool("10.20.0.0/24", 24, &err), 0);
	assert_int_equal(value_addr_pool("10.20.0.0/25", 24, &err), -1);
	check_message("10.20.0.0/25", &err, "\"10.20.0.0/25\": too small for one subnet with a mask of 24 bits");
	assert_int_equal(value_addr_pool("fd00::/48", 24, &err), -1);
	check_message("fd00::/48", &err, "expected an IPv4 subnet");
	assert_int_equal(value_addr_pool("x", 24, &err), -1);
	check_message("x", &err, "\"x\"");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(networks),
		cmocka_unit_test(names),
		cmocka_unit_test(hosts_are_removed_by_name_or_line),
		cmocka_unit_test(pools),
		cmocka_unit_test(pools_of_the_cluster),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
