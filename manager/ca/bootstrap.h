/*
 * bootstrap - a cluster's first minute: its root, its first manager, its tokens.
 *
 * `cluster-manager --bootstrap` writes the first node's identity and <state>/manager/bootstrap.pb; the manager's
 * first start puts that into etcd, if etcd holds no cluster yet, and removes the file.
 */
#pragma once
#include "common/jointoken.h"
#include "common/pki.h"
#include "proto/pb.h"

#include <stdint.h>

struct error;
struct store;
struct txn;
struct view;

struct ca_bootstrap_options {
	const char *state_dir;       /* identity/ and manager/ are made in it */
	const char *address;         /* literal: where peers reach this node */
	const char *listen;          /* of the API, "0.0.0.0:2377" */
	const char *api_address;     /* "10.0.0.1:2377": for other nodes */
	const char *hostname;
	unsigned peer_port;
	int availability;            /* AVAILABILITY_ACTIVE, ... */
	const pb_cluster_spec *spec; /* copied */
	int64_t now;
};

struct ca_bootstrap_result {
	char node_id[PKI_ID_MAX], cluster_id[PKI_ID_MAX];
	char worker_token[JOINTOKEN_MAX], manager_token[JOINTOKEN_MAX]; /* wipe when done */
};

/*
 * Make everything. Blocking, tens of milliseconds.
 *   Errors  ERR_EXISTS the node has an identity already; ERR_INVALID address, cert_expiry below an hour
 */
int ca_bootstrap_write(const struct ca_bootstrap_options *options, struct ca_bootstrap_result *ret,
		       struct error *err);

/* Read the file. ERR_NOT_FOUND: there is none (any more). */
int ca_bootstrap_load(const char *state_dir, Skein__Bootstrap **ret, struct error *err);

/*
 * Stage it, if the view holds no cluster; returns 1 when something was staged, 0 when this cluster is
 * there already, -1 and ERR_PRECONDITION when it is another one.
 */
int ca_bootstrap_stage(const Skein__Bootstrap *bootstrap, struct view *v, struct txn *t, struct error *err);

/*
 * Load, stage, commit, remove the file. After store_start has called back. cb once, after this has
 * returned; err NULL also when there was nothing to do.
 */
void ca_bootstrap_apply(struct store *store, const char *state_dir,
			void (*cb)(void *data, const struct error *err), void *data);
