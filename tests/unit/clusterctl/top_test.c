/* Samples and lists become rows. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "clusterctl/top_model.h"
#include "common/mem.h"
#include "common/str.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static pb_task *add_task(Skein__ListTasksResponse *list, const char *id, const char *node, uint64_t slot, int state)
{
	pb_task *t = pb_new(&skein__task__descriptor);

	pb_set_str(&t->id, id);
	pb_set_str(&t->service_id, "s1");
	pb_set_str(&t->service_name, "web");
	pb_set_str(&t->node_id, node);
	t->slot = slot;
	t->status = pb_new(&skein__task_status__descriptor);
	t->status->state = state;
	pb_msgs_add(&list->n_tasks, &list->tasks, t);
	return t;
}

static pb_node_usage *sample(const char *node, uint64_t cpu_nano)
{
	pb_node_usage *u = pb_new(&skein__node_usage__descriptor);

	pb_set_str(&u->node_id, node);
	u->cpu_nano = cpu_nano;
	u->mem_bytes = 512 << 20;
	u->capacity = pb_new(&skein__resources__descriptor);
	u->capacity->mem_bytes = 1024 << 20;
	return u;
}

static void add_usage(pb_node_usage *u, const char *task, uint64_t cpu_nano, uint64_t mem)
{
	pb_task_usage *t = pb_new(&skein__task_usage__descriptor);

	pb_set_str(&t->task_id, task);
	t->cpu_nano = cpu_nano;
	t->mem_bytes = mem;
	t->pids = 2;
	t->net_rx_rate = 1024;
	pb_msgs_add(&u->n_tasks, &u->tasks, t);
}

struct fixture {
	pb_node_usage *samples[2];
	Skein__ListNodesResponse *nodes;
	Skein__ListServicesResponse *services;
	Skein__ListTasksResponse *tasks;
	struct top_state state;
};

static int setup(void **state)
{
	struct fixture *f = xnew(struct fixture);

	f->samples[0] = sample("n1", 1500000000);
	f->samples[1] = pb_new(&skein__node_usage__descriptor);
	pb_set_str(&f->samples[1]->node_id, "n2");
	pb_set_str(&f->samples[1]->error, "the node is down");
	f->nodes = pb_new(&skein__list_nodes_response__descriptor);
	f->services = pb_new(&skein__list_services_response__descriptor);
	f->tasks = pb_new(&skein__list_tasks_response__descriptor);
	for (int i = 0; i < 2; i++) {
		pb_node *node = pb_new(&skein__node__descriptor);

		pb_set_str(&node->id, i ? "n2" : "n1");
		node->status = pb_new(&skein__node_status__descriptor);
		node->status->state = i ? NODE_DOWN : NODE_READY;
		pb_msgs_add(&f->nodes->n_nodes, &f->nodes->nodes, node);
	}
	Skein__ServiceSummary *web = pb_new(&skein__service_summary__descriptor);
	web->service = pb_new(&skein__service__descriptor);
	pb_set_str(&web->service->id, "s1");
	web->service->spec = pb_new(&skein__service_spec__descriptor);
	pb_set_str(&web->service->spec->name, "web");
	web->running = 2;
	web->desired = 3;
	pb_msgs_add(&f->services->n_services, &f->services->services, web);
	add_task(f->tasks, "t1", "n1", 1, TASK_RUNNING);
	add_task(f->tasks, "t2", "n1", 2, TASK_RUNNING);
	add_task(f->tasks, "t0", "n1", 2, TASK_FAILED);
	add_task(f->tasks, "t9", "n2", 2, TASK_SHUTDOWN); /* somebody's wish is no restart */
	add_usage(f->samples[0], "t1", 250000000, 10 << 20);
	add_usage(f->samples[0], "t2", 500000000, 5 << 20);
	f->state = (struct top_state){f->samples, 2, f->nodes, f->services, f->tasks};
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	pb_free(f->samples[0]);
	pb_free(f->samples[1]);
	pb_free(f->nodes);
	pb_free(f->services);
	pb_free(f->tasks);
	free(f);
	return 0;
}

static void expect(struct fixture *f, enum top_kind kind, enum top_sort sort, const struct list_field *fields, const char *format,
		   const char *text)
{
	_cleanup_listing_ struct listing l = {0};
	_cleanup_free_ char *got = NULL;
	struct top_rows rows;
	size_t len;
	FILE *out = open_memstream(&got, &len);

	assert_int_equal(listing_init(&l, fields, format, false, NULL), 0);
	top_rows_make(&f->state, kind, sort, &rows);
	top_fill(&l, kind, &rows);
	listing_print(&l, out);
	fclose(out);
	top_rows_fini(&rows);
	assert_string_equal(got, text);
}

static void nodes(void **state)
{
	expect(*state, TOP_NODES, TOP_BY_CPU, top_node_fields, "{{.Name}}|{{.Status}}|{{.Tasks}}|{{.CPUPerc}}|{{.MemUsage}}|{{.MemPerc}}",
	       "n1|Ready|2|150.00%|512MiB / 1GiB|50.00%\nn2|Down|0|--|--|--\n");
}

static void services(void **state)
{
	struct fixture *f = *state;

	expect(f, TOP_SERVICES, TOP_BY_CPU, top_service_fields, "{{.Name}}|{{.Tasks}}|{{.CPUPerc}}|{{.MemUsage}}|{{.NetIO}}|{{.PIDs}}|{{.Restarts}}",
	       "web|2/3|75.00%|15MiB|2KiB/s / 0B/s|4|1\n");
	/* Of one of its tasks nothing is known: no number would be the service's. */
	add_task(f->tasks, "t7", "n2", 3, TASK_RUNNING);
	expect(f, TOP_SERVICES, TOP_BY_CPU, top_service_fields, "{{.Name}}|{{.CPUPerc}}|{{.Restarts}}", "web|--|1\n");
}

static void tasks_sorted(void **state)
{
	const char *format = "{{.Name}} {{.Node}} {{.CPUPerc}} {{.Restarts}}";

	expect(*state, TOP_TASKS, TOP_BY_CPU, top_task_fields, format, "web.2 n1 50.00% 1\nweb.1 n1 25.00% 0\n");
	expect(*state, TOP_TASKS, TOP_BY_MEMORY, top_task_fields, format, "web.1 n1 25.00% 0\nweb.2 n1 50.00% 1\n");
	expect(*state, TOP_TASKS, TOP_BY_NAME, top_task_fields, format, "web.1 n1 25.00% 0\nweb.2 n1 50.00% 1\n");
	expect(*state, TOP_TASKS, TOP_BY_RESTARTS, top_task_fields, format, "web.2 n1 50.00% 1\nweb.1 n1 25.00% 0\n");
}

/* A hundred services of hundred tasks each, as many ended ones, on hundred nodes: drawn every second, so it takes milliseconds. */
static void large_clusters_cost_what_they_show(void **state)
{
	enum { SERVICES = 100, SLOTS = 100, NODES = 100 };
	_cleanup_pb_ Skein__ListServicesResponse *services = pb_new(&skein__list_services_response__descriptor);
	_cleanup_pb_ Skein__ListTasksResponse *tasks = pb_new(&skein__list_tasks_response__descriptor);
	pb_node_usage *samples[NODES];
	struct top_state s = {.samples = samples, .n_samples = NODES, .services = services, .tasks = tasks};
	struct top_rows rows;
	clock_t began;
	char id[32], node[32];

	for (int i = 0; i < NODES; i++) {
		snprintf(node, sizeof(node), "node%d", i);
		samples[i] = sample(node, 1);
	}
	for (int i = 0; i < SERVICES; i++) {
		Skein__ServiceSummary *service = pb_new(&skein__service_summary__descriptor);

		service->service = pb_new(&skein__service__descriptor);
		snprintf(id, sizeof(id), "service%d", i);
		pb_set_str(&service->service->id, id);
		pb_msgs_add(&services->n_services, &services->services, service);
		for (int slot = 1; slot <= SLOTS; slot++) {
			for (int state_ = TASK_RUNNING; state_ <= TASK_FAILED; state_ += TASK_FAILED - TASK_RUNNING) {
				char task[48];
				pb_task *t;

				snprintf(task, sizeof(task), "%s.%d.%d", id, slot, state_);
				snprintf(node, sizeof(node), "node%d", slot % NODES);
				t = add_task(tasks, task, node, (uint64_t)slot, state_);
				pb_set_str(&t->service_id, id);
				add_usage(samples[slot % NODES], task, 1, 1);
			}
		}
	}
	began = clock();
	top_rows_make(&s, TOP_SERVICES, TOP_BY_NAME, &rows);
	began = clock() - began;
	assert_int_equal(rows.n, SERVICES);
	assert_int_equal(rows.v[0].restarts, SLOTS);
	assert_int_equal(rows.v[0].cpu_nano, SLOTS);
	top_rows_fini(&rows);
	for (int i = 0; i < NODES; i++)
		pb_free(samples[i]);
	if (began > CLOCKS_PER_SEC / 2)
		fail_msg("%.3f s of CPU", (double)began / CLOCKS_PER_SEC);
}

static void complete_with_two_samples_of_each(void **state)
{
	struct fixture *f = *state;

	assert_true(top_complete(&f->state));
	f->samples[0]->cpu_nano = 0;
	assert_false(top_complete(&f->state));
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {TEST(nodes), TEST(services), TEST(tasks_sorted),
					   TEST(large_clusters_cost_what_they_show), TEST(complete_with_two_samples_of_each)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
