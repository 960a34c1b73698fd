/* pki - a throw-away CA for tests, with certificates as the cluster's own CA makes them. */
#pragma once
#include "common/mem.h"

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

struct pki {
	EVP_PKEY *key;
	X509 *cert;
	char *root_pem;
};

struct pki_cert {
	char *cert_pem, *key_pem;
};

static inline char *pki_bio_take(BIO *bio)
{
	char *data, *ret;
	long len = BIO_get_mem_data(bio, &data);

	ret = xstrndup(data, (size_t)len);
	BIO_free(bio);
	return ret;
}

static inline char *pki_cert_pem(X509 *cert)
{
	BIO *bio = BIO_new(BIO_s_mem());

	PEM_write_bio_X509(bio, cert);
	return pki_bio_take(bio);
}

static inline void pki_subject(X509_NAME *name, const char *field, const char *value)
{
	if (value)
		X509_NAME_add_entry_by_txt(name, field, MBSTRING_UTF8, (const unsigned char *)value, -1, -1, 0);
}

static inline void pki_extension(X509 *cert, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX ctx;
	X509_EXTENSION *ext;

	X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
	ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	X509_add_ext(cert, ext, -1);
	X509_EXTENSION_free(ext);
}

static inline X509 *pki_blank(EVP_PKEY *key, long not_after_s)
{
	static long serial = 1;
	X509 *cert = X509_new();

	X509_set_version(cert, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(cert), serial++);
	X509_gmtime_adj(X509_getm_notBefore(cert), -7200);
	X509_gmtime_adj(X509_getm_notAfter(cert), not_after_s);
	X509_set_pubkey(cert, key);
	return cert;
}

static inline void pki_init(struct pki *pki, const char *name)
{
	pki->key = EVP_EC_gen("P-256");
	pki->cert = pki_blank(pki->key, 86400);
	pki_subject(X509_get_subject_name(pki->cert), "CN", name);
	X509_set_issuer_name(pki->cert, X509_get_subject_name(pki->cert));
	pki_extension(pki->cert, pki->cert, NID_basic_constraints, "critical,CA:TRUE");
	pki_extension(pki->cert, pki->cert, NID_subject_key_identifier, "hash");
	X509_sign(pki->cert, pki->key, EVP_sha256());
	pki->root_pem = pki_cert_pem(pki->cert);
}

static inline void pki_fini(struct pki *pki)
{
	EVP_PKEY_free(pki->key);
	X509_free(pki->cert);
	free(pki->root_pem);
}

/* Any subject and SAN list ("URI:...,DNS:..."); NULL leaves a field out. */
static inline struct pki_cert pki_issue(struct pki *pki, const char *cn, const char *o, const char *ou,
					const char *san, long not_after_s)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *cert = pki_blank(key, not_after_s);
	X509_NAME *name = X509_get_subject_name(cert);
	BIO *bio = BIO_new(BIO_s_mem());
	struct pki_cert ret;

	pki_subject(name, "CN", cn);
	pki_subject(name, "O", o);
	pki_subject(name, "OU", ou);
	X509_set_issuer_name(cert, X509_get_subject_name(pki->cert));
	if (san)
		pki_extension(cert, pki->cert, NID_subject_alt_name, san);
	pki_extension(cert, pki->cert, NID_ext_key_usage, "serverAuth,clientAuth");
	X509_sign(cert, pki->key, EVP_sha256());
	ret.cert_pem = pki_cert_pem(cert);
	PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL);
	ret.key_pem = pki_bio_take(bio);
	X509_free(cert);
	EVP_PKEY_free(key);
	return ret;
}

/* As the cluster's CA does it. role: "manager" or "worker". */
static inline struct pki_cert pki_node(struct pki *pki, const char *node_id, const char *role, long not_after_s)
{
	char san[512];

	snprintf(san, sizeof(san), "URI:skein://c1/node/%s?role=%s,DNS:node.skein.internal%s", node_id, role,
		 strcmp(role, "manager") == 0 ? ",DNS:manager.skein.internal" : "");
	return pki_issue(pki, node_id, "c1", role, san, not_after_s);
}

static inline void pki_cert_fini(struct pki_cert *cert)
{
	free(cert->cert_pem);
	free(cert->key_pem);
}
