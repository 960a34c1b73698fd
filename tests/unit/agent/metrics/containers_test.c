#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "agent/metrics/containers.h"
#include "agent/metrics/families.h"
#include "common/error.h"
#include "common/mem.h"

#include <string.h>

static pb_task *task(const char *id, const char *service, unsigned slot, int state)
{
	pb_task *t = pb_new(&skein__task__descriptor);

	pb_set_str(&t->id, id);
	pb_set_str(&t->service_name, service);
	t->slot = slot;
	t->spec = pb_new(&skein__task_spec__descriptor);
	t->spec->container = pb_new(&skein__container_spec__descriptor);
	pb_set_str(&t->spec->container->image, "docker.io/library/web:1");
	t->status = pb_new(&skein__task_status__descriptor);
	t->status->state = (Skein__TaskState)state;
	t->status->at = INT64_C(1500000000250000000);
	return t;
}

static void look(struct containers *c, pb_task *const *tasks, size_t n)
{
	containers_begin(c);
	for (size_t i = 0; i < n; i++)
		containers_note(c, tasks[i])->restarts = 3;
	containers_end(c);
}

static char *text_of(const struct containers *c)
{
	struct metrics_writer w;

	metrics_begin(&w, METRICS_PROMETHEUS);
	containers_write(c, &w);
	metrics_end(&w);
	return strbuf_take(&w.text);
}

static void assert_has(const char *text, const char *part)
{
	if (!strstr(text, part))
		fail_msg("\"%s\" is not in: %s", part, text);
}

static void labels_and_life(void **state)
{
	static const char *const keys[] = {"com.example/team", "absent", NULL};
	_cleanup_pb_ pb_task *a = task("aaaaaaaaaaaaaaaaaaaaaaaaa", "web", 2, TASK_RUNNING), *b = task("bbbb", "db", 0, TASK_FAILED);
	_cleanup_free_ char *text = NULL, *later = NULL;
	pb_task *const both[] = {a, b};
	struct containers c;

	pb_kv_set(&a->n_service_labels, &a->service_labels, "com.example/team", "x\"} 1\nevil 2");
	pb_kv_set(&a->n_service_labels, &a->service_labels, "secret", "not shown");
	a->spec->resources = pb_new(&skein__resource_requirements__descriptor);
	a->spec->resources->limits = pb_new(&skein__resources__descriptor);
	a->spec->resources->limits->cpu_nano = 1500000000;
	a->spec->resources->limits->mem_bytes = 64 << 20;
	containers_init(&c, "skein", keys);
	free(c.node);
	c.node = xstrdup("n1");
	look(&c, both, 2);
	containers_read(&c); /* no such groups: nothing that the kernel would have said */
	text = text_of(&c);
#define A "node=\"n1\",service=\"web\",task=\"aaaaaaaaaaaaaaaaaaaaaaaaa\",slot=\"2\",container=\"aaaaaaaaaaaa\"," \
	  "image=\"docker.io/library/web:1\",label_com_example_team=\"x\\\"} 1\\nevil 2\""
	assert_has(text, "skein_container_state{" A ",state=\"running\"} 1\n");
	assert_has(text, "task=\"bbbb\",slot=\"0\",container=\"bbbb\",image=\"docker.io/library/web:1\",state=\"failed\"} 1\n");
	assert_has(text, "skein_container_cpu_limit_cores{" A "} 1.5\n");
	assert_has(text, "skein_container_memory_limit_bytes{" A "} 67108864\n");
	assert_has(text, "skein_container_start_time_seconds{" A "} 1500000000.25\n");
	assert_has(text, "skein_container_restarts_total{" A "} 3\n");
	assert_null(strstr(text, "not shown"));
	assert_null(strstr(text, "skein_container_processes_limit{"));
	assert_null(strstr(text, "skein_container_cpu_usage_seconds_total{"));
	look(&c, both + 1, 1);
	later = text_of(&c);
	assert_null(strstr(later, "web\""));
	containers_fini(&c);
}

static void usage_and_traffic(void **state)
{
	_cleanup_pb_ pb_task *a = task("aaaa", "web", 1, TASK_RUNNING);
	struct net_traffic traffic[] = {
		{.task_id = "aaaa", .interface = "eth0", .network = "ne\"t", .rx_bytes = 1, .tx_bytes = 2, .rx_packets = 3, .tx_dropped = 4},
		{.task_id = "zzzz", .interface = "eth0", .network = "net", .rx_bytes = 99},
	};
	const struct net_stats stats = {.traffic = traffic, .n_traffic = 2}, none = {0};
	_cleanup_free_ char *text = NULL, *later = NULL;
	struct containers c;

	containers_init(&c, "skein", NULL);
	look(&c, &a, 1);
	containers_traffic(&c, &stats);
	c.all->usable = true;
	c.all->usage = (struct usage){
		.have = USAGE_CPU | USAGE_MEMORY | USAGE_MEMORY_STAT | USAGE_PSI_IO,
		.cpu_ns = 1500000001, .mem_bytes = 100, .inactive_file_bytes = 40, .psi_io = {2500000, 1},
	};
	text = text_of(&c);
	assert_has(text, "container=\"aaaa\",image=\"docker.io/library/web:1\"} 1.500000001\n");
	assert_has(text, "skein_container_memory_working_set_bytes{");
	assert_has(text, "image=\"docker.io/library/web:1\"} 60\n");
	assert_has(text, ",resource=\"io\"} 2.5\n");
	assert_has(text, ",resource=\"io\"} 0.000001\n");
	assert_null(strstr(text, "resource=\"cpu\""));
	assert_has(text, ",interface=\"eth0\",network=\"ne\\\"t\"} 4\n");
	assert_null(strstr(text, "} 99\n"));
	/* Not known this time: left out rather than old. */
	containers_traffic(&c, &none);
	later = text_of(&c);
	assert_null(strstr(later, "interface="));
	containers_fini(&c);
}

static void set_health(pb_task *t, int state)
{
	pb_health_check *check = pb_new(&skein__health_check__descriptor);

	pb_strs_add(&check->n_test, &check->test, "CMD-SHELL");
	pb_strs_add(&check->n_test, &check->test, "true");
	t->spec->container->health = check;
	t->status->health = pb_new(&skein__task_health__descriptor);
	t->status->health->state = (Skein__HealthState)state;
}

static void health_of_tasks(void **state)
{
	_cleanup_pb_ pb_task *checked = task("aaaa", "web", 1, TASK_STARTING), *plain = task("bbbb", "db", 1, TASK_RUNNING);
	_cleanup_pb_ pb_task *ended = task("cccc", "old", 1, TASK_FAILED), *early = task("dddd", "new", 1, TASK_PREPARING);
	_cleanup_free_ char *text = NULL, *later = NULL;
	pb_task *const all[] = {checked, plain, ended, early};
	struct containers c;

	set_health(checked, HEALTH_STARTING);
	set_health(ended, HEALTH_UNHEALTHY);
	containers_init(&c, "skein", NULL);
	look(&c, all, 4);
	text = text_of(&c);
	assert_has(text, "container=\"aaaa\",image=\"docker.io/library/web:1\",health=\"none\"} 0\n");
	assert_has(text, "container=\"aaaa\",image=\"docker.io/library/web:1\",health=\"starting\"} 1\n");
	assert_has(text, "container=\"aaaa\",image=\"docker.io/library/web:1\",health=\"healthy\"} 0\n");
	assert_has(text, "container=\"aaaa\",image=\"docker.io/library/web:1\",health=\"unhealthy\"} 0\n");
	/* Without a check there is nothing to wait for, and one series says it. */
	assert_has(text, "container=\"bbbb\",image=\"docker.io/library/web:1\",health=\"none\"} 1\n");
	assert_null(strstr(text, "container=\"bbbb\",image=\"docker.io/library/web:1\",health=\"healthy\""));
	/* Only of what has a process. */
	assert_null(strstr(text, "container=\"cccc\",image=\"docker.io/library/web:1\",health="));
	assert_null(strstr(text, "container=\"dddd\",image=\"docker.io/library/web:1\",health="));
	checked->status->state = (Skein__TaskState)TASK_RUNNING;
	checked->status->health->state = (Skein__HealthState)HEALTH_UNHEALTHY;
	look(&c, all, 1);
	later = text_of(&c);
	assert_has(later, "container=\"aaaa\",image=\"docker.io/library/web:1\",health=\"starting\"} 0\n");
	assert_has(later, "container=\"aaaa\",image=\"docker.io/library/web:1\",health=\"unhealthy\"} 1\n");
	containers_fini(&c);
}

static void families_are_well_formed(void **state)
{
	struct error err = ERROR_INIT;

	for (size_t i = 0; i < AGENT_TABLES; i++) {
		for (size_t j = 0; j < agent_tables[i]->n; j++) {
			const struct metric_family *f = &agent_tables[i]->families[j];

			if (metrics_check(f, &err) < 0)
				fail_msg("%s", err.msg);
			for (size_t k = 0; k < i * 100 + j; k++) {
				const struct metric_table *t = agent_tables[k / 100];

				if (k % 100 < t->n && strcmp(t->families[k % 100].name, f->name) == 0)
					fail_msg("%s stands there twice", f->name);
			}
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(labels_and_life),
		cmocka_unit_test(usage_and_traffic),
		cmocka_unit_test(health_of_tasks),
		cmocka_unit_test(families_are_well_formed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
