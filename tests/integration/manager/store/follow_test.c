/* Following etcd: transactions whole, restarts, compaction, what is sent twice. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "support/store_world.h"

#include <inttypes.h>

struct watcher {
	struct store *store;
	struct store_sub *sub;
	size_t created, changed, deleted, calls;
	bool leave;
};

static void on_change(void *data, const struct store_event *events, size_t n)
{
	struct watcher *w = data;

	w->calls++;
	for (size_t i = 0; i < n; i++) {
		assert_true(events[i].now == view_get(store_view(w->store), events[i].kind, events[i].id));
		w->created += !events[i].old;
		w->deleted += !events[i].now;
		w->changed += events[i].old && events[i].now;
	}
	if (w->leave)
		store_unsubscribe(TAKE_PTR(w->sub));
}

static void subscribers_see_whole_transactions(void **state)
{
	struct node a, b;
	struct watcher w = {0}, once = {.leave = true};
	struct txn *t;

	node_open(&a, "/subs");
	node_open(&b, "/subs");
	w.store = once.store = b.store;
	w.sub = store_subscribe(b.store, on_change, &w);
	once.sub = store_subscribe(b.store, on_change, &once);
	t = txn_begin(store_view(a.store));
	stage_tasks(t, 50);
	commit(&a, t, 0);
	sync_nodes(&a, &b);
	assert_int_equal(w.calls, 1);
	assert_int_equal(w.created, 50);
	t = txn_begin(store_view(a.store));
	txn_put(t, KIND_TASK, ({ pb_task *x = txn_edit(t, KIND_TASK, "t0001"); x->slot = 99; x; }));
	txn_del(t, KIND_TASK, "t0002");
	commit(&a, t, 0);
	sync_nodes(&a, &b);
	assert_int_equal(w.calls, 2);
	assert_int_equal(w.changed, 1);
	assert_int_equal(w.deleted, 1);
	assert_int_equal(once.calls, 1);
	store_unsubscribe(w.sub);
	node_close(&a);
	node_close(&b);
}

static void restart_of_etcd_goes_unnoticed(void **state)
{
	struct node n;
	struct txn *t;
	struct result r;

	node_open(&n, "/restart");
	put(&n, KIND_TASK, task("t1", 1));
	etcd_fixture_kill(&server);
	/* Written while etcd is away: refused as such, or applied once it is back. */
	r = put(&n, KIND_TASK, task("t2", 2));
	assert_int_equal(r.err.code, ERR_UNAVAILABLE);
	etcd_fixture_run(&server);
	do {
		t = txn_begin(store_view(n.store));
		txn_put(t, KIND_TASK, task("t3", 3));
		r = commit(&n, t, 0);
	} while (r.err.code == ERR_UNAVAILABLE);
	assert_int_equal(r.err.code, ERR_OK);
	assert_non_null(task_of(&n, "t1"));
	assert_non_null(task_of(&n, "t3"));
	assert_int_equal(store_stats(n.store)->resyncs, 0);
	node_close(&n);
}

static int etcd_call(const char *path, const char *body)
{
	char command[512];

	snprintf(command, sizeof(command),
		 "curl -sS --noproxy '*' --unix-socket %s -d '%s' http://x%s >/dev/null", server.socket, body, path);
	return system(command);
}

static void compact(uint64_t revision)
{
	char body[64];

	snprintf(body, sizeof(body), "{\"revision\":\"%" PRIu64 "\"}", revision);
	assert_int_equal(etcd_call("/v3/kv/compaction", body), 0);
}

static bool resynced(void *data)
{
	struct node *n = data;

	return store_stats(n->store)->resyncs == 1 && store_connected(n->store);
}

static bool lost_watch(void *data)
{
	return !store_connected(((struct node *)data)->store);
}

/*
 * A store that sleeps through changes and their compaction: its process would have been stopped. Here its
 * loop does not run while curl changes etcd behind its back, and etcd restarts so that the watch is gone.
 */
static void compaction_leads_to_a_resync(void **state)
{
	struct node n;
	struct watcher w = {0};
	uint64_t revision;

	node_open(&n, "/compact");
	put(&n, KIND_TASK, task("keep", 1));
	put(&n, KIND_TASK, task("gone", 2));
	put(&n, KIND_TASK, task("other", 3));
	revision = store_revision(n.store);
	w.store = n.store;
	w.sub = store_subscribe(n.store, on_change, &w);
	etcd_fixture_kill(&server);
	assert_true(loop_until(&loop, lost_watch, &n));
	etcd_fixture_run(&server);
	while (!etcd_fixture_connects(&server))
		nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
	/* "/compact/task/gone" and a new task whose value is one with id "new" (0a 03 6e 65 77). */
	while (etcd_call("/v3/kv/deleterange", "{\"key\":\"L2NvbXBhY3QvdGFzay9nb25l\"}"))
		;
	assert_int_equal(etcd_call("/v3/kv/put", "{\"key\":\"L2NvbXBhY3QvdGFzay9uZXc=\",\"value\":\"CgNuZXc=\"}"), 0);
	compact(revision + 2);
	assert_true(loop_until(&loop, resynced, &n));
	assert_non_null(task_of(&n, "keep"));
	assert_non_null(task_of(&n, "new"));
	assert_null(task_of(&n, "gone"));
	assert_int_equal(w.created, 1);
	assert_int_equal(w.deleted, 1);
	assert_int_equal(w.changed, 0);
	assert_int_equal(put(&n, KIND_TASK, task("after", 4)).err.code, ERR_OK);
	node_close(&n);
}

static void bad_values_are_skipped(void **state)
{
	struct node n;

	/* /bad/task/x = 0xff, /bad/task/y = a task with id "z" */
	assert_int_equal(etcd_call("/v3/kv/put", "{\"key\":\"L2JhZC90YXNrL3g=\",\"value\":\"/w==\"}"), 0);
	assert_int_equal(etcd_call("/v3/kv/put", "{\"key\":\"L2JhZC90YXNrL3k=\",\"value\":\"CgF6\"}"), 0);
	node_open(&n, "/bad");
	assert_int_equal(view_count(store_view(n.store), KIND_TASK), 0);
	assert_int_equal(put(&n, KIND_TASK, task("good", 1)).err.code, ERR_OK);
	node_close(&n);
}

static void many_objects_are_loaded_in_pages(void **state)
{
	struct node a, b;
	struct txn *t;

	node_open(&a, "/pages");
	t = txn_begin(store_view(a.store));
	stage_tasks(t, 2500);
	assert_int_equal(commit(&a, t, STORE_CHUNKED).err.code, ERR_OK);
	node_open(&b, "/pages");
	assert_int_equal(view_count(store_view(b.store), KIND_TASK), 2500);
	assert_int_equal(task_of(&b, "t2499")->meta->revision, task_of(&a, "t2499")->meta->revision);
	node_close(&a);
	node_close(&b);
}

static void free_handle(uv_handle_t *handle)
{
	free(handle);
}

static void on_wake(uv_timer_t *timer)
{
	kill(server.pid, SIGCONT);
	uv_close((uv_handle_t *)timer, free_handle);
}

/* etcd takes what it is sent and answers only after the first sending was given up. */
static void freeze_for_a_while(void)
{
	uv_timer_t *wake = xnew(uv_timer_t);

	kill(server.pid, SIGSTOP);
	uv_timer_init(&loop, wake);
	uv_timer_start(wake, on_wake, 1500, 0);
}

/* An etcd that says nothing for longer than a first answer is waited for gets everything twice; it counts once. */
static void what_is_sent_twice_is_written_once(void **state)
{
	struct node a;
	struct result r;
	struct txn *t;

	node_open(&a, "/twice/");
	for (int round = 0; round < 3; round++) {
		char id[8];

		snprintf(id, sizeof(id), "s%d", round);
		t = txn_begin(store_view(a.store));
		txn_put(t, KIND_SERVICE, service(id, id));
		txn_put(t, KIND_TASK, task(id, 1));
		if (round == 2)
			txn_del(t, KIND_TASK, "s0");
		freeze_for_a_while();
		r = commit(&a, t, 0);
		assert_string_equal(r.err.msg, "");
		assert_non_null(view_service(store_view(a.store), id));
		assert_non_null(task_of(&a, id));
	}
	assert_null(task_of(&a, "s0"));
	/* What somebody else did is a conflict as ever. */
	t = txn_begin(store_view(a.store));
	txn_put(t, KIND_SERVICE, service("s9", "s1"));
	freeze_for_a_while();
	r = commit(&a, t, 0);
	assert_int_equal(r.err.code, ERR_EXISTS);
	node_close(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(subscribers_see_whole_transactions),
		cmocka_unit_test(restart_of_etcd_goes_unnoticed),
		cmocka_unit_test(compaction_leads_to_a_resync),
		cmocka_unit_test(bad_values_are_skipped),
		cmocka_unit_test(many_objects_are_loaded_in_pages),
		cmocka_unit_test(what_is_sent_twice_is_written_once),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
