#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "support/rounds.h"

#include "manager/scheduler/filter.h"
#include "manager/scheduler/scheduler.h"

#define pending(id_, slot_, ...)                                                                   \
	task(id_, .slot = slot_, .state = TASK_PENDING, .created_at = NOW, .at = NOW, ##__VA_ARGS__)

/* Schedule once and commit. */
static void schedule(struct rounds *r)
{
	rounds_commit(r, rounds_plan(r, scheduler_plan), SIZE_MAX, NULL, NULL);
}

static void assert_on(struct rounds *r, const char *task_id, const char *node_id)
{
	const pb_task *t = view_task(r->view, task_id);

	assert_int_equal(task_state(t), TASK_ASSIGNED);
	assert_string_equal(t->node_id, node_id);
	assert_string_equal(t->status->message, "scheduler assigned task to node");
	assert_string_equal(t->status->err, "");
	assert_int_equal(t->status->at, r->now);
}

static void assert_pending(struct rounds *r, const char *task_id, const char *err)
{
	const pb_task *t = view_task(r->view, task_id);

	assert_int_equal(task_state(t), TASK_PENDING);
	assert_string_equal(t->status->err, err);
}

/* ---- filters: one task, some nodes, the reason why it waits */

struct refusal {
	struct built service, nodes[4];
	const char *err;
};

static void reasons_in_the_status(void **state)
{
	struct refusal cases[] = {
		{service("web"), {{0}}, "no suitable node"},
		{service("web"),
		 {node("n1", .state = NODE_DOWN)},
		 "no suitable node (1 node not available for new tasks (1 down))"},
		{service("web"),
		 {node("n1", .state = NODE_DOWN), node("n2", .availability = AVAILABILITY_DRAIN),
		  node("n3", .availability = AVAILABILITY_PAUSE),
		  node("n4", .state = NODE_UNKNOWN)},
		 "no suitable node (4 nodes not available for new tasks "
		 "(1 down, 1 in unknown state, 1 drained, 1 paused))"},
		{service("web", .mem_bytes = 4 * GIB),
		 {node("n1", .mem_bytes = 1288490189), node("n2", .mem_bytes = 800 * MIB),
		  node("n3", .state = NODE_DISCONNECTED)},
		 "no suitable node (insufficient memory on 2 nodes (asked 4GiB, free 1.2GiB, "
		 "800MiB); "
		 "1 node not available for new tasks (1 disconnected))"},
		{service("web", .mem_bytes = GIB),
		 {node("n1", .mem_bytes = MIB), node("n2", .mem_bytes = 3 * MIB),
		  node("n3", .mem_bytes = 2 * MIB), node("n4", .mem_bytes = 4 * MIB)},
		 "no suitable node (insufficient memory on 4 nodes (asked 1GiB, free 4MiB, 3MiB, "
		 "2MiB, ...))"},
		{service("web", .cpu_nano = 5 * CPU / 2),
		 {node("n1", .cpu_nano = 2 * CPU)},
		 "no suitable node (insufficient CPU on 1 node (asked 2.5, free 2))"},
		{service("web", .pids = 100),
		 {node("n1", .pids = 99)},
		 "no suitable node (insufficient pids on 1 node (asked 100, free 99))"},
		{service("web", .constraints = "node.labels.rack==b"),
		 {node("n1", .labels = "rack=a"), node("n2")},
		 "no suitable node (scheduling constraints not satisfied on 2 nodes)"},
		{service("web", .constraints = "cannot be read"),
		 {node("n1")},
		 "no suitable node (scheduling constraints not satisfied on 1 node)"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct rounds r;

		rounds_init(&r, view_of(cases[i].service));
		for (size_t k = 0; k < 4 && cases[i].nodes[k].obj; k++)
			view_add(r.view, cases[i].nodes[k]);
		view_add(r.view, pending("t1", 1));
		schedule(&r);
		assert_pending(&r, "t1", cases[i].err);
		rounds_fini(&r);
	}
}

static void max_replicas_per_node(void **state)
{
	struct rounds r;

	rounds_init(&r, view_of(node("n1"), node("n2"), service("web", .max_per_node = 1),
				task("t0", .slot = 1, .node = "n1"), pending("t1", 2),
				pending("t2", 3)));
	schedule(&r);
	assert_on(&r, "t1", "n2");
	assert_pending(
		&r, "t2",
		"no suitable node (max replicas per node limit exceed on 2 nodes (limit 1))");
	rounds_fini(&r);
}

static void resources_of_a_stopping_task_are_held(void **state)
{
	struct rounds r;

	rounds_init(&r, view_of(node("n1", .mem_bytes = GIB), service("web", .mem_bytes = GIB),
				task("t0", .slot = 1, .node = "n1", .desired = TASK_SHUTDOWN),
				pending("t1", 1)));
	schedule(&r);
	assert_pending(&r, "t1",
		       "no suitable node (insufficient memory on 1 node (asked 1GiB, free 0B))");
	rounds_report(&r, "t0", TASK_SHUTDOWN);
	schedule(&r);
	assert_on(&r, "t1", "n1");
	rounds_fini(&r);
}

static void placed_tasks_take_room(void **state)
{
	struct rounds r;

	rounds_init(&r, view_of(node("n1", .cpu_nano = 2 * CPU), node("n2", .cpu_nano = CPU),
				service("web", .cpu_nano = CPU), pending("t1", 1), pending("t2", 2),
				pending("t3", 3), pending("t4", 4)));
	schedule(&r);
	assert_on(&r, "t1", "n1");
	assert_on(&r, "t2", "n2");
	assert_on(&r, "t3", "n1");
	assert_pending(&r, "t4",
		       "no suitable node (insufficient CPU on 2 nodes (asked 1, free 0, 0))");
	rounds_fini(&r);
}

/* ---- networks */

#define WITH_ALL "network.vxlan=true;network.macvlan=true;network.ipvlan=true;network.vlan=true;network.esp=true"

static void what_networks_need(void **state)
{
	static const struct {
		const char *driver, *options, *features[2], *err;
	} cases[] = {
		{"overlay", NULL, {WITH_ALL}, ""},
		{"overlay", NULL, {"network.vxlan=false", "network.vxlan=true"}, ""},
		{"overlay", NULL, {"network.vxlan=false", "runtime=crun"},
		 "no suitable node (network driver overlay not supported by the kernel on 2 nodes)"},
		{"ipvlan", NULL, {"network.ipvlan=false;network.macvlan=true"},
		 "no suitable node (network driver ipvlan not supported by the kernel on 1 node)"},
		{"macvlan", NULL, {"network.macvlan=true"}, ""},
		{"vlan", NULL, {"network.vlan=true;network.macvlan=false"},
		 "no suitable node (network driver vlan not supported by the kernel on 1 node)"},
		{"vlan", NULL, {"network.vlan=true;network.macvlan=true"}, ""},
		{"bridge", NULL, {"network.vxlan=false"}, ""},
		{"overlay", "encrypted", {"network.vxlan=true;network.esp=false"},
		 "no suitable node (encrypted networks not supported by the kernel on 1 node)"},
		{"overlay", "encrypted", {"network.vxlan=true;network.esp=true"}, ""},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct rounds r;

		rounds_init(&r, view_of(network("front", .driver = cases[i].driver, .options = cases[i].options),
					service("web", .networks = "front"), pending("t1", 1)));
		for (size_t k = 0; k < 2 && cases[i].features[k]; k++)
			view_add(r.view, node(k ? "n2" : "n1", .features = cases[i].features[k]));
		schedule(&r);
		if (*cases[i].err)
			assert_pending(&r, "t1", cases[i].err);
		else
			assert_int_equal(task_state(view_task(r.view, "t1")), TASK_ASSIGNED);
		rounds_fini(&r);
	}
}

static void host_mode_ports(void **state)
{
	static const struct {
		const char *mine, *theirs;
		bool refused;
	} cases[] = {
		{"8080:80/tcp/host", "8080:99/tcp/host", true},
		{"8080:80/tcp/host", "8081:80/tcp/host", false},
		{"8080:80/tcp/host", "8080:80/udp/host", false},
		{"8080:80/tcp/host", "8080:80/tcp", false}, /* ingress mode: not the scheduler's */
		{"8080:80/tcp", "8080:80/tcp/host", false},
		{"1:1/tcp;8080:80/tcp/host", "8080:80/tcp/host;2:2/tcp", true},
		{"8080:80/tcp/host=10.0.0.1", "8080:80/tcp/host=10.0.0.2", false},
		{"8080:80/tcp/host=10.0.0.1", "8080:80/tcp/host=10.0.0.1", true},
		{"8080:80/tcp/host=10.0.0.1", "8080:80/tcp/host", true},
		{"8080:80/tcp/host=0.0.0.0", "8080:80/tcp/host=10.0.0.2", true},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct rounds r;

		rounds_init(&r, view_of(node("n1"), service("web", .given_ports = cases[i].mine),
					service("db", .given_ports = cases[i].theirs),
					task("d1", .service = "db", .slot = 1, .node = "n1", .desired = TASK_SHUTDOWN),
					task("d0", .service = "db", .slot = 1, .node = "n1", .state = TASK_FAILED),
					pending("t1", 1)));
		schedule(&r);
		if (cases[i].refused)
			assert_pending(&r, "t1", "no suitable node (host-mode port already in use on 1 node)");
		else
			assert_on(&r, "t1", "n1");
		/* Held until it has stopped. */
		rounds_report(&r, "d1", TASK_SHUTDOWN);
		assert_true(r.dirty.schedule);
		schedule(&r);
		assert_on(&r, "t1", "n1");
		rounds_fini(&r);
	}
}

static void a_host_port_once_per_node(void **state)
{
	struct rounds r;

	rounds_init(&r, view_of(node("n1"), node("n2"), service("db", .given_ports = "8080:1/tcp/host"),
				service("web", .given_ports = "8080:80/tcp/host"),
				pending("t1", 1), pending("t2", 2), pending("t3", 3),
				pending("t4", 1, .service = "db", .created_at = NOW - SEC)));
	schedule(&r);
	assert_on(&r, "t4", "n1"); /* placed in the same round, it counts as well */
	assert_on(&r, "t1", "n2");
	assert_pending(&r, "t2", "no suitable node (host-mode port already in use on 2 nodes)");
	assert_pending(&r, "t3", "no suitable node (host-mode port already in use on 2 nodes)");
	rounds_fini(&r);
}

/* ---- ranking */

static void fewer_tasks_of_the_service_first(void **state)
{
	struct rounds r;

	rounds_init(&r, view_of(node("n1"), node("n2"), service("web"), service("db"),
				task("w1", .slot = 1, .node = "n1"),
				task("d1", .service = "db", .slot = 1, .node = "n2"),
				task("d2", .service = "db", .slot = 2, .node = "n2"),
				pending("t1", 2)));
	schedule(&r);
	assert_on(&r, "t1", "n2");
	rounds_fini(&r);
}

static void then_fewer_tasks(void **state)
{
	struct rounds r;

	rounds_init(&r, view_of(node("n1"), node("n2"), service("web"), service("db"),
				task("d1", .service = "db", .slot = 1, .node = "n1"),
				pending("t1", 1)));
	schedule(&r);
	assert_on(&r, "t1", "n2");
	rounds_fini(&r);
}

static void then_the_image_then_the_id(void **state)
{
	struct rounds r;

	rounds_init(&r, view_of(node("n1"), node("n2"),
				node("n3", .image = "docker.io/library/web:latest"), service("web"),
				pending("t1", 1), pending("t2", 2), pending("t3", 3)));
	schedule(&r);
	assert_on(&r, "t1", "n3");
	assert_on(&r, "t2", "n1");
	assert_on(&r, "t3", "n2");
	rounds_fini(&r);
}

static void stopping_tasks_do_not_count(void **state)
{
	struct rounds r;

	rounds_init(&r, view_of(node("n1"), node("n2"), service("web"),
				task("w1", .slot = 1, .node = "n1", .desired = TASK_SHUTDOWN),
				task("w2", .slot = 2, .node = "n2"), pending("t1", 1)));
	schedule(&r);
	assert_on(&r, "t1", "n1");
	rounds_fini(&r);
}

static void scope_and_schedule(struct plan *p)
{
	plan_scope(p);
	scheduler_plan(p);
}

/* n1 is empty but failed this version often enough; n2 has more tasks. */
static void a_node_that_fails_is_the_last_choice(void **state)
{
	for (unsigned failures = 4; failures <= 5; failures++) {
		struct rounds r;

		rounds_init(&r, view_of(node("n1"), node("n2"), service("web"), service("db"),
					task("w1", .slot = 9, .node = "n2"), pending("t1", 1),
					task("v2", .slot = 8, .node = "n1", .version = 2,
					     .state = TASK_FAILED, .desired = TASK_SHUTDOWN,
					     .at = NOW)));
		for (unsigned i = 0; i < failures; i++) {
			char id[8];

			snprintf(id, sizeof(id), "f%u", i);
			view_add(r.view,
				 task(id, .slot = 1, .node = "n1", .state = TASK_FAILED,
				      .desired = TASK_SHUTDOWN, .at = NOW - (int64_t)i * 60 * SEC));
		}
		rounds_commit(&r, rounds_plan(&r, scope_and_schedule), SIZE_MAX, NULL, NULL);
		assert_string_equal(view_task(r.view, "t1")->node_id, failures < 5 ? "n1" : "n2");
		rounds_fini(&r);
	}
}

/* ---- spread */

static size_t on_node(struct rounds *r, const char *node_id)
{
	size_t n;

	free(view_tasks_of_node(r->view, node_id, &n));
	return n;
}

static void add_pending(struct rounds *r, unsigned from, unsigned to)
{
	for (unsigned i = from; i <= to; i++) {
		char id[16];

		snprintf(id, sizeof(id), "t%03u", i);
		view_add(r->view, pending(id, i));
	}
}

static void spread_over_racks(void **state)
{
	struct rounds r;

	/* One node in rack a, three in rack b, one without a rack: a branch of its own. */
	rounds_init(&r, view_of(node("n1", .labels = "rack=a"), node("n2", .labels = "rack=b"),
				node("n3", .labels = "rack=b"), node("n4", .labels = "rack=b"),
				node("n5"), service("web", .spread = "node.labels.rack")));
	add_pending(&r, 1, 9);
	schedule(&r);
	assert_int_equal(on_node(&r, "n1"), 3);
	assert_int_equal(on_node(&r, "n2"), 1);
	assert_int_equal(on_node(&r, "n3"), 1);
	assert_int_equal(on_node(&r, "n4"), 1);
	assert_int_equal(on_node(&r, "n5"), 3);
	rounds_fini(&r);
}

static void spread_on_two_levels(void **state)
{
	struct rounds r;

	rounds_init(&r, view_of(node("n1", .labels = "dc=x;rack=1"),
				node("n2", .labels = "dc=x;rack=2"),
				node("n3", .labels = "dc=x;rack=2"),
				node("n4", .labels = "dc=y;rack=1"),
				service("web", .spread = "node.labels.dc;node.labels.rack")));
	add_pending(&r, 1, 8);
	schedule(&r);
	assert_int_equal(on_node(&r, "n4"), 4);
	assert_int_equal(on_node(&r, "n1"), 2);
	assert_int_equal(on_node(&r, "n2"), 1);
	assert_int_equal(on_node(&r, "n3"), 1);
	rounds_fini(&r);
}

static void spread_goes_on_where_there_is_room(void **state)
{
	struct rounds r;

	rounds_init(&r, view_of(node("n1", .labels = "rack=a", .cpu_nano = CPU),
				node("n2", .labels = "rack=b", .cpu_nano = 8 * CPU),
				service("web", .spread = "node.labels.rack", .cpu_nano = CPU)));
	add_pending(&r, 1, 5);
	schedule(&r);
	assert_int_equal(on_node(&r, "n1"), 1);
	assert_int_equal(on_node(&r, "n2"), 4);
	rounds_fini(&r);
}

/* Single replicas of many services do not all go to the first rack. */
static void equal_branches_by_load(void **state)
{
	struct rounds r;

	rounds_init(&r,
		    view_of(node("n1", .labels = "rack=a"), node("n2", .labels = "rack=b"),
			    service("s1", .spread = "node.labels.rack"),
			    service("s2", .spread = "node.labels.rack"),
			    pending("t1", 1, .service = "s1"), pending("t2", 1, .service = "s2")));
	schedule(&r);
	assert_int_equal(on_node(&r, "n1"), 1);
	assert_int_equal(on_node(&r, "n2"), 1);
	rounds_fini(&r);
}

/* ---- tasks bound to a node */

static void bound_tasks(void **state)
{
	struct rounds r;

	rounds_init(&r, view_of(node("n1"), node("n2", .mem_bytes = MIB),
				service("web", .global = true, .mem_bytes = GIB),
				pending("t1", 0, .node = "n1"), pending("t2", 0, .node = "n2")));
	schedule(&r);
	assert_int_equal(task_state(view_task(r.view, "t1")), TASK_ASSIGNED);
	assert_string_equal(view_task(r.view, "t1")->status->message,
			    "scheduler confirmed task can run on preassigned node");
	assert_pending(&r, "t2",
		       "no suitable node (insufficient memory on 1 node (asked 1GiB, free 1MiB))");
	rounds_fini(&r);
}

/* Bound tasks get their room first. */
static void bound_tasks_go_first(void **state)
{
	struct rounds r;

	rounds_init(&r, view_of(node("n1", .cpu_nano = CPU), service("a", .cpu_nano = CPU),
				service("glob", .global = true, .cpu_nano = CPU),
				pending("t1", 1, .service = "a", .created_at = NOW - SEC),
				pending("t2", 0, .service = "glob", .node = "n1")));
	schedule(&r);
	assert_int_equal(task_state(view_task(r.view, "t2")), TASK_ASSIGNED);
	assert_int_equal(task_state(view_task(r.view, "t1")), TASK_PENDING);
	rounds_fini(&r);
}

static void who_waits_longest_goes_first(void **state)
{
	struct rounds r;

	rounds_init(&r, view_of(node("n1", .cpu_nano = CPU), service("a", .cpu_nano = CPU),
				service("b", .cpu_nano = CPU), pending("t1", 1, .service = "a"),
				pending("t2", 1, .service = "b", .created_at = NOW - SEC)));
	schedule(&r);
	assert_on(&r, "t2", "n1");
	assert_int_equal(task_state(view_task(r.view, "t1")), TASK_PENDING);
	rounds_fini(&r);
}

/* ---- writes */

static void the_reason_is_written_once(void **state)
{
	struct rounds r;
	struct txn *txn;

	rounds_init(&r, view_of(node("n1", .mem_bytes = GIB), service("web", .mem_bytes = 2 * GIB),
				service("db", .mem_bytes = MIB), pending("t1", 1)));
	schedule(&r);
	r.dirty.schedule = true;
	txn = rounds_plan(&r, scheduler_plan);
	assert_true(txn_empty(txn));
	txn_free(txn);

	/* Another number a second later: not yet worth a write, but looked at again in time. */
	r.now += SEC;
	view_add(r.view, task("d1", .service = "db", .slot = 1, .node = "n1"));
	txn = rounds_plan(&r, scheduler_plan);
	assert_true(txn_empty(txn));
	txn_free(txn);
	assert_int_equal(wakes_next(&r.wakes), NOW + SCHEDULER_REWRITE_NS);

	r.now = NOW + SCHEDULER_REWRITE_NS;
	dirty_clear(&r.dirty);
	wakes_due(&r.wakes, r.now, &r.dirty);
	assert_true(r.dirty.schedule);
	schedule(&r);
	assert_pending(
		&r, "t1",
		"no suitable node (insufficient memory on 1 node (asked 2GiB, free 1023MiB))");
	rounds_fini(&r);
}

/* ---- explain */

struct verdicts {
	struct strbuf text;
};

static void on_verdict(void *data, const pb_node *node, bool fits, const char *filter,
		       const char *reason)
{
	struct verdicts *v = data;

	assert_true(fits == str_empty(filter));
	strbuf_printf(&v->text, "%s:%s:%s\n", node->id, filter, reason);
}

static void explain_names_each_node(void **state)
{
	struct verdicts v = {0};
	struct view *view =
		view_of(node("n1"), node("n2", .state = NODE_DOWN),
			node("n3", .availability = AVAILABILITY_DRAIN),
			node("n4", .mem_bytes = 1288490189), node("n5", .labels = "rack=b"),
			node("n6", .labels = "rack=a"), node("n7", .labels = "rack=a"),
			service("web", .mem_bytes = 4 * GIB, .constraints = "node.labels.rack==a",
				.max_per_node = 1),
			task("t1", .slot = 1, .node = "n6"), task("t2", .slot = 2, .node = "n7"));

	scheduler_explain(view, view_task(view, "t1"), NOW, on_verdict, &v);
	assert_string_equal(
		v.text.p,
		"n1:constraint:constraint node.labels.rack==a not satisfied (node has no rack)\n"
		"n2:ready:node is down\n"
		"n3:ready:node is drained\n"
		"n4:memory:insufficient memory (asked 4GiB, free 1.2GiB)\n"
		"n5:constraint:constraint node.labels.rack==a not satisfied (node has rack=b)\n"
		"n6::\n" /* where it runs: itself does not stand in its way */
		"n7:max-replicas:max replicas per node limit reached (limit 1, node has 1)\n");
	strbuf_fini(&v.text);
	view_free(view);
}

static void explain_tells_of_networks_and_ports(void **state)
{
	struct verdicts v = {0};
	struct view *view = view_of(
		network("front", .driver = "ipvlan"), node("n1", .features = "network.ipvlan=true"), node("n2"),
		node("n3", .features = "network.ipvlan=true"),
		service("web", .networks = "front", .given_ports = "53:53/udp/host;80:80/tcp/host"),
		service("dns", .given_ports = "80:80/tcp/host"), task("t1", .slot = 1, .node = "n1"),
		task("t2", .service = "dns", .slot = 1, .node = "n3"));

	scheduler_explain(view, view_task(view, "t1"), NOW, on_verdict, &v);
	assert_string_equal(v.text.p, "n1::\n"
				      "n2:network-driver:network driver ipvlan not supported by the kernel\n"
				      "n3:host-port:host-mode port already in use (80/tcp)\n");
	strbuf_fini(&v.text);
	view_free(view);
}

/* ---- size */

static void many_nodes_and_tasks(void **state)
{
	struct rounds r;
	size_t most = 0, least = SIZE_MAX;

	rounds_init(&r, view_of(service("web", .cpu_nano = CPU / 100,
					.constraints = "node.labels.even!=x")));
	for (unsigned i = 0; i < 3000; i++) {
		char id[16];

		snprintf(id, sizeof(id), "n%04u", i);
		view_add(r.view, node(id, .labels = i % 2 ? "rack=a" : "rack=b"));
	}
	for (unsigned i = 1; i <= 10000; i++) {
		char id[16];

		snprintf(id, sizeof(id), "t%05u", i);
		view_add(r.view, pending(id, i));
	}
	schedule(&r);
	for (unsigned i = 0; i < 3000; i++) {
		char id[16];
		size_t n;

		snprintf(id, sizeof(id), "n%04u", i);
		n = on_node(&r, id);
		most = MAX(most, n);
		least = MIN(least, n);
	}
	assert_int_equal(most, 4);
	assert_int_equal(least, 3);
	rounds_fini(&r);
}

/* What metrics call the reason of a task that waits: from the words that tasks carry. */
static void summaries_name_their_filter(void **state)
{
	static const struct {
		const char *name;
		const char *text;
	} cases[] = {
		{"ready", "no suitable node (4 nodes not available for new tasks (4 down); insufficient memory on 1 node (asked 1GiB, free 1MiB))"},
		{"memory", "no suitable node (insufficient memory on 2 nodes (asked 4GiB, free 1GiB); 1 node not available for new tasks (1 down))"},
		{"cpu", "no suitable node (insufficient CPU on 1 node (asked 2.5, free 2))"},
		{"pids", "no suitable node (insufficient pids on 1 node (asked 100, free 99))"},
		{"network-driver", "no suitable node (network driver overlay not supported by the kernel on 2 nodes)"},
		{"network-driver", "no suitable node (encrypted networks not supported by the kernel on 1 node)"},
		{"constraint", "no suitable node (scheduling constraints not satisfied on 2 nodes)"},
		{"host-port", "no suitable node (host-mode port already in use on 2 nodes)"},
		{"max-replicas", "no suitable node (max replicas per node limit exceed on 2 nodes (limit 1))"},
		{NULL, "no suitable node"},
		{NULL, ""},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *name = filter_of_summary(cases[i].text);

		if (!str_eq(name, cases[i].name))
			fail_msg("\"%s\": %s, not %s", cases[i].text, name, cases[i].name);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(summaries_name_their_filter),
		cmocka_unit_test(reasons_in_the_status),
		cmocka_unit_test(max_replicas_per_node),
		cmocka_unit_test(resources_of_a_stopping_task_are_held),
		cmocka_unit_test(placed_tasks_take_room),
		cmocka_unit_test(what_networks_need),
		cmocka_unit_test(host_mode_ports),
		cmocka_unit_test(a_host_port_once_per_node),
		cmocka_unit_test(fewer_tasks_of_the_service_first),
		cmocka_unit_test(then_fewer_tasks),
		cmocka_unit_test(then_the_image_then_the_id),
		cmocka_unit_test(stopping_tasks_do_not_count),
		cmocka_unit_test(a_node_that_fails_is_the_last_choice),
		cmocka_unit_test(spread_over_racks),
		cmocka_unit_test(spread_on_two_levels),
		cmocka_unit_test(spread_goes_on_where_there_is_room),
		cmocka_unit_test(equal_branches_by_load),
		cmocka_unit_test(bound_tasks),
		cmocka_unit_test(bound_tasks_go_first),
		cmocka_unit_test(who_waits_longest_goes_first),
		cmocka_unit_test(the_reason_is_written_once),
		cmocka_unit_test(explain_names_each_node),
		cmocka_unit_test(explain_tells_of_networks_and_ports),
		cmocka_unit_test(many_nodes_and_tasks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
