/* Large states, and differences that add up to the whole. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "support/feed_world.h"

/* 60,000 endpoints do not fit into one message; changes meanwhile are not lost. */
static void large_states_are_split(void **state)
{
	enum { MANY = 60000 };
	struct world *w = world_new();
	size_t n = 0, messages = 0;
	bool more = true;

	change(w, KIND_SERVICE, new_service("web", "a"));
	put_task(w, "t0", "web", "n0", "a", TASK_RUNNING, TASK_RUNNING);
	for (int i = 1; i < MANY; i++) {
		char id[16];

		snprintf(id, sizeof(id), "t%d", i);
		put_task(w, id, "web", "n1", "a", TASK_RUNNING, TASK_RUNNING);
	}
	agent_start(w, 0);
	while (more) {
		_cleanup_pb_ Skein__NetState *s = next(w, 0);

		assert_non_null(s);
		assert_true(protobuf_c_message_get_packed_size(&s->base) < (15u << 18));
		assert_int_equal(s->n_remove_endpoints, 0);
		n += s->n_endpoints;
		more = s->more;
		/* Told already: taken back behind the end of the complete state. */
		if (messages++ == 0)
			gone(w, KIND_TASK, s->endpoints[s->n_endpoints - 1]->task_id);
	}
	assert_int_equal(n, MANY);
	assert_in_range(messages, 2, 4);
	{
		_cleanup_pb_ Skein__NetState *s = next(w, 0);

		assert_false(s->complete || s->more);
		assert_int_equal(all_of(s), 1);
		assert_int_equal(s->n_remove_endpoints, 1);
	}
	quiet(w, 0);
	world_free(w);
}

/* An agent that is told every difference ends up with what a new one is told at once. */
static void know(struct idset *all, char kind, const ProtobufCMessage *msg, const char *id)
{
	char text[128];

	snprintf(text, sizeof(text), "%c %s %llx", kind, id,
		 msg ? (unsigned long long)netobj_fingerprint(msg) : 0ull);
	idset_add(all, text);
}

static void forget(struct idset *all, char kind, const char *id)
{
	struct idset_entry *e, *following;
	char prefix[128];
	int len = snprintf(prefix, sizeof(prefix), "%c %s ", kind, id);

	HASH_ITER(hh, all->entries, e, following)
	{
		if (strncmp(e->id, prefix, (size_t)len))
			continue;
		HASH_DEL(all->entries, e);
		free(e);
	}
}

#define LEARN(kind, field, id)                                                                     \
	for (size_t i = 0; i < s->n_##field; i++) {                                                \
		forget(all, kind, s->field[i]->id);                                                \
		know(all, kind, &s->field[i]->base, s->field[i]->id);                              \
	}                                                                                          \
	for (size_t i = 0; i < s->n_remove_##field; i++)                                           \
		forget(all, kind, s->remove_##field[i]);

static void learn(struct world *w, unsigned agent, struct idset *all)
{
	Skein__NetState *s;

	while ((s = next(w, agent))) {
		LEARN('N', networks, id)
		LEARN('n', nodes, node_id)
		LEARN('s', services, service_id)
		LEARN('e', endpoints, task_id)
		pb_free(s);
	}
}

static unsigned pick(uint64_t *seed, unsigned n)
{
	*seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (unsigned)(*seed >> 33) % n;
}

static void random_step(struct world *w, uint64_t *seed)
{
	static const char *const networks[] = {"a", "b", NULL};
	static const int states[] = {TASK_ASSIGNED, TASK_STARTING, TASK_RUNNING, TASK_SHUTDOWN,
				     TASK_ORPHANED};
	static const int desired[] = {TASK_RUNNING, TASK_RUNNING, TASK_SHUTDOWN};
	char task_id[8], service_id[8], node_id[8];

	snprintf(task_id, sizeof(task_id), "t%u", pick(seed, 12));
	snprintf(service_id, sizeof(service_id), "s%u", (unsigned)(task_id[1] - '0') % 3);
	snprintf(node_id, sizeof(node_id), "n%u", pick(seed, NODES));
	switch (pick(seed, 12)) {
	case 0:
		if (view_service(w->view, service_id))
			gone(w, KIND_SERVICE, service_id);
		break;
	case 1: {
		pb_service *s = new_service(service_id, networks[pick(seed, 3)]);

		if (pick(seed, 3) == 0)
			publish(s, 80, PUBLISH_INGRESS);
		if (pick(seed, 3) == 0)
			publish(s, 81, PUBLISH_HOST);
		if (pick(seed, 4) == 0)
			pb_kv_set(&s->spec->n_labels, &s->spec->labels, "skein.lb.weight", "5");
		change(w, KIND_SERVICE, s);
		break;
	}
	case 2:
		if (view_node(w->view, node_id))
			gone(w, KIND_NODE, node_id);
		break;
	case 3:
		put_node(w, node_id, pick(seed, 2) ? "192.0.2.7" : "192.0.2.8", pick(seed, 3));
		break;
	case 4:
		if (view_network(w->view, "b"))
			gone(w, KIND_NETWORK, "b");
		else
			put_network(w, "b");
		break;
	case 5:
		if (view_task(w->view, task_id))
			gone(w, KIND_TASK, task_id);
		break;
	default:
		if (view_task(w->view, task_id) && pick(seed, 3))
			set_task(w, task_id, states[pick(seed, 5)], desired[pick(seed, 3)]);
		else
			put_task(w, task_id, service_id, node_id, networks[pick(seed, 3)],
				 states[pick(seed, 5)], desired[pick(seed, 3)]);
	}
}

static void differences_add_up_to_the_whole(void **state)
{
	struct world *w = world_new();
	struct idset known = {0};
	uint64_t seed = 1;

	agent_start(w, 0);
	for (int round = 0; round < 3000; round++) {
		unsigned steps = 1 + pick(&seed, 4);
		struct idset fresh = {0};

		for (unsigned i = 0; i < steps; i++)
			random_step(w, &seed);
		learn(w, 0, &known);
		/* Another agent in its place. */
		if (round % 10 == 0) {
			struct world twin = {.view = w->view, .index = netindex_new(),
					     .revision = w->revision};
			_cleanup_free_ const void **services = NULL;
			size_t n;

			services = view_list(w->view, KIND_SERVICE, &n);
			for (size_t i = 0; i < n; i++)
				netindex_event(twin.index, w->view, KIND_SERVICE,
					       ((const pb_service *)services[i])->id, NULL,
					       services[i]);
			agent_start(&twin, 0);
			learn(&twin, 0, &fresh);
			netfeed_free(twin.agents[0].feed);
			netindex_free(twin.index);
			for (struct idset_entry *e = fresh.entries; e; e = e->hh.next)
				if (!idset_has(&known, e->id))
					fail_msg("round %d: not known: %s", round, e->id);
			for (struct idset_entry *e = known.entries; e; e = e->hh.next)
				if (!idset_has(&fresh, e->id))
					fail_msg("round %d: known still: %s", round, e->id);
		}
		idset_clear(&fresh);
	}
	idset_clear(&known);
	world_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(large_states_are_split),
		cmocka_unit_test(differences_add_up_to_the_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
