/*
 * tls_context - certificate and key of a TLS server, from files that are renewed while it runs. OpenSSL.
 * Loop thread; the files are small.
 */
#pragma once
#include <stdbool.h>

struct error;
struct ssl_ctx_st;
struct tls_context;

struct tls_context_options {
	const char *cert_file, *key_file; /* PEM, the certificate with its chain */
	const char *client_ca_file;       /* clients need a certificate of these; NULL = none is asked for */
	bool tls12;                       /* TLS 1.2 is accepted as well (browsers, old scrapers) */
};

/* Strings are copied. Errors: ERR_INVALID a file cannot be used, with the files' names. */
struct tls_context *tls_context_new(const struct tls_context_options *options, struct error *err);
void tls_context_free(struct tls_context *t);
/*
 * For the next connection: the files are read again when they have changed. While what is there cannot be used (key and
 * certificate are being replaced, one behind the other) the last good one goes on. Borrowed until the next call.
 */
struct ssl_ctx_st *tls_context_get(struct tls_context *t);
