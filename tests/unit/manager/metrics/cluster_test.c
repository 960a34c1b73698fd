/* What the view becomes in metrics. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "manager/metrics/cluster.h"
#include "manager/metrics/counters.h"
#include "manager/metrics/families.h"
#include "manager/scheduler/filter.h"
#include "manager/store/store.h"
#include "rpc/rpc.h"
#include "support/build.h"

static uint64_t two(void *data, const struct view *v, const pb_service *s)
{
	return 2;
}

static const char *refused(void *data, const pb_task *t)
{
	return filter_of_summary(t->status->err);
}

static const struct cluster_ops ops = {.global_wanted = two, .refused_by = refused};

static char *written(const struct view *v)
{
	struct metrics_writer w;
	char *text;

	metrics_begin(&w, METRICS_PROMETHEUS);
	cluster_write(&w, v, &ops);
	metrics_end(&w);
	text = xstrdup(w.text.p);
	metrics_fini(&w);
	return text;
}

static void assert_line(const char *text, const char *line)
{
	_cleanup_free_ char *whole = xasprintf("\n%s\n", line);

	if (!strstr(text, whole))
		fail_msg("no line \"%s\" in:\n%s", line, text);
}

static void families_are_well_formed_and_unique(void **state)
{
	struct error err;

	for (size_t t = 0; t < manager_tables_n; t++)
		for (size_t i = 0; i < manager_tables[t]->n; i++) {
			const struct metric_family *f = &manager_tables[t]->families[i];

			if (metrics_check(f, &err) < 0)
				fail_msg("%s: %s", f->name, err.msg);
			for (size_t u = 0; u <= t; u++)
				for (size_t k = 0; k < (u == t ? i : manager_tables[u]->n); k++)
					assert_string_not_equal(f->name, manager_tables[u]->families[k].name);
		}
}

static void services_and_tasks_are_counted(void **state)
{
	struct view *v = view_of(
		node("n1"), service("web", .replicas = 3), service("each", .global = true),
		task("t1", .slot = 1, .node = "n1"), task("t2", .slot = 2, .node = "n1", .state = TASK_FAILED, .desired = TASK_SHUTDOWN),
		/* Runs, but is not wanted any more. */
		task("t3", .slot = 3, .node = "n1", .desired = TASK_SHUTDOWN), task("t4", .service = "each", .node = "n1"),
		task("t5", .slot = 2, .state = TASK_PENDING, .err = "no suitable node (insufficient memory on 1 node (asked 4GiB, free 1GiB); "
								       "1 node not available for new tasks (1 down))"),
		task("t6", .slot = 4, .state = TASK_PENDING), task("t7", .slot = 5, .state = TASK_NEW, .err = "network front: full"),
		task("t8", .slot = 6, .state = TASK_PENDING, .err = "who knows"));
	_cleanup_free_ char *text = written(v);

	assert_line(text, "skein_services 2");
	assert_line(text, "skein_service_desired_tasks{service=\"web\",service_id=\"web\"} 3");
	assert_line(text, "skein_service_running_tasks{service=\"web\",service_id=\"web\"} 1");
	assert_line(text, "skein_service_desired_tasks{service=\"each\",service_id=\"each\"} 2");
	assert_line(text, "skein_service_running_tasks{service=\"each\",service_id=\"each\"} 1");
	assert_line(text, "skein_tasks{state=\"running\"} 3");
	assert_line(text, "skein_tasks{state=\"failed\"} 1");
	assert_line(text, "skein_tasks{state=\"orphaned\"} 0");
	assert_line(text, "skein_pending_tasks{reason=\"memory\"} 1");
	assert_line(text, "skein_pending_tasks{reason=\"waiting\"} 1");
	assert_line(text, "skein_pending_tasks{reason=\"networks\"} 1");
	assert_line(text, "skein_pending_tasks{reason=\"other\"} 1");
	view_free(v);
}

static void nodes_by_state_availability_and_role(void **state)
{
	struct view *v = view_of(node("n1", .hostname = "h1"), node("n2", .state = NODE_DOWN, .availability = AVAILABILITY_DRAIN),
				 node("n3", .role = NODE_ROLE_MANAGER));
	_cleanup_free_ char *text = written(v);

	assert_line(text, "skein_nodes{state=\"ready\",availability=\"active\",role=\"worker\"} 1");
	assert_line(text, "skein_nodes{state=\"down\",availability=\"drain\",role=\"worker\"} 1");
	assert_line(text, "skein_nodes{state=\"ready\",availability=\"active\",role=\"manager\"} 1");
	assert_line(text, "skein_node_ready{node=\"h1\",node_id=\"n1\"} 1");
	assert_non_null(strstr(text, "node_id=\"n2\"} 0"));
	view_free(v);
}

static void calls_are_counted_by_method_and_code(void **state)
{
	struct manager_counters c = {0};
	const struct rpc_observation ok = {"skein.Control/GetInfo", true, ERR_OK, 3 * NS_PER_MS},
				     denied = {"skein.Control/GetInfo", false, ERR_DENIED, 0},
				     unknown = {"", false, ERR_UNIMPLEMENTED, 0};
	struct metrics_writer w;

	counters_on_call(&c, &ok);
	counters_on_call(&c, &ok);
	counters_on_call(&c, &denied);
	counters_on_call(&c, &unknown);
	metrics_begin(&w, METRICS_PROMETHEUS);
	counters_write_api(&w, &c);
	assert_line(w.text.p, "skein_api_requests_total{service=\"Control\",method=\"GetInfo\",code=\"OK\"} 2");
	assert_line(w.text.p, "skein_api_requests_total{service=\"Control\",method=\"GetInfo\",code=\"DENIED\"} 1");
	assert_line(w.text.p, "skein_api_requests_total{service=\"none\",method=\"unknown\",code=\"UNIMPLEMENTED\"} 1");
	assert_line(w.text.p, "skein_api_request_seconds_bucket{service=\"Control\",method=\"GetInfo\",le=\"0.001\"} 0");
	assert_line(w.text.p, "skein_api_request_seconds_bucket{service=\"Control\",method=\"GetInfo\",le=\"0.005\"} 2");
	metrics_fini(&w);
	counters_fini(&c);
}

static void starts_are_timed_once(void **state)
{
	struct manager_counters c = {0};
	struct view *v = view_of(node("n1"), service("web"), task("t1", .slot = 1, .node = "n1", .created_at = NOW, .at = NOW + 2 * SEC),
				 task("t2", .slot = 2, .node = "n1", .state = TASK_STARTING));
	struct store_event up = {KIND_TASK, "t1", view_task(v, "t2"), view_task(v, "t1")},
			   again = {KIND_TASK, "t1", view_task(v, "t1"), view_task(v, "t1")}, fresh = {KIND_TASK, "t1", NULL, view_task(v, "t1")};

	counters_on_events(&c, &up, 1);
	counters_on_events(&c, &again, 1);
	counters_on_events(&c, &fresh, 1); /* as after a resync: nobody knows when */
	assert_true(c.start.sum > 1.99 && c.start.sum < 2.01);
	counters_fini(&c);
	view_free(v);
}

static void changes_of_leader_are_counted(void **state)
{
	struct manager_counters c = {0};
	const char *seen[] = {"", "a", "a", "", "a", "b", "", "a"};

	for (size_t i = 0; i < ARRAY_SIZE(seen); i++)
		counters_leader(&c, seen[i]);
	assert_int_equal(c.leader_changes, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(families_are_well_formed_and_unique),
		cmocka_unit_test(services_and_tasks_are_counted),
		cmocka_unit_test(nodes_by_state_availability_and_role),
		cmocka_unit_test(calls_are_counted_by_method_and_code),
		cmocka_unit_test(starts_are_timed_once),
		cmocka_unit_test(changes_of_leader_are_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
