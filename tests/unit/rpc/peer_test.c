#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "rpc/internal.h"
#include "support/pki.h"

#include <time.h>

static struct pki pki;
static struct peer_cache *cache;

static int setup(void **state)
{
	pki_init(&pki, "test ca");
	cache = peer_cache_new();
	return 0;
}

static int teardown(void **state)
{
	pki_fini(&pki);
	peer_cache_free(cache);
	return 0;
}

/* The role of a certificate at a time from now; fills ret. */
static unsigned role_at(struct pki_cert cert, long in_s, struct rpc_peer *ret)
{
	*ret = (struct rpc_peer){0};
	peer_from_pem(cache, cert.cert_pem, strlen(cert.cert_pem), time(NULL) + in_s, ret);
	pki_cert_fini(&cert);
	return ret->role;
}

static void our_certificates_have_their_role(void **state)
{
	struct rpc_peer peer;

	assert_int_equal(role_at(pki_node(&pki, "n1", "manager", 3600), 0, &peer),
			 RPC_ROLE_MANAGER);
	assert_string_equal(peer.node_id, "n1");
	assert_string_equal(peer.cluster_id, "c1");
	assert_int_equal(role_at(pki_node(&pki, "n2", "worker", 3600), 0, &peer), RPC_ROLE_WORKER);
	assert_string_equal(peer.node_id, "n2");
}

static void expired_since_the_handshake_is_nobody(void **state)
{
	struct rpc_peer peer;

	assert_int_equal(role_at(pki_node(&pki, "n1", "manager", 3600), 3500, &peer),
			 RPC_ROLE_MANAGER);
	assert_int_equal(role_at(pki_node(&pki, "n1", "manager", 3600), 3700, &peer),
			 RPC_ROLE_ANONYMOUS);
	assert_string_equal(peer.node_id, "");
}

/* Asked again, in another order, and with more certificates than are remembered. */
static void what_is_remembered_is_the_same(void **state)
{
	struct pki_cert a = pki_node(&pki, "a", "manager", 3600),
			b = pki_node(&pki, "b", "worker", 3600);
	struct rpc_peer peer = {0};

	for (int i = 0; i < 3000; i++) {
		char other[64];
		int len = snprintf(other, sizeof(other), "not a certificate %d", i);

		peer_from_pem(cache, a.cert_pem, strlen(a.cert_pem), time(NULL), &peer);
		assert_string_equal(peer.node_id, "a");
		assert_int_equal(peer.role, RPC_ROLE_MANAGER);
		peer_from_pem(cache, other, (size_t)len, time(NULL), &peer);
		assert_int_equal(peer.role, RPC_ROLE_ANONYMOUS);
		peer_from_pem(cache, b.cert_pem, strlen(b.cert_pem), time(NULL), &peer);
		assert_string_equal(peer.node_id, "b");
		assert_int_equal(peer.role, RPC_ROLE_WORKER);
	}
	peer_from_pem(cache, a.cert_pem, strlen(a.cert_pem), time(NULL) + 3700, &peer);
	assert_int_equal(peer.role, RPC_ROLE_ANONYMOUS);
	pki_cert_fini(&a);
	pki_cert_fini(&b);
}

static void subject_and_uri_have_to_agree(void **state)
{
	static const struct {
		const char *cn, *o, *ou, *san;
	} bad[] = {
		{"n1", "c1", "manager", NULL},
		{"n1", "c1", "manager", "DNS:manager.skein.internal"},
		{"n1", "c1", "manager", "URI:skein://c1/node/n1?role=worker"},
		{"n1", "c1", "worker", "URI:skein://c1/node/n1?role=manager"},
		{"n1", "c1", "manager", "URI:skein://c1/node/n2?role=manager"},
		{"n1", "c1", "manager", "URI:skein://c2/node/n1?role=manager"},
		{"n1", "c1", "manager", "URI:skein://c1/node/n1?role=manager2"},
		{"n1", "c1", "manager", "DNS:skein://c1/node/n1?role=manager"},
		{"n1", "c1", "root", "URI:skein://c1/node/n1?role=root"},
		{"n1", "c1", NULL, "URI:skein://c1/node/n1?role="},
		{NULL, "c1", "manager", "URI:skein://c1/node/?role=manager"},
		{"n1", NULL, "manager", "URI:skein:///node/n1?role=manager"},
		{"n/1", "c1", "manager", "URI:skein://c1/node/n/1?role=manager"},
	};
	struct rpc_peer peer;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		unsigned role =
			role_at(pki_issue(&pki, bad[i].cn, bad[i].o, bad[i].ou, bad[i].san, 3600),
				0, &peer);

		if (role != RPC_ROLE_ANONYMOUS)
			fail_msg("certificate %zu got role %u", i, role);
		assert_string_equal(peer.node_id, "");
		assert_string_equal(peer.cluster_id, "");
	}
}

static void two_names_of_a_kind_are_refused(void **state)
{
	struct pki_cert cert;
	struct rpc_peer peer;
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *x = pki_blank(key, 3600);

	pki_subject(X509_get_subject_name(x), "CN", "n1");
	pki_subject(X509_get_subject_name(x), "O", "c1");
	pki_subject(X509_get_subject_name(x), "OU", "manager");
	pki_subject(X509_get_subject_name(x), "OU", "worker");
	pki_extension(x, pki.cert, NID_subject_alt_name, "URI:skein://c1/node/n1?role=manager");
	X509_sign(x, pki.key, EVP_sha256());
	cert = (struct pki_cert){.cert_pem = pki_cert_pem(x)};
	X509_free(x);
	EVP_PKEY_free(key);
	assert_int_equal(role_at(cert, 0, &peer), RPC_ROLE_ANONYMOUS);
}

static void rubbish_is_nobody(void **state)
{
	struct rpc_peer peer = {0};

	peer_from_pem(cache, "", 0, time(NULL), &peer);
	assert_int_equal(peer.role, RPC_ROLE_ANONYMOUS);
	peer_from_pem(cache, "-----BEGIN CERTIFICATE-----\nAAAA\n", 33, time(NULL), &peer);
	assert_int_equal(peer.role, RPC_ROLE_ANONYMOUS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(our_certificates_have_their_role),
		cmocka_unit_test(expired_since_the_handshake_is_nobody),
		cmocka_unit_test(what_is_remembered_is_the_same),
		cmocka_unit_test(subject_and_uri_have_to_agree),
		cmocka_unit_test(two_names_of_a_kind_are_refused),
		cmocka_unit_test(rubbish_is_nobody),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
