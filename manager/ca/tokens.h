/*
 * tokens - join tokens in the store: check, show, make, rotate, revoke.
 * Pure: changes are staged into a transaction; time and random bytes are arguments. Texts are secrets
 * (heap, the caller's: free them with pki_secret_free).
 */
#pragma once
#include "common/jointoken.h"
#include "proto/pb.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;
struct txn;
struct view;

#define CA_TOKEN_RANDOM_BYTES (JOINTOKEN_SECRET_BYTES + 6)
#define CA_TOKENS_MAX 1000 /* created ones, that a cluster may hold */

/* Ids of the standing tokens, by NodeRole. */
const char *ca_token_standing_id(int role);

/*
 * The token object that a text stands for, if it may be used now. Borrowed from the view.
 *   Errors  ERR_DENIED with one of: not valid (also: rotated, revoked), of another cluster, expired, used up
 */
const pb_token *ca_token_check(const struct view *v, const char *text, int64_t now, struct error *err);

/* Does it count its uses? Not the standing ones: nodes that join with those never write the same object. */
bool ca_token_counts(const pb_token *token);

/* A heap message with the standing token of a role, secret from `random`. */
pb_token *ca_token_new_standing(int role, int64_t now, const unsigned char random[static CA_TOKEN_RANDOM_BYTES]);

/*
 * The standing token of a role; made when there is none, replaced when `rotate`. Nodes that have joined stay.
 *   Errors  ERR_UNAVAILABLE no cluster object yet
 */
int ca_token_standing(struct view *v, struct txn *t, int role, bool rotate, int64_t now,
		      const unsigned char random[static CA_TOKEN_RANDOM_BYTES], char **ret_text, struct error *err);

/*
 * A token limited in time (ttl, 0 = none) or uses (max_uses, 0 = none). The text cannot be had again.
 * Expired ones are removed on the way.
 *   Errors  ERR_INVALID role, ttl; ERR_EXHAUSTED CA_TOKENS_MAX; ERR_CONFLICT the id is taken: draw again
 */
int ca_token_create(struct view *v, struct txn *t, const Skein__CreateTokenRequest *request, int64_t now,
		    const unsigned char random[static CA_TOKEN_RANDOM_BYTES], char **ret_id, char **ret_text,
		    struct error *err);

/* Errors: ERR_NOT_FOUND; ERR_PRECONDITION a standing token, which is rotated instead. */
int ca_token_revoke(struct view *v, struct txn *t, const char *id, struct error *err);

/* All tokens without their secrets, appended to the response. */
void ca_token_list(const struct view *v, Skein__ListTokensResponse *response);
