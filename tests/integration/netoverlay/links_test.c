// Kinds of links, on the real kernel: made where they belong, changed, made anew, left alone.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "integration/netoverlay/place.h"

static struct netns_features features;

static int probe(void **state)
{
	struct error err = ERROR_INIT;

	if (group_setup(state) != 0)
		return -1;
	ok(netns_probe(&features, &err), &err);
	print_message("vxlan %d macvlan %d ipvlan %d vlan %d ipvs %d nftables %d egress %d esp %d\n", features.vxlan,
		      features.macvlan, features.ipvlan, features.vlan, features.ipvs, features.nftables,
		      features.nft_egress, features.esp);
	return 0;
}

/* A host with a device eth0, and a task of which nothing is there yet. */
static void host_and_task(struct place *host, struct place *task)
{
	place_open(host, "host", NULL);
	underlay(host, "", "eth0", "", "10.77.0.1/24");
	apply(host);
	place_open(task, "task", host->ns);
}

/* The task's is eth0 as well: names of the host must not be in the way. */
static void child_in_a_task(enum link_kind kind, const char *mode)
{
	struct place host, task;
	struct netstate_link l = {.name = "eth0", .kind = kind, .parent = "eth0", .up = true};

	strcpy(l.mode, mode);
	if (kind == LINK_MACVLAN)
		l.mac = mac("02:42:0a:4d:00:05");
	host_and_task(&host, &task);
	link_(&task, l);
	addr(&task, "eth0", "10.77.0.5/24");
	route(&task, (struct netstate_route){.dst.family = AF_INET, .link = "eth0", .via = ip("10.77.0.1")});
	assert_int_equal(apply(&task), 3);
	assert_int_equal(differences(&task, NULL), 0);
	assert_int_equal(differences(&host, NULL), 0);
	apply_all(&task);
	assert_int_equal(differences(&task, NULL), 0);
	inside(&task, "ip -o link | wc -l | grep -qx 2"); /* nothing with a passing name */
	if (kind == LINK_MACVLAN) {
		strcpy(l.mode, "private"); /* cannot be changed here: made anew, with what stood on it */
		link_(&task, l);
		assert_int_equal(apply(&task), 4);
		assert_int_equal(differences(&task, NULL), 0);
	}
	place_close(&task);
	place_close(&host);
}

static void macvlan_in_a_task(void **state)
{
	if (!features.macvlan)
		skip();
	child_in_a_task(LINK_MACVLAN, "bridge");
}

static void ipvlan_in_a_task(void **state)
{
	if (!features.ipvlan)
		skip();
	child_in_a_task(LINK_IPVLAN, "l2");
	child_in_a_task(LINK_IPVLAN, "l3");
}

/* Parent and child in one call; then a device on the VLAN in a task. */
static void vlan_of_the_host(void **state)
{
	struct place host, task;

	if (!features.vlan)
		skip();
	host_and_task(&host, &task);
	link_(&host, (struct netstate_link){.name = "b1", .kind = LINK_BRIDGE, .up = true});
	link_(&host, (struct netstate_link){.name = "v7", .kind = LINK_VLAN, .parent = "b1", .vlan_id = 7, .up = true});
	assert_int_equal(apply(&host), 2);
	link_(&task, (struct netstate_link){.name = "eth0", .kind = LINK_MACVLAN, .parent = "v7", .up = true});
	apply(&task);
	assert_int_equal(differences(&host, NULL), 0);
	assert_int_equal(differences(&task, NULL), 0);
	link_(&host, (struct netstate_link){.name = "v7", .kind = LINK_VLAN, .parent = "b1", .vlan_id = 8, .up = true});
	apply(&host);
	assert_int_equal(differences(&host, NULL), 0);
	assert_int_equal(differences(&task, NULL), 1); /* it went with its parent */
	place_close(&task);
	place_close(&host);
}

static void bad_requests_say_why(void **state)
{
	static const struct {
		struct netstate_link l;
		const char *why;
	} cases[] = {
		{{.name = "m0", .kind = LINK_MACVLAN, .parent = "absent0"}, "there is no link absent0"},
		{{.name = "m0", .kind = LINK_MACVLAN, .parent = "eth0", .mode = "odd"}, "kind or mode"},
		{{.name = "p0", .kind = LINK_VETH, .peer = "p1", .peer_ns = "/absent"}, "namespace /absent of its other end"},
		{{.name = "p0", .kind = LINK_VETH}, "kind or mode"},
		{{.name = "d0", .kind = LINK_BRIDGE, .master = "absent1"}, "there is no bridge absent1"},
		{{.name = "eth9", .kind = LINK_OTHER, .up = true}, "it is not there"},
	};
	struct place host, task;

	host_and_task(&host, &task);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct netstate_op op = {.entry = {.kind = NETSTATE_LINK, .link = cases[i].l}};
		struct error err = ERROR_INIT;
		size_t failed;

		assert_int_equal(netns_apply(task.ns, &op, 1, &failed, &err), -1);
		assert_int_equal(failed, 1);
		if (!strstr(err.msg, cases[i].why) || !strstr(err.msg, cases[i].l.name))
			fail_msg("\"%s\" does not say \"%s\"", err.msg, cases[i].why);
	}
	place_close(&task);
	place_close(&host);
}

/* Two overlays with one number on one host: the second is told, and has nothing. */
static void a_vni_belongs_to_one(void **state)
{
	struct place host, one, two;
	struct netstate_op op = {.entry = {.kind = NETSTATE_LINK,
					   .link = {.name = "vx0", .kind = LINK_VXLAN, .vni = 4100, .port = 4789, .up = true}}};
	struct error err = ERROR_INIT;
	size_t failed;

	place_open(&host, "host", NULL);
	place_open(&one, "one", host.ns);
	place_open(&two, "two", host.ns);
	ok(netns_apply(one.ns, &op, 1, NULL, &err), &err);
	assert_int_equal(netns_apply(two.ns, &op, 1, &failed, &err), -1);
	assert_int_equal(failed, 1);
	assert_non_null(strstr(err.msg, "exists"));
	inside(&two, "! ip link show vx0 2>/dev/null");
	place_close(&two);
	place_close(&one);
	place_close(&host);
}

/* What is there under our name, but is something else, makes room. */
static void something_else_of_that_name(void **state)
{
	struct place host, net;

	place_open(&host, "host", NULL);
	underlay(&host, "", "u0", "", "10.77.0.1/24");
	apply(&host);
	place_open(&net, "net", host.ns);
	inside(&net, "ip link add vx0 type vxlan id 99 dstport 4789; ip link add br0 type veth peer name other");
	overlay(&net, "10.77.0.1", "10.0.1.1/24");
	fdb(&net, "vx0", "02:42:0a:00:01:05", "10.77.0.2");
	apply(&net);
	assert_int_equal(differences(&net, NULL), 0);
	inside(&net, "ip -d link show vx0 | grep -q \"vxlan id 4100\"");
	place_close(&net);
	place_close(&host);
}

static void ports_of_a_bridge(void **state)
{
	struct place host, task;
	struct netstate_link l = {.name = "t0", .kind = LINK_VETH, .peer = "eth0", .master = "br0", .isolated = true, .hairpin = true, .up = true};

	place_open(&host, "host", NULL);
	place_open(&task, "task", host.ns);
	strcpy(l.peer_ns, task.path);
	l.peer_mac = mac("02:42:0a:00:01:05");
	link_(&host, (struct netstate_link){.name = "br0", .kind = LINK_BRIDGE, .up = true});
	link_(&host, l);
	apply(&host);
	inside(&host, "bridge -d link show dev t0 | grep -q \"hairpin on.*isolated on\"");
	inside(&task, "ip link show eth0 | grep -q 02:42:0a:00:01:05");
	assert_int_equal(differences(&host, NULL), 0);
	inside(&host, "bridge link set dev t0 isolated off");
	assert_int_equal(differences(&host, NULL), 1);
	apply_all(&host);
	assert_int_equal(differences(&host, NULL), 0);
	l.isolated = l.hairpin = false;
	link_(&host, l);
	apply(&host);
	inside(&host, "bridge -d link show dev t0 | grep -q \"hairpin off.*isolated off\"");
	place_close(&task);
	place_close(&host);
}

/* Other people's things on the same host: neither wanted nor ours. */
static void what_others_made_is_left_alone(void **state)
{
	struct place p;
	struct netstate_ops ops;
	struct error err = ERROR_INIT;

	place_open(&p, "host", NULL);
	inside(&p, "ip link add docker0 type bridge; ip addr add 172.17.0.1/16 dev docker0; ip link set docker0 up; "
		   "ip route add 10.99.0.0/16 dev docker0; ip rule add fwmark 7 lookup 77 prio 77; "
		   "ip neigh add 172.17.0.2 lladdr 02:42:ac:11:00:02 dev docker0; "
		   "ip link add x0 type vxlan id 7 dstport 4799; bridge fdb add 02:42:ac:11:00:03 dev x0 dst 10.1.1.1");
	link_(&p, (struct netstate_link){.name = "br0", .kind = LINK_BRIDGE, .up = true});
	addr(&p, "br0", "10.0.1.1/24");
	route(&p, (struct netstate_route){.table = 94, .dst = {.family = AF_INET}, .link = "br0"});
	apply(&p);
	assert_int_equal(differences(&p, NULL), 0);
	/* On our link, and in our table, there is nobody else. */
	inside(&p, "ip addr add 10.0.1.9/24 dev br0; ip neigh add 10.0.1.7 lladdr 02:42:ac:11:00:07 dev br0; "
		   "ip route add 10.98.0.0/16 dev br0 table 94");
	assert_int_equal(differences(&p, &ops), 3);
	for (size_t i = 0; i < ops.n; i++)
		assert_true(ops.v[i].del);
	ok(netns_apply(p.ns, ops.v, ops.n, NULL, &err), &err);
	netstate_ops_fini(&ops);
	assert_int_equal(differences(&p, NULL), 0);
	inside(&p, "ip addr show docker0 | grep -q 172.17.0.1; ip route | grep -q 10.99.0.0; ip rule | grep -q 77");
	place_close(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(macvlan_in_a_task),
		cmocka_unit_test(ipvlan_in_a_task),
		cmocka_unit_test(vlan_of_the_host),
		cmocka_unit_test(bad_requests_say_why),
		cmocka_unit_test(a_vni_belongs_to_one),
		cmocka_unit_test(something_else_of_that_name),
		cmocka_unit_test(ports_of_a_bridge),
		cmocka_unit_test(what_others_made_is_left_alone),
	};

	return cmocka_run_group_tests(tests, probe, group_teardown);
}
