#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "support/build.h"

#include "manager/allocator/pools.h"

#include "common/error.h"

#include <stdio.h>
#include <sys/socket.h>

/* The cluster's pools (separated by ';') and the length of what is cut; NULL, 0 = defaults. */
static struct built cluster_with(const char *pools, uint32_t prefix)
{
	struct built b = cluster(5);
	pb_cluster *c = b.obj;

	pb_set_str(&c->id, "clusterid");
	add_strings(&c->spec->n_address_pools, &c->spec->address_pools, pools);
	c->spec->address_pool_prefix = prefix;
	return b;
}

struct given {
	struct built cluster, network, others[5];
	const char *subnet, *gateway, *subnet6, *gateway6, *err;
};

static void check_pool(const pb_network *n, int family, const char *subnet, const char *gateway)
{
	const pb_ipam_pool *pool = pools_find(n, family);

	if (!subnet) {
		assert_null(pool);
		return;
	}
	assert_non_null(pool);
	assert_string_equal(pool->subnet, subnet);
	assert_string_equal(pool->gateway, gateway);
}

static void what_a_network_gets(void **state)
{
	struct given cases[] = {
		{cluster(5), network("a"), {{0}}, .subnet = "10.0.0.0/24", .gateway = "10.0.0.1"},
		/* Behind those that are there, into the first gap. */
		{cluster(5), network("a"), {network("b", .given = "10.0.0.0/24"), network("c", .given = "10.0.2.0/24")},
		 .subnet = "10.0.1.0/24", .gateway = "10.0.1.1"},
		/* A large one is jumped over, a small one spoils its place; named ones count before they are in force. */
		{cluster(5), network("a"),
		 {network("b", .subnet = "10.0.0.0/15"), network("c", .subnet = "10.2.0.64/30"),
		  network("d", .driver = "macvlan", .subnet = "10.2.1.0/24")},
		 .subnet = "10.2.2.0/24", .gateway = "10.2.2.1"},
		/* Ranges within ranges. */
		{cluster(5), network("a"),
		 {network("b", .given = "10.0.0.0/22"), network("c", .given = "10.0.1.0/24"), network("d", .given = "10.0.4.0/24")},
		 .subnet = "10.0.5.0/24", .gateway = "10.0.5.1"},
		/* Nodes live there. */
		{cluster(5), network("a"), {node("n1", .address = "10.0.0.7"), node("n2", .address = "10.0.1.1")},
		 .subnet = "10.0.2.0/24", .gateway = "10.0.2.1"},
		/* Never the ingress network, nor the nodes' own bridges. */
		{cluster_with("10.255.0.0/16;172.16.0.0/12", 15), network("a"), {network("b", .given = "172.16.0.0/13")},
		 .subnet = "172.24.0.0/15", .gateway = "172.24.0.1"},
		{cluster_with("172.30.0.0/15", 16), network("a"), {{0}}, .subnet = "172.31.0.0/16", .gateway = "172.31.0.1"},
		/* Used up. */
		{cluster_with("10.255.0.0/16", 0), network("a"), {{0}},
		 .err = "no free subnet: the address pools (10.255.0.0/16, cut to /24) are used up"},
		{cluster_with("192.168.0.0/23;192.168.4.0/24", 0), network("a"),
		 {network("b", .given = "192.168.0.0/24"), network("c", .given = "192.168.1.0/24"), network("d", .given = "192.168.4.0/24")},
		 .err = "no free subnet: the address pools (192.168.0.0/23, 192.168.4.0/24, cut to /24) are used up"},
		{cluster_with("255.255.255.0/24", 0), network("a"), {network("b", .given = "255.255.255.0/25")},
		 .err = "no free subnet: the address pools (255.255.255.0/24, cut to /24) are used up"},
		/* The second pool when the first is full; a pool smaller than what is to be cut is taken whole. */
		{cluster_with("192.168.0.0/24;192.168.9.0/28", 0), network("a"), {network("b", .given = "192.168.0.0/24")},
		 .subnet = "192.168.9.0/28", .gateway = "192.168.9.1"},
		/* Named ones are taken as they are. */
		{cluster(5), network("a", .subnet = "192.168.7.0/24", .gateway = "192.168.7.254"), {{0}},
		 .subnet = "192.168.7.0/24", .gateway = "192.168.7.254"},
		{cluster(5), network("a", .subnet = "192.168.7.0/24"), {network("b", .given = "192.168.0.0/16")},
		 .err = "subnet 192.168.7.0/24 overlaps 192.168.0.0/16 of network b"},
		/* ... outside of overlays the operator knows what is where. */
		{cluster(5), network("a", .driver = "macvlan", .subnet = "192.168.7.0/24"), {network("b", .given = "192.168.0.0/16")},
		 .subnet = "192.168.7.0/24", .gateway = "192.168.7.1"},
		/* IPv6: the cluster's own prefix (of the digest of its id), or pools. */
		{cluster_with(NULL, 0), network("a", .ipv6 = true, .subnet = "10.9.0.0/24"), {{0}}, .subnet = "10.9.0.0/24",
		 .gateway = "10.9.0.1", .subnet6 = "fd3f:d1df:67b1::/64", .gateway6 = "fd3f:d1df:67b1::1"},
		{cluster_with("fd77::/56", 0), network("a", .ipv6 = true), {network("b", .given6 = "fd77::/64")},
		 .subnet = "10.0.0.0/24", .gateway = "10.0.0.1", .subnet6 = "fd77:0:0:1::/64", .gateway6 = "fd77:0:0:1::1"},
		{cluster(5), network("a", .subnet6 = "fd01:2::/64"), {{0}}, .subnet = "10.0.0.0/24", .gateway = "10.0.0.1",
		 .subnet6 = "fd01:2::/64", .gateway6 = "fd01:2::1"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct view *v = view_of(cases[i].cluster, cases[i].network);
		_cleanup_pb_ pb_network *n = NULL;
		struct pools *pools;
		struct error err = ERROR_INIT;

		for (size_t k = 0; k < ARRAY_SIZE(cases[i].others) && cases[i].others[k].obj; k++)
			view_add(v, cases[i].others[k]);
		n = pb_dup(view_network(v, "a"));
		pools = pools_new(v);
		assert_false(pools_complete(n));
		if (cases[i].err) {
			assert_int_equal(pools_give(pools, n, &err), -1);
			assert_string_equal(err.msg, cases[i].err);
			assert_false(pools_complete(n));
		} else {
			if (pools_give(pools, n, &err) < 0)
				fail_msg("case %zu: %s", i, err.msg);
			assert_true(pools_complete(n));
			check_pool(n, AF_INET, cases[i].subnet, cases[i].gateway);
			check_pool(n, AF_INET6, cases[i].subnet6, cases[i].gateway6);
		}
		pools_free(pools);
		view_free(v);
	}
}

/* Several in one round, none of them in the view yet. */
static void cut_one_after_the_other(void **state)
{
	struct view *v = view_of(cluster_with("10.0.0.0/8", 0));
	struct pools *pools = pools_new(v);
	char want[32];

	for (unsigned i = 0; i < 600; i++) {
		_cleanup_pb_ pb_network *n = network("x", .ipv6 = true).obj;

		assert_int_equal(pools_give(pools, n, NULL), 0);
		snprintf(want, sizeof(want), "10.%u.%u.0/24", i / 256, i % 256);
		assert_string_equal(pools_find(n, AF_INET)->subnet, want);
		snprintf(want, sizeof(want), i ? ":%x::/64" : "::/64", i);
		assert_true(str_ends(pools_find(n, AF_INET6)->subnet, want));
	}
	pools_free(pools);
	view_free(v);
}

/* A family at a time: what is there stays. */
static void what_is_there_stays(void **state)
{
	struct view *v = view_of(cluster(5));
	_cleanup_pb_ pb_network *n = network("x", .ipv6 = true, .given = "10.7.7.0/24").obj;
	struct pools *pools = pools_new(v);

	assert_false(pools_complete(n));
	assert_int_equal(pools_give(pools, n, NULL), 0);
	assert_int_equal(n->n_pools, 2);
	assert_string_equal(pools_find(n, AF_INET)->subnet, "10.7.7.0/24");
	pools_free(pools);
	view_free(v);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_a_network_gets),
		cmocka_unit_test(cut_one_after_the_other),
		cmocka_unit_test(what_is_there_stays),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
