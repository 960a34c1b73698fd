#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "manager/leader.h"
#include "manager/store/etcd.h"
#include "manager/store/store.h"
#include "support/etcd_fixture.h"

#include <inttypes.h>

/* Longer than any test waits: what needs the lease to expire fails. */
#define LONG_TTL_S 300

static uv_loop_t loop;
static struct etcd_fixture server;

struct manager {
	struct etcd *etcd;
	struct leader *leader;
	unsigned elections, depositions;
	uint64_t revision;
	char present[32];
};

static void on_elected(void *data, uint64_t create_revision)
{
	struct manager *m = data;

	m->elections++;
	m->revision = create_revision;
	assert_true(leader_is_self(m->leader));
	assert_int_equal(leader_create_revision(m->leader), create_revision);
}

static void on_deposed(void *data, const char *why)
{
	struct manager *m = data;

	m->depositions++;
	m->revision = 0;
}

static void on_leader(void *data, const char *node_id, uint64_t create_revision)
{
	struct manager *m = data;

	snprintf(m->present, sizeof(m->present), "%s", node_id);
}

static void start(struct manager *m, const char *key, const char *id, int64_t ttl_s)
{
	struct etcd_options options = {.endpoints = (const char *const[]){server.endpoint, NULL},
				       .timeout_ms = 1000};
	struct leader_options l = {.loop = &loop, .key = key, .node_id = id, .ttl_s = ttl_s,
				   .on_elected = on_elected, .on_deposed = on_deposed,
				   .on_leader = on_leader, .data = m};
	struct error err;

	memset(m, 0, sizeof(*m));
	m->etcd = etcd_new(&loop, &options, &err);
	assert_non_null(m->etcd);
	l.etcd = m->etcd;
	m->leader = leader_start(&l);
	assert_int_equal(m->elections, 0);
}

static void on_flag(void *data)
{
	*(bool *)data = true;
}

/* As if the process was killed: key and lease stay. */
static void kill_manager(struct manager *m)
{
	bool closed = false, etcd_closed = false;

	leader_close(m->leader, on_flag, &closed);
	assert_true(loop_until_set(&loop, &closed));
	etcd_close(m->etcd, on_flag, &etcd_closed);
	assert_true(loop_until_set(&loop, &etcd_closed));
}

static bool leads(void *data)
{
	return leader_is_self(((struct manager *)data)->leader);
}

static bool deposed(void *data)
{
	return ((struct manager *)data)->depositions > 0;
}

static bool elected_again(void *data)
{
	return ((struct manager *)data)->elections > 1;
}

static bool sees_somebody(void *data)
{
	return ((struct manager *)data)->present[0];
}

static void first_one_leads_and_all_know_it(void **state)
{
	struct manager a, b;

	start(&a, "/first", "a", LONG_TTL_S);
	assert_true(loop_until(&loop, leads, &a));
	start(&b, "/first", "b", LONG_TTL_S);
	assert_true(loop_until(&loop, sees_somebody, &b));
	assert_string_equal(a.present, "a");
	assert_string_equal(b.present, "a");
	assert_string_equal(leader_present(b.leader), "a");
	assert_false(leader_is_self(b.leader));
	kill_manager(&a);
	kill_manager(&b);
}

static void dead_leader_is_replaced_when_its_lease_expires(void **state)
{
	struct manager a, b;

	start(&a, "/expire", "a", 2);
	assert_true(loop_until(&loop, leads, &a));
	start(&b, "/expire", "b", 2);
	assert_true(loop_until(&loop, sees_somebody, &b));
	kill_manager(&a);
	assert_true(loop_until(&loop, leads, &b));
	assert_string_equal(b.present, "b");
	kill_manager(&b);
}

static void resigning_hands_over_at_once(void **state)
{
	struct manager a, b;
	bool done = false;

	start(&a, "/resign", "a", LONG_TTL_S);
	assert_true(loop_until(&loop, leads, &a));
	start(&b, "/resign", "b", LONG_TTL_S);
	assert_true(loop_until(&loop, sees_somebody, &b));
	leader_resign(a.leader, on_flag, &done);
	assert_false(leader_is_self(a.leader));
	assert_int_equal(a.depositions, 1);
	assert_true(loop_until(&loop, leads, &b));
	assert_true(loop_until_set(&loop, &done));
	assert_int_equal(a.elections, 1);
	kill_manager(&a);
	kill_manager(&b);
}

static void resigning_ends_though_etcd_is_away(void **state)
{
	struct manager a;
	bool done = false;

	start(&a, "/stuck", "a", LONG_TTL_S);
	assert_true(loop_until(&loop, leads, &a));
	kill(server.pid, SIGSTOP);
	leader_resign(a.leader, on_flag, &done);
	assert_true(loop_until_set(&loop, &done));
	kill(server.pid, SIGCONT);
	kill_manager(&a);
}

static void challenged_leader_is_replaced_at_once(void **state)
{
	struct manager a, b;

	start(&a, "/challenge", "a", LONG_TTL_S);
	assert_true(loop_until(&loop, leads, &a));
	start(&b, "/challenge", "b", LONG_TTL_S);
	assert_true(loop_until(&loop, sees_somebody, &b));
	kill_manager(&a);
	leader_challenge(b.leader, "c"); /* not the leader: nothing happens */
	leader_challenge(b.leader, "a");
	assert_true(loop_until(&loop, leads, &b));
	kill_manager(&b);
}

static void challenge_is_repeated_until_etcd_answers(void **state)
{
	struct manager a, b;

	start(&a, "/repeat", "a", LONG_TTL_S);
	assert_true(loop_until(&loop, leads, &a));
	start(&b, "/repeat", "b", LONG_TTL_S);
	assert_true(loop_until(&loop, sees_somebody, &b));
	kill_manager(&a);
	etcd_fixture_kill(&server);
	leader_challenge(b.leader, "a");
	etcd_fixture_run(&server);
	assert_true(loop_until(&loop, leads, &b));
	kill_manager(&b);
}

static bool one_leads(void *data)
{
	struct manager **both = data;

	return leads(both[0]) || leads(both[1]);
}

static void living_leader_notices_a_challenge(void **state)
{
	struct manager a, b, *both[] = {&a, &b};

	start(&a, "/alive", "a", LONG_TTL_S);
	assert_true(loop_until(&loop, leads, &a));
	start(&b, "/alive", "b", LONG_TTL_S);
	assert_true(loop_until(&loop, sees_somebody, &b));
	leader_challenge(b.leader, "a");
	assert_true(loop_until(&loop, deposed, &a));
	assert_true(loop_until(&loop, one_leads, both));
	assert_false(leads(&a) && leads(&b));
	kill_manager(&a);
	kill_manager(&b);
}

static void own_key_of_an_earlier_process_is_swept(void **state)
{
	struct manager a;

	start(&a, "/sweep", "a", LONG_TTL_S);
	assert_true(loop_until(&loop, leads, &a));
	kill_manager(&a);
	start(&a, "/sweep", "a", LONG_TTL_S);
	assert_true(loop_until(&loop, leads, &a));
	kill_manager(&a);
}

static void frozen_etcd_deposes_within_the_lease(void **state)
{
	struct manager a;

	start(&a, "/frozen", "a", 2);
	assert_true(loop_until(&loop, leads, &a));
	kill(server.pid, SIGSTOP);
	assert_true(loop_until(&loop, deposed, &a));
	assert_false(leader_is_self(a.leader));
	kill(server.pid, SIGCONT);
	assert_true(loop_until(&loop, elected_again, &a));
	kill_manager(&a);
}

static void restarted_etcd_has_a_leader_again(void **state)
{
	struct manager a;

	start(&a, "/restart", "a", 2);
	assert_true(loop_until(&loop, leads, &a));
	etcd_fixture_kill(&server);
	assert_true(loop_until(&loop, deposed, &a));
	etcd_fixture_run(&server);
	assert_true(loop_until(&loop, elected_again, &a));
	kill_manager(&a);
}

/* ---- with the store: a leader that does not know yet cannot write */

struct result {
	bool done;
	struct error err;
};

static void on_commit(void *data, const struct error *err)
{
	struct result *r = data;

	r->done = true;
	r->err = err ? *err : ERROR_INIT;
}

static void on_started(void *data, const struct error *err)
{
	assert_null(err);
	*(bool *)data = true;
}

static struct result commit_task(struct store *s, const char *id)
{
	struct txn *t = txn_begin(store_view(s));
	pb_task *task = pb_new(&skein__task__descriptor);
	struct result r = {0};

	pb_set_str(&task->id, id);
	txn_put(t, KIND_TASK, task);
	store_commit(s, t, STORE_FENCED, on_commit, &r);
	assert_true(loop_until_set(&loop, &r.done));
	return r;
}

static void deposed_leader_cannot_write(void **state)
{
	struct manager a, b;
	struct store *store;
	bool started = false, closed = false;

	start(&a, "/fenced/leader", "a", LONG_TTL_S);
	assert_true(loop_until(&loop, leads, &a));
	store = store_new(&loop, a.etcd, "/fenced");
	store_start(store, on_started, &started);
	assert_true(loop_until_set(&loop, &started));
	store_set_fence(store, "/fenced/leader", a.revision);
	assert_int_equal(commit_task(store, "t1").err.code, ERR_OK);
	start(&b, "/fenced/leader", "b", LONG_TTL_S);
	assert_true(loop_until(&loop, sees_somebody, &b));
	leader_challenge(b.leader, "a");
	assert_true(loop_until(&loop, deposed, &a));
	/* The store was not told: etcd itself refuses. */
	assert_int_equal(commit_task(store, "t2").err.code, ERR_CONFLICT);
	assert_null(view_task(store_view(store), "t2"));
	store_close(store, on_flag, &closed);
	assert_true(loop_until_set(&loop, &closed));
	kill_manager(&a);
	kill_manager(&b);
}

static int setup(void **state)
{
	uv_loop_init(&loop);
	etcd_fixture_start(&server);
	return 0;
}

static int teardown(void **state)
{
	etcd_fixture_stop(&server);
	uv_run(&loop, UV_RUN_DEFAULT);
	return uv_loop_close(&loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(first_one_leads_and_all_know_it),
		cmocka_unit_test(dead_leader_is_replaced_when_its_lease_expires),
		cmocka_unit_test(resigning_hands_over_at_once),
		cmocka_unit_test(resigning_ends_though_etcd_is_away),
		cmocka_unit_test(challenged_leader_is_replaced_at_once),
		cmocka_unit_test(challenge_is_repeated_until_etcd_answers),
		cmocka_unit_test(living_leader_notices_a_challenge),
		cmocka_unit_test(own_key_of_an_earlier_process_is_swept),
		cmocka_unit_test(frozen_etcd_deposes_within_the_lease),
		cmocka_unit_test(restarted_etcd_has_a_leader_again),
		cmocka_unit_test(deposed_leader_cannot_write),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
