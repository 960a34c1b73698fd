#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "support/rounds.h"

/* `dead` ended tasks "h1".. in slot 1, oldest first, and a running one "t1". */
static void begin(struct rounds *r, struct built service, unsigned dead)
{
	rounds_init(r, view_of(node("n1"), service, task("t1", .slot = 1, .node = "n1")));
	for (unsigned i = 1; i <= dead; i++) {
		char id[8];

		snprintf(id, sizeof(id), "h%u", i);
		view_add(r->view, task(id, .slot = 1, .node = "n1", .state = TASK_FAILED,
				       .desired = TASK_SHUTDOWN,
				       .created_at = NOW - (int64_t)(10000 - i) * SEC));
	}
}

static void history_limits(void **state)
{
	static const struct {
		uint32_t limit; /* of the cluster; 0 = not set */
		uint64_t max_attempts;
		size_t kept;
	} cases[] = {{0, 0, 5}, {5, 0, 5}, {1, 0, 1}, {3, 0, 3}, {5, 1, 2}, {5, 7, 8}, {20, 0, 11}};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct rounds r;

		begin(&r, service("web", .max_attempts = cases[i].max_attempts), 10);
		if (cases[i].limit)
			view_add(r.view, cluster(cases[i].limit));
		rounds_settle(&r);
		assert_int_equal(view_count(r.view, KIND_TASK), cases[i].kept);
		assert_non_null(view_task(r.view, "t1"));
		if (cases[i].kept > 1)
			assert_non_null(view_task(r.view, "h10")); /* the oldest go first */
		rounds_fini(&r);
	}
}

static void what_still_runs_is_kept(void **state)
{
	struct rounds r;

	begin(&r, service("web"), 4);
	for (unsigned i = 0; i < 3; i++) {
		char id[8];

		snprintf(id, sizeof(id), "s%u", i);
		view_add(r.view, task(id, .slot = 1, .node = "n1", .desired = TASK_SHUTDOWN));
	}
	rounds_settle(&r);
	/* Four ended, three stopping, one running; five may stay: one ended is left. */
	assert_int_equal(view_count(r.view, KIND_TASK), 5);
	assert_non_null(view_task(r.view, "h4"));
	rounds_fini(&r);
}

static void tasks_that_never_came_to_a_node_are_history(void **state)
{
	struct rounds r;

	begin(&r, service("web"), 4);
	view_add(r.view, task("p1", .slot = 1, .state = TASK_PENDING, .desired = TASK_SHUTDOWN,
			      .created_at = NOW - 20000 * SEC));
	rounds_settle(&r);
	assert_null(view_task(r.view, "p1"));
	assert_int_equal(view_count(r.view, KIND_TASK), 5);
	rounds_fini(&r);
}

/* It tells that the slot is finished. */
static void the_newest_task_is_kept(void **state)
{
	struct rounds r;

	rounds_init(&r, view_of(node("n1"), cluster(1), service("web", .condition = RESTART_NONE),
				task("o1", .slot = 1, .node = "n1", .desired = TASK_SHUTDOWN),
				task("t1", .slot = 1, .node = "n1", .state = TASK_COMPLETE,
				     .desired = TASK_SHUTDOWN, .created_at = NOW)));
	rounds_settle(&r);
	assert_non_null(view_task(r.view, "t1"));
	assert_int_equal(view_count(r.view, KIND_TASK), 2);
	rounds_fini(&r);
}

static void global_history_is_per_node(void **state)
{
	struct rounds r;

	rounds_init(&r, view_of(node("n1"), node("n2"), cluster(2), service("web", .global = true),
				task("t1", .node = "n1"), task("t2", .node = "n2")));
	for (unsigned i = 0; i < 6; i++) {
		char id[8];

		snprintf(id, sizeof(id), "h%u", i);
		view_add(r.view, task(id, .node = i % 2 ? "n1" : "n2", .state = TASK_FAILED,
				      .desired = TASK_SHUTDOWN, .created_at = NOW - 9000 * SEC));
	}
	rounds_settle(&r);
	assert_int_equal(view_count(r.view, KIND_TASK), 4);
	rounds_fini(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(history_limits),
		cmocka_unit_test(what_still_runs_is_kept),
		cmocka_unit_test(tasks_that_never_came_to_a_node_are_history),
		cmocka_unit_test(the_newest_task_is_kept),
		cmocka_unit_test(global_history_is_per_node),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
