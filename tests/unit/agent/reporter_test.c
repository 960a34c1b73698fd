/* The reporter keeps the newest status per task until the manager has written it. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "agent/reporter.h"

#include <string.h>

struct wire {
	unsigned batches;
	uint64_t sequence;
	size_t n;
	int first_state;
	char first_task[32];
	int result;
};

static int send_batch(void *data, const Skein__StatusReports *batch)
{
	struct wire *w = data;

	if (w->result < 0)
		return -1;
	w->batches++;
	w->sequence = batch->sequence;
	w->n = batch->n_reports;
	w->first_state = (int)batch->reports[0]->status->state;
	strncpy(w->first_task, batch->reports[0]->task_id, sizeof(w->first_task) - 1);
	return 0;
}

static void put(struct reporter *r, const char *task, Skein__TaskState state)
{
	pb_task_status status = SKEIN__TASK_STATUS__INIT;

	status.state = state;
	reporter_put(r, task, &status);
}

static void nothing_leaves_without_a_session(void **state)
{
	struct wire wire = {0};
	struct reporter *r = reporter_new(send_batch, &wire);

	(void)state;
	put(r, "a", TASK_RUNNING);
	assert_int_equal(wire.batches, 0);
	reporter_session(r, true);
	assert_int_equal(wire.batches, 1);
	assert_int_equal(wire.first_state, TASK_RUNNING);
	reporter_free(r);
}

static void what_changes_in_flight_waits_and_is_merged(void **state)
{
	struct wire wire = {0};
	struct reporter *r = reporter_new(send_batch, &wire);

	(void)state;
	reporter_session(r, true);
	put(r, "a", TASK_ACCEPTED);
	assert_int_equal(wire.batches, 1);
	put(r, "a", TASK_PREPARING);
	put(r, "a", TASK_RUNNING);
	put(r, "b", TASK_ACCEPTED);
	assert_int_equal(wire.batches, 1);
	reporter_ack(r, wire.sequence);
	assert_int_equal(wire.batches, 2);
	assert_int_equal(wire.n, 2);
	assert_string_equal(wire.first_task, "a");
	assert_int_equal(wire.first_state, TASK_RUNNING);
	reporter_ack(r, wire.sequence);
	assert_int_equal(wire.batches, 2);
	reporter_free(r);
}

static void a_lost_session_sends_again(void **state)
{
	struct wire wire = {0};
	struct reporter *r = reporter_new(send_batch, &wire);
	uint64_t first;

	(void)state;
	reporter_session(r, true);
	put(r, "a", TASK_RUNNING);
	first = wire.sequence;
	reporter_session(r, false);
	reporter_ack(r, first); /* too late: nobody knows whether it was written */
	reporter_session(r, true);
	assert_int_equal(wire.batches, 2);
	assert_string_equal(wire.first_task, "a");
	reporter_free(r);
}

static void an_old_ack_changes_nothing(void **state)
{
	struct wire wire = {0};
	struct reporter *r = reporter_new(send_batch, &wire);

	(void)state;
	reporter_session(r, true);
	put(r, "a", TASK_RUNNING);
	reporter_ack(r, wire.sequence + 7);
	put(r, "b", TASK_RUNNING);
	assert_int_equal(wire.batches, 1);
	reporter_free(r);
}

static void a_dropped_task_is_not_reported(void **state)
{
	struct wire wire = {.result = -1};
	struct reporter *r = reporter_new(send_batch, &wire);

	(void)state;
	reporter_session(r, true);
	put(r, "a", TASK_RUNNING);
	reporter_drop(r, "a");
	wire.result = 0;
	put(r, "b", TASK_RUNNING);
	assert_int_equal(wire.n, 1);
	assert_string_equal(wire.first_task, "b");
	reporter_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_leaves_without_a_session),
		cmocka_unit_test(what_changes_in_flight_waits_and_is_merged),
		cmocka_unit_test(a_lost_session_sends_again),
		cmocka_unit_test(an_old_ack_changes_nothing),
		cmocka_unit_test(a_dropped_task_is_not_reported),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
