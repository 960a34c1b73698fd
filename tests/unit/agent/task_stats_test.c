#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "agent/metrics/families.h"
#include "agent/task_stats.h"
#include "common/clock.h"

static pb_task *slot(const char *service, uint64_t number)
{
	pb_task *t = pb_new(&skein__task__descriptor);

	pb_set_str(&t->service_id, service);
	t->slot = number;
	return t;
}

static void the_first_start_is_no_restart(void **state)
{
	struct task_stats *s = task_stats_new(&work_families[W_START_DURATION]);
	_cleanup_pb_ pb_task *a = slot("s1", 1), *b = slot("s1", 2);

	assert_int_equal(task_stats_restarts(s, a), 0);
	task_stats_started(s, a);
	assert_int_equal(task_stats_restarts(s, a), 0);
	task_stats_started(s, a);
	task_stats_started(s, a);
	task_stats_started(s, b);
	assert_int_equal(task_stats_restarts(s, a), 2);
	assert_int_equal(task_stats_restarts(s, b), 0);
	task_stats_free(s);
}

static void slots_are_bounded(void **state)
{
	struct task_stats *s = task_stats_new(&work_families[W_START_DURATION]);
	_cleanup_pb_ pb_task *kept = slot("kept", 1), *old = slot("old", 1);

	for (int i = 0; i < 2; i++) {
		task_stats_started(s, old);
		task_stats_started(s, kept);
	}
	for (unsigned i = 0; i < TASK_STATS_SLOTS_MAX - 1; i++) {
		_cleanup_pb_ pb_task *t = slot("many", i);

		if (i == 100)
			task_stats_started(s, kept); /* started again: not the oldest any more */
		task_stats_started(s, t);
	}
	assert_int_equal(task_stats_restarts(s, old), 0);
	assert_int_equal(task_stats_restarts(s, kept), 2);
	task_stats_free(s);
}

static void phases(void **state)
{
	struct task_stats *s = task_stats_new(&work_families[W_START_DURATION]);
	const struct metric_histogram *h = task_stats_histogram(s, START_NETWORK);

	task_stats_phase(s, START_NETWORK, 4 * NS_PER_MS, true);
	task_stats_phase(s, START_NETWORK, 400 * NS_PER_SEC, true);
	task_stats_phase(s, START_NETWORK, NS_PER_SEC, false);
	task_stats_phase(NULL, START_NETWORK, NS_PER_SEC, false);
	assert_int_equal(h->counts[0], 1);
	assert_int_equal(h->counts[work_families[W_START_DURATION].n_bounds], 1);
	assert_true(h->sum > 400 && h->sum < 400.01);
	assert_int_equal(task_stats_failures(s, START_NETWORK), 1);
	assert_int_equal(task_stats_failures(s, START_IMAGE), 0);
	task_stats_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_first_start_is_no_restart),
		cmocka_unit_test(slots_are_bounded),
		cmocka_unit_test(phases),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
