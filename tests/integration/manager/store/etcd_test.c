#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/clock.h"
#include "manager/store/etcd.h"
#include "support/etcd_fixture.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

static uv_loop_t loop;
static struct etcd_fixture server;

/* Closed by the test's end; everything of libuv must be gone then. */
struct client {
	struct etcd *etcd;
	bool closed;
};

static void on_closed(void *data)
{
	*(bool *)data = true;
}

static struct etcd *client_open(const char *const *endpoints, uint64_t timeout_ms)
{
	struct etcd_options options = {.endpoints = endpoints, .timeout_ms = timeout_ms};
	struct error err;
	struct etcd *e = etcd_new(&loop, &options, &err);

	assert_non_null(e);
	return e;
}

static struct etcd *client(void)
{
	return client_open((const char *const[]){server.endpoint, NULL}, 10000);
}

static void client_close(struct etcd *e)
{
	bool closed = false;

	etcd_close(e, on_closed, &closed);
	assert_true(loop_until_set(&loop, &closed));
}

/* ---- synchronous forms for tests */

struct answer {
	bool done;
	struct error err;
	bool succeeded, more;
	uint64_t revision, lease;
	size_t n;
	char value[64], last_key[64];
	uint64_t create_revision, mod_revision;
	int64_t ttl_s;
};

static void answered(struct answer *a, const struct error *err)
{
	assert_false(a->done);
	a->done = true;
	a->err = err ? *err : ERROR_INIT;
}

static void on_range(void *data, const struct etcd_range_result *r, const struct error *err)
{
	struct answer *a = data;

	answered(a, err);
	if (err)
		return;
	a->revision = r->revision;
	a->n = r->n;
	a->more = r->more;
	if (!r->n)
		return;
	memcpy(a->value, r->kvs[0].value, MIN(r->kvs[0].value_len, sizeof(a->value) - 1));
	snprintf(a->last_key, sizeof(a->last_key), "%s", r->kvs[r->n - 1].key);
	a->create_revision = r->kvs[0].create_revision;
	a->mod_revision = r->kvs[0].mod_revision;
}

static void on_txn(void *data, const struct etcd_txn_result *r, const struct error *err)
{
	struct answer *a = data;

	answered(a, err);
	if (err)
		return;
	a->succeeded = r->succeeded;
	a->revision = r->revision;
}

static void on_lease(void *data, uint64_t lease, int64_t ttl_s, const struct error *err)
{
	struct answer *a = data;

	answered(a, err);
	a->lease = lease;
	a->ttl_s = ttl_s;
}

static struct answer get(struct etcd *e, const char *key, const char *end, uint64_t limit)
{
	struct answer a = {0};

	etcd_range(e, key, end, 0, limit, on_range, &a);
	assert_false(a.done);
	assert_true(loop_until_set(&loop, &a.done));
	return a;
}

static struct answer put_if(struct etcd *e, const char *key, uint64_t revision, const char *value)
{
	struct etcd_compare cmp = {key, ETCD_CMP_MOD, revision};
	struct etcd_op op = {.key = key, .value = value, .value_len = value ? strlen(value) : 0};
	struct answer a = {0};

	etcd_txn(e, &cmp, 1, &op, 1, on_txn, &a);
	assert_true(loop_until_set(&loop, &a.done));
	return a;
}

static struct answer put(struct etcd *e, const char *key, const char *value)
{
	struct etcd_op op = {.key = key, .value = value, .value_len = value ? strlen(value) : 0};
	struct answer a = {0};

	etcd_txn(e, NULL, 0, &op, 1, on_txn, &a);
	assert_true(loop_until_set(&loop, &a.done));
	assert_int_equal(a.err.code, ERR_OK);
	return a;
}

/* ---- tests */

static void compare_and_put(void **state)
{
	struct etcd *e = client();
	struct answer a = put_if(e, "/cas", 0, "one");

	assert_true(a.succeeded);
	assert_false(put_if(e, "/cas", 0, "two").succeeded);
	a = get(e, "/cas", NULL, 0);
	assert_int_equal(a.n, 1);
	assert_string_equal(a.value, "one");
	assert_int_equal(a.create_revision, a.mod_revision);
	assert_true(put_if(e, "/cas", a.mod_revision, "").succeeded);
	a = get(e, "/cas", NULL, 0);
	assert_string_equal(a.value, "");
	assert_true(a.create_revision < a.mod_revision);
	assert_true(put_if(e, "/cas", a.mod_revision, NULL).succeeded);
	assert_int_equal(get(e, "/cas", NULL, 0).n, 0);
	client_close(e);
}

static void pages(void **state)
{
	_cleanup_free_ char *end = etcd_prefix_end("/page/");
	struct etcd *e = client();
	struct answer a;

	put(e, "/page/a", "1");
	put(e, "/page/b", "2");
	put(e, "/page/c", "3");
	put(e, "/pagf", "outside");
	a = get(e, "/page/", end, 2);
	assert_int_equal(a.n, 2);
	assert_true(a.more);
	assert_string_equal(a.last_key, "/page/b");
	a = get(e, "/page/b\x01", end, 2);
	assert_int_equal(a.n, 1);
	assert_false(a.more);
	client_close(e);
}

static void prefix_ends(void **state)
{
	_cleanup_free_ char *simple = etcd_prefix_end("/a/"), *carry = etcd_prefix_end("a\xff\xff");

	assert_string_equal(simple, "/a0");
	assert_string_equal(carry, "b");
}

static void refusals_carry_etcds_words(void **state)
{
	struct etcd_op ops[129];
	struct etcd *e = client();
	struct answer a = {0};

	for (int i = 0; i < 129; i++)
		ops[i] = (struct etcd_op){.key = i % 2 ? "/x" : "/y", .value = "v", .value_len = 1};
	etcd_txn(e, NULL, 0, ops, 129, on_txn, &a);
	assert_true(loop_until_set(&loop, &a.done));
	assert_int_equal(a.err.code, ERR_INVALID);
	assert_non_null(strstr(a.err.msg, "too many operations"));
	client_close(e);
}

static void leases_end(void **state)
{
	struct etcd *e = client();
	struct answer granted = {0}, kept = {0}, revoked = {0}, late = {0}, txn = {0};
	struct etcd_op op = {.key = "/leased", .value = "v", .value_len = 1};

	etcd_lease_grant(e, 60, on_lease, &granted);
	assert_true(loop_until_set(&loop, &granted.done));
	assert_true(granted.lease > 0);
	assert_int_equal(granted.ttl_s, 60);
	op.lease = granted.lease;
	etcd_txn(e, NULL, 0, &op, 1, on_txn, &txn);
	etcd_lease_keepalive(e, granted.lease, on_lease, &kept);
	assert_true(loop_until_set(&loop, &kept.done));
	assert_int_equal(kept.ttl_s, 60);
	assert_true(loop_until_set(&loop, &txn.done));
	etcd_lease_revoke(e, granted.lease, on_lease, &revoked);
	assert_true(loop_until_set(&loop, &revoked.done));
	assert_int_equal(revoked.err.code, ERR_OK);
	assert_int_equal(get(e, "/leased", NULL, 0).n, 0);
	etcd_lease_keepalive(e, granted.lease, on_lease, &late);
	assert_true(loop_until_set(&loop, &late.done));
	assert_int_equal(late.err.code, ERR_NOT_FOUND);
	client_close(e);
}

static void cancelling_tells_at_once(void **state)
{
	struct etcd *e = client();
	struct answer a = {0}, b = {0};
	struct etcd_request *r = etcd_range(e, "/x", NULL, 0, 0, on_range, &a);

	etcd_request_cancel(r);
	assert_true(a.done);
	assert_int_equal(a.err.code, ERR_CANCELLED);
	etcd_range(e, "/x", NULL, 0, 0, on_range, &b);
	client_close(e);
	assert_true(b.done);
	assert_int_equal(b.err.code, ERR_CANCELLED);
}

static void bad_endpoints_are_refused(void **state)
{
	static const char *const bad[] = {"", "10.0.0.1:2379", "ftp://a:1", "http://a", "unix:relative",
					  "http://a:1/path"};
	struct error err;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct etcd_options options = {.endpoints = (const char *const[]){bad[i], NULL}};

		assert_null(etcd_new(&loop, &options, &err));
		assert_int_equal(err.code, ERR_INVALID);
		assert_non_null(strstr(err.msg, bad[i]));
	}
}

static void dead_endpoints_are_skipped(void **state)
{
	struct etcd *e = client_open((const char *const[]){"unix:/nonexistent", "http://127.0.0.1:1",
							   server.endpoint, NULL}, 10000);
	struct answer a = put_if(e, "/skip", 0, "x");

	assert_int_equal(a.err.code, ERR_OK);
	assert_true(a.succeeded);
	client_close(e);
}

static void all_dead_is_unavailable(void **state)
{
	struct etcd *e = client_open((const char *const[]){"unix:/nonexistent", "http://127.0.0.1:1", NULL}, 1000);
	struct answer a = put_if(e, "/skip", 0, "x");

	assert_int_equal(a.err.code, ERR_UNAVAILABLE);
	client_close(e);
}

/* A listener that never says a word: TLS does not get anywhere. Returns its socket. */
static int mute_server(char *url, size_t size)
{
	struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(addr);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, len), 0);
	assert_int_equal(listen(fd, 8), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&addr, &len), 0);
	snprintf(url, size, "https://127.0.0.1:%u", ntohs(addr.sin_port));
	return fd;
}

/* Who is alone has all the time for its handshake; with another to ask it is given up early. */
static void slow_handshakes_have_time_when_nobody_else_is_there(void **state)
{
	char url[64];
	int fd = mute_server(url, sizeof(url));
	struct etcd *alone = client_open((const char *const[]){url, NULL}, 2500);
	struct etcd *two = client_open((const char *const[]){url, server.endpoint, NULL}, 20000);
	int64_t start = clock_mono_ns();
	struct answer a = put_if(alone, "/mute", 0, "x");

	assert_int_not_equal(a.err.code, ERR_OK);
	assert_true(clock_mono_ns() - start >= 2400 * NS_PER_MS);
	start = clock_mono_ns();
	a = put_if(two, "/mute", 0, "x");
	assert_int_equal(a.err.code, ERR_OK);
	assert_true(clock_mono_ns() - start < 10 * NS_PER_SEC);
	client_close(alone);
	client_close(two);
	close(fd);
}

/* ---- watch */

struct seen {
	size_t events, deletes, ups, downs, progress;
	uint64_t revision, compacted;
	bool ended;
	char last[64];
	size_t want;
};

static void on_events(void *data, uint64_t revision, const struct etcd_event *events, size_t n)
{
	struct seen *s = data;

	assert_true(revision >= s->revision);
	s->revision = revision;
	s->progress += n == 0;
	for (size_t i = 0; i < n; i++) {
		s->events++;
		s->deletes += events[i].is_delete;
		snprintf(s->last, sizeof(s->last), "%.*s", (int)events[i].kv.value_len,
			 (const char *)events[i].kv.value);
	}
}

static void on_compacted(void *data, uint64_t compact_revision)
{
	struct seen *s = data;

	s->ended = true;
	s->compacted = compact_revision;
}

static void on_state(void *data, const struct error *err)
{
	struct seen *s = data;

	s->ups += !err;
	s->downs += !!err;
}

static const struct etcd_watch_handlers handlers = {on_events, on_compacted, on_state};

static bool saw_enough(void *data)
{
	struct seen *s = data;

	return s->events >= s->want;
}

static bool is_up(void *data)
{
	return ((struct seen *)data)->ups > 0;
}

static bool went_down(void *data)
{
	return ((struct seen *)data)->downs > 0;
}

static bool progressed(void *data)
{
	return ((struct seen *)data)->progress > 0;
}

static void watch_survives_a_restart(void **state)
{
	_cleanup_free_ char *end = etcd_prefix_end("/w/");
	struct etcd *e = client();
	struct seen s = {.want = 2};
	struct etcd_watch *w = etcd_watch(e, "/w/", end, 0, &handlers, &s);

	assert_true(loop_until(&loop, is_up, &s));
	put(e, "/w/a", "1");
	put(e, "/outside", "x");
	put(e, "/w/a", NULL);
	assert_true(loop_until(&loop, saw_enough, &s));
	assert_int_equal(s.events, 2);
	assert_int_equal(s.deletes, 1);

	s.ups = 0;
	etcd_fixture_kill(&server);
	assert_true(loop_until(&loop, went_down, &s));
	etcd_fixture_run(&server);
	assert_true(loop_until(&loop, is_up, &s));
	put(e, "/w/a", "after");
	s.want = 3;
	assert_true(loop_until(&loop, saw_enough, &s));
	assert_string_equal(s.last, "after");
	assert_int_equal(s.events, 3);
	s.progress = 0;
	assert_true(loop_until(&loop, progressed, &s));
	etcd_watch_cancel(w);
	client_close(e);
}

/* A second client name of the same server: a link to its socket. */
static void watch_moves_to_the_endpoint_wanted(void **state)
{
	_cleanup_free_ char *link = xasprintf("%s/other.sock", server.dir);
	_cleanup_free_ char *other = xasprintf("unix:%s", link);
	struct etcd *e = client_open((const char *const[]){server.endpoint, other, NULL}, 3000);
	struct seen s = {.want = 1};

	assert_int_equal(symlink(server.socket, link), 0);
	etcd_watch(e, "/move", NULL, 0, &handlers, &s);
	assert_true(loop_until(&loop, is_up, &s));
	s.ups = 0;
	etcd_use_endpoint(e, server.endpoint); /* is there: nothing happens */
	etcd_use_endpoint(e, "unix:/unknown");
	put(e, "/move", "1");
	assert_true(loop_until(&loop, saw_enough, &s));
	assert_int_equal(s.ups, 0);
	etcd_use_endpoint(e, other);
	put(e, "/move", "2");
	s.want = 2;
	assert_true(loop_until(&loop, saw_enough, &s));
	assert_true(loop_until(&loop, is_up, &s));
	assert_int_equal(s.events, 2);
	assert_int_equal(s.downs, 0);
	client_close(e);
}

static void frozen_server_is_noticed(void **state)
{
	struct etcd *e = client();
	struct seen s = {.want = 1};
	struct etcd_watch *w = etcd_watch(e, "/frozen", NULL, 0, &handlers, &s);
	struct answer a;

	assert_true(loop_until(&loop, is_up, &s));
	kill(server.pid, SIGSTOP);
	assert_true(loop_until(&loop, went_down, &s));
	s.ups = 0;
	kill(server.pid, SIGCONT);
	assert_true(loop_until(&loop, is_up, &s));
	a = put_if(e, "/frozen", 0, "thawed");
	assert_int_equal(a.err.code, ERR_OK);
	assert_true(loop_until(&loop, saw_enough, &s));
	assert_string_equal(s.last, "thawed");
	etcd_watch_cancel(w);
	client_close(e);
}

static bool has_ended(void *data)
{
	return ((struct seen *)data)->ended;
}

static void compacted_start_ends_the_watch(void **state)
{
	char command[256];
	struct etcd *e = client();
	struct seen s = {0};
	struct answer a;

	put(e, "/c", "1");
	a = put(e, "/c", "2");
	snprintf(command, sizeof(command),
		 "curl -sS --noproxy '*' --unix-socket %s -d '{\"revision\":\"%lu\"}' "
		 "http://x/v3/kv/compaction >/dev/null", server.socket, (unsigned long)a.revision);
	assert_int_equal(system(command), 0);
	etcd_watch(e, "/c", NULL, 1, &handlers, &s);
	assert_true(loop_until(&loop, has_ended, &s));
	assert_int_equal(s.compacted, a.revision);
	client_close(e);
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
		cmocka_unit_test(compare_and_put),
		cmocka_unit_test(pages),
		cmocka_unit_test(prefix_ends),
		cmocka_unit_test(refusals_carry_etcds_words),
		cmocka_unit_test(leases_end),
		cmocka_unit_test(cancelling_tells_at_once),
		cmocka_unit_test(bad_endpoints_are_refused),
		cmocka_unit_test(dead_endpoints_are_skipped),
		cmocka_unit_test(all_dead_is_unavailable),
		cmocka_unit_test(slow_handshakes_have_time_when_nobody_else_is_there),
		cmocka_unit_test(watch_survives_a_restart),
		cmocka_unit_test(watch_moves_to_the_endpoint_wanted),
		cmocka_unit_test(frozen_server_is_noticed),
		cmocka_unit_test(compacted_start_ends_the_watch),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
