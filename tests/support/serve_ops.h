/*
 * serve_ops - what Control asks of its siblings, played: each answers as struct serve says, and never inside the call.
 */
#pragma once
#include "support/serve_world.h"

static inline int op_constraint(void *data, const char *expr, struct error *err)
{
	return strstr(expr, "==")
		       ? 0
		       : error_set(err, ERR_INVALID, "constraint \"%s\": expected ==", expr);
}

static inline Skein__ExplainServiceResponse *op_explain(void *data, struct view *v,
							const pb_service *service, int64_t now)
{
	Skein__ExplainServiceResponse *r = pb_new(&skein__explain_service_response__descriptor);

	r->service = pb_dup(service);
	pb_set_str(&r->summary, "explained");
	return r;
}

static inline uint64_t op_global_wanted(void *data, struct view *v, const pb_service *service)
{
	return view_count(v, KIND_NODE);
}

/* Every node but those called "full..." takes every task. */
static inline void op_verdicts(void *data, const struct view *v, const pb_task *task, int64_t now,
			       control_verdict_cb cb, void *cb_data)
{
	_cleanup_free_ const void **nodes = NULL;
	size_t n;

	nodes = view_list(v, KIND_NODE, &n);
	for (size_t i = 0; i < n; i++) {
		bool full = str_starts(((const pb_node *)nodes[i])->id, "full");

		cb(cb_data, nodes[i], !full, full ? "resource" : "", full ? "insufficient memory" : "");
	}
}

/* All tasks of the service that are not on node n9 go there. */
static inline void op_rebalance(void *data, const struct view *v, const pb_service *service, int64_t now,
				control_move_cb cb, void *cb_data)
{
	_cleanup_free_ const pb_task **tasks = NULL;
	const pb_node *to = view_node(v, "n9");
	size_t n;

	tasks = view_tasks_of_service(v, service->id, &n);
	for (size_t i = 0; to && i < n; i++)
		if (!str_eq(tasks[i]->node_id, to->id))
			cb(cb_data, tasks[i], to);
}

/* The object is what is tested here, not the secret. */
static inline int op_token_standing(void *data, struct txn *t, struct view *v, int role,
				    bool rotate, int64_t now, char **ret_text, struct error *err)
{
	const pb_token *has = view_token(v, pb_role_name(role));

	if (!has || rotate) {
		pb_token *token = pb_new(&skein__join_token__descriptor);

		pb_set_str(&token->id, pb_role_name(role));
		token->role = (Skein__NodeRole)role;
		pb_set_str(&token->secret, has ? "second" : "first");
		if (has)
			token->meta = pb_dup(has->meta);
		txn_put(t, KIND_TOKEN, token);
		has = view_token(v, pb_role_name(role));
	}
	*ret_text = xstrdup(has->secret);
	return 0;
}

static inline int op_token_create(void *data, struct txn *t, struct view *v,
				  const Skein__CreateTokenRequest *request, int64_t now,
				  char **ret_id, char **ret_text, struct error *err)
{
	pb_token *token = pb_new(&skein__join_token__descriptor);

	pb_set_str(&token->id, "0123456789");
	token->max_uses = request->max_uses;
	txn_put(t, KIND_TOKEN, token);
	*ret_id = xstrdup("0123456789");
	*ret_text = xstrdup("shown once");
	return 0;
}

static inline int op_token_revoke(void *data, struct txn *t, struct view *v, const char *id,
				  struct error *err)
{
	txn_del(t, KIND_TOKEN, id);
	return 0;
}

static inline int op_ui_token_create(void *data, struct txn *t, struct view *v, int64_t ttl_ns,
				     int64_t now, char **ret_id, char **ret_text, struct error *err)
{
	pb_ui_token *token;

	if (ttl_ns <= 0)
		return error_set(err, ERR_INVALID, "ttl %" PRId64 ": must be more than 0", ttl_ns);
	token = pb_new(&skein__ui_token__descriptor);
	pb_set_str(&token->id, "9876543210");
	token->expires_at = now + ttl_ns;
	token->secret_sha256.data = xmemdup("digest", 6);
	token->secret_sha256.len = 6;
	txn_put(t, KIND_UI_TOKEN, token);
	*ret_id = xstrdup("9876543210");
	*ret_text = xstrdup("shown once");
	return 0;
}

static inline char *op_ui_url(void *data, struct error *err)
{
	return xstrdup("https://10.0.0.1:9641/ui/");
}

/* Answers as the real ones do: never inside the call. */
struct later {
	uv_timer_t timer;
	void (*run)(struct later *l);
	struct serve *s;
	control_done_cb done;
	control_digest_cb digest;
	void *data;
};

static inline void later_closed(uv_handle_t *handle)
{
	free(handle->data);
}

static inline void later_fire(uv_timer_t *timer)
{
	struct later *l = timer->data;

	l->run(l);
	uv_close((uv_handle_t *)timer, later_closed);
}

static inline struct later *later_new(struct serve *s, void (*run)(struct later *l), void *data)
{
	struct later *l = xnew(struct later);

	l->run = run;
	l->s = s;
	l->data = data;
	uv_timer_init(&s->loop, &l->timer);
	l->timer.data = l;
	uv_timer_start(&l->timer, later_fire, 0, 0);
	return l;
}

static inline void run_removed(struct later *l)
{
	struct error err = ERROR_INIT;

	if (l->s->remove_error)
		error_set(&err, ERR_PRECONDITION, "%s", l->s->remove_error);
	l->done(l->data, l->s->remove_error ? &err : NULL);
}

static inline void op_remove_member(void *data, const char *node_id, control_done_cb cb,
				    void *cb_data)
{
	struct serve *s = data;

	s->remove_calls++;
	snprintf(s->removed, sizeof(s->removed), "%s", node_id);
	later_new(s, run_removed, cb_data)->done = cb;
}

static inline void run_resolved(struct later *l)
{
	struct error err = ERROR_INIT;

	error_set(&err, ERR_UNAVAILABLE, "no registry here");
	l->digest(l->data, l->s->resolved_digest, l->s->resolved_digest ? NULL : &err);
}

static inline void op_resolve(void *data, const char *ref, const char *auth, uint64_t timeout_ms,
			      control_digest_cb cb, void *cb_data)
{
	struct serve *s = data;

	s->resolve_calls++;
	later_new(s, run_resolved, cb_data)->digest = cb;
}

static inline const char *op_leader(void *data)
{
	return "m1";
}

static inline bool op_manager_alive(void *data, const char *node_id)
{
	struct serve *s = data;

	return !s->dead_manager || strcmp(s->dead_manager, node_id) != 0;
}

static inline const char *op_complaint(void *data)
{
	return "";
}

static inline void op_etcd_info(void *data, bool *ret_embedded, struct strv *ret_endpoints)
{
	*ret_embedded = true;
	strv_add(ret_endpoints, serve_etcd.endpoint);
}
