#include "admit.h"

#include "common/error.h"
#include "common/mem.h"
#include "common/pki.h"
#include "common/str.h"
#include "manager/ca/tokens.h"
#include "manager/store/txn.h"
#include "manager/store/view.h"

#include <string.h>

#define HOSTNAME_MAX_BYTES 253

int64_t ca_cert_life(const pb_cluster_spec *spec)
{
	if (!spec || spec->cert_expiry <= 0)
		return CA_CERT_LIFE_DEFAULT_NS;
	return MAX(spec->cert_expiry, CA_CERT_LIFE_MIN_NS);
}

pb_node *ca_node_new(const struct ca_node *node)
{
	pb_node *n = pb_new(&skein__node__descriptor);

	n->meta = pb_new(&skein__meta__descriptor);
	n->meta->created_at = n->meta->updated_at = node->now;
	pb_set_str(&n->id, node->id);
	n->role = (Skein__NodeRole)node->role;
	n->cert_expires_at = node->cert_expires_at;

	n->spec = pb_new(&skein__node_spec__descriptor);
	pb_set_str(&n->spec->name, node->hostname);
	n->spec->role = (Skein__NodeRole)node->role;
	n->spec->availability = (Skein__Availability)node->availability;

	n->description = pb_new(&skein__node_description__descriptor);
	pb_set_str(&n->description->hostname, node->hostname);

	n->status = pb_new(&skein__node_status__descriptor);
	n->status->state = SKEIN__NODE_STATE__NODE_UNKNOWN;
	pb_set_str(&n->status->address, node->address);
	n->status->since = node->now;
	return n;
}

/* ---- checks */

static int check_request(const Skein__IssueRequest *request, struct error *err)
{
	size_t len = strlen(request->hostname);

	if (len > HOSTNAME_MAX_BYTES ||
	    strspn(request->hostname, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") != len)
		return error_set(err, ERR_INVALID,
				 "\"%.64s\" is not a host name: accepted are at most 253 letters, digits, "
				 "'.', '_', '-'",
				 request->hostname);
	if (!protobuf_c_enum_descriptor_get_value(&skein__availability__descriptor,
						  (int)request->availability))
		return error_set(err, ERR_INVALID,
				 "%d is not an availability: accepted are active, pause and drain",
				 (int)request->availability);
	return 0;
}

/* ---- certificates */

static void add_managers(const struct view *v, Skein__IssueResponse *response)
{
	size_t n;
	_cleanup_free_ const void **list = view_list(v, KIND_NODE, &n);

	for (size_t i = 0; i < n; i++) {
		const pb_node *node = list[i];

		if (node->manager && !str_empty(node->manager->address))
			pb_strs_add(&response->n_managers, &response->managers, node->manager->address);
	}
}

struct wanted {
	const char *node_id, *csr_pem, *address;
	int role;
	int64_t now;
};

static int make_response(const struct view *v, const struct wanted *w, Skein__IssueResponse **ret,
			 int64_t *ret_expires_at, struct error *err)
{
	const pb_cluster *cluster = view_cluster(v);
	_cleanup_pb_ Skein__IssueResponse *response = NULL;
	_cleanup_free_ char *leaf = NULL, *chain = NULL;
	struct pki_issue issue;
	struct pki_cert cert;

	if (!cluster)
		return error_set(err, ERR_UNAVAILABLE, "the cluster has no state yet; try again");
	issue = (struct pki_issue){
		.root_cert_pem = cluster->root_cert_pem,
		.root_key_pem = cluster->root_key_pem,
		.csr_pem = w->csr_pem,
		.node_id = w->node_id,
		.cluster_id = cluster->id,
		.role = w->role == NODE_ROLE_MANAGER ? PKI_MANAGER : PKI_WORKER,
		.address = w->address,
		.now_ns = w->now,
		.life_ns = ca_cert_life(cluster->spec),
	};
	if (pki_issue(&issue, &leaf, err) < 0 || pki_cert_parse(leaf, &cert, err) < 0)
		return -1;
	chain = pki_chain(leaf, cluster->root_cert_pem);
	response = pb_new(&skein__issue_response__descriptor);
	pb_set_str(&response->node_id, w->node_id);
	pb_set_str(&response->cluster_id, cluster->id);
	response->role = (Skein__NodeRole)w->role;
	pb_set_str(&response->cert_pem, chain);
	pb_set_str(&response->root_cert_pem, cluster->root_cert_pem);
	add_managers(v, response);
	*ret_expires_at = cert.not_after_ns;
	*ret = TAKE_PTR(response);
	return 0;
}

/* ---- join */

static void count_use(struct txn *t, const pb_token *token, int64_t now)
{
	pb_token *used = txn_edit(t, KIND_TOKEN, token->id);

	used->uses++;
	if (used->meta)
		used->meta->updated_at = now;
	txn_put(t, KIND_TOKEN, used);
}

int ca_admit_join(struct view *v, struct txn *t, const Skein__IssueRequest *request, const char *new_id,
		  int64_t now, Skein__IssueResponse **ret, struct error *err)
{
	const pb_token *token = ca_token_check(v, request->token, now, err);
	struct wanted wanted;
	struct ca_node node;
	pb_node *made;

	if (!token || check_request(request, err) < 0)
		return -1;
	wanted = (struct wanted){
		.node_id = new_id,
		.csr_pem = request->csr_pem,
		.address = request->address,
		.role = (int)token->role,
		.now = now,
	};
	node = (struct ca_node){
		.id = new_id,
		.hostname = request->hostname,
		.address = request->address,
		.role = (int)token->role,
		.availability = (int)request->availability,
		.now = now,
	};
	if (make_response(v, &wanted, ret, &node.cert_expires_at, err) < 0)
		return -1;

	made = ca_node_new(&node);
	for (size_t i = 0; i < token->n_labels; i++)
		pb_kv_set(&made->spec->n_labels, &made->spec->labels, token->labels[i]->key,
			  token->labels[i]->value);
	/* A token rotated or revoked meanwhile makes the commit fail either way. */
	if (ca_token_counts(token))
		count_use(t, token, now);
	else
		txn_require(t, KIND_TOKEN, token->id);
	txn_put(t, KIND_NODE, made);
	return 0;
}

/* ---- renew */

int ca_admit_renew(struct view *v, struct txn *t, const char *node_id, const Skein__RenewRequest *request,
		   int64_t now, Skein__IssueResponse **ret, struct error *err)
{
	const pb_node *node = view_node(v, node_id);
	struct wanted wanted;
	int64_t expires_at;
	pb_node *edited;

	if (!node)
		return error_set(err, ERR_DENIED, "node was removed from the cluster");
	wanted = (struct wanted){
		.node_id = node->id,
		.csr_pem = request->csr_pem,
		.address = request->address,
		.role = node->spec ? (int)node->spec->role : (int)node->role,
		.now = now,
	};
	if (make_response(v, &wanted, ret, &expires_at, err) < 0)
		return -1;
	edited = txn_edit(t, KIND_NODE, node->id);
	edited->role = (Skein__NodeRole)wanted.role;
	edited->cert_expires_at = expires_at;
	txn_put(t, KIND_NODE, edited);
	return 0;
}
