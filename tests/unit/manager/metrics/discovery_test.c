/* Which targets Prometheus is told. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "manager/metrics/discovery.h"
#include "support/build.h"

#include <jansson.h>

static struct view *targets_view(void)
{
	struct view *v = view_of(node("n1", .address = "10.0.0.1", .labels = "rack=a;odd-name.x=1", .features = "metrics.agent=http:9640;metrics.manager=https:9641"),
				 node("n2", .address = "fd00::2", .features = "metrics.agent=https:1234;metrics.manager=https:9641"),
				 node("n3", .address = "10.0.0.3", .features = "metrics.agent=gopher:70"), node("n4", .features = "metrics.agent=http:9640"),
				 network("front", .given = "10.1.0.0/24"), network("back", .given = "10.2.0.0/24"), service("web", .networks = "front;back"),
				 task("t1", .slot = 1, .node = "n1", .addresses = "front=10.1.0.5/24;back=10.2.0.5/24"),
				 task("t2", .slot = 2, .node = "n1", .state = TASK_STARTING, .addresses = "front=10.1.0.6/24"));
	pb_node *manager = pb_dup(view_node(v, "n1"));

	manager->manager = pb_new(&skein__manager_status__descriptor);
	pb_free(view_put(v, KIND_NODE, manager));
	return v;
}

static void set_label(struct view *v, const char *task_id, const char *key, const char *value)
{
	pb_task *task = pb_dup(view_task(v, task_id));

	pb_kv_set(&task->n_service_labels, &task->service_labels, key, value);
	pb_free(view_put(v, KIND_TASK, task));
}

/* The labels of a target; NULL = it is not told. *ret_n: how many targets there are. */
static json_t *labels_of(const struct view *v, const char *target, json_t **ret_list)
{
	_cleanup_free_ char *text = discovery_json(v);
	json_t *group;
	size_t i;

	*ret_list = json_loads(text, 0, NULL);
	assert_true(json_is_array(*ret_list));
	json_array_foreach(*ret_list, i, group)
		if (str_eq(json_string_value(json_array_get(json_object_get(group, "targets"), 0)), target))
			return json_object_get(group, "labels");
	return NULL;
}

static void expect(const struct view *v, const char *target, const char *label, const char *value)
{
	json_t *list, *labels = labels_of(v, target, &list);
	const char *got = json_string_value(json_object_get(labels, label));

	if (!labels)
		fail_msg("%s is no target", target);
	if (!str_eq(got, value))
		fail_msg("%s: %s is %s, not %s", target, label, got, value);
	json_decref(list);
}

static size_t targets(const struct view *v)
{
	json_t *list;
	size_t n;

	labels_of(v, "", &list);
	n = json_array_size(list);
	json_decref(list);
	return n;
}

static void agents_and_managers_by_what_they_say(void **state)
{
	struct view *v = targets_view();

	assert_int_equal(targets(v), 3);
	expect(v, "10.0.0.1:9640", "__scheme__", "http");
	expect(v, "10.0.0.1:9640", "__meta_skein_role", "agent");
	expect(v, "10.0.0.1:9640", "__meta_skein_node_label_rack", "a");
	expect(v, "10.0.0.1:9640", "__meta_skein_node_label_odd_name_x", "1");
	expect(v, "10.0.0.1:9641", "__meta_skein_role", "manager");
	expect(v, "10.0.0.1:9641", "__scheme__", "https");
	/* n2 is no manager, n3 says nonsense, n4 has no address. */
	expect(v, "[fd00::2]:1234", "__scheme__", "https");
	view_free(v);
}

static void tasks_that_ask_for_it(void **state)
{
	struct view *v = targets_view();

	set_label(v, "t2", "prometheus.port", "8080"); /* does not run */
	assert_int_equal(targets(v), 3);
	set_label(v, "t1", "prometheus.port", "http"); /* no port */
	assert_int_equal(targets(v), 3);
	set_label(v, "t1", "prometheus.port", "8080");
	set_label(v, "t1", "prometheus.path", "/probe?x=1");
	assert_int_equal(targets(v), 4);
	expect(v, "10.1.0.5:8080", "__metrics_path__", "/probe?x=1");
	expect(v, "10.1.0.5:8080", "__meta_skein_task_name", "web.1");
	expect(v, "10.1.0.5:8080", "__meta_skein_service_name", "web");
	expect(v, "10.1.0.5:8080", "__meta_skein_network_name", "front");
	expect(v, "10.1.0.5:8080", "__meta_skein_service_label_prometheus_port", "8080");
	set_label(v, "t1", "prometheus.network", "back");
	expect(v, "10.2.0.5:8080", "__meta_skein_network_name", "back");
	set_label(v, "t1", "prometheus.network", "nowhere");
	assert_int_equal(targets(v), 3);
	view_free(v);
}

static void ports_of_the_host(void **state)
{
	struct view *v = targets_view();
	pb_service *service = pb_dup(view_service(v, "web"));
	pb_task *task;

	service->endpoint = pb_new(&skein__endpoint__descriptor);
	pb_port *port = pb_new(&skein__port_config__descriptor);
	pb_set_str(&port->protocol, "tcp");
	port->target = 8080;
	port->published = 18080;
	port->mode = PUBLISH_HOST;
	pb_msgs_add(&service->endpoint->n_ports, &service->endpoint->ports, port);
	pb_free(view_put(v, KIND_SERVICE, service));
	set_label(v, "t1", "prometheus.port", "8080");
	expect(v, "10.0.0.1:18080", "__meta_skein_node_name", "n1");

	/* An ingress port leads to any task: not to this one. */
	service = pb_dup(view_service(v, "web"));
	service->endpoint->ports[0]->mode = PUBLISH_INGRESS;
	pb_free(view_put(v, KIND_SERVICE, service));
	expect(v, "10.1.0.5:8080", "__meta_skein_network_name", "front");

	task = pb_dup(view_task(v, "t1"));
	pb_set_str(&task->spec->network, "host");
	pb_free(view_put(v, KIND_TASK, task));
	expect(v, "10.0.0.1:8080", "__meta_skein_task_name", "web.1");
	view_free(v);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(agents_and_managers_by_what_they_say),
		cmocka_unit_test(tasks_that_ask_for_it),
		cmocka_unit_test(ports_of_the_host),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
