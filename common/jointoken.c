#include "jointoken.h"

#include "error.h"
#include "id.h"
#include "str.h"

#include <stdio.h>
#include <string.h>

#define PREFIX "SKEIN-1-"
#define PREFIX_LEN (sizeof(PREFIX) - 1)
#define DIGEST_LEN 50

static int parse(const char *s, struct jointoken *ret)
{
	const char *secret;
	size_t len = strnlen(s, JOINTOKEN_MAX);

	if (len < PREFIX_LEN + DIGEST_LEN + 1 || !str_starts(s, PREFIX) ||
	    s[PREFIX_LEN + DIGEST_LEN] != '-' ||
	    base36_decode(s + PREFIX_LEN, DIGEST_LEN, ret->root_digest, PKI_DIGEST_BYTES) < 0)
		return -1;
	secret = s + PREFIX_LEN + DIGEST_LEN + 1;
	len -= PREFIX_LEN + DIGEST_LEN + 1;
	if (len == JOINTOKEN_ID_LEN + JOINTOKEN_SECRET_LEN) {
		memcpy(ret->id, secret, JOINTOKEN_ID_LEN);
		if (!jointoken_id_valid(ret->id))
			return -1;
		secret += JOINTOKEN_ID_LEN;
	} else if (len != JOINTOKEN_SECRET_LEN) {
		return -1;
	}
	return jointoken_secret_parse(secret, ret);
}

int jointoken_parse(const char *s, struct jointoken *ret, struct error *err)
{
	struct jointoken token = {0};

	if (!s || parse(s, &token) < 0) {
		mem_wipe(&token, sizeof(token));
		return error_set(err, ERR_INVALID,
				 "not a join token: accepted is " PREFIX "<50 characters>-<25 or 35 characters> "
				 "of 0-9 and a-z");
	}
	*ret = token;
	mem_wipe(&token, sizeof(token));
	return 0;
}

const char *jointoken_format(const struct jointoken *token, char buf[static JOINTOKEN_MAX])
{
	char digest[DIGEST_LEN + 1], secret[JOINTOKEN_SECRET_LEN + 1];

	base36_encode(token->root_digest, PKI_DIGEST_BYTES, digest, DIGEST_LEN);
	jointoken_secret_text(token, secret);
	snprintf(buf, JOINTOKEN_MAX, PREFIX "%s-%s%s", digest, token->id, secret);
	mem_wipe(secret, sizeof(secret));
	return buf;
}

bool jointoken_id_valid(const char *id)
{
	return id && strnlen(id, JOINTOKEN_ID_LEN + 1) == JOINTOKEN_ID_LEN &&
	       strspn(id, "0123456789abcdefghijklmnopqrstuvwxyz") == JOINTOKEN_ID_LEN;
}

void jointoken_secret_digest(const struct jointoken *token, unsigned char ret[static PKI_DIGEST_BYTES])
{
	pki_sha256(token->secret, sizeof(token->secret), ret);
}

bool jointoken_matches(const struct jointoken *token, const void *digest, size_t digest_len)
{
	unsigned char has[PKI_DIGEST_BYTES];

	jointoken_secret_digest(token, has);
	return digest && digest_len == PKI_DIGEST_BYTES && pki_digest_equal(has, digest);
}

void jointoken_secret_text(const struct jointoken *token, char buf[static JOINTOKEN_SECRET_LEN + 1])
{
	base36_encode(token->secret, sizeof(token->secret), buf, JOINTOKEN_SECRET_LEN);
}

int jointoken_secret_parse(const char *text, struct jointoken *ret)
{
	if (!text || strnlen(text, JOINTOKEN_SECRET_LEN + 1) != JOINTOKEN_SECRET_LEN)
		return -1;
	return base36_decode(text, JOINTOKEN_SECRET_LEN, ret->secret, sizeof(ret->secret));
}
