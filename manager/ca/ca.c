#include "ca.h"

#include "common/clock.h"
#include "common/error.h"
#include "common/id.h"
#include "common/log.h"
#include "common/loop.h"
#include "common/mem.h"
#include "common/str.h"
#include "manager/ca/admit.h"
#include "manager/ca/tokens.h"
#include "manager/store/store.h"
#include "rpc/rpc.h"

#include <stdio.h>
#include <string.h>
#include <sys/queue.h>

#define REQUEST_MAX_BYTES (64u << 10)
#define WAITING_MAX 4096
#define GIVE_UP_NS (10 * NS_PER_SEC)     /* of one request, conflicts included */
#define RETRY_NS (20 * NS_PER_MS)        /* after a conflict; as much again at random */
#define REFUSALS_PER_SECOND 10           /* that are told and logged one by one */

/* One Issue or Renew until it is answered and its transaction has ended. */
struct request {
	TAILQ_ENTRY(request) link;       /* in ca->waiting, unless committing */
	struct ca *ca;
	struct rpc_call *call;           /* NULL: the caller has gone */
	Skein__IssueRequest *issue;      /* one of these two */
	Skein__RenewRequest *renew;
	Skein__IssueResponse *response;  /* what is answered once the transaction is committed */
	char node_id[PKI_ID_MAX];
	int64_t began_ns, retry_at_ns;
	bool committing, counted;
};

struct ca {
	struct ca_options o;
	struct closer closer;
	uv_timer_t retry;
	TAILQ_HEAD(, request) waiting;
	unsigned n_waiting;
	/* Joins that count a use write the same object: one at a time here, so that they do not conflict. */
	bool counting;
	int64_t refusals_since_ns;
	unsigned refusals;
	struct ca_stats stats;
};

static void pump(struct ca *ca);

/* ---- requests */

static void request_free(struct request *r)
{
	if (r->issue && *r->issue->token)
		mem_wipe(r->issue->token, strlen(r->issue->token));
	pb_free(r->issue);
	pb_free(r->renew);
	pb_free(r->response);
	free(r);
}

static void leave_waiting(struct request *r)
{
	TAILQ_REMOVE(&r->ca->waiting, r, link);
	r->ca->n_waiting--;
}

static void wait_again(struct request *r)
{
	TAILQ_INSERT_TAIL(&r->ca->waiting, r, link);
	r->ca->n_waiting++;
}

/* Take the call from the request: its on_done must not find it any more. */
static struct rpc_call *take_call(struct request *r)
{
	struct rpc_call *call = TAKE_PTR(r->call);

	if (call)
		rpc_call_set_data(call, NULL);
	return call;
}

/* Someone who guesses gets neither reasons nor log lines without bound; a good token is always served. */
static bool over_limit(struct ca *ca)
{
	int64_t now = clock_mono_ns();

	if (now - ca->refusals_since_ns >= NS_PER_SEC) {
		ca->refusals_since_ns = now;
		ca->refusals = 0;
	}
	return ++ca->refusals > REFUSALS_PER_SECOND;
}

static bool is_refusal(const struct error *err)
{
	return err->code == ERR_DENIED || err->code == ERR_INVALID;
}

static void fail(struct request *r, const struct error *err)
{
	struct rpc_call *call = take_call(r);
	struct ca *ca = r->ca;
	struct error busy;

	if (is_refusal(err))
		ca->stats.refused++;
	if (call && r->issue && is_refusal(err) && over_limit(ca)) {
		error_set(&busy, ERR_EXHAUSTED, "too many refused requests; try again in a second");
		rpc_call_fail(call, &busy);
	} else if (call) {
		log_warn("certificate_refused", kv_str("peer", rpc_call_peer(call)->address),
			 kv_str("node", r->node_id), kv_err(err));
		rpc_call_fail(call, err);
	}
	request_free(r);
}

static void grant(struct request *r)
{
	struct rpc_call *call = take_call(r);

	if (r->issue)
		r->ca->stats.joined++;
	else
		r->ca->stats.renewed++;
	log_info(r->issue ? "node_joined" : "certificate_renewed", kv_str("node", r->node_id),
		 kv_str("role", pb_role_name((int)r->response->role)),
		 kv_str("hostname", r->issue ? r->issue->hostname : ""),
		 kv_bool("answered", call != NULL));
	if (call)
		rpc_call_reply(call, &r->response->base);
	request_free(r);
}

/* ---- transactions */

static void retry_later(struct request *r)
{
	uint32_t random;

	pki_random(&random, sizeof(random));
	r->retry_at_ns = clock_mono_ns() + RETRY_NS + random % RETRY_NS;
	pb_free(TAKE_PTR(r->response));
	wait_again(r);
}

static void on_committed(void *data, const struct error *err)
{
	struct request *r = data;
	struct ca *ca = r->ca;

	if (r->counted)
		ca->counting = false;
	r->committing = r->counted = false;
	if (!err) {
		grant(r);
	} else if (err->code == ERR_CONFLICT && r->call &&
		   clock_mono_ns() - r->began_ns < GIVE_UP_NS) {
		/* The view may still be older than the write that won: give it a moment. */
		ca->stats.conflicts++;
		retry_later(r);
	} else {
		fail(r, err);
	}
	pump(ca);
	closer_drop(&ca->closer);
}

static int stage(struct request *r, struct txn *t, struct error *err)
{
	struct view *v = store_view(r->ca->o.store);
	int64_t now = clock_wall_ns();

	if (r->renew)
		return ca_admit_renew(v, t, r->node_id, r->renew, now, &r->response, err);
	id_new(r->node_id);
	return ca_admit_join(v, t, r->issue, r->node_id, now, &r->response, err);
}

/* The request leaves the waiting list, unless it has to wait for another one's count. */
static void try_request(struct request *r)
{
	struct store *store = r->ca->o.store;
	struct error err = ERROR_INIT;
	struct txn *t;

	if (r->issue) {
		const pb_token *token = ca_token_check(store_view(store), r->issue->token, clock_wall_ns(), &err);

		r->counted = token && ca_token_counts(token);
		if (r->counted && r->ca->counting)
			return;
	}
	leave_waiting(r);
	t = txn_begin(store_view(store));
	if (error_is_set(&err) || stage(r, t, &err) < 0) {
		txn_free(t);
		fail(r, &err);
		return;
	}
	if (r->counted)
		r->ca->counting = true;
	r->committing = true;
	closer_hold(&r->ca->closer);
	store_commit(store, t, 0, on_committed, r);
}

static void on_retry(uv_timer_t *timer)
{
	pump(timer->data);
}

static void pump(struct ca *ca)
{
	int64_t now = clock_mono_ns(), next = INT64_MAX;
	struct request *r, *tmp;

	if (ca->closer.closing)
		return;
	for (r = TAILQ_FIRST(&ca->waiting); r; r = tmp) {
		tmp = TAILQ_NEXT(r, link);
		if (r->retry_at_ns > now)
			next = MIN(next, r->retry_at_ns);
		else
			try_request(r);
	}
	if (next != INT64_MAX)
		loop_timer_in(&ca->retry, next - now, on_retry);
}

/* ---- methods */

static void request_new(struct ca *ca, struct rpc_call *call, const Skein__IssueRequest *issue,
			const Skein__RenewRequest *renew)
{
	struct request *r;
	struct error err;

	if (ca->n_waiting >= WAITING_MAX) {
		error_set(&err, ERR_EXHAUSTED, "%u requests for certificates wait already; try again",
			  ca->n_waiting);
		rpc_call_fail(call, &err);
		return;
	}
	r = xnew(struct request);
	r->ca = ca;
	r->call = call;
	r->issue = issue ? pb_dup(issue) : NULL;
	r->renew = renew ? pb_dup(renew) : NULL;
	r->began_ns = clock_mono_ns();
	if (renew)
		snprintf(r->node_id, sizeof(r->node_id), "%s", rpc_call_peer(call)->node_id);
	rpc_call_set_data(call, r);
	wait_again(r);
	pump(ca);
}

static void on_issue(struct rpc_call *call, const ProtobufCMessage *msg, void *data)
{
	request_new(data, call, (const Skein__IssueRequest *)msg, NULL);
}

static void on_renew(struct rpc_call *call, const ProtobufCMessage *msg, void *data)
{
	request_new(data, call, NULL, (const Skein__RenewRequest *)msg);
}

static void on_get_root(struct rpc_call *call, const ProtobufCMessage *msg, void *data)
{
	Skein__GetRootResponse response = SKEIN__GET_ROOT_RESPONSE__INIT;
	struct ca *ca = data;
	const pb_cluster *cluster = view_cluster(store_view(ca->o.store));
	struct error err;

	if (!cluster) {
		error_set(&err, ERR_UNAVAILABLE, "the cluster has no state yet; try again");
		rpc_call_fail(call, &err);
		return;
	}
	response.root_cert_pem = cluster->root_cert_pem;
	rpc_call_reply(call, &response.base);
}

static void on_done(struct rpc_call *call, void *data)
{
	struct request *r = rpc_call_data(call);

	if (!r)
		return;
	r->call = NULL;
	/* A transaction on its way is not called back; the node it makes never shows up. */
	if (r->committing)
		return;
	leave_waiting(r);
	request_free(r);
}

#define ROLE_ANY (RPC_ROLE_ANONYMOUS | RPC_ROLE_WORKER | RPC_ROLE_MANAGER)

void ca_add_to(struct ca *ca, struct rpc_server *server)
{
	static const struct rpc_method methods[] = {
		{"GetRoot", ROLE_ANY, REQUEST_MAX_BYTES, on_get_root},
		{"Issue", ROLE_ANY, REQUEST_MAX_BYTES, on_issue, .on_done = on_done},
		{"Renew", RPC_ROLE_WORKER | RPC_ROLE_MANAGER, REQUEST_MAX_BYTES, on_renew, .on_done = on_done},
	};

	rpc_server_add_service(server, &skein__ca__descriptor, methods, ARRAY_SIZE(methods), ca);
}

/* ---- life cycle */

struct ca *ca_new(const struct ca_options *options)
{
	struct ca *ca = xnew(struct ca);

	ca->o = *options;
	TAILQ_INIT(&ca->waiting);
	closer_init(&ca->closer);
	uv_timer_init(options->loop, &ca->retry);
	ca->retry.data = ca;
	return ca;
}

const struct ca_stats *ca_stats(const struct ca *ca)
{
	return &ca->stats;
}

struct closing {
	struct ca *ca;
	void (*closed)(void *data);
	void *data;
};

static void on_closed(void *data)
{
	struct closing c = *(struct closing *)data;
	struct request *r;

	free(data);
	while ((r = TAILQ_FIRST(&c.ca->waiting))) {
		leave_waiting(r);
		if (r->call)
			rpc_call_cancel(take_call(r));
		request_free(r);
	}
	free(c.ca);
	if (c.closed)
		c.closed(c.data);
}

void ca_close(struct ca *ca, void (*closed)(void *data), void *data)
{
	struct closing *c = xnew(struct closing);

	*c = (struct closing){ca, closed, data};
	if (!closer_begin(&ca->closer, on_closed, c)) {
		free(c);
		return;
	}
	closer_add(&ca->closer, (uv_handle_t *)&ca->retry);
	closer_end(&ca->closer);
}
