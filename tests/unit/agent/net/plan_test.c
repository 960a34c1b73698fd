/* Entries of namespaces: what follows from the model, and that all of it is taken back again. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "support/plan_fixture.h"

struct fixture {
	struct model *m;
	struct plan_self self;
	struct plan_net front;
	struct plan_port ports[2];
	struct plan_task task;
	struct netstate *s;
};

static void setup(struct fixture *f, bool ipvs)
{
	f->m = plan_model();
	f->self = plan_node1(ipvs);
	f->s = netstate_new();
	plan_net_of(&f->self, model_network(f->m, "front"), &f->front);
	f->ports[0] = (struct plan_port){.name = "eth0", .outer = "v0-t1", .net = f->front, .ipv4 = plan_addr("10.0.1.11/24"),
					 .ipv6 = plan_addr("fd00:1::b/64"), .mtu = 1450};
	f->ports[0].mac = mac_of_address(&f->ports[0].ipv4);
	f->ports[1] = (struct plan_port){.name = "eth1", .outer = "v1-t1", .ipv4 = plan_addr("172.30.0.2/16"), .mtu = 1500};
	f->task = (struct plan_task){.id = "t1", .service_id = "web", .path = "/run/s/net/task-t1", .ports = f->ports,
				     .n_ports = 2};
}

static void teardown(struct fixture *f)
{
	netstate_free(f->s);
	model_free(f->m);
}

static const struct model_place *place(const struct fixture *f, const char *task)
{
	return &model_endpoint(f->m, task)->places[0];
}

static const struct model_vip *vip(const struct fixture *f)
{
	return &model_service(f->m, "web")->vips[0];
}

static void a_network_reaches_endpoints_elsewhere(void **state)
{
	struct fixture f;
	struct plan_out out;
	_cleanup_free_ char *text = NULL;

	setup(&f, false);
	out = (struct plan_out){.set = f.s};
	plan_network_base(&out, &f.self, &f.front);
	plan_network_port(&out, &f.front, &f.task, &f.ports[0]);
	plan_network_place(&out, &f.self, place(&f, "t1"));
	plan_network_place(&out, &f.self, place(&f, "t2"));
	text = plan_text(f.s);
	assert_string_equal(text,
			    "address 10.0.1.1/24 dev br0\n"
			    "address fd00:1::1/64 dev br0\n"
			    "fdb 02:42:0a:00:01:0c dev vx0 dst 10.77.0.2\n"
			    "link br0 bridge mac 02:42:0a:00:01:01 mtu 1450 up\n"
			    "link v0-t1 veth peer eth0 in /run/s/net/task-t1 mtu 1450 master br0 up\n"
			    "link vx0 vxlan vni 4097 port 4789 local 10.77.0.1 mtu 1450 master br0 up\n"
			    "neighbour 10.0.1.12 dev vx0 mac 02:42:0a:00:01:0c\n"
			    "neighbour fd00:1::c dev vx0 mac 02:42:0a:00:01:0c\n"
			    "sysctl net/ipv6/conf/default/accept_dad = 0\n"
			    "sysctl net/ipv6/conf/default/accept_ra = 0\n"
			    "sysctl net/ipv6/conf/default/disable_ipv6 = 0\n");
	teardown(&f);
}

static void ipvs_finds_endpoints_and_addresses(void **state)
{
	struct fixture f;
	struct plan_out out;
	_cleanup_free_ char *text = NULL, *service = NULL, *dest = NULL, *dest6 = NULL;

	setup(&f, true);
	out = (struct plan_out){.set = f.s};
	plan_network_place(&out, &f.self, place(&f, "t1"));
	plan_ipvs_vip(&out, vip(&f));
	plan_ipvs_dest(&out, vip(&f), place(&f, "t1"));
	plan_ipvs_dest(&out, vip(&f), place(&f, "t2"));
	text = plan_text(f.s);
	assert_has(text, "neighbour 10.0.1.11 dev br0 mac 02:42:0a:00:01:0b\n");
	assert_hasnt(text, "dev vx0");
	service = xasprintf("ipvs service fwmark %u scheduler rr\n", *(const uint32_t *)"\x0a\x00\x01\x02");
	dest = xasprintf("ipvs destination fwmark %u -> 10.0.1.12 weight 1\n", *(const uint32_t *)"\x0a\x00\x01\x02");
	dest6 = xasprintf("ipvs destination fwmark %u (IPv6) -> fd00:1::c weight 1\n", *(const uint32_t *)"\0\0\0\x02");
	assert_has(text, service);
	assert_has(text, dest);
	assert_has(text, dest6);
	assert_has(text, "route local 10.0.1.2 dev lo\n");
	assert_has(text, "address fd00:1::2 dev br0\n");
	teardown(&f);
}

static void one_that_is_not_ready_keeps_its_connections(void **state)
{
	struct fixture f;
	struct plan_out out;
	_cleanup_free_ char *after = NULL;

	setup(&f, true);
	out = (struct plan_out){.set = f.s};
	plan_ipvs_dest(&out, vip(&f), place(&f, "t1"));
	model_set_draining(f.m, "t1", true);
	plan_ipvs_dest(&out, vip(&f), place(&f, "t1"));
	after = plan_text(f.s);
	assert_has(after, "-> 10.0.1.11 weight 0\n");
	teardown(&f);
}

static void all_of_it_is_taken_back(void **state)
{
	struct fixture f;
	struct plan_out out;

	setup(&f, true);
	for (int pass = 0; pass < 2; pass++) {
		const struct model_network *ingress = model_ingress(f.m);

		out = (struct plan_out){f.s, pass == 1};
		plan_network_base(&out, &f.self, &f.front);
		plan_network_port(&out, &f.front, &f.task, &f.ports[0]);
		plan_network_place(&out, &f.self, place(&f, "t1"));
		plan_network_place(&out, &f.self, place(&f, "t2"));
		plan_ipvs_vip(&out, vip(&f));
		plan_ipvs_dest(&out, vip(&f), place(&f, "t1"));
		plan_ipvs_dest(&out, vip(&f), place(&f, "t2"));
		plan_task_base(&out, &f.self, &f.task);
		plan_task_vip(&out, &f.task, vip(&f));
		plan_host_base(&out, &f.self);
		plan_host_ingress(&out, &f.self, ingress, 1);
		plan_host_node(&out, &f.self, ingress, model_node(f.m, "n2"));
		plan_host_port(&out, &f.self, &f.task, &f.ports[1]);
		if (pass == 0)
			assert_true(netstate_count(f.s) > 50);
	}
	assert_int_equal(netstate_count(f.s), 0);
	teardown(&f);
}

/* One endpoint that comes costs its own entries, whatever else there is. */
static void a_change_costs_what_hangs_on_it(void **state)
{
	struct fixture f;
	struct plan_out out, gone;
	struct netstate_ops ops = {0};

	setup(&f, true);
	out = (struct plan_out){.set = f.s};
	gone = (struct plan_out){f.s, true};
	plan_ipvs_vip(&out, vip(&f));
	for (const char *const *t = (const char *const[]){"t1", "t2", NULL}; *t; t++) {
		plan_network_place(&out, &f.self, place(&f, *t));
		plan_ipvs_dest(&out, vip(&f), place(&f, *t));
	}
	netstate_take_changes(f.s, &ops);
	netstate_ops_fini(&ops);
	plan_network_place(&gone, &f.self, place(&f, "t2"));
	plan_ipvs_dest(&gone, vip(&f), place(&f, "t2"));
	model_set_draining(f.m, "t2", true);
	plan_network_place(&out, &f.self, place(&f, "t2"));
	plan_ipvs_dest(&out, vip(&f), place(&f, "t2"));
	netstate_take_changes(f.s, &ops);
	assert_int_equal(ops.n, 2); /* the weights of its two addresses */
	assert_true(ops.v[0].replaces);
	assert_int_equal(ops.v[0].entry.ipvs_dest.weight, 0);
	netstate_ops_fini(&ops);
	teardown(&f);
}

static void a_task_accepts_its_services_address(void **state)
{
	struct fixture f;
	struct plan_out out;
	_cleanup_free_ char *text = NULL;

	setup(&f, false);
	out = (struct plan_out){.set = f.s};
	plan_task_base(&out, &f.self, &f.task);
	plan_task_vip(&out, &f.task, vip(&f));
	text = plan_text(f.s);
	assert_has(text, "address 10.0.1.11/24 dev eth0\n");
	assert_has(text, "link eth0 device mac 02:42:0a:00:01:0b mtu 1450 up\n");
	assert_has(text, "route default via 172.30.0.1 dev eth1\n");
	assert_has(text, "route local 10.0.1.2 dev lo src 10.0.1.11\n");
	assert_has(text, "route local fd00:1::2 dev lo src fd00:1::b\n");
	assert_has(text, "sysctl net/ipv4/conf/all/arp_ignore = 1\n");
	teardown(&f);
}

static void other_drivers(void **state)
{
	struct fixture f;
	struct plan_out out;
	_cleanup_free_ char *task = NULL, *host = NULL;
	struct plan_net vlan = {.id = "vlan0123456789", .driver = NETWORK_VLAN, .parent = "eth0", .mode = "bridge", .vlan_id = 7};
	struct plan_net ipvlan = {.id = "ipv", .driver = NETWORK_IPVLAN, .parent = "eth0", .mode = "l2"};
	struct plan_net bridge = {.id = "br123456789", .driver = NETWORK_BRIDGE, .gateway4 = plan_addr("10.5.0.1/24")};

	setup(&f, false);
	f.ports[0].net = vlan;
	f.ports[1].net = ipvlan;
	out = (struct plan_out){.set = f.s};
	plan_task_base(&out, &f.self, &f.task);
	task = plan_text(f.s);
	assert_has(task, "link eth0 macvlan");
	assert_has(task, "sk-vlan0123");
	assert_has(task, "link eth1 ipvlan");
	netstate_free(f.s);
	f.s = out.set = netstate_new();
	plan_host_net(&out, &vlan);
	plan_host_net(&out, &ipvlan); /* nothing of it stands in the host */
	plan_host_net(&out, &bridge);
	f.ports[0].net = bridge;
	plan_host_port(&out, &f.self, &f.task, &f.ports[0]);
	plan_host_port(&out, &f.self, &f.task, &f.ports[1]);
	host = plan_text(f.s);
	assert_has(host, "link sk-vlan0123 vlan");
	assert_has(host, "link sk-br123456 bridge mac 02:42:0a:05:00:01");
	assert_has(host, "address 10.5.0.1/24 dev sk-br123456\n");
	assert_has(host, "link v0-t1 veth peer eth0 in /run/s/net/task-t1 mtu 1450 master sk-br123456 up\n");
	assert_hasnt(host, "isolated");
	f.ports[1].net.id[0] = 0; /* the way out */
	plan_host_port(&out, &f.self, &f.task, &f.ports[1]);
	free(host);
	host = plan_text(f.s);
	assert_has(host, "link v1-t1 veth peer eth1 in /run/s/net/task-t1 mtu 1500 master skein0 isolated up\n");
	f.self.bridge_nf_on = true; /* the ruleset does it */
	plan_host_port(&out, &f.self, &f.task, &f.ports[1]);
	free(host);
	host = plan_text(f.s);
	assert_hasnt(host, "isolated");
	assert_has(host, "master skein0 hairpin up\n");
	assert_int_equal(netstate_count(f.s), 5);
	teardown(&f);
}

static void the_way_back_of_published_ports(void **state)
{
	struct fixture f;
	struct plan_out out;
	_cleanup_free_ char *text = NULL;

	setup(&f, false);
	out = (struct plan_out){.set = f.s};
	plan_host_ingress(&out, &f.self, model_ingress(f.m), 1);
	plan_host_node(&out, &f.self, model_ingress(f.m), model_node(f.m, "n1")); /* ourselves */
	plan_host_node(&out, &f.self, model_ingress(f.m), model_node(f.m, "n2"));
	text = plan_text(f.s);
	assert_has(text, "address 10.255.0.1/16 dev skein-in\n");
	assert_has(text, "fdb 02:53:4b:00:00:02 dev skein-in dst 10.77.0.2\n");
	assert_has(text, "neighbour 10.255.0.2 dev skein-in mac 02:53:4b:00:00:02\n");
	assert_hasnt(text, "neighbour 10.255.0.1 ");
	assert_has(text, "route 172.30.0.0/16 dev skein0 table 94\n");
	assert_has(text, "route default via 169.254.94.1 dev skein-in table 94 onlink\n");
	assert_has(text, "rule IPv4 priority 94 fwmark 0x5e000000/0xff000000 lookup 94\n");
	teardown(&f);
}

static void mtu_follows_the_underlay(void **state)
{
	static const struct {
		uint32_t underlay, wanted;
		const char *address;
		bool encrypted;
		uint32_t mtu;
		bool ipv4_only;
	} cases[] = {
		{1500, 0, "10.77.0.1", false, 1450}, {1500, 0, "fd77::1", false, 1430}, {1400, 0, "10.77.0.1", true, 1310},
		{9000, 0, "10.77.0.1", false, 8950}, {1500, 1300, "10.77.0.1", false, 1300},
		{1300, 0, "10.77.0.1", false, 1280}, {1500, 1000, "10.77.0.1", false, 1280},
		{1300, 0, "10.77.0.1", false, 1250, true}, {1500, 1000, "10.77.0.1", false, 1000, true},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct model *m = plan_model();
		struct plan_self self = plan_node1(false);
		struct model_network *front = model_network(m, "front");
		struct plan_net net;

		self.underlay_mtu = cases[i].underlay;
		self.address = plan_addr(cases[i].address);
		front->mtu = cases[i].wanted;
		front->encrypted = cases[i].encrypted;
		if (cases[i].ipv4_only)
			front->subnet6.family = 0;
		plan_net_of(&self, front, &net);
		assert_int_equal(net.mtu, cases[i].mtu);
		model_free(m);
	}
}

static void whose_is_it(void **state)
{
	struct netstate_entry e = {.kind = NETSTATE_LINK};
	static const struct {
		const char *name;
		bool ours;
	} links[] = {{"skein0", true}, {"skein-in", true}, {"sk-abcdefgh", true}, {"eth0", false}, {"docker0", false},
		     {"v0-k3x9c0ffee1", false}, /* goes with its task */ {"veth1", false}};

	for (size_t i = 0; i < ARRAY_SIZE(links); i++) {
		snprintf(e.link.name, sizeof(e.link.name), "%s", links[i].name);
		assert_int_equal(plan_host_owns(&e), links[i].ours);
	}
	e = (struct netstate_entry){.kind = NETSTATE_RULE, .rule = {.table = 94, .fwmark = PLAN_MARK}};
	assert_true(plan_host_owns(&e));
	e.rule.table = 254;
	assert_false(plan_host_owns(&e));
	e = (struct netstate_entry){.kind = NETSTATE_ROUTE, .route = {.table = 0}};
	assert_false(plan_host_owns(&e));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_network_reaches_endpoints_elsewhere),
		cmocka_unit_test(ipvs_finds_endpoints_and_addresses),
		cmocka_unit_test(one_that_is_not_ready_keeps_its_connections),
		cmocka_unit_test(all_of_it_is_taken_back),
		cmocka_unit_test(a_change_costs_what_hangs_on_it),
		cmocka_unit_test(a_task_accepts_its_services_address),
		cmocka_unit_test(other_drivers),
		cmocka_unit_test(the_way_back_of_published_ports),
		cmocka_unit_test(mtu_follows_the_underlay),
		cmocka_unit_test(whose_is_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
