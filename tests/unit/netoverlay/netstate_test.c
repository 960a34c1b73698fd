#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "unit/netoverlay/entries.h"

#include "common/mem.h"

#include <stdlib.h>
#include <sys/socket.h>

static int setup(void **state)
{
	*state = netstate_new();
	return 0;
}

static int teardown(void **state)
{
	netstate_free(*state);
	return 0;
}

static void put(struct netstate *s, struct netstate_entry e)
{
	assert_true(netstate_put(s, &e));
}

static void del(struct netstate *s, struct netstate_entry e)
{
	assert_true(netstate_del(s, &e));
}

static void assert_changes(struct netstate *s, const char *expected)
{
	struct netstate_ops ops;
	char buf[4096];

	netstate_take_changes(s, &ops);
	assert_string_equal(ops_text(&ops, buf, sizeof(buf)), expected);
	netstate_ops_fini(&ops);
	netstate_take_changes(s, &ops);
	assert_int_equal(ops.n, 0);
	netstate_ops_fini(&ops);
}

static void one_entry_per_key(void **state)
{
	struct netstate *s = *state;
	struct netstate_entry a = fdb_on("vx0", 1, "10.77.0.1"), b = fdb_on("vx0", 1, "10.77.0.2");

	put(s, a);
	assert_false(netstate_put(s, &a));
	put(s, b);
	assert_int_equal(netstate_count(s), 1);
	assert_int_equal(netstate_get(s, &a)->fdb.dst.bytes[3], 2);
	put(s, fdb_on("vx1", 1, "10.77.0.2"));
	assert_int_equal(netstate_count(s), 2);
	del(s, a);
	assert_false(netstate_del(s, &a));
	assert_null(netstate_get(s, &a));
	assert_int_equal(netstate_count(s), 1);
}

/* Pairs that are the same entry, or not. */
static void keys(void **state)
{
	struct netstate_entry mark4 = {.kind = NETSTATE_IPVS_SERVICE, .ipvs_service = {.fwmark = 7, .addr = ip("10.0.1.2")}};
	struct netstate_entry mark4_no_addr = {.kind = NETSTATE_IPVS_SERVICE, .ipvs_service = {.fwmark = 7}};
	struct netstate_entry mark6 = {.kind = NETSTATE_IPVS_SERVICE, .ipvs_service = {.fwmark = 7, .addr = ip("fd00::2")}};
	struct netstate_entry tcp = {.kind = NETSTATE_IPVS_SERVICE,
				     .ipvs_service = {.protocol = 6, .port = 80, .addr = ip("10.0.1.2")}};
	struct netstate_entry main0 = {.kind = NETSTATE_ROUTE, .route = {.dst = ip("10.9.0.0/16"), .link = "br0"}};
	struct netstate_entry main254 = main0, local = main0, gateway = main0;
	struct netstate_entry state1 = {.kind = NETSTATE_XFRM_STATE,
					.xfrm_state = {.src = ip("10.77.0.1"), .dst = ip("10.77.0.2"), .spi = 9}};
	struct netstate_entry state2 = state1;

	main254.route.table = 254;
	local.route.local = true;
	gateway.route.via = ip("10.0.0.1");
	state2.xfrm_state.key[3] = 1;
	const struct {
		struct netstate_entry a, b;
		bool same;
	} cases[] = {
		{mark4, mark4_no_addr, true},
		{mark4, mark6, false},
		{mark4, tcp, false},
		{main0, main254, true},
		{main0, local, false},
		{main0, gateway, true},
		{state1, state2, true},
		{neigh_on("vx0", "10.0.1.5", 1), neigh_on("vx0", "10.0.1.5/24", 2), true},
		{addr_on("br0", "10.0.1.5"), addr_on("br0", "10.0.1.5/24"), false},
		{neigh_on("vx0", "10.0.1.5", 1), neigh_on("br0", "10.0.1.5", 1), false},
		{link_of("br0", LINK_BRIDGE, ""), link_of("br0", LINK_VXLAN, "x"), true},
		{link_of("br0", LINK_BRIDGE, ""), link_of("br01", LINK_BRIDGE, ""), false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct netstate *s = netstate_new();

		netstate_put(s, &cases[i].a);
		if ((netstate_get(s, &cases[i].b) != NULL) != cases[i].same)
			fail_msg("case %zu", i);
		netstate_free(s);
	}
}

static void changes_are_netted(void **state)
{
	struct netstate *s = *state;

	assert_changes(s, "");
	put(s, fdb_on("vx0", 1, "10.77.0.1"));
	put(s, fdb_on("vx0", 2, "10.77.0.1"));
	del(s, fdb_on("vx0", 2, "10.77.0.1")); /* came and went */
	put(s, fdb_on("vx0", 1, "10.77.0.9"));
	assert_changes(s, "+fdb 02:00:00:00:00:01 dev vx0 dst 10.77.0.9");

	put(s, fdb_on("vx0", 1, "10.77.0.3"));
	put(s, fdb_on("vx0", 1, "10.77.0.9")); /* there and back */
	assert_changes(s, "");

	del(s, fdb_on("vx0", 1, "10.77.0.9"));
	put(s, fdb_on("vx0", 1, "10.77.0.9"));
	assert_changes(s, "");

	del(s, fdb_on("vx0", 1, "10.77.0.9"));
	put(s, fdb_on("vx0", 1, "10.77.0.4"));
	assert_changes(s, "~fdb 02:00:00:00:00:01 dev vx0 dst 10.77.0.4");

	del(s, fdb_on("vx0", 1, "10.77.0.4"));
	assert_changes(s, "-fdb 02:00:00:00:00:01 dev vx0 dst 10.77.0.4");
	assert_int_equal(netstate_count(s), 0);
}

static void what_was_there_goes_along(void **state)
{
	struct netstate *s = *state;
	struct netstate_ops ops;

	put(s, neigh_on("vx0", "10.0.1.5", 1));
	assert_changes(s, "+neighbour 10.0.1.5 dev vx0 mac 02:00:00:00:00:01");
	put(s, neigh_on("vx0", "10.0.1.5", 2));
	put(s, neigh_on("vx0", "10.0.1.5", 3));
	netstate_take_changes(s, &ops);
	assert_int_equal(ops.n, 1);
	assert_true(ops.v[0].replaces);
	assert_int_equal(ops.v[0].old.neigh.mac.bytes[5], 1);
	assert_int_equal(ops.v[0].entry.neigh.mac.bytes[5], 3);
	netstate_ops_fini(&ops);
}

static void deletions_first_and_links_below_others(void **state)
{
	struct netstate *s = *state;
	struct netstate_entry vlan = link_of("v7", LINK_VLAN, "br0"), mac = link_of("m0", LINK_MACVLAN, "");

	strcpy(vlan.link.parent, "u0");
	vlan.link.vlan_id = 7;
	strcpy(mac.link.parent, "v7");
	put(s, addr_on("old0", "10.0.9.1/24"));
	put(s, link_of("old0", LINK_DUMMY, ""));
	assert_changes(s, "+link old0 dummy, +address 10.0.9.1/24 dev old0");
	put(s, fdb_on("vx0", 1, "10.77.0.1"));
	put(s, addr_on("br0", "10.0.1.1/24"));
	put(s, link_of("p1", LINK_VETH, "br0"));
	put(s, mac);
	put(s, vlan);
	put(s, link_of("br0", LINK_BRIDGE, ""));
	del(s, link_of("old0", LINK_DUMMY, ""));
	del(s, addr_on("old0", "10.0.9.1/24"));
	assert_changes(s, "-address 10.0.9.1/24 dev old0, -link old0 dummy, +link br0 bridge, +link p1 veth master br0, "
			  "+link v7 vlan parent u0 id 7 master br0, +link m0 macvlan parent v7, "
			  "+address 10.0.1.1/24 dev br0, +fdb 02:00:00:00:00:01 dev vx0 dst 10.77.0.1");
}

static void a_ring_of_masters_ends(void **state)
{
	struct netstate *s = *state;
	struct netstate_ops ops;

	put(s, link_of("a", LINK_BRIDGE, "b"));
	put(s, link_of("b", LINK_BRIDGE, "a"));
	netstate_take_changes(s, &ops);
	assert_int_equal(ops.n, 2);
	netstate_ops_fini(&ops);
}

/* What stands on a link that has to be made anew is gone with it. */
static void remade_links_take_along_what_stands_on_them(void **state)
{
	struct netstate *s = *state;

	put(s, link_of("br0", LINK_BRIDGE, ""));
	put(s, vxlan("vx0", 5, "br0"));
	put(s, fdb_on("vx0", 1, "10.77.0.1"));
	put(s, addr_on("br0", "10.0.1.1/24"));
	assert_changes(s, "+link br0 bridge, +link vx0 vxlan vni 5 port 4789 local 10.77.0.1 master br0, "
			  "+address 10.0.1.1/24 dev br0, +fdb 02:00:00:00:00:01 dev vx0 dst 10.77.0.1");
	put(s, vxlan("vx0", 6, "br0"));
	assert_changes(s, "-link vx0 vxlan vni 5 port 4789 local 10.77.0.1 master br0, "
			  "+link vx0 vxlan vni 6 port 4789 local 10.77.0.1 master br0, "
			  "+fdb 02:00:00:00:00:01 dev vx0 dst 10.77.0.1");
	put(s, link_of("br0", LINK_DUMMY, ""));
	assert_changes(s, "-link br0 bridge, +link br0 dummy, "
			  "+link vx0 vxlan vni 6 port 4789 local 10.77.0.1 master br0, +address 10.0.1.1/24 dev br0");
}

/* Taking the changes of one entry costs the same in a set of one and of a hundred thousand. */
static void changes_do_not_cost_the_set(void **state)
{
	struct netstate *s = *state;
	struct netstate_ops ops;

	for (unsigned i = 0; i < 100000; i++) {
		struct netstate_entry e = fdb_on("vx0", 0, "10.77.0.1");

		memcpy(e.fdb.mac.bytes + 2, &i, sizeof(i));
		put(s, e);
	}
	netstate_take_changes(s, &ops);
	assert_int_equal(ops.n, 100000);
	netstate_ops_fini(&ops);
	for (unsigned i = 0; i < 100000; i++) { /* quadratic, this would take minutes */
		struct netstate_entry e = fdb_on("vx0", 0, i % 2 ? "10.77.0.1" : "10.77.0.2");

		put(s, e);
		netstate_take_changes(s, &ops);
		assert_int_equal(ops.n, 1);
		netstate_ops_fini(&ops);
	}
}

static bool count_two(void *data, const struct netstate_entry *e)
{
	return ++*(int *)data < 2;
}

static void each_ends_when_told(void **state)
{
	int n = 0;

	for (uint8_t i = 0; i < 5; i++)
		put(*state, fdb_on("vx0", i, "10.77.0.1"));
	netstate_each(*state, count_two, &n);
	assert_int_equal(n, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(one_entry_per_key, setup, teardown),
		cmocka_unit_test(keys),
		cmocka_unit_test_setup_teardown(changes_are_netted, setup, teardown),
		cmocka_unit_test_setup_teardown(what_was_there_goes_along, setup, teardown),
		cmocka_unit_test_setup_teardown(deletions_first_and_links_below_others, setup, teardown),
		cmocka_unit_test_setup_teardown(a_ring_of_masters_ends, setup, teardown),
		cmocka_unit_test_setup_teardown(remade_links_take_along_what_stands_on_them, setup, teardown),
		cmocka_unit_test_setup_teardown(changes_do_not_cost_the_set, setup, teardown),
		cmocka_unit_test_setup_teardown(each_ends_when_told, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
