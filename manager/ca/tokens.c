#include "tokens.h"

#include "common/error.h"
#include "common/id.h"
#include "common/mem.h"
#include "common/str.h"
#include "manager/store/txn.h"
#include "manager/store/view.h"

#include <string.h>

static const char *const standing_ids[] = {
	[NODE_ROLE_WORKER] = "worker",
	[NODE_ROLE_MANAGER] = "manager",
};

static bool role_ok(int role)
{
	return role == NODE_ROLE_WORKER || role == NODE_ROLE_MANAGER;
}

const char *ca_token_standing_id(int role)
{
	return role_ok(role) ? standing_ids[role] : NULL;
}

static bool is_standing(const char *id)
{
	return str_eq(id, standing_ids[NODE_ROLE_WORKER]) || str_eq(id, standing_ids[NODE_ROLE_MANAGER]);
}

bool ca_token_counts(const pb_token *token)
{
	return !is_standing(token->id);
}

/* ---- check */

static const pb_token *find(const struct view *v, const struct jointoken *token)
{
	const pb_token *found = NULL;

	if (*token->id) {
		const pb_token *t = view_token(v, token->id);

		return t && jointoken_matches(token, t->secret_sha256.data, t->secret_sha256.len) ? t : NULL;
	}
	/* Both are always compared: the time does not tell which one was near. */
	for (size_t role = 0; role < ARRAY_SIZE(standing_ids); role++) {
		const pb_token *t = view_token(v, standing_ids[role]);

		if (t && jointoken_matches(token, t->secret_sha256.data, t->secret_sha256.len))
			found = t;
	}
	return found;
}

static int check_cluster(const struct view *v, const struct jointoken *token, struct error *err)
{
	const pb_cluster *cluster = view_cluster(v);
	unsigned char digest[PKI_DIGEST_BYTES];

	if (!cluster)
		return error_set(err, ERR_UNAVAILABLE, "the cluster has no state yet; try again");
	if (pki_cert_digest(cluster->root_cert_pem, digest, err) < 0)
		return error_wrap(err, "root certificate of the cluster");
	if (!pki_digest_equal(digest, token->root_digest))
		return error_set(err, ERR_DENIED, "join token is of another cluster");
	return 0;
}

const pb_token *ca_token_check(const struct view *v, const char *text, int64_t now, struct error *err)
{
	const pb_token *found;
	struct jointoken token;

	if (jointoken_parse(text, &token, err) < 0)
		return NULL;
	if (check_cluster(v, &token, err) < 0) {
		mem_wipe(&token, sizeof(token));
		return NULL;
	}
	found = find(v, &token);
	mem_wipe(&token, sizeof(token));
	/* What follows is told only to those who know the secret. */
	if (!found) {
		error_set(err, ERR_DENIED, "join token is not valid");
	} else if (found->expires_at && now >= found->expires_at) {
		error_set(err, ERR_DENIED, "join token has expired");
		found = NULL;
	} else if (found->max_uses && found->uses >= found->max_uses) {
		error_set(err, ERR_DENIED, "join token has been used %u of %u times", found->uses,
			  found->max_uses);
		found = NULL;
	}
	return found;
}

/* ---- make */

static pb_token *new_token(const char *id, int role, int64_t now, const struct jointoken *token)
{
	pb_token *t = pb_new(&skein__join_token__descriptor);

	t->meta = pb_new(&skein__meta__descriptor);
	t->meta->created_at = t->meta->updated_at = now;
	pb_set_str(&t->id, id);
	t->role = (Skein__NodeRole)role;
	t->secret_sha256.data = xmalloc(PKI_DIGEST_BYTES);
	t->secret_sha256.len = PKI_DIGEST_BYTES;
	jointoken_secret_digest(token, t->secret_sha256.data);
	return t;
}

pb_token *ca_token_new_standing(int role, int64_t now, const unsigned char random[static CA_TOKEN_RANDOM_BYTES])
{
	struct jointoken token = {0};
	char text[JOINTOKEN_SECRET_LEN + 1];
	pb_token *t;

	memcpy(token.secret, random, sizeof(token.secret));
	t = new_token(standing_ids[role], role, now, &token);
	jointoken_secret_text(&token, text);
	pb_set_str(&t->secret, text);
	mem_wipe(&token, sizeof(token));
	mem_wipe(text, sizeof(text));
	return t;
}

/* The whole text of a token; yours. */
static int full_text(const struct view *v, struct jointoken *token, char **ret_text, struct error *err)
{
	const pb_cluster *cluster = view_cluster(v);
	char buf[JOINTOKEN_MAX];

	if (!cluster)
		return error_set(err, ERR_UNAVAILABLE, "the cluster has no state yet; try again");
	if (pki_cert_digest(cluster->root_cert_pem, token->root_digest, err) < 0)
		return error_wrap(err, "root certificate of the cluster");
	*ret_text = xstrdup(jointoken_format(token, buf));
	mem_wipe(buf, sizeof(buf));
	return 0;
}

int ca_token_standing(struct view *v, struct txn *t, int role, bool rotate, int64_t now,
		      const unsigned char random[static CA_TOKEN_RANDOM_BYTES], char **ret_text, struct error *err)
{
	const char *id = ca_token_standing_id(role);
	const pb_token *have = id ? view_token(v, id) : NULL;
	struct jointoken token = {0};
	_cleanup_pb_ pb_token *fresh = NULL;
	int r;

	if (!id)
		return error_set(err, ERR_INVALID, "%d is not a role: accepted are worker and manager", role);
	if (!have || rotate) {
		fresh = ca_token_new_standing(role, now, random);
		if (have && have->meta)
			fresh->meta->created_at = have->meta->created_at;
	}
	if (jointoken_secret_parse(fresh ? fresh->secret : have->secret, &token) < 0)
		return error_set(err, ERR_DATA_LOSS, "the stored %s token is malformed: rotate it", id);
	r = full_text(v, &token, ret_text, err);
	mem_wipe(&token, sizeof(token));
	if (r == 0 && fresh)
		txn_put(t, KIND_TOKEN, TAKE_PTR(fresh));
	return r;
}

/* Remove expired tokens; returns how many created ones stay. */
static size_t drop_expired(struct view *v, struct txn *t, int64_t now)
{
	size_t n, left = 0;
	_cleanup_free_ const void **list = view_list(v, KIND_TOKEN, &n);

	for (size_t i = 0; i < n; i++) {
		const pb_token *token = list[i];

		if (is_standing(token->id))
			continue;
		if (token->expires_at && token->expires_at <= now)
			txn_del(t, KIND_TOKEN, token->id);
		else
			left++;
	}
	return left;
}

int ca_token_create(struct view *v, struct txn *t, const Skein__CreateTokenRequest *request, int64_t now,
		    const unsigned char random[static CA_TOKEN_RANDOM_BYTES], char **ret_id, char **ret_text,
		    struct error *err)
{
	_cleanup_secret_ char *text = NULL;
	struct jointoken token = {0};
	pb_token *made;

	if (!role_ok((int)request->role))
		return error_set(err, ERR_INVALID, "%d is not a role: accepted are worker and manager",
				 (int)request->role);
	if (request->ttl < 0 || request->ttl > INT64_MAX - now)
		return error_set(err, ERR_INVALID, "%lld ns is not a life of a token: accepted is 0 (for ever) "
				 "or a time that ends before the year 2262", (long long)request->ttl);
	memcpy(token.secret, random, sizeof(token.secret));
	base36_encode(random + sizeof(token.secret), CA_TOKEN_RANDOM_BYTES - sizeof(token.secret), token.id,
		      JOINTOKEN_ID_LEN);
	if (view_token(v, token.id))
		return error_set(err, ERR_CONFLICT, "token id %s is taken; try again", token.id);
	if (full_text(v, &token, &text, err) < 0)
		return -1;
	if (drop_expired(v, t, now) >= CA_TOKENS_MAX)
		return error_set(err, ERR_EXHAUSTED, "the cluster holds %d join tokens already; revoke some",
				 CA_TOKENS_MAX);

	made = new_token(token.id, (int)request->role, now, &token);
	made->expires_at = request->ttl ? now + request->ttl : 0;
	made->max_uses = request->max_uses;
	for (size_t i = 0; i < request->n_labels; i++)
		pb_kv_set(&made->n_labels, &made->labels, request->labels[i]->key, request->labels[i]->value);
	txn_put(t, KIND_TOKEN, made);
	*ret_id = xstrdup(token.id);
	*ret_text = TAKE_PTR(text);
	mem_wipe(&token, sizeof(token));
	return 0;
}

/* ---- revoke and list */

int ca_token_revoke(struct view *v, struct txn *t, const char *id, struct error *err)
{
	if (is_standing(id))
		return error_set(err, ERR_PRECONDITION,
				 "the %s token cannot be revoked; rotate it instead", id);
	if (!view_token(v, id))
		return error_set(err, ERR_NOT_FOUND, "there is no join token \"%.64s\"", id);
	txn_del(t, KIND_TOKEN, id);
	return 0;
}

void ca_token_list(const struct view *v, Skein__ListTokensResponse *response)
{
	size_t n;
	_cleanup_free_ const void **list = view_list(v, KIND_TOKEN, &n);

	for (size_t i = 0; i < n; i++) {
		pb_token *copy = pb_dup(list[i]);

		if (*copy->secret) /* the shared empty string is read-only */
			mem_wipe(copy->secret, strlen(copy->secret));
		pb_set_str(&copy->secret, NULL);
		free(copy->secret_sha256.data);
		copy->secret_sha256 = (ProtobufCBinaryData){0};
		pb_msgs_add(&response->n_tokens, &response->tokens, copy);
	}
}
