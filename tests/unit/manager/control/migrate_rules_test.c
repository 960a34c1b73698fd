/* When a task can be moved, and when not: cause and place are named. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/error.h"
#include "manager/control/migrate_rules.h"
#include "support/build.h"

static void make_movable(struct view *v, const char *id)
{
	pb_task *task = pb_dup(view_task(v, id));

	task->spec->live_migrate = true;
	pb_free(view_put(v, KIND_TASK, task));
}

static struct view *sample(void)
{
	struct view *v = view_of(node("n1"), node("n2"), node("down", .state = NODE_DOWN),
				 node("drained", .availability = AVAILABILITY_DRAIN), service("web", .replicas = 3),
				 service("each", .global = true), task("t1", .slot = 1, .node = "n1"),
				 task("t2", .slot = 2, .node = "down"),
				 task("t3", .slot = 3, .node = "n1", .state = TASK_STARTING),
				 task("t4", .slot = 4, .node = "n1", .desired = TASK_SHUTDOWN),
				 task("t5", .slot = 5, .node = "n1"), task("t6", .service = "each", .node = "n1"));

	for (const char *const *id = (const char *const[]){"t1", "t2", "t3", "t4", "t6", NULL}; *id; id++)
		make_movable(v, *id);
	return v;
}

static void put_migration(struct view *v, const char *id, const char *source, const char *target_node, int phase)
{
	pb_migration *m = pb_new(&skein__migration__descriptor);

	pb_set_str(&m->id, id);
	pb_set_str(&m->source_task, source);
	pb_set_str(&m->source_node, "n1");
	pb_set_str(&m->target_node, target_node);
	m->phase = (Skein__MigrationPhase)phase;
	pb_free(view_put(v, KIND_MIGRATION, m));
}

static void refused(const struct view *v, const char *id, const char *part, const char *other)
{
	struct error err = ERROR_INIT;

	assert_int_equal(migrate_rules_task(v, view_task(v, id), &err), -1);
	assert_int_equal(err.code, ERR_PRECONDITION);
	if (!strstr(err.msg, part) || !strstr(err.msg, other))
		fail_msg("%s: \"%s\" lacks \"%s\" or \"%s\"", id, err.msg, part, other);
}

static void tasks_are_refused_with_cause_and_place(void **state)
{
	struct view *v = sample();
	struct error err = ERROR_INIT;

	assert_int_equal(migrate_rules_task(v, view_task(v, "t1"), &err), 0);
	refused(v, "t2", "its node down is DOWN", "web.2");
	refused(v, "t3", "web.3 on node n1 is starting", "only a running task");
	refused(v, "t4", "web.4 on node n1", "being stopped");
	refused(v, "t5", "web.5 on node n1", "--live-migrate web");
	refused(v, "t6", "each.n1 on node n1", "global");
	pb_free(view_del(v, KIND_SERVICE, "web"));
	refused(v, "t1", "web.1", "service was removed");
	view_free(v);
}

static void one_migration_at_a_time(void **state)
{
	struct view *v = sample();
	struct error err = ERROR_INIT;

	put_migration(v, "m0", "t1", "n2", MIGRATION_ROLLED_BACK);
	assert_int_equal(migrate_rules_task(v, view_task(v, "t1"), &err), 0);
	assert_null(migrate_rules_of_task(v, "t1"));
	put_migration(v, "m1", "t1", "", MIGRATION_NEW);
	refused(v, "t1", "from node n1 (migration m1: new)", "already");
	put_migration(v, "m1", "t1", "n2", MIGRATION_COPY);
	refused(v, "t1", "from node n1 to node n2 (migration m1: copy)", "already");
	assert_string_equal(migrate_rules_of_task(v, "t1")->id, "m1");
	view_free(v);
}

static void not_to(const struct view *v, const char *node, const char *part)
{
	struct error err = ERROR_INIT;

	assert_int_equal(migrate_rules_target(view_task(v, "t1"), view_node(v, node), &err), -1);
	assert_int_equal(err.code, ERR_PRECONDITION);
	if (!strstr(err.msg, part))
		fail_msg("%s: \"%s\" lacks \"%s\"", node, err.msg, part);
}

static void targets_are_refused_with_the_reason(void **state)
{
	struct view *v = sample();
	struct error err = ERROR_INIT;

	assert_int_equal(migrate_rules_target(view_task(v, "t1"), view_node(v, "n2"), &err), 0);
	not_to(v, "n1", "web.1 is on node n1 already");
	not_to(v, "down", "node down is DOWN");
	not_to(v, "drained", "availability drain");
	view_free(v);
}

static void options_have_bounds(void **state)
{
	static const struct {
		pb_migration_options options;
		const char *field, *value;
	} rows[] = {
		{{.freeze_budget = -1}, "options.freeze_budget", "-1ns"},
		{{.freeze_budget = MIGRATE_FREEZE_BUDGET_MAX_NS + 1}, "options.freeze_budget", "1h"},
		{{.timeout = MIGRATE_TIMEOUT_MAX_NS + 1}, "options.timeout", "24h"},
		{{.max_rounds = 101}, "options.max_rounds", "0 (the default) to 100"},
	};
	const pb_migration_options fine = {.freeze_budget = MIGRATE_FREEZE_BUDGET_MAX_NS, .max_rounds = 100};
	struct error err = ERROR_INIT;

	assert_int_equal(migrate_rules_options(NULL, &err), 0);
	assert_int_equal(migrate_rules_options(&fine, &err), 0);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		assert_int_equal(migrate_rules_options(&rows[i].options, &err), -1);
		assert_int_equal(err.code, ERR_INVALID);
		if (!strstr(err.msg, rows[i].field) || !strstr(err.msg, rows[i].value))
			fail_msg("row %zu: %s", i, err.msg);
	}
}

static void what_is_past_the_switch_goes_on(void **state)
{
	static const struct {
		int phase, result;
	} rows[] = {
		{MIGRATION_NEW, 0},	{MIGRATION_PREPARE, 0}, {MIGRATION_COPY, 0},   {MIGRATION_FREEZE, 0},
		{MIGRATION_SWITCH, -1}, {MIGRATION_ABORT, 0},	{MIGRATION_RESUME, 0}, {MIGRATION_MOVED, -1},
		{MIGRATION_LOST, -1},
	};
	pb_migration m = SKEIN__MIGRATION__INIT;

	m.id = "m1";
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct error err = ERROR_INIT;

		m.phase = (Skein__MigrationPhase)rows[i].phase;
		assert_int_equal(migrate_rules_cancel(&m, &err), rows[i].result);
		assert_int_equal(err.code, rows[i].result ? ERR_PRECONDITION : ERR_OK);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tasks_are_refused_with_cause_and_place),
		cmocka_unit_test(one_migration_at_a_time),
		cmocka_unit_test(targets_are_refused_with_the_reason),
		cmocka_unit_test(options_have_bounds),
		cmocka_unit_test(what_is_past_the_switch_goes_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
