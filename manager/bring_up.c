/* From the files on disk to a loaded store: how etcd comes up, and this node's entry as a manager. */
#include "manager_internal.h"

#include "common/clock.h"
#include "common/file.h"
#include "common/hostport.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/str.h"
#include "etcd_child.h"
#include "manager/ca/bootstrap.h"
#include "manager/store/etcd.h"
#include "manager/store/store.h"
#include "monitor.h"
#include "port_check.h"
#include "presence.h"
#include "rpc/rpc.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define ADD_MEMBER_TIMEOUT_MS 15000
#define RETRY_NS (300 * NS_PER_MS)
#define JOIN_ROUNDS 20 /* of all managers, before joining is given up and tried from the start */

/* Asking the other managers, one after the other, to be added as a member. */
struct joining {
	struct manager *m;
	struct rpc_channel *channel;
	struct rpc_call *call;
	unsigned attempt;
};

/* ---------------------------------------------------------------- the node's entry */

static void register_self(struct manager *m);

static void on_retry_register(uv_timer_t *timer)
{
	register_self(timer->data);
}

static void on_registered(void *data, const struct error *err)
{
	struct manager *m = data;

	if (m->closing)
		return;
	if (err && err->code != ERR_CONFLICT)
		log_warn("register_manager", kv_err(err));
	if (err)
		loop_timer_in(&m->retry, err->code == ERR_CONFLICT ? 0 : RETRY_NS, on_retry_register);
	else
		manager_serve(m);
}

static bool is_registered(struct manager *m, const pb_node *node)
{
	return node->manager && str_eq(node->manager->address, m->config->advertise_address) &&
	       (int)node->role == NODE_ROLE_MANAGER && (m->member_id == 0 || node->manager->etcd_member_id == m->member_id);
}

static void register_self(struct manager *m)
{
	struct view *view = store_view(m->store);
	const pb_node *node = view_node(view, m->identity.node_id);
	struct error err = ERROR_INIT;
	struct txn *txn;
	pb_node *edit;

	if (!node) {
		error_set(&err, ERR_DENIED, "node %s is not in the cluster (any more)", m->identity.node_id);
		manager_tell_ready(m, &err);
		return;
	}
	if (is_registered(m, node)) {
		manager_serve(m);
		return;
	}
	txn = txn_begin(view);
	edit = txn_edit(txn, KIND_NODE, node->id);
	if (!edit->manager)
		edit->manager = pb_new(&skein__manager_status__descriptor);
	pb_set_str(&edit->manager->address, m->config->advertise_address);
	if (m->member_id)
		edit->manager->etcd_member_id = m->member_id;
	edit->role = NODE_ROLE_MANAGER;
	txn_put(txn, KIND_NODE, edit);
	store_commit(m->store, txn, 0, on_registered, m);
}

static void on_bootstrap_applied(void *data, const struct error *err)
{
	struct manager *m = data;

	if (m->closing)
		return;
	if (err) {
		manager_tell_ready(m, err);
		return;
	}
	register_self(m);
}

static void on_store_loaded(void *data, const struct error *err)
{
	struct manager *m = data;

	if (err) /* closed meanwhile */
		return;
	log_info("store_loaded", kv_u64("revision", store_revision(m->store)));
	ca_bootstrap_apply(m->store, m->config->state_dir, on_bootstrap_applied, m);
}

/* ---------------------------------------------------------------- etcd's endpoints */

/* The other managers' members; `alive`: only of those that can be reached. */
static void add_others(struct manager *m, bool alive, struct strv *endpoints)
{
	struct view *view = m->store ? store_view(m->store) : NULL;
	_cleanup_free_ const void **nodes = NULL;
	size_t n = 0;

	if (view)
		nodes = view_list(view, KIND_NODE, &n);
	for (size_t i = 0; i < n; i++) {
		const pb_node *node = nodes[i];
		struct hostport hp;
		char text[HOSTPORT_MAX];

		if (!node->manager || str_eq(node->id, m->identity.node_id) ||
		    (alive && !presence_alive(m->presence, node->id)) ||
		    hostport_parse(node->manager->address, 1, &hp, NULL) < 0)
			continue;
		hp.port = (uint16_t)m->config->etcd_client_port;
		strv_addf(endpoints, "https://%s", hostport_format(&hp, text));
	}
}

void bring_up_set_endpoints(struct manager *m)
{
	_cleanup_strv_ struct strv endpoints = {0};

	if (!m->etcd_child || !m->etcd)
		return;
	strv_add(&endpoints, etcd_child_endpoint(m->etcd_child));
	/* One that is lost costs whoever asks it the time until he gives up; with none in sight all are worth a try. */
	if (m->presence)
		add_others(m, true, &endpoints);
	if (endpoints.n == 1)
		add_others(m, false, &endpoints);
	etcd_set_endpoints(m->etcd, (const char *const *)endpoints.v);
	/* The running member's timeouts follow when a second one is added (wiring_add_member). */
}

static void start_store(struct manager *m)
{
	m->store = store_new(m->loop, m->etcd, MANAGER_KEY_PREFIX);
	m->store_started = true;
	monitor_store(m->monitor);
	store_start(m->store, on_store_loaded, m);
}

static void open_store(struct manager *m, const struct etcd_options *options)
{
	struct error err = ERROR_INIT;

	m->etcd = etcd_new(m->loop, options, &err);
	if (m->etcd)
		start_store(m);
	else
		manager_tell_ready(m, &err);
}

/* ---------------------------------------------------------------- the embedded etcd */

static void on_etcd_ready(void *data)
{
	struct manager *m = data;
	const char *endpoints[] = {etcd_child_endpoint(m->etcd_child), NULL};
	struct etcd_options options = {
		.endpoints = endpoints,
		.ca_file = m->ca_file,
		.cert_file = m->cert_file,
		.key_file = m->key_file,
		.server_name = PKI_MANAGER_NAME,
	};

	if (m->closing)
		return;
	if (!m->store_started)
		open_store(m, &options);
	else /* another member helped out meanwhile: our own is nearer, and its end is noticed at once */
		etcd_use_endpoint(m->etcd, endpoints[0]);
	wiring_etcd_ready(m);
}

static void on_etcd_down(void *data, const struct error *why)
{
	log_error("etcd_down", kv_err(why));
}

static void join_cluster(struct manager *m);

/* Data that nobody else shares any more; kept once, in case somebody regrets. */
static int put_aside(struct manager *m, struct error *err)
{
	_cleanup_free_ char *from = xasprintf("%s/etcd", m->config->state_dir);
	_cleanup_free_ char *dir = xasprintf("%s/manager", m->config->state_dir);
	_cleanup_free_ char *to = xasprintf("%s/etcd.removed", dir);

	if (file_remove_tree(to, err) < 0 || file_mkdirs(dir, 0700, err) < 0)
		return -1;
	if (rename(from, to) < 0)
		return error_set_errno(err, errno, "rename %s to %s", from, to);
	return 0;
}

static void on_removed_closed(void *data)
{
	struct manager *m = data;
	struct error err = ERROR_INIT;

	if (!m->closing && put_aside(m, &err) == 0)
		join_cluster(m);
	else if (!m->closing)
		manager_tell_ready(m, &err);
	closer_drop(&m->closer);
}

/*
 * While serving, this is a demotion: the agent stops us soon. At the start it happened in our absence (a new cluster was
 * forced, or our join was interrupted for too long), and a node that is still to be a manager is let in again.
 */
static void on_etcd_removed(void *data)
{
	struct manager *m = data;

	log_warn("etcd_removed", kv_str("hint", "this manager was taken out of etcd's members"));
	if (m->store_started || m->closing || m->config->join.n == 0)
		return;
	closer_hold(&m->closer);
	etcd_child_close(TAKE_PTR(m->etcd_child), on_removed_closed, m);
}

static bool parse_advertise(struct manager *m, struct hostport *hp, struct error *err)
{
	return hostport_parse(m->config->advertise_address, 2377, hp, err) == 0;
}

static void start_etcd(struct manager *m, const char *initial_cluster, bool existing, unsigned members)
{
	_cleanup_free_ char *etcd_run = xasprintf("%s/etcd", m->config->run_dir);
	struct error err = ERROR_INIT;
	struct hostport hp;
	struct etcd_child_options options = {
		.loop = m->loop,
		.program = m->config->etcd_binary,
		.state_dir = m->config->state_dir,
		.run_dir = etcd_run,
		.name = m->identity.node_id,
		.cluster_token = m->identity.cluster_id,
		.client_port = (uint16_t)m->config->etcd_client_port,
		.peer_port = (uint16_t)m->config->etcd_peer_port,
		.ca_file = m->ca_file,
		.cert_file = m->cert_file,
		.key_file = m->key_file,
		.initial_cluster = initial_cluster,
		.existing = existing,
		.force_new_cluster = m->config->force_new_cluster,
		.members = members,
		.on_ready = on_etcd_ready,
		.on_down = on_etcd_down,
		.on_removed = on_etcd_removed,
		.data = m,
	};

	if (parse_advertise(m, &hp, &err)) {
		options.address = hp.host;
		m->etcd_child = etcd_child_start(&options, &err);
	}
	if (!m->etcd_child)
		manager_tell_ready(m, &err);
}

/* ---------------------------------------------------------------- joining */

static void ask_next(struct joining *j);

static void on_retry_join(uv_timer_t *timer)
{
	struct manager *m = timer->data;

	if (m->joining)
		ask_next(m->joining);
}

static void joining_free(struct joining *j)
{
	if (j->channel)
		rpc_channel_close(j->channel);
	j->m->joining = NULL;
	free(j);
}

static unsigned count_members(const char *initial_cluster)
{
	unsigned n = 1;

	for (const char *p = initial_cluster; *p; p++)
		n += *p == ',';
	return n;
}

static void use_external(struct manager *m);

static void join_external(struct manager *m, const Skein__AddMemberResponse *r)
{
	struct error err = ERROR_INIT;

	log_info("external_etcd", kv_str("endpoint", r->n_etcd_endpoints > 0 ? r->etcd_endpoints[0] : ""));
	if (external_etcd_save(m->config->state_dir, r, &err) < 0 ||
	    external_etcd_load(m->config, &m->external, &err) < 0)
		manager_tell_ready(m, &err);
	else
		use_external(m);
}

static void on_member_added(void *data, const ProtobufCMessage *reply, const struct error *err)
{
	struct joining *j = data;
	struct manager *m = j->m;
	const Skein__AddMemberResponse *r = (const Skein__AddMemberResponse *)reply;

	j->call = NULL;
	if (m->closing) {
		joining_free(j);
		return;
	}
	if (!err) {
		m->member_id = r->member_id;
		joining_free(j);
		if (r->external)
			join_external(m, r);
		else
			start_etcd(m, r->initial_cluster, true, count_members(r->initial_cluster));
		return;
	}
	log_warn("add_member", kv_err(err));
	if (j->attempt >= JOIN_ROUNDS * MAX(m->config->join.n, 1)) {
		joining_free(j);
		manager_tell_ready(m, err); /* last: it may close the manager */
		return;
	}
	loop_timer_in(&m->retry, RETRY_NS, on_retry_join);
}

static void ask_next(struct joining *j)
{
	struct manager *m = j->m;
	Skein__AddMemberRequest request = SKEIN__ADD_MEMBER_REQUEST__INIT;
	_cleanup_free_ char *peer_url = NULL, *client_url = NULL;
	char text[HOSTPORT_MAX];
	struct error err = ERROR_INIT;
	struct hostport hp;
	struct rpc_channel_options options = {.creds = m->creds, .server_name = RPC_MANAGER_NAME};

	if (!parse_advertise(m, &hp, &err)) {
		joining_free(j);
		manager_tell_ready(m, &err);
		return;
	}
	options.target = m->config->join.v[j->attempt++ % m->config->join.n];
	if (j->channel)
		rpc_channel_close(j->channel);
	j->channel = rpc_channel_new(m->rpc, &options);
	hp.port = (uint16_t)m->config->etcd_peer_port;
	peer_url = xasprintf("https://%s", hostport_format(&hp, text));
	hp.port = (uint16_t)m->config->etcd_client_port;
	client_url = xasprintf("https://%s", hostport_format(&hp, text));
	request.node_id = m->identity.node_id;
	request.peer_url = peer_url;
	request.client_url = client_url;
	request.api_address = m->config->advertise_address;
	log_info("join_etcd", kv_str("through", options.target));
	j->call = rpc_unary(j->channel, &skein__member__descriptor, "AddMember", &request.base, ADD_MEMBER_TIMEOUT_MS,
			    on_member_added, j);
}

static void join_cluster(struct manager *m)
{
	struct joining *j = xnew(struct joining);

	j->m = m;
	m->joining = j;
	ask_next(j);
}

/* ---------------------------------------------------------------- which way */

static bool exists(const char *fmt, const char *dir)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", dir, fmt);

	return access(path, F_OK) == 0;
}

/* A typing error in a flag of `clusterctl init` must not become an endless wait. */
static void on_first_answer(void *data, const struct etcd_range_result *result, const struct error *err)
{
	struct manager *m = data;
	struct error why;

	if (m->closing)
		return;
	if (!err) {
		start_store(m);
		return;
	}
	why = *err;
	error_wrap(&why, "external etcd %s", m->external.endpoints.v[0]);
	manager_tell_ready(m, &why);
}

static void use_external(struct manager *m)
{
	struct error err = ERROR_INIT;
	struct etcd_options options = {
		.endpoints = (const char *const *)m->external.endpoints.v,
		.ca_file = m->external.ca,
		.cert_file = m->external.cert,
		.key_file = m->external.key,
	};

	m->etcd = etcd_new(m->loop, &options, &err);
	if (!m->etcd)
		manager_tell_ready(m, &err);
	else if (exists("manager/bootstrap.pb", m->config->state_dir))
		etcd_range(m->etcd, MANAGER_LEADER_KEY, NULL, 0, 1, on_first_answer, m);
	else
		start_store(m);
}

/*
 * Before the others count on this member: one that cannot listen would come and go with every try to start, and take
 * the quorum of two with it.
 */
static int check_ports(struct manager *m, struct error *err)
{
	const uint64_t ports[] = {m->config->etcd_client_port, m->config->etcd_peer_port};
	char text[HOSTPORT_MAX];
	struct hostport hp;

	if (port_check(m->config->listen, err) < 0 || !parse_advertise(m, &hp, err))
		return -1;
	for (size_t i = 0; i < ARRAY_SIZE(ports); i++) {
		hp.port = (uint16_t)ports[i];
		if (port_check(hostport_format(&hp, text), err) < 0)
			return error_wrap(err, "etcd");
	}
	return 0;
}

/* What etcd leaves when it is killed before its log (the last thing it makes) is there. */
static int remove_unborn(struct manager *m, struct error *err)
{
	_cleanup_free_ char *path = xasprintf("%s/etcd", m->config->state_dir);

	return file_remove_tree(path, err);
}

static void on_begin(uv_timer_t *timer)
{
	struct manager *m = timer->data;
	struct error err = ERROR_INIT;

	if (external_etcd_load(m->config, &m->external, &err) == 0)
		use_external(m);
	else if (err.code != ERR_NOT_FOUND)
		manager_tell_ready(m, &err);
	else if (exists("etcd/member/wal", m->config->state_dir))
		/* "existing", should it be unusable after all: never a second cluster of its own. */
		start_etcd(m, NULL, true, MAX((unsigned)m->identity.managers.n, 1u));
	else if (remove_unborn(m, &err) < 0)
		manager_tell_ready(m, &err);
	else if (exists("manager/bootstrap.pb", m->config->state_dir))
		start_etcd(m, NULL, false, 1);
	else if (m->config->join.n > 0 && check_ports(m, &err) < 0)
		manager_tell_ready(m, &err);
	else if (m->config->join.n > 0)
		join_cluster(m);
	else {
		error_set(&err, ERR_PRECONDITION,
			  "no etcd data in %s, no bootstrap file and no manager to join through (--join)",
			  m->config->state_dir);
		manager_tell_ready(m, &err);
	}
}

void bring_up(struct manager *m)
{
	loop_timer_in(&m->retry, 0, on_begin); /* callbacks come after manager_new has returned */
}

void bring_up_cancel(struct manager *m)
{
	if (m->joining && m->joining->call)
		rpc_call_cancel(m->joining->call);
	else if (m->joining)
		joining_free(m->joining);
}
