/* resolv.conf: what is read from the host's, and what containers get. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "agent/net/dns_conf.h"
#include "common/mem.h"

static void what_is_read(void **state)
{
	struct dns_conf c;

	dns_conf_parse("# made by hand\nnameserver 10.0.0.53 # first\n\tnameserver\tfe80::1%eth0\r\nnameserver\n"
		       "domain old.example\nsearch a.example  b.example ; both\noptions edns0 ndots:2\nunknown x\n", &c);
	assert_int_equal(c.servers.n, 2);
	assert_string_equal(c.servers.v[0], "10.0.0.53");
	assert_string_equal(c.servers.v[1], "fe80::1%eth0");
	assert_int_equal(c.search.n, 2);
	assert_string_equal(c.search.v[0], "a.example");
	assert_int_equal(c.options.n, 2);
	dns_conf_fini(&c);
	dns_conf_parse("", &c);
	assert_int_equal(c.servers.n + c.search.n + c.options.n, 0);
	dns_conf_fini(&c);
}

static void it_is_bounded(void **state)
{
	struct strbuf text = {0};
	struct dns_conf c;

	for (int i = 0; i < 1000; i++)
		strbuf_printf(&text, "nameserver 10.0.0.%d\noptions o%d\n", i % 256, i);
	dns_conf_parse(text.p, &c);
	assert_int_equal(c.servers.n, DNS_CONF_SERVERS_MAX);
	assert_int_equal(c.options.n, DNS_CONF_SEARCH_MAX);
	dns_conf_fini(&c);
	strbuf_fini(&text);
}

struct row {
	const char *name;
	const char *servers[3], *search[3], *options[3];
	bool ours;
	const char *want;
};

#define HOST "nameserver 9.9.9.9\nsearch corp.example\noptions edns0 ndots:3\n"

static const struct row rows[] = {
	{"ours", .ours = true, .want = "nameserver 127.0.0.11\nsearch corp.example\noptions ndots:0\n"},
	{"servers of the spec are ours to ask", {"8.8.8.8"}, .ours = true,
	 .want = "nameserver 127.0.0.11\nsearch corp.example\noptions ndots:0\n"},
	{"search of the spec", .search = {"x.example", "y.example"}, .ours = true,
	 .want = "nameserver 127.0.0.11\nsearch x.example y.example\noptions ndots:0\n"},
	{"no search", .search = {"."}, .ours = true, .want = "nameserver 127.0.0.11\noptions ndots:0\n"},
	{"options", .options = {"timeout:1"}, .ours = true,
	 .want = "nameserver 127.0.0.11\nsearch corp.example\noptions ndots:0 timeout:1\n"},
	{"ndots of the spec", .options = {"ndots:2", "rotate"}, .ours = true,
	 .want = "nameserver 127.0.0.11\nsearch corp.example\noptions ndots:2 rotate\n"},
	{"words that are none", .search = {"a.example\nnameserver 6.6.6.6", "ok.example"}, .options = {"a b"}, .ours = true,
	 .want = "nameserver 127.0.0.11\nsearch ok.example\noptions ndots:0\n"},
	{"the host's", .want = HOST},
	{"the spec's", {"8.8.8.8", "8.8.4.4"}, {"z.example"}, {"rotate"},
	 .want = "nameserver 8.8.8.8\nnameserver 8.8.4.4\nsearch z.example\noptions rotate\n"},
};

static void every_row(void **state)
{
	struct dns_conf host;

	dns_conf_parse(HOST, &host);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_pb_ pb_container_spec *spec = pb_new(&skein__container_spec__descriptor);
		_cleanup_free_ char *text = NULL;

		for (size_t k = 0; k < 3; k++) {
			if (rows[i].servers[k])
				pb_strs_add(&spec->n_dns_servers, &spec->dns_servers, rows[i].servers[k]);
			if (rows[i].search[k])
				pb_strs_add(&spec->n_dns_search, &spec->dns_search, rows[i].search[k]);
			if (rows[i].options[k])
				pb_strs_add(&spec->n_dns_options, &spec->dns_options, rows[i].options[k]);
		}
		text = dns_conf_text(&host, spec, rows[i].ours);
		if (!str_eq(text, rows[i].want))
			fail_msg("%s: got\n%s", rows[i].name, text);
	}
	dns_conf_fini(&host);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_read),
		cmocka_unit_test(it_is_bounded),
		cmocka_unit_test(every_row),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
