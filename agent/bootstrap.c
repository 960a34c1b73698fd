#include "bootstrap.h"

#include "agent/identity.h"
#include "common/clock.h"
#include "common/hostport.h"
#include "common/jointoken.h"
#include "common/log.h"
#include "common/loop.h"
#include "common/mem.h"
#include "common/tls.h"
#include "rpc/rpc.h"

#include <string.h>

#define PORT_DEFAULT 2377
#define TIMEOUT_MS 10000
#define MANAGERS_MAX 64

/* probe (pool) -> issue (rpc) -> save (pool); a manager that cannot be used: probe the next one. */
struct bootstrap {
	uv_loop_t *loop;
	struct rpc *rpc;
	char *dir, *token_text, *hostname;
	struct jointoken token;
	int availability;
	uint64_t timeout_ms;
	struct strv targets;           /* "host:port" */
	size_t at;                     /* the one that is tried */
	struct identity_data identity; /* grows */
	char *root_pem, *csr_pem;
	struct rpc_channel *channel;
	bool cancelled;
	struct error err;              /* of the step; the last one is reported */
	bootstrap_done_cb cb;
	void *data;
};

static void probe(struct bootstrap *b);

static void bootstrap_end(struct bootstrap *b)
{
	if (b->cancelled && !error_is_set(&b->err))
		error_set(&b->err, ERR_CANCELLED, "joining was cancelled");
	b->cb(b->data, error_is_set(&b->err) ? NULL : &b->identity, error_is_set(&b->err) ? &b->err : NULL);
	free(b->dir);
	pki_secret_free(b->token_text);
	mem_wipe(&b->token, sizeof(b->token));
	free(b->hostname);
	strv_fini(&b->targets);
	identity_data_fini(&b->identity);
	free(b->root_pem);
	free(b->csr_pem);
	free(b);
}

/* The present manager cannot be used, for b->err. */
static void next_manager(struct bootstrap *b)
{
	if (b->cancelled) {
		b->err = ERROR_INIT;
		bootstrap_end(b);
		return;
	}
	log_warn("join_failed", kv_str("manager", b->targets.v[b->at]), kv_err(&b->err));
	if (++b->at == b->targets.n) {
		bootstrap_end(b);
		return;
	}
	b->err = ERROR_INIT;
	probe(b);
}

/* ---- save */

static void save_work(void *data)
{
	struct bootstrap *b = data;

	identity_dir_save(b->dir, &b->identity, &b->err);
}

static void save_done(void *data)
{
	struct bootstrap *b = data;

	/* A cancellation comes too late: the cluster knows the node, and so do we. */
	b->cancelled = false;
	bootstrap_end(b);
}

/* ---- issue */

/* Would another manager say the same? */
static bool is_final(const struct error *err)
{
	return err->code != ERR_UNAVAILABLE && err->code != ERR_TIMEOUT;
}

static void on_reply(void *data, const ProtobufCMessage *reply, const struct error *err)
{
	struct bootstrap *b = data;

	if (b->channel)
		rpc_channel_close(TAKE_PTR(b->channel));
	if (!err && identity_accept(&b->identity, (const Skein__IssueResponse *)reply, b->root_pem,
				    clock_wall_ns(), &b->err) == 0) {
		if (b->identity.managers.n == 0)
			strv_add(&b->identity.managers, b->targets.v[b->at]);
		loop_work(b->loop, save_work, save_done, b);
		return;
	}
	if (err)
		b->err = *err;
	if (!b->cancelled && is_final(&b->err))
		bootstrap_end(b);
	else
		next_manager(b);
}

static void issue(struct bootstrap *b)
{
	Skein__IssueRequest request = SKEIN__ISSUE_REQUEST__INIT;
	struct rpc_creds *creds = rpc_creds_new(b->root_pem, NULL, NULL);
	struct rpc_channel_options options = {.target = b->targets.v[b->at], .creds = creds};

	b->channel = rpc_channel_new(b->rpc, &options);
	rpc_creds_unref(creds);
	request.token = b->token_text;
	request.csr_pem = b->csr_pem;
	request.address = b->identity.address;
	request.availability = (Skein__Availability)b->availability;
	request.hostname = b->hostname;
	rpc_unary(b->channel, &skein__ca__descriptor, "Issue", &request.base, b->timeout_ms, on_reply, b);
}

/* ---- probe */

static void probe_work(void *data)
{
	struct bootstrap *b = data;
	_cleanup_free_ char *chain = NULL, *root = NULL;
	struct error *err = &b->err;
	struct hostport hp;

	if (!b->identity.key_pem && (pki_key_new(&b->identity.key_pem, err) < 0 ||
				     pki_csr_new(b->identity.key_pem, &b->csr_pem, err) < 0))
		return;
	if (hostport_parse(b->targets.v[b->at], 0, &hp, err) < 0 ||
	    tls_fetch_chain(hp.host, hp.port, b->timeout_ms, &chain, err) < 0)
		return;
	if (pki_chain_find(chain, b->token.root_digest, &root, NULL) < 0) {
		error_set(err, ERR_DENIED, "%s is not of the cluster that the join token is for",
			  b->targets.v[b->at]);
		return;
	}
	if (pki_verify(root, chain, PKI_MANAGER_NAME, clock_wall_ns(), err) < 0) {
		error_wrap(err, "%s does not prove to be a manager", b->targets.v[b->at]);
		return;
	}
	free(b->root_pem);
	b->root_pem = TAKE_PTR(root);
}

static void probe_done(void *data)
{
	struct bootstrap *b = data;

	if (b->cancelled || error_is_set(&b->err))
		next_manager(b);
	else
		issue(b);
}

static void probe(struct bootstrap *b)
{
	loop_work(b->loop, probe_work, probe_done, b);
}

/* ---- begin */

static int take_options(struct bootstrap *b, const struct bootstrap_options *o, struct error *err)
{
	if (jointoken_parse(o->token, &b->token, err) < 0)
		return -1;
	if (o->n_managers == 0 || o->n_managers > MANAGERS_MAX)
		return error_set(err, ERR_INVALID, "%zu managers named: accepted are 1 to %d", o->n_managers,
				 MANAGERS_MAX);
	for (size_t i = 0; i < o->n_managers; i++) {
		char buf[HOSTPORT_MAX];
		struct hostport hp;

		if (hostport_parse(o->managers[i], PORT_DEFAULT, &hp, err) < 0)
			return -1;
		strv_add(&b->targets, hostport_format(&hp, buf));
	}
	return 0;
}

static void options_bad(void *data)
{
	bootstrap_end(data);
}

static void no_work(void *data)
{
}

struct bootstrap *bootstrap_join(const struct bootstrap_options *options, bootstrap_done_cb cb, void *data)
{
	struct bootstrap *b = xnew(struct bootstrap);

	b->loop = options->loop;
	b->rpc = options->rpc;
	b->dir = xstrdup(options->dir);
	b->token_text = xstrdup(options->token ? options->token : "");
	b->hostname = xstrdup(options->hostname ? options->hostname : "");
	b->availability = options->availability;
	b->timeout_ms = options->timeout_ms ? options->timeout_ms : TIMEOUT_MS;
	b->identity.address = xstrdup(options->address ? options->address : "");
	b->identity.listen = xstrdup(options->listen ? options->listen : "");
	b->identity.peer_port = options->peer_port;
	b->cb = cb;
	b->data = data;
	if (take_options(b, options, &b->err) < 0)
		loop_work(b->loop, no_work, options_bad, b);
	else
		probe(b);
	return b;
}

void bootstrap_cancel(struct bootstrap *b)
{
	b->cancelled = true;
	if (b->channel)
		rpc_channel_close(TAKE_PTR(b->channel)); /* its call ends with ERR_CANCELLED */
}
