#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "support/build.h"

#include "manager/scheduler/faults.h"

static void note(struct faults *f, const char *id, const char *node, uint64_t version, int state,
		 int64_t at)
{
	_cleanup_pb_ pb_task *t =
		task(id, .node = node, .version = version, .state = state, .at = at).obj;

	faults_note(f, t, NOW);
}

static void counts_failures_once(void **state)
{
	struct faults *f = faults_new();

	for (int round = 0; round < 3; round++) {
		note(f, "t1", "n1", 1, TASK_FAILED, NOW - SEC);
		note(f, "t2", "n1", 1, TASK_REJECTED, NOW - SEC);
		note(f, "t3", "n1", 1, TASK_COMPLETE, NOW - SEC);
		note(f, "t4", "n1", 1, TASK_RUNNING, NOW - SEC);
		note(f, "t5", "n2", 1, TASK_FAILED, NOW - SEC);
		note(f, "t6", "n1", 2, TASK_FAILED, NOW - SEC);
		note(f, "t7", NULL, 1, TASK_FAILED, NOW - SEC);
	}
	assert_int_equal(faults_count(f, "web", 1, "n1", NOW), 2);
	assert_int_equal(faults_count(f, "web", 1, "n2", NOW), 1);
	assert_int_equal(faults_count(f, "web", 2, "n1", NOW), 1);
	assert_int_equal(faults_count(f, "db", 1, "n1", NOW), 0);
	faults_free(f);
}

static void forgets_after_five_minutes(void **state)
{
	struct faults *f = faults_new();

	note(f, "old", "n1", 1, TASK_FAILED, NOW - FAULTS_WINDOW_NS);
	note(f, "t1", "n1", 1, TASK_FAILED, NOW - FAULTS_WINDOW_NS + SEC);
	note(f, "t2", "n1", 1, TASK_FAILED, NOW);
	assert_int_equal(faults_count(f, "web", 1, "n1", NOW), 2);
	assert_int_equal(faults_count(f, "web", 1, "n1", NOW + SEC), 1);
	faults_expire(f, NOW + SEC);
	assert_int_equal(faults_count(f, "web", 1, "n1", NOW), 1);
	assert_int_equal(faults_count(f, "web", 1, "n1", NOW + FAULTS_WINDOW_NS), 0);
	faults_free(f);
}

static void a_clock_ahead_of_ours_counts_from_now(void **state)
{
	struct faults *f = faults_new();

	note(f, "t1", "n1", 1, TASK_FAILED, NOW + 3600 * SEC);
	assert_int_equal(faults_count(f, "web", 1, "n1", NOW), 1);
	assert_int_equal(faults_count(f, "web", 1, "n1", NOW + FAULTS_WINDOW_NS), 0);
	faults_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(counts_failures_once),
		cmocka_unit_test(forgets_after_five_minutes),
		cmocka_unit_test(a_clock_ahead_of_ours_counts_from_now),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
