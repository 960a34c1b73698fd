#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/clock.h"
#include "common/pki.h"
#include "manager/etcd_child.h"
#include "manager/membership.h"
#include "manager/store/etcd.h"
#include "manager/store/store.h"
#include "support/etcd_fixture.h"

#include <arpa/inet.h>

#define CLUSTER "c1"

static uv_loop_t loop;
static char dir[32];
static char *root_pem, *root_key;
static int open_hosts; /* left over by a test that failed */

/* Certificate files of one node: <dir>/<name>.crt, .key. */
struct identity {
	char cert[64], key[64];
};

static struct identity identity(const char *name, enum pki_role role)
{
	_cleanup_free_ char *key = NULL, *csr = NULL, *cert = NULL;
	struct pki_issue issue = {.root_cert_pem = root_pem, .root_key_pem = root_key, .node_id = name,
				  .cluster_id = CLUSTER, .role = role, .address = "127.0.0.1",
				  .now_ns = clock_wall_ns(), .life_ns = 3600 * NS_PER_SEC};
	struct identity id;
	struct error err;

	assert_int_equal(pki_key_new(&key, &err), 0);
	assert_int_equal(pki_csr_new(key, &csr, &err), 0);
	issue.csr_pem = csr;
	assert_int_equal(pki_issue(&issue, &cert, &err), 0);
	snprintf(id.cert, sizeof(id.cert), "%s/%s.crt", dir, name);
	snprintf(id.key, sizeof(id.key), "%s/%s.key", dir, name);
	assert_int_equal(file_write(id.cert, cert, strlen(cert), 0644, &err), 0);
	assert_int_equal(file_write(id.key, key, strlen(key), 0600, &err), 0);
	return id;
}

static uint16_t free_port(void)
{
	struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(addr);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&addr, len), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&addr, &len), 0);
	close(fd);
	return ntohs(addr.sin_port);
}

/* ---- one manager's etcd */

struct host {
	char name[8], state[64], run[64], ca[64];
	struct identity id;
	uint16_t client_port, peer_port;
	struct etcd_child *child;
	struct etcd *etcd;
	unsigned readies, downs, removals, want;
	struct error why;
	bool closed;
};

static void on_ready(void *data)
{
	((struct host *)data)->readies++;
}

static void on_down(void *data, const struct error *why)
{
	struct host *h = data;

	h->downs++;
	h->why = *why;
}

static void on_removed(void *data)
{
	((struct host *)data)->removals++;
}

static bool is_ready(void *data)
{
	struct host *h = data;

	return h->readies >= h->want && etcd_child_ready(h->child);
}

static bool was_removed(void *data)
{
	return ((struct host *)data)->removals > 0;
}

static struct etcd_child_options options_of(struct host *h)
{
	return (struct etcd_child_options){
		.loop = &loop, .state_dir = h->state, .run_dir = h->run, .name = h->name,
		.cluster_token = CLUSTER, .address = "127.0.0.1", .client_port = h->client_port,
		.peer_port = h->peer_port, .ca_file = h->ca, .cert_file = h->id.cert, .key_file = h->id.key,
		.members = 1, .on_ready = on_ready, .on_down = on_down, .on_removed = on_removed, .data = h,
	};
}

static void host_prepare(struct host *h, const char *name)
{
	memset(h, 0, sizeof(*h));
	snprintf(h->name, sizeof(h->name), "%s", name);
	snprintf(h->state, sizeof(h->state), "%s/%s.state", dir, name);
	snprintf(h->run, sizeof(h->run), "%s/%s.run", dir, name);
	snprintf(h->ca, sizeof(h->ca), "%s/ca.crt", dir);
	h->id = identity(name, PKI_MANAGER);
	h->client_port = free_port();
	h->peer_port = free_port();
	h->want = 1;
}

static void host_start(struct host *h, const struct etcd_child_options *options)
{
	struct etcd_options client = {.timeout_ms = 3000};
	struct error err;

	h->child = etcd_child_start(options, &err);
	if (!h->child)
		fail_msg("%s", err.msg);
	client.endpoints = (const char *const[]){etcd_child_endpoint(h->child), NULL};
	h->etcd = etcd_new(&loop, &client, &err);
	assert_non_null(h->etcd);
	open_hosts++;
}

static void host_open(struct host *h, const char *name)
{
	struct etcd_child_options options;

	host_prepare(h, name);
	options = options_of(h);
	host_start(h, &options);
	assert_true(loop_until(&loop, is_ready, h));
}

static void on_flag(void *data)
{
	*(bool *)data = true;
}

static void etcd_end(struct etcd *e)
{
	bool closed = false;

	etcd_close(e, on_flag, &closed);
	assert_true(loop_until_set(&loop, &closed));
}

static void host_close(struct host *h)
{
	pid_t pid = etcd_child_pid(h->child);

	etcd_end(h->etcd);
	etcd_child_close(h->child, on_flag, &h->closed);
	assert_true(loop_until_set(&loop, &h->closed));
	if (pid)
		assert_int_equal(kill(pid, 0), -1);
	open_hosts--;
}

/* ---- calls */

struct answer {
	bool done;
	struct error err;
	size_t n, len;
	char value[32];
};

static void on_txn(void *data, const struct etcd_txn_result *r, const struct error *err)
{
	struct answer *a = data;

	a->done = true;
	a->err = err ? *err : ERROR_INIT;
}

static void on_range(void *data, const struct etcd_range_result *r, const struct error *err)
{
	struct answer *a = data;

	a->done = true;
	a->err = err ? *err : ERROR_INIT;
	a->n = err ? 0 : r->n;
	a->len = a->n ? r->kvs[0].value_len : 0;
	if (a->n)
		snprintf(a->value, sizeof(a->value), "%.*s", (int)r->kvs[0].value_len, (const char *)r->kvs[0].value);
}

static struct answer put_bytes(struct etcd *e, const void *value, size_t len)
{
	struct etcd_op op = {.key = "/k", .value = value, .value_len = len};
	struct answer a = {0};

	etcd_txn(e, NULL, 0, &op, 1, on_txn, &a);
	assert_true(loop_until_set(&loop, &a.done));
	return a;
}

static struct answer put(struct etcd *e, const char *value)
{
	return put_bytes(e, value, strlen(value));
}

static struct answer put_large(struct etcd *e, size_t len)
{
	_cleanup_free_ char *value = xmalloc(len);

	memset(value, 'x', len);
	return put_bytes(e, value, len);
}

/* While a new leader is elected, requests are lost. */
static void put_until_ok(struct etcd *e, const char *value)
{
	int64_t until_ns = clock_mono_ns() + ETCD_FIXTURE_WAIT_MS * NS_PER_MS;

	while (put(e, value).err.code != ERR_OK)
		assert_true(clock_mono_ns() < until_ns);
}

static struct answer get(struct etcd *e)
{
	struct answer a = {0};

	etcd_range(e, "/k", NULL, 0, 0, on_range, &a);
	assert_true(loop_until_set(&loop, &a.done));
	return a;
}

static struct etcd *remote(const struct host *h, const struct identity *id, const char *server_name)
{
	char endpoint[64];
	struct etcd_options options = {.ca_file = h->ca, .cert_file = id ? id->cert : NULL,
				       .key_file = id ? id->key : NULL, .server_name = server_name,
				       .timeout_ms = 3000};
	struct error err;
	struct etcd *e;

	snprintf(endpoint, sizeof(endpoint), "https://127.0.0.1:%u", h->client_port);
	options.endpoints = (const char *const[]){endpoint, NULL};
	e = etcd_new(&loop, &options, &err);
	assert_non_null(e);
	return e;
}

/* ---- tests */

static void serves_locally_and_to_managers_only(void **state)
{
	struct identity manager = identity("other", PKI_MANAGER), worker = identity("worker", PKI_WORKER);
	struct host h;
	struct etcd *e;
	struct stat st;

	host_open(&h, "tls");
	assert_int_equal(put(h.etcd, "local").err.code, ERR_OK);
	assert_int_equal(stat(h.run, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0700);

	e = remote(&h, &manager, PKI_MANAGER_NAME);
	assert_string_equal(get(e).value, "local");
	assert_int_equal(put(e, "remote").err.code, ERR_OK);
	assert_string_equal(get(h.etcd).value, "remote");
	assert_int_equal(put_large(e, 1 << 20).err.code, ERR_OK);
	assert_int_equal(get(e).len, 1 << 20);
	assert_int_equal(put(e, "remote").err.code, ERR_OK);
	etcd_end(e);

	/* The same CA, but not a manager's name; no certificate at all; not the server that was expected. */
	e = remote(&h, &worker, PKI_MANAGER_NAME);
	assert_int_equal(put(e, "worker").err.code, ERR_UNAVAILABLE);
	etcd_end(e);
	e = remote(&h, NULL, PKI_MANAGER_NAME);
	assert_int_equal(put(e, "nobody").err.code, ERR_UNAVAILABLE);
	etcd_end(e);
	e = remote(&h, &manager, "somebody.else.internal");
	assert_int_equal(put(e, "wrong").err.code, ERR_UNAVAILABLE);
	etcd_end(e);
	assert_string_equal(get(h.etcd).value, "remote");
	host_close(&h);
}

static void on_started(void *data, const struct error *err)
{
	assert_null(err);
	*(bool *)data = true;
}

static void on_commit(void *data, const struct error *err)
{
	struct answer *a = data;

	a->done = true;
	a->err = err ? *err : ERROR_INIT;
}

static struct answer commit_task(struct store *s, const char *id)
{
	struct txn *t = txn_begin(store_view(s));
	pb_task *task = pb_new(&skein__task__descriptor);
	struct answer a = {0};

	pb_set_str(&task->id, id);
	txn_put(t, KIND_TASK, task);
	store_commit(s, t, 0, on_commit, &a);
	assert_true(loop_until_set(&loop, &a.done));
	return a;
}

static void killed_etcd_comes_back_and_the_store_goes_on(void **state)
{
	struct host h;
	struct store *s;
	struct answer a;
	bool started = false, closed = false;
	pid_t first;

	host_open(&h, "kill");
	s = store_new(&loop, h.etcd, "/skein");
	store_start(s, on_started, &started);
	assert_true(loop_until_set(&loop, &started));
	assert_int_equal(commit_task(s, "t1").err.code, ERR_OK);

	first = etcd_child_pid(h.child);
	kill(first, SIGKILL);
	h.want = 2;
	assert_true(loop_until(&loop, is_ready, &h));
	assert_int_equal(h.downs, 1);
	assert_non_null(strstr(h.why.msg, "killed by signal 9"));
	assert_int_not_equal(etcd_child_pid(h.child), first);
	a = commit_task(s, "t2");
	assert_int_equal(a.err.code, ERR_OK);
	assert_non_null(view_task(store_view(s), "t1"));
	assert_non_null(view_task(store_view(s), "t2"));
	store_close(s, on_flag, &closed);
	assert_true(loop_until_set(&loop, &closed));
	host_close(&h);
}

static bool went_down_twice(void *data)
{
	return ((struct host *)data)->downs >= 2;
}

static void what_is_wrong_is_told(void **state)
{
	struct etcd_child_options options;
	struct error err;
	struct host h;
	char long_dir[200];

	host_prepare(&h, "wrong");
	options = options_of(&h);
	options.program = "/nonexistent/etcd";
	assert_null(etcd_child_start(&options, &err));
	assert_non_null(strstr(err.msg, "/nonexistent/etcd"));

	memset(long_dir, 'x', sizeof(long_dir) - 1);
	long_dir[0] = '/';
	long_dir[sizeof(long_dir) - 1] = '\0';
	options = options_of(&h);
	options.run_dir = long_dir;
	assert_null(etcd_child_start(&options, &err));
	assert_int_equal(err.code, ERR_INVALID);

	options = options_of(&h);
	options.cert_file = "/nonexistent/cert";
	assert_null(etcd_child_start(&options, &err));
	assert_non_null(strstr(err.msg, "/nonexistent/cert"));

	/* It starts and ends again: tried anew, with what etcd said. */
	options = options_of(&h);
	options.initial_cluster = "somebody=https://127.0.0.1:1";
	host_start(&h, &options);
	assert_true(loop_until(&loop, went_down_twice, &h));
	assert_int_equal(h.readies, 0);
	assert_non_null(strstr(etcd_child_last_error(h.child), "couldn't find local name"));
	assert_non_null(strstr(h.why.msg, "couldn't find local name"));
	host_close(&h);
	/* Handles of the failed starts. */
	uv_run(&loop, UV_RUN_NOWAIT);
}

/* ---- members */

struct added {
	bool done;
	struct error err;
	uint64_t id;
	size_t n;
	char cluster[256];
};

static void on_added(void *data, const struct membership_added *added, const struct error *err)
{
	struct added *a = data;

	a->done = true;
	a->err = err ? *err : ERROR_INIT;
	if (err)
		return;
	a->id = added->member_id;
	a->n = added->n_members;
	snprintf(a->cluster, sizeof(a->cluster), "%s", added->initial_cluster);
}

static void on_left(void *data, const struct error *err)
{
	struct added *a = data;

	a->done = true;
	a->err = err ? *err : ERROR_INIT;
}

static struct added add(struct membership *m, const struct host *h)
{
	struct added a = {0};
	char url[64];

	snprintf(url, sizeof(url), "https://127.0.0.1:%u", h->peer_port);
	membership_add(m, h->name, url, on_added, &a);
	assert_false(a.done);
	assert_true(loop_until_set(&loop, &a.done));
	return a;
}

static struct added take_out(struct membership *m, uint64_t id)
{
	struct added a = {0};

	membership_remove(m, id, on_left, &a);
	assert_true(loop_until_set(&loop, &a.done));
	return a;
}

static void join(struct membership *m, struct host *h, const char *name, unsigned members, struct added *ret)
{
	struct etcd_child_options options;

	host_prepare(h, name);
	*ret = add(m, h);
	if (ret->err.code != ERR_OK)
		fail_msg("%s", ret->err.msg);
	assert_int_equal(ret->n, members);
	options = options_of(h);
	options.initial_cluster = ret->cluster;
	options.existing = true;
	options.members = members;
	host_start(h, &options);
	assert_true(loop_until(&loop, is_ready, h));
}

static void managers_come_and_go(void **state)
{
	struct host a, b, c;
	struct added ab, again, ac;
	struct membership *m;
	bool closed = false;

	host_open(&a, "ma");
	assert_int_equal(put(a.etcd, "before").err.code, ERR_OK);
	m = membership_new(&loop, a.etcd);
	assert_true(etcd_child_set_members(a.child, 2));
	assert_false(etcd_child_ready(a.child));
	a.want = 2;
	assert_true(loop_until(&loop, is_ready, &a));
	assert_false(etcd_child_set_members(a.child, 2));

	/* Entered but never started: the first one goes on, and the same join finds its entry again. */
	host_prepare(&b, "mb");
	ab = add(m, &b);
	assert_int_equal(ab.err.code, ERR_OK);
	assert_int_equal(put(a.etcd, "alone").err.code, ERR_OK);
	again = add(m, &b);
	assert_int_equal(again.err.code, ERR_OK);
	assert_true(again.id == ab.id);
	assert_string_equal(again.cluster, ab.cluster);
	assert_int_equal(take_out(m, ab.id).err.code, ERR_OK);
	assert_int_equal(take_out(m, ab.id).err.code, ERR_OK); /* gone already: fine */

	join(m, &b, "mb", 2, &ab);
	assert_string_equal(get(b.etcd).value, "alone");
	join(m, &c, "mc", 3, &ac);
	assert_int_equal(put(c.etcd, "three").err.code, ERR_OK);

	/* One of three may die; it is taken out, and knows. */
	kill(etcd_child_pid(a.child), SIGSTOP);
	put_until_ok(b.etcd, "two");
	kill(etcd_child_pid(a.child), SIGCONT);
	put_until_ok(a.etcd, "three again");
	assert_int_equal(take_out(m, ac.id).err.code, ERR_OK);
	assert_true(loop_until(&loop, was_removed, &c));
	assert_int_equal(etcd_child_pid(c.child), 0);
	put_until_ok(a.etcd, "both");
	assert_string_equal(get(b.etcd).value, "both");

	membership_close(m, on_flag, &closed);
	assert_true(loop_until_set(&loop, &closed));
	host_close(&c);
	host_close(&b);
	host_close(&a);
}

static void lost_quorum_is_forced_to_a_new_cluster(void **state)
{
	struct etcd_child_options options;
	struct membership *m;
	struct host a, b;
	struct added ab;
	bool closed = false;

	host_open(&a, "fa");
	m = membership_new(&loop, a.etcd);
	join(m, &b, "fb", 2, &ab);
	assert_int_equal(put(a.etcd, "kept").err.code, ERR_OK);
	membership_close(m, on_flag, &closed);
	assert_true(loop_until_set(&loop, &closed));
	host_close(&b);
	assert_int_not_equal(put(a.etcd, "lost").err.code, ERR_OK);
	host_close(&a);

	options = options_of(&a);
	options.force_new_cluster = true;
	a.readies = 0;
	a.closed = false;
	host_start(&a, &options);
	assert_true(loop_until(&loop, is_ready, &a));
	assert_int_equal(put(a.etcd, "new").err.code, ERR_OK);
	host_close(&a);
}

static int setup(void **state)
{
	char ca[64];

	uv_loop_init(&loop);
	strcpy(dir, "/tmp/skein-child.XXXXXX");
	if (!mkdtemp(dir) || pki_root_new(CLUSTER, clock_wall_ns(), &root_pem, &root_key, NULL) < 0)
		return -1;
	snprintf(ca, sizeof(ca), "%s/ca.crt", dir);
	return file_write(ca, root_pem, strlen(root_pem), 0644, NULL);
}

static int teardown(void **state)
{
	file_remove_tree(dir, NULL);
	free(root_pem);
	pki_secret_free(root_key);
	/* Children that a failed test left die with us. */
	if (open_hosts)
		_exit(1);
	uv_run(&loop, UV_RUN_DEFAULT);
	return uv_loop_close(&loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(serves_locally_and_to_managers_only),
		cmocka_unit_test(killed_etcd_comes_back_and_the_store_goes_on),
		cmocka_unit_test(what_is_wrong_is_told),
		cmocka_unit_test(managers_come_and_go),
		cmocka_unit_test(lost_quorum_is_forced_to_a_new_cluster),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
