/* Encrypted networks: states, policies and keys between nodes. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "support/plan_fixture.h"

/* Network "secret" with keys newest .. newest-2, n1 (us) and n2. */
static struct model *secret(uint32_t newest, size_t key_len)
{
	struct model *m = model_new(NULL);
	pb_net_state *s = net_state(true, 0, 1);
	pb_network *n = net_network(s, "secret", "overlay", 5000, "10.0.5.0/24", NULL);
	pb_kv *option = pb_new(&skein__key_value__descriptor);

	pb_set_str(&option->key, "encrypted");
	pb_msgs_add(&n->spec->n_options, &n->spec->options, option);
	for (uint32_t id = newest; id > 0 && id + 3 > newest; id--) {
		Skein__NetworkKey *key = pb_new(&skein__network_key__descriptor);

		key->id = id;
		key->key.len = key_len;
		key->key.data = xcalloc(1, key_len + 1);
		memset(key->key.data, (int)id, key_len);
		pb_msgs_add(&n->n_keys, &n->keys, key);
	}
	net_node(s, "n1", "10.77.0.1", 1);
	net_node(s, "n2", "10.77.0.2", 2);
	net_take(m, s);
	return m;
}

struct found {
	unsigned states, policies;
	uint32_t sending_spi;
	uint8_t keys[8][20];
};

static bool collect(void *data, const struct netstate_entry *e)
{
	struct found *f = data;

	if (e->kind == NETSTATE_XFRM_STATE)
		memcpy(f->keys[f->states++], e->xfrm_state.key, 20);
	if (e->kind == NETSTATE_XFRM_POLICY) {
		f->policies++;
		f->sending_spi = e->xfrm_policy.spi;
		assert_int_equal(e->xfrm_policy.mark, 0x5d000000 | 5000);
		assert_int_equal(e->xfrm_policy.mask, 0xffffffff);
		assert_true(e->xfrm_policy.required);
	}
	return true;
}

static struct found plan(struct model *m, const char *own, const char *own_address, const char *peer)
{
	struct plan_self self = plan_node1(false);
	struct netstate *s = netstate_new();
	struct plan_out out = {.set = s};
	struct found f = {0};

	self.node_id = own;
	self.address = plan_addr(own_address);
	plan_esp_node(&out, &self, model_network(m, "secret"), model_node(m, peer));
	netstate_each(s, collect, &f);
	netstate_free(s);
	return f;
}

static void each_direction_has_a_key_of_its_own(void **state)
{
	struct model *m = secret(1, 20);
	struct found f = plan(m, "n1", "10.77.0.1", "n2");

	assert_int_equal(f.states, 2);
	assert_int_equal(f.policies, 1);
	assert_memory_not_equal(f.keys[0], f.keys[1], 20);
	for (unsigned i = 0; i < 2; i++) /* not the network's, which all share */
		assert_memory_not_equal(f.keys[i], "\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1", 20);
	model_free(m);
}

static void both_ends_come_to_the_same_keys(void **state)
{
	struct model *m = secret(1, 20);
	struct found a = plan(m, "n1", "10.77.0.1", "n2"), b = plan(m, "n2", "10.77.0.2", "n1");
	bool same = memcmp(a.keys[0], b.keys[0], 20) == 0;

	/* In whatever order the sets give them. */
	assert_memory_equal(a.keys[0], b.keys[same ? 0 : 1], 20);
	assert_memory_equal(a.keys[1], b.keys[same ? 1 : 0], 20);
	model_free(m);
}

static void the_newest_key_is_only_listened_to(void **state)
{
	static const struct {
		uint32_t newest, sending;
		unsigned states;
	} cases[] = {{1, 1, 2}, {2, 1, 4}, {3, 2, 6}, {9, 8, 6}, {257, 256, 6}};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct model *m = secret(cases[i].newest, 20);
		struct found f = plan(m, "n1", "10.77.0.1", "n2");

		assert_int_equal(f.states, cases[i].states);
		assert_int_equal(f.sending_spi, 5000u << 8 | (cases[i].sending & 0xff));
		model_free(m);
	}
}

static void nothing_for_what_is_not_encrypted_or_is_ourselves(void **state)
{
	struct model *m = secret(1, 20), *bad = secret(1, 16);
	struct found f = plan(m, "n1", "10.77.0.1", "n1");

	assert_int_equal(f.states + f.policies, 0);
	f = plan(bad, "n1", "10.77.0.1", "n2"); /* a key of another length */
	assert_int_equal(f.states + f.policies, 0);
	model_network(m, "secret")->encrypted = false;
	f = plan(m, "n1", "10.77.0.1", "n2");
	assert_int_equal(f.states + f.policies, 0);
	model_free(m);
	model_free(bad);
}

static void the_networks_ruleset_marks_what_leaves(void **state)
{
	struct model *m = secret(1, 20);
	struct plan_self self = plan_node1(false);
	struct plan_net net;
	_cleanup_free_ char *text = NULL;
	struct strbuf clear = {0};

	plan_net_of(&self, model_network(m, "secret"), &net);
	text = plan_network_text(&self, &net, 1);
	assert_has(text, "meta mark set 0x5d001388\n");
	plan_ingress_encrypted(&clear, &self, (const uint32_t[]){5000, 5001}, 2);
	assert_has(clear.p, "udp dport 4789 @th,96,24 { 0x001388, 0x001389 } meta ipsec missing drop\n");
	strbuf_fini(&clear);
	plan_ingress_encrypted(&clear, &self, NULL, 0);
	assert_hasnt(clear.p, "drop");
	strbuf_fini(&clear);
	model_free(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_direction_has_a_key_of_its_own),
		cmocka_unit_test(both_ends_come_to_the_same_keys),
		cmocka_unit_test(the_newest_key_is_only_listened_to),
		cmocka_unit_test(nothing_for_what_is_not_encrypted_or_is_ourselves),
		cmocka_unit_test(the_networks_ruleset_marks_what_leaves),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
