#include "etcd_internal.h"

#include "common/clock.h"
#include "common/mem.h"

#include <string.h>

#define TIMEOUT_DEFAULT_MS 5000
#define ATTEMPT_MIN_MS 500       /* less silence says nothing about an endpoint */

enum retry {
	RETRY_ANY,       /* reading, or harmless to do twice */
	RETRY_UNSENT,    /* only when no server can have seen it */
	RETRY_NEVER,     /* it asks this one server */
};

/* What waits for the answer. */
enum waiter { WAITS_RANGE, WAITS_TXN, WAITS_LEASE, WAITS_KEEPALIVE, WAITS_MEMBERS };

struct etcd_request {
	TAILQ_ENTRY(etcd_request) entry;
	struct etcd *etcd;
	struct etcd_http_call *call;
	const char *path;
	char *body;
	char *endpoint;       /* of the present attempt */
	enum retry retry;
	size_t attempts_left;
	int64_t since_ns;     /* the first attempt */
	int64_t begun_ns;     /* the present attempt */
	int64_t deadline_ns;
	uint64_t term;        /* known when it was sent */
	bool overtaken;       /* its answer will not come */
	enum waiter waiter;
	union {
		etcd_range_cb range;
		etcd_txn_cb txn;
		etcd_lease_cb lease;
		etcd_members_cb members;
	} cb;
	void *data;
};

/* ---- endpoints */

const char *etcd_endpoint(const struct etcd *e)
{
	return e->endpoints.v[e->current];
}

void etcd_endpoint_failed(struct etcd *e, const char *endpoint)
{
	/* Only once for all that were waiting for it. */
	if (str_eq(etcd_endpoint(e), endpoint))
		e->current = (e->current + 1) % e->endpoints.n;
}

static bool is_listed(const struct etcd *e, const char *endpoint)
{
	for (size_t i = 0; i < e->endpoints.n; i++)
		if (str_eq(e->endpoints.v[i], endpoint))
			return true;
	return false;
}

static void ask_again(struct etcd *e, bool (*lost)(const struct etcd_request *r));

/* Its host is gone: the answer will not come. */
static bool is_homeless(const struct etcd_request *r)
{
	return !is_listed(r->etcd, r->endpoint);
}

void etcd_set_endpoints(struct etcd *e, const char *const *endpoints)
{
	_cleanup_free_ char *present = xstrdup(etcd_endpoint(e));
	struct strv list = {0};

	for (size_t i = 0; endpoints[i]; i++)
		if (etcd_http_check_endpoint(endpoints[i], NULL) == 0)
			strv_add(&list, endpoints[i]);
	if (!list.n) {
		strv_fini(&list);
		return;
	}
	strv_fini(&e->endpoints);
	e->endpoints = list;
	e->current = 0;
	for (size_t i = 0; i < list.n; i++)
		if (str_eq(list.v[i], present))
			e->current = i;
	if (e->closer.closing)
		return;
	ask_again(e, is_homeless);
	if (!str_eq(etcd_endpoint(e), present))
		etcd_watches_move(e);
}

void etcd_use_endpoint(struct etcd *e, const char *endpoint)
{
	for (size_t i = 0; i < e->endpoints.n; i++)
		if (str_eq(e->endpoints.v[i], endpoint))
			e->current = i;
	if (!e->closer.closing)
		etcd_watches_move(e);
}

static int check_endpoints(const char *const *endpoints, struct error *err)
{
	if (!endpoints || !endpoints[0])
		return error_set(err, ERR_INVALID, "no endpoint of etcd is given");
	for (size_t i = 0; endpoints[i]; i++)
		if (etcd_http_check_endpoint(endpoints[i], err) < 0)
			return -1;
	return 0;
}

struct etcd *etcd_new(uv_loop_t *loop, const struct etcd_options *options, struct error *err)
{
	struct etcd_http_tls tls = {options->ca_file, options->cert_file, options->key_file,
			       options->server_name};
	struct etcd *e;

	if (check_endpoints(options->endpoints, err) < 0)
		return NULL;
	e = xnew(struct etcd);
	e->loop = loop;
	e->timeout_ms = options->timeout_ms ? options->timeout_ms : TIMEOUT_DEFAULT_MS;
	e->http = etcd_http_new(loop, &tls);
	for (size_t i = 0; options->endpoints[i]; i++)
		strv_add(&e->endpoints, options->endpoints[i]);
	closer_init(&e->closer);
	uv_timer_init(loop, &e->again);
	TAILQ_INIT(&e->requests);
	LIST_INIT(&e->watches);
	return e;
}

struct closing {
	void (*closed)(void *data);
	void *data;
	struct etcd *etcd;
};

static void on_closed(void *data)
{
	struct closing c = *(struct closing *)data;

	free(data);
	strv_fini(&c.etcd->endpoints);
	free(c.etcd);
	if (c.closed)
		c.closed(c.data);
}

static void on_http_closed(void *data)
{
	struct etcd *e = data;

	closer_drop(&e->closer);
}

void etcd_close(struct etcd *e, void (*closed)(void *data), void *data)
{
	struct closing *c;

	if (e->closer.closing)
		return;
	c = xmalloc(sizeof(*c));
	*c = (struct closing){closed, data, e};
	closer_begin(&e->closer, on_closed, c);
	closer_hold(&e->closer);
	closer_add(&e->closer, (uv_handle_t *)&e->again);
	while (!LIST_EMPTY(&e->watches))
		etcd_watch_cancel(LIST_FIRST(&e->watches));
	while (!TAILQ_EMPTY(&e->requests))
		etcd_request_cancel(TAILQ_FIRST(&e->requests));
	etcd_http_close(e->http, on_http_closed, e);
	closer_end(&e->closer);
}

/* ---- requests */

static void request_free(struct etcd_request *r)
{
	free(r->body);
	free(r->endpoint);
	free(r);
}

static void tell_range(const struct etcd_request *r, const struct etcd_answer *a, const struct error *err)
{
	struct etcd_range_result result;

	if (err) {
		r->cb.range(r->data, NULL, err);
		return;
	}
	result = (struct etcd_range_result){a->revision, a->kvs, a->n_kvs, a->more};
	r->cb.range(r->data, &result, NULL);
}

static void tell_txn(const struct etcd_request *r, const struct etcd_answer *a, const struct error *err)
{
	struct etcd_txn_result result;

	if (err) {
		r->cb.txn(r->data, NULL, err);
		return;
	}
	result = (struct etcd_txn_result){a->succeeded, a->revision};
	r->cb.txn(r->data, &result, NULL);
}

static void tell_lease(const struct etcd_request *r, const struct etcd_answer *a, const struct error *err)
{
	struct error gone;

	if (err) {
		r->cb.lease(r->data, 0, 0, err);
	} else if (r->waiter == WAITS_KEEPALIVE && a->ttl_s == 0) {
		/* etcd says so by HTTP 200 and the absence of a TTL. */
		error_set(&gone, ERR_NOT_FOUND, "lease has expired");
		r->cb.lease(r->data, 0, 0, &gone);
	} else {
		r->cb.lease(r->data, a->id, a->ttl_s, NULL);
	}
}

void etcd_set_observer(struct etcd *e, etcd_observer cb, void *data)
{
	e->observer = cb;
	e->observer_data = data;
}

void etcd_traffic(const struct etcd *e, uint64_t *ret_sent, uint64_t *ret_received)
{
	const struct etcd_http_traffic *traffic = etcd_http_traffic(e->http);

	*ret_sent = traffic->sent_bytes;
	*ret_received = traffic->received_bytes;
}

static void observe(const struct etcd_request *r, const struct error *err)
{
	static const enum etcd_operation operations[] = {
		[WAITS_RANGE] = ETCD_READ,	[WAITS_TXN] = ETCD_TXN,		[WAITS_LEASE] = ETCD_LEASE,
		[WAITS_KEEPALIVE] = ETCD_LEASE, [WAITS_MEMBERS] = ETCD_MEMBERS,
	};
	const struct etcd *e = r->etcd;

	if (e->observer && !(err && err->code == ERR_CANCELLED))
		e->observer(e->observer_data, operations[r->waiter], clock_mono_ns() - r->since_ns, err ? err->code : ERR_OK);
}

/* Tell the caller and forget the request. Exactly one of answer and err. */
static void finish(struct etcd_request *r, const struct etcd_answer *a, const struct error *err)
{
	TAILQ_REMOVE(&r->etcd->requests, r, entry);
	observe(r, err);
	switch (r->waiter) {
	case WAITS_RANGE:
		tell_range(r, a, err);
		break;
	case WAITS_TXN:
		tell_txn(r, a, err);
		break;
	case WAITS_LEASE:
	case WAITS_KEEPALIVE:
		tell_lease(r, a, err);
		break;
	case WAITS_MEMBERS:
		r->cb.members(r->data, a ? a->members : NULL, a ? a->n_members : 0, err);
		break;
	}
	request_free(r);
}

static void attempt(struct etcd_request *r);

/* False: it stays with this failure. */
static bool try_next(struct etcd_request *r, bool sent)
{
	if (r->retry == RETRY_NEVER || (r->retry == RETRY_UNSENT && sent))
		return false;
	if (!r->attempts_left || clock_mono_ns() >= r->deadline_ns)
		return false;
	attempt(r);
	return true;
}

/* The server's own words, when it gave any. */
static void refusal(const struct etcd_http_result *result, struct error *ret)
{
	_cleanup_answer_ struct etcd_answer answer = {0};

	if (etcd_json_parse(result->body, result->len, &answer, NULL) == 0 && error_is_set(&answer.error))
		*ret = answer.error;
	else
		error_set(ret, result->status >= 500 ? ERR_UNAVAILABLE : ERR_INTERNAL,
			  "etcd answered with HTTP status %ld", result->status);
}

static void failed(struct etcd_request *r, const struct error *why, bool sent)
{
	struct error err = *why;

	if (err.code == ERR_UNAVAILABLE || err.code == ERR_TIMEOUT) {
		if (err.code == ERR_UNAVAILABLE || clock_mono_ns() - r->begun_ns >= ATTEMPT_MIN_MS * NS_PER_MS)
			etcd_endpoint_failed(r->etcd, r->endpoint);
		if (try_next(r, sent))
			return;
	}
	error_wrap(&err, "etcd at %s", r->endpoint);
	finish(r, NULL, &err);
}

/* What went to a leader that is one no longer: nobody will answer it. */
static bool is_of_old_term(const struct etcd_request *r)
{
	return r->term < r->etcd->term;
}

/* A transaction's owner decides what it means that it may have been applied; the others are harmless to do twice. */
static void overtake(struct etcd_request *r)
{
	struct error err;

	r->overtaken = false;
	etcd_http_cancel(TAKE_PTR(r->call));
	if (r->waiter != WAITS_TXN) {
		attempt(r);
		return;
	}
	error_set(&err, ERR_TIMEOUT, "etcd at %s lost its leader", r->endpoint);
	finish(r, NULL, &err);
}

/* Each callback may end other requests: begin anew behind it. */
static void on_again(uv_timer_t *timer)
{
	struct etcd *e = container_of(timer, struct etcd, again);
	struct etcd_request *r;

	do {
		TAILQ_FOREACH(r, &e->requests, entry)
			if (r->overtaken)
				break;
		if (r)
			overtake(r);
	} while (r);
}

/* Writes under way whose answer will not come. */
static void ask_again(struct etcd *e, bool (*lost)(const struct etcd_request *r))
{
	struct etcd_request *r;

	TAILQ_FOREACH(r, &e->requests, entry) {
		if (!r->call || (r->waiter != WAITS_TXN && r->waiter != WAITS_LEASE) || !lost(r))
			continue;
		r->overtaken = true;
		uv_timer_start(&e->again, on_again, 0, 0);
	}
}

void etcd_note_term(struct etcd *e, uint64_t term)
{
	bool news = e->term && term > e->term;

	e->term = MAX(e->term, term);
	if (news)
		ask_again(e, is_of_old_term);
}

static void on_done(void *data, const struct etcd_http_result *result)
{
	_cleanup_answer_ struct etcd_answer answer = {0};
	struct etcd_request *r = data;
	struct error err;

	r->call = NULL;
	r->overtaken = false;
	if (!result->status) {
		failed(r, &result->error, result->sent);
	} else if (result->status != 200) {
		refusal(result, &err);
		failed(r, &err, true);
	} else if (etcd_json_parse(result->body, result->len, &answer, &err) < 0) {
		failed(r, &err, true);
	} else if (error_is_set(&answer.error)) {
		failed(r, &answer.error, true);
	} else {
		etcd_note_term(r->etcd, answer.term);
		finish(r, &answer, NULL);
	}
}

static void attempt(struct etcd_request *r)
{
	uint64_t left_ms = (uint64_t)MAX((r->deadline_ns - clock_mono_ns()) / NS_PER_MS, 1);
	struct etcd_http_post post = {
		.path = r->path,
		.body = xstrdup(r->body),
		/* Short only where another one can be asked meanwhile: slow machines need longer for TLS. */
		.connect_timeout_ms = r->etcd->endpoints.n > 1 ? MIN(left_ms, ETCD_CONNECT_TIMEOUT_MS) : left_ms,
		.timeout_ms = left_ms,
		.max_body = ETCD_ANSWER_MAX,
		.once = r->retry != RETRY_ANY,
		.on_done = on_done,
		.data = r,
	};

	/* A server that says nothing must leave time to ask the others. */
	if (r->retry == RETRY_ANY && r->attempts_left > 1)
		post.timeout_ms = MIN(left_ms, MAX(left_ms / r->attempts_left, ATTEMPT_MIN_MS));
	r->begun_ns = clock_mono_ns();
	r->term = r->etcd->term;
	if (r->attempts_left)
		r->attempts_left--;
	if (r->retry != RETRY_NEVER) {
		free(r->endpoint);
		r->endpoint = xstrdup(etcd_endpoint(r->etcd));
	}
	post.endpoint = r->endpoint;
	r->call = etcd_http_post(r->etcd->http, &post);
}

static struct etcd_request *request(struct etcd *e, const char *path, char *body, enum retry retry,
				    enum waiter waiter, void *data)
{
	struct etcd_request *r = xnew(struct etcd_request);

	r->etcd = e;
	r->path = path;
	r->body = body;
	r->retry = retry;
	r->attempts_left = e->endpoints.n;
	r->since_ns = clock_mono_ns();
	r->deadline_ns = r->since_ns + (int64_t)e->timeout_ms * NS_PER_MS;
	r->waiter = waiter;
	r->data = data;
	TAILQ_INSERT_TAIL(&e->requests, r, entry);
	return r;
}

void etcd_request_cancel(struct etcd_request *r)
{
	struct error err;

	etcd_http_cancel(TAKE_PTR(r->call));
	error_set(&err, ERR_CANCELLED, "request was cancelled");
	finish(r, NULL, &err);
}

/* ---- the calls */

struct etcd_request *etcd_range(struct etcd *e, const char *key, const char *end, uint64_t revision,
				uint64_t limit, etcd_range_cb cb, void *data)
{
	struct etcd_request *r = request(e, "/v3/kv/range", etcd_json_range(key, end, revision, limit),
					 RETRY_ANY, WAITS_RANGE, data);

	r->cb.range = cb;
	attempt(r);
	return r;
}

struct etcd_request *etcd_probe(struct etcd *e, const char *endpoint, const char *key, uint64_t timeout_ms,
				etcd_range_cb cb, void *data)
{
	struct etcd_request *r = request(e, "/v3/kv/range", etcd_json_range(key, NULL, 0, 0),
					 RETRY_NEVER, WAITS_RANGE, data);

	r->cb.range = cb;
	r->endpoint = xstrdup(endpoint);
	r->deadline_ns = clock_mono_ns() + (int64_t)timeout_ms * NS_PER_MS;
	attempt(r);
	return r;
}

char *etcd_prefix_end(const char *prefix)
{
	char *end = xstrdup(prefix);
	size_t len = strlen(end);

	while (len && (unsigned char)end[len - 1] == 0xff)
		len--;
	end[len] = '\0';
	if (len)
		end[len - 1]++;
	return end;
}

static struct etcd_request *txn_request(struct etcd *e, const struct etcd_compare *compares, size_t n_compares,
					const struct etcd_op *ops, size_t n_ops, etcd_txn_cb cb, void *data)
{
	struct etcd_request *r = request(e, "/v3/kv/txn", etcd_json_txn(compares, n_compares, ops, n_ops),
					 RETRY_UNSENT, WAITS_TXN, data);

	r->cb.txn = cb;
	return r;
}

struct etcd_request *etcd_txn(struct etcd *e, const struct etcd_compare *compares, size_t n_compares,
			      const struct etcd_op *ops, size_t n_ops, etcd_txn_cb cb, void *data)
{
	struct etcd_request *r = txn_request(e, compares, n_compares, ops, n_ops, cb, data);

	attempt(r);
	return r;
}

struct etcd_request *etcd_txn_within(struct etcd *e, uint64_t timeout_ms, const struct etcd_compare *compares,
				     size_t n_compares, const struct etcd_op *ops, size_t n_ops, etcd_txn_cb cb,
				     void *data)
{
	struct etcd_request *r = txn_request(e, compares, n_compares, ops, n_ops, cb, data);

	r->deadline_ns = clock_mono_ns() + (int64_t)timeout_ms * NS_PER_MS;
	attempt(r);
	return r;
}

static struct etcd_request *lease_call(struct etcd *e, const char *path, char *body, enum waiter waiter,
				       etcd_lease_cb cb, void *data)
{
	struct etcd_request *r = request(e, path, body, RETRY_ANY, waiter, data);

	r->cb.lease = cb;
	attempt(r);
	return r;
}

struct etcd_request *etcd_lease_grant(struct etcd *e, int64_t ttl_s, etcd_lease_cb cb, void *data)
{
	/* Granted twice does no harm: the one nobody knows of expires. */
	return lease_call(e, "/v3/lease/grant", etcd_json_lease_grant(ttl_s), WAITS_LEASE, cb, data);
}

struct etcd_request *etcd_lease_keepalive(struct etcd *e, uint64_t lease, etcd_lease_cb cb, void *data)
{
	return lease_call(e, "/v3/lease/keepalive", etcd_json_id(lease), WAITS_KEEPALIVE, cb, data);
}

struct etcd_request *etcd_lease_revoke(struct etcd *e, uint64_t lease, etcd_lease_cb cb, void *data)
{
	return lease_call(e, "/v3/lease/revoke", etcd_json_id(lease), WAITS_LEASE, cb, data);
}

static struct etcd_request *members_call(struct etcd *e, const char *path, char *body, enum retry retry,
					 etcd_members_cb cb, void *data)
{
	struct etcd_request *r = request(e, path, body, retry, WAITS_MEMBERS, data);

	r->cb.members = cb;
	attempt(r);
	return r;
}

struct etcd_request *etcd_member_list(struct etcd *e, etcd_members_cb cb, void *data)
{
	return members_call(e, "/v3/cluster/member/list", xstrdup("{}"), RETRY_ANY, cb, data);
}

struct etcd_request *etcd_member_add(struct etcd *e, const char *peer_url, bool learner, etcd_members_cb cb,
				     void *data)
{
	return members_call(e, "/v3/cluster/member/add", etcd_json_member_add(peer_url, learner), RETRY_UNSENT,
			    cb, data);
}

struct etcd_request *etcd_member_promote(struct etcd *e, uint64_t id, etcd_members_cb cb, void *data)
{
	return members_call(e, "/v3/cluster/member/promote", etcd_json_id(id), RETRY_UNSENT, cb, data);
}

struct etcd_request *etcd_member_remove(struct etcd *e, uint64_t id, etcd_members_cb cb, void *data)
{
	return members_call(e, "/v3/cluster/member/remove", etcd_json_id(id), RETRY_UNSENT, cb, data);
}
