/*
 * When a task counts as running: checks, listening ports, and what bad health does.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "support/worker_world.h"

static void answer_check(struct world *w, int exit_code)
{
	container_check_cb cb;

	until(w, play.check);
	cb = play.check;
	play.check = NULL;
	cb(play.check_data, &(struct check_end){.exit_code = exit_code, .output = "says why"});
}

static void a_task_is_running_once_it_serves(void **state)
{
	struct world *w = *state;

	play.hold_ready = true;
	must_apply(w, (struct part){.complete = true, .to = 1, .update = {T1}});
	until(w, runs(T1) && play.await);
	turns(w);
	assert_int_equal(worker_running(w->worker), 0);
	assert_int_equal(w->seen[TASK_RUNNING], 0);
	play.await(play.await_data, NULL);
	until(w, worker_running(w->worker) == 1 && w->seen[TASK_RUNNING] == 1);
}

static void one_that_does_not_serve_yet_is_stopped_at_once(void **state)
{
	struct world *w = *state;

	play.hold_ready = true;
	must_apply(w, (struct part){.complete = true, .to = 1, .update = {T1}});
	until(w, runs(T1) && play.await);
	must_apply(w, (struct part){.from = 1, .to = 2, .update = {T1}, .desired = TASK_SHUTDOWN});
	until(w, w->seen[TASK_SHUTDOWN] > 0);
	assert_int_equal(play.drained, 0);
	assert_null(play.await);
	assert_int_equal(w->seen[TASK_RUNNING], 0);
}

static void a_process_that_ends_before_it_serves_has_failed(void **state)
{
	struct world *w = *state;

	play.hold_ready = true;
	must_apply(w, (struct part){.complete = true, .to = 1, .update = {T1}});
	until(w, runs(T1) && play.await);
	end_process(container_of_task(T1), 1);
	until(w, w->seen[TASK_FAILED] > 0);
	assert_null(play.await);
}

static void an_unhealthy_task_leaves_balancing_and_fails(void **state)
{
	struct world *w = *state;

	play.check_command = "true";
	must_apply(w, (struct part){.complete = true, .to = 1, .update = {T1}});
	answer_check(w, 1);
	assert_int_equal(worker_running(w->worker), 0);
	answer_check(w, 0);
	until(w, worker_running(w->worker) == 1);
	play.hold_drain = true;
	answer_check(w, 1);
	answer_check(w, 1);
	until(w, play.drained == 1);
	turns(w);
	assert_int_equal(container_of_task(T1)->stops, 0);
	assert_int_equal(w->seen[TASK_FAILED], 0); /* its process runs */
	play.hold_drain = false;
	until(w, w->seen[TASK_FAILED] > 0);
	assert_int_equal(container_of_task(T1)->stops, 1);
	assert_int_equal(w->seen[TASK_SHUTDOWN], 0);
	assert_null(play.check);
}

static void an_unhealthy_task_that_is_told_to_stop_has_done_so(void **state)
{
	struct world *w = *state;

	play.check_command = "true";
	play.deaf = true;
	must_apply(w, (struct part){.complete = true, .to = 1, .update = {T1}});
	answer_check(w, 0);
	until(w, worker_running(w->worker) == 1);
	answer_check(w, 1);
	answer_check(w, 1);
	until(w, container_of_task(T1)->stops == 1);
	play.deaf = false;
	until(w, w->seen[TASK_FAILED] > 0);
	must_apply(w, (struct part){.from = 1, .to = 2, .remove = {T1}});
	until(w, !on_disk(w, T1));
}

/* What an agent that has ended knew of health counts for the next one. */
static void save_health(struct world *w, int task_state, int health)
{
	_cleanup_pb_ pb_task *t = NULL;

	play.check_command = "true";
	t = make_task(T1, TASK_RUNNING, task_state);
	t->status->health = pb_new(&skein__task_health__descriptor);
	t->status->health->state = (Skein__HealthState)health;
	taskdb_put(w->db, t, NULL, NULL);
	until(w, on_disk(w, T1));
	play.found = CONTAINER_RUNNING;
	worker_adopt(w->worker);
}

static void checks_go_on_after_a_restart_of_the_agent(void **state)
{
	struct world *w = *state;

	save_health(w, TASK_RUNNING, HEALTH_HEALTHY);
	until(w, worker_running(w->worker) == 1);
	answer_check(w, 1);
	answer_check(w, 1);
	until(w, w->seen[TASK_FAILED] > 0);
}

static void a_start_that_was_watched_is_watched_again(void **state)
{
	struct world *w = *state;

	save_health(w, TASK_STARTING, HEALTH_STARTING);
	until(w, play.check);
	turns(w);
	assert_int_equal(worker_running(w->worker), 0);
	answer_check(w, 0);
	until(w, worker_running(w->worker) == 1);
}

static void a_stop_for_bad_health_goes_on_after_a_restart_of_the_agent(void **state)
{
	struct world *w = *state;

	save_health(w, TASK_RUNNING, HEALTH_UNHEALTHY);
	until(w, w->seen[TASK_FAILED] > 0);
	assert_int_equal(container_of_task(T1)->stops, 1);
	assert_null(play.check);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_task_is_running_once_it_serves),
		T(one_that_does_not_serve_yet_is_stopped_at_once),
		T(a_process_that_ends_before_it_serves_has_failed),
		T(an_unhealthy_task_leaves_balancing_and_fails),
		T(an_unhealthy_task_that_is_told_to_stop_has_done_so),
		T(checks_go_on_after_a_restart_of_the_agent),
		T(a_start_that_was_watched_is_watched_again),
		T(a_stop_for_bad_health_goes_on_after_a_restart_of_the_agent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
