#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "support/rounds.h"

#include "manager/allocator/allocator.h"

static void run(struct rounds *r)
{
	rounds_commit(r, rounds_plan(r, allocator_plan), SIZE_MAX, NULL, NULL);
}

static void networks(void **state)
{
	static const struct {
		const char *network;
		int state;
		const char *err;
	} cases[] = {
		{"host", TASK_PENDING, ""},
		{"none", TASK_PENDING, ""},
		{"", TASK_PENDING, ""},
		{"front", TASK_NEW, "network \"front\" is not there (known: bridge, host, none)"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct rounds r;
		const pb_task *t;

		rounds_init(&r, view_of(service("web", .network = cases[i].network),
					task("t1", .slot = 1, .state = TASK_NEW)));
		run(&r);
		t = view_task(r.view, "t1");
		assert_int_equal(task_state(t), cases[i].state);
		assert_string_equal(t->status->err, cases[i].err);
		assert_int_equal(t->status->at, NOW);
		if (cases[i].state == TASK_PENDING)
			assert_string_equal(t->status->message, "pending task scheduling");
		/* The same is not written again. */
		run(&r);
		assert_ptr_equal(view_task(r.view, "t1"), t);
		rounds_fini(&r);
	}
}

static void other_tasks_are_left_alone(void **state)
{
	struct rounds r;

	rounds_init(&r, view_of(service("web"),
				task("t1", .slot = 1, .state = TASK_NEW, .desired = TASK_SHUTDOWN),
				task("t2", .slot = 2, .state = TASK_ASSIGNED, .node = "n1")));
	run(&r);
	assert_int_equal(task_state(view_task(r.view, "t1")), TASK_NEW);
	assert_int_equal(task_state(view_task(r.view, "t2")), TASK_ASSIGNED);
	rounds_fini(&r);
}

/* "front=10.0.3.2/24,fd00::1/64,02:42:0a:00:03:02(a b) ..." */
static char *networks_of(struct rounds *r, const char *id)
{
	const pb_task *t = view_task(r->view, id);
	struct strbuf out = {0};

	for (size_t i = 0; i < t->n_networks; i++) {
		const pb_attachment *at = t->networks[i];

		strbuf_printf(&out, "%s%s=%s,%s,%s(", i ? " " : "", at->network_id, at->ipv4, at->ipv6, at->mac);
		for (size_t k = 0; k < at->n_aliases; k++)
			strbuf_printf(&out, "%s%s", k ? " " : "", at->aliases[k]);
		strbuf_putc(&out, ')');
	}
	return strbuf_take(&out);
}

static void scope_and_run(struct plan *p)
{
	plan_scope(p);
	allocator_plan(p);
}

static size_t run_scope(struct rounds *r)
{
	return rounds_commit(r, rounds_plan(r, scope_and_run), SIZE_MAX, NULL, NULL);
}

static void what_tasks_get(void **state)
{
	struct {
		struct built service;
		const char *networks, *err;
	} cases[] = {
		{service("web", .networks = "front,db,cache"), "front=10.0.3.3/24,fd00::2/64,02:42:0a:00:03:03(db cache)", ""},
		{service("web", .networks = "front;back;lan"),
		 "front=10.0.3.3/24,fd00::2/64,02:42:0a:00:03:03() back=10.0.4.3/24,,02:42:0a:00:04:03() "
		 "lan=192.168.1.2/24,,02:42:c0:a8:01:02()", ""},
		{service("web", .networks = "front", .dnsrr = true), "front=10.0.3.2/24,fd00::1/64,02:42:0a:00:03:02()", ""},
		{service("web", .networks = "six", .dnsrr = true), "six=,fd00:6::1/64,02:43:00:00:00:01()", ""},
		{service("web", .networks = "front", .ipv4 = "10.0.3.99", .ipv6 = "fd00::99"),
		 "front=10.0.3.99/24,fd00::99/64,02:42:0a:00:03:63()", ""},
		{service("web", .networks = "bridge"), "", ""},
		{service("web", .networks = "full"), "", "network full: no free address in 10.0.5.0/31 (1 in use)"},
		/* All or nothing, and nothing is lost by it. */
		{service("web", .networks = "back;full", .dnsrr = true), "", "network full: no free address in 10.0.5.0/31 (1 in use)"},
		{service("web", .networks = "front", .ipv4 = "10.0.3.1"), "", "network front: address 10.0.3.1 is in use by the gateway"},
		{service("web", .networks = "back", .ipv6 = "fd00::1"), "", "network back has no IPv6 addresses"},
		{service("web", .networks = "gone"), "", "network gone (gone) is not there"},
		{service("web", .networks = "broken"), "", "network broken: no free subnet"},
		{service("web", .networks = "young"), "", "network young has no subnet yet"},
		{service("web", .networks = "ingress"), "", "network ingress is not for tasks"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_free_ char *got = NULL;
		struct built ingress = network("ingress", .given = "10.255.0.0/16");
		struct rounds r;

		((pb_network *)ingress.obj)->predefined = true;
		rounds_init(&r, view_of(network("front", .given = "10.0.3.0/24", .gateway = "10.0.3.1", .given6 = "fd00::/64"),
					network("back", .given = "10.0.4.0/24", .gateway = "10.0.4.1"),
					network("lan", .driver = "macvlan", .given = "192.168.1.0/24", .gateway = "192.168.1.1"),
					network("six", .given6 = "fd00:6::/64"),
					network("full", .given = "10.0.5.0/31", .gateway = "10.0.5.0"),
					network("broken", .err = "no free subnet"), network("young"), ingress,
					service("other", .networks = "full", .given_vips = "full=10.0.5.1"), cases[i].service,
					task("t1", .slot = 1, .state = TASK_NEW)));
		run_scope(&r);
		got = networks_of(&r, "t1");
		assert_string_equal(got, cases[i].networks);
		assert_string_equal(view_task(r.view, "t1")->status->err, cases[i].err);
		assert_int_equal(task_state(view_task(r.view, "t1")), *cases[i].err ? TASK_NEW : TASK_PENDING);
		rounds_fini(&r);
	}
}

/* Tasks wait in the order of their birth, and go on as soon as one ends - not when it is only told to. */
static void room_comes_up(void **state)
{
	struct rounds r;

	rounds_init(&r, view_of(network("front", .given = "10.0.3.0/30", .gateway = "10.0.3.1"),
				service("web", .networks = "front", .dnsrr = true),
				task("old", .slot = 1, .node = "n1", .addresses = "front=10.0.3.2/30"),
				task("t1", .slot = 2, .state = TASK_NEW, .created_at = NOW - SEC),
				task("t2", .slot = 3, .state = TASK_NEW, .created_at = NOW - 2 * SEC)));
	run_scope(&r);
	assert_string_equal(view_task(r.view, "t1")->status->err, "network front: no free address in 10.0.3.0/30 (1 in use)");
	assert_string_equal(view_task(r.view, "t1")->status->message, "waiting for network");
	run_scope(&r);
	assert_int_equal(run_scope(&r), 0);
	pb_task *stopping = pb_dup(view_task(r.view, "old"));

	stopping->desired = (Skein__TaskState)TASK_SHUTDOWN;
	rounds_put(&r, KIND_TASK, "old", stopping);
	assert_int_equal(run_scope(&r), 0);
	assert_false(idset_has(&r.dirty.networks, "front"));
	rounds_report(&r, "old", TASK_SHUTDOWN);
	assert_true(idset_has(&r.dirty.networks, "front"));
	/* Another service's change would have done: the network alone counts. */
	idset_clear(&r.dirty.services);
	run_scope(&r);
	assert_int_equal(task_state(view_task(r.view, "t2")), TASK_PENDING);
	assert_string_equal(view_task(r.view, "t2")->networks[0]->ipv4, "10.0.3.2/30");
	assert_string_equal(view_task(r.view, "t2")->status->err, "");
	assert_int_equal(task_state(view_task(r.view, "t1")), TASK_NEW);
	rounds_fini(&r);
}

/* A fixed address goes from a task to its successor. */
static void a_fixed_address_is_handed_on(void **state)
{
	struct rounds r;

	rounds_init(&r, view_of(network("front", .given = "10.0.3.0/24", .gateway = "10.0.3.1"),
				service("web", .networks = "front", .dnsrr = true, .ipv4 = "10.0.3.9"),
				service("other", .networks = "front", .dnsrr = true),
				task("old", .slot = 1, .node = "n1", .desired = TASK_SHUTDOWN, .addresses = "front=10.0.3.9/24"),
				task("new", .slot = 1, .state = TASK_NEW)));
	run_scope(&r);
	assert_string_equal(view_task(r.view, "new")->status->err,
			    "network front: address 10.0.3.9 is in use by task web.1 (old)");
	rounds_report(&r, "old", TASK_FAILED);
	run_scope(&r);
	assert_string_equal(view_task(r.view, "new")->networks[0]->ipv4, "10.0.3.9/24");
	rounds_fini(&r);
}

static void two_networks_one_full(void **state)
{
	struct rounds r;

	/* What is given back in a round is there for the next task of the same round. */
	rounds_init(&r, view_of(network("a", .given = "10.0.3.0/30", .gateway = "10.0.3.1"),
				network("b", .given = "10.0.4.0/31", .gateway = "10.0.4.0", .aux = "x=10.0.4.1"),
				service("web", .networks = "a;b", .dnsrr = true), service("db", .networks = "a", .dnsrr = true),
				task("t1", .slot = 1, .state = TASK_NEW, .created_at = NOW - SEC),
				task("t2", .service = "db", .slot = 1, .state = TASK_NEW)));
	run_scope(&r);
	assert_int_equal(task_state(view_task(r.view, "t1")), TASK_NEW);
	assert_string_equal(view_task(r.view, "t2")->networks[0]->ipv4, "10.0.3.2/30");
	rounds_fini(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(networks),
		cmocka_unit_test(other_tasks_are_left_alone),
		cmocka_unit_test(what_tasks_get),
		cmocka_unit_test(room_comes_up),
		cmocka_unit_test(a_fixed_address_is_handed_on),
		cmocka_unit_test(two_networks_one_full),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
