#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "support/rounds.h"

static const pb_task *on(struct rounds *r, const char *node_id)
{
	return rounds_newest(r, "web", 0, node_id);
}

static void one_task_per_eligible_node(void **state)
{
	struct rounds r;

	rounds_init(&r,
		    view_of(node("n1", .labels = "rack=a"), node("n2", .labels = "rack=b"),
			    node("n3", .labels = "rack=a", .state = NODE_DOWN),
			    node("n4", .labels = "rack=a", .availability = AVAILABILITY_DRAIN),
			    node("n5", .labels = "rack=a", .availability = AVAILABILITY_PAUSE),
			    service("web", .global = true, .constraints = "node.labels.rack==a")));
	rounds_settle(&r);
	assert_int_equal(view_count(r.view, KIND_TASK), 1);
	assert_int_equal(task_state(on(&r, "n1")), TASK_ASSIGNED);
	assert_int_equal(on(&r, "n1")->slot, 0);
	assert_string_equal(on(&r, "n1")->status->message,
			    "scheduler confirmed task can run on preassigned node");

	/* Nodes that become eligible get theirs. */
	rounds_node_state(&r, "n3", NODE_READY);
	rounds_availability(&r, "n4", AVAILABILITY_ACTIVE);
	rounds_availability(&r, "n5", AVAILABILITY_ACTIVE);
	rounds_put(&r, KIND_NODE, "n6", node("n6", .labels = "rack=a").obj);
	rounds_settle(&r);
	assert_int_equal(rounds_count(&r, "web", TASK_RUNNING, TASK_ASSIGNED), 5);
	rounds_fini(&r);
}

/* What makes a node lose its task, and that it gets one back. */
static void nodes_that_leave_and_return(void **state)
{
	for (unsigned i = 0; i < 3; i++) {
		struct rounds r;

		rounds_init(&r, view_of(node("n1", .labels = "rack=a"),
					service("web", .global = true,
						.constraints = "node.labels.rack==a"),
					task("t1", .node = "n1")));
		assert_int_equal(rounds_settle(&r), 0);
		if (i == 0)
			rounds_node_state(&r, "n1", NODE_DOWN);
		else if (i == 1)
			rounds_availability(&r, "n1", AVAILABILITY_DRAIN);
		else
			rounds_put(&r, KIND_NODE, "n1", node("n1", .labels = "rack=b").obj);
		rounds_settle(&r);
		assert_int_equal(view_task(r.view, "t1")->desired, TASK_SHUTDOWN);
		assert_int_equal(view_count(r.view, KIND_TASK), 1);

		r.now += SEC;
		rounds_put(&r, KIND_NODE, "n1", node("n1", .labels = "rack=a").obj);
		rounds_settle(&r);
		/* The constraint enforcer rejected it in the third case: then it counts as stopped.
		 */
		if (i < 2) {
			assert_int_equal(on(&r, "n1")->desired, TASK_READY);
			rounds_report(&r, "t1", TASK_SHUTDOWN);
			rounds_settle(&r);
		}
		assert_true(on(&r, "n1")->desired == (Skein__TaskState)TASK_RUNNING ||
			    on(&r, "n1")->start_after > r.now);
		assert_int_equal(task_state(on(&r, "n1")), TASK_ASSIGNED);
		rounds_fini(&r);
	}
}

static void a_removed_node_leaves_nothing(void **state)
{
	struct rounds r;

	rounds_init(
		&r,
		view_of(node("n1"), service("web", .global = true), task("t1", .node = "n1"),
			task("t0", .node = "n1", .state = TASK_FAILED, .desired = TASK_SHUTDOWN)));
	rounds_put(&r, KIND_NODE, "n1", NULL);
	rounds_settle(&r);
	assert_int_equal(view_count(r.view, KIND_TASK), 0);
	rounds_fini(&r);
}

static void restarts_on_the_same_node(void **state)
{
	struct rounds r;

	rounds_init(&r, view_of(node("n1"), node("n2"), service("web", .global = true),
				task("t1", .node = "n1"), task("t2", .node = "n2")));
	rounds_report(&r, "t1", TASK_FAILED);
	rounds_settle(&r);
	assert_int_equal(on(&r, "n1")->desired, TASK_READY);
	assert_int_equal(on(&r, "n1")->start_after, NOW + 5 * SEC);
	r.now += 5 * SEC;
	rounds_settle(&r);
	assert_int_equal(on(&r, "n1")->desired, TASK_RUNNING);
	assert_int_equal(rounds_count(&r, "web", TASK_RUNNING, -1), 2);
	rounds_fini(&r);
}

static void a_paused_node_restarts_nothing(void **state)
{
	struct rounds r;

	rounds_init(&r, view_of(node("n1", .availability = AVAILABILITY_PAUSE),
				service("web", .global = true), task("t1", .node = "n1")));
	assert_int_equal(rounds_settle(&r), 0);
	rounds_report(&r, "t1", TASK_FAILED);
	rounds_settle(&r);
	assert_int_equal(view_count(r.view, KIND_TASK), 1);
	assert_int_equal(view_task(r.view, "t1")->desired, TASK_SHUTDOWN);
	rounds_availability(&r, "n1", AVAILABILITY_ACTIVE);
	rounds_settle(&r);
	assert_int_equal(view_count(r.view, KIND_TASK), 2);
	rounds_fini(&r);
}

static void a_one_shot_is_done_once_per_node(void **state)
{
	struct rounds r;

	rounds_init(&r, view_of(node("n1"),
				service("web", .global = true, .condition = RESTART_ON_FAILURE),
				task("t1", .node = "n1")));
	rounds_report(&r, "t1", TASK_COMPLETE);
	rounds_settle(&r);
	assert_int_equal(view_count(r.view, KIND_TASK), 1);
	rounds_new_leader(&r);
	assert_int_equal(rounds_settle(&r), 0);
	rounds_fini(&r);
}

static void updates_node_by_node(void **state)
{
	struct rounds r;

	rounds_init(&r, view_of(node("n1"), node("n2"),
				service("web", .global = true, .version = 2, .env = "B",
					.previous_env = "A"),
				task("t1", .node = "n1"), task("t2", .node = "n2")));
	rounds_settle(&r);
	assert_int_equal(view_task(r.view, "t1")->desired, TASK_SHUTDOWN);
	assert_int_equal(view_task(r.view, "t2")->desired, TASK_RUNNING);
	assert_int_equal(on(&r, "n1")->spec_version, 2);
	assert_string_equal(on(&r, "n1")->node_id, "n1");
	rounds_fini(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_task_per_eligible_node),
		cmocka_unit_test(nodes_that_leave_and_return),
		cmocka_unit_test(a_removed_node_leaves_nothing),
		cmocka_unit_test(restarts_on_the_same_node),
		cmocka_unit_test(a_paused_node_restarts_nothing),
		cmocka_unit_test(a_one_shot_is_done_once_per_node),
		cmocka_unit_test(updates_node_by_node),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
