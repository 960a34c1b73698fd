#include "session.h"

#include "common/id.h"
#include "common/mem.h"
#include "common/pki.h"
#include "common/str.h"

#include <stdio.h>
#include <string.h>

struct session {
	uint64_t id; /* 0 = free */
	unsigned char cookie[PKI_DIGEST_BYTES], key[PKI_DIGEST_BYTES];
	char token_id[SESSION_TOKEN_MAX];
	int64_t expires_at, used_at;
};

struct sessions {
	uint64_t last_id;
	struct session list[SESSIONS_MAX];
};

struct sessions *sessions_new(void)
{
	return xnew(struct sessions);
}

void sessions_free(struct sessions *s)
{
	free(s);
}

static void forget(struct session *session)
{
	mem_wipe(session, sizeof(*session));
}

static struct session *place(struct sessions *s, int64_t now)
{
	struct session *best = &s->list[0];

	for (size_t i = 0; i < SESSIONS_MAX; i++) {
		struct session *session = &s->list[i];

		if (!session->id || now >= session->expires_at)
			return session;
		if (session->used_at < best->used_at)
			best = session;
	}
	return best;
}

uint64_t sessions_open(struct sessions *s, const char *token_id, int64_t expires_at, int64_t now,
		       const unsigned char random[static 2 * SESSION_SECRET_BYTES], struct session_texts *ret)
{
	struct session *session = place(s, now);

	forget(session);
	session->id = ++s->last_id;
	pki_sha256(random, SESSION_SECRET_BYTES, session->cookie);
	pki_sha256(random + SESSION_SECRET_BYTES, SESSION_SECRET_BYTES, session->key);
	snprintf(session->token_id, sizeof(session->token_id), "%s", token_id);
	session->expires_at = expires_at;
	session->used_at = now;
	base36_encode(random, SESSION_SECRET_BYTES, ret->cookie, SESSION_TEXT_LEN);
	base36_encode(random + SESSION_SECRET_BYTES, SESSION_SECRET_BYTES, ret->key, SESSION_TEXT_LEN);
	return session->id;
}

/* What is stored of a secret's text. */
static bool digest_of_text(const char *text, unsigned char ret[static PKI_DIGEST_BYTES])
{
	unsigned char secret[SESSION_SECRET_BYTES];

	if (!text || strnlen(text, SESSION_TEXT_LEN + 1) != SESSION_TEXT_LEN ||
	    base36_decode(text, SESSION_TEXT_LEN, secret, sizeof(secret)) < 0)
		return false;
	pki_sha256(secret, sizeof(secret), ret);
	mem_wipe(secret, sizeof(secret));
	return true;
}

uint64_t sessions_find(struct sessions *s, const char *cookie, const char *key, int64_t now)
{
	unsigned char cookie_digest[PKI_DIGEST_BYTES], key_digest[PKI_DIGEST_BYTES];
	struct session *found = NULL;

	if (!digest_of_text(cookie, cookie_digest) || !digest_of_text(key, key_digest))
		return 0;
	for (size_t i = 0; i < SESSIONS_MAX; i++) {
		struct session *session = &s->list[i];
		bool same = pki_digest_equal(session->cookie, cookie_digest) & pki_digest_equal(session->key, key_digest);

		if (same && session->id && now < session->expires_at)
			found = session;
	}
	if (!found)
		return 0;
	found->used_at = now;
	return found->id;
}

bool sessions_has(const struct sessions *s, uint64_t id, int64_t now)
{
	for (size_t i = 0; i < SESSIONS_MAX; i++)
		if (id && s->list[i].id == id)
			return now < s->list[i].expires_at;
	return false;
}

void sessions_close(struct sessions *s, uint64_t id)
{
	for (size_t i = 0; i < SESSIONS_MAX; i++)
		if (id && s->list[i].id == id)
			forget(&s->list[i]);
}

void sessions_close_token(struct sessions *s, const char *token_id)
{
	for (size_t i = 0; i < SESSIONS_MAX; i++)
		if (s->list[i].id && str_eq(s->list[i].token_id, token_id))
			forget(&s->list[i]);
}

int64_t sessions_next_end(struct sessions *s, int64_t now)
{
	int64_t next = INT64_MAX;

	for (size_t i = 0; i < SESSIONS_MAX; i++) {
		struct session *session = &s->list[i];

		if (session->id && now >= session->expires_at)
			forget(session);
		if (session->id)
			next = MIN(next, session->expires_at);
	}
	return next;
}

size_t sessions_count(const struct sessions *s)
{
	size_t n = 0;

	for (size_t i = 0; i < SESSIONS_MAX; i++)
		n += s->list[i].id != 0;
	return n;
}
