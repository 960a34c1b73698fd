/* Which tasks move so that a service is spread again. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "manager/scheduler/rebalance.h"
#include "support/build.h"

/* A node where containers can be checkpointed. */
#define able(id_, ...) node(id_, .features = "checkpoint=runc;criu=3.17.1", ##__VA_ARGS__)

/* The service "web" and its tasks may be moved. */
static void make_movable(struct view *v)
{
	_cleanup_free_ const pb_task **tasks = NULL;
	size_t n;

	tasks = view_tasks_of_service(v, "web", &n);
	for (size_t i = 0; i < n; i++) {
		pb_task *task = pb_dup(tasks[i]);

		task->spec->live_migrate = true;
		pb_free(view_put(v, KIND_TASK, task));
	}
}

/* "t1>n2 t2>n3", in order. */
static char *plan(struct view *v)
{
	struct rebalance_move moves[REBALANCE_MOVES_MAX];
	size_t n = rebalance_plan(v, view_service(v, "web"), NOW, moves);
	_cleanup_strbuf_ struct strbuf out = {0};

	for (size_t i = 0; i < n; i++)
		strbuf_printf(&out, "%s%s>%s", i ? " " : "", moves[i].task->id, moves[i].to->id);
	return xstrdup(out.p ?: "");
}

#define assert_plan(v, text)                                                                       \
	do {                                                                                       \
		_cleanup_free_ char *got = plan(v);                                                \
		assert_string_equal(got, text);                                                    \
	} while (0)

static void a_node_that_is_back_gets_its_share(void **state)
{
	struct view *v = view_of(able("n1"), able("n2"), able("n3"), service("web", .replicas = 4),
				 task("t1", .slot = 1, .node = "n1"), task("t2", .slot = 2, .node = "n1"),
				 task("t3", .slot = 3, .node = "n2"), task("t4", .slot = 4, .node = "n2"));

	assert_plan(v, ""); /* not made to be moved */
	make_movable(v);
	assert_plan(v, "t1>n3");
	view_free(v);
}

static void what_is_spread_stays(void **state)
{
	struct view *v = view_of(able("n1"), able("n2"), able("n3"), service("web", .replicas = 4),
				 task("t1", .slot = 1, .node = "n1"), task("t2", .slot = 2, .node = "n1"),
				 task("t3", .slot = 3, .node = "n2"), task("t4", .slot = 4, .node = "n3"));

	make_movable(v);
	assert_plan(v, "");
	view_free(v);
}

static void nodes_that_are_not_eligible_get_nothing(void **state)
{
	struct view *v = view_of(able("n1"), able("n2", .availability = AVAILABILITY_DRAIN),
				 able("n3", .state = NODE_DOWN), able("n4", .availability = AVAILABILITY_PAUSE),
				 able("n5", .labels = "disk=ssd"),
				 able("n7", .arch = "aarch64"), node("n8"),
				 service("web", .replicas = 3, .constraints = "node.labels.disk!=ssd"),
				 task("t1", .slot = 1, .node = "n1"), task("t2", .slot = 2, .node = "n1"),
				 task("t3", .slot = 3, .node = "n1"));

	make_movable(v);
	assert_plan(v, "");
	view_add(v, able("n6"));
	assert_plan(v, "t1>n6");
	view_free(v);
}

/* The moves before take their room; what they leave is not free before they are made. */
static void room_is_counted(void **state)
{
	struct view *v = view_of(able("n1", .mem_bytes = 4 * GIB), able("n2", .mem_bytes = 1 * GIB),
				 service("web", .replicas = 4, .mem_bytes = GIB), task("t1", .slot = 1, .node = "n1"),
				 task("t2", .slot = 2, .node = "n1"), task("t3", .slot = 3, .node = "n1"),
				 task("t4", .slot = 4, .node = "n1"));

	make_movable(v);
	assert_plan(v, "t1>n2");
	view_free(v);
}

static void preferences_come_before_nodes(void **state)
{
	struct view *v = view_of(able("a1", .labels = "rack=a"), able("a2", .labels = "rack=a"),
				 able("b1", .labels = "rack=b"),
				 service("web", .replicas = 4, .spread = "node.labels.rack"),
				 task("t1", .slot = 1, .node = "a1"), task("t2", .slot = 2, .node = "a1"),
				 task("t3", .slot = 3, .node = "a2"), task("t4", .slot = 4, .node = "a2"));

	/* Two in each rack, though b1 then has as many as a1 and a2 together. */
	make_movable(v);
	assert_plan(v, "t1>b1 t3>b1");
	view_free(v);
}

static void put_migration(struct view *v, const char *id, const char *source, const char *target_node, int phase)
{
	pb_migration *m = pb_new(&skein__migration__descriptor);
	pb_task *task = pb_dup(view_task(v, source));

	pb_set_str(&m->id, id);
	pb_set_str(&m->source_task, source);
	pb_set_str(&m->target_node, target_node);
	m->phase = (Skein__MigrationPhase)phase;
	pb_free(view_put(v, KIND_MIGRATION, m));
	pb_set_str(&task->migration_id, id);
	pb_free(view_put(v, KIND_TASK, task));
}

static void what_is_being_moved_counts_where_it_goes(void **state)
{
	struct view *v = view_of(able("n1"), able("n2"), service("web", .replicas = 4),
				 task("t1", .slot = 1, .node = "n1"), task("t2", .slot = 2, .node = "n1"),
				 task("t3", .slot = 3, .node = "n1"), task("t4", .slot = 4, .node = "n1"));

	make_movable(v);
	assert_plan(v, "t1>n2 t2>n2");
	put_migration(v, "m1", "t1", "n2", MIGRATION_COPY);
	assert_plan(v, "t2>n2");
	put_migration(v, "m2", "t2", "n2", MIGRATION_NEW);
	assert_plan(v, "");
	put_migration(v, "m2", "t2", "n2", MIGRATION_ROLLED_BACK);
	assert_plan(v, "t2>n2");
	view_free(v);
}

static void only_running_tasks_of_this_version_move(void **state)
{
	struct view *v = view_of(able("n1"), able("n2"), service("web", .replicas = 4, .version = 2),
				 task("t1", .slot = 1, .node = "n1", .version = 2, .state = TASK_STARTING),
				 task("t2", .slot = 2, .node = "n1", .version = 1),
				 task("t3", .slot = 3, .node = "n1", .version = 2, .desired = TASK_SHUTDOWN),
				 task("t4", .slot = 4, .node = "n1", .version = 2));

	make_movable(v);
	assert_plan(v, "t4>n2");
	view_free(v);
}

/* Carried out, a plan leaves nothing to be done. */
static void a_plan_has_no_successor(void **state)
{
	struct rebalance_move moves[REBALANCE_MOVES_MAX];
	struct view *v = view_of(service("web", .replicas = 60, .spread = "node.labels.rack"));
	size_t n;

	for (unsigned i = 0; i < 11; i++) {
		_cleanup_free_ char *id = xasprintf("n%02u", i), *labels = xasprintf("rack=%u", i % 3);

		view_add(v, able(id, .labels = labels));
	}
	for (unsigned i = 0; i < 60; i++) {
		_cleanup_free_ char *id = xasprintf("t%02u", i);

		view_add(v, task(id, .slot = i + 1, .node = i % 2 ? "n00" : "n04"));
	}
	make_movable(v);
	n = rebalance_plan(v, view_service(v, "web"), NOW, moves);
	assert_int_equal(n, 50);
	for (size_t i = 0; i < n; i++) {
		pb_task *task = pb_dup(moves[i].task);

		pb_set_str(&task->node_id, moves[i].to->id);
		/* Once each. */
		for (size_t k = 0; k < i; k++)
			assert_ptr_not_equal(moves[k].task, moves[i].task);
		moves[i].task = task;
	}
	for (size_t i = 0; i < n; i++)
		pb_free(view_put(v, KIND_TASK, (pb_task *)moves[i].task));
	assert_plan(v, "");
	view_free(v);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_node_that_is_back_gets_its_share),
		cmocka_unit_test(what_is_spread_stays),
		cmocka_unit_test(nodes_that_are_not_eligible_get_nothing),
		cmocka_unit_test(room_is_counted),
		cmocka_unit_test(preferences_come_before_nodes),
		cmocka_unit_test(what_is_being_moved_counts_where_it_goes),
		cmocka_unit_test(only_running_tasks_of_this_version_move),
		cmocka_unit_test(a_plan_has_no_successor),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
