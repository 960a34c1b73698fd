#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "support/rounds.h"

static int desired(struct rounds *r, const char *id)
{
	const pb_task *t = view_task(r->view, id);

	return t ? (int)t->desired : -1;
}

static void a_new_service_is_assigned_in_one_transaction(void **state)
{
	struct rounds r;
	const pb_task *t;

	rounds_init(&r,
		    view_of(node("n1"), node("n2"), service("web", .replicas = 3, .env = "A=1")));
	assert_int_equal(rounds_run(&r), 3);
	assert_int_equal(rounds_count(&r, "web", TASK_RUNNING, TASK_ASSIGNED), 3);
	for (uint64_t slot = 1; slot <= 3; slot++)
		assert_non_null(rounds_newest(&r, "web", slot, NULL));
	t = rounds_newest(&r, "web", 1, NULL);
	assert_string_equal(t->service_name, "web");
	assert_string_equal(t->spec->container->env[0], "A=1");
	assert_int_equal(t->spec_version, 1);
	assert_int_equal(t->meta->created_at, NOW);
	/* And that is all. */
	assert_int_equal(rounds_settle(&r), 0);
	rounds_fini(&r);
}

static void a_service_without_nodes_waits(void **state)
{
	struct rounds r;

	rounds_init(&r, view_of(service("web", .replicas = 2)));
	rounds_settle(&r);
	assert_int_equal(rounds_count(&r, "web", TASK_RUNNING, TASK_PENDING), 2);
	assert_string_equal(rounds_newest(&r, "web", 1, NULL)->status->err, "no suitable node");
	rounds_put(&r, KIND_NODE, "n1", node("n1").obj);
	rounds_settle(&r);
	assert_int_equal(rounds_count(&r, "web", TASK_RUNNING, TASK_ASSIGNED), 2);
	rounds_fini(&r);
}

static void an_unknown_network_keeps_tasks_new(void **state)
{
	struct rounds r;
	const pb_task *t;

	rounds_init(&r, view_of(node("n1"), service("web", .network = "front")));
	assert_int_equal(rounds_settle(&r), 1);
	t = rounds_newest(&r, "web", 1, NULL);
	assert_int_equal(task_state(t), TASK_NEW);
	assert_string_equal(t->status->err, "network \"front\" is not there (known: bridge, host, none)");
	rounds_fini(&r);
}

static void many_replicas_come_in_several_rounds(void **state)
{
	struct rounds r;

	rounds_init(&r, view_of(node("n1"), service("web", .replicas = 25)));
	r.budget = 10;
	assert_int_equal(rounds_run(&r), 10);
	assert_int_equal(wakes_next(&r.wakes), NOW);
	assert_int_equal(rounds_settle(&r), 2);
	assert_int_equal(rounds_count(&r, "web", TASK_RUNNING, TASK_ASSIGNED), 25);
	rounds_fini(&r);
}

static void lowest_free_slots_are_filled(void **state)
{
	struct rounds r;

	rounds_init(&r, view_of(node("n1"), service("web", .replicas = 4),
				task("t2", .slot = 2, .node = "n1"),
				task("t5", .slot = 5, .node = "n1")));
	rounds_settle(&r);
	assert_non_null(rounds_newest(&r, "web", 1, NULL));
	assert_non_null(rounds_newest(&r, "web", 3, NULL));
	assert_null(rounds_newest(&r, "web", 4, NULL));
	assert_int_equal(desired(&r, "t5"), TASK_RUNNING);
	rounds_fini(&r);
}

static void set_replicas(struct rounds *r, uint64_t replicas)
{
	pb_service *s = pb_dup(view_service(r->view, "web"));

	s->spec->replicated->replicas = replicas;
	rounds_put(r, KIND_SERVICE, "web", s);
}

/* Node n1 has three, n2 one: two go from n1, the higher slots first. */
static void scale_down_balances(void **state)
{
	struct rounds r;

	rounds_init(&r, view_of(node("n1"), node("n2"), service("web", .replicas = 2),
				task("t1", .slot = 1, .node = "n1"),
				task("t2", .slot = 2, .node = "n1"),
				task("t3", .slot = 3, .node = "n1"),
				task("t4", .slot = 4, .node = "n2")));
	rounds_settle(&r);
	assert_int_equal(desired(&r, "t1"), TASK_RUNNING);
	assert_int_equal(desired(&r, "t2"), TASK_REMOVE);
	assert_int_equal(desired(&r, "t3"), TASK_REMOVE);
	assert_int_equal(desired(&r, "t4"), TASK_RUNNING);
	rounds_fini(&r);
}

static void scale_down_prefers_what_does_not_run(void **state)
{
	struct rounds r;

	rounds_init(&r, view_of(node("n1"), node("n2"), service("web", .replicas = 2),
				task("t1", .slot = 1, .node = "n1", .state = TASK_PREPARING),
				task("t2", .slot = 2, .node = "n1"),
				task("t3", .slot = 3, .node = "n2"),
				task("t4", .slot = 4, .state = TASK_PENDING)));
	rounds_settle(&r);
	assert_int_equal(desired(&r, "t1"), TASK_REMOVE);
	assert_int_equal(desired(&r, "t2"), TASK_RUNNING);
	assert_int_equal(desired(&r, "t3"), TASK_RUNNING);
	assert_int_equal(desired(&r, "t4"), -1); /* was on no node: gone at once */
	rounds_fini(&r);
}

static void removed_tasks_are_deleted_once_stopped(void **state)
{
	struct rounds r;

	rounds_init(&r, view_of(node("n1"), node("n2"), service("web", .replicas = 3),
				task("t1", .slot = 1, .node = "n1"),
				task("t2", .slot = 2, .node = "n1"),
				task("t3", .slot = 3, .node = "n2")));
	set_replicas(&r, 0);
	rounds_settle(&r);
	assert_int_equal(rounds_count(&r, "web", TASK_REMOVE, TASK_RUNNING), 3);
	rounds_report(&r, "t1", TASK_SHUTDOWN);
	rounds_settle(&r);
	assert_null(view_task(r.view, "t1"));
	assert_non_null(view_task(r.view, "t2"));
	/* A node that is down cannot tell. */
	rounds_node_state(&r, "n2", NODE_DOWN);
	rounds_settle(&r);
	assert_null(view_task(r.view, "t3"));
	/* Nor one that was removed. */
	rounds_put(&r, KIND_NODE, "n1", NULL);
	rounds_settle(&r);
	assert_null(view_task(r.view, "t2"));
	rounds_fini(&r);
}

/* Scaled up again before the old task of the slot has stopped: the new one waits for it. */
static void a_slot_is_never_used_twice(void **state)
{
	struct rounds r;

	rounds_init(&r, view_of(node("n1"), node("n2"), service("web", .replicas = 1),
				task("t1", .slot = 1, .node = "n1")));
	set_replicas(&r, 0);
	rounds_settle(&r);
	set_replicas(&r, 1);
	rounds_settle(&r);
	assert_int_equal(rounds_count(&r, "web", TASK_READY, -1), 1);
	assert_int_equal(wakes_next(&r.wakes), NOW + 60 * SEC);
	rounds_report(&r, "t1", TASK_SHUTDOWN);
	rounds_settle(&r);
	assert_int_equal(rounds_count(&r, "web", TASK_RUNNING, TASK_ASSIGNED), 1);
	rounds_fini(&r);
}

static void a_removed_service_leaves_nothing(void **state)
{
	struct rounds r;

	rounds_init(&r, view_of(node("n1"), node("n2", .state = NODE_DOWN),
				service("web", .replicas = 3), task("t1", .slot = 1, .node = "n1"),
				task("t2", .slot = 2, .node = "n2"),
				task("t3", .slot = 3, .state = TASK_PENDING),
				task("t0", .slot = 1, .node = "n1", .state = TASK_FAILED,
				     .desired = TASK_SHUTDOWN)));
	rounds_put(&r, KIND_SERVICE, "web", NULL);
	rounds_settle(&r);
	assert_int_equal(view_count(r.view, KIND_TASK), 1);
	assert_int_equal(desired(&r, "t1"), TASK_REMOVE);
	rounds_report(&r, "t1", TASK_SHUTDOWN);
	rounds_settle(&r);
	assert_int_equal(view_count(r.view, KIND_TASK), 0);
	rounds_fini(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_new_service_is_assigned_in_one_transaction),
		cmocka_unit_test(a_service_without_nodes_waits),
		cmocka_unit_test(an_unknown_network_keeps_tasks_new),
		cmocka_unit_test(many_replicas_come_in_several_rounds),
		cmocka_unit_test(lowest_free_slots_are_filled),
		cmocka_unit_test(scale_down_balances),
		cmocka_unit_test(scale_down_prefers_what_does_not_run),
		cmocka_unit_test(removed_tasks_are_deleted_once_stopped),
		cmocka_unit_test(a_slot_is_never_used_twice),
		cmocka_unit_test(a_removed_service_leaves_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
