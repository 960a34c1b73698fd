/* What stands in hosts and namespaces for tasks that have moved, and what a new agent reads of it. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "support/plan_fixture.h"

static struct ipaddr ip(const char *text)
{
	struct ipaddr a;

	assert_int_equal(ipaddr_parse(text, &a, NULL), 0);
	return a;
}

static struct mac mac(const char *text)
{
	struct mac m;

	assert_int_equal(mac_parse(text, &m, NULL), 0);
	return m;
}

static struct plan_task task_with(struct plan_port ports[static 2])
{
	memset(ports, 0, 2 * sizeof(*ports));
	strcpy(ports[0].name, "eth0");
	strcpy(ports[0].outer, "v0-t1");
	strcpy(ports[0].net.id, "front");
	ports[0].ipv4 = ip("10.0.1.11/24");
	strcpy(ports[1].name, "eth1");
	strcpy(ports[1].outer, "v1-t1");
	ports[1].ipv4 = ip("172.30.0.7/16");
	ports[1].ipv6 = ip("fd53:6b00::7/64");
	return (struct plan_task){.id = "t1", .service_id = "web", .path = "/run/s/net/task-t1", .ports = ports, .n_ports = 2};
}

static void a_shut_veth_is_down(void **state)
{
	struct plan_port ports[2];
	struct plan_task task = task_with(ports);
	struct netstate *s = netstate_new();
	struct plan_out out = {.set = s};
	struct plan_net net = {.vni = 4097};
	struct plan_self self = {.node_id = "n1"};
	struct netstate_entry key = {.kind = NETSTATE_LINK, .link.name = "v0-t1"};

	task.shut = true;
	plan_network_port(&out, &net, &task, &ports[0]);
	assert_true(netstate_get(s, &key)->link.down);
	assert_false(netstate_get(s, &key)->link.up);
	strcpy(key.link.name, "v1-t1");
	plan_host_port(&out, &self, &task, &ports[1]);
	assert_true(netstate_get(s, &key)->link.down);
	task.shut = false;
	plan_host_port(&out, &self, &task, &ports[1]);
	assert_true(netstate_get(s, &key)->link.up);
	assert_false(netstate_get(s, &key)->link.down);
	netstate_free(s);
}

static void what_still_comes_is_sent_on(void **state)
{
	struct plan_forward f = {ip("172.30.0.5"), ip("fd53:6b00::5"), ip("10.255.0.2"), ip("fd53:6b01::2")};
	struct netstate *s = netstate_new();
	struct plan_out out = {.set = s};
	struct strbuf text = {0};

	plan_moved_forward(&out, &f);
	assert_int_equal(netstate_count(s), 4); /* marked packets have a table of their own */
	plan_moved_forward_text(&text, &f, true);
	assert_string_equal(text.p, "add element inet skein moved4 { 172.30.0.5 }\n"
				    "add element inet skein moved6 { fd53:6b00::5 }\n");
	out.del = true;
	plan_moved_forward(&out, &f);
	assert_int_equal(netstate_count(s), 0);
	strbuf_fini(&text);
	netstate_free(s);
}

static void a_newcomer_is_found_by_its_old_address(void **state)
{
	struct plan_came came = {mac("02:53:4b:00:00:01"), ip("172.30.0.5"), {.family = 0}}, nobody = {.old4 = ip("172.30.0.5")};
	struct ipaddr own4 = ip("172.30.0.7"), own6 = {.family = 0}, other = ip("172.30.0.9"), old;
	struct strbuf text = {0};
	struct mac from;
	static const char listing[] = "table inet skein {\n\tmap came4 {\n\t\ttype ether_addr . ipv4_addr : ipv4_addr\n"
				      "\t\telements = { 02:53:4b:00:00:03 . 172.30.0.5 : 172.30.0.8,\n"
				      "\t\t\t     02:53:4b:00:00:01 . 172.30.0.5 : 172.30.0.7 }\n\t}\n}\n";

	plan_moved_came_text(&text, &nobody, &own4, &own6, true);
	assert_int_equal(text.len, 0);
	plan_moved_came_text(&text, &came, &own4, &own6, true);
	assert_string_equal(text.p, "add element inet skein came4 { 02:53:4b:00:00:01 . 172.30.0.5 : 172.30.0.7 }\n");
	assert_true(plan_moved_read_came(listing, &own4, &from, &old));
	assert_memory_equal(&from, &came.from, sizeof(from));
	assert_true(ipaddr_same_host(&old, &came.old4));
	assert_false(plan_moved_read_came(listing, &other, &from, &old));
	assert_false(plan_moved_read_came("table inet skein {\n}\n", &own4, &from, &old));
	strbuf_fini(&text);
}

static void it_keeps_its_own_address(void **state)
{
	struct plan_port ports[2];
	struct plan_task task = task_with(ports);
	struct ipaddr inner4 = ip("172.30.0.5"), inner6 = ip("fd53:6b00::5"), four, six;
	struct mac macs[] = {mac("02:42:0a:00:01:1f"), mac("02:42:0a:00:01:20")}, *direct;
	_cleanup_free_ char *text = plan_moved_task(&task, &inner4, &inner6, macs, 2), *same = NULL;
	size_t n;

	assert_non_null(strstr(text, "ip daddr 172.30.0.7 dnat ip to 172.30.0.5\n"));
	assert_non_null(strstr(text, "oifname \"eth1\" ip saddr 172.30.0.5 snat ip to 172.30.0.7\n"));
	assert_non_null(strstr(text, "ip6 daddr fd53:6b00::7 dnat ip6 to fd53:6b00::5\n"));
	assert_non_null(strstr(text, "egress device \"eth0\""));
	assert_null(strstr(text, "egress device \"eth1\""));
	plan_moved_read_task(text, &four, &six);
	assert_true(ipaddr_same_host(&four, &inner4));
	assert_true(ipaddr_same_host(&six, &inner6));
	plan_moved_read_direct(text, &direct, &n);
	assert_int_equal(n, 2);
	assert_memory_equal(direct, macs, sizeof(macs));
	free(direct);
	/* The same address by chance: nothing to translate. */
	same = plan_moved_task(&task, &ports[1].ipv4, &ports[1].ipv6, NULL, 0);
	assert_null(strstr(same, "nat ip"));
	assert_null(strstr(same, "egress"));
	plan_moved_read_task(same, &four, &six);
	assert_false(ipaddr_is_set(&four));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_shut_veth_is_down),
		cmocka_unit_test(what_still_comes_is_sent_on),
		cmocka_unit_test(a_newcomer_is_found_by_its_old_address),
		cmocka_unit_test(it_keeps_its_own_address),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
