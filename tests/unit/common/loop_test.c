#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/loop.h"

#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static int setup(void **state)
{
	static uv_loop_t loop;

	*state = &loop;
	return uv_loop_init(&loop);
}

static int teardown(void **state)
{
	return uv_loop_close(*state); /* fails when a handle was left */
}

static void count(void *data)
{
	++*(int *)data;
}

static void closer_calls_back_after_the_last_handle(void **state)
{
	uv_timer_t a, b;
	struct closer c;
	int calls = 0;

	closer_init(&c);
	uv_timer_init(*state, &a);
	uv_timer_init(*state, &b);
	assert_true(closer_begin(&c, count, &calls));
	closer_add(&c, (uv_handle_t *)&a);
	closer_add(&c, (uv_handle_t *)&b);
	closer_add(&c, (uv_handle_t *)&b); /* closing already */
	closer_add(&c, NULL);
	closer_end(&c);
	assert_int_equal(calls, 0);
	assert_false(closer_begin(&c, count, &calls));

	uv_run(*state, UV_RUN_DEFAULT);
	assert_int_equal(calls, 1);
	assert_true(c.done);
}

static void closer_waits_for_holds(void **state)
{
	struct closer c;
	int calls = 0;

	closer_init(&c);
	closer_hold(&c); /* before begin */
	closer_begin(&c, count, &calls);
	closer_hold(&c);
	closer_end(&c);
	closer_drop(&c);
	assert_int_equal(calls, 0);
	closer_drop(&c);
	assert_int_equal(calls, 1);
}

static void closer_without_anything_ends_at_once(void **state)
{
	struct closer c;
	int calls = 0;

	closer_init(&c);
	closer_begin(&c, count, &calls);
	assert_int_equal(calls, 0);
	closer_end(&c);
	assert_int_equal(calls, 1);
}

static uint64_t fired_ns;

static void on_timer(uv_timer_t *timer)
{
	fired_ns = uv_hrtime();
	uv_close((uv_handle_t *)timer, NULL);
}

static void burn_ms(uint64_t ms)
{
	uint64_t end = uv_hrtime() + ms * 1000000;

	while (uv_hrtime() < end)
		;
}

static void timer_counts_from_now_not_from_the_turn(void **state)
{
	uv_timer_t timer;
	uint64_t start;

	uv_timer_init(*state, &timer);
	burn_ms(30); /* the loop's idea of now is old */
	start = uv_hrtime();
	loop_timer_in(&timer, 10500000, on_timer); /* rounded up to 11 ms */
	uv_run(*state, UV_RUN_DEFAULT);
	assert_true(fired_ns - start >= 10500000);
}

static void timer_in_the_past_fires_at_once(void **state)
{
	uv_timer_t timer;

	fired_ns = 0;
	uv_timer_init(*state, &timer);
	loop_timer_in(&timer, -5, on_timer);
	assert_int_equal(uv_timer_get_due_in(&timer), 0);
	uv_run(*state, UV_RUN_DEFAULT);
	assert_true(fired_ns > 0);
}

static int got_signal;

static void on_stop(void *data, int signum)
{
	got_signal = signum;
	uv_stop(data);
}

static void on_raise(uv_timer_t *timer)
{
	kill(getpid(), SIGTERM);
}

static void stop_signal_comes_on_the_loop(void **state)
{
	uv_timer_t keep;

	loop_on_stop_signals(*state, on_stop, *state);
	uv_timer_init(*state, &keep);
	uv_timer_start(&keep, on_raise, 0, 1000);
	uv_run(*state, UV_RUN_DEFAULT);
	assert_int_equal(got_signal, SIGTERM);

	loop_stop_signals_close();
	uv_close((uv_handle_t *)&keep, NULL);
	uv_run(*state, UV_RUN_DEFAULT);
}

static void stop_signals_alone_do_not_keep_a_loop(void **state)
{
	loop_on_stop_signals(*state, on_stop, *state);
	assert_int_equal(uv_run(*state, UV_RUN_DEFAULT), 0);
	loop_stop_signals_close();
	uv_run(*state, UV_RUN_DEFAULT);
}

static void on_burn(uv_timer_t *timer)
{
	burn_ms(40);
	uv_close((uv_handle_t *)timer, NULL);
}

static void on_close(uv_timer_t *timer)
{
	uv_close((uv_handle_t *)timer, NULL);
}

static void watch_measures_work_but_not_waiting(void **state)
{
	uv_timer_t burn, later;

	loop_watch_start(*state, 10000);
	uv_timer_init(*state, &burn);
	uv_timer_init(*state, &later);
	uv_timer_start(&burn, on_burn, 1, 0);
	uv_timer_start(&later, on_close, 60, 0);
	uv_run(*state, UV_RUN_DEFAULT);
	assert_in_range(loop_watch_lag_ns(), 40 * 1000000, INT64_MAX);

	/* Half a second of idling is no stall. */
	uv_timer_init(*state, &later);
	uv_timer_start(&later, on_close, 500, 0);
	uv_run(*state, UV_RUN_DEFAULT);
	assert_in_range(loop_watch_lag_ns(), 0, 400 * 1000000);
	assert_int_equal(loop_watch_lag_ns(), 0);

	loop_watch_stop();
	uv_run(*state, UV_RUN_DEFAULT);
}

struct job {
	uv_thread_t loop_thread, worked_on, done_on;
	int worked, done;
};

static void work(void *data)
{
	struct job *job = data;

	job->worked_on = uv_thread_self();
	job->worked++;
}

static void done(void *data)
{
	struct job *job = data;

	job->done_on = uv_thread_self();
	job->done++;
}

static void work_runs_elsewhere_and_ends_here(void **state)
{
	struct job job = {.loop_thread = uv_thread_self()};

	loop_work(*state, work, done, &job);
	assert_int_equal(job.done, 0);
	uv_run(*state, UV_RUN_DEFAULT);
	assert_int_equal(job.worked, 1);
	assert_int_equal(job.done, 1);
	assert_false(uv_thread_equal(&job.worked_on, &job.loop_thread));
	assert_true(uv_thread_equal(&job.done_on, &job.loop_thread));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
		T(closer_calls_back_after_the_last_handle),
		T(closer_waits_for_holds),
		T(closer_without_anything_ends_at_once),
		T(timer_counts_from_now_not_from_the_turn),
		T(timer_in_the_past_fires_at_once),
		T(stop_signal_comes_on_the_loop),
		T(stop_signals_alone_do_not_keep_a_loop),
		T(watch_measures_work_but_not_waiting),
		T(work_runs_elsewhere_and_ends_here),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
