/* Rulesets that balance: virtual addresses in a task's namespace, published ports in the host's. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "support/plan_fixture.h"

static struct model *with_scheduler(const char *scheduler, uint32_t weight1, uint32_t weight2)
{
	struct model *m = model_new(NULL);
	pb_net_state *s = net_state(true, 0, 1);

	net_network(s, "front", "overlay", 4097, "10.0.1.0/24", NULL);
	pb_set_str(&net_service(s, "web", "front", "10.0.1.2", "")->scheduler, scheduler);
	net_endpoint(s, "t1", "web", "n1", true, "front", "10.0.1.11/24", "")->weight = weight1;
	net_endpoint(s, "t2", "web", "n2", true, "front", "10.0.1.12/24", "")->weight = weight2;
	net_take(m, s);
	return m;
}

static char *vip_text(struct model *m, bool before, bool now, unsigned rotation)
{
	const struct model_vip *vip = &model_service(m, "web")->vips[0];
	struct strbuf b = {0};

	plan_balance_vip(&b, vip, &vip->ipv4, before, now, rotation);
	return strbuf_take(&b);
}

static void an_address_comes_changes_and_goes(void **state)
{
	struct model *m = with_scheduler("", 1, 1);
	_cleanup_free_ char *comes = vip_text(m, false, true, 0), *changes = NULL, *goes = NULL, *never = NULL;

	assert_string_equal(comes, "add chain inet skein v_0a000102\n"
				   "add rule inet skein v_0a000102 numgen inc mod 2 0 dnat ip to 10.0.1.11\n"
				   "add rule inet skein v_0a000102 dnat ip to 10.0.1.12\n"
				   "add element inet skein vips4 { 10.0.1.2 : goto v_0a000102 }\n");
	model_set_draining(m, "t1", true);
	changes = vip_text(m, true, true, 0);
	assert_string_equal(changes, "flush chain inet skein v_0a000102\n"
				     "add rule inet skein v_0a000102 dnat ip to 10.0.1.12\n");
	goes = vip_text(m, true, false, 0);
	assert_string_equal(goes, "delete element inet skein vips4 { 10.0.1.2 }\ndelete chain inet skein v_0a000102\n");
	never = vip_text(m, false, false, 0);
	assert_string_equal(never, "");
	model_free(m);
}

static void nobody_ready_is_refused_at_once(void **state)
{
	struct model *m = with_scheduler("", 1, 1);
	_cleanup_free_ char *text = NULL;

	model_set_draining(m, "t1", true);
	model_set_draining(m, "t2", true);
	text = vip_text(m, true, true, 0);
	assert_has(text, "add rule inet skein v_0a000102 reject with icmpx port-unreachable\n");
	model_free(m);
}

#define RULE "add rule inet skein v_0a000102 "

static void schedulers_and_weights(void **state)
{
	static const struct {
		const char *scheduler;
		uint32_t w1, w2;
		unsigned rotation;
		const char *rules;
	} cases[] = {
		{"rr", 2, 4, 0, "numgen inc mod 2 0 dnat ip to 10.0.1.11\n" RULE "dnat ip to 10.0.1.12\n"},
		{"rr", 1, 1, 3, "numgen inc mod 2 0 dnat ip to 10.0.1.12\n" RULE "dnat ip to 10.0.1.11\n"},
		{"lc", 2, 4, 0, "numgen inc mod 2 0 dnat ip to 10.0.1.11\n" RULE "dnat ip to 10.0.1.12\n"},
		{"wrr", 2, 4, 0, "numgen inc mod 3 0 dnat ip to 10.0.1.11\n" RULE
				 "numgen inc mod 2 0 dnat ip to 10.0.1.12\n" RULE "dnat ip to 10.0.1.12\n"},
		{"sh", 1, 1, 3, "jhash ip saddr mod 2 seed 0x5eed 0 dnat ip to 10.0.1.11\n" RULE "dnat ip to 10.0.1.12\n"},
		{"mh", 3, 3, 0, "jhash ip saddr mod 2 seed 0x5eed 0 dnat ip to 10.0.1.11\n" RULE "dnat ip to 10.0.1.12\n"},
		/* many shares: a map */
		{"wrr", 1, 16, 0, "dnat ip to numgen inc mod 17 map { 0 : 10.0.1.11, 1 : 10.0.1.12, 2 : 10.0.1.12, "},
		{"wrr", 1, 16, 1, "dnat ip to numgen inc mod 17 map { 0 : 10.0.1.12, 1 : 10.0.1.12, "},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct model *m = with_scheduler(cases[i].scheduler, cases[i].w1, cases[i].w2);
		_cleanup_free_ char *text = vip_text(m, true, true, cases[i].rotation);

		assert_has(text, cases[i].rules);
		model_free(m);
	}
}

/* 65535 to 1 does not become a map of 65536 entries. */
static void huge_weights_are_thinned(void **state)
{
	struct model *m = with_scheduler("wrr", 65535, 1);
	_cleanup_free_ char *text = vip_text(m, true, true, 0);

	assert_true(strlen(text) < 150000);
	assert_has(text, ": 10.0.1.12");
	assert_has(text, ": 10.0.1.11");
	model_free(m);
}

/* ---- published ports */

static char *port_text(struct model *m, const char *node, const struct plan_local *locals, size_t n, bool before, bool now)
{
	struct strbuf b = {0};

	plan_ingress_port(&b, &(struct plan_published){"tcp", 8080}, model_service_by_port(m, "tcp", 8080), model_ingress(m), node,
			  locals, n, before, now);
	return strbuf_take(&b);
}

static struct plan_local local_t1(void)
{
	return (struct plan_local){"t1", "web", plan_addr("172.30.0.2/16"), {.family = 0}};
}

static void a_port_reaches_tasks_here_and_nodes_elsewhere(void **state)
{
	struct model *m = plan_model();
	struct plan_local l = local_t1();
	_cleanup_free_ char *text = port_text(m, "n1", &l, 1, false, true), *none = NULL;

	assert_has(text, "add chain inet skein p_tcp_8080\n");
	assert_has(text, "p_tcp_8080 iifname \"skein-in\" meta l4proto tcp dnat ip to 172.30.0.2:80\n");
	assert_has(text, "p_tcp_8080 iifname \"skein-in\" drop\n");
	assert_has(text, "p_tcp_8080 meta l4proto tcp dnat ip to numgen inc mod 2 map "
			 "{ 0 : 10.255.0.2 . 8080, 1 : 172.30.0.2 . 80 }\n");
	assert_has(text, "add element inet skein ingress { tcp . 8080 : jump p_tcp_8080 }\n");
	/* On a node without a task: what is sent there goes no further. */
	none = port_text(m, "n3", NULL, 0, true, true);
	assert_has(none, "flush chain inet skein p_tcp_8080\nadd rule inet skein p_tcp_8080 iifname \"skein-in\" drop\n");
	assert_has(none, "dnat ip to numgen inc mod 2 map { 0 : 10.255.0.1 . 8080, 1 : 10.255.0.2 . 8080 }\n");
	model_free(m);
}

static void one_that_stops_serves_only_what_others_still_send(void **state)
{
	struct model *m = plan_model();
	struct plan_local l = local_t1();
	_cleanup_free_ char *text = NULL;

	model_set_draining(m, "t1", true);
	text = port_text(m, "n1", &l, 1, true, true);
	assert_has(text, "iifname \"skein-in\" meta l4proto tcp dnat ip to 172.30.0.2:80\n");
	assert_has(text, "p_tcp_8080 meta l4proto tcp dnat ip to 10.255.0.2:8080\n");
	model_free(m);
}

static void a_port_goes(void **state)
{
	struct model *m = plan_model();
	_cleanup_free_ char *text = port_text(m, "n1", NULL, 0, true, false);

	assert_string_equal(text, "delete element inet skein ingress { tcp . 8080 }\ndelete chain inet skein p_tcp_8080\n");
	model_free(m);
}

static void ports_of_this_host(void **state)
{
	struct model *m = model_new(NULL);
	pb_net_state *s = net_state(true, 0, 1);
	struct plan_local l[] = {{"t1", "db", plan_addr("172.30.0.2"), {.family = 0}},
				 {"t2", "db", plan_addr("172.30.0.3"), {.family = 0}},
				 {"t3", "db2", plan_addr("172.30.0.4"), plan_addr("fd53:6b00::4")}};
	struct strbuf b = {0};
	_cleanup_free_ char *text = NULL, *on = NULL;

	net_port(net_service(s, "db", NULL, NULL, NULL), "udp", 53, 5353, true);
	pb_set_str(&net_port(net_service(s, "db2", NULL, NULL, NULL), "tcp", 53, 5353, true)->host_ip, "192.0.2.1");
	net_endpoint(s, "t1", "db", "n1", false, NULL, NULL, NULL);
	net_endpoint(s, "t2", "db", "n1", true, NULL, NULL, NULL);
	net_take(m, s);
	plan_ingress_host_port(&b, &(struct plan_published){"udp", 53}, m, l, 3, false, true);
	text = strbuf_take(&b);
	assert_string_equal(text, "add chain inet skein h_udp_53\n"
				  "add rule inet skein h_udp_53 meta l4proto udp dnat ip to 172.30.0.3:5353\n" /* ready */
				  "add rule inet skein h_udp_53 meta l4proto udp dnat ip to 172.30.0.2:5353\n"
				  "add element inet skein hostports { udp . 53 : jump h_udp_53 }\n");
	plan_ingress_host_port(&b, &(struct plan_published){"tcp", 53}, m, l, 3, true, true);
	on = strbuf_take(&b);
	assert_string_equal(on, "flush chain inet skein h_tcp_53\n"
				"add rule inet skein h_tcp_53 ip daddr 192.0.2.1 meta l4proto tcp dnat ip to 172.30.0.4:5353\n");
	model_free(m);
}

static void the_tables_leave_the_operators_chain_alone(void **state)
{
	struct plan_self self = plan_node1(false);
	_cleanup_free_ char *text = plan_ingress_table(&self, true);

	assert_has(text, "add chain inet skein skein-user\n");
	assert_hasnt(text, "flush chain inet skein skein-user");
	assert_hasnt(text, "delete table");
	assert_hasnt(text, "flush table");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_address_comes_changes_and_goes),
		cmocka_unit_test(nobody_ready_is_refused_at_once),
		cmocka_unit_test(schedulers_and_weights),
		cmocka_unit_test(huge_weights_are_thinned),
		cmocka_unit_test(a_port_reaches_tasks_here_and_nodes_elsewhere),
		cmocka_unit_test(one_that_stops_serves_only_what_others_still_send),
		cmocka_unit_test(a_port_goes),
		cmocka_unit_test(ports_of_this_host),
		cmocka_unit_test(the_tables_leave_the_operators_chain_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
