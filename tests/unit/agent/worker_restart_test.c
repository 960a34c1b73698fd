/*
 * What the end of an agent leaves, and what the next one makes of it.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "support/worker_world.h"

static void a_running_container_is_found_again(void **state)
{
	struct world *w = *state;

	save(w, TASK_RUNNING, TASK_RUNNING);
	play.found = CONTAINER_RUNNING;
	worker_adopt(w->worker);
	until(w, worker_running(w->worker) == 1 && runs(T1));
	must_apply(w, (struct part){.complete = true, .to = 1, .update = {T1}});
	turns(w);
	assert_int_equal(play.created, 0);
	assert_int_equal(container_of_task(T1)->stops, 0);
}

/* The agent that had sent the stop signal is gone, and with it the timer that would have killed. */
static void a_stop_under_way_is_sent_again(void **state)
{
	struct world *w = *state;

	save(w, TASK_SHUTDOWN, TASK_RUNNING);
	play.found = CONTAINER_RUNNING;
	play.deaf = true;
	worker_adopt(w->worker);
	until(w, container_of_task(T1) && container_of_task(T1)->stops == 1);
	play.deaf = false;
	until(w, w->seen[TASK_SHUTDOWN] > 0);
	assert_int_equal(container_of_task(T1)->stops, 1);
}

static void an_exit_meanwhile_counts_as_asked_for(void **state)
{
	struct world *w = *state;

	save(w, TASK_SHUTDOWN, TASK_RUNNING);
	play.found = CONTAINER_EXITED;
	worker_adopt(w->worker);
	until(w, w->seen[TASK_SHUTDOWN] > 0);
	assert_int_equal(w->seen[TASK_FAILED], 0);
}

static void an_exit_meanwhile_without_that_is_a_failure(void **state)
{
	struct world *w = *state;

	save(w, TASK_RUNNING, TASK_RUNNING);
	play.found = CONTAINER_EXITED;
	worker_adopt(w->worker);
	until(w, w->seen[TASK_FAILED] > 0);
}

static void a_start_cut_off_leaves_nothing(void **state)
{
	struct world *w = *state;

	save(w, TASK_RUNNING, TASK_STARTING);
	play.found = CONTAINER_CREATED;
	worker_adopt(w->worker);
	until(w, w->seen[TASK_FAILED] > 0 && !container_of_task(T1));
	/* the task stays until the manager drops it */
	assert_true(on_disk(w, T1));
	must_apply(w, (struct part){.complete = true, .to = 1});
	until(w, !on_disk(w, T1));
}

static void a_preparation_cut_off_begins_again(void **state)
{
	struct world *w = *state;

	save(w, TASK_RUNNING, TASK_ACCEPTED);
	play.found = CONTAINER_GONE;
	worker_adopt(w->worker);
	until(w, runs(T1));
	assert_int_equal(play.created, 1);
	assert_int_equal(w->seen[TASK_FAILED], 0);
}

/* Saved as READY and wanted RUNNING, but not begun to start: its half-made container goes, and another one is made. */
static void a_ready_one_that_did_not_start_begins_again(void **state)
{
	struct world *w = *state;

	save(w, TASK_RUNNING, TASK_READY);
	play.found = CONTAINER_CREATED;
	worker_adopt(w->worker);
	until(w, runs(T1));
	assert_int_equal(play.created, 1);
	assert_int_equal(w->seen[TASK_FAILED], 0);
}

static void a_directory_of_no_task_is_removed(void **state)
{
	struct world *w = *state;

	play.stray = T2;
	play.found = CONTAINER_RUNNING;
	worker_adopt(w->worker);
	until(w, play.n == 1 && play.list[0].gone);
	assert_int_equal(play.list[0].stops, 1);
	until(w, !on_disk(w, T2));
}

/* ---------------------------------------------------------------- the agent ends */

static void frozen_tasks_go_no_step_further(void **state)
{
	struct world *w = *state;

	play.hold_images = true;
	must_apply(w, (struct part){.complete = true, .to = 1, .update = {T1}});
	until(w, play.n_jobs > 0);
	close_worker(w);
	/* the store's "cancelled" did not make it ask again */
	assert_int_equal(play.fetched, 1);
	assert_int_equal(play.created, 0);
	assert_true(on_disk(w, T1));
	play.hold_images = false;
	play.found = CONTAINER_GONE;
	open_worker(w);
	worker_adopt(w->worker);
	until(w, runs(T1));
}

static void containers_outlive_the_agent(void **state)
{
	struct world *w = *state;

	must_apply(w, (struct part){.complete = true, .to = 1, .update = {T1}});
	until(w, runs(T1));
	close_worker(w);
	assert_true(container_of_task(T1)->forgotten);
	assert_int_equal(container_of_task(T1)->stops, 0);
	play.n = 0;
	play.found = CONTAINER_RUNNING;
	open_worker(w);
	worker_adopt(w->worker);
	until(w, worker_running(w->worker) == 1 && runs(T1));
}

/* A task whose saving ends while everything closes. */
static void a_task_being_saved_starts_nothing(void **state)
{
	struct world *w = *state;

	must_apply(w, (struct part){.complete = true, .to = 1, .update = {T1}});
	close_worker(w);
	assert_int_equal(play.fetched, 0);
	assert_true(on_disk(w, T1));
	open_worker(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_running_container_is_found_again),
		T(a_stop_under_way_is_sent_again),
		T(an_exit_meanwhile_counts_as_asked_for),
		T(an_exit_meanwhile_without_that_is_a_failure),
		T(a_start_cut_off_leaves_nothing),
		T(a_preparation_cut_off_begins_again),
		T(a_ready_one_that_did_not_start_begins_again),
		T(a_directory_of_no_task_is_removed),
		T(frozen_tasks_go_no_step_further),
		T(containers_outlive_the_agent),
		T(a_task_being_saved_starts_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
