/* Tokens of the managers' web page: made, listed, revoked. */
#include "filters.h"
#include "internal.h"
#include "redact.h"
#include "resolve.h"

#include "common/clock.h"
#include "common/mem.h"
#include "common/pki.h"
#include "manager/store/store.h"

#include <stdio.h>
#include <string.h>

static void reply_created(struct req *r)
{
	Skein__UiTokenResponse response = SKEIN__UI_TOKEN_RESPONSE__INIT;
	const pb_ui_token *token = view_ui_token(control_view(r->c), r->id);

	response.id = r->id;
	response.token = r->text;
	response.url = r->url;
	response.expires_at = token ? token->expires_at : 0;
	req_reply(r, &response);
}

void step_create_ui_token(struct req *r)
{
	const Skein__CreateUiTokenRequest *request = r->msg;
	const struct control_ops *ops = &r->c->ops;
	struct view *v = control_view(r->c);
	_cleanup_free_ char *id = NULL;
	struct error err = ERROR_INIT;
	struct txn *t;

	pki_secret_freep(&r->text); /* of an attempt that met a conflict */
	if (!r->url)
		r->url = ops->ui_url(ops->data, &err);
	if (!r->url) {
		req_fail(r, &err);
		return;
	}
	t = txn_begin(v);
	if (ops->ui_token_create(ops->data, t, v, request->ttl, clock_wall_ns(), &id, &r->text, &err) < 0) {
		txn_free(t);
		req_fail(r, &err);
		return;
	}
	snprintf(r->id, sizeof(r->id), "%s", id);
	req_commit(r, t, reply_created);
}

static void reply_empty(struct req *r)
{
	Skein__Empty response = SKEIN__EMPTY__INIT;

	req_reply(r, &response);
}

void step_revoke_ui_token(struct req *r)
{
	const Skein__RefRequest *request = r->msg;
	struct error err = ERROR_INIT;
	const pb_ui_token *token = resolve_ui_token(control_view(r->c), request->ref, &err);
	struct txn *t;

	if (!token) {
		req_fail(r, &err);
		return;
	}
	t = txn_begin(control_view(r->c));
	txn_del(t, KIND_UI_TOKEN, token->id);
	req_commit(r, t, reply_empty);
}

static bool match_id(const struct view *v, const void *obj, const char *value)
{
	return str_starts(((const pb_ui_token *)obj)->id, value);
}

static const struct filter_key ui_token_filters[] = {
	{"id", match_id, NULL},
	{0},
};

void step_list_ui_tokens(struct req *r)
{
	const Skein__ListRequest *request = r->msg;
	Skein__ListUiTokensResponse response = SKEIN__LIST_UI_TOKENS_RESPONSE__INIT;
	_cleanup_redact_ struct redact redact = {0};
	_cleanup_free_ const void **tokens = NULL;
	struct view *v = control_view(r->c);
	struct error err = ERROR_INIT;
	size_t n;

	if (filters_check(ui_token_filters, request->filters, request->n_filters, &err) < 0) {
		req_fail(r, &err);
		return;
	}
	tokens = view_list(v, KIND_UI_TOKEN, &n);
	response.tokens = redact_alloc(&redact, n * sizeof(*response.tokens));
	for (size_t i = 0; i < n; i++)
		if (filters_pass(ui_token_filters, request->filters, request->n_filters, v, tokens[i]))
			response.tokens[response.n_tokens++] = redact_ui_token(&redact, tokens[i]);
	req_reply_bounded(r, &response.base, "tokens");
}
