#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/error.h"
#include "common/mem.h"
#include "manager/ca/admit.h"
#include "manager/store/txn.h"
#include "support/ca_view.h"

#include <string.h>

#define NOW CA_VIEW_NOW
#define HOUR INT64_C(3600000000000)

static char *key, *csr;

static int make_csr(void **state)
{
	return pki_key_new(&key, NULL) || pki_csr_new(key, &csr, NULL);
}

static int free_csr(void **state)
{
	pki_secret_free(key);
	free(csr);
	return 0;
}

static int setup(void **state)
{
	*state = ca_view_new("cluster1");
	return 0;
}

static int teardown(void **state)
{
	view_free(*state);
	return 0;
}

static char *standing(struct view *v, int role)
{
	unsigned char random[CA_TOKEN_RANDOM_BYTES] = {0};
	struct txn *t = txn_begin(v);
	char *text = NULL;

	assert_int_equal(ca_token_standing(v, t, role, false, NOW, random, &text, NULL), 0);
	txn_free(t);
	return text;
}

static char *limited(struct view *v, unsigned uses)
{
	Skein__CreateTokenRequest request = SKEIN__CREATE_TOKEN_REQUEST__INIT;
	unsigned char random[CA_TOKEN_RANDOM_BYTES] = {1};
	pb_kv kv = SKEIN__KEY_VALUE__INIT, *kvs[] = {&kv};
	struct txn *t = txn_begin(v);
	_cleanup_free_ char *id = NULL;
	char *text = NULL;

	kv.key = (char *)"rack";
	kv.value = (char *)"a";
	request.labels = kvs;
	request.n_labels = 1;
	request.max_uses = uses;
	assert_int_equal(ca_token_create(v, t, &request, NOW, random, &id, &text, NULL), 0);
	ca_view_commit(v, t);
	return text;
}

static Skein__IssueRequest request_of(const char *token)
{
	Skein__IssueRequest request = SKEIN__ISSUE_REQUEST__INIT;

	request.token = (char *)token;
	request.csr_pem = csr;
	request.address = (char *)"10.0.0.7";
	request.hostname = (char *)"host7";
	request.availability = SKEIN__AVAILABILITY__DRAIN;
	return request;
}

static void join_makes_a_node(void **state)
{
	_cleanup_secret_ char *token = standing(*state, NODE_ROLE_WORKER);
	Skein__IssueRequest request = request_of(token);
	_cleanup_pb_ Skein__IssueResponse *response = NULL;
	struct txn *t = txn_begin(*state);
	const struct txn_change *changes;
	struct pki_cert cert;
	const pb_node *node;
	size_t n;

	assert_int_equal(ca_admit_join(*state, t, &request, "n7", NOW, &response, NULL), 0);
	changes = txn_changes(t, &n);
	assert_int_equal(n, 2);
	assert_true(changes[0].check_only); /* the token must not change meanwhile */
	assert_string_equal(changes[0].id, "worker");
	ca_view_commit(*state, t);

	node = view_node(*state, "n7");
	assert_non_null(node);
	assert_string_equal(node->spec->name, "host7");
	assert_string_equal(node->description->hostname, "host7");
	assert_string_equal(node->status->address, "10.0.0.7");
	assert_int_equal(node->spec->availability, AVAILABILITY_DRAIN);
	assert_int_equal(node->status->state, NODE_UNKNOWN);
	assert_int_equal(node->role, NODE_ROLE_WORKER);
	assert_true(node->cert_expires_at == NOW + CA_CERT_LIFE_DEFAULT_NS);

	assert_string_equal(response->node_id, "n7");
	assert_string_equal(response->cluster_id, "cluster1");
	assert_int_equal(pki_cert_parse(response->cert_pem, &cert, NULL), 0);
	assert_string_equal(cert.cn, "n7");
	assert_int_equal(cert.role, PKI_WORKER);
	assert_int_equal(pki_verify(response->root_cert_pem, response->cert_pem, PKI_NODE_NAME, NOW, NULL), 0);
	assert_int_equal(pki_key_check(response->cert_pem, key, NULL), 0);
}

static void uses_are_counted_with_the_node(void **state)
{
	_cleanup_secret_ char *token = limited(*state, 2);
	Skein__IssueRequest request = request_of(token);
	static const char *const ids[] = {"n1", "n2"};
	_cleanup_pb_ Skein__IssueResponse *last = NULL;
	struct error err = ERROR_INIT;
	struct txn *t;

	for (unsigned i = 0; i < 2; i++) {
		_cleanup_pb_ Skein__IssueResponse *response = NULL;
		const struct txn_change *changes;
		size_t n;

		t = txn_begin(*state);
		assert_int_equal(ca_admit_join(*state, t, &request, ids[i], NOW, &response, NULL), 0);
		changes = txn_changes(t, &n);
		assert_int_equal(n, 2);
		assert_int_equal(changes[0].kind, KIND_TOKEN);
		assert_int_equal(((const pb_token *)changes[0].obj)->uses, i + 1);
		assert_int_equal(changes[1].kind, KIND_NODE);
		assert_int_equal(changes[1].revision, 0);
		ca_view_commit(*state, t);
		assert_string_equal(pb_kv_get(view_node(*state, ids[i])->spec->labels,
					      view_node(*state, ids[i])->spec->n_labels, "rack"), "a");
	}
	t = txn_begin(*state);
	assert_int_equal(ca_admit_join(*state, t, &request, "n3", NOW, &last, &err), -1);
	assert_string_equal(err.msg, "join token has been used 2 of 2 times");
	assert_true(txn_empty(t));
	txn_free(t);
}

static void bad_requests_stage_nothing(void **state)
{
	_cleanup_secret_ char *token = standing(*state, NODE_ROLE_MANAGER);
	_cleanup_pb_ Skein__IssueResponse *response = NULL;
	struct txn *t = txn_begin(*state);
	Skein__IssueRequest bad[5];
	struct error err;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		bad[i] = request_of(token);
	bad[0].hostname = (char *)"a b";
	bad[1].availability = 9;
	bad[2].csr_pem = key;
	bad[3].address = (char *)"host7";
	bad[4].token = (char *)"SKEIN-1-";
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		err = ERROR_INIT;
		assert_int_equal(ca_admit_join(*state, t, &bad[i], "n", NOW, &response, &err), -1);
		assert_int_equal(err.code, ERR_INVALID);
		assert_true(txn_empty(t));
	}
	txn_free(t);
}

static void put_node(struct view *v, const char *id, int role, int wanted, const char *manager)
{
	struct ca_node node = {.id = id, .hostname = id, .address = "10.0.0.1", .role = role, .now = NOW};
	pb_node *n = ca_node_new(&node);

	n->spec->role = (Skein__NodeRole)wanted;
	if (manager) {
		n->manager = pb_new(&skein__manager_status__descriptor);
		pb_set_str(&n->manager->address, manager);
	}
	pb_free(view_put(v, KIND_NODE, n));
}

static void renew_grants_the_wanted_role(void **state)
{
	Skein__RenewRequest request = SKEIN__RENEW_REQUEST__INIT;
	_cleanup_pb_ Skein__IssueResponse *response = NULL;
	struct txn *t = txn_begin(*state);
	struct pki_cert cert;

	put_node(*state, "n1", NODE_ROLE_WORKER, NODE_ROLE_MANAGER, NULL);
	put_node(*state, "n2", NODE_ROLE_MANAGER, NODE_ROLE_MANAGER, "10.0.0.2:2377");
	request.csr_pem = csr;
	assert_int_equal(ca_admit_renew(*state, t, "n1", &request, NOW + HOUR, &response, NULL), 0);
	ca_view_commit(*state, t);
	assert_int_equal(response->role, NODE_ROLE_MANAGER);
	assert_int_equal(response->n_managers, 1);
	assert_string_equal(response->managers[0], "10.0.0.2:2377");
	assert_int_equal(pki_cert_parse(response->cert_pem, &cert, NULL), 0);
	assert_int_equal(cert.role, PKI_MANAGER);
	assert_int_equal(view_node(*state, "n1")->role, NODE_ROLE_MANAGER);
	assert_true(view_node(*state, "n1")->cert_expires_at == cert.not_after_ns);
}

static void removed_nodes_do_not_renew(void **state)
{
	Skein__RenewRequest request = SKEIN__RENEW_REQUEST__INIT;
	_cleanup_pb_ Skein__IssueResponse *response = NULL;
	struct error err = ERROR_INIT;
	struct txn *t = txn_begin(*state);

	request.csr_pem = csr;
	assert_int_equal(ca_admit_renew(*state, t, "gone", &request, NOW, &response, &err), -1);
	assert_int_equal(err.code, ERR_DENIED);
	assert_string_equal(err.msg, "node was removed from the cluster");
	txn_free(t);
}

static void life_follows_the_cluster_spec(void **state)
{
	pb_cluster_spec spec = SKEIN__CLUSTER_SPEC__INIT;

	assert_true(ca_cert_life(NULL) == 90 * 24 * HOUR);
	assert_true(ca_cert_life(&spec) == 90 * 24 * HOUR);
	spec.cert_expiry = 1;
	assert_true(ca_cert_life(&spec) == HOUR);
	spec.cert_expiry = 5 * HOUR;
	assert_true(ca_cert_life(&spec) == 5 * HOUR);
}

#define test(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(join_makes_a_node),
		test(uses_are_counted_with_the_node),
		test(bad_requests_stage_nothing),
		test(renew_grants_the_wanted_role),
		test(removed_nodes_do_not_renew),
		test(life_follows_the_cluster_spec),
	};

	return cmocka_run_group_tests(tests, make_csr, free_csr);
}
