/* Why a task is where it is, or why it does not run: in words and node by node. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "manager/explain.h"
#include "support/build.h"

static Skein__ExplainServiceResponse *explain(const struct view *v)
{
	return explain_service(v, view_service(v, "web"), NOW);
}

static const Skein__TaskExplanation *of(const Skein__ExplainServiceResponse *r, const char *task_id)
{
	for (size_t i = 0; i < r->n_tasks; i++) {
		if (str_eq(r->tasks[i]->task->id, task_id))
			return r->tasks[i];
	}
	return NULL;
}

static void assert_says(const char *text, const char *part)
{
	if (!strstr(text, part))
		fail_msg("\"%s\" does not say \"%s\"", text, part);
}

static void running_and_waiting(void **state)
{
	struct view *v = view_of(
		node("n1"), node("n2", .mem_bytes = MIB), service("web", .replicas = 2, .mem_bytes = 6 * GIB),
		task("t1", .slot = 1, .node = "n1"),
		task("t2", .slot = 2, .state = TASK_PENDING, .err = "no suitable node (2 nodes)"));
	_cleanup_pb_ Skein__ExplainServiceResponse *r = explain(v);
	const Skein__TaskExplanation *t1 = of(r, "t1"), *t2 = of(r, "t2");

	(void)state;
	assert_string_equal(r->summary, "web: 1 of 2 run, 1 wait for a node");
	assert_int_equal(r->n_tasks, 2);
	assert_string_equal(t1->node_name, "n1");
	assert_says(t1->summary, "runs on n1 for ");
	assert_string_equal(t2->summary, "waits for a node: no suitable node (2 nodes)");
	assert_int_equal(t2->n_nodes, 2);
	assert_string_equal(t2->nodes[1]->node_id, "n2");
	assert_false(t2->nodes[1]->fits);
	assert_says(t2->nodes[1]->reason, "memory");
	view_free(v);
}

static void waiting_for_an_address(void **state)
{
	struct view *v = view_of(
		node("n1"), service("web", .replicas = 3), task("t1", .slot = 1, .node = "n1"),
		task("t2", .slot = 2, .state = TASK_NEW, .err = "network front: no free address in 10.0.3.0/24 (253 in use)"),
		task("t3", .slot = 3, .state = TASK_NEW));
	pb_service *s = pb_dup(view_service(v, "web"));
	_cleanup_pb_ Skein__ExplainServiceResponse *r = NULL;

	(void)state;
	s->endpoint = pb_new(&skein__endpoint__descriptor);
	pb_set_str(&s->endpoint->err, "no free port for 80/tcp");
	pb_free(view_put(v, KIND_SERVICE, s));
	r = explain(v);
	assert_string_equal(r->summary,
			    "web: 1 of 3 run, 1 wait for a node, 1 wait for their networks; no free port for 80/tcp");
	assert_string_equal(of(r, "t2")->summary,
			    "waits for its networks: network front: no free address in 10.0.3.0/24 (253 in use)");
	assert_string_equal(of(r, "t3")->summary, "waits for a node");
	view_free(v);
}

static void health_is_told(void **state)
{
	struct view *v = view_of(node("n1"), service("web", .replicas = 2), task("t1", .slot = 1, .node = "n1", .state = TASK_STARTING),
				 task("t2", .slot = 2, .node = "n1"));
	pb_task *t1 = pb_dup(view_task(v, "t1")), *t2 = pb_dup(view_task(v, "t2"));
	_cleanup_pb_ Skein__ExplainServiceResponse *r = NULL;

	(void)state;
	pb_set_str(&t1->status->message, "waits for the first successful health check");
	t1->status->health = pb_new(&skein__task_health__descriptor);
	t1->status->health->state = HEALTH_STARTING;
	t1->status->health->checked_at = NOW;
	t1->status->health->exit_code = 7;
	pb_set_str(&t1->status->health->output, "connection refused");
	pb_set_str(&t2->status->message, "started; nobody listens on port 80/tcp after 10s");
	pb_free(view_put(v, KIND_TASK, t1));
	pb_free(view_put(v, KIND_TASK, t2));
	r = explain(v);
	assert_says(of(r, "t1")->summary, "(waits for the first successful health check); health: starting, last check exit 7: "
					  "connection refused");
	assert_says(of(r, "t2")->summary, ": started; nobody listens on port 80/tcp after 10s");
	view_free(v);
}

static void a_dead_node_is_named(void **state)
{
	struct view *v = view_of(node("n1", .state = NODE_DOWN), service("web"), task("t1", .slot = 1, .node = "n1"));
	_cleanup_pb_ Skein__ExplainServiceResponse *r = explain(v);

	(void)state;
	assert_says(of(r, "t1")->summary, "; its node is down");
	view_free(v);
}

static void a_removed_node_is_no_trouble(void **state)
{
	struct view *v = view_of(service("web"), task("t1", .slot = 1, .node = "gone"));
	_cleanup_pb_ Skein__ExplainServiceResponse *r = explain(v);

	(void)state;
	assert_string_equal(of(r, "t1")->node_name, "");
	view_free(v);
}

static void a_delayed_restart_says_when(void **state)
{
	struct view *v = view_of(node("n1"), service("web"),
				 task("t1", .slot = 1, .node = "n1", .state = TASK_READY, .desired = TASK_READY,
				      .start_after = NOW + 5 * SEC));
	_cleanup_pb_ Skein__ExplainServiceResponse *r = explain(v);

	(void)state;
	assert_says(of(r, "t1")->summary, "; starts in 5s (restart delay)");
	view_free(v);
}

/* Slots without a wanted task tell their last end, and only that. */
static void the_last_end_of_a_slot(void **state)
{
	struct view *v = view_of(
		node("n1"), service("web", .replicas = 3, .condition = RESTART_NONE),
		task("t1", .slot = 1, .node = "n1", .state = TASK_FAILED, .desired = TASK_SHUTDOWN, .err = "exit 1",
		     .created_at = NOW - 60 * SEC),
		task("t2", .slot = 1, .node = "n1", .state = TASK_FAILED, .desired = TASK_SHUTDOWN, .err = "exit 2",
		     .created_at = NOW - 30 * SEC),
		task("t3", .slot = 2, .node = "n1", .state = TASK_FAILED, .desired = TASK_SHUTDOWN),
		task("t4", .slot = 2, .node = "n1"));
	_cleanup_pb_ Skein__ExplainServiceResponse *r = explain(v);

	(void)state;
	assert_int_equal(r->n_tasks, 2);
	assert_null(of(r, "t1"));
	assert_null(of(r, "t3"));
	assert_string_equal(of(r, "t2")->summary, "ended on n1: FAILED (exit 2); not replaced: restart condition none");
	assert_non_null(of(r, "t4"));
	view_free(v);
}

static void why_an_ended_task_is_not_replaced(void **state)
{
	static const struct {
		int condition, end;
		uint64_t attempts;
		const char *want;
	} cases[] = {
		{RESTART_NONE, TASK_FAILED, 0, "restart condition none"},
		{RESTART_ON_FAILURE, TASK_COMPLETE, 0, "it succeeded"},
		{RESTART_ON_FAILURE, TASK_FAILED, 0, "its successor is being made"},
		{RESTART_ANY, TASK_FAILED, 3, "all 3 restart attempts are used"},
		{RESTART_ANY, TASK_COMPLETE, 0, "its successor is being made"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct view *v = view_of(node("n1"),
					 service("web", .condition = cases[i].condition, .max_attempts = cases[i].attempts),
					 task("t1", .slot = 1, .node = "n1", .state = cases[i].end, .desired = TASK_SHUTDOWN));
		_cleanup_pb_ Skein__ExplainServiceResponse *r = explain(v);

		assert_int_equal(r->n_tasks, 1);
		assert_says(r->tasks[0]->summary, cases[i].want);
		view_free(v);
	}
}

static void nodes_of_a_global_service(void **state)
{
	struct view *v = view_of(node("n1", .labels = "disk=ssd"), node("n2", .labels = "disk=ssd", .state = NODE_DOWN),
				 node("n3", .labels = "disk=ssd", .availability = AVAILABILITY_DRAIN), node("n4"),
				 node("n5", .labels = "disk=ssd", .availability = AVAILABILITY_PAUSE),
				 service("web", .global = true, .constraints = "node.labels.disk==ssd"),
				 task("t1", .node = "n1"));
	_cleanup_pb_ Skein__ExplainServiceResponse *r = explain(v);

	(void)state;
	assert_int_equal(explain_global_wanted(v, view_service(v, "web")), 2);
	assert_string_equal(r->summary, "web: 1 of 2 run");
	view_free(v);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(running_and_waiting),
		cmocka_unit_test(waiting_for_an_address), cmocka_unit_test(health_is_told),
		cmocka_unit_test(a_dead_node_is_named),
		cmocka_unit_test(a_removed_node_is_no_trouble),
		cmocka_unit_test(a_delayed_restart_says_when),
		cmocka_unit_test(the_last_end_of_a_slot),
		cmocka_unit_test(why_an_ended_task_is_not_replaced),
		cmocka_unit_test(nodes_of_a_global_service),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
