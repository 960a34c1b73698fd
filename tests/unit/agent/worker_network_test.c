/*
 * A task's network: from before its container to its end, and across agents.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "support/worker_world.h"

static void a_network_lasts_from_before_the_container_to_its_end(void **state)
{
	struct world *w = *state;

	must_apply(w, (struct part){.complete = true, .to = 1, .update = {T1}});
	until(w, runs(T1) && w->seen[TASK_RUNNING] > 0);
	assert_true(is_attached(T1));
	assert_int_equal(play.drained, 0);
	must_apply(w, (struct part){.from = 1, .to = 2, .update = {T1}, .desired = TASK_SHUTDOWN});
	until(w, w->seen[TASK_SHUTDOWN] > 0 && !is_attached(T1));
	assert_int_equal(play.drained, 1);
	assert_int_equal(network_of_task(T1)->drain_ns, 7); /* not longer than the grace period */
	/* its files stay until the manager drops it */
	assert_non_null(container_of_task(T1));
	must_apply(w, (struct part){.from = 2, .to = 3, .remove = {T1}});
	until(w, !on_disk(w, T1));
	assert_int_equal(play.attached, 1);
	assert_int_equal(play.detached, 1);
}

static void the_stop_signal_waits_for_the_drain(void **state)
{
	struct world *w = *state;

	must_apply(w, (struct part){.complete = true, .to = 1, .update = {T1}});
	until(w, worker_running(w->worker) == 1);
	play.hold_drain = true;
	must_apply(w, (struct part){.from = 1, .to = 2, .update = {T1}, .desired = TASK_SHUTDOWN});
	turns(w);
	assert_int_equal(container_of_task(T1)->stops, 0);
	play.hold_drain = false;
	until(w, w->seen[TASK_SHUTDOWN] > 0);
	assert_int_equal(container_of_task(T1)->stops, 1);
	assert_int_equal(play.drained, 1);
}

static void an_end_while_draining_is_told_at_once(void **state)
{
	struct world *w = *state;

	must_apply(w, (struct part){.complete = true, .to = 1, .update = {T1}});
	until(w, worker_running(w->worker) == 1);
	play.hold_drain = true;
	must_apply(w, (struct part){.from = 1, .to = 2, .remove = {T1}});
	until(w, play.drained == 1);
	end_process(container_of_task(T1), 1);
	until(w, w->seen[TASK_SHUTDOWN] > 0);
	assert_true(on_disk(w, T1));
	play.hold_drain = false;
	until(w, !on_disk(w, T1));
	assert_int_equal(play.detached, 1);
}

static void a_network_that_cannot_be_made_rejects_the_task(void **state)
{
	struct world *w = *state;

	error_set(&play.attach_error, ERR_TIMEOUT, "network backend: nothing was heard of it");
	must_apply(w, (struct part){.complete = true, .to = 1, .update = {T1}});
	until(w, w->seen[TASK_REJECTED] > 0);
	assert_int_equal(play.created, 0);
	must_apply(w, (struct part){.from = 1, .to = 2, .remove = {T1}});
	until(w, !on_disk(w, T1));
	assert_int_equal(play.detached, 0);
}

static void waiting_for_a_network_is_given_up(void **state)
{
	struct world *w = *state;

	play.hold_attach = true;
	must_apply(w, (struct part){.complete = true, .to = 1, .update = {T1}});
	until(w, play.attached == 1);
	must_apply(w, (struct part){.from = 1, .to = 2, .remove = {T1}});
	until(w, !on_disk(w, T1));
	assert_int_equal(play.detached, 1);
	assert_int_equal(play.created, 0);
	assert_int_equal(w->seen[TASK_REJECTED], 0);
}

static void a_container_without_its_namespace_is_replaced(void **state)
{
	struct world *w = *state;

	error_set(&play.adopt_error, ERR_NOT_FOUND, "no namespace");
	save(w, TASK_RUNNING, TASK_RUNNING);
	play.found = CONTAINER_RUNNING;
	worker_adopt(w->worker);
	until(w, w->seen[TASK_FAILED] > 0);
	assert_int_equal(container_of_task(T1)->stops, 1);
	assert_int_equal(play.drained, 0);
	assert_int_equal(w->seen[TASK_SHUTDOWN], 0);
}

static void a_network_that_is_not_understood_leaves_the_container_alone(void **state)
{
	struct world *w = *state;

	error_set(&play.adopt_error, ERR_INTERNAL, "netlink: busy");
	save(w, TASK_RUNNING, TASK_RUNNING);
	play.found = CONTAINER_RUNNING;
	worker_adopt(w->worker);
	until(w, worker_running(w->worker) == 1 && runs(T1));
	turns(w);
	assert_int_equal(container_of_task(T1)->stops, 0);
	must_apply(w, (struct part){.complete = true, .to = 1});
	until(w, !on_disk(w, T1));
	assert_int_equal(play.detached, 1);
}

static void what_an_ended_task_left_is_detached(void **state)
{
	struct world *w = *state;

	save(w, TASK_RUNNING, TASK_FAILED);
	play.found = CONTAINER_EXITED;
	worker_adopt(w->worker);
	until(w, play.detached == 1 && !is_attached(T1));
	assert_true(on_disk(w, T1));
}

static void networks_outlive_the_agent(void **state)
{
	struct world *w = *state;

	play.hold_attach = true;
	must_apply(w, (struct part){.complete = true, .to = 1, .update = {T1}});
	until(w, play.attached == 1);
	close_worker(w);
	assert_int_equal(play.detached, 0);
	network_of_task(T1)->attach = NULL; /* forgotten: the next agent asks anew */
	play.hold_attach = false;
	play.found = CONTAINER_GONE;
	error_set(&play.adopt_error, ERR_NOT_FOUND, "no namespace");
	open_worker(w);
	worker_adopt(w->worker);
	until(w, runs(T1));
	assert_int_equal(play.attached, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_network_lasts_from_before_the_container_to_its_end),
		T(the_stop_signal_waits_for_the_drain),
		T(an_end_while_draining_is_told_at_once),
		T(a_network_that_cannot_be_made_rejects_the_task),
		T(waiting_for_a_network_is_given_up),
		T(a_container_without_its_namespace_is_replaced),
		T(a_network_that_is_not_understood_leaves_the_container_alone),
		T(what_an_ended_task_left_is_detached),
		T(networks_outlive_the_agent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
