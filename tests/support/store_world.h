/*
 * store_world - stores of several managers on one real etcd, all on one loop.
 */
#pragma once
#include "manager/store/etcd.h"
#include "manager/store/store.h"
#include "support/etcd_fixture.h"

static uv_loop_t loop;
static struct etcd_fixture server;

/* One manager's store, under a prefix of the test's own. */
struct node {
	struct etcd *etcd;
	struct store *store;
	bool started, closed;
};

static inline void on_flag(void *data)
{
	*(bool *)data = true;
}

static inline void on_started(void *data, const struct error *err)
{
	assert_null(err);
	*(bool *)data = true;
}

static inline void node_open(struct node *n, const char *prefix)
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

static inline void node_close(struct node *n)
{
	store_close(n->store, on_flag, &n->closed);
	assert_true(loop_until_set(&loop, &n->closed));
	n->closed = false;
	etcd_close(n->etcd, on_flag, &n->closed);
	assert_true(loop_until_set(&loop, &n->closed));
}

static inline pb_task *task(const char *id, uint64_t slot)
{
	pb_task *t = pb_new(&skein__task__descriptor);

	pb_set_str(&t->id, id);
	pb_set_str(&t->service_id, "s1");
	t->slot = slot;
	return t;
}

static inline pb_service *service(const char *id, const char *name)
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

static inline void on_commit(void *data, const struct error *err)
{
	struct result *r = data;

	assert_false(r->done);
	r->done = true;
	r->err = err ? *err : ERROR_INIT;
}

static inline struct result commit(struct node *n, struct txn *t, unsigned flags)
{
	struct result r = {0};

	store_commit(n->store, t, flags, on_commit, &r);
	assert_false(r.done);
	assert_true(loop_until_set(&loop, &r.done));
	return r;
}

static inline struct result put(struct node *n, enum kind kind, void *obj)
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

static inline bool same_revision(void *data)
{
	struct pair *p = data;

	return store_revision(p->a->store) == store_revision(p->b->store);
}

static inline void sync_nodes(struct node *a, struct node *b)
{
	struct pair p = {a, b};

	assert_true(loop_until(&loop, same_revision, &p));
}

static inline void stage_tasks(struct txn *t, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		char id[16];

		snprintf(id, sizeof(id), "t%04u", i);
		txn_put(t, KIND_TASK, task(id, i));
	}
}

static inline int setup(void **state)
{
	uv_loop_init(&loop);
	etcd_fixture_start(&server);
	return 0;
}

static inline int teardown(void **state)
{
	etcd_fixture_stop(&server);
	uv_run(&loop, UV_RUN_DEFAULT);
	return uv_loop_close(&loop);
}
