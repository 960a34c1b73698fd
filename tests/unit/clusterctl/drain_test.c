/* drain_model: what is left on a node, what became of the rest, and what is said about it. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "clusterctl/drain_model.h"

#include "common/mem.h"

#include <stdio.h>

struct lists {
	Skein__ListTasksResponse *tasks;
	Skein__ListMigrationsResponse *migrations;
};

static struct lists lists_new(void)
{
	struct lists l = {pb_new(&skein__list_tasks_response__descriptor),
			  pb_new(&skein__list_migrations_response__descriptor)};

	pb_kv_set(&l.migrations->n_node_names, &l.migrations->node_names, "n2", "h2");
	return l;
}

static void add_task(struct lists *l, const char *id, uint64_t slot, int state, int desired)
{
	pb_task *task = pb_new(&skein__task__descriptor);

	pb_set_str(&task->id, id);
	pb_set_str(&task->service_name, "web");
	task->slot = slot;
	task->desired = (Skein__TaskState)desired;
	task->status = pb_new(&skein__task_status__descriptor);
	task->status->state = (Skein__TaskState)state;
	pb_msgs_add(&l->tasks->n_tasks, &l->tasks->tasks, task);
}

static void add_migration(struct lists *l, const char *id, const char *task, uint64_t slot, const char *from, int phase)
{
	pb_migration *m = pb_new(&skein__migration__descriptor);

	pb_set_str(&m->id, id);
	pb_set_str(&m->service_name, "web");
	pb_set_str(&m->source_task, task);
	pb_set_str(&m->source_node, from);
	pb_set_str(&m->target_node, "n2");
	m->slot = slot;
	m->phase = (Skein__MigrationPhase)phase;
	if (phase == MIGRATION_REFUSED)
		pb_set_str(&m->message, "a device");
	pb_msgs_add(&l->migrations->n_migrations, &l->migrations->migrations, m);
}

static void feed(struct drain *d, struct lists l)
{
	drain_feed(d, "n1", l.tasks, l.migrations);
	pb_free(l.tasks);
	pb_free(l.migrations);
}

static void assert_summary(const struct drain *d, const char *expected)
{
	_cleanup_strbuf_ struct strbuf out = {0};

	drain_summary(d, &out);
	assert_string_equal(out.p, expected);
}

static void a_node_without_tasks_is_empty_at_once(void **state)
{
	struct lists l = lists_new();
	struct drain d;

	drain_init(&d, "h1");
	assert_false(drain_done(&d)); /* nobody was asked yet */
	add_task(&l, "t0", 9, TASK_FAILED, TASK_SHUTDOWN);
	feed(&d, l);
	assert_true(drain_done(&d));
	assert_summary(&d, "h1: drained: it had no tasks\n");
	drain_fini(&d);
}

static void tasks_leave_in_both_ways(void **state)
{
	_cleanup_strbuf_ struct strbuf out = {0};
	struct lists l = lists_new();
	struct drain d;

	drain_init(&d, "h1");
	add_task(&l, "t1", 1, TASK_RUNNING, TASK_RUNNING);
	add_task(&l, "t2", 2, TASK_RUNNING, TASK_RUNNING);
	add_task(&l, "t3", 3, TASK_RUNNING, TASK_SHUTDOWN);
	add_migration(&l, "m1", "t1", 1, "n1", MIGRATION_COPY);
	/* What was over before, or came here, is not of this drain. */
	add_migration(&l, "m0", "t0", 7, "n1", MIGRATION_REFUSED);
	feed(&d, l);
	assert_false(drain_done(&d));
	drain_plain(&d, &out);
	drain_plain(&d, &out);
	assert_string_equal(out.p, "h1: 0 of 3 tasks are gone\n"
				   "web.1: moves to h2: copy\n"
				   "web.2: running\n"
				   "web.3: stops\n");

	l = lists_new();
	add_task(&l, "t1", 1, TASK_SHUTDOWN, TASK_SHUTDOWN);
	add_task(&l, "t2", 2, TASK_RUNNING, TASK_RUNNING);
	add_migration(&l, "m0", "t0", 7, "n1", MIGRATION_REFUSED);
	add_migration(&l, "m1", "t1", 1, "n1", MIGRATION_MOVED);
	add_migration(&l, "m2", "t2", 2, "n1", MIGRATION_REFUSED);
	add_migration(&l, "m3", "t9", 9, "n2", MIGRATION_MOVED);
	feed(&d, l);
	assert_int_equal(d.left, 1);
	assert_summary(&d, "h1: not drained: 1 task moved, 1 stopped\n  web.2 could not be moved: a device\n");

	feed(&d, lists_new());
	assert_true(drain_done(&d));
	assert_summary(&d, "h1: drained: 1 task moved, 2 stopped\n  web.2 could not be moved: a device\n");
	drain_fini(&d);
}

static void the_picture_fits(void **state)
{
	_cleanup_strv_ struct strv lines = {0};
	struct lists l = lists_new();
	struct drain d;

	drain_init(&d, "h1");
	for (unsigned i = 0; i < 40; i++) {
		char id[8];

		snprintf(id, sizeof(id), "t%u", i);
		add_task(&l, id, i + 1, TASK_RUNNING, TASK_RUNNING);
	}
	feed(&d, l);
	drain_screen(&d, 80, 10, &lines);
	assert_int_equal(lines.n, 8);
	assert_string_equal(lines.v[0], "h1: 0 of 40 tasks are gone");
	assert_string_equal(lines.v[1], "  web.1: running");
	drain_fini(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_node_without_tasks_is_empty_at_once),
		cmocka_unit_test(tasks_leave_in_both_ways),
		cmocka_unit_test(the_picture_fits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
