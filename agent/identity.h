/*
 * identity - who this node is: its certificate, kept valid, and where managers are.
 *
 * Renews at a random point between 50 and 80 % of the certificate's life, with a new key, at any manager;
 * with back-off until it works. Loop thread; files are written on the uv pool.
 */
#pragma once
#include "common/error.h"
#include "common/identity_dir.h"
#include "proto/pb.h"

#include <stdbool.h>
#include <uv.h>

struct identity;
struct rpc;
struct rpc_creds;

struct identity_options {
	uv_loop_t *loop;
	struct rpc *rpc;
	const char *dir;           /* <state>/identity; copied */
	/* The new certificate is on disk and in the credentials. May be NULL. */
	void (*on_renewed)(void *data, bool role_changed);
	/* A manager says that this node was removed. Renewing goes on (an old manager may err). May be NULL. */
	void (*on_removed)(void *data, const struct error *err);
	void *data;
};

/*
 * Load the files and start the timer; short blocking I/O.
 *   Errors  ERR_NOT_FOUND this node is in no cluster; ERR_DATA_LOSS
 */
struct identity *identity_open(const struct identity_options *options, struct error *err);

/* Borrowed until the next callback. */
const struct identity_data *identity_get(const struct identity *i);
/* Updated in place when renewed: give it to the server and the channels. Borrowed. */
struct rpc_creds *identity_creds(struct identity *i);

/* Where managers are now ("host:port"); saved when changed. An empty list is ignored. */
void identity_set_managers(struct identity *i, const char *const *managers, size_t n);

/* Renew at once (the role changed, the certificate is near its end). While one is under way: once more after it. */
void identity_renew_now(struct identity *i);

/* closed: after what is being written is on disk. */
void identity_close(struct identity *i, void (*closed)(void *data), void *data);

/* ---- for bootstrap.c and tests */

/*
 * The wall time to renew a certificate at; random: uniform over all values.
 * The hour that certificates are back-dated by is not counted as life.
 */
int64_t identity_renew_at(int64_t not_before_ns, int64_t not_after_ns, uint32_t random);

/*
 * Check what a CA answered and fill in ids, role, certificates and (if it named any) managers; the rest
 * of *data stays. The certificate must be from `root_pem` and for the key in data->key_pem.
 *   Errors  ERR_DENIED, ERR_INVALID, ERR_DATA_LOSS: the answer does not fit; *data is unchanged
 */
int identity_accept(struct identity_data *data, const Skein__IssueResponse *response, const char *root_pem,
		    int64_t now_ns, struct error *err);
