#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "agent/identity.h"
#include "common/error.h"
#include "common/mem.h"

#include <string.h>

#define HOUR INT64_C(3600000000000)
#define DAY (24 * HOUR)
#define NOW (INT64_C(1795450000) * 1000000000)

static char *root, *root_key, *other_root, *other_key, *key, *csr;

static int setup_all(void **state)
{
	return pki_root_new("c1", NOW, &root, &root_key, NULL) ||
	       pki_root_new("c1", NOW, &other_root, &other_key, NULL) || pki_key_new(&key, NULL) ||
	       pki_csr_new(key, &csr, NULL);
}

static int teardown_all(void **state)
{
	free(root);
	pki_secret_free(root_key);
	free(other_root);
	pki_secret_free(other_key);
	pki_secret_free(key);
	free(csr);
	return 0;
}

static void renews_between_50_and_80_percent_of_the_life(void **state)
{
	/* 90 days from NOW; back-dated by an hour, which does not count. */
	int64_t from = NOW - HOUR, to = NOW + 90 * DAY;

	assert_true(identity_renew_at(from, to, 0) == NOW + 45 * DAY);
	assert_true(identity_renew_at(from, to, UINT32_MAX) == NOW + 72 * DAY);
	assert_true(identity_renew_at(from, to, UINT32_MAX / 2) > NOW + 58 * DAY);
	assert_true(identity_renew_at(from, to, UINT32_MAX / 2) < NOW + 59 * DAY);
}

/* The shortest life allowed, an hour, is not renewed at once because of the back-dating. */
static void short_lives_are_not_renewed_at_once(void **state)
{
	assert_true(identity_renew_at(NOW - HOUR, NOW + HOUR, 0) == NOW + HOUR / 2);
	assert_true(identity_renew_at(NOW - HOUR, NOW - HOUR / 2, 0) == NOW - HOUR + HOUR / 4);
}

static Skein__IssueResponse response_of(enum pki_role role, const char *from, const char *from_key, char **ret_chain)
{
	Skein__IssueResponse response = SKEIN__ISSUE_RESPONSE__INIT;
	_cleanup_free_ char *leaf = NULL;
	struct pki_issue issue = {
		.root_cert_pem = from,
		.root_key_pem = from_key,
		.csr_pem = csr,
		.node_id = "n1",
		.cluster_id = "c1",
		.role = role,
		.now_ns = NOW,
		.life_ns = DAY,
	};
	static char *managers[] = {(char *)"10.0.0.1:2377", (char *)"10.0.0.2:2377"};

	assert_int_equal(pki_issue(&issue, &leaf, NULL), 0);
	*ret_chain = pki_chain(leaf, from);
	response.node_id = (char *)"n1";
	response.cluster_id = (char *)"c1";
	response.role = (Skein__NodeRole)role;
	response.cert_pem = *ret_chain;
	response.root_cert_pem = (char *)from;
	response.managers = managers;
	response.n_managers = 2;
	return response;
}

static void good_answer_is_taken(void **state)
{
	_cleanup_identity_ struct identity_data data = {.key_pem = xstrdup(key), .address = xstrdup("10.0.0.9")};
	_cleanup_free_ char *chain = NULL;
	Skein__IssueResponse response = response_of(PKI_MANAGER, root, root_key, &chain);

	assert_int_equal(identity_accept(&data, &response, root, NOW, NULL), 0);
	assert_string_equal(data.node_id, "n1");
	assert_string_equal(data.cluster_id, "c1");
	assert_int_equal(data.role, PKI_MANAGER);
	assert_string_equal(data.root_pem, root);
	assert_string_equal(data.cert_pem, chain);
	assert_string_equal(data.address, "10.0.0.9");
	assert_int_equal(data.managers.n, 2);
	assert_true(data.not_after_ns == NOW + DAY);

	/* An answer without managers leaves those known. */
	response.n_managers = 0;
	assert_int_equal(identity_accept(&data, &response, data.root_pem, NOW, NULL), 0);
	assert_int_equal(data.managers.n, 2);
}

static void bad_answers_change_nothing(void **state)
{
	_cleanup_identity_ struct identity_data data = {.key_pem = xstrdup(key), .node_id = xstrdup("old")};
	_cleanup_free_ char *chain = NULL, *foreign = NULL;
	Skein__IssueResponse good = response_of(PKI_WORKER, root, root_key, &chain), bad[6];
	struct error err;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		bad[i] = good;
	bad[0] = response_of(PKI_WORKER, other_root, other_key, &foreign);
	bad[1].node_id = (char *)"n2";
	bad[2].cluster_id = (char *)"c2";
	bad[3].role = SKEIN__NODE_ROLE__MANAGER;
	bad[4].cert_pem = (char *)"";
	bad[5].cert_pem = root;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		err = ERROR_INIT;
		assert_int_equal(identity_accept(&data, &bad[i], root, NOW, &err), -1);
		assert_true(error_is_set(&err));
		assert_string_equal(data.node_id, "old");
		assert_null(data.cert_pem);
	}
	assert_int_equal(identity_accept(&data, &good, root, NOW + 2 * DAY, &err), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(renews_between_50_and_80_percent_of_the_life),
		cmocka_unit_test(short_lives_are_not_renewed_at_once),
		cmocka_unit_test(good_answer_is_taken),
		cmocka_unit_test(bad_answers_change_nothing),
	};

	return cmocka_run_group_tests(tests, setup_all, teardown_all);
}
