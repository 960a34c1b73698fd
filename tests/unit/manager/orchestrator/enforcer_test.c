#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "support/rounds.h"

#include "manager/orchestrator/enforcer.h"
#include "manager/scheduler/constraint.h"

static void enforce(struct plan *p)
{
	p->meets_constraints = constraint_all_match;
	enforcer_plan(p);
}

/* Enforce on dirty nodes and commit. */
static void run(struct rounds *r)
{
	rounds_commit(r, rounds_plan(r, enforce), SIZE_MAX, NULL, NULL);
}

static void assert_rejected(struct rounds *r, const char *id, bool rejected)
{
	const pb_task *t = view_task(r->view, id);

	assert_int_equal(task_state(t), rejected ? TASK_REJECTED : TASK_RUNNING);
	assert_int_equal(t->desired, TASK_RUNNING); /* the orchestrator's */
	if (rejected) {
		assert_string_equal(t->status->message, "task rejected by constraint enforcer");
		assert_string_equal(t->status->err, "assigned node no longer meets constraints");
	}
}

static void by_availability(void **state)
{
	static const struct {
		int availability;
		bool rejected;
	} cases[] = {{AVAILABILITY_ACTIVE, true},
		     {AVAILABILITY_PAUSE, false},
		     {AVAILABILITY_DRAIN, false}};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct rounds r;

		rounds_init(&r, view_of(node("n1", .labels = "rack=b",
					     .availability = cases[i].availability),
					service("web", .constraints = "node.labels.rack==a"),
					task("t1", .slot = 1, .node = "n1")));
		run(&r);
		assert_rejected(&r, "t1", cases[i].rejected);
		rounds_fini(&r);
	}
}

static void only_nodes_that_changed(void **state)
{
	struct rounds r;

	rounds_init(&r, view_of(node("n1"), node("n2"),
				service("web", .constraints = "node.labels.rack==a"),
				task("t1", .slot = 1, .node = "n1"),
				task("t2", .slot = 2, .node = "n2")));
	r.dirty.all = false;
	idset_add(&r.dirty.nodes, "n2");
	run(&r);
	assert_rejected(&r, "t1", false);
	assert_rejected(&r, "t2", true);
	rounds_fini(&r);
}

static void room_that_is_gone(void **state)
{
	struct rounds r;

	rounds_init(&r, view_of(node("n1", .mem_bytes = 2 * GIB), service("web", .mem_bytes = GIB),
				service("free"), task("t1", .slot = 1, .node = "n1"),
				task("t2", .slot = 2, .node = "n1"),
				task("t3", .slot = 3, .node = "n1"),
				task("t4", .slot = 1, .service = "free", .node = "n1")));
	run(&r);
	assert_rejected(&r, "t1", false);
	assert_rejected(&r, "t2", false);
	assert_rejected(&r, "t3", true);
	assert_rejected(&r, "t4", false);
	rounds_fini(&r);
}

/* A task of an older spec keeps its own constraints: the update replaces it in its pace. */
static void older_specs_are_the_updates_work(void **state)
{
	struct rounds r;

	rounds_init(&r, view_of(node("n1", .labels = "rack=b"),
				service("web", .version = 2, .env = "B", .previous_env = "A"),
				task("t1", .slot = 1, .node = "n1")));
	{
		pb_service *s = pb_dup(view_service(r.view, "web"));

		pb_strs_add(&s->spec->task->placement->n_constraints,
			    &s->spec->task->placement->constraints, "node.labels.rack==a");
		rounds_put(&r, KIND_SERVICE, "web", s);
	}
	run(&r);
	assert_rejected(&r, "t1", false);
	rounds_fini(&r);
}

static void rejected_tasks_are_replaced(void **state)
{
	struct rounds r;

	rounds_init(&r, view_of(node("n1", .labels = "rack=b"), node("n2", .labels = "rack=a"),
				service("web", .constraints = "node.labels.rack==a"),
				task("t1", .slot = 1, .node = "n1")));
	rounds_settle(&r);
	assert_int_equal(view_task(r.view, "t1")->desired, TASK_SHUTDOWN);
	assert_string_equal(rounds_newest(&r, "web", 1, NULL)->node_id, "n2");
	rounds_fini(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(by_availability),
		cmocka_unit_test(only_nodes_that_changed),
		cmocka_unit_test(room_that_is_gone),
		cmocka_unit_test(older_specs_are_the_updates_work),
		cmocka_unit_test(rejected_tasks_are_replaced),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
