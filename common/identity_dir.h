/*
 * identity_dir - the files that say who this node is: <state>/identity/{node.key,node.crt,root.crt,node.json}.
 * Directory 0700, files 0600. node.crt is the chain of leaf and root. node.json is written last: without
 * it the node is in no cluster. Short blocking I/O.
 */
#pragma once
#include "pki.h"
#include "str.h"

#include <stdbool.h>

struct error;

struct identity_data {
	char *node_id, *cluster_id;
	enum pki_role role;             /* of the certificate */
	char *key_pem, *cert_pem, *root_pem;
	int64_t not_before_ns, not_after_ns; /* of the certificate; set by load */
	char *address;                  /* where peers reach the node, no port */
	char *listen;                   /* of the manager's API, "0.0.0.0:2377"; "" on workers */
	unsigned peer_port;
	struct strv managers;           /* "host:port" */
};

void identity_data_fini(struct identity_data *data);
struct identity_data identity_data_copy(const struct identity_data *data);
#define _cleanup_identity_ __attribute__((cleanup(identity_data_fini)))

/*
 * Read and check: key and certificate fit, the certificate is of that node and cluster and from that root.
 * Whether it has expired is for the caller to see. `data` must be zero; it is only filled on success.
 *   Errors  ERR_NOT_FOUND the node is in no cluster; ERR_DATA_LOSS a file is damaged, with its name
 */
int identity_dir_load(const char *dir, struct identity_data *ret, struct error *err);

/*
 * Write all files. Safe against a crash at any point: a new key is kept beside the old one until the
 * new certificate is in place.
 */
int identity_dir_save(const char *dir, const struct identity_data *data, struct error *err);

/* Only node.json: managers, addresses. */
int identity_dir_save_info(const char *dir, const struct identity_data *data, struct error *err);
