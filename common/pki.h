/*
 * pki - keys, certificates and digests of the cluster's CA: OpenSSL behind PEM strings.
 * Pure: time is an argument, nothing is read or written. Any thread. EC P-256 only.
 */
#pragma once
#include "mem.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

struct error;

/* Constant DNS SANs: every manager's certificate carries the first, every node's the second. */
#define PKI_MANAGER_NAME "manager.skein.internal"
#define PKI_NODE_NAME "node.skein.internal"

#define PKI_PEM_MAX_BYTES (32u << 10)  /* of a certificate (chain), key or CSR that is accepted */
#define PKI_DIGEST_BYTES 32
#define PKI_BACKDATE_NS INT64_C(3600000000000) /* certificates are valid from so long before their making */
#define PKI_ID_MAX 64                  /* of a node or cluster id, with its NUL */

enum pki_role {
	PKI_WORKER = 0,                /* numbers as NodeRole in objects.proto */
	PKI_MANAGER = 1,
};

/* A key as PEM (PKCS #8) is a secret: free it with pki_secret_free. */
void pki_secret_free(char *pem);
DEFINE_CLEANUP(char *, pki_secret_free)
#define _cleanup_secret_ _cleanup_(pki_secret_freep)

/* A new private key. */
int pki_key_new(char **ret_key_pem, struct error *err);

/* A certificate request that carries the public key and proves that we hold the private one. */
int pki_csr_new(const char *key_pem, char **ret_csr_pem, struct error *err);

/* A self-signed root: CN "skein root", O = cluster id, 20 years from now_ns on (back-dated by an hour). */
int pki_root_new(const char *cluster_id, int64_t now_ns, char **ret_cert_pem, char **ret_key_pem,
		 struct error *err);

struct pki_issue {
	const char *root_cert_pem, *root_key_pem;
	const char *csr_pem;
	const char *node_id, *cluster_id; /* letters, digits, '.', '_', '-' */
	enum pki_role role;
	const char *address;              /* literal IPv4 or IPv6 address for an IP SAN; NULL or "" = none */
	int64_t now_ns, life_ns;
};

/*
 * Issue a node certificate: CN = node id, OU = "manager" or "worker", O = cluster id, and the same in
 * a SAN URI skein://<cluster id>/node/<node id>?role=<role>. Back-dated by an hour; never outlives the root.
 * Of the CSR only the public key is taken, after its signature was checked.
 * ret_cert_pem: one certificate; see pki_chain for what a server has to send.
 *   Errors  ERR_INVALID: the CSR, an id or the address, with what is accepted
 */
int pki_issue(const struct pki_issue *issue, char **ret_cert_pem, struct error *err);

/* Leaf and root in one PEM. Servers send both, so that who joins can pin the root. Yours. */
char *pki_chain(const char *cert_pem, const char *root_pem);

struct pki_cert {
	char cn[PKI_ID_MAX], org[PKI_ID_MAX];
	enum pki_role role;               /* PKI_MANAGER only if OU says "manager" */
	int64_t not_before_ns, not_after_ns;
};

/* Read the first certificate of a PEM. */
int pki_cert_parse(const char *pem, struct pki_cert *ret, struct error *err);

/* SHA-256 of the DER form of the first certificate. */
int pki_cert_digest(const char *pem, unsigned char ret[static PKI_DIGEST_BYTES], struct error *err);

/*
 * Find the certificate with a digest in a PEM chain. ret_pem: that certificate alone.
 *   Errors  ERR_NOT_FOUND
 */
int pki_chain_find(const char *chain_pem, const unsigned char digest[static PKI_DIGEST_BYTES], char **ret_pem,
		   struct error *err);

/*
 * Is the first certificate of chain_pem signed by the root, valid at now_ns, good for TLS servers, and
 * does it carry the DNS name (NULL = any)?
 *   Errors  ERR_DENIED with the reason
 */
int pki_verify(const char *root_pem, const char *chain_pem, const char *name, int64_t now_ns,
	       struct error *err);

/* Does the private key belong to the first certificate? Errors: ERR_DATA_LOSS. */
int pki_key_check(const char *cert_pem, const char *key_pem, struct error *err);

/* SHA-256 of bytes; constant-time comparison of two digests. */
void pki_sha256(const void *data, size_t len, unsigned char ret[static PKI_DIGEST_BYTES]);
bool pki_digest_equal(const unsigned char a[static PKI_DIGEST_BYTES],
		      const unsigned char b[static PKI_DIGEST_BYTES]);

/* Random bytes from the kernel. Never fails. */
void pki_random(void *ret, size_t len);
