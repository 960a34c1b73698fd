/* Signing in and out: a token becomes a session of a cookie and a key. */
#include "attempts.h"
#include "internal.h"
#include "session.h"
#include "token.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/pki.h"
#include "manager/store/view.h"

#include <inttypes.h>
#include <string.h>

/* "__Host-": set by this host alone, over TLS, for every path (which the prefix demands). */
#define COOKIE "__Host-skein"
#define KEY_HEADER "X-Skein-Key"

/* The next session's end, and streams of those that have ended. */
static void arm(struct web *w)
{
	int64_t now = clock_wall_ns(), next = sessions_next_end(w->sessions, now);

	if (next == INT64_MAX)
		uv_timer_stop(&w->end);
	else
		loop_timer_in(&w->end, MIN(next - now, 3600 * NS_PER_SEC), sign_on_end);
}

static void end_streams(struct web *w)
{
	viewers_check(w);
	relays_check(w);
	plots_check(w);
}

void sign_on_end(uv_timer_t *timer)
{
	struct web *w = timer->data;

	arm(w);
	end_streams(w);
}

void sign_token_gone(struct web *w, const char *token_id)
{
	sessions_close_token(w->sessions, token_id);
	end_streams(w);
}

/* A page of another site may send a form here; it must not sign anybody in. */
static bool from_elsewhere(struct http_request *req)
{
	const char *site = http_header(req, "Sec-Fetch-Site");

	return site && !str_eq(site, "same-origin") && !str_eq(site, "none");
}

static void open_session(struct web *w, struct http_request *req, const pb_ui_token *token, int64_t now)
{
	unsigned char random[2 * SESSION_SECRET_BYTES];
	struct session_texts texts;
	_cleanup_free_ char *cookie = NULL;
	json_t *answer = json_object();

	pki_random(random, sizeof(random));
	sessions_open(w->sessions, token->id, token->expires_at, now, random, &texts);
	cookie = xasprintf(COOKIE "=%s; Path=/; Max-Age=%" PRId64 "; Secure; HttpOnly; SameSite=Strict", texts.cookie,
			   MAX((token->expires_at - now) / NS_PER_SEC, 1));
	http_add_header(req, "Set-Cookie", cookie);
	json_object_set_new(answer, "key", json_string(texts.key));
	log_info("ui_signed_in", kv_str("token", token->id), kv_str("from", http_peer(req)));
	web_answer_json(req, 200, answer);
	mem_wipe(random, sizeof(random));
	mem_wipe(&texts, sizeof(texts));
	mem_wipe(cookie, strlen(cookie));
	arm(w);
}

void sign_in(struct web *w, struct http_request *req)
{
	int64_t now = clock_wall_ns(), wait;
	const pb_ui_token *token;
	char seconds[24];

	if (!web_admit(w, req))
		return;
	if (from_elsewhere(req)) {
		web_refuse(req, 403, "this form was sent by another site");
		return;
	}
	wait = attempts_wait_ns(w->attempts, http_peer(req), now);
	if (wait > 0) {
		snprintf(seconds, sizeof(seconds), "%" PRId64, wait / NS_PER_SEC + 1);
		http_add_header(req, "Retry-After", seconds);
		web_refuse(req, 429, "too many wrong tokens from your address: try again in %s seconds", seconds);
		return;
	}
	token = web_token_check(w->view, http_form(req, "token"), now);
	if (token) {
		open_session(w, req, token, now);
		return;
	}
	attempts_failed(w->attempts, http_peer(req), now);
	log_warn("ui_refused", kv_str("from", http_peer(req)));
	web_refuse(req, 403, "this token is not valid: it may have expired; clusterctl ui-token makes a new one");
}

static uint64_t session_of(struct web *w, struct http_request *req)
{
	return sessions_find(w->sessions, http_cookie(req, COOKIE), http_header(req, KEY_HEADER), clock_wall_ns());
}

void sign_out(struct web *w, struct http_request *req)
{
	if (!web_admit(w, req))
		return;
	if (from_elsewhere(req)) {
		web_refuse(req, 403, "this was asked for by another site");
		return;
	}
	sessions_close(w->sessions, session_of(w, req));
	http_add_header(req, "Set-Cookie", COOKIE "=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Strict");
	web_answer_json(req, 200, json_object());
	end_streams(w);
}

uint64_t sign_check(struct web *w, struct http_request *req)
{
	uint64_t session;

	if (!web_admit(w, req))
		return 0;
	session = session_of(w, req);
	if (!session)
		web_refuse(req, 401, "not signed in");
	return session;
}
