/* What the services need of each other and of etcd's membership: control's operations, AddMember. */
#include "manager_internal.h"

#include "common/hostport.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/pki.h"
#include "common/registry.h"
#include "common/str.h"
#include "etcd_child.h"
#include "explain.h"
#include "leader.h"
#include "manager/ca/tokens.h"
#include "manager/scheduler/constraint.h"
#include "manager/scheduler/rebalance.h"
#include "manager/scheduler/scheduler.h"
#include "manager/store/etcd.h"
#include "manager/store/store.h"
#include "manager/web/token.h"
#include "manager/web/web.h"
#include "membership.h"
#include "presence.h"

#include <string.h>

/* ---------------------------------------------------------------- scheduler */

static int constraint_check(void *data, const char *expr, struct error *err)
{
	struct constraint parsed;

	return constraint_parse(expr, &parsed, err);
}

static Skein__ExplainServiceResponse *explain(void *data, struct view *v, const pb_service *service, int64_t now)
{
	return explain_service(v, service, now);
}

static uint64_t global_wanted(void *data, struct view *v, const pb_service *service)
{
	return explain_global_wanted(v, service);
}

static void verdicts(void *data, const struct view *v, const pb_task *task, int64_t now, control_verdict_cb cb, void *cb_data)
{
	_cleanup_pb_ pb_task *moved = pb_dup(task);

	/* As the task that would go on with its container. */
	pb_set_str(&moved->migrated_from, task->id);
	pb_set_str(&moved->node_id, "");
	scheduler_explain(v, moved, now, cb, cb_data);
}

static void rebalance(void *data, const struct view *v, const pb_service *service, int64_t now, control_move_cb cb,
		      void *cb_data)
{
	struct rebalance_move moves[REBALANCE_MOVES_MAX];
	size_t n = rebalance_plan(v, service, now, moves);

	for (size_t i = 0; i < n; i++)
		cb(cb_data, moves[i].task, moves[i].to);
}

/* ---------------------------------------------------------------- tokens */

static int token_standing(void *data, struct txn *t, struct view *v, int role, bool rotate, int64_t now,
			  char **ret_text, struct error *err)
{
	unsigned char random[CA_TOKEN_RANDOM_BYTES];

	pki_random(random, sizeof(random));
	return ca_token_standing(v, t, role, rotate, now, random, ret_text, err);
}

static int token_create(void *data, struct txn *t, struct view *v, const Skein__CreateTokenRequest *request,
			int64_t now, char **ret_id, char **ret_text, struct error *err)
{
	unsigned char random[CA_TOKEN_RANDOM_BYTES];

	pki_random(random, sizeof(random));
	return ca_token_create(v, t, request, now, random, ret_id, ret_text, err);
}

static int token_revoke(void *data, struct txn *t, struct view *v, const char *id, struct error *err)
{
	return ca_token_revoke(v, t, id, err);
}

/* ---------------------------------------------------------------- the web page */

static int ui_token_create(void *data, struct txn *t, struct view *v, int64_t ttl_ns, int64_t now, char **ret_id,
			   char **ret_text, struct error *err)
{
	unsigned char random[WEB_TOKEN_RANDOM_BYTES];

	pki_random(random, sizeof(random));
	return web_token_create(v, t, ttl_ns, now, random, ret_id, ret_text, err);
}

static char *ui_url(void *data, struct error *err)
{
	const struct manager *m = data;
	struct hostport listen, at;
	char text[HOSTPORT_MAX];

	if (!m->web) {
		error_set(err, ERR_PRECONDITION, "this manager serves no web page: %s",
			  error_is_set(&m->monitor_error) ? m->monitor_error.msg : "its option http-listen is off");
		return NULL;
	}
	if (hostport_parse(m->config->http_listen, 0, &listen, err) < 0 ||
	    hostport_parse(m->config->advertise_address, 0, &at, err) < 0)
		return NULL;
	at.port = listen.port;
	/* Without TLS it is for the manager's own host. */
	return m->config->http_tls ? xasprintf("https://%s/ui/", hostport_format(&at, text))
				   : xasprintf("http://localhost:%u/ui/", at.port);
}

static const char *leader_id(void *data)
{
	struct manager *m = data;

	return m->leader ? leader_present(m->leader) : "";
}

struct web *wiring_web(struct manager *m)
{
	_cleanup_free_ char *socket = xasprintf("unix:%s", m->socket_path);
	struct web_options options = {
		.loop = m->loop, .view = store_view(m->store), .rpc = m->rpc, .usage = m->usage, .control_target = socket,
		.node_id = m->identity.node_id, .leader_id = leader_id, .global_wanted = global_wanted, .data = m,
	};

	return web_new(&options);
}

/* ---------------------------------------------------------------- removing a manager */

struct removing {
	struct manager *m;
	char node_id[PKI_ID_MAX];
	control_done_cb cb;
	void *cb_data;
};

static void removing_done(struct removing *r, const struct error *err)
{
	r->cb(r->cb_data, err);
	free(r);
}

static void on_removed(void *data, const struct error *err)
{
	removing_done(data, err);
}

/* By our stream to it: what the store says of a node can be old just when the quorum is in question. */
static bool manager_alive(void *data, const char *node_id)
{
	struct manager *m = data;

	return str_eq(node_id, m->identity.node_id) || presence_alive(m->presence, node_id);
}

static const char *node_name(struct manager *m, const char *node_id)
{
	const pb_node *node = view_node(store_view(m->store), node_id);

	return node && node->description && !str_empty(node->description->hostname) ? node->description->hostname : node_id;
}

static void on_members_to_remove(void *data, const struct etcd_member *members, size_t n, const struct error *err)
{
	struct removing *r = data;
	_cleanup_free_ struct membership_node *nodes = xcalloc(n + 1, sizeof(*nodes));
	struct error refused = ERROR_INIT;
	uint64_t id = 0;

	if (err) {
		removing_done(r, err);
		return;
	}
	for (size_t i = 0; i < n; i++) {
		nodes[i].id = members[i].id;
		nodes[i].name = node_name(r->m, members[i].name);
		nodes[i].healthy = manager_alive(r->m, members[i].name);
		if (str_eq(members[i].name, r->node_id))
			id = members[i].id;
	}
	if (id == 0)
		removing_done(r, NULL); /* not a member (any more) */
	else if (membership_may_remove(nodes, n, id, &refused) < 0)
		removing_done(r, &refused);
	else if (r->m->membership)
		membership_remove(r->m->membership, id, on_removed, r);
	else {
		error_set(&refused, ERR_UNAVAILABLE, "this manager stops");
		removing_done(r, &refused);
	}
}

/* With an external etcd managers are only counted: the last one stays. */
static void on_external_count(void *data, const struct etcd_range_result *result, const struct error *err)
{
	struct removing *r = data;
	_cleanup_free_ const void **nodes = NULL;
	struct error refused = ERROR_INIT;
	size_t n, managers = 0;

	nodes = view_list(store_view(r->m->store), KIND_NODE, &n);
	for (size_t i = 0; i < n; i++)
		managers += ((const pb_node *)nodes[i])->manager != NULL;
	if (!err && managers <= 1) {
		error_set(&refused, ERR_PRECONDITION, "%s is the last manager", node_name(r->m, r->node_id));
		err = &refused;
	}
	removing_done(r, err);
}

static void remove_member(void *data, const char *node_id, control_done_cb cb, void *cb_data)
{
	struct manager *m = data;
	struct removing *r = xnew(struct removing);

	r->m = m;
	strncpy(r->node_id, node_id, sizeof(r->node_id) - 1);
	r->cb = cb;
	r->cb_data = cb_data;
	if (m->etcd_child)
		etcd_member_list(m->etcd, on_members_to_remove, r);
	else
		etcd_range(m->etcd, MANAGER_LEADER_KEY, NULL, 0, 1, on_external_count, r);
}

/* ---------------------------------------------------------------- adding a manager */

struct adding {
	struct manager *m;
	char *name, *peer_url;
	void (*cb)(void *cb_data, Skein__AddMemberResponse *response, const struct error *err);
	void *cb_data;
};

static void adding_free(struct adding *a)
{
	free(a->name);
	free(a->peer_url);
	free(a);
}

static void on_added(void *data, const struct membership_added *added, const struct error *err)
{
	struct adding *a = data;
	Skein__AddMemberResponse *response = NULL;

	if (!err) {
		log_info("member_added", kv_str("node", a->name), kv_u64("members", added->n_members));
		response = pb_new(&skein__add_member_response__descriptor);
		response->member_id = added->member_id;
		pb_set_str(&response->initial_cluster, added->initial_cluster);
	}
	a->cb(a->cb_data, response, err);
	adding_free(a);
}

static void add_now(struct adding *a)
{
	membership_add(a->m->membership, a->name, a->peer_url, on_added, a);
}

void wiring_etcd_ready(struct manager *m)
{
	struct adding *a = m->adding;

	if (!m->membership && m->etcd)
		m->membership = membership_new(m->loop, m->etcd);
	m->adding = NULL;
	if (a)
		add_now(a);
}

void wiring_cancel(struct manager *m)
{
	struct adding *a = TAKE_PTR(m->adding);
	struct error err = ERROR_INIT;

	if (!a)
		return;
	error_set(&err, ERR_UNAVAILABLE, "this manager stops");
	a->cb(a->cb_data, NULL, &err);
	adding_free(a);
}

static Skein__AddMemberResponse *external_response(struct manager *m, struct error *err)
{
	Skein__AddMemberResponse *response = pb_new(&skein__add_member_response__descriptor);

	if (external_etcd_answer(&m->external, response, err) == 0)
		return response;
	pb_free(response);
	return NULL;
}

void wiring_add_member(void *data, const Skein__AddMemberRequest *request,
		       void (*cb)(void *cb_data, Skein__AddMemberResponse *response, const struct error *err),
		       void *cb_data)
{
	struct manager *m = data;
	Skein__AddMemberResponse *response;
	struct error err = ERROR_INIT;
	struct adding *a;

	if (!m->etcd_child) {
		response = external_response(m, &err);
		cb(cb_data, response, response ? NULL : &err);
		return;
	}
	if (!m->membership || m->adding || m->closing) {
		error_set(&err, ERR_UNAVAILABLE, "etcd is busy with another member: try again");
		cb(cb_data, NULL, &err);
		return;
	}
	a = xnew(struct adding);
	*a = (struct adding){m, xstrdup(request->node_id), xstrdup(request->peer_url), cb, cb_data};
	/* A member that was alone first needs the timeouts of several; that is a short restart. */
	if (etcd_child_set_members(m->etcd_child, 2))
		m->adding = a;
	else
		add_now(a);
}

/* ---------------------------------------------------------------- info, registries */

static void etcd_info(void *data, bool *ret_embedded, struct strv *ret_endpoints)
{
	struct manager *m = data;

	*ret_embedded = m->etcd_child != NULL;
	if (m->etcd_child)
		strv_add(ret_endpoints, etcd_child_endpoint(m->etcd_child));
	for (size_t i = 0; i < m->external.endpoints.n; i++)
		strv_add(ret_endpoints, m->external.endpoints.v[i]);
}

static const char *complaint(void *data)
{
	const struct manager *m = data;

	return error_is_set(&m->monitor_error) ? m->monitor_error.msg : "";
}

struct resolving {
	control_digest_cb cb;
	void *cb_data;
};

static void on_digest(void *data, const char *digest, const struct error *err)
{
	struct resolving *r = data;

	r->cb(r->cb_data, digest, err);
	free(r);
}

static void resolve_image(void *data, const char *ref, const char *auth, uint64_t timeout_ms, control_digest_cb cb,
			  void *cb_data)
{
	struct manager *m = data;
	struct resolving *r = xnew(struct resolving);
	struct registry_access access = {
		.auth_json = str_empty(auth) ? NULL : auth,
		.auth_file = m->config->auth_file,
		.certs_dir = m->config->certs_dir,
	};

	*r = (struct resolving){cb, cb_data};
	registry_resolve(m->loop, &access, ref, timeout_ms, on_digest, r);
}

struct control_ops wiring_control_ops(struct manager *m)
{
	return (struct control_ops){
		.data = m,
		.constraint_check = constraint_check,
		.explain = explain,
		.global_wanted = global_wanted,
		.verdicts = verdicts,
		.rebalance = rebalance,
		.token_standing = token_standing,
		.token_create = token_create,
		.token_revoke = token_revoke,
		.ui_token_create = ui_token_create,
		.ui_url = ui_url,
		.remove_member = remove_member,
		.leader_id = leader_id,
		.manager_alive = manager_alive,
		.etcd_info = etcd_info,
		.complaint = complaint,
		.resolve_image = resolve_image,
	};
}
