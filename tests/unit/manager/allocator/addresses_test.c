#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "support/rounds.h"

#include "manager/allocator/addresses.h"
#include "manager/allocator/rests.h"

#include "common/error.h"

#include <sys/socket.h>

/* A round that only takes addresses. */
struct round {
	struct rounds r;
	struct plan p;
	struct addresses *a;
};

static void begin(struct round *t)
{
	t->p = (struct plan){.view = t->r.view, .now = t->r.now, .dirty = &t->r.dirty, .wakes = &t->r.wakes,
			     .rests = t->r.rests};
	t->p.txn = txn_begin(t->r.view);
	t->a = addresses_new(&t->p);
}

static void next_round(struct round *t)
{
	addresses_free(t->a);
	txn_free(t->p.txn);
	begin(t);
}

#define START(t, ...)                                                                              \
	do {                                                                                       \
		rounds_init(&(t)->r, view_of(__VA_ARGS__));                                        \
		begin(t);                                                                          \
	} while (0)

static void end(struct round *t)
{
	addresses_free(t->a);
	txn_free(t->p.txn);
	rounds_fini(&t->r);
}

static const char *take(struct round *t, int family, const char *want)
{
	static char text[IPADDR_TEXT_MAX];
	static struct error err;
	struct ipaddr a;

	err = ERROR_INIT;
	if (addresses_take(t->a, view_network(t->r.view, "front"), family, want, "me", &a, &err) < 0)
		return err.msg;
	return ipaddr_format(&a, text);
}

#define ASSERT_TAKES(t, family, want, result) assert_string_equal(take(t, family, want), result)

static void add_task(struct round *t, const char *id, const char *addresses, int state, int desired, int64_t created_at)
{
	rounds_put(&t->r, KIND_TASK, id,
		   task(id, .slot = 7, .node = state >= TASK_ASSIGNED ? "n1" : NULL, .state = state, .desired = desired,
			.created_at = created_at, .addresses = addresses)
			   .obj);
}

static void the_first_ones(void **state)
{
	struct round t;

	START(&t, network("front", .given = "10.0.3.0/24", .gateway = "10.0.3.1", .aux = "router=10.0.3.3"));
	ASSERT_TAKES(&t, AF_INET, NULL, "10.0.3.2/24");
	ASSERT_TAKES(&t, AF_INET, NULL, "10.0.3.4/24");
	ASSERT_TAKES(&t, AF_INET6, NULL, "network front has no IPv6 addresses");
	end(&t);
}

static void the_whole_subnet(void **state)
{
	static const struct {
		const char *subnet, *gateway, *range, *aux;
		unsigned n;
		const char *err;
	} cases[] = {
		{"10.0.3.0/24", "10.0.3.1", NULL, NULL, 253, "network front: no free address in 10.0.3.0/24 (253 in use)"},
		{"10.0.3.0/29", "10.0.3.1", NULL, NULL, 5, "network front: no free address in 10.0.3.0/29 (5 in use)"},
		{"10.0.3.0/29", "10.0.3.6", NULL, "a=10.0.3.2;b=10.0.3.3", 3,
		 "network front: no free address in 10.0.3.0/29 (5 in use)"},
		{"10.0.3.0/30", "10.0.3.1", NULL, NULL, 1, "network front: no free address in 10.0.3.0/30 (1 in use)"},
		{"10.0.3.0/31", "10.0.3.0", NULL, NULL, 1, "network front: no free address in 10.0.3.0/31 (1 in use)"},
		/* Only the range is given away; its own first and last address are like any other. */
		{"10.0.3.0/24", "10.0.3.1", "10.0.3.128/28", NULL, 16,
		 "network front: no free address in 10.0.3.128/28 (16 in use)"},
		{"10.0.3.0/24", "10.0.3.255", "10.0.3.240/28", NULL, 15,
		 "network front: no free address in 10.0.3.240/28 (15 in use)"},
		{"10.0.3.0/25", "10.0.3.1", "10.0.3.0/26", "a=10.0.3.100", 62,
		 "network front: no free address in 10.0.3.0/26 (62 in use)"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct round t;
		bool seen[256] = {0};
		struct ipaddr subnet;

		START(&t, network("front", .given = cases[i].subnet, .gateway = cases[i].gateway, .range = cases[i].range,
				  .aux = cases[i].aux));
		ipaddr_parse_subnet(cases[i].subnet, &subnet, NULL);
		for (unsigned k = 0; k < cases[i].n; k++) {
			struct ipaddr a;
			const char *text = take(&t, AF_INET, NULL);

			assert_int_equal(ipaddr_parse(text, &a, NULL), 0);
			assert_true(ipaddr_contains(&subnet, &a));
			assert_false(seen[a.bytes[3]]);
			seen[a.bytes[3]] = true;
		}
		ASSERT_TAKES(&t, AF_INET, NULL, cases[i].err);
		end(&t);
	}
}

static void what_others_hold(void **state)
{
	struct round t;

	START(&t, network("front", .given = "10.0.3.0/28", .gateway = "10.0.3.1"), network("back", .given = "10.0.4.0/28"),
	      service("web", .networks = "front", .given_vips = "front=10.0.3.2;back=10.0.3.3"),
	      service("db", .networks = "front", .ipv4 = "10.0.3.6"));
	add_task(&t, "running", "front=10.0.3.4/28", TASK_RUNNING, TASK_RUNNING, NOW);
	add_task(&t, "stopping", "front=10.0.3.5/28", TASK_RUNNING, TASK_SHUTDOWN, NOW);
	add_task(&t, "waiting", "front=10.0.3.7/28", TASK_PENDING, TASK_RUNNING, NOW);
	add_task(&t, "given-up", "front=10.0.3.8/28", TASK_PENDING, TASK_SHUTDOWN, NOW);
	add_task(&t, "ended", "front=10.0.3.9/28", TASK_FAILED, TASK_SHUTDOWN, NOW);
	add_task(&t, "elsewhere", "back=10.0.3.10/28", TASK_RUNNING, TASK_RUNNING, NOW);
	/* Behind the newest: 7 is held. */
	ASSERT_TAKES(&t, AF_INET, NULL, "10.0.3.8/28");
	ASSERT_TAKES(&t, AF_INET, NULL, "10.0.3.9/28");
	ASSERT_TAKES(&t, AF_INET, NULL, "10.0.3.10/28");
	ASSERT_TAKES(&t, AF_INET, NULL, "10.0.3.11/28");
	ASSERT_TAKES(&t, AF_INET, NULL, "10.0.3.12/28");
	ASSERT_TAKES(&t, AF_INET, NULL, "10.0.3.13/28");
	ASSERT_TAKES(&t, AF_INET, NULL, "10.0.3.14/28");
	ASSERT_TAKES(&t, AF_INET, NULL, "10.0.3.3/28"); /* the VIP is in another network */
	ASSERT_TAKES(&t, AF_INET, NULL, "network front: no free address in 10.0.3.0/28 (13 in use)");
	end(&t);
}

static void wanted_ones(void **state)
{
	struct round t;

	START(&t,
	      network("front", .given = "10.0.3.0/24", .gateway = "10.0.3.1", .range = "10.0.3.0/28", .aux = "nas=10.0.3.9",
		      .given6 = "fd00::/64"),
	      service("web", .networks = "front", .given_vips = "front=10.0.3.2;front=fd00::2"),
	      service("db", .networks = "front", .ipv4 = "10.0.3.6"));
	add_task(&t, "t1", "front=10.0.3.4/24;front=fd00::4/64", TASK_RUNNING, TASK_SHUTDOWN, NOW);
	add_task(&t, "t2", "front=10.0.3.5/24", TASK_COMPLETE, TASK_SHUTDOWN, NOW);
	add_task(&t, "me", "front=10.0.3.8/24", TASK_NEW, TASK_RUNNING, NOW);
	ASSERT_TAKES(&t, AF_INET, "10.0.3.4", "network front: address 10.0.3.4 is in use by task web.7 (t1)");
	ASSERT_TAKES(&t, AF_INET6, "fd00:0::4", "network front: address fd00:0::4 is in use by task web.7 (t1)");
	ASSERT_TAKES(&t, AF_INET, "10.0.3.2", "network front: address 10.0.3.2 is in use by service web");
	ASSERT_TAKES(&t, AF_INET, "10.0.3.1", "network front: address 10.0.3.1 is in use by the gateway");
	ASSERT_TAKES(&t, AF_INET, "10.0.3.9", "network front: address 10.0.3.9 is in use by auxiliary address nas");
	ASSERT_TAKES(&t, AF_INET, "10.0.4.9", "network front: address 10.0.4.9 is not in 10.0.3.0/24");
	ASSERT_TAKES(&t, AF_INET, "fd00::9", "network front: address fd00::9 is not in 10.0.3.0/24");
	ASSERT_TAKES(&t, AF_INET, "10.0.3.5", "10.0.3.5/24"); /* just given back: it is asked for by name */
	ASSERT_TAKES(&t, AF_INET, "10.0.3.6", "10.0.3.6/24"); /* kept for who asks for it */
	ASSERT_TAKES(&t, AF_INET, "10.0.3.200", "10.0.3.200/24"); /* outside of the range */
	ASSERT_TAKES(&t, AF_INET6, "fd00::dead:beef", "fd00::dead:beef/64");
	end(&t);
	/* Nobody else gets a kept one. */
	START(&t, network("front", .given = "10.0.3.0/29", .gateway = "10.0.3.1"),
	      service("db", .networks = "front", .ipv4 = "10.0.3.3"));
	ASSERT_TAKES(&t, AF_INET, NULL, "10.0.3.2/29");
	ASSERT_TAKES(&t, AF_INET, NULL, "10.0.3.4/29");
	end(&t);
}

static void the_search_goes_on(void **state)
{
	struct round t;

	START(&t, network("front", .given = "10.0.3.0/28", .gateway = "10.0.3.1", .given6 = "fd00::/64"));
	ASSERT_TAKES(&t, AF_INET, NULL, "10.0.3.2/28");
	ASSERT_TAKES(&t, AF_INET6, NULL, "fd00::1/64");
	/* Not committed, yet not given again: in the next round, too. */
	next_round(&t);
	ASSERT_TAKES(&t, AF_INET, NULL, "10.0.3.3/28");
	ASSERT_TAKES(&t, AF_INET6, NULL, "fd00::2/64");
	/* A new leader goes on behind whoever was born last. */
	add_task(&t, "t1", "front=10.0.3.9/28", TASK_RUNNING, TASK_RUNNING, NOW - SEC);
	add_task(&t, "t2", "front=10.0.3.12/28", TASK_RUNNING, TASK_RUNNING, NOW - 2 * SEC);
	rounds_new_leader(&t.r);
	next_round(&t);
	ASSERT_TAKES(&t, AF_INET, NULL, "10.0.3.10/28");
	ASSERT_TAKES(&t, AF_INET, NULL, "10.0.3.11/28");
	ASSERT_TAKES(&t, AF_INET, NULL, "10.0.3.13/28");
	ASSERT_TAKES(&t, AF_INET, NULL, "10.0.3.14/28");
	ASSERT_TAKES(&t, AF_INET, NULL, "10.0.3.2/28");
	end(&t);
}

static void what_is_given_back_rests(void **state)
{
	struct round t;

	START(&t, network("front", .given = "10.0.3.0/29", .gateway = "10.0.3.1"));
	for (unsigned i = 2; i <= 6; i++) {
		char id[8], addresses[40];

		snprintf(id, sizeof(id), "t%u", i);
		snprintf(addresses, sizeof(addresses), "front=10.0.3.%u/29", i);
		add_task(&t, id, addresses, TASK_RUNNING, TASK_SHUTDOWN, NOW);
	}
	/* One ends and is kept, three are gone: only the leader's memory knows of them. */
	rounds_report(&t.r, "t4", TASK_SHUTDOWN);
	t.r.now += SEC;
	rounds_put(&t.r, KIND_TASK, "t3", NULL);
	rounds_put(&t.r, KIND_TASK, "t5", NULL);
	t.r.now += 58 * SEC;
	rounds_put(&t.r, KIND_TASK, "t2", NULL);
	assert_true(idset_has(&t.r.dirty.networks, "front"));
	next_round(&t);
	/* None is left but those that rest: who has rested longest first. */
	ASSERT_TAKES(&t, AF_INET, NULL, "10.0.3.4/29");
	/* Two seconds later 3, 4 and 5 have rested (the search goes on behind 4); the one that has not comes last. */
	t.r.now += 2 * SEC;
	next_round(&t);
	ASSERT_TAKES(&t, AF_INET, NULL, "10.0.3.5/29");
	ASSERT_TAKES(&t, AF_INET, NULL, "10.0.3.3/29");
	ASSERT_TAKES(&t, AF_INET, NULL, "10.0.3.4/29");
	ASSERT_TAKES(&t, AF_INET, NULL, "10.0.3.2/29");
	ASSERT_TAKES(&t, AF_INET, NULL, "network front: no free address in 10.0.3.0/29 (5 in use)");
	end(&t);
}

/* Of a plan perhaps only the beginning is committed. */
static void what_is_given_up_in_this_round(void **state)
{
	struct round t;
	pb_task *task;

	START(&t, network("front", .given = "10.0.3.0/29", .gateway = "10.0.3.1"), service("web", .given_vips = "front=10.0.3.3"));
	add_task(&t, "t1", "front=10.0.3.2/29", TASK_RUNNING, TASK_RUNNING, NOW);
	next_round(&t);
	task = txn_edit(t.p.txn, KIND_TASK, "t1");
	task->status->state = (Skein__TaskState)TASK_REJECTED;
	txn_put(t.p.txn, KIND_TASK, task);
	txn_del(t.p.txn, KIND_SERVICE, "web");
	ASSERT_TAKES(&t, AF_INET, "10.0.3.2", "network front: address 10.0.3.2 is in use by task web.7 (t1)");
	ASSERT_TAKES(&t, AF_INET, "10.0.3.3", "network front: address 10.0.3.3 is in use by service web");
	for (unsigned i = 4; i <= 6; i++)
		assert_true(str_starts(take(&t, AF_INET, NULL), "10.0.3."));
	ASSERT_TAKES(&t, AF_INET, NULL, "network front: no free address in 10.0.3.0/29 (5 in use)");
	end(&t);
}

static void taken_back(void **state)
{
	struct round t;
	struct ipaddr a = {0};

	START(&t, network("front", .given = "10.0.3.0/30", .gateway = "10.0.3.1"));
	ipaddr_parse(take(&t, AF_INET, NULL), &a, NULL);
	ASSERT_TAKES(&t, AF_INET, NULL, "network front: no free address in 10.0.3.0/30 (1 in use)");
	addresses_give_back(t.a, view_network(t.r.view, "front"), &a);
	ASSERT_TAKES(&t, AF_INET, NULL, "10.0.3.2/30");
	end(&t);
}

/* A thousand addresses in a /16 that is nearly full. */
static void large_networks(void **state)
{
	static const char *const subnets[] = {"10.4.0.0/16", "10.0.0.0/8"};

	for (size_t s = 0; s < ARRAY_SIZE(subnets); s++) {
		struct round t;
		int64_t since, took;

		START(&t, network("front", .given = subnets[s], .gateway = "10.4.0.1", .given6 = "fd00::/64"));
		for (unsigned i = 2; i < 60000; i++) {
			char id[16], addresses[40];

			snprintf(id, sizeof(id), "t%u", i);
			snprintf(addresses, sizeof(addresses), "front=10.4.%u.%u/16", i / 256, i % 256);
			add_task(&t, id, addresses, TASK_RUNNING, TASK_RUNNING, NOW + i);
		}
		since = clock_mono_ns();
		next_round(&t);
		for (unsigned i = 0; i < 1000; i++)
			assert_true(str_starts(take(&t, AF_INET, NULL), "10.4."));
		took = clock_mono_ns() - since;
		print_message("1000 addresses beside 60000 in %s: %.1f ms\n", subnets[s], (double)took / 1e6);
		assert_true(took < 500 * NS_PER_MS); /* far below it, even under a sanitizer */
		end(&t);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_first_ones),    cmocka_unit_test(the_whole_subnet),
		cmocka_unit_test(what_others_hold),  cmocka_unit_test(wanted_ones),
		cmocka_unit_test(the_search_goes_on), cmocka_unit_test(what_is_given_back_rests),
		cmocka_unit_test(taken_back),	cmocka_unit_test(what_is_given_up_in_this_round),	     cmocka_unit_test(large_networks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
