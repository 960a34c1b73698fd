#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "support/rounds.h"

#include "manager/allocator/allocator.h"

static void run(struct rounds *r)
{
	rounds_commit(r, rounds_plan(r, allocator_plan), SIZE_MAX, NULL, NULL);
}

static void networks(void **state)
{
	static const struct {
		const char *network;
		int state;
		const char *err;
	} cases[] = {
		{"host", TASK_PENDING, ""},
		{"none", TASK_PENDING, ""},
		{"", TASK_PENDING, ""},
		{"front", TASK_NEW, "network \"front\" is not there (known: bridge, host, none)"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct rounds r;
		const pb_task *t;

		rounds_init(&r, view_of(service("web", .network = cases[i].network),
					task("t1", .slot = 1, .state = TASK_NEW)));
		run(&r);
		t = view_task(r.view, "t1");
		assert_int_equal(task_state(t), cases[i].state);
		assert_string_equal(t->status->err, cases[i].err);
		assert_int_equal(t->status->at, NOW);
		if (cases[i].state == TASK_PENDING)
			assert_string_equal(t->status->message, "pending task scheduling");
		/* The same is not written again. */
		run(&r);
		assert_ptr_equal(view_task(r.view, "t1"), t);
		rounds_fini(&r);
	}
}

static void other_tasks_are_left_alone(void **state)
{
	struct rounds r;

	rounds_init(&r, view_of(service("web"),
				task("t1", .slot = 1, .state = TASK_NEW, .desired = TASK_SHUTDOWN),
				task("t2", .slot = 2, .state = TASK_ASSIGNED, .node = "n1")));
	run(&r);
	assert_int_equal(task_state(view_task(r.view, "t1")), TASK_NEW);
	assert_int_equal(task_state(view_task(r.view, "t2")), TASK_ASSIGNED);
	rounds_fini(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(networks),
		cmocka_unit_test(other_tasks_are_left_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
