/*
 * jointoken - what a node needs to join: where the root of trust is pinned, and a secret.
 *
 *   SKEIN-1-<digest>-<secret>        standing token of a role (shown again by join-token)
 *   SKEIN-1-<digest>-<id><secret>    created token (limited in time or uses)
 *
 * digest: SHA-256 of the root certificate's DER form, 50 characters of base 36; secret: 16 random
 * bytes, 25 characters; id: 10 characters that name the token object, so that it is found without
 * a search. Only the SHA-256 of the secret bytes is kept. A token never goes into a log or an error.
 */
#pragma once
#include "pki.h"

#include <stdbool.h>

struct error;

#define JOINTOKEN_ID_LEN 10
#define JOINTOKEN_SECRET_BYTES 16
#define JOINTOKEN_SECRET_LEN 25
#define JOINTOKEN_MAX 96 /* the longest token and its NUL */

struct jointoken {
	unsigned char root_digest[PKI_DIGEST_BYTES];
	unsigned char secret[JOINTOKEN_SECRET_BYTES];
	char id[JOINTOKEN_ID_LEN + 1]; /* "" = a standing token */
};

/* Errors: ERR_INVALID; the message does not repeat the text. (Fuzzed.) */
int jointoken_parse(const char *s, struct jointoken *ret, struct error *err);
/* The text, into buf, which is returned. Wipe it when done. */
const char *jointoken_format(const struct jointoken *token, char buf[static JOINTOKEN_MAX]);

/* Is it a token's id? [0-9a-z]{10} */
bool jointoken_id_valid(const char *id);

/* What is stored of the secret, and the constant-time check against it; a digest of another length never fits. */
void jointoken_secret_digest(const struct jointoken *token, unsigned char ret[static PKI_DIGEST_BYTES]);
bool jointoken_matches(const struct jointoken *token, const void *digest, size_t digest_len);

/* The 25 characters of a secret (kept for the standing tokens), and back; -1 when malformed. */
void jointoken_secret_text(const struct jointoken *token, char buf[static JOINTOKEN_SECRET_LEN + 1]);
int jointoken_secret_parse(const char *text, struct jointoken *ret);
