/* progress_model with a simulated clock, and the lines drawn from it. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "clusterctl/progress_draw.h"
#include "clusterctl/text.h"

#include "common/clock.h"
#include "common/mem.h"

#include <string.h>

#define SEC NS_PER_SEC

struct task {
	uint64_t slot;
	int state, desired;
	uint64_t version;
	const char *err;
	int64_t created;
	const char *node;
};

struct state {
	uint64_t desired, version;
	int update_state;
	int64_t update_started;
	const char *update_message;
	int restart;
	int64_t monitor;
	struct task tasks[32]; /* ends with desired == 0 */
};

static Skein__WatchServiceResponse *message(const struct state *s)
{
	Skein__WatchServiceResponse *msg = pb_new(&skein__watch_service_response__descriptor);
	pb_service *service = msg->service = pb_new(&skein__service__descriptor);

	msg->desired = s->desired;
	service->spec_version = s->version ?: 1;
	service->spec = pb_new(&skein__service_spec__descriptor);
	pb_service_spec_defaults(service->spec);
	pb_set_str(&service->spec->name, "web");
	service->spec->task->restart->condition = (Skein__RestartCondition)s->restart;
	service->spec->update->monitor = s->monitor;
	if (s->update_state) {
		service->update = pb_new(&skein__update_status__descriptor);
		service->update->state = (Skein__UpdateState)s->update_state;
		service->update->started_at = s->update_started;
		pb_set_str(&service->update->message, s->update_message);
	}
	for (const struct task *t = s->tasks; t->desired; t++) {
		pb_task *task = pb_new(&skein__task__descriptor);
		_cleanup_free_ char *id = xasprintf("task%zu", msg->n_tasks);

		pb_set_str(&task->id, id);
		pb_set_str(&task->node_id, t->node);
		task->slot = t->slot;
		task->spec_version = t->version ?: 1;
		task->desired = (Skein__TaskState)t->desired;
		task->meta = pb_new(&skein__meta__descriptor);
		task->meta->created_at = t->created;
		task->status = pb_new(&skein__task_status__descriptor);
		task->status->state = (Skein__TaskState)t->state;
		pb_set_str(&task->status->err, t->err);
		pb_msgs_add(&msg->n_tasks, &msg->tasks, task);
	}
	return msg;
}

static void feed(struct progress *p, const struct state *s, int64_t now)
{
	_cleanup_pb_ Skein__WatchServiceResponse *msg = message(s);

	progress_feed(p, msg, now);
}

#define RUN TASK_RUNNING
#define ANY RESTART_ANY
#define UPDATING SKEIN__UPDATE_STATE__UPDATE_UPDATING
#define COMPLETED SKEIN__UPDATE_STATE__UPDATE_COMPLETED
#define PAUSED SKEIN__UPDATE_STATE__UPDATE_PAUSED
#define BACK SKEIN__UPDATE_STATE__UPDATE_ROLLBACK_STARTED
#define BACK_DONE SKEIN__UPDATE_STATE__UPDATE_ROLLBACK_COMPLETED

/* One message, seen by a fresh waiter. */
static void verdicts_of_one_message(void **unused)
{
	static const struct {
		const char *what;
		struct progress_setup setup;
		struct state state;
		enum progress_verdict want;
		uint64_t running;
	} cases[] = {
		{"no task yet", {0}, {.desired = 2, .restart = ANY}, PROGRESS_WAIT, 0},
		{"one of two", {0}, {.desired = 2, .restart = ANY, .tasks = {{1, RUN, RUN}, {2, TASK_PREPARING, RUN}}}, PROGRESS_WAIT, 1},
		{"all", {0}, {.desired = 2, .restart = ANY, .tasks = {{1, RUN, RUN}, {2, RUN, RUN}}}, PROGRESS_DONE, 2},
		{"none wanted", {0}, {.desired = 0, .restart = ANY}, PROGRESS_DONE, 0},
		{"scale down not begun", {0}, {.desired = 1, .restart = ANY, .tasks = {{1, RUN, RUN}, {2, RUN, RUN}}}, PROGRESS_WAIT, 2},
		{"scaled down, still stopping", {0}, {.desired = 1, .restart = ANY, .tasks = {{1, RUN, RUN}, {2, RUN, TASK_REMOVE}}},
		 PROGRESS_DONE, 1},
		{"replacement speaks for the slot", {0},
		 {.desired = 1, .restart = ANY, .tasks = {{1, TASK_FAILED, TASK_SHUTDOWN, 1, "exit 1", 5}, {1, RUN, RUN, 1, NULL, 9}}},
		 PROGRESS_DONE, 1},
		{"replacement on its way", {0},
		 {.desired = 1, .restart = ANY, .tasks = {{1, TASK_FAILED, TASK_SHUTDOWN, 1, "exit 1", 5}, {1, TASK_STARTING, TASK_READY, 1, NULL, 9}}},
		 PROGRESS_WAIT, 0},
		{"completed one-shot", {0}, {.desired = 1, .restart = RESTART_NONE, .tasks = {{1, TASK_COMPLETE, TASK_SHUTDOWN}}}, PROGRESS_DONE, 0},
		{"completed, desired not yet changed", {0}, {.desired = 1, .restart = RESTART_ON_FAILURE, .tasks = {{1, TASK_COMPLETE, RUN}}},
		 PROGRESS_DONE, 0},
		{"completed and running together", {0},
		 {.desired = 2, .restart = RESTART_ON_FAILURE, .tasks = {{1, TASK_COMPLETE, TASK_SHUTDOWN}, {2, RUN, RUN}}}, PROGRESS_DONE, 1},
		{"completion does not count when tasks are restarted", {0},
		 {.desired = 1, .restart = ANY, .tasks = {{1, TASK_COMPLETE, TASK_SHUTDOWN}}}, PROGRESS_WAIT, 0},
		{"pending with a reason is waited for", {0},
		 {.desired = 1, .restart = ANY, .tasks = {{1, TASK_PENDING, RUN, 1, "no suitable node"}}}, PROGRESS_WAIT, 0},
		{"global: slots are nodes", {0},
		 {.desired = 2, .restart = ANY, .tasks = {{0, RUN, RUN, 1, NULL, 1, "n1"}, {0, RUN, RUN, 1, NULL, 1, "n2"}}}, PROGRESS_DONE, 2},
		{"old tasks do not count in an update", {.verify = true, .new_tasks = true},
		 {.desired = 1, .version = 2, .restart = ANY, .monitor = SEC, .tasks = {{1, RUN, RUN, 1}}}, PROGRESS_WAIT, 0},
		{"update without new tasks", {.verify = true},
		 {.desired = 1, .version = 2, .restart = ANY, .monitor = SEC, .tasks = {{1, RUN, RUN, 1}}}, PROGRESS_DONE, 1},
		{"update without a monitor period", {.verify = true, .new_tasks = true},
		 {.desired = 1, .version = 2, .restart = ANY, .tasks = {{1, RUN, RUN, 2}}}, PROGRESS_DONE, 1},
		{"completed update that kept a task", {.verify = true, .new_tasks = true, .update_state = COMPLETED, .update_started_at = 5},
		 {.desired = 1, .version = 2, .update_state = COMPLETED, .update_started = 6, .restart = ANY, .monitor = SEC, .tasks = {{1, RUN, RUN, 1}}},
		 PROGRESS_DONE, 1},
		{"completion of the update before is no news", {.verify = true, .new_tasks = true, .update_state = COMPLETED, .update_started_at = 5},
		 {.desired = 1, .version = 2, .update_state = COMPLETED, .update_started = 5, .restart = ANY, .monitor = SEC, .tasks = {{1, RUN, RUN, 1}}},
		 PROGRESS_WAIT, 0},
		{"cleared update status is no completion", {.verify = true, .new_tasks = true, .update_state = PAUSED, .update_started_at = 5},
		 {.desired = 1, .version = 2, .restart = ANY, .monitor = SEC, .tasks = {{1, RUN, RUN, 1}}}, PROGRESS_WAIT, 0},
		{"paused", {.verify = true, .new_tasks = true},
		 {.desired = 1, .version = 2, .update_state = PAUSED, .update_started = 6, .update_message = "task x failed", .restart = ANY}, PROGRESS_FAILED, 0},
		{"pause of the update before", {.update_state = PAUSED, .update_started_at = 6},
		 {.desired = 1, .update_state = PAUSED, .update_started = 6, .restart = ANY, .tasks = {{1, RUN, RUN}}}, PROGRESS_DONE, 1},
		{"rolled back", {.verify = true, .new_tasks = true},
		 {.desired = 1, .version = 3, .update_state = BACK_DONE, .update_started = 6, .restart = ANY, .tasks = {{1, RUN, RUN, 3}}}, PROGRESS_FAILED, 1},
		{"rolled back as asked", {.verify = true, .new_tasks = true, .rollback = true},
		 {.desired = 1, .version = 3, .update_state = BACK_DONE, .update_started = 6, .restart = ANY, .monitor = SEC, .tasks = {{1, RUN, RUN, 3}}},
		 PROGRESS_DONE, 1},
		{"rolling back", {.verify = true, .new_tasks = true, .rollback = true},
		 {.desired = 1, .version = 3, .update_state = BACK, .update_started = 6, .restart = ANY, .monitor = SEC, .tasks = {{1, TASK_STARTING, RUN, 3}}},
		 PROGRESS_WAIT, 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct progress p;

		progress_init(&p, &cases[i].setup);
		feed(&p, &cases[i].state, 100 * SEC);
		if (p.verdict != cases[i].want || p.running != cases[i].running)
			fail_msg("%s: verdict %d, %llu running", cases[i].what, (int)p.verdict, (unsigned long long)p.running);
		progress_fini(&p);
	}
}

static void update_is_verified_for_the_monitor_period(void **unused)
{
	struct progress_setup setup = {.verify = true, .new_tasks = true};
	struct state s = {.desired = 1, .version = 2, .update_state = UPDATING, .update_started = 6, .restart = ANY,
			  .monitor = 5 * SEC, .tasks = {{1, RUN, RUN, 2}}};
	struct progress p;

	progress_init(&p, &setup);
	feed(&p, &s, 100 * SEC);
	assert_int_equal(p.verdict, PROGRESS_WAIT);
	assert_int_equal(progress_wake_at(&p), 105 * SEC);
	/* a failure in between starts the period anew */
	s.tasks[0].state = TASK_FAILED;
	feed(&p, &s, 102 * SEC);
	assert_int_equal(progress_wake_at(&p), 0);
	s.tasks[0].state = RUN;
	feed(&p, &s, 103 * SEC);
	progress_tick(&p, 107 * SEC);
	assert_int_equal(p.verdict, PROGRESS_WAIT);
	progress_tick(&p, 108 * SEC);
	assert_int_equal(p.verdict, PROGRESS_DONE);
	progress_fini(&p);
}

static void verify_lets_no_task_end(void **unused)
{
	const struct progress_setup setup = {.verify_ns = 5 * SEC};
	const struct state up = {.desired = 1, .restart = ANY,
				 .tasks = {{1, TASK_FAILED, TASK_SHUTDOWN, 1, "task: non-zero exit (7)", 5}, {1, RUN, RUN, 1, NULL, 9}}};
	struct state later = up;
	struct progress p;

	/* What failed before it had converged does not count. */
	progress_init(&p, &setup);
	feed(&p, &up, 10 * SEC);
	assert_int_equal(p.verdict, PROGRESS_WAIT);
	assert_true(p.verifying);
	assert_int_equal(progress_wake_at(&p), 15 * SEC);
	feed(&p, &up, 12 * SEC);
	progress_tick(&p, 15 * SEC - 1);
	assert_int_equal(p.verdict, PROGRESS_WAIT);
	progress_tick(&p, 15 * SEC);
	assert_int_equal(p.verdict, PROGRESS_DONE);
	progress_fini(&p);

	/* A new failure does, although a replacement is on its way. (Ids go by position.) */
	later.tasks[1] = (struct task){1, TASK_FAILED, TASK_SHUTDOWN, 1, "task: non-zero exit (3)", 9};
	later.tasks[2] = (struct task){1, TASK_ASSIGNED, TASK_READY, 1, NULL, 12};
	progress_init(&p, &setup);
	feed(&p, &up, 10 * SEC);
	feed(&p, &later, 11 * SEC);
	assert_int_equal(p.verdict, PROGRESS_FAILED);
	assert_non_null(strstr(p.message, "web.1"));
	assert_non_null(strstr(p.message, "non-zero exit (3)"));
	progress_fini(&p);

	/* So does the end of one that is to run for ever; a task that may complete may do so. */
	later.tasks[1] = (struct task){1, TASK_COMPLETE, TASK_SHUTDOWN, 1, NULL, 9};
	progress_init(&p, &setup);
	feed(&p, &up, 10 * SEC);
	feed(&p, &later, 11 * SEC);
	assert_int_equal(p.verdict, PROGRESS_FAILED);
	progress_fini(&p);
	later.restart = RESTART_NONE;
	later.tasks[2] = (struct task){0};
	progress_init(&p, &setup);
	feed(&p, &up, 10 * SEC);
	feed(&p, &later, 11 * SEC);
	assert_int_equal(p.verdict, PROGRESS_DONE);
	progress_fini(&p);
}

static void verify_and_monitor_hold_for_the_longer(void **unused)
{
	static const struct {
		int64_t verify_ns, until;
	} cases[] = {{0, 13 * SEC}, {2 * SEC, 13 * SEC}, {9 * SEC, 19 * SEC}};
	const struct state s = {.desired = 1, .version = 2, .restart = ANY, .monitor = 3 * SEC, .tasks = {{1, RUN, RUN, 2}}};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct progress_setup setup = {.verify = true, .new_tasks = true, .verify_ns = cases[i].verify_ns};
		struct progress p;

		progress_init(&p, &setup);
		feed(&p, &s, 10 * SEC);
		assert_int_equal(progress_wake_at(&p), cases[i].until);
		progress_fini(&p);
	}
}

static void completed_update_ends_the_verification(void **unused)
{
	struct progress_setup setup = {.verify = true, .new_tasks = true};
	struct state s = {.desired = 1, .version = 2, .update_state = UPDATING, .update_started = 6, .restart = ANY,
			  .monitor = 60 * SEC, .tasks = {{1, RUN, RUN, 2}}};
	struct progress p;

	progress_init(&p, &setup);
	feed(&p, &s, 100 * SEC);
	assert_int_equal(p.verdict, PROGRESS_WAIT);
	s.update_state = COMPLETED;
	feed(&p, &s, 101 * SEC);
	assert_int_equal(p.verdict, PROGRESS_DONE);
	progress_fini(&p);
}

static void tasks_that_failed_for_good_end_the_waiting(void **unused)
{
	struct progress_setup setup = {0};
	struct state s = {.desired = 2, .restart = RESTART_NONE,
			  .tasks = {{1, RUN, RUN}, {2, TASK_FAILED, TASK_SHUTDOWN, 1, "non-zero exit (7)"}}};
	struct progress p;

	progress_init(&p, &setup);
	feed(&p, &s, 100 * SEC);
	assert_int_equal(p.verdict, PROGRESS_WAIT);
	assert_int_equal(progress_wake_at(&p), 100 * SEC + PROGRESS_SETTLE_NS);
	/* a message that changes nothing does not start the time anew */
	feed(&p, &s, 101 * SEC);
	progress_tick(&p, 100 * SEC + PROGRESS_SETTLE_NS);
	assert_int_equal(p.verdict, PROGRESS_FAILED);
	assert_string_equal(p.message, "1 of 2 tasks failed and will not be started again");
	progress_fini(&p);
}

static void a_replacement_in_time_is_no_failure(void **unused)
{
	struct progress_setup setup = {0};
	struct state s = {.desired = 1, .restart = ANY, .tasks = {{1, TASK_FAILED, TASK_SHUTDOWN, 1, "exit", 5}}};
	struct progress p;

	progress_init(&p, &setup);
	feed(&p, &s, 100 * SEC);
	assert_int_not_equal(progress_wake_at(&p), 0);
	s.tasks[1] = (struct task){1, TASK_NEW, TASK_READY, 1, NULL, 9};
	feed(&p, &s, 101 * SEC);
	assert_int_equal(progress_wake_at(&p), 0);
	progress_tick(&p, 200 * SEC);
	assert_int_equal(p.verdict, PROGRESS_WAIT);
	progress_fini(&p);
}

static void a_removed_service_ends_the_waiting(void **unused)
{
	_cleanup_pb_ Skein__WatchServiceResponse *gone = pb_new(&skein__watch_service_response__descriptor);
	struct progress_setup setup = {0};
	struct progress p;

	progress_init(&p, &setup);
	progress_feed(&p, gone, 1);
	assert_int_equal(p.verdict, PROGRESS_FAILED);
	assert_string_equal(p.message, "the service was removed");
	progress_fini(&p);
}

/* ---------------------------------------------------------------- drawing */

static void screen_has_a_line_per_task(void **unused)
{
	struct progress_setup setup = {0};
	struct state s = {.desired = 3, .restart = ANY,
			  .tasks = {{1, RUN, RUN}, {2, TASK_PREPARING, RUN}, {3, TASK_PENDING, RUN, 1, "no suitable node (insufficient resources on 3 nodes)"}}};
	_cleanup_strv_ struct strv lines = {0};
	struct progress p;

	progress_init(&p, &setup);
	feed(&p, &s, 1);
	progress_screen(&p, 60, 24, 1, &lines);
	assert_int_equal(lines.n, 4);
	assert_string_equal(lines.v[0], "overall progress: 1 out of 3 tasks");
	assert_non_null(strstr(lines.v[1], "1/3: running   [====="));
	assert_non_null(strstr(lines.v[2], "2/3: preparing ["));
	assert_non_null(strstr(lines.v[3], "3/3: pending: no suitable node"));
	for (size_t i = 0; i < lines.n; i++)
		assert_true(text_width(lines.v[i]) < 60);
	progress_fini(&p);
}

static void screen_has_one_bar_for_many_tasks(void **unused)
{
	struct progress_setup setup = {0};
	struct state s = {.desired = 30, .restart = ANY, .tasks = {{1, RUN, RUN}, {2, TASK_PENDING, RUN, 1, "no suitable node"}, {3, TASK_PENDING, RUN, 1, "no suitable node"}}};
	_cleanup_strv_ struct strv lines = {0};
	struct progress p;

	progress_init(&p, &setup);
	feed(&p, &s, 1);
	progress_screen(&p, 80, 24, 1, &lines);
	assert_int_equal(lines.n, 2);
	assert_non_null(strstr(lines.v[0], "overall progress: 1 out of 30 tasks [="));
	assert_string_equal(lines.v[1], "web.2: no suitable node");
	progress_fini(&p);
}

static void screen_has_one_bar_where_lines_do_not_fit(void **unused)
{
	struct progress_setup setup = {0};
	struct state s = {.desired = 3, .restart = ANY, .tasks = {{1, RUN, RUN}, {2, RUN, RUN}, {3, TASK_PREPARING, RUN}}};
	_cleanup_strv_ struct strv fits = {0}, lines = {0};
	struct progress p;

	progress_init(&p, &setup);
	feed(&p, &s, 1);
	progress_screen(&p, 80, 6, 1, &fits);
	assert_int_equal(fits.n, 4);
	progress_screen(&p, 80, 5, 1, &lines);
	assert_int_equal(lines.n, 1);
	assert_non_null(strstr(lines.v[0], "overall progress: 2 out of 3 tasks [="));
	progress_fini(&p);
}

static char *plain(struct progress_plain *last, struct progress *p, const struct state *s)
{
	struct strbuf out = {0};

	feed(p, s, 1);
	progress_plain(last, p, &out);
	return strbuf_take(&out);
}

static void plain_lines_only_for_changes(void **unused)
{
	struct progress_setup setup = {.verify = true, .new_tasks = true};
	struct state s = {.desired = 2, .version = 2, .restart = ANY, .monitor = 5 * SEC,
			  .tasks = {{1, TASK_PREPARING, RUN, 2}, {2, TASK_PENDING, RUN, 2, "no suitable\nnode"}}};
	struct progress_plain last = {0};
	struct progress p;
	_cleanup_free_ char *first = NULL, *second = NULL, *third = NULL, *fourth = NULL;

	progress_init(&p, &setup);
	first = plain(&last, &p, &s);
	assert_string_equal(first, "web: 0/2 running\nweb.2: no suitable node\n");
	s.tasks[0].state = TASK_STARTING;
	second = plain(&last, &p, &s);
	assert_string_equal(second, "");
	s.tasks[0].state = RUN;
	third = plain(&last, &p, &s);
	assert_string_equal(third, "web: 1/2 running\n");
	s.tasks[1].state = RUN;
	s.tasks[1].err = NULL;
	fourth = plain(&last, &p, &s);
	assert_string_equal(fourth, "web: 2/2 running\nweb: verify: waiting 5 seconds for tasks to be stable\n");
	progress_plain_fini(&last);
	progress_fini(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(verdicts_of_one_message),
		cmocka_unit_test(update_is_verified_for_the_monitor_period),
		cmocka_unit_test(verify_lets_no_task_end),
		cmocka_unit_test(verify_and_monitor_hold_for_the_longer),
		cmocka_unit_test(completed_update_ends_the_verification),
		cmocka_unit_test(tasks_that_failed_for_good_end_the_waiting),
		cmocka_unit_test(a_replacement_in_time_is_no_failure),
		cmocka_unit_test(a_removed_service_ends_the_waiting),
		cmocka_unit_test(screen_has_a_line_per_task),
		cmocka_unit_test(screen_has_one_bar_for_many_tasks),
		cmocka_unit_test(screen_has_one_bar_where_lines_do_not_fit),
		cmocka_unit_test(plain_lines_only_for_changes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
