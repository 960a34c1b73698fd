/* Commits: what shows when, conflicts, unique names, chunks, the fence. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "support/store_world.h"

#include <inttypes.h>

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
		cmocka_unit_test(closing_cancels_commits),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
