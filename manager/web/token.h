/*
 * token - tokens that let their bearer sign in to the web page: make, check, revoke.
 * Pure: changes are staged into a transaction; time and random bytes are arguments. Texts are secrets (heap, the
 * caller's: free them with pki_secret_free).
 *
 *   SKEIN-UI-<id><secret>   id: 10 characters that name the object; secret: 25 characters of 16 random bytes
 *
 * Only the SHA-256 of the secret is kept.
 */
#pragma once
#include "proto/pb.h"

#include <stdint.h>

struct error;
struct txn;
struct view;

#define WEB_TOKEN_RANDOM_BYTES (16 + 6)
#define WEB_TOKENS_MAX 100                                /* that a cluster may hold */
#define WEB_TOKEN_TTL_MAX_NS (INT64_C(86400000000000) * 31)

/*
 * Make one. Expired ones are removed on the way.
 *   Errors  ERR_INVALID ttl_ns: accepted is more than 0, at most WEB_TOKEN_TTL_MAX_NS; ERR_EXHAUSTED WEB_TOKENS_MAX;
 *           ERR_CONFLICT the id is taken: draw again
 */
int web_token_create(struct view *v, struct txn *t, int64_t ttl_ns, int64_t now,
		     const unsigned char random[static WEB_TOKEN_RANDOM_BYTES], char **ret_id, char **ret_text,
		     struct error *err);

/* The token that a text stands for, if it is good now; borrowed from the view. NULL: it is not, and nobody is told why.
 * The time that the comparison takes does not tell how much of the secret was right. (Fuzzed.) */
const pb_ui_token *web_token_check(const struct view *v, const char *text, int64_t now);

static inline bool web_token_expired(const pb_ui_token *token, int64_t now)
{
	return now >= token->expires_at;
}
