/*
 * Tasks that go to another node, or come from one: what their migration wants counts before anything else does.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "support/worker_world.h"

/* A task whose container comes from elsewhere, ready. */
static void make_ready(struct world *w)
{
	moving.want = MOVE_HOLD;
	must_apply(w, (struct part){.complete = true, .to = 1, .update = {T1}, .phase = MIGRATION_PREPARE, .target = true});
	until(w, w->seen[TASK_READY] > 0);
	turns(w);
	assert_int_equal(w->seen[TASK_STARTING], 0);
	assert_int_equal(moving.begun, 1);
}

static void what_comes_is_restored_not_started(void **state)
{
	struct world *w = *state;

	make_ready(w);
	move_now(MOVE_RESTORE);
	until(w, moving.restored);
	turns(w);
	assert_int_equal(moving.restorings, 1);
	/* Its network is not open yet: others must not be told of it. */
	assert_int_equal(w->seen[TASK_RUNNING], 0);
	move_now(MOVE_NOTHING);
	until(w, w->seen[TASK_RUNNING] > 0);
	assert_true(runs(T1));
	assert_int_equal(play.created, 1);
}

static void what_cannot_be_restored_leaves_nothing(void **state)
{
	struct world *w = *state;

	make_ready(w);
	error_set(&moving.restore_error, ERR_PRECONDITION, "criu says no");
	move_now(MOVE_RESTORE);
	until(w, w->seen[TASK_SHUTDOWN] > 0 && !container_of_task(T1) && !is_attached(T1));
	assert_int_equal(w->seen[TASK_RUNNING], 0);
	/* The task itself stays until the manager forgets it. */
	assert_true(on_disk(w, T1));
}

static void given_up_before_it_ran(void **state)
{
	struct world *w = *state;

	make_ready(w);
	move_now(MOVE_DISCARD);
	until(w, w->seen[TASK_SHUTDOWN] > 0 && !container_of_task(T1) && !is_attached(T1));
}

/* Its order has not come: what went on elsewhere must not begin anew here. */
static void without_an_order_nothing_starts(void **state)
{
	struct world *w = *state;

	must_apply(w, (struct part){.complete = true, .to = 1, .update = {T1}, .target = true});
	until(w, w->seen[TASK_READY] > 0);
	turns(w);
	assert_int_equal(w->seen[TASK_STARTING], 0);
}

static void start_source(struct world *w)
{
	must_apply(w, (struct part){.complete = true, .to = 1, .update = {T1}});
	until(w, w->seen[TASK_RUNNING] > 0);
	must_apply(w, (struct part){.from = 1, .to = 2, .update = {T1}, .phase = MIGRATION_PREPARE});
	assert_int_equal(moving.begun, 1);
}

static void what_stands_still_is_not_stopped(void **state)
{
	struct world *w = *state;

	start_source(w);
	moving.v->host.stand(moving.v->host.data, true);
	move_now(MOVE_STAND);
	must_apply(w, (struct part){.from = 2, .to = 3, .update = {T1}, .desired = TASK_SHUTDOWN, .phase = MIGRATION_SWITCH});
	turns(w);
	assert_true(runs(T1));
	assert_int_equal(container_of_task(T1)->stops + container_of_task(T1)->kills, 0);
	assert_int_equal(play.drained, 0);
	/* The leader gives it back, and what is wanted is done then. */
	moving.v->host.stand(moving.v->host.data, false);
	move_now(MOVE_NOTHING);
	until(w, w->seen[TASK_SHUTDOWN] > 0);
	assert_int_equal(container_of_task(T1)->kills, 0);
}

static void moved_it_ends_as_it_stands(void **state)
{
	struct world *w = *state;

	start_source(w);
	move_now(MOVE_STAND);
	move_now(MOVE_KILL);
	until(w, w->seen[TASK_SHUTDOWN] > 0);
	assert_int_equal(w->seen[TASK_FAILED] + w->seen[TASK_COMPLETE], 0);
	assert_int_equal(container_of_task(T1)->stops, 0);
	assert_true(container_of_task(T1)->kills > 0);
	assert_int_equal(play.drained, 0);
	assert_int_equal(moving.exits, 1);
}

static void orders_follow_each_other(void **state)
{
	struct world *w = *state;

	start_source(w);
	must_apply(w, (struct part){.from = 2, .to = 3, .update = {T1}, .phase = MIGRATION_COPY});
	assert_int_equal(moving.orders, 1);
	assert_int_equal(moving.begun, 1);
	/* Without one the last stays. */
	must_apply(w, (struct part){.from = 3, .to = 4, .update = {T1}});
	assert_int_equal(moving.ended, 0);
}

/* What an earlier agent had promised, or frozen, is there before anything else is done. */
static void kept_over_an_agents_restart(void **state)
{
	struct world *w = *state;
	_cleanup_pb_ pb_task *t = make_task(T1, TASK_RUNNING, TASK_RUNNING);

	t->migration_state = pb_new(&skein__migration_state__descriptor);
	t->migration_state->order = pb_new(&skein__migration_order__descriptor);
	pb_set_str(&t->migration_state->order->id, "migrationmigrationmigrati");
	t->migration_state->frozen = true;
	moving.want = MOVE_STAND;
	play.found = CONTAINER_RUNNING;
	taskdb_put(w->db, t, NULL, NULL);
	until(w, on_disk(w, T1));
	worker_adopt(w->worker);
	until(w, runs(T1));
	turns(w);
	assert_true(moving.v->adopted);
	assert_int_equal(moving.gate, NET_CUT);
	assert_int_equal(container_of_task(T1)->stops + container_of_task(T1)->kills, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(what_comes_is_restored_not_started),
		T(what_cannot_be_restored_leaves_nothing),
		T(given_up_before_it_ran),
		T(without_an_order_nothing_starts),
		T(what_stands_still_is_not_stopped),
		T(moved_it_ends_as_it_stands),
		T(orders_follow_each_other),
		T(kept_over_an_agents_restart),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
