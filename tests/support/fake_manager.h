/* fake_manager - a CA service in the test's own process: a root, a certificate, answers by the book. */
#pragma once
#include "common/clock.h"
#include "common/jointoken.h"
#include "common/pki.h"
#include "proto/pb.h"
#include "rpc/rpc.h"
#include "support/etcd_fixture.h"

struct fake_manager {
	struct rpc *rpc;
	struct rpc_creds *creds;
	struct rpc_server *server;
	char *root, *root_key, *key, *chain;
	struct jointoken token;
	char token_text[JOINTOKEN_MAX];
	char target[32];
	/* What it does */
	int role;                  /* of the certificates that it gives */
	struct error refuse;       /* code set: refuses */
	int64_t life_ns;
	unsigned issued, renewed;
	char hostname[64], address[64];
	int availability;
};

static inline char *fake_manager_cert(struct fake_manager *m, const char *csr, const char *node_id, int role)
{
	struct pki_issue issue = {
		.root_cert_pem = m->root,
		.root_key_pem = m->root_key,
		.csr_pem = csr,
		.node_id = node_id,
		.cluster_id = "c1",
		.role = role == NODE_ROLE_MANAGER ? PKI_MANAGER : PKI_WORKER,
		.now_ns = clock_wall_ns(),
		.life_ns = m->life_ns,
	};
	_cleanup_free_ char *leaf = NULL;

	assert_int_equal(pki_issue(&issue, &leaf, NULL), 0);
	return pki_chain(leaf, m->root);
}

static inline void fake_manager_answer(struct fake_manager *m, struct rpc_call *call, const char *csr,
				       const char *node_id)
{
	Skein__IssueResponse response = SKEIN__ISSUE_RESPONSE__INIT;
	_cleanup_free_ char *chain = NULL;
	char *managers[] = {m->target};

	if (error_is_set(&m->refuse)) {
		rpc_call_fail(call, &m->refuse);
		return;
	}
	chain = fake_manager_cert(m, csr, node_id, m->role);
	response.node_id = (char *)node_id;
	response.cluster_id = (char *)"c1";
	response.role = (Skein__NodeRole)m->role;
	response.cert_pem = chain;
	response.root_cert_pem = m->root;
	response.managers = managers;
	response.n_managers = 1;
	rpc_call_reply(call, &response.base);
}

static inline void fake_manager_issue(struct rpc_call *call, const ProtobufCMessage *msg, void *data)
{
	const Skein__IssueRequest *request = (const Skein__IssueRequest *)msg;
	struct fake_manager *m = data;

	m->issued++;
	assert_string_equal(request->token, m->token_text);
	snprintf(m->hostname, sizeof(m->hostname), "%s", request->hostname);
	snprintf(m->address, sizeof(m->address), "%s", request->address);
	m->availability = (int)request->availability;
	fake_manager_answer(m, call, request->csr_pem, "n7");
}

static inline void fake_manager_renew(struct rpc_call *call, const ProtobufCMessage *msg, void *data)
{
	struct fake_manager *m = data;

	m->renewed++;
	fake_manager_answer(m, call, ((const Skein__RenewRequest *)msg)->csr_pem, rpc_call_peer(call)->node_id);
}

/* shown_role: of its own certificate. */
static inline void fake_manager_start(struct fake_manager *m, struct rpc *rpc, int shown_role)
{
	static const struct rpc_method methods[] = {
		{"Issue", RPC_ROLE_ANONYMOUS, .on_message = fake_manager_issue},
		{"Renew", RPC_ROLE_WORKER | RPC_ROLE_MANAGER, .on_message = fake_manager_renew},
	};
	_cleanup_free_ char *csr = NULL;
	int port;

	*m = (struct fake_manager){.rpc = rpc, .life_ns = 3600 * NS_PER_SEC};
	assert_int_equal(pki_root_new("c1", clock_wall_ns(), &m->root, &m->root_key, NULL), 0);
	assert_int_equal(pki_key_new(&m->key, NULL), 0);
	assert_int_equal(pki_csr_new(m->key, &csr, NULL), 0);
	m->chain = fake_manager_cert(m, csr, "m1", shown_role);
	assert_int_equal(pki_cert_digest(m->root, m->token.root_digest, NULL), 0);
	pki_random(m->token.secret, sizeof(m->token.secret));
	jointoken_format(&m->token, m->token_text);
	m->creds = rpc_creds_new(m->root, m->chain, m->key);
	m->server = rpc_server_new(rpc, m->creds);
	rpc_server_add_service(m->server, &skein__ca__descriptor, methods, ARRAY_SIZE(methods), m);
	assert_int_equal(rpc_server_listen(m->server, "127.0.0.1:0", 0, &port, NULL), 0);
	rpc_server_start(m->server);
	snprintf(m->target, sizeof(m->target), "127.0.0.1:%d", port);
}

static inline void fake_manager_closed(void *data)
{
	*(bool *)data = true;
}

static inline void fake_manager_stop(struct fake_manager *m, uv_loop_t *loop)
{
	bool closed = false;

	rpc_server_close(m->server, fake_manager_closed, &closed);
	assert_true(loop_until_set(loop, &closed));
	rpc_creds_unref(m->creds);
	free(m->root);
	pki_secret_free(m->root_key);
	pki_secret_free(m->key);
	free(m->chain);
}
