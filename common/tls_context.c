#include "common/tls_context.h"

#include "common/error.h"
#include "common/mem.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <string.h>
#include <sys/stat.h>

/* What tells that a file is another one: files are replaced by rename, so the inode changes with them. */
struct stamp {
	ino_t ino;
	off_t size;
	struct timespec changed;
};

enum { FILE_CERT, FILE_KEY, FILE_CA, N_FILES };

struct tls_context {
	char *files[N_FILES]; /* NULL = not used */
	bool tls12;
	struct stamp stamps[N_FILES];
	SSL_CTX *ctx;
};

static SSL_CTX *load(const struct tls_context *t, struct error *err)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
	const char *ca = t->files[FILE_CA];

	if (ctx && SSL_CTX_set_min_proto_version(ctx, t->tls12 ? TLS1_2_VERSION : TLS1_3_VERSION) == 1 &&
	    SSL_CTX_use_certificate_chain_file(ctx, t->files[FILE_CERT]) == 1 &&
	    SSL_CTX_use_PrivateKey_file(ctx, t->files[FILE_KEY], SSL_FILETYPE_PEM) == 1 &&
	    (!ca || SSL_CTX_load_verify_locations(ctx, ca, NULL) == 1)) {
		if (ca)
			SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
		/* Nothing is resumed: a certificate that is no longer good must not open a connection. */
		SSL_CTX_set_num_tickets(ctx, 0);
		SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION);
		SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
		return ctx;
	}
	error_set(err, ERR_INVALID, "certificate %s, key %s, CA %s: %s", t->files[FILE_CERT], t->files[FILE_KEY],
		  ca ? ca : "(none)", ERR_reason_error_string(ERR_peek_last_error()));
	ERR_clear_error();
	SSL_CTX_free(ctx);
	return NULL;
}

static void look(const struct tls_context *t, struct stamp ret[N_FILES])
{
	memset(ret, 0, N_FILES * sizeof(*ret));
	for (int i = 0; i < N_FILES; i++) {
		struct stat st;

		if (t->files[i] && stat(t->files[i], &st) == 0) {
			ret[i].ino = st.st_ino;
			ret[i].size = st.st_size;
			ret[i].changed = st.st_mtim;
		}
	}
}

struct tls_context *tls_context_new(const struct tls_context_options *options, struct error *err)
{
	struct tls_context *t = xnew(struct tls_context);

	t->files[FILE_CERT] = xstrdup(options->cert_file);
	t->files[FILE_KEY] = xstrdup(options->key_file);
	t->files[FILE_CA] = xstrdup(options->client_ca_file);
	t->tls12 = options->tls12;
	look(t, t->stamps);
	t->ctx = load(t, err);
	if (t->ctx)
		return t;
	tls_context_free(t);
	return NULL;
}

void tls_context_free(struct tls_context *t)
{
	if (!t)
		return;
	for (int i = 0; i < N_FILES; i++)
		free(t->files[i]);
	SSL_CTX_free(t->ctx);
	free(t);
}

struct ssl_ctx_st *tls_context_get(struct tls_context *t)
{
	struct stamp now[N_FILES];
	SSL_CTX *fresh;

	look(t, now);
	if (memcmp(now, t->stamps, sizeof(now)) == 0)
		return t->ctx;
	fresh = load(t, NULL);
	if (fresh) {
		SSL_CTX_free(t->ctx);
		t->ctx = fresh;
		memcpy(t->stamps, now, sizeof(now));
	}
	return t->ctx;
}
