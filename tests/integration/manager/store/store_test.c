#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "manager/store/etcd.h"
#include "manager/store/store.h"
#include "support/etcd_fixture.h"

#include <inttypes.h>

static uv_loop_t loop;
static struct etcd_fixture server;

/* One manager's store, under a prefix of the test's own. */
struct node {
	struct etcd *etcd;
	struct store *store;
	bool started, closed;
};

static void on_flag(void *data)
{
	*(bool *)data = true;
}

static void on_started(void *data, const struct error *err)
{
	assert_null(err);
	*(bool *)data = true;
}

static void node_open(struct node *n, const char *prefix)
{
	struct etcd_options options = {.endpoints = (const char *const[]){server.endpoint, NULL},
				       .timeout_ms = 3000};
	struct error err;

	memset(n, 0, sizeof(*n));
	n->etcd = etcd_new(&loop, &options, &err);
	assert_non_null(n->etcd);
	n->store = store_new(&loop, n->etcd, prefix);
	store_start(n->store, on_started, &n->started);
	assert_false(n->started);
	assert_true(loop_until_set(&loop, &n->started));
}

static void node_close(struct node *n)
{
	store_close(n->store, on_flag, &n->closed);
	assert_true(loop_until_set(&loop, &n->closed));
	n->closed = false;
	etcd_close(n->etcd, on_flag, &n->closed);
	assert_true(loop_until_set(&loop, &n->closed));
}

static pb_task *task(const char *id, uint64_t slot)
{
	pb_task *t = pb_new(&skein__task__descriptor);

	pb_set_str(&t->id, id);
	pb_set_str(&t->service_id, "s1");
	t->slot = slot;
	return t;
}

static pb_service *service(const char *id, const char *name)
{
	pb_service *s = pb_new(&skein__service__descriptor);

	pb_set_str(&s->id, id);
	s->spec = pb_new(&skein__service_spec__descriptor);
	pb_set_str(&s->spec->name, name);
	return s;
}

struct result {
	bool done;
	struct error err;
};

static void on_commit(void *data, const struct error *err)
{
	struct result *r = data;

	assert_false(r->done);
	r->done = true;
	r->err = err ? *err : ERROR_INIT;
}

static struct result commit(struct node *n, struct txn *t, unsigned flags)
{
	struct result r = {0};

	store_commit(n->store, t, flags, on_commit, &r);
	assert_false(r.done);
	assert_true(loop_until_set(&loop, &r.done));
	return r;
}

static struct result put(struct node *n, enum kind kind, void *obj)
{
	struct txn *t = txn_begin(store_view(n->store));

	txn_put(t, kind, obj);
	return commit(n, t, 0);
}

static const pb_task *task_of(struct node *n, const char *id)
{
	return view_task(store_view(n->store), id);
}

/* Both views at the same revision. */
struct pair {
	struct node *a, *b;
};

static bool same_revision(void *data)
{
	struct pair *p = data;

	return store_revision(p->a->store) == store_revision(p->b->store);
}

static void sync_nodes(struct node *a, struct node *b)
{
	struct pair p = {a, b};

	assert_true(loop_until(&loop, same_revision, &p));
}

/* ---- tests */

static void a_commit_shows_in_its_callback(void **state)
{
	struct node n;

	node_open(&n, "/commit");
	assert_int_equal(put(&n, KIND_TASK, task("t1", 1)).err.code, ERR_OK);
	assert_int_equal(task_of(&n, "t1")->slot, 1);
	assert_true(task_of(&n, "t1")->meta->revision > 0);
	assert_int_equal(task_of(&n, "t1")->meta->revision, store_revision(n.store));
	assert_true(task_of(&n, "t1")->meta->created_at > 0);
	assert_true(store_connected(n.store));
	assert_int_equal(store_stats(n.store)->commits, 1);
	node_close(&n);
}

static void nothing_is_a_commit_as_well(void **state)
{
	struct node n;

	node_open(&n, "/nothing");
	assert_int_equal(commit(&n, txn_begin(store_view(n.store)), 0).err.code, ERR_OK);
	node_close(&n);
}

static void who_writes_second_has_a_conflict(void **state)
{
	struct node a, b;
	struct txn *ta, *tb;
	struct result ra = {0}, rb = {0};
	pb_task *x, *y;

	node_open(&a, "/conflict");
	node_open(&b, "/conflict");
	put(&a, KIND_TASK, task("t1", 1));
	sync_nodes(&a, &b);
	ta = txn_begin(store_view(a.store));
	tb = txn_begin(store_view(b.store));
	x = txn_edit(ta, KIND_TASK, "t1");
	y = txn_edit(tb, KIND_TASK, "t1");
	x->slot = 10;
	y->slot = 20;
	txn_put(ta, KIND_TASK, x);
	txn_put(tb, KIND_TASK, y);
	txn_put(tb, KIND_TASK, task("t2", 2));
	txn_end(tb);
	store_commit(a.store, ta, 0, on_commit, &ra);
	assert_true(loop_until_set(&loop, &ra.done));
	store_commit(b.store, tb, 0, on_commit, &rb);
	assert_true(loop_until_set(&loop, &rb.done));
	assert_int_equal(ra.err.code, ERR_OK);
	assert_int_equal(rb.err.code, ERR_CONFLICT);
	/* The loser already sees why, and nothing of it happened. */
	assert_int_equal(task_of(&b, "t1")->slot, 10);
	assert_null(task_of(&b, "t2"));
	assert_int_equal(store_stats(b.store)->conflicts, 1);
	node_close(&a);
	node_close(&b);
}

static void required_objects_must_not_have_changed(void **state)
{
	struct node a, b;
	struct txn *t;
	struct result r = {0};

	node_open(&a, "/require");
	node_open(&b, "/require");
	put(&a, KIND_TASK, task("t1", 1));
	sync_nodes(&a, &b);
	t = txn_begin(store_view(b.store));
	txn_require(t, KIND_TASK, "t1");
	txn_put(t, KIND_TASK, task("t2", 2));
	txn_end(t);
	put(&a, KIND_TASK, ({ pb_task *x = pb_dup(task_of(&a, "t1")); x->slot = 5; x; }));
	store_commit(b.store, t, 0, on_commit, &r);
	assert_true(loop_until_set(&loop, &r.done));
	assert_int_equal(r.err.code, ERR_CONFLICT);
	assert_null(task_of(&b, "t2"));
	node_close(&a);
	node_close(&b);
}

static int removal_since(struct node *n, uint64_t since)
{
	struct txn *t = txn_begin(store_view(n->store));
	struct result r = {0};

	txn_del(t, KIND_TASK, "t1");
	txn_require_all(t, KIND_SERVICE, since);
	store_commit(n->store, t, 0, on_commit, &r);
	assert_true(loop_until_set(&loop, &r.done));
	return r.err.code;
}

static void a_whole_kind_must_not_have_changed(void **state)
{
	struct node a, b;
	uint64_t before;

	node_open(&a, "/whole");
	node_open(&b, "/whole");
	put(&a, KIND_TASK, task("t1", 1));
	sync_nodes(&a, &b);
	before = store_revision(b.store);
	put(&a, KIND_SERVICE, service("s1", "web")); /* one that did not exist then */
	assert_int_equal(removal_since(&b, before), ERR_CONFLICT);
	sync_nodes(&a, &b);
	assert_non_null(task_of(&b, "t1"));
	put(&a, KIND_TASK, task("t2", 1)); /* others count for nothing */
	assert_int_equal(removal_since(&b, store_revision(b.store)), 0);
	assert_null(task_of(&b, "t1"));
	node_close(&a);
	node_close(&b);
}

static void names_are_unique(void **state)
{
	struct node a, b;
	struct txn *ta, *tb;
	struct result ra = {0}, rb = {0};

	node_open(&a, "/names");
	node_open(&b, "/names");
	ta = txn_begin(store_view(a.store));
	tb = txn_begin(store_view(b.store));
	txn_put(ta, KIND_SERVICE, service("s1", "web"));
	txn_put(tb, KIND_SERVICE, service("s2", "web"));
	store_commit(a.store, ta, 0, on_commit, &ra);
	store_commit(b.store, tb, 0, on_commit, &rb);
	assert_true(loop_until_set(&loop, &ra.done));
	assert_true(loop_until_set(&loop, &rb.done));
	/* Which of both wins is open; the other one is told why. */
	if (error_is_set(&ra.err)) {
		struct result tmp = ra;

		ra = rb;
		rb = tmp;
	}
	assert_int_equal(ra.err.code, ERR_OK);
	assert_int_equal(rb.err.code, ERR_EXISTS);
	assert_non_null(strstr(rb.err.msg, "service name web is already in use"));
	node_close(&a);
	node_close(&b);
}

static void names_follow_their_service(void **state)
{
	struct node n;
	struct txn *t;
	pb_service *edit;

	node_open(&n, "/rename");
	put(&n, KIND_SERVICE, service("s1", "web"));
	put(&n, KIND_SERVICE, service("s2", "db"));
	/* taken */
	edit = pb_dup(view_service(store_view(n.store), "s1"));
	pb_set_str(&edit->spec->name, "db");
	assert_int_equal(put(&n, KIND_SERVICE, edit).err.code, ERR_EXISTS);
	/* rename: the old name is free again */
	edit = pb_dup(view_service(store_view(n.store), "s1"));
	pb_set_str(&edit->spec->name, "shop");
	assert_int_equal(put(&n, KIND_SERVICE, edit).err.code, ERR_OK);
	assert_int_equal(put(&n, KIND_SERVICE, service("s3", "web")).err.code, ERR_OK);
	/* two services swap their names in one commit */
	t = txn_begin(store_view(n.store));
	edit = txn_edit(t, KIND_SERVICE, "s1");
	pb_set_str(&edit->spec->name, "web");
	txn_put(t, KIND_SERVICE, edit);
	edit = txn_edit(t, KIND_SERVICE, "s3");
	pb_set_str(&edit->spec->name, "shop");
	txn_put(t, KIND_SERVICE, edit);
	assert_int_equal(commit(&n, t, 0).err.code, ERR_OK);
	assert_string_equal(view_service_by_name(store_view(n.store), "web")->id, "s1");
	/* delete and make again */
	t = txn_begin(store_view(n.store));
	txn_del(t, KIND_SERVICE, "s1");
	assert_int_equal(commit(&n, t, 0).err.code, ERR_OK);
	assert_int_equal(put(&n, KIND_SERVICE, service("s4", "web")).err.code, ERR_OK);
	assert_int_equal(put(&n, KIND_SERVICE, service("s5", "shop")).err.code, ERR_EXISTS);
	node_close(&n);
}

static void stage_tasks(struct txn *t, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		char id[16];

		snprintf(id, sizeof(id), "t%04u", i);
		txn_put(t, KIND_TASK, task(id, i));
	}
}

static void large_changes_go_in_chunks(void **state)
{
	struct node n;
	struct txn *t;

	node_open(&n, "/chunks");
	t = txn_begin(store_view(n.store));
	stage_tasks(t, 1000);
	assert_int_equal(commit(&n, t, 0).err.code, ERR_EXHAUSTED);
	assert_int_equal(view_count(store_view(n.store), KIND_TASK), 0);
	t = txn_begin(store_view(n.store));
	stage_tasks(t, 1000);
	assert_int_equal(commit(&n, t, STORE_CHUNKED).err.code, ERR_OK);
	assert_int_equal(view_count(store_view(n.store), KIND_TASK), 1000);
	t = txn_begin(store_view(n.store));
	for (unsigned i = 0; i < 1000; i++) {
		char id[16];

		snprintf(id, sizeof(id), "t%04u", i);
		txn_del(t, KIND_TASK, id);
	}
	assert_int_equal(commit(&n, t, STORE_CHUNKED).err.code, ERR_OK);
	assert_int_equal(view_count(store_view(n.store), KIND_TASK), 0);
	node_close(&n);
}

static void a_conflict_stops_the_chunks_behind_it(void **state)
{
	struct node a, b;
	struct txn *t;
	struct result r = {0};

	node_open(&a, "/stop");
	node_open(&b, "/stop");
	t = txn_begin(store_view(b.store));
	stage_tasks(t, 400);
	txn_end(t);
	put(&a, KIND_TASK, task("t0200", 7));
	store_commit(b.store, t, STORE_CHUNKED, on_commit, &r);
	assert_true(loop_until_set(&loop, &r.done));
	assert_int_equal(r.err.code, ERR_CONFLICT);
	assert_non_null(task_of(&b, "t0000"));
	assert_null(task_of(&b, "t0199"));
	assert_null(task_of(&b, "t0399"));
	node_close(&a);
	node_close(&b);
}

static void too_large_objects_are_refused(void **state)
{
	_cleanup_free_ char *text = xmalloc((1 << 20) + 1);
	pb_task *t = task("t1", 1);
	struct result r;
	struct node n;

	memset(text, 'x', 1 << 20);
	text[1 << 20] = '\0';
	pb_set_str(&t->service_name, text);
	node_open(&n, "/large");
	r = put(&n, KIND_TASK, t);
	assert_int_equal(r.err.code, ERR_EXHAUSTED);
	node_close(&n);
}

/* ---- fence */

static uint64_t create_leader_key(struct node *n, const char *prefix, const char *value)
{
	char key[64];
	struct txn *t;

	/* Any key does; a token is made for it. */
	pb_token *token = pb_new(&skein__join_token__descriptor);

	pb_set_str(&token->id, value);
	t = txn_begin(store_view(n->store));
	txn_put(t, KIND_TOKEN, token);
	assert_int_equal(commit(n, t, 0).err.code, ERR_OK);
	snprintf(key, sizeof(key), "%s/token/%s", prefix, value);
	store_set_fence(n->store, key, view_token(store_view(n->store), value)->meta->revision);
	return view_token(store_view(n->store), value)->meta->revision;
}

static void the_fence_keeps_a_deposed_leader_out(void **state)
{
	struct node n, other;
	struct txn *t;

	node_open(&n, "/fence");
	node_open(&other, "/fence");
	t = txn_begin(store_view(n.store));
	txn_put(t, KIND_TASK, task("t0", 0));
	assert_int_equal(commit(&n, t, STORE_FENCED).err.code, ERR_CONFLICT);

	create_leader_key(&n, "/fence", "leader");
	t = txn_begin(store_view(n.store));
	txn_put(t, KIND_TASK, task("t1", 1));
	assert_int_equal(commit(&n, t, STORE_FENCED).err.code, ERR_OK);

	/* Somebody else takes over: the key has another create revision. */
	sync_nodes(&n, &other);
	t = txn_begin(store_view(other.store));
	txn_del(t, KIND_TOKEN, "leader");
	assert_int_equal(commit(&other, t, 0).err.code, ERR_OK);
	create_leader_key(&other, "/fence", "leader");
	t = txn_begin(store_view(n.store));
	txn_put(t, KIND_TASK, task("t2", 2));
	assert_int_equal(commit(&n, t, STORE_FENCED).err.code, ERR_CONFLICT);
	assert_null(task_of(&n, "t2"));
	/* It learns so itself: not even sent. */
	store_set_fence(n.store, NULL, 0);
	t = txn_begin(store_view(n.store));
	txn_put(t, KIND_TASK, task("t2", 2));
	assert_int_equal(commit(&n, t, STORE_FENCED).err.code, ERR_CONFLICT);
	node_close(&n);
	node_close(&other);
}

/* ---- following etcd */

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

static void closing_cancels_commits(void **state)
{
	struct node n;
	struct txn *t;
	struct result r = {0};

	node_open(&n, "/close");
	t = txn_begin(store_view(n.store));
	stage_tasks(t, 500);
	store_commit(n.store, t, STORE_CHUNKED, on_commit, &r);
	node_close(&n);
	assert_true(r.done);
	assert_int_equal(r.err.code, ERR_CANCELLED);
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
		cmocka_unit_test(a_commit_shows_in_its_callback),
		cmocka_unit_test(nothing_is_a_commit_as_well),
		cmocka_unit_test(who_writes_second_has_a_conflict),
		cmocka_unit_test(required_objects_must_not_have_changed),
		cmocka_unit_test(a_whole_kind_must_not_have_changed),
		cmocka_unit_test(names_are_unique),
		cmocka_unit_test(names_follow_their_service),
		cmocka_unit_test(large_changes_go_in_chunks),
		cmocka_unit_test(a_conflict_stops_the_chunks_behind_it),
		cmocka_unit_test(too_large_objects_are_refused),
		cmocka_unit_test(the_fence_keeps_a_deposed_leader_out),
		cmocka_unit_test(subscribers_see_whole_transactions),
		cmocka_unit_test(restart_of_etcd_goes_unnoticed),
		cmocka_unit_test(compaction_leads_to_a_resync),
		cmocka_unit_test(bad_values_are_skipped),
		cmocka_unit_test(many_objects_are_loaded_in_pages),
		cmocka_unit_test(what_is_sent_twice_is_written_once),
		cmocka_unit_test(closing_cancels_commits),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
