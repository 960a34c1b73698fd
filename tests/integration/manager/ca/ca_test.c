/* The CA over TLS with a real etcd: who gets in, and what remains in the store. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/clock.h"
#include "common/identity_dir.h"
#include "manager/ca/bootstrap.h"
#include "manager/ca/ca.h"
#include "manager/ca/tokens.h"
#include "manager/store/etcd.h"
#include "manager/store/store.h"
#include "rpc/rpc.h"
#include "support/etcd_fixture.h"

#define TIMEOUT_MS 20000
#define JOINERS 12

struct bed {
	struct etcd_fixture etcd;
	uv_loop_t loop;
	struct etcd *client;
	struct store *store;
	struct ca *ca;
	struct rpc *rpc;
	struct rpc_server *server;
	struct rpc_creds *creds;      /* of the manager */
	struct identity_data identity;
	struct ca_bootstrap_result boot;
	char state_dir[64];
	int port;
	char target[32];
};

/* ---- calls that wait */

struct reply {
	bool done;
	Skein__IssueResponse *response; /* NULL = err */
	struct error err;
};

static void on_reply(void *data, const ProtobufCMessage *msg, const struct error *err)
{
	struct reply *r = data;

	r->done = true;
	if (err)
		r->err = *err;
	else
		r->response = pb_dup(msg);
}

static void on_committed(void *data, const struct error *err)
{
	struct reply *r = data;

	r->done = true;
	if (err)
		r->err = *err;
}

static void commit(struct bed *b, struct txn *t)
{
	struct reply r = {0};

	store_commit(b->store, t, 0, on_committed, &r);
	assert_true(loop_until_set(&b->loop, &r.done));
	assert_int_equal(r.err.code, ERR_OK);
}

struct joiner {
	struct rpc_creds *creds;
	struct rpc_channel *channel;
	char *key, *csr;
	struct reply reply;
};

/* key_of: a joiner whose certificate is used, NULL = anonymous. */
static void joiner_init(struct bed *b, struct joiner *j, const struct joiner *identity)
{
	struct rpc_channel_options options = {.target = b->target};

	*j = (struct joiner){0};
	assert_int_equal(pki_key_new(&j->key, NULL), 0);
	assert_int_equal(pki_csr_new(j->key, &j->csr, NULL), 0);
	j->creds = rpc_creds_new(b->identity.root_pem, identity ? identity->reply.response->cert_pem : NULL,
				 identity ? identity->key : NULL);
	options.creds = j->creds;
	j->channel = rpc_channel_new(b->rpc, &options);
}

static void joiner_fini(struct joiner *j)
{
	rpc_channel_close(j->channel);
	rpc_creds_unref(j->creds);
	pki_secret_free(j->key);
	free(j->csr);
	pb_free(j->reply.response);
}

static void start_issue(struct joiner *j, const char *token)
{
	Skein__IssueRequest request = SKEIN__ISSUE_REQUEST__INIT;

	request.token = (char *)token;
	request.csr_pem = j->csr;
	request.address = (char *)"10.0.0.7";
	request.hostname = (char *)"host7";
	rpc_unary(j->channel, &skein__ca__descriptor, "Issue", &request.base, TIMEOUT_MS, on_reply, &j->reply);
}

static void issue(struct bed *b, struct joiner *j, const char *token)
{
	start_issue(j, token);
	assert_true(loop_until_set(&b->loop, &j->reply.done));
}

static void renew(struct bed *b, struct joiner *j)
{
	Skein__RenewRequest request = SKEIN__RENEW_REQUEST__INIT;

	request.csr_pem = j->csr;
	rpc_unary(j->channel, &skein__ca__descriptor, "Renew", &request.base, TIMEOUT_MS, on_reply, &j->reply);
	assert_true(loop_until_set(&b->loop, &j->reply.done));
}

static char *limited_token(struct bed *b, unsigned uses)
{
	Skein__CreateTokenRequest request = SKEIN__CREATE_TOKEN_REQUEST__INIT;
	unsigned char random[CA_TOKEN_RANDOM_BYTES];
	struct txn *t = txn_begin(store_view(b->store));
	_cleanup_free_ char *id = NULL;
	char *text = NULL;

	request.max_uses = uses;
	pki_random(random, sizeof(random));
	assert_int_equal(ca_token_create(store_view(b->store), t, &request, clock_wall_ns(), random, &id, &text, NULL), 0);
	commit(b, t);
	return text;
}

/* ---- the bed: as a manager starts for the first time */

static void on_started(void *data, const struct error *err)
{
	*(bool *)data = !err;
}

static int setup(void **state)
{
	struct bed *b = xnew(struct bed);
	const char *endpoints[] = {NULL, NULL};
	struct etcd_options options = {.endpoints = endpoints};
	struct ca_bootstrap_options boot = {
		.address = "127.0.0.1",
		.listen = "127.0.0.1:0",
		.api_address = "127.0.0.1:2377",
		.hostname = "host1",
		.now = clock_wall_ns(),
	};
	_cleanup_free_ char *dir = NULL;
	struct reply applied = {0};
	struct ca_options ca = {0};
	bool started = false;

	*state = b;
	etcd_fixture_start(&b->etcd);
	strcpy(b->state_dir, "/tmp/skein-ca.XXXXXX");
	assert_non_null(mkdtemp(b->state_dir));
	uv_loop_init(&b->loop);

	boot.state_dir = b->state_dir;
	assert_int_equal(ca_bootstrap_write(&boot, &b->boot, NULL), 0);
	dir = xasprintf("%s/identity", b->state_dir);
	assert_int_equal(identity_dir_load(dir, &b->identity, NULL), 0);

	endpoints[0] = b->etcd.endpoint;
	b->client = etcd_new(&b->loop, &options, NULL);
	b->store = store_new(&b->loop, b->client, "/skein/v1");
	store_start(b->store, on_started, &started);
	assert_true(loop_until_set(&b->loop, &started));
	ca_bootstrap_apply(b->store, b->state_dir, on_committed, &applied);
	assert_true(loop_until_set(&b->loop, &applied.done));
	assert_int_equal(applied.err.code, ERR_OK);

	b->rpc = rpc_new(&b->loop);
	b->creds = rpc_creds_new(b->identity.root_pem, b->identity.cert_pem, b->identity.key_pem);
	b->server = rpc_server_new(b->rpc, b->creds);
	ca.loop = &b->loop;
	ca.store = b->store;
	b->ca = ca_new(&ca);
	ca_add_to(b->ca, b->server);
	assert_int_equal(rpc_server_listen(b->server, "127.0.0.1:0", 0, &b->port, NULL), 0);
	rpc_server_start(b->server);
	snprintf(b->target, sizeof(b->target), "127.0.0.1:%d", b->port);
	return 0;
}

static void on_closed(void *data)
{
	*(bool *)data = true;
}

static int teardown(void **state)
{
	struct bed *b = *state;
	bool server = false, ca = false, store = false, client = false, rpc = false;

	rpc_server_close(b->server, on_closed, &server);
	assert_true(loop_until_set(&b->loop, &server));
	ca_close(b->ca, on_closed, &ca);
	store_close(b->store, on_closed, &store);
	assert_true(loop_until_set(&b->loop, &ca));
	assert_true(loop_until_set(&b->loop, &store));
	etcd_close(b->client, on_closed, &client);
	assert_true(loop_until_set(&b->loop, &client));
	rpc_close(b->rpc, on_closed, &rpc);
	assert_true(loop_until_set(&b->loop, &rpc));
	rpc_creds_unref(b->creds);
	uv_run(&b->loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&b->loop), 0);
	etcd_fixture_stop(&b->etcd);
	file_remove_tree(b->state_dir, NULL);
	identity_data_fini(&b->identity);
	free(b);
	return 0;
}

/* ---- tests */

static void first_start_fills_etcd_once(void **state)
{
	struct bed *b = *state;
	struct view *v = store_view(b->store);
	_cleanup_free_ char *file = xasprintf("%s/manager/bootstrap.pb", b->state_dir);
	struct reply again = {0};

	assert_string_equal(view_cluster(v)->id, b->boot.cluster_id);
	assert_non_null(view_node(v, b->boot.node_id));
	assert_int_equal(view_count(v, KIND_TOKEN), 2);
	assert_int_equal(access(file, F_OK), -1);
	ca_bootstrap_apply(b->store, b->state_dir, on_committed, &again);
	assert_true(loop_until_set(&b->loop, &again.done));
	assert_int_equal(again.err.code, ERR_OK);
}

static void worker_joins_and_renews(void **state)
{
	struct bed *b = *state;
	struct joiner first, second;
	struct pki_cert cert;
	const pb_node *node;
	const char *id;

	joiner_init(b, &first, NULL);
	issue(b, &first, b->boot.worker_token);
	assert_non_null(first.reply.response);
	id = first.reply.response->node_id;
	node = view_node(store_view(b->store), id);
	assert_non_null(node); /* the answer comes after the view has it */
	assert_string_equal(node->status->address, "10.0.0.7");
	assert_int_equal(first.reply.response->n_managers, 1);
	assert_string_equal(first.reply.response->managers[0], "127.0.0.1:2377");
	assert_int_equal(ca_stats(b->ca)->joined, 1);

	/* Promoted: the next certificate says so. */
	{
		struct txn *t = txn_begin(store_view(b->store));
		pb_node *edit = txn_edit(t, KIND_NODE, id);

		edit->spec->role = SKEIN__NODE_ROLE__MANAGER;
		txn_put(t, KIND_NODE, edit);
		commit(b, t);
	}
	joiner_init(b, &second, &first);
	renew(b, &second);
	assert_non_null(second.reply.response);
	assert_string_equal(second.reply.response->node_id, id);
	assert_int_equal(pki_cert_parse(second.reply.response->cert_pem, &cert, NULL), 0);
	assert_int_equal(cert.role, PKI_MANAGER);
	assert_int_equal(view_node(store_view(b->store), id)->role, NODE_ROLE_MANAGER);
	assert_int_equal(pki_key_check(second.reply.response->cert_pem, second.key, NULL), 0);
	joiner_fini(&first);
	joiner_fini(&second);
}

static void removed_node_does_not_renew(void **state)
{
	struct bed *b = *state;
	struct joiner first, second;
	struct txn *t;

	joiner_init(b, &first, NULL);
	issue(b, &first, b->boot.worker_token);
	assert_non_null(first.reply.response);
	t = txn_begin(store_view(b->store));
	txn_del(t, KIND_NODE, first.reply.response->node_id);
	commit(b, t);
	joiner_init(b, &second, &first);
	renew(b, &second);
	assert_null(second.reply.response);
	assert_int_equal(second.reply.err.code, ERR_DENIED);
	assert_string_equal(second.reply.err.msg, "node was removed from the cluster");
	joiner_fini(&first);
	joiner_fini(&second);
}

static void strangers_may_not_renew(void **state)
{
	struct bed *b = *state;
	struct joiner stranger;

	joiner_init(b, &stranger, NULL);
	renew(b, &stranger);
	assert_null(stranger.reply.response);
	assert_int_equal(stranger.reply.err.code, ERR_UNAUTHENTICATED);
	joiner_fini(&stranger);
}

static bool all_done(void *data)
{
	struct joiner *joiners = data;

	for (int i = 0; i < JOINERS; i++) {
		if (!joiners[i].reply.done)
			return false;
	}
	return true;
}

/* Many at once with one token: exactly as many get in as it has uses, and as many nodes are there. */
static void uses_cannot_be_raced(void **state)
{
	struct bed *b = *state;
	_cleanup_secret_ char *token = limited_token(b, 5);
	size_t before = view_count(store_view(b->store), KIND_NODE);
	struct joiner joiners[JOINERS];
	int in = 0;

	for (int i = 0; i < JOINERS; i++)
		joiner_init(b, &joiners[i], NULL);
	for (int i = 0; i < JOINERS; i++)
		start_issue(&joiners[i], token);
	assert_true(loop_until(&b->loop, all_done, joiners));
	for (int i = 0; i < JOINERS; i++) {
		if (joiners[i].reply.response) {
			in++;
			continue;
		}
		assert_int_equal(joiners[i].reply.err.code, ERR_DENIED);
		assert_string_equal(joiners[i].reply.err.msg, "join token has been used 5 of 5 times");
	}
	for (int i = 0; i < JOINERS; i++)
		joiner_fini(&joiners[i]);
	assert_int_equal(in, 5);
	assert_int_equal(view_count(store_view(b->store), KIND_NODE), before + 5);
}

/* A second manager of the same cluster: own connection to etcd, own view. */
struct second {
	struct etcd *client;
	struct store *store;
	struct rpc_server *server;
	struct ca *ca;
	int port;
};

static void second_start(struct bed *b, struct second *m)
{
	const char *endpoints[] = {b->etcd.endpoint, NULL};
	struct etcd_options etcd = {.endpoints = endpoints};
	struct ca_options options = {.loop = &b->loop};
	bool started = false;

	m->client = etcd_new(&b->loop, &etcd, NULL);
	m->store = store_new(&b->loop, m->client, "/skein/v1");
	store_start(m->store, on_started, &started);
	assert_true(loop_until_set(&b->loop, &started));
	options.store = m->store;
	m->ca = ca_new(&options);
	m->server = rpc_server_new(b->rpc, b->creds);
	ca_add_to(m->ca, m->server);
	assert_int_equal(rpc_server_listen(m->server, "127.0.0.1:0", 0, &m->port, NULL), 0);
	rpc_server_start(m->server);
}

static void second_stop(struct bed *b, struct second *m)
{
	bool server = false, ca = false, store = false, client = false;

	rpc_server_close(m->server, on_closed, &server);
	assert_true(loop_until_set(&b->loop, &server));
	ca_close(m->ca, on_closed, &ca);
	store_close(m->store, on_closed, &store);
	assert_true(loop_until_set(&b->loop, &ca));
	assert_true(loop_until_set(&b->loop, &store));
	etcd_close(m->client, on_closed, &client);
	assert_true(loop_until_set(&b->loop, &client));
}

struct nodes {
	struct store *store;
	size_t n;
};

static bool has_nodes(void *data)
{
	struct nodes *nodes = data;

	return view_count(store_view(nodes->store), KIND_NODE) >= nodes->n;
}

/* Two managers know nothing of each other's requests: the store tells them apart. */
static void uses_cannot_be_raced_at_two_managers(void **state)
{
	struct bed *b = *state;
	_cleanup_secret_ char *token = limited_token(b, 5);
	size_t before = view_count(store_view(b->store), KIND_NODE);
	struct joiner joiners[JOINERS];
	struct second other;
	char first[32];
	int in = 0;

	second_start(b, &other);
	strcpy(first, b->target);
	for (int i = 0; i < JOINERS; i++) {
		if (i % 2)
			snprintf(b->target, sizeof(b->target), "127.0.0.1:%d", other.port);
		else
			strcpy(b->target, first);
		joiner_init(b, &joiners[i], NULL);
	}
	for (int i = 0; i < JOINERS; i++)
		start_issue(&joiners[i], token);
	assert_true(loop_until(&b->loop, all_done, joiners));
	for (int i = 0; i < JOINERS; i++) {
		in += joiners[i].reply.response != NULL;
		joiner_fini(&joiners[i]);
	}
	assert_int_equal(in, 5);
	assert_true(ca_stats(b->ca)->conflicts + ca_stats(other.ca)->conflicts > 0);
	second_stop(b, &other);
	assert_true(loop_until(&b->loop, has_nodes, &(struct nodes){b->store, before + 5}));
	assert_int_equal(view_count(store_view(b->store), KIND_NODE), before + 5);
}

/* Whoever guesses is told reasons ten times a second; a good token gets in meanwhile. */
static void guessing_is_bounded(void **state)
{
	struct bed *b = *state;
	_cleanup_secret_ char *wrong = xstrdup(b->boot.worker_token);
	size_t last = strlen(wrong) - 1;
	struct joiner guesser, good;
	int busy = 0;

	wrong[last] = wrong[last] == '1' ? '2' : '1';
	joiner_init(b, &guesser, NULL);
	joiner_init(b, &good, NULL);
	for (int i = 0; i < 60; i++) {
		guesser.reply = (struct reply){0};
		issue(b, &guesser, wrong);
		assert_null(guesser.reply.response);
		busy += guesser.reply.err.code == ERR_EXHAUSTED;
		if (guesser.reply.err.code != ERR_EXHAUSTED)
			assert_string_equal(guesser.reply.err.msg, "join token is not valid");
	}
	issue(b, &good, b->boot.manager_token);
	assert_non_null(good.reply.response);
	assert_int_equal(good.reply.response->role, NODE_ROLE_MANAGER);
	assert_true(busy > 0);
	assert_int_equal(ca_stats(b->ca)->refused, 60);
	joiner_fini(&guesser);
	joiner_fini(&good);
}

#define test(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(first_start_fills_etcd_once),
		test(worker_joins_and_renews),
		test(removed_node_does_not_renew),
		test(strangers_may_not_renew),
		test(uses_cannot_be_raced),
		test(uses_cannot_be_raced_at_two_managers),
		test(guessing_is_bounded),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
