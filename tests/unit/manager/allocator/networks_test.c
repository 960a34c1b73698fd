#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "support/rounds.h"

#include "manager/allocator/allocator.h"
#include "manager/allocator/keys.h"
#include "manager/allocator/node_index.h"
#include "manager/allocator/predefined.h"
#include "manager/allocator/vni.h"

static size_t run(struct rounds *r)
{
	wakes_due(&r->wakes, r->now, &r->dirty);
	return rounds_commit(r, rounds_plan(r, allocator_networks_plan), SIZE_MAX, NULL, NULL);
}

static void predefined_ones_are_there(void **state)
{
	static const char *const ids[] = {"bridge", "host", "none", "ingress"};
	struct rounds r;
	const pb_network *n;

	rounds_init(&r, view_of(cluster(5)));
	run(&r);
	for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
		n = view_network(r.view, ids[i]);
		assert_non_null(n);
		assert_string_equal(n->spec->name, ids[i]);
		assert_true(n->predefined);
		assert_int_equal(predefined_is_local(ids[i]), !n->spec->ingress);
	}
	assert_true(n->spec->ingress);
	assert_int_equal(n->vni, 4096);
	assert_string_equal(n->pools[0]->subnet, "10.255.0.0/16");
	assert_string_equal(n->pools[0]->gateway, "");
	assert_int_equal(run(&r), 0);
	/* One that is gone comes again. */
	rounds_put(&r, KIND_NETWORK, "none", NULL);
	assert_int_equal(run(&r), 1);
	assert_non_null(view_network(r.view, "none"));
	rounds_fini(&r);
}

/* Somebody else has the name: the others come all the same. */
static void a_name_that_is_taken(void **state)
{
	struct rounds r;
	struct built other = network("x1", .given = "10.9.0.0/24", .vni = 5000);

	pb_set_str(&((pb_network *)other.obj)->spec->name, "none");
	rounds_init(&r, view_of(cluster(5), other));
	assert_int_equal(run(&r), 3);
	assert_null(view_network(r.view, "none"));
	assert_int_equal(run(&r), 0);
	rounds_fini(&r);
}

static void nothing_without_a_cluster(void **state)
{
	struct rounds r;

	rounds_init(&r, view_new());
	assert_int_equal(run(&r), 0);
	rounds_fini(&r);
}

static void numbers_and_subnets(void **state)
{
	struct rounds r;
	const pb_network *a, *m;

	rounds_init(&r, view_of(cluster(5), network("a"), network("m", .driver = "macvlan")));
	run(&r);
	a = view_network(r.view, "a");
	m = view_network(r.view, "m");
	assert_int_equal(a->vni, 4097);
	assert_string_equal(a->pools[0]->subnet, "10.0.0.0/24");
	assert_int_equal(a->n_keys, 0);
	assert_int_equal(m->vni, 0); /* no VXLAN */
	assert_string_equal(m->pools[0]->subnet, "10.0.1.0/24");
	assert_int_equal(run(&r), 0);
	/* The next one gets the next number, also when the last one is gone. */
	rounds_put(&r, KIND_NETWORK, "b", network("b").obj);
	rounds_put(&r, KIND_NETWORK, "c", network("c").obj);
	run(&r);
	assert_int_equal(view_network(r.view, "b")->vni, 4098);
	assert_int_equal(view_network(r.view, "c")->vni, 4099);
	rounds_put(&r, KIND_NETWORK, "b", NULL);
	rounds_put(&r, KIND_NETWORK, "d", network("d").obj);
	run(&r);
	assert_int_equal(view_network(r.view, "d")->vni, 4100);
	rounds_put(&r, KIND_NETWORK, "d", NULL);
	run(&r);
	rounds_put(&r, KIND_NETWORK, "e", network("e").obj);
	run(&r);
	assert_int_equal(view_network(r.view, "e")->vni, 4101);
	rounds_fini(&r);
}

/* A new leader does not know which numbers were in use a moment ago. */
static void numbers_rest_over_a_change_of_leaders(void **state)
{
	struct rounds r;
	const pb_network *c;

	rounds_init(&r, view_of(cluster(5), network("a"), network("b")));
	run(&r);
	assert_int_equal(view_network(r.view, "a")->vni + view_network(r.view, "b")->vni, 4097 + 4098);
	rounds_put(&r, KIND_NETWORK, "a", NULL);
	rounds_put(&r, KIND_NETWORK, "b", NULL);
	run(&r);
	rounds_new_leader(&r);
	rounds_put(&r, KIND_NETWORK, "c", network("c").obj);
	rounds_put(&r, KIND_NETWORK, "d", network("d").obj);
	run(&r);
	c = view_network(r.view, "c");
	assert_int_equal(c->vni + view_network(r.view, "d")->vni, 2 * (VNI_INGRESS + VNI_GAP) + 1 + 2); /* one gap for both */
	rounds_fini(&r);
}

static void the_last_number_and_behind(void **state)
{
	struct rounds r;

	rounds_init(&r, view_of(cluster(5), network("a", .vni = VNI_MAX, .given = "10.0.0.0/24"),
				network("b", .vni = 4097, .given = "10.0.1.0/24"), network("c")));
	run(&r);
	assert_int_equal(view_network(r.view, "c")->vni, 4098);
	rounds_fini(&r);
}

static void waiting_for_a_subnet(void **state)
{
	struct rounds r;
	struct built c = cluster(5);
	const pb_network *b;

	add_strings(&((pb_cluster *)c.obj)->spec->n_address_pools, &((pb_cluster *)c.obj)->spec->address_pools,
		    "192.168.0.0/24");
	rounds_init(&r, view_of(c, network("a", .given = "192.168.0.0/24", .vni = 4097), network("b")));
	run(&r);
	b = view_network(r.view, "b");
	assert_string_equal(b->err, "no free subnet: the address pools (192.168.0.0/24, cut to /24) are used up");
	assert_int_equal(b->vni, 0);
	assert_int_equal(run(&r), 0); /* said once */
	rounds_put(&r, KIND_NETWORK, "a", NULL);
	run(&r);
	b = view_network(r.view, "b");
	assert_string_equal(b->err, "");
	assert_string_equal(b->pools[0]->subnet, "192.168.0.0/24");
	assert_int_equal(b->vni, 4097);
	rounds_fini(&r);
}

static void keys_are_rotated(void **state)
{
	struct rounds r;
	const pb_network *n;

	rounds_init(&r, view_of(cluster(5), network("a", .options = "encrypted")));
	run(&r);
	n = view_network(r.view, "a");
	assert_int_equal(n->n_keys, 1);
	assert_int_equal(n->keys[0]->id, 1);
	assert_int_equal(n->keys[0]->key.len, 20);
	assert_int_equal(n->keys[0]->created_at, NOW);
	assert_int_equal(wakes_next(&r.wakes), NOW + KEYS_PERIOD_NS);
	for (unsigned turn = 2; turn <= 5; turn++) {
		r.now += KEYS_PERIOD_NS - 1;
		assert_int_equal(run(&r), 0);
		r.now++;
		assert_int_equal(run(&r), 1);
		n = view_network(r.view, "a");
		assert_int_equal(n->n_keys, MIN(turn, KEYS_KEPT));
		for (unsigned i = 0; i < n->n_keys; i++) {
			assert_int_equal(n->keys[i]->id, turn - i);
			assert_int_equal(n->keys[i]->created_at, r.now - i * KEYS_PERIOD_NS);
			if (i)
				assert_memory_not_equal(n->keys[i]->key.data, n->keys[i - 1]->key.data, 20);
		}
		assert_int_equal(run(&r), 0);
	}
	/* A new leader knows when the next one is due. */
	rounds_new_leader(&r);
	assert_int_equal(run(&r), 0);
	assert_int_equal(wakes_next(&r.wakes), r.now + KEYS_PERIOD_NS);
	rounds_fini(&r);
}

static void add_node(struct rounds *r, const char *id, uint32_t index)
{
	rounds_put(r, KIND_NODE, id, node(id, .index = index).obj);
}

static void indexes_of_nodes(void **state)
{
	struct rounds r;

	rounds_init(&r, view_new());
	add_node(&r, "n1", 0);
	add_node(&r, "n2", 7);
	add_node(&r, "n3", 0);
	run(&r);
	assert_int_equal(view_node(r.view, "n1")->index, 8);
	assert_int_equal(view_node(r.view, "n2")->index, 7);
	assert_int_equal(view_node(r.view, "n3")->index, 9);
	assert_int_equal(run(&r), 0);
	add_node(&r, "n4", 0);
	run(&r);
	assert_int_equal(view_node(r.view, "n4")->index, 10);
	/* The end is reached: what is free from the beginning on. */
	add_node(&r, "n5", NODE_INDEX_MAX);
	add_node(&r, "n6", 0);
	add_node(&r, "n7", 1);
	run(&r);
	assert_int_equal(view_node(r.view, "n6")->index, 2);
	rounds_fini(&r);
}

static void two_hundred_networks(void **state)
{
	struct rounds r;
	size_t n;

	rounds_init(&r, view_of(cluster(5)));
	for (unsigned i = 0; i < 200; i++) {
		char id[16];

		snprintf(id, sizeof(id), "net%03u", i);
		rounds_put(&r, KIND_NETWORK, id, network(id, .ipv6 = true).obj);
	}
	run(&r);
	const void **all = view_list(r.view, KIND_NETWORK, &n);

	assert_int_equal(n, 204);
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < i; k++) {
			const pb_network *a = all[i], *b = all[k];

			assert_true(!a->vni || a->vni != b->vni);
			assert_true(!a->n_pools || !b->n_pools || !str_eq(a->pools[0]->subnet, b->pools[0]->subnet));
			assert_true(a->n_pools < 2 || b->n_pools < 2 ||
				    !str_eq(a->pools[1]->subnet, b->pools[1]->subnet));
		}
	free(all);
	rounds_fini(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(predefined_ones_are_there), cmocka_unit_test(a_name_that_is_taken),
		cmocka_unit_test(nothing_without_a_cluster), cmocka_unit_test(numbers_and_subnets),
		cmocka_unit_test(numbers_rest_over_a_change_of_leaders),
		cmocka_unit_test(the_last_number_and_behind), cmocka_unit_test(waiting_for_a_subnet),
		cmocka_unit_test(keys_are_rotated),	     cmocka_unit_test(indexes_of_nodes),
		cmocka_unit_test(two_hundred_networks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
