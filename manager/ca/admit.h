/*
 * admit - who gets which certificate: the decisions behind CA.Issue and CA.Renew.
 * Pure: changes are staged into a transaction; time and new ids are arguments. Certificates are made
 * here (one signature, well below a millisecond), but count only once the transaction is committed.
 */
#pragma once
#include "proto/pb.h"

#include <stdint.h>

struct error;
struct txn;
struct view;

#define CA_CERT_LIFE_DEFAULT_NS (90 * 24 * INT64_C(3600000000000))
#define CA_CERT_LIFE_MIN_NS INT64_C(3600000000000)

/* Life of a node certificate by a cluster spec: its cert_expiry, 90 days when unset, an hour at least. */
int64_t ca_cert_life(const pb_cluster_spec *spec);

/*
 * A node joins: the use of the token is counted in the transaction that creates the Node object, so
 * that two nodes cannot share the last use.
 *   new_id       id for the node
 *   ret          heap message; cert_pem is the chain of leaf and root
 *   Errors  ERR_DENIED the token (see ca_token_check); ERR_INVALID CSR, address, hostname, availability
 */
int ca_admit_join(struct view *v, struct txn *t, const Skein__IssueRequest *request, const char *new_id,
		  int64_t now, Skein__IssueResponse **ret, struct error *err);

/*
 * A node renews. It gets the role that its spec wants; the Node object then carries that role.
 *   Errors  ERR_DENIED the node was removed; ERR_INVALID CSR or address
 */
int ca_admit_renew(struct view *v, struct txn *t, const char *node_id, const Skein__RenewRequest *request,
		   int64_t now, Skein__IssueResponse **ret, struct error *err);

/* A Node object as it looks before the node's first session. */
struct ca_node {
	const char *id, *hostname, *address;
	int role, availability;
	int64_t cert_expires_at, now;
};
pb_node *ca_node_new(const struct ca_node *node);
