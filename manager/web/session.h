/*
 * session - who is signed in to the page of this manager, and who has tried too often. Plain data, no I/O: time and random
 * bytes are arguments.
 *
 * A session is two secrets: one in a cookie, which scripts cannot read, and one that the page keeps and sends in a header,
 * because cookies are shared by all ports of a host (docs/adr/0016). Only their digests are kept. Sessions end with their
 * token; a manager that starts again knows none.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SESSIONS_MAX 64
#define SESSION_SECRET_BYTES 16
#define SESSION_TEXT_LEN 25
#define SESSION_TOKEN_MAX 32

struct sessions;

struct sessions *sessions_new(void);
void sessions_free(struct sessions *s);

struct session_texts {
	char cookie[SESSION_TEXT_LEN + 1], key[SESSION_TEXT_LEN + 1];
};

/* Open one for a token; when there are SESSIONS_MAX, the one that was silent longest ends. Returns its id, never 0. */
uint64_t sessions_open(struct sessions *s, const char *token_id, int64_t expires_at, int64_t now,
		       const unsigned char random[static 2 * SESSION_SECRET_BYTES], struct session_texts *ret);

/* The session of a cookie and a key; 0: none. Every one is compared: the time does not tell which was near. */
uint64_t sessions_find(struct sessions *s, const char *cookie, const char *key, int64_t now);

/* Is it still there? */
bool sessions_has(const struct sessions *s, uint64_t id, int64_t now);
void sessions_close(struct sessions *s, uint64_t id);
/* All of a token. */
void sessions_close_token(struct sessions *s, const char *token_id);
/* When the next one ends; INT64_MAX when there is none. Those that have ended are forgotten. */
int64_t sessions_next_end(struct sessions *s, int64_t now);
size_t sessions_count(const struct sessions *s);

