/*
 * etcd_child - the embedded etcd: starts `etcd`, keeps it running, passes its complaints on.
 *
 * Locally it is reached by a unix socket in a directory of mode 0700; other managers reach it by https through
 * etcd_gate, with certificates of the cluster's CA that carry PKI_MANAGER_NAME (workers have the same CA, not that name).
 * It never outlives this process. Loop thread; callbacks never run inside the functions here.
 */
#pragma once
#include "common/error.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <uv.h>

struct etcd_child;

struct etcd_child_options {
	uv_loop_t *loop;
	const char *program;         /* NULL = "etcd" */
	const char *state_dir;       /* data lies in <state_dir>/etcd */
	const char *run_dir;         /* absolute, of its own: holds the socket; made with mode 0700 */
	const char *name;            /* node id */
	const char *cluster_token;   /* cluster id: members of different clusters never talk */
	const char *address;         /* literal IP address; in the certificate's SANs */
	uint16_t client_port;        /* of the gate */
	uint16_t peer_port;          /* of etcd itself */
	const char *ca_file, *cert_file, *key_file;
	const char *initial_cluster; /* "name=https://10.0.0.1:2380,..." as member add says; NULL = this member alone */
	bool existing;               /* it joins; else it bootstraps */
	bool force_new_cluster;      /* once: survive the loss of the quorum with this member's data */
	unsigned members;            /* of the cluster, this one included: 1 = quick elections */

	/* A request was answered: quorum and leader are there. After each start. */
	void (*on_ready)(void *data);
	/* It ended (and will be started again). */
	void (*on_down)(void *data, const struct error *why);
	/* The others removed this member: it will not be started again. */
	void (*on_removed)(void *data);
	void *data;
};

/* Errors: ERR_INVALID a path too long for a unix socket; what making the directories or the program said. */
struct etcd_child *etcd_child_start(const struct etcd_child_options *options, struct error *err);

/* SIGTERM, and SIGKILL when it takes longer than 5 s. closed: the process is gone. */
void etcd_child_close(struct etcd_child *c, void (*closed)(void *data), void *data);

/* "unix:<run_dir>/etcd.sock:1", for etcd_options.endpoints. */
const char *etcd_child_endpoint(const struct etcd_child *c);
bool etcd_child_ready(const struct etcd_child *c);
/* What it complained of last; "" = nothing. For status. */
const char *etcd_child_last_error(const struct etcd_child *c);
pid_t etcd_child_pid(const struct etcd_child *c); /* 0 = not running */

/*
 * The cluster has (is about to have) so many members. A member that was alone elects by short timeouts, which
 * flap between several: it is restarted (about a second) before the second one is added. ready comes anew then.
 * Returns whether it restarts.
 */
bool etcd_child_set_members(struct etcd_child *c, unsigned members);
