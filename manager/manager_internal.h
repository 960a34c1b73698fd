/* manager_internal - the manager's object, shared by manager.c (life), bring_up.c (etcd and store) and wiring.c (what
 * the services need of each other). */
#pragma once
#include "external_etcd.h"
#include "manager.h"

#include "common/error.h"
#include "common/identity_dir.h"
#include "common/loop.h"
#include "manager/control/control.h"
#include "proto/pb.h"

#include <stdbool.h>

#define MANAGER_KEY_PREFIX "/skein/v1"
#define MANAGER_LEADER_KEY MANAGER_KEY_PREFIX "/leader"

struct manager {
	uv_loop_t *loop;
	const struct manager_config *config;
	struct identity_data identity;
	char *identity_dir, *ca_file, *cert_file, *key_file, *socket_path;
	struct rpc *rpc;
	struct rpc_creds *creds;

	struct etcd_child *etcd_child; /* NULL with an external etcd */
	struct external_etcd external; /* no endpoints: the etcd is ours */
	struct etcd *etcd;
	struct store *store;
	struct store_sub *sub;
	bool store_started, serving;
	uint64_t member_id;            /* of etcd, when this manager was just added */

	struct leader *leader;
	struct decider *decider;
	struct monitor *monitor;       /* NULL: off, or it could not be opened */
	struct error monitor_error;
	struct history *history;
	struct usage *usage;
	struct web *web;               /* NULL: nothing is served over HTTP */
	struct control *control;
	struct dispatcher *dispatcher;
	struct ca *ca;
	struct presence *presence;
	struct rpc_server *tls_server, *unix_server;

	struct joining *joining;       /* becoming a member of etcd */
	struct membership *membership;
	struct adding *adding;         /* an AddMember that waits for our own etcd to come back */
	uv_timer_t retry;
	void (*ready)(void *data, const struct error *err);
	void *ready_data;
	bool closing;
	struct closer closer;
	void (*closed)(void *data);
	void *closed_data;
};

/* ---- bring_up.c: from the files to a loaded store, then manager_serve() */
void bring_up(struct manager *m);
void bring_up_cancel(struct manager *m);
/* Endpoints of all managers' etcd, ours first. */
void bring_up_set_endpoints(struct manager *m);

/* ---- manager.c */
/* The store is loaded and this node is registered as a manager: open the services. */
void manager_serve(struct manager *m);
/* Tell who started us, once. */
void manager_tell_ready(struct manager *m, const struct error *err);

/* ---- wiring.c */
struct control_ops wiring_control_ops(struct manager *m);
struct web *wiring_web(struct manager *m);
void wiring_add_member(void *data, const Skein__AddMemberRequest *request,
		       void (*cb)(void *cb_data, Skein__AddMemberResponse *response, const struct error *err),
		       void *cb_data);
/* etcd answers (again): go on with what waited for it. */
void wiring_etcd_ready(struct manager *m);
/* The manager closes: what still waits for etcd is answered. */
void wiring_cancel(struct manager *m);
