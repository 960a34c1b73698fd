/* Images from node to node: two stores, the real service between them, mutual TLS. The networks that are checked are played. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "agent/image/image.h"
#include "agent/net/net.h"
#include "agent/peer.h"
#include "agent/peer_client.h"

#include "common/id.h"
#include "common/log.h"
#include "proto/pb.h"
#include "rpc/rpc.h"
#include "support/imagemaker.h"
#include "support/pki.h"

#include <dirent.h>
#include <errno.h>

#define BIG (6u << 20)

/* A node that serves images. */
struct node {
	char dir[96], tmp[96], address[32];
	struct image_store *store;
	struct peer *peer;
	struct rpc_server *server;
};

struct fixture {
	char dir[64], files[96], archive[96], mine[96], my_tmp[96];
	uv_loop_t loop;
	struct rpc *rpc;
	struct pki pki;
	struct rpc_creds *creds;
	struct node a, b;
	struct image_store *store;    /* of the node that asks */
	struct peer_client *client;
	struct image_files image;
	char *big;
};

/* Checks that the service has asked for, and not been answered yet. */
static struct {
	net_check_cb cb[16];
	void *data[16];
	unsigned n;
	bool repair, hold;
	char network[64];
} checks;

static void answer_checks(void)
{
	Skein__CheckNetResponse response = SKEIN__CHECK_NET_RESPONSE__INIT;

	response.revision = 7;
	response.checked = 42;
	while (checks.n > 0) {
		checks.n--;
		checks.cb[checks.n](checks.data[checks.n], &response, NULL);
	}
}

void net_check(struct net *n, const char *network_id, bool repair, net_check_cb cb, void *data)
{
	struct error err = ERROR_INIT;

	assert_ptr_equal(n, &checks);
	snprintf(checks.network, sizeof(checks.network), "%s", network_id);
	checks.repair = repair;
	if (str_eq(network_id, "broken")) {
		error_set(&err, ERR_INTERNAL, "netlink: busy");
		cb(data, NULL, &err);
		return;
	}
	assert_true(checks.n < ARRAY_SIZE(checks.cb));
	checks.cb[checks.n] = cb;
	checks.data[checks.n++] = data;
	if (!checks.hold)
		answer_checks();
}

/* gRPC is not instrumented: what it does with its memory and its locks says nothing. */
const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
	return "ignore_noninstrumented_modules=1";
}

static struct rpc_creds *creds_of(struct fixture *f, const char *role)
{
	struct pki_cert cert = pki_node(&f->pki, role, role, 3600);
	struct rpc_creds *creds = rpc_creds_new(f->pki.root_pem, cert.cert_pem, cert.key_pem);

	pki_cert_fini(&cert);
	return creds;
}

static struct image_store *store_at(struct fixture *f, const char *dir, const char *tmp)
{
	struct error err = ERROR_INIT;
	struct image_store *s = image_store_new(&(struct image_store_options){.loop = &f->loop, .dir = dir, .tmp_dir = tmp}, &err);

	if (!s)
		fail_msg("%s", err.msg);
	return s;
}

static void node_start(struct fixture *f, struct node *n, const char *name, unsigned max_transfers)
{
	struct error err = ERROR_INIT;
	int port = 0;

	snprintf(n->dir, sizeof(n->dir), "%s/%s", f->dir, name);
	snprintf(n->tmp, sizeof(n->tmp), "%s/%s.tmp", f->dir, name);
	n->store = store_at(f, n->dir, n->tmp);
	n->peer = peer_new(&(struct peer_options){.loop = &f->loop, .images = n->store, .max_transfers = max_transfers, .net = (struct net *)&checks});
	n->server = rpc_server_new(f->rpc, f->creds);
	peer_add_service(n->peer, n->server);
	if (rpc_server_listen(n->server, "127.0.0.1:0", 0, &port, &err) < 0)
		fail_msg("%s", err.msg);
	rpc_server_start(n->server);
	snprintf(n->address, sizeof(n->address), "127.0.0.1:%d", port);
}

static void node_stop(struct fixture *f, struct node *n)
{
	bool closed = false, peer_closed = false;

	if (!n->server)
		return;
	rpc_server_close(n->server, flag_set, &closed);
	loop_until(&f->loop, &closed);
	peer_close(n->peer, flag_set, &peer_closed);
	loop_until(&f->loop, &peer_closed);
	store_close_wait(&f->loop, n->store);
	n->server = NULL;
}

static void load_into(struct fixture *f, struct image_store *s)
{
	struct outcome o = {0};

	image_load(s, f->archive, false, NULL, outcome_done, &o);
	loop_until(&f->loop, &o.done);
	if (!o.image)
		fail_msg("%s", o.err.msg);
	outcome_fini(&o);
}

static int setup(void **state)
{
	struct fixture *f = xnew(struct fixture);
	struct image_fetcher fetcher;

	strcpy(f->dir, "/tmp/peer-test-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	path_in(f->files, sizeof(f->files), f->dir, "files");
	path_in(f->archive, sizeof(f->archive), f->dir, "archive.tar");
	path_in(f->mine, sizeof(f->mine), f->dir, "mine");
	path_in(f->my_tmp, sizeof(f->my_tmp), f->dir, "mine.tmp");
	assert_int_equal(mkdir(f->files, 0700), 0);
	f->big = xcalloc(1, BIG + 1);
	for (size_t i = 0; i < BIG; i++)
		f->big[i] = (char)('a' + (i * 2654435761u >> 9) % 26);
	f->image = (struct image_files){.dir = f->files, .file = {"small", "big"}, .text = {"1", f->big},
					.filter = ARCHIVE_FILTER_NONE};
	image_files_make(&f->image);
	make_oci_archive(&f->image, f->archive, "\"org.opencontainers.image.ref.name\":\"web:1\"");

	uv_loop_init(&f->loop);
	f->rpc = rpc_new(&f->loop);
	pki_init(&f->pki, "cluster ca");
	f->creds = creds_of(f, "worker");
	node_start(f, &f->a, "a", 0);
	node_start(f, &f->b, "b", 1);
	f->store = store_at(f, f->mine, f->my_tmp);
	f->client = peer_client_new(&f->loop, f->rpc, f->creds);
	fetcher = peer_client_fetcher(f->client);
	image_store_set_fetcher(f->store, &fetcher);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	bool closed = false, rpc_closed = false;

	if (f->store)
		store_close_wait(&f->loop, f->store);
	peer_client_close(f->client, flag_set, &closed);
	loop_until(&f->loop, &closed);
	node_stop(f, &f->a);
	node_stop(f, &f->b);
	rpc_close(f->rpc, flag_set, &rpc_closed);
	loop_until(&f->loop, &rpc_closed);
	rpc_creds_unref(f->creds);
	while (uv_run(&f->loop, UV_RUN_NOWAIT))
		;
	assert_int_equal(uv_loop_close(&f->loop), 0);
	pki_fini(&f->pki);
	assert_int_equal(file_remove_tree(f->dir, NULL), 0);
	free(f->big);
	free(f);
	return 0;
}

static void ensure(struct fixture *f, struct outcome *o, const char *const *peers)
{
	*o = (struct outcome){0};
	image_ensure(f->store,
		     &(struct image_want){.ref = "127.0.0.1:1/web:1", .digest = f->image.manifest, .loaded = true, .peers = peers},
		     outcome_progress, outcome_done, o);
	loop_until(&f->loop, &o->done);
}

static void expect_error(struct outcome *o, enum error_code code, const char *part)
{
	if (o->image || o->err.code != code || !strstr(o->err.msg, part))
		fail_msg("%s: %s, wanted %s \"%s\"", error_code_name(o->err.code), o->err.msg, error_code_name(code), part);
}

static void expect_image(struct fixture *f, struct outcome *o)
{
	char path[256], *data = NULL;
	size_t len;

	if (!o->image)
		fail_msg("%s", o->err.msg);
	assert_string_equal(o->image->digest, f->image.manifest);
	path_in(path, sizeof(path), o->image->layers[1], "big");
	assert_int_equal(file_read(path, BIG, &data, &len, NULL), 0);
	assert_int_equal(len, BIG);
	assert_memory_equal(data, f->big, BIG);
	free(data);
}

static void expect_clean(struct fixture *f)
{
	uint64_t until = uv_hrtime() + 10 * UINT64_C(1000000000);
	size_t n;

	while (rmdir(f->my_tmp) < 0) {
		assert_int_equal(errno, ENOTEMPTY);
		assert_true(uv_hrtime() < until);
		uv_run(&f->loop, UV_RUN_NOWAIT);
	}
	assert_int_equal(mkdir(f->my_tmp, 0700), 0);
	image_list(f->store, &n);
	assert_int_equal(n, 0);
}

/* One byte of a blob of this node is another one now. */
static void damage(struct fixture *f, struct node *n, const char *digest)
{
	char path[256], *data = NULL;
	size_t len;

	snprintf(path, sizeof(path), "%s/blobs/sha256/%s", n->dir, digest_hex(digest));
	assert_int_equal(file_read(path, 64 << 20, &data, &len, NULL), 0);
	data[len / 2] ^= 1;
	assert_int_equal(file_write(path, data, len, 0600, NULL), 0);
	free(data);
}

/* ---------------------------------------------------------------- */

static void an_image_comes_from_a_peer(void **state)
{
	struct fixture *f = *state;
	const char *peers[] = {f->a.address, NULL};
	struct outcome o;
	size_t n;

	load_into(f, f->a.store);
	ensure(f, &o, peers);
	expect_image(f, &o);
	assert_true(image_list(f->store, &n)[0]->loaded);
	assert_string_equal(image_list(f->store, &n)[0]->names[0], "127.0.0.1:1/web:1");
	outcome_fini(&o);
	/* Exactly the same blobs: this node can serve them as well. */
	for (size_t i = 0; i < 4; i++) {
		const char *digests[] = {f->image.manifest, f->image.config, f->image.blob[0], f->image.blob[1]};
		_cleanup_free_ char *path = image_blob_path(f->store, digests[i]);
		char found[DIGEST_MAX];

		assert_non_null(path);
		file_digest(path, found);
		assert_string_equal(found, digests[i]);
	}
}

static void the_next_peer_is_asked(void **state)
{
	struct fixture *f = *state;
	const char *peers[] = {"127.0.0.1:1", f->a.address, f->b.address, NULL};
	struct outcome o;

	load_into(f, f->b.store); /* one is down, one has nothing */
	ensure(f, &o, peers);
	expect_image(f, &o);
	outcome_fini(&o);
}

static void a_damaged_blob_comes_from_another(void **state)
{
	struct fixture *f = *state;
	const char *peers[] = {f->a.address, f->b.address, NULL};
	struct outcome o;

	load_into(f, f->a.store);
	damage(f, &f->a, f->image.blob[1]);
	peers[1] = NULL;
	ensure(f, &o, peers);
	expect_error(&o, ERR_DATA_LOSS, f->image.blob[1]);
	assert_non_null(strstr(o.err.msg, f->a.address));
	expect_clean(f);
	load_into(f, f->b.store);
	peers[1] = f->b.address;
	ensure(f, &o, peers);
	expect_image(f, &o);
	outcome_fini(&o);
}

static void tells_when_nobody_has_it(void **state)
{
	struct fixture *f = *state;
	const char *peers[] = {f->a.address, NULL}, *down[] = {"127.0.0.1:1", NULL};
	struct outcome o;

	ensure(f, &o, peers);
	/* The registry behind the name cannot be reached: later it may. */
	expect_error(&o, ERR_UNAVAILABLE, f->a.address);
	assert_non_null(strstr(o.err.msg, "registry"));
	ensure(f, &o, down);
	expect_error(&o, ERR_UNAVAILABLE, "127.0.0.1:1");
	expect_clean(f);
}

/* What a fetch said. */
struct fetched {
	bool done;
	struct error err;
	int fd;
};

static void on_fetched(void *data, const struct error *err)
{
	struct fetched *r = data;

	assert_false(r->done);
	r->done = true;
	r->err = err ? *err : ERROR_INIT;
}

static void fetch(struct fixture *f, struct fetched *r, const char *address, const char *digest, int64_t max_bytes)
{
	struct image_fetcher fetcher = peer_client_fetcher(f->client);
	char path[128];

	path_in(path, sizeof(path), f->dir, "out.XXXXXX");
	*r = (struct fetched){.fd = mkostemp(path, O_CLOEXEC)};
	assert_true(r->fd >= 0);
	fetcher.fetch(fetcher.data, address, digest, r->fd, max_bytes, on_fetched, r);
	assert_false(r->done);
}

static void many_at_once_wait_in_line(void **state)
{
	struct fixture *f = *state;
	struct fetched r[6];
	char found[DIGEST_MAX];

	load_into(f, f->b.store); /* serves one at a time */
	for (size_t i = 0; i < ARRAY_SIZE(r); i++)
		fetch(f, &r[i], f->b.address, f->image.blob[1], f->image.size[1]);
	for (size_t i = 0; i < ARRAY_SIZE(r); i++) {
		loop_until(&f->loop, &r[i].done);
		assert_string_equal(r[i].err.msg, "");
		assert_int_equal(lseek(r[i].fd, 0, SEEK_SET), 0);
		assert_int_equal(digest_of_fd(r[i].fd, found, NULL, NULL), 0);
		assert_string_equal(found, f->image.blob[1]);
		close(r[i].fd);
	}
}

static void fetches_are_bounded(void **state)
{
	struct fixture *f = *state;
	struct fetched r;
	struct stat st;

	load_into(f, f->a.store);
	fetch(f, &r, f->a.address, f->image.blob[1], f->image.size[1] - 1);
	loop_until(&f->loop, &r.done);
	assert_int_equal(r.err.code, ERR_DATA_LOSS);
	assert_int_equal(fstat(r.fd, &st), 0);
	assert_true(st.st_size < f->image.size[1]);
	close(r.fd);
	fetch(f, &r, f->a.address, "sha256:../../../etc/passwd", 1 << 20);
	loop_until(&f->loop, &r.done);
	assert_int_equal(r.err.code, ERR_INVALID);
	close(r.fd);
	fetch(f, &r, f->a.address, f->image.diff_id[0], 1 << 20); /* here layers are plain: it is a blob as well */
	loop_until(&f->loop, &r.done);
	assert_int_equal(r.err.code, ERR_OK);
	close(r.fd);
	fetch(f, &r, f->b.address, f->image.blob[0], 1 << 20);
	loop_until(&f->loop, &r.done);
	assert_int_equal(r.err.code, ERR_NOT_FOUND);
	close(r.fd);
}

static void cancels(void **state)
{
	struct fixture *f = *state;
	const char *peers[] = {f->a.address, NULL};
	struct image_fetcher fetcher = peer_client_fetcher(f->client);
	struct outcome o = {0};
	struct fetched r;
	struct image_job *job;

	load_into(f, f->a.store);
	fetch(f, &r, f->a.address, f->image.blob[1], f->image.size[1]);
	fetcher.cancel(fetcher.data, &r);
	loop_until(&f->loop, &r.done);
	assert_int_equal(r.err.code, ERR_CANCELLED);
	close(r.fd);

	job = image_ensure(f->store, &(struct image_want){.ref = "127.0.0.1:1/web:1", .digest = f->image.manifest, .loaded = true,
							  .peers = peers}, outcome_progress, outcome_done, &o);
	while (!strstr(o.last_progress, "fetching blob"))
		uv_run(&f->loop, UV_RUN_ONCE);
	image_job_cancel(job);
	loop_until(&f->loop, &o.done);
	expect_error(&o, ERR_CANCELLED, "");
	expect_clean(f);

	/* The peer goes away in the middle. */
	o = (struct outcome){0};
	image_ensure(f->store, &(struct image_want){.ref = "127.0.0.1:1/web:1", .digest = f->image.manifest, .loaded = true,
						    .peers = peers}, outcome_progress, outcome_done, &o);
	while (!strstr(o.last_progress, "fetching blob"))
		uv_run(&f->loop, UV_RUN_ONCE);
	node_stop(f, &f->a);
	loop_until(&f->loop, &o.done);
	assert_null(o.image);
	expect_clean(f);
}

struct reply {
	bool done;
	struct error err;
};

static void on_reply_done(struct rpc_call *call, const struct error *err, void *data)
{
	struct reply *r = data;

	r->done = true;
	r->err = err ? *err : ERROR_INIT;
}

static struct error task_logs_as(struct fixture *f, const char *role, const char *task_id)
{
	static const struct rpc_handlers handlers = {.on_done = on_reply_done};
	struct rpc_creds *creds = role ? creds_of(f, role) : rpc_creds_new(f->pki.root_pem, NULL, NULL);
	struct rpc_channel *channel = rpc_channel_new(f->rpc, &(struct rpc_channel_options){
								      .target = f->a.address,
								      .creds = creds,
								      .server_name = RPC_NODE_NAME,
							      });
	Skein__TaskLogsRequest request = SKEIN__TASK_LOGS_REQUEST__INIT;
	struct reply r = {0};
	struct rpc_call *call;

	request.task_id = (char *)task_id;
	call = rpc_stream(channel, &skein__peer__descriptor, "TaskLogs", 10000, &handlers, &r);
	rpc_call_send(call, &request.base, NULL);
	rpc_call_half_close(call);
	loop_until(&f->loop, &r.done);
	rpc_channel_close(channel);
	rpc_creds_unref(creds);
	return r.err;
}

static void logs_are_for_managers(void **state)
{
	struct fixture *f = *state;
	char id[ID_LEN + 1];
	struct error err;

	id_new(id);
	assert_int_equal(task_logs_as(f, "worker", id).code, ERR_DENIED);
	assert_int_equal(task_logs_as(f, NULL, id).code, ERR_UNAUTHENTICATED);
	err = task_logs_as(f, "manager", "../../etc");
	assert_int_equal(err.code, ERR_INVALID);
	assert_non_null(strstr(err.msg, "../../etc"));
	assert_int_equal(task_logs_as(f, "manager", id).code, ERR_UNAVAILABLE); /* runs no containers */
}

/* ---------------------------------------------------------------- networks */

struct check {
	struct rpc_creds *creds;
	struct rpc_channel *channel;
	bool done;
	uint32_t checked;
	struct error err;
};

static void on_check_reply(void *data, const ProtobufCMessage *reply, const struct error *err)
{
	struct check *c = data;

	c->done = true;
	c->err = err ? *err : ERROR_INIT;
	c->checked = reply ? ((const Skein__CheckNetResponse *)reply)->checked : 0;
}

static void check_begin(struct fixture *f, struct check *c, const char *role, const char *network)
{
	Skein__CheckNetRequest request = SKEIN__CHECK_NET_REQUEST__INIT;

	*c = (struct check){.creds = creds_of(f, role)};
	c->channel = rpc_channel_new(f->rpc, &(struct rpc_channel_options){
						     .target = f->a.address,
						     .creds = c->creds,
						     .server_name = RPC_NODE_NAME,
					     });
	request.network_id = (char *)network;
	request.repair = true;
	rpc_unary(c->channel, &skein__peer__descriptor, "CheckNet", &request.base, 10000, on_check_reply, c);
}

static void check_end(struct fixture *f, struct check *c)
{
	if (!c->done)
		loop_until(&f->loop, &c->done);
	rpc_channel_close(c->channel);
	rpc_creds_unref(c->creds);
}

static void networks_are_checked_for_managers(void **state)
{
	struct fixture *f = *state;
	struct check c, more[5];

	check_begin(f, &c, "worker", "front");
	check_end(f, &c);
	assert_int_equal(c.err.code, ERR_DENIED);
	check_begin(f, &c, "manager", "front");
	check_end(f, &c);
	assert_int_equal(c.err.code, ERR_OK);
	assert_int_equal(c.checked, 42);
	assert_true(checks.repair);
	assert_string_equal(checks.network, "front");
	check_begin(f, &c, "manager", "broken");
	check_end(f, &c);
	assert_int_equal(c.err.code, ERR_INTERNAL);
	assert_non_null(strstr(c.err.msg, "netlink: busy"));

	/* each reads all of the kernel's state: a few at once */
	checks.hold = true;
	for (size_t i = 0; i < 4; i++)
		check_begin(f, &more[i], "manager", "");
	while (checks.n < 4)
		uv_run(&f->loop, UV_RUN_ONCE);
	check_begin(f, &more[4], "manager", "");
	check_end(f, &more[4]);
	assert_int_equal(more[4].err.code, ERR_UNAVAILABLE);
	answer_checks();
	checks.hold = false;
	for (size_t i = 0; i < 4; i++) {
		check_end(f, &more[i]);
		assert_int_equal(more[i].checked, 42);
	}
}

/* The server goes in the middle of a check: its answer finds nobody, and the service closes behind it. */
static void a_check_outlives_its_caller(void **state)
{
	struct fixture *f = *state;
	bool closed = false, peer_closed = false;
	struct check c;

	checks.hold = true;
	check_begin(f, &c, "manager", "");
	while (checks.n < 1)
		uv_run(&f->loop, UV_RUN_ONCE);
	rpc_server_close(f->a.server, flag_set, &closed);
	loop_until(&f->loop, &closed);
	check_end(f, &c);
	assert_int_not_equal(c.err.code, ERR_OK);
	peer_close(f->a.peer, flag_set, &peer_closed);
	uv_run(&f->loop, UV_RUN_NOWAIT);
	assert_false(peer_closed);
	answer_checks();
	loop_until(&f->loop, &peer_closed);
	checks.hold = false;
	store_close_wait(&f->loop, f->a.store);
	f->a.server = NULL;
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(an_image_comes_from_a_peer), T(the_next_peer_is_asked), T(a_damaged_blob_comes_from_another),
		T(tells_when_nobody_has_it), T(many_at_once_wait_in_line), T(fetches_are_bounded), T(cancels),
		T(logs_are_for_managers), T(networks_are_checked_for_managers), T(a_check_outlives_its_caller),
	};

	log_init("test", LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
