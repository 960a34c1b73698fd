/* --publish in and out. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "clusterctl/values_port.h"

#include "common/error.h"
#include "common/mem.h"

#include <string.h>

static void drop(size_t n, pb_port **list)
{
	while (n > 0)
		pb_msgs_del(&n, &list, n - 1);
	free(list);
}

/* "published:target/protocol mode host-ip" of each port, joined by ';'. Yours. */
static char *spell(pb_port *const *list, size_t n)
{
	struct strbuf out = {0};

	strbuf_puts(&out, "");
	for (size_t i = 0; i < n; i++)
		strbuf_printf(&out, "%s%u:%u/%s%s%s%s", i ? ";" : "", list[i]->published, list[i]->target, list[i]->protocol,
			      (int)list[i]->mode == PUBLISH_HOST ? " host" : "", *list[i]->host_ip ? " " : "", list[i]->host_ip);
	return strbuf_take(&out);
}

static void published_ports(void **state)
{
	static const struct {
		const char *text, *want;
	} cases[] = {
		{"8080:80", "8080:80/tcp"},
		{"8080:80/tcp", "8080:80/tcp"},
		{"53:53/udp", "53:53/udp"},
		{"53:53/UDP", "53:53/udp"},
		{"1:1/sctp", "1:1/sctp"},
		{"80", "0:80/tcp"},
		{"53/udp", "0:53/udp"},
		{"80-82", "0:80/tcp;0:81/tcp;0:82/tcp"},
		{"65535:65535", "65535:65535/tcp"},
		{"8000-8002:80-82", "8000:80/tcp;8001:81/tcp;8002:82/tcp"},
		{"8000-8001:80-81/udp", "8000:80/udp;8001:81/udp"},
		{"8000-8000:80", "8000:80/tcp"},
		{"127.0.0.1:8080:80", "8080:80/tcp host 127.0.0.1"},
		{"127.0.0.1::80", "0:80/tcp host 127.0.0.1"},
		{"[::1]:8080:80/udp", "8080:80/udp host ::1"},
		{"[FD00:0::1]:8080-8081:80-81", "8080:80/tcp host fd00::1;8081:81/tcp host fd00::1"},
		{"published=8080,target=80", "8080:80/tcp"},
		{"target=80", "0:80/tcp"},
		{"target=80,published=8080,protocol=udp,mode=host", "8080:80/udp host"},
		{"target=80,mode=ingress", "0:80/tcp"},
		{"target=80,published=8080,host-ip=10.0.0.1", "8080:80/tcp host 10.0.0.1"},
		{"target=80,published=8080,mode=host,host-ip=fd00::1", "8080:80/tcp host fd00::1"},
		{"target=80-81,published=90-91", "90:80/tcp;91:81/tcp"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct error err = ERROR_INIT;
		_cleanup_free_ char *text = NULL;
		pb_port **list = NULL;
		size_t n = 0;

		if (value_publish(cases[i].text, &n, &list, &err) < 0)
			fail_msg("%s: %s", cases[i].text, err.msg);
		text = spell(list, n);
		if (strcmp(text, cases[i].want) != 0)
			fail_msg("%s is %s, not %s", cases[i].text, text, cases[i].want);
		drop(n, list);
	}
}

static void refused_ports(void **state)
{
	static const struct {
		const char *text, *want; /* a part of the message */
	} cases[] = {
		{"", "\"\": expected a port from 1 to 65535"},
		{"x", "\"x\": expected a port from 1 to 65535"},
		{"0", "\"0\""},
		{"65536:80", "\"65536\": expected a port from 1 to 65535"},
		{"8080:0", "\"0\": expected a port"},
		{"8080:", "\"\": expected a port"},
		{":80", "\"\": expected a port"},
		{"-1:80", "\"-1\": expected a port"},
		{"80 :80", "\"80 \": expected a port"},
		{"+80:80", "\"+80\""},
		{"99999999999999999999:80", "\"99999999999999999999\""},
		{"8080:80/", "protocol \"\": expected tcp, udp or sctp"},
		{"8080:80/icmp", "protocol \"icmp\": expected tcp, udp or sctp"},
		{"8010-8000:80-90", "\"8010-8000\": the range ends before it begins"},
		{"8000-8010:80", "\"8000-8010:80\": published are 11 ports, targets 1: expected as many"},
		{"8000:80-81", "published are 1 ports, targets 2"},
		{"1-1001", "\"1-1001\": expected a range of at most 1000 ports"},
		{"8000-:80", "\"8000-\": expected a port"},
		{"8000-8001-8002:80-82", "expected a port"},
		{"host:8080:80", "host address \"host\": expected an IP address"},
		{"10.0.0.0/8:8080:80", "expected an IP address"},
		{"300.0.0.1:8080:80", "host address \"300.0.0.1\""},
		{":8080:80", "host address \"\""},
		{"published=8080", "target= is missing"},
		{"published=x,target=80", "\"x\": expected a port"},
		{"target=80,mode=swarm", "mode=\"swarm\": expected ingress or host"},
		{"target=80,protocol=icmp", "protocol \"icmp\": expected tcp, udp or sctp"},
		{"target=80,bogus=1", "unknown key \"bogus\": expected target, published, protocol, mode, host-ip"},
		{"target=80,x", "\"x\": expected [HOSTIP:]PUBLISHED:TARGET"},
		{"target=80,mode=ingress,host-ip=10.0.0.1", "host-ip=10.0.0.1 goes only with mode=host"},
		{"target=80,host-ip=x", "host address \"x\""},
		{"target=80,published=1-2", "published are 2 ports, targets 1"},
		{"\"target=80", "a quote is not closed"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct error err = ERROR_INIT;
		pb_port **list = NULL;
		size_t n = 0;

		if (value_publish(cases[i].text, &n, &list, &err) == 0)
			fail_msg("%s was taken", cases[i].text);
		assert_int_equal(err.code, ERR_INVALID);
		if (!strstr(err.msg, cases[i].want))
			fail_msg("%s: \"%s\" lacks \"%s\"", cases[i].text, err.msg, cases[i].want);
		assert_int_equal(n, 0);
		drop(n, list);
	}
}

static void the_same_port_twice_is_once(void **state)
{
	struct error err = ERROR_INIT;
	pb_port **list = NULL;
	size_t n = 0;

	assert_int_equal(value_publish("8080:80", &n, &list, &err), 0);
	assert_int_equal(value_publish("published=8080,target=80", &n, &list, &err), 0);
	assert_int_equal(n, 1);
	assert_int_equal(value_publish("8080:80/udp", &n, &list, &err), 0);
	assert_int_equal(n, 2);
	drop(n, list);
}

static void removal_by_target(void **state)
{
	static const struct {
		const char *text, *left; /* NULL: refused */
	} cases[] = {
		{"80", "53:53/udp;8443:443/tcp"},
		{"80/tcp", "53:53/udp;8443:443/tcp"},
		{"53", "8080:80/tcp;53:53/udp;8443:443/tcp;81:80/tcp host"},
		{"53/udp", "8080:80/tcp;8443:443/tcp;81:80/tcp host"},
		{"1-1000", "53:53/udp"},
		{"9", "8080:80/tcp;53:53/udp;8443:443/tcp;81:80/tcp host"},
		{"8080:80", NULL},
		{"target=80", NULL},
		{"x", NULL},
		{"80/icmp", NULL},
		{"", NULL},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct error err = ERROR_INIT;
		_cleanup_free_ char *text = NULL;
		pb_port **list = NULL;
		size_t n = 0;
		int r;

		assert_int_equal(value_publish("8080:80", &n, &list, &err), 0);
		assert_int_equal(value_publish("53:53/udp", &n, &list, &err), 0);
		assert_int_equal(value_publish("8443:443", &n, &list, &err), 0);
		assert_int_equal(value_publish("published=81,target=80,mode=host", &n, &list, &err), 0);
		r = value_publish_rm(cases[i].text, &n, &list, &err);
		text = spell(list, n);
		assert_int_equal(r, cases[i].left ? 0 : -1);
		if (cases[i].left)
			assert_string_equal(text, cases[i].left);
		else
			assert_true(*err.msg && n == 4);
		drop(n, list);
	}
}

static void ports_of_lists(void **state)
{
	static const struct {
		const char *publish[4];
		int mode;
		const char *want;
	} cases[] = {
		{{"8080:80"}, -1, "*:8080->80/tcp"},
		{{"8080:80", "53:53/udp"}, -1, "*:8080->80/tcp, *:53->53/udp"},
		{{"8000-8010:80-90"}, -1, "*:8000-8010->80-90/tcp"},
		{{"8000-8001:80-81", "8002:82/udp"}, -1, "*:8000-8001->80-81/tcp, *:8002->82/udp"},
		{{"80"}, -1, "*:?->80/tcp"},
		{{"10.0.0.1:8080:80", "[fd00::1]:8080:80"}, -1, "10.0.0.1:8080->80/tcp, [fd00::1]:8080->80/tcp"},
		{{"8080:80", "published=81,target=81,mode=host"}, PUBLISH_INGRESS, "*:8080->80/tcp"},
		{{"8080:80", "published=81,target=81,mode=host"}, PUBLISH_HOST, "*:81->81/tcp"},
		{{"8080:80"}, PUBLISH_HOST, ""},
		{{NULL}, -1, ""},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct error err = ERROR_INIT;
		_cleanup_free_ char *text = NULL;
		pb_port **list = NULL;
		size_t n = 0;

		for (size_t k = 0; k < 4 && cases[i].publish[k]; k++)
			assert_int_equal(value_publish(cases[i].publish[k], &n, &list, &err), 0);
		text = ports_text(list, n, cases[i].mode);
		assert_string_equal(text, cases[i].want);
		drop(n, list);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(published_ports),   cmocka_unit_test(refused_ports), cmocka_unit_test(the_same_port_twice_is_once),
		cmocka_unit_test(removal_by_target), cmocka_unit_test(ports_of_lists),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
