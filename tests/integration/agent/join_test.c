/* Joining and renewing against a manager in this process: real TLS, real gRPC, real files. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "agent/bootstrap.h"
#include "agent/identity.h"
#include "support/fake_manager.h"
#include "support/tls_server.h"

#define TIMEOUT_MS 10000

struct bed {
	uv_loop_t loop;
	struct rpc *rpc;
	struct fake_manager manager;
	char top[40], dir[64];
	/* result of a join */
	bool done;
	struct error err;
	char node_id[PKI_ID_MAX];
	/* told by the identity */
	unsigned renewed;
	bool role_changed, removed;
};

static int setup(void **state)
{
	struct bed *b = xnew(struct bed);

	*state = b;
	strcpy(b->top, "/tmp/skein-join.XXXXXX");
	assert_non_null(mkdtemp(b->top));
	snprintf(b->dir, sizeof(b->dir), "%s/identity", b->top);
	uv_loop_init(&b->loop);
	b->rpc = rpc_new(&b->loop);
	fake_manager_start(&b->manager, b->rpc, NODE_ROLE_MANAGER);
	return 0;
}

static void on_closed(void *data)
{
	*(bool *)data = true;
}

static int teardown(void **state)
{
	struct bed *b = *state;
	bool rpc = false;

	fake_manager_stop(&b->manager, &b->loop);
	rpc_close(b->rpc, on_closed, &rpc);
	assert_true(loop_until_set(&b->loop, &rpc));
	uv_run(&b->loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&b->loop), 0);
	file_remove_tree(b->top, NULL);
	free(b);
	return 0;
}

static void on_joined(void *data, const struct identity_data *identity, const struct error *err)
{
	struct bed *b = data;

	assert_false(b->done);
	b->done = true;
	b->err = err ? *err : ERROR_INIT;
	if (identity)
		snprintf(b->node_id, sizeof(b->node_id), "%s", identity->node_id);
}

static struct bootstrap *start_join(struct bed *b, const char *token, const char *first, const char *second)
{
	const char *managers[] = {first, second};
	struct bootstrap_options options = {
		.loop = &b->loop,
		.rpc = b->rpc,
		.dir = b->dir,
		.token = token,
		.managers = (char *const *)managers,
		.n_managers = second ? 2 : 1,
		.address = "10.0.0.7",
		.hostname = "host7",
		.listen = "0.0.0.0:2377",
		.availability = AVAILABILITY_PAUSE,
		.peer_port = 7946,
		.timeout_ms = TIMEOUT_MS,
	};
	struct bootstrap *join;

	b->done = false;
	join = bootstrap_join(&options, on_joined, b);
	assert_false(b->done); /* never from inside */
	return join;
}

static void join(struct bed *b, const char *token, const char *first, const char *second)
{
	start_join(b, token, first, second);
	assert_true(loop_until_set(&b->loop, &b->done));
}

/* ---- join */

static void joins_and_stores_its_identity(void **state)
{
	struct bed *b = *state;
	_cleanup_identity_ struct identity_data data = {0};

	join(b, b->manager.token_text, b->manager.target, NULL);
	assert_string_equal(b->err.msg, "");
	assert_string_equal(b->node_id, "n7");
	assert_string_equal(b->manager.hostname, "host7");
	assert_string_equal(b->manager.address, "10.0.0.7");
	assert_int_equal(b->manager.availability, AVAILABILITY_PAUSE);
	assert_int_equal(identity_dir_load(b->dir, &data, NULL), 0);
	assert_string_equal(data.node_id, "n7");
	assert_string_equal(data.cluster_id, "c1");
	assert_string_equal(data.root_pem, b->manager.root);
	assert_string_equal(data.address, "10.0.0.7");
	assert_string_equal(data.listen, "0.0.0.0:2377");
	assert_int_equal(data.peer_port, 7946);
	assert_int_equal(data.managers.n, 1);
	assert_string_equal(data.managers.v[0], b->manager.target);
}

/* The token pins another root: nothing is sent, not even the token. */
static void wrong_pin_is_refused(void **state)
{
	struct bed *b = *state;
	struct jointoken token = b->manager.token;
	struct identity_data data = {0};
	char text[JOINTOKEN_MAX];

	token.root_digest[31] ^= 1;
	join(b, jointoken_format(&token, text), b->manager.target, NULL);
	assert_int_equal(b->err.code, ERR_DENIED);
	assert_non_null(strstr(b->err.msg, b->manager.target));
	assert_int_equal(b->manager.issued, 0);
	assert_int_equal(identity_dir_load(b->dir, &data, &b->err), -1);
	assert_int_equal(b->err.code, ERR_NOT_FOUND);
}

/* A worker of the very cluster may not play manager. */
static void worker_as_manager_is_refused(void **state)
{
	struct bed *b = *state;
	struct fake_manager worker;

	fake_manager_start(&worker, b->rpc, NODE_ROLE_WORKER);
	join(b, worker.token_text, worker.target, NULL);
	assert_int_equal(b->err.code, ERR_DENIED);
	assert_int_equal(worker.issued, 0);
	fake_manager_stop(&worker, &b->loop);
}

/* Somebody shows a certificate of his own with the cluster's (public) root behind it. */
static void borrowed_root_is_refused(void **state)
{
	struct bed *b = *state;
	struct fake_manager thief;
	struct tls_server server;
	_cleanup_free_ char *leaf = NULL, *mixed = NULL;
	char target[32];

	fake_manager_start(&thief, b->rpc, NODE_ROLE_MANAGER);
	leaf = xstrndup(thief.chain, (size_t)(strstr(thief.chain + 1, "-----BEGIN") - thief.chain));
	mixed = pki_chain(leaf, b->manager.root);
	tls_server_start(&server, TLS_SERVER_GOOD, mixed, thief.key);
	snprintf(target, sizeof(target), "127.0.0.1:%d", server.port);
	join(b, b->manager.token_text, target, NULL);
	tls_server_stop(&server);
	assert_int_equal(b->err.code, ERR_DENIED);
	assert_non_null(strstr(b->err.msg, "does not prove"));
	fake_manager_stop(&thief, &b->loop);
}

static void second_manager_is_tried(void **state)
{
	struct bed *b = *state;
	struct tls_server server;
	char target[32];

	tls_server_start(&server, TLS_SERVER_RUDE, NULL, NULL);
	snprintf(target, sizeof(target), "127.0.0.1:%d", server.port);
	join(b, b->manager.token_text, target, b->manager.target);
	tls_server_stop(&server);
	assert_string_equal(b->err.msg, "");
	assert_string_equal(b->node_id, "n7");
	assert_int_equal(server.accepted, 1);
}

static void refusal_is_final(void **state)
{
	struct bed *b = *state;

	error_set(&b->manager.refuse, ERR_DENIED, "join token has expired");
	join(b, b->manager.token_text, b->manager.target, b->manager.target);
	assert_int_equal(b->err.code, ERR_DENIED);
	assert_string_equal(b->err.msg, "join token has expired");
	assert_int_equal(b->manager.issued, 1);
}

static void bad_options_are_told(void **state)
{
	struct bed *b = *state;

	join(b, "SKEIN-1-x", b->manager.target, NULL);
	assert_int_equal(b->err.code, ERR_INVALID);
	join(b, b->manager.token_text, "a:b:c", NULL);
	assert_int_equal(b->err.code, ERR_INVALID);
	assert_non_null(strstr(b->err.msg, "a:b:c"));
}

static void cancelled_join(void **state)
{
	struct bed *b = *state;
	struct bootstrap *running = start_join(b, b->manager.token_text, b->manager.target, b->manager.target);

	bootstrap_cancel(running);
	assert_false(b->done);
	assert_true(loop_until_set(&b->loop, &b->done));
	assert_int_equal(b->err.code, ERR_CANCELLED);
	assert_int_equal(b->manager.issued, 0);
}

/* ---- renewal */

static void on_renewed(void *data, bool role_changed)
{
	struct bed *b = data;

	b->renewed++;
	b->role_changed = role_changed;
}

static void on_removed(void *data, const struct error *err)
{
	struct bed *b = data;

	assert_int_equal(err->code, ERR_DENIED);
	b->removed = true;
}

static struct identity *open_identity(struct bed *b)
{
	struct identity_options options = {
		.loop = &b->loop,
		.rpc = b->rpc,
		.dir = b->dir,
		.on_renewed = on_renewed,
		.on_removed = on_removed,
		.data = b,
	};
	struct identity *i;

	join(b, b->manager.token_text, b->manager.target, NULL);
	i = identity_open(&options, NULL);
	assert_non_null(i);
	return i;
}

static void close_identity(struct bed *b, struct identity *i)
{
	bool closed = false;

	identity_close(i, on_closed, &closed);
	assert_true(loop_until_set(&b->loop, &closed));
}

static bool has_renewed(void *data)
{
	return ((struct bed *)data)->renewed > 0;
}

static void renews_when_asked(void **state)
{
	struct bed *b = *state;
	struct identity *i = open_identity(b);
	_cleanup_identity_ struct identity_data before = identity_data_copy(identity_get(i)), disk = {0};

	b->manager.role = NODE_ROLE_MANAGER;
	identity_renew_now(i);
	assert_true(loop_until(&b->loop, has_renewed, b));
	assert_true(b->role_changed);
	assert_int_equal(identity_get(i)->role, PKI_MANAGER);
	assert_string_equal(identity_get(i)->node_id, "n7");
	assert_string_not_equal(identity_get(i)->key_pem, before.key_pem);
	assert_int_equal(identity_dir_load(b->dir, &disk, NULL), 0);
	assert_string_equal(disk.cert_pem, identity_get(i)->cert_pem);
	assert_string_equal(disk.key_pem, identity_get(i)->key_pem);

	/* With the new certificate, once more. */
	b->renewed = 0;
	identity_renew_now(i);
	assert_true(loop_until(&b->loop, has_renewed, b));
	assert_false(b->role_changed);
	assert_int_equal(b->manager.renewed, 2);
	close_identity(b, i);
}

/* The certificate's second half has begun when the node starts: it renews without being asked. */
static void renews_by_itself(void **state)
{
	struct bed *b = *state;
	struct identity *i;

	b->manager.life_ns = 1 * NS_PER_SEC;
	i = open_identity(b);
	b->manager.life_ns = 3600 * NS_PER_SEC;
	assert_true(loop_until(&b->loop, has_renewed, b));
	assert_int_equal(b->manager.renewed, 1);
	close_identity(b, i);
}

static bool is_removed(void *data)
{
	return ((struct bed *)data)->removed;
}

static void removal_is_told_and_renewing_goes_on(void **state)
{
	struct bed *b = *state;
	struct identity *i = open_identity(b);

	error_set(&b->manager.refuse, ERR_DENIED, "node was removed from the cluster");
	identity_renew_now(i);
	assert_true(loop_until(&b->loop, is_removed, b));
	b->manager.refuse = ERROR_INIT;
	assert_true(loop_until(&b->loop, has_renewed, b));
	close_identity(b, i);
}

static void another_manager_is_used(void **state)
{
	struct bed *b = *state;
	struct identity *i = open_identity(b);
	const char *managers[] = {"127.0.0.1:1", b->manager.target};
	_cleanup_identity_ struct identity_data disk = {0};

	identity_set_managers(i, managers, 2);
	identity_renew_now(i);
	assert_true(loop_until(&b->loop, has_renewed, b));
	/* The answer names the managers that there are. */
	assert_int_equal(identity_get(i)->managers.n, 1);
	identity_set_managers(i, managers, 2);
	close_identity(b, i); /* waits for what is being written */
	assert_int_equal(identity_dir_load(b->dir, &disk, NULL), 0);
	assert_int_equal(disk.managers.n, 2);
}

static void closes_in_the_middle(void **state)
{
	struct bed *b = *state;
	struct identity *i = open_identity(b);
	const char *managers[] = {b->manager.target, "127.0.0.1:1"};

	identity_renew_now(i);
	uv_run(&b->loop, UV_RUN_NOWAIT);
	identity_set_managers(i, managers, 2);
	close_identity(b, i);
	assert_int_equal(b->renewed, 0);
}

#define test(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(joins_and_stores_its_identity),
		test(wrong_pin_is_refused),
		test(worker_as_manager_is_refused),
		test(borrowed_root_is_refused),
		test(second_manager_is_tried),
		test(refusal_is_final),
		test(bad_options_are_told),
		test(cancelled_join),
		test(renews_when_asked),
		test(renews_by_itself),
		test(removal_is_told_and_renewing_goes_on),
		test(another_manager_is_used),
		test(closes_in_the_middle),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
