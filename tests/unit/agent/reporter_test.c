/* The reporter keeps the newest status per task until the manager has written it, and lets progress wait a little. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "agent/reporter.h"

#include <string.h>

static uv_loop_t loop;

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

static void end(struct reporter *r)
{
	reporter_free(r);
	uv_run(&loop, UV_RUN_DEFAULT);
}

static void nothing_leaves_without_a_session(void **state)
{
	struct wire wire = {0};
	struct reporter *r = reporter_new(&loop, send_batch, &wire);

	(void)state;
	put(r, "a", TASK_RUNNING);
	assert_int_equal(wire.batches, 0);
	reporter_session(r, true);
	assert_int_equal(wire.batches, 1);
	assert_int_equal(wire.first_state, TASK_RUNNING);
	end(r);
}

static void what_changes_in_flight_waits_and_is_merged(void **state)
{
	struct wire wire = {0};
	struct reporter *r = reporter_new(&loop, send_batch, &wire);

	(void)state;
	reporter_session(r, true);
	put(r, "a", TASK_RUNNING);
	assert_int_equal(wire.batches, 1);
	put(r, "a", TASK_FAILED);
	put(r, "b", TASK_ACCEPTED);
	put(r, "b", TASK_RUNNING);
	assert_int_equal(wire.batches, 1);
	reporter_ack(r, wire.sequence);
	assert_int_equal(wire.batches, 2);
	assert_int_equal(wire.n, 2);
	assert_string_equal(wire.first_task, "a");
	assert_int_equal(wire.first_state, TASK_FAILED);
	reporter_ack(r, wire.sequence);
	assert_int_equal(wire.batches, 2);
	end(r);
}

static void a_lost_session_sends_again(void **state)
{
	struct wire wire = {0};
	struct reporter *r = reporter_new(&loop, send_batch, &wire);
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
	end(r);
}

static void an_old_ack_changes_nothing(void **state)
{
	struct wire wire = {0};
	struct reporter *r = reporter_new(&loop, send_batch, &wire);

	(void)state;
	reporter_session(r, true);
	put(r, "a", TASK_RUNNING);
	reporter_ack(r, wire.sequence + 7);
	put(r, "b", TASK_RUNNING);
	assert_int_equal(wire.batches, 1);
	end(r);
}

static void a_dropped_task_is_not_reported(void **state)
{
	struct wire wire = {.result = -1};
	struct reporter *r = reporter_new(&loop, send_batch, &wire);

	(void)state;
	reporter_session(r, true);
	put(r, "a", TASK_RUNNING);
	reporter_drop(r, "a");
	wire.result = 0;
	put(r, "b", TASK_RUNNING);
	assert_int_equal(wire.n, 1);
	assert_string_equal(wire.first_task, "b");
	end(r);
}

static void progress_is_held_back_for_a_while(void **state)
{
	struct wire wire = {0};
	struct reporter *r = reporter_new(&loop, send_batch, &wire);
	uint64_t begun = uv_now(&loop);

	(void)state;
	reporter_session(r, true);
	put(r, "a", TASK_ACCEPTED);
	put(r, "a", TASK_PREPARING);
	assert_int_equal(wire.batches, 0);
	while (wire.batches == 0)
		uv_run(&loop, UV_RUN_ONCE);
	assert_true(uv_now(&loop) - begun >= REPORTER_HOLD_MS);
	assert_int_equal(wire.first_state, TASK_PREPARING);
	reporter_ack(r, wire.sequence);
	assert_int_equal(wire.batches, 1);
	end(r);
}

static void held_progress_goes_with_what_is_not_held(void **state)
{
	struct wire wire = {0};
	struct reporter *r = reporter_new(&loop, send_batch, &wire);

	(void)state;
	reporter_session(r, true);
	put(r, "a", TASK_STARTING);
	put(r, "b", TASK_STARTING);
	put(r, "a", TASK_RUNNING);
	assert_int_equal(wire.batches, 1);
	assert_int_equal(wire.n, 2);
	put(r, "c", TASK_STARTING);
	reporter_ack(r, wire.sequence);
	assert_int_equal(wire.batches, 1); /* "c" is held on its own account */
	put(r, "b", TASK_REJECTED);
	assert_int_equal(wire.batches, 2);
	assert_int_equal(wire.n, 2);
	end(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_leaves_without_a_session),
		cmocka_unit_test(what_changes_in_flight_waits_and_is_merged),
		cmocka_unit_test(a_lost_session_sends_again),
		cmocka_unit_test(an_old_ack_changes_nothing),
		cmocka_unit_test(a_dropped_task_is_not_reported),
		cmocka_unit_test(progress_is_held_back_for_a_while),
		cmocka_unit_test(held_progress_goes_with_what_is_not_held),
	};
	int failed;

	uv_loop_init(&loop);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	return uv_loop_close(&loop) == 0 ? failed : 1;
}
