#include "rpc/internal.h"

#include "common/mem.h"
#include "common/str.h"

#include <grpc/support/alloc.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define MAX_PEM_BYTES 65536
#define PEER_CACHE_SLOTS 1024

static bool id_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '-' || c == '_' || c == '.';
}

/* The one entry of a kind in the subject, as an id; false when there is none, several, or it is
 * odd. */
static bool subject_get(const X509_NAME *subject, int nid, char ret[static 64])
{
	int at = X509_NAME_get_index_by_NID(subject, nid, -1);
	const ASN1_STRING *value;
	int len;

	if (at < 0 || X509_NAME_get_index_by_NID(subject, nid, at) >= 0)
		return false;
	value = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at));
	len = ASN1_STRING_length(value);
	if (len < 1 || len > 63)
		return false;
	memcpy(ret, ASN1_STRING_get0_data(value), (size_t)len);
	ret[len] = '\0';
	for (int i = 0; i < len; i++) {
		if (!id_char(ret[i])) /* a NUL or a slash: could be read as another id */
			return false;
	}
	return true;
}

static bool has_uri(X509 *cert, const char *wanted)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
	size_t len = strlen(wanted);
	bool found = false;

	for (int i = 0; !found && i < sk_GENERAL_NAME_num(names); i++) {
		const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);

		if (name->type != GEN_URI)
			continue;
		found = (size_t)ASN1_STRING_length(name->d.uniformResourceIdentifier) == len &&
			memcmp(ASN1_STRING_get0_data(name->d.uniformResourceIdentifier), wanted,
			       len) == 0;
	}
	GENERAL_NAMES_free(names);
	return found;
}

/* The subject and the URI are both ours: only when they say the same, the certificate is believed.
 */
static unsigned role_of(X509 *cert, struct rpc_peer *peer)
{
	const X509_NAME *subject = X509_get_subject_name(cert);
	char role[64], uri[256];

	if (!subject_get(subject, NID_commonName, peer->node_id) ||
	    !subject_get(subject, NID_organizationName, peer->cluster_id) ||
	    !subject_get(subject, NID_organizationalUnitName, role))
		return RPC_ROLE_ANONYMOUS;
	snprintf(uri, sizeof(uri), "skein://%s/node/%s?role=%s", peer->cluster_id, peer->node_id,
		 role);
	if (!has_uri(cert, uri))
		return RPC_ROLE_ANONYMOUS;
	return str_eq(role, "manager")	? RPC_ROLE_MANAGER
	       : str_eq(role, "worker") ? RPC_ROLE_WORKER
					: RPC_ROLE_ANONYMOUS;
}

/* What a certificate says, for as long as it is valid; nothing of it can change. */
struct identity {
	char *pem;
	size_t len;
	unsigned role;
	char node_id[64], cluster_id[64];
	time_t not_after;
};

/* Parsing takes about 200 us, more than the rest of a unary call: remembered by the bytes. Poller
 * thread. */
struct peer_cache {
	struct identity slots[PEER_CACHE_SLOTS];
};

static void identity_parse(const char *pem, size_t len, struct identity *id)
{
	struct rpc_peer peer = {0};
	X509 *cert = NULL;
	struct tm tm;
	BIO *bio;

	id->role = RPC_ROLE_ANONYMOUS;
	bio = BIO_new_mem_buf(pem, (int)len);
	if (bio)
		cert = PEM_read_bio_X509(bio, NULL, NULL, NULL);
	if (cert && ASN1_TIME_to_tm(X509_get0_notAfter(cert), &tm)) {
		id->not_after = timegm(&tm);
		id->role = role_of(cert, &peer);
		memcpy(id->node_id, peer.node_id, sizeof(id->node_id));
		memcpy(id->cluster_id, peer.cluster_id, sizeof(id->cluster_id));
	}
	X509_free(cert);
	BIO_free(bio);
	ERR_clear_error();
}

void peer_from_pem(struct peer_cache *cache, const char *pem, size_t len, time_t now,
		   struct rpc_peer *ret_peer)
{
	struct identity *id;
	unsigned hash;

	ret_peer->role = RPC_ROLE_ANONYMOUS;
	ret_peer->node_id[0] = ret_peer->cluster_id[0] = '\0';
	if (len == 0 || len > MAX_PEM_BYTES)
		return;

	HASH_VALUE(pem, len, hash);
	id = &cache->slots[hash % PEER_CACHE_SLOTS];
	if (!id->pem || id->len != len || memcmp(id->pem, pem, len) != 0) {
		free(id->pem);
		*id = (struct identity){.pem = xmemdup(pem, len), .len = len};
		identity_parse(pem, len, id);
	}

	/* Verified when the connection was made; that may be long ago. */
	if (id->role == RPC_ROLE_ANONYMOUS || now > id->not_after)
		return;
	ret_peer->role = id->role;
	memcpy(ret_peer->node_id, id->node_id, sizeof(id->node_id));
	memcpy(ret_peer->cluster_id, id->cluster_id, sizeof(id->cluster_id));
}

struct peer_cache *peer_cache_new(void)
{
	return xnew(struct peer_cache);
}

void peer_cache_free(struct peer_cache *cache)
{
	for (size_t i = 0; i < PEER_CACHE_SLOTS; i++)
		free(cache->slots[i].pem);
	free(cache);
}

void peer_of_call(struct peer_cache *cache, grpc_call *call, bool local, struct rpc_peer *ret_peer)
{
	char *address = grpc_call_get_peer(call);
	grpc_auth_property_iterator it;
	const grpc_auth_property *pem;
	grpc_auth_context *auth;

	snprintf(ret_peer->address, sizeof(ret_peer->address), "%s", address ? address : "");
	gpr_free(address);
	ret_peer->role = local ? RPC_ROLE_LOCAL : RPC_ROLE_ANONYMOUS;
	if (local)
		return;

	auth = grpc_call_auth_context(call);
	if (!auth)
		return;
	if (grpc_auth_context_peer_is_authenticated(auth)) {
		it = grpc_auth_context_find_properties_by_name(auth,
							       GRPC_X509_PEM_CERT_PROPERTY_NAME);
		pem = grpc_auth_property_iterator_next(&it);
		if (pem)
			peer_from_pem(cache, pem->value, pem->value_length, time(NULL), ret_peer);
	}
	grpc_auth_context_release(auth);
}
