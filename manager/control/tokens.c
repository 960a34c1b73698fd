#include "filters.h"
#include "internal.h"
#include "redact.h"
#include "resolve.h"
#include "validate.h"

#include "common/clock.h"
#include "common/mem.h"
#include "manager/store/store.h"

#include <stdio.h>
#include <string.h>

static void drop_text(struct req *r)
{
	if (r->text)
		mem_wipe(r->text, strlen(r->text));
	free(r->text);
	r->text = NULL;
}

static void add_managers(const struct view *v, struct strv *out)
{
	_cleanup_free_ const void **nodes = NULL;
	size_t n;

	nodes = view_list(v, KIND_NODE, &n);
	for (size_t i = 0; i < n; i++) {
		const pb_node *node = nodes[i];

		if (node->manager && !str_empty(node->manager->address))
			strv_add(out, node->manager->address);
	}
}

static void reply_token(struct req *r)
{
	Skein__TokenResponse response = SKEIN__TOKEN_RESPONSE__INIT;
	_cleanup_strv_ struct strv managers = {0};

	add_managers(control_view(r->c), &managers);
	response.id = r->id;
	response.token = r->text;
	response.managers = managers.v;
	response.n_managers = managers.n;
	req_reply(r, &response);
}

/* Nothing staged: the token was there. */
static void commit_or_reply(struct req *r, struct txn *t)
{
	if (!txn_empty(t)) {
		req_commit(r, t, reply_token);
		return;
	}
	txn_free(t);
	reply_token(r);
}

void step_get_token(struct req *r)
{
	const Skein__TokenRequest *request = r->msg;
	const struct control_ops *ops = &r->c->ops;
	struct view *v = control_view(r->c);
	int role = (int)request->role;
	struct error err = ERROR_INIT;
	struct txn *t;

	if (role != NODE_ROLE_WORKER && role != NODE_ROLE_MANAGER) {
		req_fail_with(r, ERR_INVALID, "role %d: must be worker or manager", role);
		return;
	}
	drop_text(r);
	snprintf(r->id, sizeof(r->id), "%s", pb_role_name(role));
	t = txn_begin(v);
	if (ops->token_standing(ops->data, t, v, role, request->rotate, clock_wall_ns(), &r->text,
				&err) < 0) {
		txn_free(t);
		req_fail(r, &err);
		return;
	}
	commit_or_reply(r, t);
}

void step_create_token(struct req *r)
{
	const Skein__CreateTokenRequest *request = r->msg;
	const struct control_ops *ops = &r->c->ops;
	struct view *v = control_view(r->c);
	_cleanup_free_ char *id = NULL;
	struct error err = ERROR_INIT;
	struct txn *t;

	if (validate_token_request(request, &err) < 0) {
		req_fail(r, &err);
		return;
	}
	drop_text(r);
	t = txn_begin(v);
	if (ops->token_create(ops->data, t, v, request, clock_wall_ns(), &id, &r->text, &err) < 0) {
		txn_free(t);
		req_fail(r, &err);
		return;
	}
	snprintf(r->id, sizeof(r->id), "%s", id);
	commit_or_reply(r, t);
}

static void reply_empty(struct req *r)
{
	Skein__Empty response = SKEIN__EMPTY__INIT;

	req_reply(r, &response);
}

void step_revoke_token(struct req *r)
{
	const Skein__RefRequest *request = r->msg;
	const struct control_ops *ops = &r->c->ops;
	struct view *v = control_view(r->c);
	struct error err = ERROR_INIT;
	const pb_token *token = resolve_token(v, request->ref, &err);
	struct txn *t;

	if (!token) {
		req_fail(r, &err);
		return;
	}
	snprintf(r->id, sizeof(r->id), "%s", token->id);
	t = txn_begin(v);
	if (ops->token_revoke(ops->data, t, v, r->id, &err) < 0) {
		txn_free(t);
		req_fail(r, &err);
		return;
	}
	req_commit(r, t, reply_empty);
}

static bool match_id(const struct view *v, const void *obj, const char *value)
{
	return str_starts(((const pb_token *)obj)->id, value);
}

static bool match_role(const struct view *v, const void *obj, const char *value)
{
	return str_eq(pb_role_name((int)((const pb_token *)obj)->role), value);
}

static bool match_label(const struct view *v, const void *obj, const char *value)
{
	const pb_token *token = obj;

	return filters_label(token->labels, token->n_labels, value);
}

static const struct filter_key token_filters[] = {
	{"id", match_id, NULL},
	{"role", match_role, "worker|manager"},
	{"label", match_label, NULL},
	{0},
};

void step_list_tokens(struct req *r)
{
	const Skein__ListRequest *request = r->msg;
	Skein__ListTokensResponse response = SKEIN__LIST_TOKENS_RESPONSE__INIT;
	_cleanup_redact_ struct redact redact = {0};
	_cleanup_free_ const void **tokens = NULL;
	struct view *v = control_view(r->c);
	struct error err = ERROR_INIT;
	size_t n;

	if (filters_check(token_filters, request->filters, request->n_filters, &err) < 0) {
		req_fail(r, &err);
		return;
	}
	tokens = view_list(v, KIND_TOKEN, &n);
	response.tokens = redact_alloc(&redact, n * sizeof(*response.tokens));
	for (size_t i = 0; i < n; i++)
		if (filters_pass(token_filters, request->filters, request->n_filters, v, tokens[i]))
			response.tokens[response.n_tokens++] = redact_token(&redact, tokens[i]);
	req_reply_bounded(r, &response.base, "tokens");
}
