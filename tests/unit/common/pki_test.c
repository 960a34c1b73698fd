#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/error.h"
#include "common/pki.h"

#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

#define SECOND INT64_C(1000000000)
#define HOUR (3600 * SECOND)
#define DAY (24 * HOUR)
#define NOW (INT64_C(1795450000) * SECOND)

/* Two clusters, made once: the tests only read them. */
static char *root, *root_key, *other_root, *other_key, *key, *csr;

static int make_roots(void **state)
{
	return pki_root_new("cluster1", NOW, &root, &root_key, NULL) ||
	       pki_root_new("cluster1", NOW, &other_root, &other_key, NULL) ||
	       pki_key_new(&key, NULL) || pki_csr_new(key, &csr, NULL);
}

static int free_roots(void **state)
{
	free(root);
	pki_secret_free(root_key);
	free(other_root);
	pki_secret_free(other_key);
	pki_secret_free(key);
	free(csr);
	return 0;
}

static struct pki_issue issue_of(enum pki_role role)
{
	return (struct pki_issue){
		.root_cert_pem = root,
		.root_key_pem = root_key,
		.csr_pem = csr,
		.node_id = "node1",
		.cluster_id = "cluster1",
		.role = role,
		.now_ns = NOW,
		.life_ns = 90 * DAY,
	};
}

static X509 *x509_of(const char *pem)
{
	BIO *bio = BIO_new_mem_buf(pem, -1);
	X509 *cert = PEM_read_bio_X509(bio, NULL, NULL, NULL);

	BIO_free(bio);
	assert_non_null(cert);
	return cert;
}

/* "URI:...,DNS:..." as OpenSSL prints an extension. */
static void ext_text(X509 *cert, int nid, char *buf, size_t size)
{
	int i = X509_get_ext_by_NID(cert, nid, -1);
	BIO *bio = BIO_new(BIO_s_mem());
	int n;

	assert_true(i >= 0);
	X509V3_EXT_print(bio, X509_get_ext(cert, i), 0, 0);
	n = BIO_read(bio, buf, (int)size - 1);
	assert_true(n > 0);
	buf[n] = '\0';
	BIO_free(bio);
}

static void root_is_a_ca(void **state)
{
	X509 *cert = x509_of(root);
	struct pki_cert info;

	assert_int_equal(pki_cert_parse(root, &info, NULL), 0);
	assert_string_equal(info.cn, "skein root");
	assert_string_equal(info.org, "cluster1");
	assert_true(info.not_before_ns == NOW - HOUR);
	assert_true(info.not_after_ns == NOW + 630720000 * SECOND);
	assert_int_equal(X509_check_ca(cert), 1);
	assert_int_equal(pki_key_check(root, root_key, NULL), 0);
	X509_free(cert);
}

static void worker_certificate(void **state)
{
	struct pki_issue issue = issue_of(PKI_WORKER);
	_cleanup_free_ char *pem = NULL;
	struct pki_cert info;
	char text[512];
	X509 *cert;

	issue.address = "10.0.0.7";
	assert_int_equal(pki_issue(&issue, &pem, NULL), 0);
	assert_int_equal(pki_cert_parse(pem, &info, NULL), 0);
	assert_string_equal(info.cn, "node1");
	assert_string_equal(info.org, "cluster1");
	assert_int_equal(info.role, PKI_WORKER);
	assert_true(info.not_before_ns == NOW - HOUR);
	assert_true(info.not_after_ns == NOW + 90 * DAY);
	assert_int_equal(pki_key_check(pem, key, NULL), 0);

	cert = x509_of(pem);
	ext_text(cert, NID_subject_alt_name, text, sizeof(text));
	assert_string_equal(text, "URI:skein://cluster1/node/node1?role=worker, DNS:node.skein.internal, "
				  "IP Address:10.0.0.7");
	ext_text(cert, NID_ext_key_usage, text, sizeof(text));
	assert_string_equal(text, "TLS Web Server Authentication, TLS Web Client Authentication");
	assert_int_equal(X509_check_ca(cert), 0);
	X509_NAME_oneline(X509_get_subject_name(cert), text, sizeof(text));
	assert_string_equal(text, "/O=cluster1/OU=worker/CN=node1");
	X509_free(cert);
}

static void manager_certificate(void **state)
{
	struct pki_issue issue = issue_of(PKI_MANAGER);
	_cleanup_free_ char *pem = NULL;
	struct pki_cert info;
	char text[512];
	X509 *cert;

	issue.address = "fd00::1";
	assert_int_equal(pki_issue(&issue, &pem, NULL), 0);
	assert_int_equal(pki_cert_parse(pem, &info, NULL), 0);
	assert_int_equal(info.role, PKI_MANAGER);
	cert = x509_of(pem);
	ext_text(cert, NID_subject_alt_name, text, sizeof(text));
	assert_string_equal(text, "URI:skein://cluster1/node/node1?role=manager, DNS:node.skein.internal, "
				  "DNS:manager.skein.internal, DNS:localhost, IP Address:127.0.0.1, "
				  "IP Address:FD00:0:0:0:0:0:0:1");
	X509_free(cert);
}

static void serials_differ(void **state)
{
	struct pki_issue issue = issue_of(PKI_WORKER);
	_cleanup_free_ char *a = NULL, *b = NULL;
	X509 *x, *y;

	assert_int_equal(pki_issue(&issue, &a, NULL), 0);
	assert_int_equal(pki_issue(&issue, &b, NULL), 0);
	x = x509_of(a);
	y = x509_of(b);
	assert_int_not_equal(ASN1_INTEGER_cmp(X509_get0_serialNumber(x), X509_get0_serialNumber(y)), 0);
	X509_free(x);
	X509_free(y);
}

/* A request may ask for whatever it likes; only its key counts. */
static void subject_of_the_request_is_ignored(void **state)
{
	EVP_PKEY *pkey = EVP_EC_gen("P-256");
	X509_REQ *req = X509_REQ_new();
	STACK_OF(X509_EXTENSION) *exts = sk_X509_EXTENSION_new_null();
	struct pki_issue issue = issue_of(PKI_WORKER);
	_cleanup_free_ char *pem = NULL, *wish = NULL;
	BIO *bio = BIO_new(BIO_s_mem());
	struct pki_cert info;
	char *data, text[512];
	X509 *cert;

	X509_NAME_add_entry_by_txt(X509_REQ_get_subject_name(req), "OU", MBSTRING_ASC,
				   (const unsigned char *)"manager", -1, -1, 0);
	sk_X509_EXTENSION_push(exts, X509V3_EXT_conf_nid(NULL, NULL, NID_basic_constraints, "CA:TRUE"));
	X509_REQ_add_extensions(req, exts);
	X509_REQ_set_pubkey(req, pkey);
	X509_REQ_sign(req, pkey, EVP_sha256());
	PEM_write_bio_X509_REQ(bio, req);
	wish = xstrndup((BIO_get_mem_data(bio, &data), data), (size_t)BIO_get_mem_data(bio, &data));
	issue.csr_pem = wish;
	assert_int_equal(pki_issue(&issue, &pem, NULL), 0);
	assert_int_equal(pki_cert_parse(pem, &info, NULL), 0);
	assert_int_equal(info.role, PKI_WORKER);
	assert_string_equal(info.cn, "node1");
	cert = x509_of(pem);
	ext_text(cert, NID_basic_constraints, text, sizeof(text));
	assert_string_equal(text, "CA:FALSE");
	X509_free(cert);
	BIO_free(bio);
	sk_X509_EXTENSION_pop_free(exts, X509_EXTENSION_free);
	X509_REQ_free(req);
	EVP_PKEY_free(pkey);
}

/* Signed by another key, cut, RSA, empty: all refused. */
static void bad_requests(void **state)
{
	struct pki_issue issue = issue_of(PKI_WORKER);
	_cleanup_free_ char *pem = NULL, *rsa = NULL, *cut = xstrndup(csr, strlen(csr) / 2), *forged = NULL;
	EVP_PKEY *pkey = EVP_RSA_gen(2048), *a = EVP_EC_gen("P-256"), *b = EVP_EC_gen("P-256");
	struct error err;

	for (int forge = 0; forge < 2; forge++) {
		X509_REQ *req = X509_REQ_new();
		BIO *bio = BIO_new(BIO_s_mem());
		char *data;
		long len;

		X509_REQ_set_pubkey(req, forge ? a : pkey);
		X509_REQ_sign(req, forge ? b : pkey, EVP_sha256());
		PEM_write_bio_X509_REQ(bio, req);
		len = BIO_get_mem_data(bio, &data);
		*(forge ? &forged : &rsa) = xstrndup(data, (size_t)len);
		BIO_free(bio);
		X509_REQ_free(req);
	}
	const char *const bad[] = {"", "x", rsa, cut, forged, root, key};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		err = ERROR_INIT;
		issue.csr_pem = bad[i];
		assert_int_equal(pki_issue(&issue, &pem, &err), -1);
		assert_int_equal(err.code, ERR_INVALID);
	}
	EVP_PKEY_free(pkey);
	EVP_PKEY_free(a);
	EVP_PKEY_free(b);
}

static void bad_names_and_addresses(void **state)
{
	static const char *const ids[] = {"", "a/b", "a,b", "a?role=manager", "a b",
		"0123456789012345678901234567890123456789012345678901234567890123"};
	static const char *const addresses[] = {"host", "10.0.0", "10.0.0.1/8", "10.0.0.1,DNS:x", "::g"};
	struct pki_issue issue = issue_of(PKI_WORKER);
	_cleanup_free_ char *pem = NULL;
	struct error err = ERROR_INIT;

	for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
		issue.node_id = ids[i];
		assert_int_equal(pki_issue(&issue, &pem, &err), -1);
		assert_int_equal(err.code, ERR_INVALID);
	}
	issue.node_id = "n";
	for (size_t i = 0; i < ARRAY_SIZE(addresses); i++) {
		issue.address = addresses[i];
		assert_int_equal(pki_issue(&issue, &pem, &err), -1);
		assert_non_null(strstr(err.msg, addresses[i]));
	}
}

static void verify_checks_signer_time_and_name(void **state)
{
	struct pki_issue issue = issue_of(PKI_WORKER);
	_cleanup_free_ char *worker = NULL, *manager = NULL, *chain = NULL, *mixed = NULL;
	struct error err = ERROR_INIT;

	assert_int_equal(pki_issue(&issue, &worker, NULL), 0);
	issue.role = PKI_MANAGER;
	assert_int_equal(pki_issue(&issue, &manager, NULL), 0);
	chain = pki_chain(manager, root);

	assert_int_equal(pki_verify(root, chain, PKI_MANAGER_NAME, NOW, NULL), 0);
	assert_int_equal(pki_verify(root, worker, PKI_NODE_NAME, NOW, NULL), 0);
	assert_int_equal(pki_verify(root, worker, NULL, NOW, NULL), 0);
	assert_int_equal(pki_verify(root, worker, PKI_MANAGER_NAME, NOW, &err), -1);
	assert_int_equal(err.code, ERR_DENIED);
	assert_non_null(strstr(err.msg, "ostname mismatch"));
	assert_int_equal(pki_verify(root, chain, PKI_MANAGER_NAME, NOW + 91 * DAY, &err), -1);
	assert_non_null(strstr(err.msg, "expired"));
	assert_int_equal(pki_verify(root, chain, PKI_MANAGER_NAME, NOW - 2 * HOUR, &err), -1);
	assert_non_null(strstr(err.msg, "not yet valid"));
	/* The other root has the same subject; and the public root behind a foreign leaf proves nothing. */
	assert_int_equal(pki_verify(other_root, chain, PKI_MANAGER_NAME, NOW, &err), -1);
	issue.root_cert_pem = other_root;
	issue.root_key_pem = other_key;
	free(TAKE_PTR(manager));
	assert_int_equal(pki_issue(&issue, &manager, NULL), 0);
	mixed = pki_chain(manager, root);
	assert_int_equal(pki_verify(root, mixed, PKI_MANAGER_NAME, NOW, &err), -1);
}

static void node_certificates_do_not_sign(void **state)
{
	struct pki_issue issue = issue_of(PKI_MANAGER);
	_cleanup_free_ char *manager = NULL, *forged = NULL;

	assert_int_equal(pki_issue(&issue, &manager, NULL), 0);
	issue.root_cert_pem = manager;
	issue.root_key_pem = key;
	assert_int_equal(pki_issue(&issue, &forged, NULL), 0);
	assert_int_equal(pki_verify(root, forged, NULL, NOW, NULL), -1);
	assert_int_equal(pki_verify(manager, forged, NULL, NOW, NULL), -1);
}

static void digest_finds_the_root_in_a_chain(void **state)
{
	struct pki_issue issue = issue_of(PKI_WORKER);
	unsigned char digest[PKI_DIGEST_BYTES], other[PKI_DIGEST_BYTES];
	_cleanup_free_ char *pem = NULL, *chain = NULL, *found = NULL;
	struct error err = ERROR_INIT;

	assert_int_equal(pki_issue(&issue, &pem, NULL), 0);
	chain = pki_chain(pem, root);
	assert_int_equal(pki_cert_digest(root, digest, NULL), 0);
	assert_int_equal(pki_cert_digest(other_root, other, NULL), 0);
	assert_false(pki_digest_equal(digest, other));
	assert_int_equal(pki_chain_find(chain, digest, &found, NULL), 0);
	assert_string_equal(found, root);
	assert_int_equal(pki_chain_find(chain, other, &found, &err), -1);
	assert_int_equal(err.code, ERR_NOT_FOUND);
	assert_int_equal(pki_chain_find("", digest, &found, &err), -1);
}

static void life_ends_with_the_root(void **state)
{
	struct pki_issue issue = issue_of(PKI_WORKER);
	_cleanup_free_ char *pem = NULL;
	struct pki_cert info;

	issue.now_ns = NOW + 630720000 * SECOND - DAY;
	assert_int_equal(pki_issue(&issue, &pem, NULL), 0);
	assert_int_equal(pki_cert_parse(pem, &info, NULL), 0);
	assert_true(info.not_after_ns == NOW + 630720000 * SECOND);
}

static void foreign_key_is_noticed(void **state)
{
	struct error err = ERROR_INIT;

	assert_int_equal(pki_key_check(root, key, &err), -1);
	assert_int_equal(err.code, ERR_DATA_LOSS);
	assert_int_equal(pki_key_check("", key, &err), -1);
	assert_int_equal(pki_key_check(root, "", &err), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(root_is_a_ca),
		cmocka_unit_test(worker_certificate),
		cmocka_unit_test(manager_certificate),
		cmocka_unit_test(serials_differ),
		cmocka_unit_test(subject_of_the_request_is_ignored),
		cmocka_unit_test(bad_requests),
		cmocka_unit_test(bad_names_and_addresses),
		cmocka_unit_test(verify_checks_signer_time_and_name),
		cmocka_unit_test(node_certificates_do_not_sign),
		cmocka_unit_test(digest_finds_the_root_in_a_chain),
		cmocka_unit_test(life_ends_with_the_root),
		cmocka_unit_test(foreign_key_is_noticed),
	};

	return cmocka_run_group_tests(tests, make_roots, free_roots);
}
