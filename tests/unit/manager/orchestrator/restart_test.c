#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "support/rounds.h"

/* One service "web" with one replica, its task "t1" on n1; n2 is there as well. */
static void begin(struct rounds *r, struct built service)
{
	rounds_init(r,
		    view_of(node("n1"), node("n2"), service, task("t1", .slot = 1, .node = "n1")));
	assert_int_equal(rounds_settle(r), 0);
}

static const pb_task *newest(struct rounds *r)
{
	return rounds_newest(r, "web", 1, NULL);
}

static void assert_desired(const pb_task *t, int desired)
{
	assert_non_null(t);
	assert_string_equal(pb_task_state_name((int)t->desired), pb_task_state_name(desired));
}

/* ---- which ends are followed by a new task */

static void conditions(void **state)
{
	static const struct {
		int condition, state;
		bool replaced;
	} cases[] = {
		{RESTART_ANY, TASK_FAILED, true},
		{RESTART_ANY, TASK_COMPLETE, true},
		{RESTART_ANY, TASK_REJECTED, true},
		{RESTART_ON_FAILURE, TASK_FAILED, true},
		{RESTART_ON_FAILURE, TASK_REJECTED, true},
		{RESTART_ON_FAILURE, TASK_COMPLETE, false},
		{RESTART_NONE, TASK_FAILED, false},
		{RESTART_NONE, TASK_COMPLETE, false},
		{RESTART_NONE, TASK_REJECTED, false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct rounds r;

		begin(&r, service("web", .condition = cases[i].condition));
		rounds_report(&r, "t1", cases[i].state);
		rounds_settle(&r);
		assert_desired(view_task(r.view, "t1"), TASK_SHUTDOWN);
		assert_int_equal(view_count(r.view, KIND_TASK), cases[i].replaced ? 2 : 1);
		/* A new leader sees it the same way. */
		rounds_new_leader(&r);
		assert_int_equal(rounds_settle(&r), 0);
		rounds_fini(&r);
	}
}

static void the_delay(void **state)
{
	struct rounds r;

	begin(&r, service("web", .restart_delay = 7 * SEC));
	rounds_report(&r, "t1", TASK_FAILED);
	rounds_settle(&r);
	assert_desired(newest(&r), TASK_READY);
	assert_int_equal(newest(&r)->start_after, NOW + 7 * SEC);
	assert_int_equal(task_state(newest(&r)), TASK_ASSIGNED); /* prepared while it waits */
	assert_int_equal(wakes_next(&r.wakes), NOW + 7 * SEC);
	r.now += 7 * SEC - 1;
	assert_int_equal(rounds_settle(&r), 0);
	r.now++;
	rounds_settle(&r);
	assert_desired(newest(&r), TASK_RUNNING);
	assert_int_equal(newest(&r)->start_after, 0);
	assert_int_equal(wakes_next(&r.wakes), INT64_MAX);
	rounds_fini(&r);
}

static void without_a_policy_it_is_any_after_5s(void **state)
{
	struct rounds r;

	begin(&r, service("web", .no_restart_policy = true));
	rounds_report(&r, "t1", TASK_COMPLETE);
	rounds_settle(&r);
	assert_int_equal(newest(&r)->start_after, NOW + 5 * SEC);
	rounds_fini(&r);
}

/* The successor is rejected while it still waits: the next one does not come before that wait is
 * over. */
static void no_tight_loop(void **state)
{
	struct rounds r;
	char id[ID_LEN + 1];

	begin(&r, service("web"));
	rounds_report(&r, "t1", TASK_FAILED);
	rounds_settle(&r);
	snprintf(id, sizeof(id), "%s", newest(&r)->id);
	r.now += SEC;
	rounds_report(&r, id, TASK_REJECTED);
	assert_int_equal(rounds_settle(&r), 0);
	assert_int_equal(wakes_next(&r.wakes), NOW + 5 * SEC);
	r.now = NOW + 5 * SEC;
	rounds_settle(&r);
	assert_desired(view_task(r.view, id), TASK_SHUTDOWN);
	assert_int_equal(newest(&r)->start_after, NOW + 10 * SEC);
	rounds_fini(&r);
}

/* ---- attempts */

/* Let the running task fail again and again; how many times it was started anew. */
static unsigned fail_until_it_stays(struct rounds *r, int64_t every, unsigned most)
{
	unsigned restarts = 0;

	for (; restarts <= most; restarts++) {
		char id[ID_LEN + 1];

		snprintf(id, sizeof(id), "%s", newest(r)->id);
		r->now += every;
		rounds_report(r, id, TASK_FAILED);
		rounds_settle(r);
		if (str_eq(newest(r)->id, id))
			return restarts;
		/* Nothing but the kept tasks remembers the attempts. */
		rounds_new_leader(r);
		r->now += r->now < newest(r)->start_after ? newest(r)->start_after - r->now : 0;
		rounds_settle(r);
		assert_desired(newest(r), TASK_RUNNING);
	}
	return restarts;
}

static void max_attempts(void **state)
{
	struct rounds r;

	begin(&r, service("web", .max_attempts = 3));
	assert_int_equal(fail_until_it_stays(&r, SEC, 10), 3);
	rounds_new_leader(&r);
	assert_int_equal(rounds_settle(&r), 0);
	assert_int_equal(view_count(r.view, KIND_TASK), 4);
	rounds_fini(&r);
}

/* More attempts than history would keep: the limit follows. */
static void more_attempts_than_history(void **state)
{
	struct rounds r;

	begin(&r, service("web", .max_attempts = 8));
	assert_int_equal(fail_until_it_stays(&r, SEC, 20), 8);
	rounds_fini(&r);
}

static void attempts_within_the_window(void **state)
{
	struct rounds r;

	/* A failure every 20 s (and 5 s of delay): never more than two in 50 s. */
	begin(&r, service("web", .max_attempts = 3, .window = 50 * SEC));
	assert_int_equal(fail_until_it_stays(&r, 20 * SEC, 12), 13);
	/* Now faster. */
	assert_true(fail_until_it_stays(&r, SEC, 12) <= 3);
	rounds_fini(&r);
}

static void attempts_are_counted_by_version(void **state)
{
	struct rounds r;

	rounds_init(&r, view_of(node("n1"),
				service("web", .max_attempts = 1, .version = 2, .env = "B",
					.previous_env = "A"),
				task("o1", .slot = 1, .node = "n1", .state = TASK_FAILED,
				     .desired = TASK_SHUTDOWN, .created_at = NOW - 50 * SEC),
				task("o2", .slot = 1, .node = "n1", .state = TASK_FAILED,
				     .desired = TASK_SHUTDOWN, .created_at = NOW - 40 * SEC),
				task("t1", .slot = 1, .node = "n1", .version = 2,
				     .created_at = NOW - 30 * SEC)));
	assert_int_equal(fail_until_it_stays(&r, SEC, 5), 1);
	rounds_fini(&r);
}

/* ---- nodes */

static void down_node_replaced_at_once(void **state)
{
	struct rounds r;

	begin(&r, service("web"));
	rounds_node_state(&r, "n1", NODE_DOWN);
	rounds_settle(&r);
	assert_desired(view_task(r.view, "t1"), TASK_SHUTDOWN);
	assert_int_equal(task_state(view_task(r.view, "t1")), TASK_RUNNING);
	assert_desired(newest(&r), TASK_RUNNING);
	assert_string_equal(newest(&r)->node_id, "n2");
	assert_int_equal(newest(&r)->start_after, 0);

	/* It returns: the old task is stopped there, nothing else happens. */
	rounds_node_state(&r, "n1", NODE_READY);
	assert_int_equal(rounds_settle(&r), 0);
	rounds_report(&r, "t1", TASK_SHUTDOWN);
	assert_int_equal(rounds_settle(&r), 0);
	assert_int_equal(rounds_count(&r, "web", TASK_RUNNING, -1), 1);
	rounds_fini(&r);
}

static void unknown_and_disconnected_nodes_keep_their_tasks(void **state)
{
	struct rounds r;

	begin(&r, service("web"));
	rounds_node_state(&r, "n1", NODE_UNKNOWN);
	assert_int_equal(rounds_settle(&r), 0);
	rounds_node_state(&r, "n1", NODE_DISCONNECTED);
	assert_int_equal(rounds_settle(&r), 0);
	rounds_fini(&r);
}

static void orphaned_after_a_day(void **state)
{
	struct rounds r;

	begin(&r, service("web"));
	rounds_node_state(&r, "n1", NODE_DOWN);
	rounds_settle(&r);
	assert_int_equal(wakes_next(&r.wakes), NOW + 24 * 3600 * SEC);
	r.now = NOW + 24 * 3600 * SEC;
	rounds_settle(&r);
	assert_int_equal(task_state(view_task(r.view, "t1")), TASK_ORPHANED);
	rounds_fini(&r);
}

static void removed_node(void **state)
{
	struct rounds r;

	begin(&r, service("web"));
	rounds_put(&r, KIND_NODE, "n1", NULL);
	rounds_settle(&r);
	assert_int_equal(task_state(view_task(r.view, "t1")), TASK_ORPHANED);
	assert_string_equal(view_task(r.view, "t1")->status->err, "node was removed");
	assert_desired(view_task(r.view, "t1"), TASK_SHUTDOWN);
	assert_desired(newest(&r), TASK_RUNNING);
	assert_string_equal(newest(&r)->node_id, "n2");
	rounds_fini(&r);
}

/* Where updates do: what runs stays until its successor runs. */
static void drain_starts_first(void **state)
{
	struct rounds r;

	begin(&r, service("web", .order = SKEIN__UPDATE_ORDER__START_FIRST));
	rounds_availability(&r, "n1", AVAILABILITY_DRAIN);
	rounds_settle(&r);
	assert_desired(view_task(r.view, "t1"), TASK_RUNNING);
	assert_desired(newest(&r), TASK_RUNNING);
	assert_string_equal(newest(&r)->node_id, "n2");
	rounds_new_leader(&r);
	assert_int_equal(rounds_settle(&r), 0);
	rounds_report(&r, newest(&r)->id, TASK_RUNNING);
	rounds_settle(&r);
	assert_desired(view_task(r.view, "t1"), TASK_SHUTDOWN);
	assert_desired(newest(&r), TASK_RUNNING);
	rounds_fini(&r);
}

/* The node comes back before the successor is there: one of them goes, and it is the one that does not run yet. */
static void drain_is_taken_back(void **state)
{
	struct rounds r;

	begin(&r, service("web", .order = SKEIN__UPDATE_ORDER__START_FIRST));
	rounds_availability(&r, "n1", AVAILABILITY_DRAIN);
	rounds_settle(&r);
	rounds_availability(&r, "n1", AVAILABILITY_ACTIVE);
	rounds_settle(&r);
	assert_desired(view_task(r.view, "t1"), TASK_RUNNING);
	assert_desired(newest(&r), TASK_SHUTDOWN);
	rounds_fini(&r);
}

static void drain_stops_first(void **state)
{
	struct rounds r;

	begin(&r, service("web"));
	rounds_availability(&r, "n1", AVAILABILITY_DRAIN);
	rounds_settle(&r);
	assert_desired(view_task(r.view, "t1"), TASK_SHUTDOWN);
	assert_desired(newest(&r), TASK_READY);
	assert_string_equal(newest(&r)->node_id, "n2");
	assert_int_equal(newest(&r)->start_after, 0);
	r.now += SEC;
	rounds_report(&r, "t1", TASK_SHUTDOWN);
	rounds_settle(&r);
	assert_desired(newest(&r), TASK_RUNNING);
	rounds_fini(&r);
}

static void a_successor_waits_a_minute_at_most(void **state)
{
	struct rounds r;

	begin(&r, service("web"));
	rounds_availability(&r, "n1", AVAILABILITY_DRAIN);
	rounds_settle(&r);
	assert_int_equal(wakes_next(&r.wakes), NOW + 60 * SEC);
	r.now += 60 * SEC - 1;
	rounds_settle(&r);
	assert_desired(newest(&r), TASK_READY);
	r.now++;
	rounds_settle(&r);
	assert_desired(newest(&r), TASK_RUNNING);
	rounds_fini(&r);
}

static void a_successor_does_not_wait_for_a_node_that_goes_down(void **state)
{
	struct rounds r;

	begin(&r, service("web"));
	rounds_availability(&r, "n1", AVAILABILITY_DRAIN);
	rounds_settle(&r);
	rounds_node_state(&r, "n1", NODE_DOWN);
	rounds_settle(&r);
	assert_desired(newest(&r), TASK_RUNNING);
	rounds_fini(&r);
}

static void a_failure_on_a_drained_node_has_no_delay(void **state)
{
	struct rounds r;

	begin(&r, service("web"));
	rounds_report(&r, "t1", TASK_FAILED);
	rounds_availability(&r, "n1", AVAILABILITY_DRAIN);
	rounds_settle(&r);
	assert_desired(newest(&r), TASK_RUNNING);
	assert_int_equal(newest(&r)->start_after, 0);
	rounds_fini(&r);
}

static void a_delay_goes_on_elsewhere(void **state)
{
	struct rounds r;
	char id[ID_LEN + 1];

	begin(&r, service("web"));
	rounds_report(&r, "t1", TASK_FAILED);
	rounds_settle(&r);
	snprintf(id, sizeof(id), "%s", newest(&r)->id);
	r.now += SEC;
	{
		char node[8];

		snprintf(node, sizeof(node), "%s", newest(&r)->node_id);
		rounds_node_state(&r, node, NODE_DOWN);
	}
	rounds_settle(&r);
	assert_desired(view_task(r.view, id), TASK_SHUTDOWN);
	assert_desired(newest(&r), TASK_READY);
	assert_int_equal(newest(&r)->start_after, NOW + 5 * SEC);
	rounds_fini(&r);
}

static void paused_nodes_keep_their_tasks(void **state)
{
	struct rounds r;

	begin(&r, service("web"));
	rounds_availability(&r, "n1", AVAILABILITY_PAUSE);
	assert_int_equal(rounds_settle(&r), 0);
	rounds_fini(&r);
}

/* ---- half a plan */

/* Each prefix of each round's changes is committed and its leader dies: the end is always the same.
 */
static void any_part_of_a_plan_may_be_all_that_is_committed(void **state)
{
	for (size_t most = 0; most < 8; most++) {
		struct rounds r;

		rounds_init(&r, view_of(node("n1"), node("n2"), node("n3"),
					service("web", .replicas = 4),
					task("t1", .slot = 1, .node = "n1"),
					task("t2", .slot = 2, .node = "n1"),
					task("t3", .slot = 3, .node = "n1", .state = TASK_FAILED),
					task("t4", .slot = 4, .node = "n3")));
		rounds_node_state(&r, "n1", NODE_DOWN);
		rounds_commit(&r, rounds_plan(&r, round_plan), most, NULL, NULL);
		rounds_node_state(&r, "n1", most % 2 ? NODE_READY : NODE_DOWN);
		rounds_new_leader(&r);
		rounds_settle(&r);
		r.now += 120 * SEC;
		rounds_settle(&r);
		assert_int_equal(rounds_count(&r, "web", TASK_RUNNING, -1), 4);
		assert_int_equal(rounds_count(&r, "web", TASK_READY, -1), 0);
		rounds_fini(&r);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(conditions),
		cmocka_unit_test(the_delay),
		cmocka_unit_test(without_a_policy_it_is_any_after_5s),
		cmocka_unit_test(no_tight_loop),
		cmocka_unit_test(max_attempts),
		cmocka_unit_test(more_attempts_than_history),
		cmocka_unit_test(attempts_within_the_window),
		cmocka_unit_test(attempts_are_counted_by_version),
		cmocka_unit_test(down_node_replaced_at_once),
		cmocka_unit_test(unknown_and_disconnected_nodes_keep_their_tasks),
		cmocka_unit_test(orphaned_after_a_day),
		cmocka_unit_test(removed_node),
		cmocka_unit_test(drain_starts_first),
		cmocka_unit_test(drain_is_taken_back),
		cmocka_unit_test(drain_stops_first),
		cmocka_unit_test(a_successor_waits_a_minute_at_most),
		cmocka_unit_test(a_successor_does_not_wait_for_a_node_that_goes_down),
		cmocka_unit_test(a_failure_on_a_drained_node_has_no_delay),
		cmocka_unit_test(a_delay_goes_on_elsewhere),
		cmocka_unit_test(paused_nodes_keep_their_tasks),
		cmocka_unit_test(any_part_of_a_plan_may_be_all_that_is_committed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
