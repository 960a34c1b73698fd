#include "pki.h"

#include "error.h"
#include "str.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <limits.h>
#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <time.h>

#define SECOND_NS INT64_C(1000000000)
#define ROOT_LIFE_NS (INT64_C(630720000) * SECOND_NS) /* 20 years */
#define CHAIN_MAX 8

DEFINE_CLEANUP(BIO *, BIO_free_all)
DEFINE_CLEANUP(EVP_PKEY *, EVP_PKEY_free)
DEFINE_CLEANUP(X509 *, X509_free)
DEFINE_CLEANUP(X509_REQ *, X509_REQ_free)
DEFINE_CLEANUP(X509_STORE *, X509_STORE_free)
DEFINE_CLEANUP(X509_STORE_CTX *, X509_STORE_CTX_free)
DEFINE_CLEANUP(BIGNUM *, BN_free)
DEFINE_CLEANUP(GENERAL_NAMES *, GENERAL_NAMES_free)

/* ERR_INTERNAL with OpenSSL's reason; its queue is per thread and empty afterwards. */
static int openssl_failed(struct error *err, const char *what)
{
	unsigned long code = ERR_get_error();
	const char *reason = code ? ERR_reason_error_string(code) : NULL;

	ERR_clear_error();
	return error_set(err, ERR_INTERNAL, "%s: %s", what, reason ? reason : "OpenSSL failed");
}

void pki_secret_free(char *pem)
{
	if (pem)
		mem_wipe(pem, strlen(pem));
	free(pem);
}

void pki_random(void *ret, size_t len)
{
	if (len > INT_MAX || RAND_bytes(ret, (int)len) != 1)
		abort();
}

void pki_sha256(const void *data, size_t len, unsigned char ret[static PKI_DIGEST_BYTES])
{
	SHA256(data, len, ret);
}

bool pki_digest_equal(const unsigned char a[static PKI_DIGEST_BYTES],
		      const unsigned char b[static PKI_DIGEST_BYTES])
{
	return CRYPTO_memcmp(a, b, PKI_DIGEST_BYTES) == 0;
}

/* ---- PEM in and out */

/* Reads from the caller's memory; NULL when it is too long. */
static BIO *bio_of(const char *pem)
{
	size_t len = pem ? strlen(pem) : 0;

	return len && len <= PKI_PEM_MAX_BYTES ? BIO_new_mem_buf(pem, (int)len) : NULL;
}

/* Never ask on the terminal for a password. */
static int no_password(char *buf, int size, int rwflag, void *data)
{
	return -1;
}

static X509 *read_cert(const char *pem, struct error *err)
{
	_cleanup_(BIO_free_allp) BIO *bio = bio_of(pem);
	X509 *cert = bio ? PEM_read_bio_X509(bio, NULL, no_password, NULL) : NULL;

	ERR_clear_error();
	if (!cert)
		error_set(err, ERR_INVALID, "not a certificate in PEM form of at most %u bytes",
			  PKI_PEM_MAX_BYTES);
	return cert;
}

static EVP_PKEY *read_key(const char *pem, struct error *err)
{
	_cleanup_(BIO_free_allp) BIO *bio = bio_of(pem);
	EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL) : NULL;

	ERR_clear_error();
	if (!key)
		error_set(err, ERR_INVALID, "not a private key in PEM form");
	return key;
}

static char *bio_take(BIO *bio)
{
	char *data;
	long len = BIO_get_mem_data(bio, &data);

	return xstrndup(data, len > 0 ? (size_t)len : 0);
}

static int write_cert(X509 *cert, char **ret_pem, struct error *err)
{
	_cleanup_(BIO_free_allp) BIO *bio = BIO_new(BIO_s_mem());

	if (!bio || PEM_write_bio_X509(bio, cert) != 1)
		return openssl_failed(err, "write the certificate");
	*ret_pem = bio_take(bio);
	return 0;
}

static int write_key(EVP_PKEY *key, char **ret_pem, struct error *err)
{
	/* A secmem BIO clears its buffer when it is freed. */
	_cleanup_(BIO_free_allp) BIO *bio = BIO_new(BIO_s_secmem());

	if (!bio || PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) != 1)
		return openssl_failed(err, "write the key");
	*ret_pem = bio_take(bio);
	return 0;
}

/* ---- keys and requests */

static EVP_PKEY *new_key(struct error *err)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");

	if (!key)
		openssl_failed(err, "make a key");
	return key;
}

int pki_key_new(char **ret_key_pem, struct error *err)
{
	_cleanup_(EVP_PKEY_freep) EVP_PKEY *key = new_key(err);

	return key ? write_key(key, ret_key_pem, err) : -1;
}

int pki_csr_new(const char *key_pem, char **ret_csr_pem, struct error *err)
{
	_cleanup_(EVP_PKEY_freep) EVP_PKEY *key = read_key(key_pem, err);
	_cleanup_(X509_REQ_freep) X509_REQ *req = X509_REQ_new();
	_cleanup_(BIO_free_allp) BIO *bio = BIO_new(BIO_s_mem());

	if (!key)
		return -1;
	if (!req || !bio || X509_REQ_set_version(req, X509_REQ_VERSION_1) != 1 ||
	    X509_REQ_set_pubkey(req, key) != 1 || X509_REQ_sign(req, key, EVP_sha256()) <= 0 ||
	    PEM_write_bio_X509_REQ(bio, req) != 1)
		return openssl_failed(err, "make a certificate request");
	*ret_csr_pem = bio_take(bio);
	return 0;
}

static bool is_p256(const EVP_PKEY *key)
{
	char group[32] = "";

	return EVP_PKEY_is_a(key, "EC") &&
	       EVP_PKEY_get_group_name((EVP_PKEY *)key, group, sizeof(group), NULL) == 1 &&
	       str_eq(group, SN_X9_62_prime256v1);
}

/* The public key of a request whose signature is right; borrowed from ret_req. */
static EVP_PKEY *read_csr(const char *pem, X509_REQ **ret_req, struct error *err)
{
	_cleanup_(BIO_free_allp) BIO *bio = bio_of(pem);
	_cleanup_(X509_REQ_freep) X509_REQ *req = bio ? PEM_read_bio_X509_REQ(bio, NULL, no_password, NULL)
						      : NULL;
	EVP_PKEY *key = req ? X509_REQ_get0_pubkey(req) : NULL;
	bool good = key && is_p256(key) && X509_REQ_verify(req, key) == 1;

	ERR_clear_error();
	if (!good) {
		error_set(err, ERR_INVALID,
			  "not a certificate request: accepted is PEM with an EC P-256 key, signed by that key");
		return NULL;
	}
	*ret_req = TAKE_PTR(req);
	return key;
}

/* ---- building certificates */

static int set_serial(X509 *cert)
{
	_cleanup_(BN_freep) BIGNUM *bn = BN_new();

	return bn && BN_rand(bn, 128, BN_RAND_TOP_ANY, BN_RAND_BOTTOM_ANY) == 1 &&
	       BN_to_ASN1_INTEGER(bn, X509_get_serialNumber(cert)) ? 0 : -1;
}

static int set_validity(X509 *cert, int64_t from_ns, int64_t to_ns)
{
	return ASN1_TIME_set(X509_getm_notBefore(cert), from_ns / SECOND_NS) &&
	       ASN1_TIME_set(X509_getm_notAfter(cert), to_ns / SECOND_NS) ? 0 : -1;
}

static int set_subject(X509 *cert, const char *cn, const char *ou, const char *org)
{
	const struct {
		const char *field, *value;
	} parts[] = {{"O", org}, {"OU", ou}, {"CN", cn}};
	X509_NAME *name = X509_get_subject_name(cert);

	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		if (parts[i].value &&
		    X509_NAME_add_entry_by_txt(name, parts[i].field, MBSTRING_ASC,
					       (const unsigned char *)parts[i].value, -1, -1, 0) != 1)
			return -1;
	}
	return 0;
}

/* Constant text only: values from outside never go through OpenSSL's configuration syntax. */
static int add_ext(X509 *cert, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX ctx;
	X509_EXTENSION *ext;
	int ok;

	X509V3_set_ctx_nodb(&ctx);
	X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
	ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	ok = ext && X509_add_ext(cert, ext, -1) == 1;
	X509_EXTENSION_free(ext);
	return ok ? 0 : -1;
}

/* type: GEN_DNS, GEN_URI or GEN_IPADD. */
static int add_name(GENERAL_NAMES *names, int type, const char *value)
{
	GENERAL_NAME *name = a2i_GENERAL_NAME(NULL, NULL, NULL, type, value, 0);

	if (!name || sk_GENERAL_NAME_push(names, name) <= 0) {
		GENERAL_NAME_free(name);
		return -1;
	}
	return 0;
}

static const char *role_name(enum pki_role role)
{
	return role == PKI_MANAGER ? "manager" : "worker";
}

static int add_san(X509 *cert, const struct pki_issue *issue)
{
	_cleanup_(GENERAL_NAMES_freep) GENERAL_NAMES *names = GENERAL_NAMES_new();
	bool manager = issue->role == PKI_MANAGER;
	char uri[3 * PKI_ID_MAX];

	snprintf(uri, sizeof(uri), "skein://%s/node/%s?role=%s", issue->cluster_id, issue->node_id,
		 role_name(issue->role));
	if (!names || add_name(names, GEN_URI, uri) < 0 || add_name(names, GEN_DNS, PKI_NODE_NAME) < 0)
		return -1;
	/* etcd's gateway dials its own member by the loopback address. */
	if (manager && (add_name(names, GEN_DNS, PKI_MANAGER_NAME) < 0 ||
			add_name(names, GEN_DNS, "localhost") < 0 ||
			add_name(names, GEN_IPADD, "127.0.0.1") < 0))
		return -1;
	if (!str_empty(issue->address) && !(manager && str_eq(issue->address, "127.0.0.1")) &&
	    add_name(names, GEN_IPADD, issue->address) < 0)
		return -1;
	return X509_add1_ext_i2d(cert, NID_subject_alt_name, names, 0, 0) == 1 ? 0 : -1;
}

int pki_root_new(const char *cluster_id, int64_t now_ns, char **ret_cert_pem, char **ret_key_pem,
		 struct error *err)
{
	_cleanup_(EVP_PKEY_freep) EVP_PKEY *key = new_key(err);
	_cleanup_(X509_freep) X509 *cert = X509_new();
	_cleanup_secret_ char *key_pem = NULL;

	if (!key)
		return -1;
	if (!cert || X509_set_version(cert, X509_VERSION_3) != 1 || set_serial(cert) < 0 ||
	    set_validity(cert, now_ns - PKI_BACKDATE_NS, now_ns + ROOT_LIFE_NS) < 0 ||
	    set_subject(cert, "skein root", NULL, cluster_id) < 0 ||
	    X509_set_issuer_name(cert, X509_get_subject_name(cert)) != 1 ||
	    X509_set_pubkey(cert, key) != 1 ||
	    add_ext(cert, cert, NID_basic_constraints, "critical,CA:TRUE,pathlen:1") < 0 ||
	    add_ext(cert, cert, NID_key_usage, "critical,keyCertSign,cRLSign") < 0 ||
	    add_ext(cert, cert, NID_subject_key_identifier, "hash") < 0 ||
	    X509_sign(cert, key, EVP_sha256()) <= 0)
		return openssl_failed(err, "make the root certificate");
	if (write_key(key, &key_pem, err) < 0 || write_cert(cert, ret_cert_pem, err) < 0)
		return -1;
	*ret_key_pem = TAKE_PTR(key_pem);
	return 0;
}

static bool id_ok(const char *id)
{
	size_t len = id ? strlen(id) : 0;

	if (!len || len >= PKI_ID_MAX)
		return false;
	for (; *id; id++) {
		if (!isalnum((unsigned char)*id) && !strchr("._-", *id))
			return false;
	}
	return true;
}

static int check_issue(const struct pki_issue *issue, struct error *err)
{
	unsigned char addr[16];

	if (!id_ok(issue->node_id) || !id_ok(issue->cluster_id))
		return error_set(err, ERR_INVALID,
				 "node id or cluster id is not 1 to 63 letters, digits, '.', '_', '-'");
	if (!str_empty(issue->address) && inet_pton(AF_INET, issue->address, addr) != 1 &&
	    inet_pton(AF_INET6, issue->address, addr) != 1)
		return error_set(err, ERR_INVALID, "\"%.64s\" is not a literal IPv4 or IPv6 address",
				 issue->address);
	if (issue->life_ns <= 0 || issue->life_ns > ROOT_LIFE_NS)
		return error_set(err, ERR_INVALID, "the life of a certificate is not between 0 and 20 years");
	return 0;
}

static int64_t time_of(const ASN1_TIME *t)
{
	struct tm tm;

	return ASN1_TIME_to_tm(t, &tm) == 1 ? timegm(&tm) * SECOND_NS : 0;
}

int pki_issue(const struct pki_issue *issue, char **ret_cert_pem, struct error *err)
{
	_cleanup_(X509_freep) X509 *root = NULL, *cert = X509_new();
	_cleanup_(EVP_PKEY_freep) EVP_PKEY *root_key = NULL;
	_cleanup_(X509_REQ_freep) X509_REQ *req = NULL;
	int64_t not_after = issue->now_ns + issue->life_ns;
	EVP_PKEY *key;

	if (check_issue(issue, err) < 0)
		return -1;
	key = read_csr(issue->csr_pem, &req, err);
	if (!key)
		return -1;
	root = read_cert(issue->root_cert_pem, err);
	root_key = read_key(issue->root_key_pem, err);
	if (!root || !root_key)
		return error_wrap(err, "root of the cluster");
	not_after = MIN(not_after, time_of(X509_get0_notAfter(root)));

	if (!cert || X509_set_version(cert, X509_VERSION_3) != 1 || set_serial(cert) < 0 ||
	    set_validity(cert, issue->now_ns - PKI_BACKDATE_NS, not_after) < 0 ||
	    set_subject(cert, issue->node_id, role_name(issue->role), issue->cluster_id) < 0 ||
	    X509_set_issuer_name(cert, X509_get_subject_name(root)) != 1 ||
	    X509_set_pubkey(cert, key) != 1 ||
	    add_ext(cert, root, NID_basic_constraints, "critical,CA:FALSE") < 0 ||
	    add_ext(cert, root, NID_key_usage, "critical,digitalSignature") < 0 ||
	    add_ext(cert, root, NID_ext_key_usage, "serverAuth,clientAuth") < 0 ||
	    add_ext(cert, root, NID_subject_key_identifier, "hash") < 0 ||
	    add_ext(cert, root, NID_authority_key_identifier, "keyid:always") < 0 ||
	    add_san(cert, issue) < 0 || X509_sign(cert, root_key, EVP_sha256()) <= 0)
		return openssl_failed(err, "issue a certificate");
	return write_cert(cert, ret_cert_pem, err);
}

char *pki_chain(const char *cert_pem, const char *root_pem)
{
	return xasprintf("%s%s%s", cert_pem, str_ends(cert_pem, "\n") ? "" : "\n", root_pem);
}

/* ---- reading certificates */

/* A subject field that occurs exactly once and fits; "" otherwise. */
static void read_field(X509 *cert, int nid, char *buf, size_t size)
{
	const X509_NAME *name = X509_get_subject_name(cert);
	int i = X509_NAME_get_index_by_NID(name, nid, -1);
	const ASN1_STRING *value;
	int len;

	buf[0] = '\0';
	if (i < 0 || X509_NAME_get_index_by_NID(name, nid, i) >= 0)
		return;
	value = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, i));
	len = ASN1_STRING_length(value);
	if (len <= 0 || (size_t)len >= size || memchr(ASN1_STRING_get0_data(value), 0, (size_t)len))
		return;
	memcpy(buf, ASN1_STRING_get0_data(value), (size_t)len);
	buf[len] = '\0';
}

int pki_cert_parse(const char *pem, struct pki_cert *ret, struct error *err)
{
	_cleanup_(X509_freep) X509 *cert = read_cert(pem, err);
	struct pki_cert info = {0};
	char ou[PKI_ID_MAX];

	if (!cert)
		return -1;
	read_field(cert, NID_commonName, info.cn, sizeof(info.cn));
	read_field(cert, NID_organizationName, info.org, sizeof(info.org));
	read_field(cert, NID_organizationalUnitName, ou, sizeof(ou));
	info.role = str_eq(ou, "manager") ? PKI_MANAGER : PKI_WORKER;
	info.not_before_ns = time_of(X509_get0_notBefore(cert));
	info.not_after_ns = time_of(X509_get0_notAfter(cert));
	*ret = info;
	return 0;
}

static int digest_of(X509 *cert, unsigned char ret[static PKI_DIGEST_BYTES])
{
	unsigned len = PKI_DIGEST_BYTES;

	return X509_digest(cert, EVP_sha256(), ret, &len) == 1 ? 0 : -1;
}

int pki_cert_digest(const char *pem, unsigned char ret[static PKI_DIGEST_BYTES], struct error *err)
{
	_cleanup_(X509_freep) X509 *cert = read_cert(pem, err);

	if (!cert)
		return -1;
	return digest_of(cert, ret) == 0 ? 0 : openssl_failed(err, "digest of the certificate");
}

int pki_chain_find(const char *chain_pem, const unsigned char digest[static PKI_DIGEST_BYTES], char **ret_pem,
		   struct error *err)
{
	_cleanup_(BIO_free_allp) BIO *bio = bio_of(chain_pem);

	for (int i = 0; bio && i < CHAIN_MAX; i++) {
		_cleanup_(X509_freep) X509 *cert = PEM_read_bio_X509(bio, NULL, no_password, NULL);
		unsigned char has[PKI_DIGEST_BYTES];

		if (!cert)
			break;
		if (digest_of(cert, has) == 0 && pki_digest_equal(has, digest))
			return write_cert(cert, ret_pem, err);
	}
	ERR_clear_error();
	return error_set(err, ERR_NOT_FOUND, "no certificate in the chain has the digest");
}

int pki_verify(const char *root_pem, const char *chain_pem, const char *name, int64_t now_ns,
	       struct error *err)
{
	_cleanup_(X509_freep) X509 *root = read_cert(root_pem, err), *leaf = NULL;
	_cleanup_(X509_STORE_freep) X509_STORE *store = X509_STORE_new();
	_cleanup_(X509_STORE_CTX_freep) X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	X509_VERIFY_PARAM *param;

	if (!root)
		return -1;
	leaf = read_cert(chain_pem, err);
	if (!leaf)
		return -1;
	if (!store || !ctx || X509_STORE_add_cert(store, root) != 1 ||
	    X509_STORE_CTX_init(ctx, store, leaf, NULL) != 1)
		return openssl_failed(err, "verify the certificate");
	param = X509_STORE_CTX_get0_param(ctx);
	X509_VERIFY_PARAM_set_time(param, now_ns / SECOND_NS);
	X509_VERIFY_PARAM_set_purpose(param, X509_PURPOSE_SSL_SERVER);
	X509_VERIFY_PARAM_set_depth(param, 1);
	if (name && X509_VERIFY_PARAM_set1_host(param, name, 0) != 1)
		return openssl_failed(err, "verify the certificate");
	if (X509_verify_cert(ctx) != 1) {
		int code = X509_STORE_CTX_get_error(ctx);

		ERR_clear_error();
		return error_set(err, ERR_DENIED, "the certificate is not to be trusted: %s",
				 X509_verify_cert_error_string(code));
	}
	return 0;
}

int pki_key_check(const char *cert_pem, const char *key_pem, struct error *err)
{
	_cleanup_(X509_freep) X509 *cert = read_cert(cert_pem, err);
	_cleanup_(EVP_PKEY_freep) EVP_PKEY *key = cert ? read_key(key_pem, err) : NULL;
	int r;

	if (!key)
		return -1;
	r = X509_check_private_key(cert, key);
	ERR_clear_error();
	if (r != 1)
		return error_set(err, ERR_DATA_LOSS, "the private key does not belong to the certificate");
	return 0;
}
