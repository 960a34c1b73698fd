#include "agent_internal.h"

#include "agent/exec/exec.h"
#include "agent/image/image.h"
#include "agent/migrate/migrate.h"
#include "agent/net/net.h"
#include "common/file.h"
#include "common/hostport.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/str.h"
#include "manager_child.h"
#include "manager_conf.h"
#include "peer.h"
#include "peer_client.h"
#include "reporter.h"
#include "rpc/rpc.h"
#include "session.h"
#include "worker.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* In a row, when the role that comes back is not the one that the manager named last: then it names it again. */
#define ROLE_RENEWALS_MAX 5

/* ---------------------------------------------------------------- the session's callbacks */

static void on_up(void *data, const char *manager)
{
	struct agent *a = data;

	net_begin(a->net);
	worker_report_all(a->worker);
	reporter_session(a->reporter, true);
	migrate_report_all(a->migrate);
	ops_session_up(a);
}

static void on_down(void *data, const struct error *err)
{
	struct agent *a = data;

	reporter_session(a->reporter, false);
}

static int on_assignments(void *data, const Skein__Assignments *set, struct error *err)
{
	struct agent *a = data;

	return worker_apply(a->worker, set, err);
}

static int on_net(void *data, const pb_net_state *state, struct error *err)
{
	struct agent *a = data;

	return net_apply(a->net, state, err);
}

static void on_ack(void *data, uint64_t sequence)
{
	struct agent *a = data;

	reporter_ack(a->reporter, sequence);
}

static void on_node(void *data, const Skein__NodeUpdate *update)
{
	struct agent *a = data;
	const char *const *managers = (const char *const *)update->managers;
	int role = (int)identity_get(a->identity)->role;

	if (update->n_managers > 0) {
		identity_set_managers(a->identity, managers, update->n_managers);
		session_set_managers(a->session, managers, update->n_managers);
	}
	a->wanted_role = (int)update->role;
	a->role_renewals = 0;
	if (a->wanted_role == role) {
		a->wants_renewal = false;
	} else if (!a->wants_renewal) {
		log_info("role_wanted", kv_str("role", pb_role_name(a->wanted_role)));
		a->wants_renewal = true;
		identity_renew_now(a->identity);
	}
}

static void nothing(void *data)
{
	(void)data;
}

static void on_removed(void *data, const struct error *err)
{
	struct agent *a = data;

	log_error("node_removed", kv_err(err));
	a->removed = true;
	worker_stop_all(a->worker, nothing, NULL);
}

static int64_t cert_expires_at(void *data)
{
	struct agent *a = data;

	return identity_get(a->identity)->not_after_ns;
}

/* ---------------------------------------------------------------- the manager beside us */

int active_write_manager_conf(struct agent *a, const Skein__InitRequest *external_etcd, struct error *err)
{
	const struct identity_data *id = identity_get(a->identity);
	_cleanup_free_ char *listen = NULL, *text = NULL, *dir = NULL;
	_cleanup_strv_ struct strv endpoints = {0};
	struct manager_conf conf = {
		.agent = a->config,
		.advertise = a->advertise,
		.join = id->managers.v,
	};

	listen = str_empty(id->listen) ? xasprintf("%s:%" PRIu64, a->config->listen, a->config->manager_port)
				       : xstrdup(id->listen);
	conf.listen = listen;
	if (external_etcd) {
		for (size_t i = 0; i < external_etcd->n_etcd_endpoints; i++)
			strv_add(&endpoints, external_etcd->etcd_endpoints[i]);
		conf.etcd_endpoints = endpoints.v;
		conf.etcd_ca = external_etcd->etcd_ca;
		conf.etcd_cert = external_etcd->etcd_cert;
		conf.etcd_key = external_etcd->etcd_key;
		conf.force_new_cluster = external_etcd->force_new_cluster;
	}
	text = manager_conf_text(&conf, err);
	dir = xasprintf("%s/manager", a->config->state_dir);
	if (!text || file_mkdirs(dir, 0700, err) < 0)
		return -1;
	return file_write(a->manager_conf, text, strlen(text), 0600, err);
}

void active_start_manager(struct agent *a, void (*ready)(void *data, const struct error *err), void *data)
{
	a->manager_wanted = true;
	session_set_prefer(a->session, a->advertise);
	manager_child_start(a->manager, ready, data);
}

static void on_manager_started(void *data, const struct error *err)
{
	if (err)
		log_error("manager_start", kv_err(err));
}

static void wipe_manager(void *data)
{
	struct agent *a = data;
	const char *names[] = {"etcd", "manager"};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		_cleanup_free_ char *path = xasprintf("%s/%s", a->config->state_dir, names[i]);

		file_remove_tree(path, NULL);
	}
}

static void begin_manager(struct agent *a);

static void on_wiped(void *data)
{
	struct agent *a = data;

	log_info("manager_removed");
	a->manager_leaving = false;
	if (!a->closing && active_is(a) && identity_get(a->identity)->role == PKI_MANAGER)
		begin_manager(a); /* promoted again meanwhile */
	ops_manager_gone(a);
	closer_drop(&a->closer);
}

/* Demoted: what the manager left is of no use, and would be in the way of a later promotion. */
static void on_manager_stopped(void *data)
{
	struct agent *a = data;

	loop_work(a->loop, wipe_manager, on_wiped, a);
}

static void begin_manager(struct agent *a)
{
	struct error err = ERROR_INIT;

	if (active_write_manager_conf(a, NULL, &err) < 0)
		log_error("manager_conf", kv_err(&err));
	else
		active_start_manager(a, on_manager_started, a);
}

static void end_manager(struct agent *a)
{
	a->manager_wanted = false;
	session_set_prefer(a->session, NULL);
	if (a->manager_leaving)
		return;
	a->manager_leaving = true;
	closer_hold(&a->closer);
	manager_child_stop(a->manager, on_manager_stopped, a);
}

static void on_renewed(void *data, bool role_changed)
{
	struct agent *a = data;
	const struct identity_data *id = identity_get(a->identity);

	/* The role may have been changed again while this certificate was on its way. */
	a->wants_renewal = a->wanted_role >= 0 && a->wanted_role != (int)id->role && a->role_renewals++ < ROLE_RENEWALS_MAX;
	if (a->wants_renewal)
		identity_renew_now(a->identity);
	if (!role_changed) {
		if (a->manager_wanted)
			manager_child_reload(a->manager);
		return;
	}
	if (id->role != PKI_MANAGER)
		end_manager(a);
	else if (!a->manager_leaving) /* else on_wiped() begins: its files are in the way */
		begin_manager(a);
}

static void on_identity_removed(void *data, const struct error *err)
{
	log_warn("renew_refused", kv_err(err));
}

/* ---------------------------------------------------------------- begin */

static int open_peer_server(struct agent *a, struct error *err)
{
	struct peer_options options = {.loop = a->loop, .images = a->images, .exec = a->exec, .net = a->net, .usage = a->usage,
				       .migrate = a->migrate};
	struct hostport hp = {.port = (uint16_t)a->config->peer_port};
	char address[HOSTPORT_MAX];
	struct image_fetcher fetcher;

	strncpy(hp.host, a->config->listen, sizeof(hp.host) - 1);
	a->peer = peer_new(&options);
	a->peer_server = rpc_server_new(a->rpc, identity_creds(a->identity));
	peer_add_service(a->peer, a->peer_server);
	if (rpc_server_listen(a->peer_server, hostport_format(&hp, address), 0, NULL, err) < 0)
		return error_wrap(err, "listen for other nodes");
	rpc_server_start(a->peer_server);
	a->peer_client = peer_client_new(a->loop, a->rpc, identity_creds(a->identity));
	fetcher = peer_client_fetcher(a->peer_client);
	image_store_set_fetcher(a->images, &fetcher);
	return 0;
}

static void open_session(struct agent *a)
{
	const struct identity_data *id = identity_get(a->identity);
	struct session_options options = {
		.loop = a->loop,
		.rpc = a->rpc,
		.creds = identity_creds(a->identity),
		.address = id->address,
		.peer_port = (unsigned)a->config->peer_port,
		.prefer = id->role == PKI_MANAGER ? a->advertise : NULL,
		.describe = agent_describe,
		.cert_expires_at = cert_expires_at,
		.on_up = on_up,
		.on_down = on_down,
		.on_assignments = on_assignments,
		.on_net = on_net,
		.on_ack = on_ack,
		.on_node = on_node,
		.on_removed = on_removed,
		.data = a,
	};

	a->session = session_new(&options);
	session_set_managers(a->session, (const char *const *)id->managers.v, id->managers.n);
	session_start(a->session);
}

static void set_advertise(struct agent *a)
{
	const struct identity_data *id = identity_get(a->identity);
	struct hostport listen = {0}, hp = {.port = (uint16_t)a->config->manager_port};
	char text[HOSTPORT_MAX];

	/* The port is that of the manager's own listener. */
	if (!str_empty(id->listen) && hostport_parse(id->listen, hp.port, &listen, NULL) == 0)
		hp.port = listen.port;
	strncpy(hp.host, id->address, sizeof(hp.host) - 1);
	free(a->advertise);
	a->advertise = xstrdup(hostport_format(&hp, text));
}

int active_begin(struct agent *a, struct error *err)
{
	_cleanup_free_ char *dir = xasprintf("%s/identity", a->config->state_dir);
	struct identity_options options = {
		.loop = a->loop,
		.rpc = a->rpc,
		.dir = dir,
		.on_renewed = on_renewed,
		.on_removed = on_identity_removed,
		.data = a,
	};
	const struct identity_data *id;

	a->identity = identity_open(&options, err);
	if (!a->identity)
		return -1;
	a->removed = false;
	a->wants_renewal = false;
	a->wanted_role = -1;
	id = identity_get(a->identity);
	exec_set_node(a->exec, id->node_id, NULL);
	net_set_node(a->net, id->node_id, id->address);
	migrate_set_node(a->migrate, id->node_id, identity_creds(a->identity));
	set_advertise(a);
	if (open_peer_server(a, err) < 0)
		return -1;
	worker_begin(a->worker);
	open_session(a);
	log_info("active", kv_str("node", id->node_id), kv_str("cluster", id->cluster_id),
		 kv_str("role", pb_role_name((int)id->role)), kv_str("address", id->address));
	return 0;
}

bool active_is(const struct agent *a)
{
	return a->identity != NULL;
}

/* ---------------------------------------------------------------- end */

struct ending {
	struct agent *agent;
	struct closer closer;
	void (*done)(void *data);
	void *data;
};

static void on_part_closed(void *data)
{
	struct ending *e = data;

	closer_drop(&e->closer);
}

static void on_server_closed(void *data)
{
	struct ending *e = data;
	struct peer *peer = e->agent->peer;

	e->agent->peer = NULL;
	peer_close(peer, on_part_closed, e); /* may be over at once */
}

static void on_all_closed(void *data)
{
	struct ending *e = data;
	struct ending copy = *e;

	free(e);
	copy.done(copy.data);
}

static const struct image_fetcher no_fetcher;

void active_end(struct agent *a, void (*done)(void *data), void *data)
{
	struct ending *e = xnew(struct ending);

	*e = (struct ending){.agent = a, .done = done, .data = data};
	closer_init(&e->closer);
	closer_begin(&e->closer, on_all_closed, e);
	reporter_session(a->reporter, false);
	image_store_set_fetcher(a->images, &no_fetcher);
	migrate_set_node(a->migrate, NULL, NULL);
	if (a->session) {
		closer_hold(&e->closer);
		session_close(a->session, on_part_closed, e);
		a->session = NULL;
	}
	if (a->peer_server) {
		closer_hold(&e->closer);
		rpc_server_close(a->peer_server, on_server_closed, e);
		a->peer_server = NULL;
	}
	if (a->peer_client) {
		closer_hold(&e->closer);
		peer_client_close(a->peer_client, on_part_closed, e);
		a->peer_client = NULL;
	}
	if (a->identity) {
		closer_hold(&e->closer);
		identity_close(a->identity, on_part_closed, e);
		a->identity = NULL;
	}
	closer_end(&e->closer);
}
