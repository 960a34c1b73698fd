/* What operators ask of nodes: roles, removal, and what others write meanwhile. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "support/control_forms.h"

static void *update_node(struct serve *s, const char *ref, int role, int availability,
			 struct error *err)
{
	Skein__UpdateNodeRequest request = SKEIN__UPDATE_NODE_REQUEST__INIT;
	pb_node_spec spec = SKEIN__NODE_SPEC__INIT;

	spec.role = (Skein__NodeRole)role;
	spec.availability = (Skein__Availability)availability;
	request.ref = (char *)ref;
	request.spec = &spec;
	return ask(s, "UpdateNode", &request, err);
}

static void demotion_leaves_etcd_first(void **state)
{
	struct serve *s = *state;
	_cleanup_pb_ Skein__NodeResponse *demoted = NULL, *drained = NULL, *promoted = NULL;
	struct error err;

	put_manager(s, "m1");
	put_manager(s, "m2");
	put_node(s, "w1");
	s->remove_error = "the quorum would be lost";
	assert_null(update_node(s, "m2", NODE_ROLE_WORKER, 0, &err));
	assert_int_equal(err.code, ERR_PRECONDITION);
	assert_string_equal(err.msg, "the quorum would be lost");
	assert_int_equal(view_node(store_view(s->store), "m2")->spec->role, NODE_ROLE_MANAGER);
	s->remove_error = NULL;
	demoted = update_node(s, "m2", NODE_ROLE_WORKER, 0, &err);
	assert_string_equal(s->removed, "m2");
	assert_int_equal(demoted->node->spec->role, NODE_ROLE_WORKER);
	assert_null(demoted->node->manager);
	assert_string_equal(demoted->leader_id, "m1");
	assert_null(update_node(s, "m1", NODE_ROLE_WORKER, 0, &err));
	assert_string_equal(err.msg, "node m1 is the last manager: it cannot be demoted");
	assert_int_equal(s->remove_calls, 2);
	drained = update_node(s, "w1", NODE_ROLE_WORKER, AVAILABILITY_DRAIN, &err);
	assert_int_equal(drained->node->spec->availability, AVAILABILITY_DRAIN);
	promoted = update_node(s, "w1", NODE_ROLE_MANAGER, 0, &err);
	assert_int_equal(promoted->node->spec->role, NODE_ROLE_MANAGER);
}

static void *remove_node(struct serve *s, const char *ref, bool force, struct error *err)
{
	Skein__RemoveNodeRequest request = SKEIN__REMOVE_NODE_REQUEST__INIT;

	request.ref = (char *)ref;
	request.force = force;
	return ask(s, "RemoveNode", &request, err);
}

static void only_dead_workers_are_removed(void **state)
{
	struct serve *s = *state;
	_cleanup_pb_ void *removed = NULL;
	struct error err;

	put_manager(s, "m1");
	put_node(s, "w1");
	assert_null(remove_node(s, "m1", true, &err));
	assert_int_equal(err.code, ERR_PRECONDITION);
	assert_null(remove_node(s, "w1", false, &err));
	assert_int_equal(err.code, ERR_PRECONDITION);
	removed = remove_node(s, "w1", true, &err);
	assert_non_null(removed);
	assert_null(view_node(store_view(s->store), "w1"));
	assert_null(remove_node(s, "w1", true, &err));
	assert_int_equal(err.code, ERR_NOT_FOUND);
}

/* The dispatcher and users write the same object: without a revision the user need not know. */
static void updates_survive_conflicts(void **state)
{
	struct serve *s = *state;
	struct answer a = {0};
	Skein__UpdateNodeRequest request = SKEIN__UPDATE_NODE_REQUEST__INIT;
	pb_node_spec spec = SKEIN__NODE_SPEC__INIT;
	struct rpc_channel *channel = channel_as(s, NULL, NULL);
	struct agent *agent;

	put_node(s, "n1");
	agent = agent_start(s, "n1");
	request.ref = "n1";
	request.spec = &spec;
	for (int i = 0; i < 20; i++) {
		pb_node_description description = SKEIN__NODE_DESCRIPTION__INIT;
		char kernel[16];

		snprintf(kernel, sizeof(kernel), "6.%d", i);
		description.kernel = kernel;
		spec.availability = (Skein__Availability)(i % 3);
		agent_describe(agent, &description);
		a = (struct answer){0};
		rpc_unary(channel, &skein__control__descriptor, "UpdateNode", &request.base, 10000,
			  on_answer, &a);
		wait_for(s,
			 a.done &&
				 str_eq(view_node(store_view(s->store), "n1")->description->kernel,
					kernel));
		if (!a.msg)
			fail_msg("round %d: %s", i, a.err.msg);
		pb_free(a.msg);
		assert_int_equal(view_node(store_view(s->store), "n1")->spec->availability, i % 3);
	}
	rpc_channel_close(channel);
	agent_stop(agent);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SERVE_TEST(demotion_leaves_etcd_first),
		SERVE_TEST(only_dead_workers_are_removed),
		SERVE_TEST(updates_survive_conflicts),
	};

	return cmocka_run_group_tests(tests, serve_group_setup, serve_group_teardown);
}
