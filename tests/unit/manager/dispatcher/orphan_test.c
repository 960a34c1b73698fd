#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "manager/dispatcher/orphan.h"
#include "manager/store/txn.h"
#include "support/build.h"

#define DAY (24 * 3600 * SEC)

static struct view *cluster_of(void)
{
	return view_of(node("up"), node("down", .state = NODE_DOWN, .since = NOW - 3600 * SEC),
		       service("web"), task("t1", .node = "up"), task("t2", .node = "down"),
		       task("t3", .node = "removed"),
		       task("t4", .node = "removed", .state = TASK_COMPLETE),
		       task("t5", .state = TASK_PENDING));
}

static void removed_nodes_orphan_at_once(void **state)
{
	struct view *v = cluster_of();
	struct txn *t = txn_begin(v);
	int64_t next;

	assert_int_equal(orphan_plan(t, v, NOW, DAY, 100, &next), 1);
	assert_int_equal(view_task(v, "t3")->status->state, TASK_ORPHANED);
	assert_int_equal(view_task(v, "t4")->status->state, TASK_COMPLETE);
	assert_int_equal(view_task(v, "t5")->status->state, TASK_PENDING);
	/* The node that is down is looked at again when its day is over. */
	assert_int_equal(next, NOW + 23 * 3600 * SEC);
	txn_free(t);
	view_free(v);
}

static void long_down_nodes_orphan(void **state)
{
	struct view *v = cluster_of();
	struct txn *t = txn_begin(v);
	int64_t next;

	assert_int_equal(orphan_plan(t, v, NOW + DAY, DAY, 100, &next), 2);
	assert_int_equal(view_task(v, "t2")->status->state, TASK_ORPHANED);
	assert_int_equal(view_task(v, "t1")->status->state, TASK_RUNNING);
	assert_int_equal(next, INT64_MAX);
	txn_free(t);
	view_free(v);
}

static void bounded_per_round(void **state)
{
	struct view *v = cluster_of();
	struct txn *t = txn_begin(v);
	int64_t next;

	assert_int_equal(orphan_plan(t, v, NOW + DAY, DAY, 1, &next), 1);
	assert_int_equal(next, NOW + DAY);
	txn_free(t);
	view_free(v);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(removed_nodes_orphan_at_once),
		cmocka_unit_test(long_down_nodes_orphan),
		cmocka_unit_test(bounded_per_round),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
