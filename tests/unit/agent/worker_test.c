/*
 * What assignment sets make of tasks, and what leaving the cluster does.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "support/worker_world.h"

static void assigned_tasks_run_and_removed_ones_go(void **state)
{
	struct world *w = *state;

	must_apply(w, (struct part){.complete = true, .to = 5, .update = {T1, T2}});
	until(w, worker_running(w->worker) == 2);
	must_apply(w, (struct part){.from = 5, .to = 6, .update = {T3}, .remove = {T1, "unknown"}});
	until(w, runs(T3) && !container_of_task(T1) && !on_disk(w, T1));
	assert_true(runs(T2));
	assert_int_equal(play.created, 3);
	assert_int_equal(w->seen[TASK_RUNNING] > 0, 1);
}

static void tasks_wait_until_a_runtime_is_found(void **state)
{
	struct world *w = *state;

	probing = true;
	must_apply(w, (struct part){.complete = true, .to = 5, .update = {T1, T2}});
	until(w, w->seen[TASK_ACCEPTED] > 0 && on_disk(w, T1) && on_disk(w, T2));
	turns(w);
	assert_int_equal(play.created, 0);
	assert_int_equal(w->seen[TASK_PREPARING], 0);
	probing = false;
	worker_kick(w->worker);
	until(w, worker_running(w->worker) == 2);
}

static void a_set_that_does_not_fit_is_refused(void **state)
{
	struct world *w = *state;
	struct error err = ERROR_INIT;

	must_apply(w, (struct part){.complete = true, .to = 5, .update = {T1}});
	assert_int_equal(apply(w, (struct part){.from = 4, .to = 6, .remove = {T1}}, &err), -1);
	assert_int_equal(err.code, ERR_CONFLICT);
	until(w, runs(T1));
	/* a complete one fits always */
	must_apply(w, (struct part){.complete = true, .to = 2, .update = {T1}});
	must_apply(w, (struct part){.from = 2, .to = 3, .remove = {T1}});
	until(w, !container_of_task(T1));
}

static void malformed_assignments_are_refused_whole(void **state)
{
	struct world *w = *state;
	static const char *const ids[] = {"", "../../etc/passwd", "short", "UPPERCASEUPPERCASEUPPERCA"};
	_cleanup_pb_ Skein__Assignments *set = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
		struct error err = ERROR_INIT;

		assert_int_equal(apply(w, (struct part){.complete = true, .to = 1, .update = {T1, ids[i]}}, &err), -1);
		assert_int_equal(err.code, ERR_INVALID);
	}
	set = pb_new(&skein__assignments__descriptor);
	set->complete = true;
	pb_msgs_add(&set->n_update, &set->update, pb_new(&skein__assignment__descriptor));
	assert_int_equal(worker_apply(w->worker, set, &(struct error){0}), -1);
	turn(w);
	assert_int_equal(play.n, 0);
}

static void a_complete_set_in_parts_drops_nothing_before_its_end(void **state)
{
	struct world *w = *state;

	must_apply(w, (struct part){.complete = true, .to = 1, .update = {T1, T2, T3}});
	until(w, worker_running(w->worker) == 3);
	must_apply(w, (struct part){.complete = true, .more = true, .to = 7, .update = {T1}});
	turn(w);
	assert_int_equal(worker_running(w->worker), 3);
	must_apply(w, (struct part){.from = 7, .to = 8, .update = {T2}});
	until(w, !container_of_task(T3));
	assert_true(runs(T1) && runs(T2));
	assert_int_equal(play.created, 3);
}

static void a_part_lost_with_its_stream_drops_nothing(void **state)
{
	struct world *w = *state;

	must_apply(w, (struct part){.complete = true, .to = 1, .update = {T1, T2}});
	until(w, worker_running(w->worker) == 2);
	must_apply(w, (struct part){.complete = true, .more = true, .to = 7, .update = {T1}});
	/* the next session begins anew */
	must_apply(w, (struct part){.complete = true, .more = true, .to = 1, .update = {T2}});
	must_apply(w, (struct part){.from = 1, .to = 2, .update = {T1}});
	turns(w);
	assert_int_equal(worker_running(w->worker), 2);
	assert_int_equal(play.created, 2);
}

static void what_ended_elsewhere_gets_no_container(void **state)
{
	struct world *w = *state;
	_cleanup_pb_ Skein__Assignments *set = pb_new(&skein__assignments__descriptor);
	Skein__Assignment *a = pb_new(&skein__assignment__descriptor);

	set->complete = true;
	a->task = make_task(T1, TASK_SHUTDOWN, TASK_FAILED);
	pb_msgs_add(&set->n_update, &set->update, a);
	assert_int_equal(worker_apply(w->worker, set, &(struct error){0}), 0);
	turn(w);
	assert_int_equal(play.n, 0);
	assert_false(on_disk(w, T1));
}

/* ---------------------------------------------------------------- leaving */

static void on_stopped(void *data)
{
	((struct world *)data)->stopped++;
}

static void leaving_ends_every_task_and_takes_no_more(void **state)
{
	struct world *w = *state;

	must_apply(w, (struct part){.complete = true, .to = 1, .update = {T1, T2}});
	until(w, worker_running(w->worker) == 2);
	assert_int_equal(worker_grace_ns(w->worker), 7);
	worker_stop_all(w->worker, on_stopped, w);
	/* the manager does not know yet: it sends a successor, and an old one again */
	must_apply(w, (struct part){.from = 1, .to = 2, .update = {T1, T3}});
	until(w, w->stopped == 1);
	assert_int_equal(play.created, 2);
	assert_int_equal(worker_running(w->worker), 0);
	assert_null(container_of_task(T1));
	until(w, !on_disk(w, T1) && !on_disk(w, T2));
	/* in a cluster again */
	worker_begin(w->worker);
	must_apply(w, (struct part){.complete = true, .to = 1, .update = {T3}});
	until(w, runs(T3));
	assert_int_equal(w->stopped, 1);
}

static void leaving_without_tasks_is_told_later(void **state)
{
	struct world *w = *state;

	worker_stop_all(w->worker, on_stopped, w);
	assert_int_equal(w->stopped, 0);
	until(w, w->stopped == 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(assigned_tasks_run_and_removed_ones_go),
		T(tasks_wait_until_a_runtime_is_found),
		T(a_set_that_does_not_fit_is_refused),
		T(malformed_assignments_are_refused_whole),
		T(a_complete_set_in_parts_drops_nothing_before_its_end),
		T(a_part_lost_with_its_stream_drops_nothing),
		T(what_ended_elsewhere_gets_no_container),
		T(leaving_ends_every_task_and_takes_no_more),
		T(leaving_without_tasks_is_told_later),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
