/* ca_view - a view with a cluster of its own root, for tests of the CA. */
#pragma once
#include "common/pki.h"
#include "manager/ca/tokens.h"
#include "manager/store/view.h"

#define CA_VIEW_NOW (INT64_C(1795450000) * 1000000000)

static inline struct view *ca_view_new(const char *cluster_id)
{
	struct view *v = view_new();
	pb_cluster *cluster = pb_new(&skein__cluster__descriptor);
	unsigned char random[CA_TOKEN_RANDOM_BYTES];
	char *cert = NULL, *key = NULL;

	assert_int_equal(pki_root_new(cluster_id, CA_VIEW_NOW, &cert, &key, NULL), 0);
	pb_set_str(&cluster->id, cluster_id);
	pb_set_str(&cluster->root_cert_pem, cert);
	pb_set_str(&cluster->root_key_pem, key);
	cluster->spec = pb_new(&skein__cluster_spec__descriptor);
	free(cert);
	pki_secret_free(key);
	view_put(v, KIND_CLUSTER, cluster);
	for (int role = NODE_ROLE_WORKER; role <= NODE_ROLE_MANAGER; role++) {
		pki_random(random, sizeof(random));
		view_put(v, KIND_TOKEN, ca_token_new_standing(role, CA_VIEW_NOW, random));
	}
	return v;
}

/* Keep in the view what a transaction staged, as a commit would. */
static inline void ca_view_commit(struct view *v, struct txn *t)
{
	const struct txn_change *changes;
	size_t n;

	txn_end(t);
	changes = txn_changes(t, &n);
	for (size_t i = 0; i < n; i++) {
		if (changes[i].check_only)
			continue;
		pb_free(changes[i].obj ? view_put(v, changes[i].kind, pb_dup(changes[i].obj))
				       : view_del(v, changes[i].kind, changes[i].id));
	}
	txn_free(t);
}
