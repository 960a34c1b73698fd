/*
 * A commit whose answer is lost although etcd applied it: a proxy between the store and etcd keeps answers back. It is
 * sent again, finds everything changed, and has to see that it was by itself.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "manager/store/etcd.h"
#include "manager/store/store.h"
#include "support/etcd_fixture.h"

#define TXN_REQUEST "POST /v3/kv/txn "

static uv_loop_t loop;
static struct etcd_fixture server;

/* ---- the proxy */

struct link {
	uv_pipe_t client, etcd; /* data: the link */
	bool muted, answered, closing;
	unsigned open;
};

static struct proxy {
	uv_pipe_t listener;
	char path[64], endpoint[80];
	unsigned keep_back; /* so many transactions' answers from now on */
	unsigned sent, kept_back;
} proxy;

static void on_link_closed(uv_handle_t *handle)
{
	struct link *l = handle->data;

	if (--l->open == 0)
		free(l);
}

static void link_close(struct link *l)
{
	if (l->closing)
		return;
	l->closing = true;
	uv_close((uv_handle_t *)&l->client, on_link_closed);
	uv_close((uv_handle_t *)&l->etcd, on_link_closed);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
	*buf = uv_buf_init(xmalloc(suggested), (unsigned)suggested);
}

struct forward {
	uv_write_t write;
	char *bytes;
};

static void on_written(uv_write_t *write, int status)
{
	struct forward *f = container_of(write, struct forward, write);

	free(f->bytes);
	free(f);
}

static void pass_on(uv_pipe_t *to, char *bytes, size_t len)
{
	struct forward *f = xnew(struct forward);
	uv_buf_t buf = uv_buf_init(bytes, (unsigned)len);

	f->bytes = bytes;
	assert_int_equal(uv_write(&f->write, (uv_stream_t *)to, &buf, 1, on_written), 0);
}

static void on_request(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct link *l = stream->data;

	if (n <= 0) {
		free(buf->base);
		if (n < 0)
			link_close(l);
		return;
	}
	if (memmem(buf->base, (size_t)n, TXN_REQUEST, strlen(TXN_REQUEST))) {
		proxy.sent++;
		if (proxy.keep_back > 0) {
			proxy.keep_back--;
			l->muted = true;
		}
	}
	pass_on(&l->etcd, buf->base, (size_t)n);
}

static void on_answer(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct link *l = stream->data;

	if (n > 0 && !l->muted) {
		pass_on(&l->client, buf->base, (size_t)n);
		return;
	}
	proxy.kept_back += n > 0 && !l->answered;
	l->answered = true;
	free(buf->base);
	if (n < 0)
		link_close(l);
}

static void on_connected(uv_connect_t *connect, int status)
{
	struct link *l = connect->data;

	free(connect);
	if (status < 0) {
		link_close(l);
		return;
	}
	uv_read_start((uv_stream_t *)&l->client, on_alloc, on_request);
	uv_read_start((uv_stream_t *)&l->etcd, on_alloc, on_answer);
}

static void on_connection(uv_stream_t *listener, int status)
{
	struct link *l = xnew(struct link);
	uv_connect_t *connect = xnew(uv_connect_t);

	assert_int_equal(status, 0);
	uv_pipe_init(&loop, &l->client, 0);
	uv_pipe_init(&loop, &l->etcd, 0);
	l->client.data = l->etcd.data = connect->data = l;
	l->open = 2;
	assert_int_equal(uv_accept(listener, (uv_stream_t *)&l->client), 0);
	uv_pipe_connect(connect, &l->etcd, server.socket, on_connected);
}

static void proxy_open(void)
{
	snprintf(proxy.path, sizeof(proxy.path), "%s/proxy.sock", server.dir);
	snprintf(proxy.endpoint, sizeof(proxy.endpoint), "unix:%s", proxy.path);
	uv_pipe_init(&loop, &proxy.listener, 0);
	assert_int_equal(uv_pipe_bind(&proxy.listener, proxy.path), 0);
	assert_int_equal(uv_listen((uv_stream_t *)&proxy.listener, 16, on_connection), 0);
}

static void keep_back(unsigned n)
{
	proxy.keep_back = n;
	proxy.sent = proxy.kept_back = 0;
}

/* ---- stores */

struct node {
	struct etcd *etcd;
	struct store *store;
	bool flag;
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

static void node_open(struct node *n, const char *endpoint, const char *prefix)
{
	struct etcd_options options = {.endpoints = (const char *const[]){endpoint, NULL}};
	struct error err;

	memset(n, 0, sizeof(*n));
	n->etcd = etcd_new(&loop, &options, &err);
	assert_non_null(n->etcd);
	n->store = store_new(&loop, n->etcd, prefix);
	store_start(n->store, on_started, &n->flag);
	assert_true(loop_until_set(&loop, &n->flag));
}

static void node_close(struct node *n)
{
	n->flag = false;
	store_close(n->store, on_flag, &n->flag);
	assert_true(loop_until_set(&loop, &n->flag));
	n->flag = false;
	etcd_close(n->etcd, on_flag, &n->flag);
	assert_true(loop_until_set(&loop, &n->flag));
}

static pb_task *task(unsigned slot)
{
	pb_task *t = pb_new(&skein__task__descriptor);
	_cleanup_free_ char *id = xasprintf("t%u", slot);

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

static void succeeds(struct node *n, struct txn *t, unsigned flags)
{
	struct result r = {0};

	store_commit(n->store, t, flags, on_commit, &r);
	assert_true(loop_until_set(&loop, &r.done));
	assert_string_equal(r.err.msg, "");
}

static bool was_kept_back(void *data)
{
	return proxy.kept_back > 0;
}

static void stage_version(struct txn *t, uint64_t version)
{
	pb_service *s = txn_edit(t, KIND_SERVICE, "s1");

	s->spec_version = version;
	txn_put(t, KIND_SERVICE, s);
}

/* ---- tests */

static void what_was_applied_unheard_is_a_success(void **state)
{
	struct node a;
	struct txn *t;
	uint64_t before;

	node_open(&a, proxy.endpoint, "/applied");
	keep_back(1);
	before = store_revision(a.store);
	t = txn_begin(store_view(a.store));
	txn_put(t, KIND_SERVICE, service("s1", "web"));
	txn_put(t, KIND_TASK, task(1));
	succeeds(&a, t, 0);
	assert_int_equal(proxy.kept_back, 1);
	assert_int_equal(proxy.sent, 2);
	assert_non_null(view_service(store_view(a.store), "s1"));
	assert_non_null(view_task(store_view(a.store), "t1"));
	assert_int_equal(store_revision(a.store), before + 1); /* once */

	/* A change, and the end: nothing is left that could tell. */
	keep_back(1);
	t = txn_begin(store_view(a.store));
	stage_version(t, 7);
	succeeds(&a, t, 0);
	assert_int_equal(proxy.sent, 2);
	assert_int_equal(view_service(store_view(a.store), "s1")->spec_version, 7);
	keep_back(1);
	t = txn_begin(store_view(a.store));
	txn_del(t, KIND_TASK, "t1");
	txn_del(t, KIND_SERVICE, "s1");
	succeeds(&a, t, 0);
	assert_int_equal(proxy.sent, 2);
	assert_null(view_service(store_view(a.store), "s1"));
	assert_int_equal(store_revision(a.store), before + 3);
	node_close(&a);
}

static void each_chunk_has_its_own_second_sending(void **state)
{
	struct node a;
	struct txn *t;

	node_open(&a, proxy.endpoint, "/chunks");
	keep_back(2);
	t = txn_begin(store_view(a.store));
	for (unsigned i = 1; i <= 300; i++)
		txn_put(t, KIND_TASK, task(i));
	succeeds(&a, t, STORE_CHUNKED);
	/* Both sendings of the first chunk went unheard, the third was answered; then the other two chunks. */
	assert_int_equal(proxy.kept_back, 2);
	assert_int_equal(proxy.sent, 5);
	for (unsigned i = 1; i <= 300; i++) {
		_cleanup_free_ char *id = xasprintf("t%u", i);

		assert_non_null(view_task(store_view(a.store), id));
	}
	node_close(&a);
}

static uint64_t wanted_version;

static bool has_version(void *data)
{
	return view_service(store_view(((struct node *)data)->store), "s1")->spec_version == wanted_version;
}

static bool knows_service(void *data)
{
	return view_service(store_view(((struct node *)data)->store), "s1") != NULL;
}

/* The leader completes what it has just been given: before the second sending finds it. */
static void what_was_applied_and_then_changed_is_a_success(void **state)
{
	struct result r = {0};
	struct node a, b;
	struct txn *t;

	node_open(&a, proxy.endpoint, "/since");
	node_open(&b, server.endpoint, "/since");
	keep_back(1);
	t = txn_begin(store_view(a.store));
	txn_put(t, KIND_SERVICE, service("s1", "web"));
	store_commit(a.store, t, 0, on_commit, &r);
	assert_true(loop_until(&loop, was_kept_back, NULL));
	assert_true(loop_until(&loop, knows_service, &b));
	t = txn_begin(store_view(b.store));
	stage_version(t, 9);
	succeeds(&b, t, 0);
	assert_false(r.done);
	assert_true(loop_until_set(&loop, &r.done));
	assert_string_equal(r.err.msg, "");
	assert_int_equal(view_service(store_view(a.store), "s1")->spec_version, 9);

	/* A change that others have changed twice since. */
	keep_back(1);
	r = (struct result){0};
	t = txn_begin(store_view(a.store));
	stage_version(t, 10);
	store_commit(a.store, t, 0, on_commit, &r);
	assert_true(loop_until(&loop, was_kept_back, NULL));
	for (uint64_t version = 11; version <= 12; version++) {
		wanted_version = version - 1;
		assert_true(loop_until(&loop, has_version, &b));
		t = txn_begin(store_view(b.store));
		stage_version(t, version);
		succeeds(&b, t, 0);
	}
	assert_false(r.done);
	assert_true(loop_until_set(&loop, &r.done));
	assert_string_equal(r.err.msg, "");
	assert_int_equal(view_service(store_view(a.store), "s1")->spec_version, 12);
	node_close(&a);
	node_close(&b);
}

/* What was refused unheard is refused again. */
static void what_was_refused_unheard_is_refused(void **state)
{
	struct result r = {0};
	struct node a;
	struct txn *t;

	node_open(&a, proxy.endpoint, "/refused");
	keep_back(0);
	t = txn_begin(store_view(a.store));
	txn_put(t, KIND_SERVICE, service("s1", "web"));
	succeeds(&a, t, 0);
	keep_back(1);
	t = txn_begin(store_view(a.store));
	txn_put(t, KIND_SERVICE, service("s2", "web"));
	store_commit(a.store, t, 0, on_commit, &r);
	assert_true(loop_until_set(&loop, &r.done));
	assert_int_equal(proxy.kept_back, 1);
	assert_int_equal(r.err.code, ERR_EXISTS);
	assert_null(view_service(store_view(a.store), "s2"));
	node_close(&a);
}

static int setup(void **state)
{
	uv_loop_init(&loop);
	etcd_fixture_start(&server);
	proxy_open();
	return 0;
}

static int teardown(void **state)
{
	uv_close((uv_handle_t *)&proxy.listener, NULL);
	etcd_fixture_stop(&server);
	uv_run(&loop, UV_RUN_DEFAULT);
	return uv_loop_close(&loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_applied_unheard_is_a_success),
		cmocka_unit_test(each_chunk_has_its_own_second_sending),
		cmocka_unit_test(what_was_applied_and_then_changed_is_a_success),
		cmocka_unit_test(what_was_refused_unheard_is_refused),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
