/* /etc/hosts and /etc/resolv.conf of containers. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "agent/exec/etcfiles.h"
#include "common/mem.h"
#include "common/str.h"

#include <string.h>

static pb_task *make_task(const char *ipv4, const char *ipv6)
{
	pb_task *t = pb_new(&skein__task__descriptor);

	t->spec = pb_new(&skein__task_spec__descriptor);
	t->spec->container = pb_new(&skein__container_spec__descriptor);
	if (ipv4) {
		pb_attachment *a = pb_new(&skein__network_attachment__descriptor);

		pb_set_str(&a->ipv4, ipv4);
		pb_set_str(&a->ipv6, ipv6);
		pb_msgs_add(&t->n_networks, &t->networks, a);
	}
	return t;
}

static void hosts(void **state)
{
	static const struct {
		const char *name, *ipv4, *ipv6, *network, *spec, *host;
		bool host_network;
		const char *has, *has_not;
	} rows[] = {
		{"no address", .has = "127.0.1.1\tbox\n"},
		{"an address", "10.0.1.5/24", .has = "10.0.1.5\tbox\n", .has_not = "127.0.1.1"},
		{"two", "10.0.1.5/24", "fd00::5/64", .has = "fd00::5\tbox\n", .has_not = "/64"},
		{"the network's own", .network = "172.30.0.7\tbox", .has = "172.30.0.7\tbox\n", .has_not = "127.0.1.1"},
		{"the spec's", "10.0.1.5/24", .spec = "10.9.9.9 db", .has = "box\n10.9.9.9 db\n"},
		{"one line each", .spec = "10.9.9.9 db\n10.0.0.1 evil", .has = "box\n", .has_not = "evil"},
		{"the host's", .host_network = true, .host = "10.1.1.1 front", .has = "10.1.1.1 front\n", .has_not = "localhost"},
		{"and the spec's", .host_network = true, .host = "10.1.1.1 front", .spec = "10.9.9.9 db",
		 .has = "front\n10.9.9.9 db\n"},
		{"a host without a file", .host_network = true, .has = "127.0.0.1\tlocalhost\n", .has_not = "box"},
		{"not the host's", .host = "10.1.1.1 front", .has = "127.0.0.1\tlocalhost\n", .has_not = "front"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_pb_ pb_task *t = make_task(rows[i].ipv4, rows[i].ipv6);
		struct etcfiles_input in = {
			.task = t, .hostname = "box", .host_network = rows[i].host_network, .host_hosts = rows[i].host,
			.hosts = rows[i].network,
		};
		_cleanup_free_ char *text = NULL;

		if (rows[i].spec)
			pb_strs_add(&t->spec->container->n_hosts, &t->spec->container->hosts, rows[i].spec);
		text = etcfiles_hosts(&in);
		if (!strstr(text, rows[i].has) || (rows[i].has_not && strstr(text, rows[i].has_not)))
			fail_msg("%s: %s", rows[i].name, text);
	}
}

static void resolv(void **state)
{
	static const char host[] = "nameserver 9.9.9.9\nsearch corp.example\noptions edns0\n";
	_cleanup_pb_ pb_task *t = make_task(NULL, NULL);
	pb_container_spec *spec = t->spec->container;
	struct etcfiles_input in = {.task = t, .hostname = "box", .host_resolv = host};
	char *text = etcfiles_resolv(&in);

	assert_string_equal(text, host);
	free(text);
	in.resolv_conf = "nameserver 127.0.0.11\n";
	text = etcfiles_resolv(&in);
	assert_string_equal(text, "nameserver 127.0.0.11\n");
	free(text);
	in.resolv_conf = NULL;
	pb_strs_add(&spec->n_dns_servers, &spec->dns_servers, "10.0.0.53");
	pb_strs_add(&spec->n_dns_options, &spec->dns_options, "timeout:1");
	text = etcfiles_resolv(&in);
	assert_string_equal(text, "nameserver 10.0.0.53\nsearch corp.example\noptions timeout:1\n");
	free(text);
	in.host_resolv = NULL;
	text = etcfiles_resolv(&in);
	assert_string_equal(text, "nameserver 10.0.0.53\noptions timeout:1\n");
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hosts),
		cmocka_unit_test(resolv),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
