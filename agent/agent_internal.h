/* agent_internal - the agent's object, shared by agent.c (life), active.c (in a cluster), ops.c (init,
 * join, leave) and watch.c (metrics, health). */
#pragma once
#include "agent.h"
#include "identity.h"
#include "local.h"
#include "manager_conf.h"

#include "common/error.h"
#include "common/loop.h"
#include "proto/pb.h"

#include <stdbool.h>

struct agent {
	uv_loop_t *loop;
	const struct agent_config *config;
	char *manager_socket, *manager_conf, *pid_path, *manager_binary;

	/* always there */
	struct rpc *rpc;
	struct exec *exec;
	struct image_store *images;
	struct net *net;
	struct migrate *migrate;
	struct taskdb *db;
	struct reporter *reporter;
	struct worker *worker;
	struct local *local;
	struct manager_child *manager;
	struct task_stats *task_stats;
	struct usage_feed *usage;
	struct metrics_server *metrics; /* NULL = turned off */
	struct peer_client *peer_client;
	bool exec_probed, exec_works;
	struct error exec_error;
	bool net_probed, net_works;
	struct error net_error;
	uv_timer_t probe_timer;      /* tries again while no runtime works */

	/* while in a cluster */
	struct identity *identity;
	struct session *session;
	struct peer *peer;
	struct rpc_server *peer_server;
	char *advertise;             /* of the manager here, "10.0.0.1:2377" */
	bool removed;                /* the cluster no longer knows this node */
	bool wants_renewal;          /* the role that is wanted differs from the certificate's */
	unsigned role_renewals;      /* since the manager said so */
	int wanted_role;             /* as the manager said last; -1 = nothing yet */
	bool manager_wanted;         /* the manager beside us is (being) started */
	bool manager_leaving;        /* demoted: it is being stopped and its files removed */
	struct error unusable;       /* there is an identity, but active_begin() failed: tried again */
	uv_timer_t begin_timer;

	/* an operation of the local socket under way */
	struct op *op;
	void (*ops_closed)(void *data);
	uv_timer_t auto_join;        /* --join: tries until it works */
	unsigned auto_join_refusals; /* in a row */
	bool closing;
	struct closer closer;
	void (*closed)(void *data);
	void *closed_data;
};

/* ---- active.c */

/* Load the identity and begin; ERR_NOT_FOUND when there is none. Starts the manager if the role says so. */
int active_begin(struct agent *a, struct error *err);
bool active_is(const struct agent *a);
/* End session, peer server and identity (containers and manager are not touched); done once. */
void active_end(struct agent *a, void (*done)(void *data), void *data);
/* Write the manager's configuration file. */
int active_write_manager_conf(struct agent *a, const Skein__InitRequest *external_etcd, struct error *err);
/* Start the manager beside us; ready as manager_child_start's. */
void active_start_manager(struct agent *a, void (*ready)(void *data, const struct error *err), void *data);

/* ---- watch.c: metrics and health */
struct metrics_server *watch_open(struct agent *a);
/* Where the agent's metrics are served, "http:9640"; "" = nowhere that others reach. Into where, which is returned. */
const char *watch_where(const struct agent_config *config, char where[static MANAGER_CONF_WHERE_MAX]);

/* ---- ops.c */
extern const struct local_ops agent_ops;
/* Join by --join and --token-file, until it works. */
void ops_auto_join(struct agent *a);
/* The session came up: what join waited for. */
void ops_session_up(struct agent *a);
/* The files of a demoted manager are gone: what leave waited for. */
void ops_manager_gone(struct agent *a);
/* The agent ends: cut short what can be, no operation any more; closed once, perhaps at once. */
void ops_close(struct agent *a, void (*closed)(void *data));

/* ---- agent.c */
pb_node_description *agent_describe(void *data);
