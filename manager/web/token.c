#include "token.h"

#include "common/error.h"
#include "common/id.h"
#include "common/mem.h"
#include "common/pki.h"
#include "common/str.h"
#include "manager/store/txn.h"
#include "manager/store/view.h"

#include <inttypes.h>
#include <string.h>

#define PREFIX "SKEIN-UI-"
#define PREFIX_LEN (sizeof(PREFIX) - 1)
#define ID_CHARS 10
#define SECRET_BYTES 16
#define SECRET_CHARS 25

/* Remove expired tokens; returns how many stay. */
static size_t drop_expired(struct view *v, struct txn *t, int64_t now)
{
	_cleanup_free_ const void **list = NULL;
	size_t n, left = 0;

	list = view_list(v, KIND_UI_TOKEN, &n);
	for (size_t i = 0; i < n; i++) {
		const pb_ui_token *token = list[i];

		if (web_token_expired(token, now))
			txn_del(t, KIND_UI_TOKEN, token->id);
		else
			left++;
	}
	return left;
}

int web_token_create(struct view *v, struct txn *t, int64_t ttl_ns, int64_t now,
		     const unsigned char random[static WEB_TOKEN_RANDOM_BYTES], char **ret_id, char **ret_text,
		     struct error *err)
{
	char id[ID_CHARS + 1], secret[SECRET_CHARS + 1], human[STR_HUMAN_MAX];
	pb_ui_token *made;

	if (ttl_ns <= 0 || ttl_ns > WEB_TOKEN_TTL_MAX_NS)
		return error_set(err, ERR_INVALID, "ttl %s: must be more than 0 and at most 744h (31 days)",
				 str_duration(ttl_ns, human));
	base36_encode(random + SECRET_BYTES, WEB_TOKEN_RANDOM_BYTES - SECRET_BYTES, id, ID_CHARS);
	if (view_ui_token(v, id))
		return error_set(err, ERR_CONFLICT, "token id %s is taken; try again", id);
	if (drop_expired(v, t, now) >= WEB_TOKENS_MAX)
		return error_set(err, ERR_EXHAUSTED, "the cluster holds %d tokens of the web page already; remove some "
				 "(clusterctl ui-token rm)", WEB_TOKENS_MAX);

	made = pb_new(&skein__ui_token__descriptor);
	made->meta = pb_new(&skein__meta__descriptor);
	made->meta->created_at = made->meta->updated_at = now;
	pb_set_str(&made->id, id);
	made->secret_sha256.data = xmalloc(PKI_DIGEST_BYTES);
	made->secret_sha256.len = PKI_DIGEST_BYTES;
	pki_sha256(random, SECRET_BYTES, made->secret_sha256.data);
	made->expires_at = now + ttl_ns;
	txn_put(t, KIND_UI_TOKEN, made);

	base36_encode(random, SECRET_BYTES, secret, SECRET_CHARS);
	*ret_id = xstrdup(id);
	*ret_text = xasprintf(PREFIX "%s%s", id, secret);
	mem_wipe(secret, sizeof(secret));
	return 0;
}

const pb_ui_token *web_token_check(const struct view *v, const char *text, int64_t now)
{
	static const unsigned char nobody[PKI_DIGEST_BYTES];
	unsigned char secret[SECRET_BYTES], digest[PKI_DIGEST_BYTES];
	const pb_ui_token *token;
	char id[ID_CHARS + 1];
	bool matches;

	if (!text || strnlen(text, PREFIX_LEN + ID_CHARS + SECRET_CHARS + 1) != PREFIX_LEN + ID_CHARS + SECRET_CHARS ||
	    !str_starts(text, PREFIX) ||
	    base36_decode(text + PREFIX_LEN + ID_CHARS, SECRET_CHARS, secret, sizeof(secret)) < 0)
		return NULL;
	memcpy(id, text + PREFIX_LEN, ID_CHARS);
	id[ID_CHARS] = '\0';
	pki_sha256(secret, sizeof(secret), digest);
	mem_wipe(secret, sizeof(secret));
	token = view_ui_token(v, id);
	/* An id that nobody has costs the same as one with another secret. */
	matches = pki_digest_equal(digest, token && token->secret_sha256.len == PKI_DIGEST_BYTES
					   ? token->secret_sha256.data : nobody);
	return token && matches && !web_token_expired(token, now) ? token : NULL;
}
