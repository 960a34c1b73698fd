#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "support/rounds.h"

#define PAUSE SKEIN__UPDATE_FAILURE_ACTION__FAILURE_PAUSE
#define CONTINUE SKEIN__UPDATE_FAILURE_ACTION__FAILURE_CONTINUE
#define ROLLBACK SKEIN__UPDATE_FAILURE_ACTION__FAILURE_ROLLBACK
#define START_FIRST SKEIN__UPDATE_ORDER__START_FIRST

/* Three running tasks of version 1 ("A=old"), a service of version 2 ("A=new"). */
#define updated(...)                                                                               \
	service("web", .replicas = 3, .version = 2, .env = "A=new", .previous_env = "A=old",       \
		##__VA_ARGS__)

static void begin(struct rounds *r, struct built service)
{
	rounds_init(r, view_of(node("n1"), node("n2"), node("n3"), service,
			       task("t1", .slot = 1, .node = "n1"),
			       task("t2", .slot = 2, .node = "n2"),
			       task("t3", .slot = 3, .node = "n3")));
	rounds_settle(r);
}

static const pb_service *web(struct rounds *r)
{
	return view_service(r->view, "web");
}

static void assert_update(struct rounds *r, int update_state, const char *message)
{
	assert_non_null(web(r)->update);
	assert_int_equal(web(r)->update->state, update_state);
	if (message)
		assert_string_equal(web(r)->update->message, message);
}

/* All that is wanted and not up yet comes up; all that is not wanted stops. */
static void agents_work(struct rounds *r)
{
	size_t n;
	const void **tasks = view_list(r->view, KIND_TASK, &n);

	for (size_t i = 0; i < n; i++) {
		_cleanup_free_ char *id = xstrdup(((const pb_task *)tasks[i])->id);
		const pb_task *t = tasks[i];

		if (!task_on_node(t))
			continue;
		if (!task_live(t))
			rounds_report(r, id, TASK_SHUTDOWN);
		else if (t->desired == (Skein__TaskState)TASK_RUNNING &&
			 task_state(t) != TASK_RUNNING)
			rounds_report(r, id, TASK_RUNNING);
	}
	free(tasks);
	rounds_settle(r);
}

static size_t on_version(struct rounds *r, uint64_t version)
{
	size_t n, count = 0;
	const pb_task **tasks = view_tasks_of_service(r->view, "web", &n);

	for (size_t i = 0; i < n; i++)
		count += tasks[i]->spec_version == version && task_live(tasks[i]);
	free(tasks);
	return count;
}

static void fail_newest(struct rounds *r, uint64_t slot)
{
	_cleanup_free_ char *id = xstrdup(rounds_newest(r, "web", slot, NULL)->id);

	rounds_report(r, id, TASK_FAILED);
	rounds_settle(r);
}

/* ---- the way of an update */

static void one_slot_after_the_other(void **state)
{
	struct rounds r;

	begin(&r, updated());
	assert_update(&r, SKEIN__UPDATE_STATE__UPDATE_UPDATING, "update in progress");
	assert_int_equal(web(&r)->update->started_at, NOW);
	for (uint64_t slot = 1; slot <= 3; slot++) {
		/* Stop-first: the old one goes, the new one waits for that. */
		assert_int_equal(on_version(&r, 2), slot);
		assert_int_equal(rounds_newest(&r, "web", slot, NULL)->desired, TASK_READY);
		r.now += SEC;
		agents_work(&r);
		assert_int_equal(rounds_newest(&r, "web", slot, NULL)->desired, TASK_RUNNING);
		agents_work(&r);
	}
	assert_int_equal(on_version(&r, 1), 0);
	assert_update(&r, SKEIN__UPDATE_STATE__UPDATE_UPDATING, NULL);
	/* Watched for the monitor time, then complete. */
	assert_int_equal(wakes_next(&r.wakes), r.now + 5 * SEC);
	r.now += 5 * SEC;
	rounds_settle(&r);
	assert_update(&r, SKEIN__UPDATE_STATE__UPDATE_COMPLETED, "update completed");
	assert_int_equal(web(&r)->update->completed_at, r.now);
	assert_int_equal(rounds_settle(&r), 0);
	rounds_fini(&r);
}

static void parallelism(void **state)
{
	static const size_t touched[] = {3, 1, 2, 3};

	for (uint64_t p = 0; p < ARRAY_SIZE(touched); p++) {
		struct rounds r;

		begin(&r, updated(.parallelism = p));
		assert_int_equal(on_version(&r, 2), touched[p]);
		rounds_fini(&r);
	}
}

static void delay_between_slots(void **state)
{
	struct rounds r;

	begin(&r, updated(.update_delay = 10 * SEC));
	agents_work(&r);
	agents_work(&r);
	assert_int_equal(on_version(&r, 2), 1);
	assert_int_equal(wakes_next(&r.wakes), NOW + 10 * SEC);
	r.now += 10 * SEC;
	rounds_settle(&r);
	assert_int_equal(on_version(&r, 2), 2);
	rounds_fini(&r);
}

/* A delay not shorter than the monitor time: watched a second longer than the delay. */
static void delay_stretches_the_monitor(void **state)
{
	struct rounds r;

	begin(&r, updated(.update_delay = 10 * SEC, .parallelism = 0));
	agents_work(&r);
	agents_work(&r);
	r.now += 10 * SEC;
	rounds_settle(&r);
	assert_update(&r, SKEIN__UPDATE_STATE__UPDATE_UPDATING, NULL);
	r.now += SEC;
	rounds_settle(&r);
	assert_update(&r, SKEIN__UPDATE_STATE__UPDATE_COMPLETED, NULL);
	rounds_fini(&r);
}

static void start_first(void **state)
{
	struct rounds r;

	begin(&r, updated(.order = START_FIRST));
	assert_int_equal(rounds_newest(&r, "web", 1, NULL)->desired, TASK_RUNNING);
	assert_int_equal(view_task(r.view, "t1")->desired, TASK_RUNNING);
	r.now += SEC;
	rounds_report(&r, rounds_newest(&r, "web", 1, NULL)->id, TASK_STARTING);
	rounds_settle(&r);
	assert_int_equal(view_task(r.view, "t1")->desired, TASK_RUNNING);
	agents_work(&r);
	assert_int_equal(view_task(r.view, "t1")->desired, TASK_SHUTDOWN);
	assert_int_equal(on_version(&r, 2), 2); /* and the next slot has begun */
	rounds_fini(&r);
}

static void finished_slots_are_updated_too(void **state)
{
	struct rounds r;

	rounds_init(&r, view_of(node("n1"), updated(.replicas = 1, .condition = RESTART_NONE),
				task("t1", .slot = 1, .node = "n1", .state = TASK_COMPLETE,
				     .desired = TASK_SHUTDOWN)));
	rounds_settle(&r);
	assert_int_equal(on_version(&r, 2), 1);
	rounds_fini(&r);
}

static void a_new_leader_goes_on(void **state)
{
	struct rounds r;

	begin(&r, updated());
	for (unsigned i = 0; i < 6; i++) {
		r.now += SEC;
		agents_work(&r);
		rounds_new_leader(&r);
		rounds_settle(&r);
	}
	r.now += 5 * SEC;
	rounds_settle(&r);
	assert_int_equal(on_version(&r, 2), 3);
	assert_update(&r, SKEIN__UPDATE_STATE__UPDATE_COMPLETED, NULL);
	rounds_fini(&r);
}

/* ---- what is no update */

static void same_content_is_not_replaced(void **state)
{
	struct rounds r;

	begin(&r, updated(.env = "A=same", .previous_env = "A=same"));
	assert_int_equal(on_version(&r, 1), 3);
	assert_null(web(&r)->update);
	rounds_fini(&r);
}

/* Constraints changed: only the task whose node does not meet them is replaced. */
static void placement_alone(void **state)
{
	struct rounds r;
	pb_service *s;

	rounds_init(&r, view_of(node("n1", .labels = "rack=a"), node("n2", .labels = "rack=b"),
				service("web", .replicas = 2), task("t1", .slot = 1, .node = "n1"),
				task("t2", .slot = 2, .node = "n2")));
	rounds_settle(&r);
	s = pb_dup(web(&r));
	pb_strs_add(&s->spec->task->placement->n_constraints,
		    &s->spec->task->placement->constraints, "node.labels.rack==a");
	s->spec_version = 2;
	rounds_put(&r, KIND_SERVICE, "web", s);
	rounds_settle(&r);
	assert_int_equal(view_task(r.view, "t1")->desired, TASK_RUNNING);
	assert_int_equal(view_task(r.view, "t2")->desired, TASK_SHUTDOWN);
	rounds_fini(&r);
}

static void another_registry_password(void **state)
{
	struct rounds r;
	pb_service *s;

	rounds_init(&r, view_of(node("n1"), service("web", .replicas = 2),
				task("t1", .slot = 1, .node = "n1"),
				task("t2", .slot = 2, .node = "n1", .state = TASK_PREPARING)));
	rounds_settle(&r);
	s = pb_dup(web(&r));
	pb_set_str(&s->spec->task->container->registry_auth, "secret");
	s->spec_version = 2;
	rounds_put(&r, KIND_SERVICE, "web", s);
	rounds_settle(&r);
	/* The running task has its image; the other one needs the new password. */
	assert_int_equal(view_task(r.view, "t1")->desired, TASK_RUNNING);
	assert_int_equal(view_task(r.view, "t2")->desired, TASK_SHUTDOWN);
	rounds_fini(&r);
}

/* ---- failures */

static void failure_pauses(void **state)
{
	struct rounds r;
	_cleanup_free_ char *message = NULL;

	begin(&r, updated(.failure_action = PAUSE));
	agents_work(&r);
	message = xasprintf("update paused due to failure or early termination of task %s",
			    rounds_newest(&r, "web", 1, NULL)->id);
	fail_newest(&r, 1);
	assert_update(&r, SKEIN__UPDATE_STATE__UPDATE_PAUSED, message);
	r.now += 60 * SEC;
	rounds_settle(&r);
	agents_work(&r);
	assert_int_equal(on_version(&r, 1), 2);
	rounds_fini(&r);
}

static void failure_after_the_monitor_time_is_none(void **state)
{
	struct rounds r;

	begin(&r, updated(.failure_action = PAUSE, .update_delay = 4 * SEC));
	agents_work(&r);
	agents_work(&r);
	r.now += 6 * SEC;
	fail_newest(&r, 1);
	assert_update(&r, SKEIN__UPDATE_STATE__UPDATE_UPDATING, NULL);
	rounds_fini(&r);
}

static void failure_within_the_ratio(void **state)
{
	struct rounds r;

	/* One of three is 0.33. */
	begin(&r, updated(.failure_action = PAUSE, .ratio = 0.34f, .parallelism = 0));
	agents_work(&r);
	fail_newest(&r, 1);
	assert_update(&r, SKEIN__UPDATE_STATE__UPDATE_UPDATING, NULL);
	fail_newest(&r, 2);
	assert_update(&r, SKEIN__UPDATE_STATE__UPDATE_PAUSED, NULL);
	rounds_fini(&r);
}

static void failure_continues(void **state)
{
	struct rounds r;

	begin(&r, updated(.failure_action = CONTINUE));
	for (uint64_t slot = 1; slot <= 3; slot++) {
		agents_work(&r);
		fail_newest(&r, slot);
	}
	assert_int_equal(on_version(&r, 1), 0);
	assert_update(&r, SKEIN__UPDATE_STATE__UPDATE_UPDATING, NULL);
	rounds_fini(&r);
}

static void failure_rolls_back(void **state)
{
	struct rounds r;
	_cleanup_free_ char *message = NULL;

	begin(&r, updated(.failure_action = ROLLBACK));
	agents_work(&r);
	message = xasprintf("update rolled back due to failure or early termination of task %s",
			    rounds_newest(&r, "web", 1, NULL)->id);
	fail_newest(&r, 1);
	assert_update(&r, SKEIN__UPDATE_STATE__UPDATE_ROLLBACK_STARTED, message);
	assert_string_equal(web(&r)->spec->task->container->env[0], "A=old");
	assert_null(web(&r)->previous_spec);
	assert_int_equal(web(&r)->spec_version, 3); /* a version is never used twice */
	for (unsigned i = 0; i < 4; i++) {
		r.now += SEC;
		agents_work(&r);
	}
	/* Slots that were not touched yet have nothing to go back to. */
	assert_int_equal(view_task(r.view, "t2")->desired, TASK_RUNNING);
	assert_int_equal(view_task(r.view, "t3")->desired, TASK_RUNNING);
	assert_int_equal(on_version(&r, 3), 1);
	assert_int_equal(on_version(&r, 2), 0);
	r.now += 5 * SEC;
	rounds_settle(&r);
	assert_update(&r, SKEIN__UPDATE_STATE__UPDATE_ROLLBACK_COMPLETED, "rollback completed");
	rounds_fini(&r);
}

static void a_rollback_is_not_rolled_back(void **state)
{
	struct rounds r;

	begin(&r, updated(.failure_action = ROLLBACK));
	agents_work(&r);
	fail_newest(&r, 1);
	r.now += SEC;
	agents_work(&r);
	agents_work(&r);
	fail_newest(&r, 1);
	assert_update(&r, SKEIN__UPDATE_STATE__UPDATE_ROLLBACK_PAUSED, NULL);
	assert_non_null(strstr(web(&r)->update->message, "rollback paused due to failure"));
	rounds_fini(&r);
}

static void nothing_to_roll_back_to(void **state)
{
	struct rounds r;
	pb_service *s;

	begin(&r, updated(.failure_action = ROLLBACK));
	s = pb_dup(web(&r));
	pb_set_msg(&s->previous_spec, NULL);
	rounds_put(&r, KIND_SERVICE, "web", s);
	agents_work(&r);
	fail_newest(&r, 1);
	assert_update(&r, SKEIN__UPDATE_STATE__UPDATE_PAUSED, NULL);
	assert_non_null(strstr(web(&r)->update->message, "no previous spec"));
	rounds_fini(&r);
}

/* As the control API does it: specs swapped, ROLLBACK_STARTED. */
static void manual_rollback(void **state)
{
	struct rounds r;

	begin(&r, updated(.update_state = SKEIN__UPDATE_STATE__UPDATE_ROLLBACK_STARTED));
	assert_update(&r, SKEIN__UPDATE_STATE__UPDATE_ROLLBACK_STARTED, NULL);
	assert_int_equal(web(&r)->update->started_at, NOW);
	for (unsigned i = 0; i < 6; i++)
		agents_work(&r);
	r.now += 5 * SEC;
	rounds_settle(&r);
	assert_update(&r, SKEIN__UPDATE_STATE__UPDATE_ROLLBACK_COMPLETED, NULL);
	assert_int_equal(on_version(&r, 2), 3);
	rounds_fini(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_slot_after_the_other),
		cmocka_unit_test(parallelism),
		cmocka_unit_test(delay_between_slots),
		cmocka_unit_test(delay_stretches_the_monitor),
		cmocka_unit_test(start_first),
		cmocka_unit_test(finished_slots_are_updated_too),
		cmocka_unit_test(a_new_leader_goes_on),
		cmocka_unit_test(same_content_is_not_replaced),
		cmocka_unit_test(placement_alone),
		cmocka_unit_test(another_registry_password),
		cmocka_unit_test(failure_pauses),
		cmocka_unit_test(failure_after_the_monitor_time_is_none),
		cmocka_unit_test(failure_within_the_ratio),
		cmocka_unit_test(failure_continues),
		cmocka_unit_test(failure_rolls_back),
		cmocka_unit_test(a_rollback_is_not_rolled_back),
		cmocka_unit_test(nothing_to_roll_back_to),
		cmocka_unit_test(manual_rollback),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
