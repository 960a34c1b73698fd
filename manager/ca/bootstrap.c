#include "bootstrap.h"

#include "common/error.h"
#include "common/file.h"
#include "common/id.h"
#include "common/identity_dir.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/str.h"
#include "manager/ca/admit.h"
#include "manager/ca/tokens.h"
#include "manager/store/store.h"

#include <string.h>

#define FILE_MAX_BYTES (1u << 20)

static char *file_path(const char *state_dir)
{
	return xasprintf("%s/manager/bootstrap.pb", state_dir);
}

/* ---- write */

static int make_cluster(const struct ca_bootstrap_options *o, const char *id, pb_cluster **ret, struct error *err)
{
	_cleanup_free_ char *cert = NULL;
	_cleanup_secret_ char *key = NULL;
	pb_cluster *cluster;

	if (pki_root_new(id, o->now, &cert, &key, err) < 0)
		return -1;
	cluster = pb_new(&skein__cluster__descriptor);
	cluster->meta = pb_new(&skein__meta__descriptor);
	cluster->meta->created_at = cluster->meta->updated_at = o->now;
	pb_set_str(&cluster->id, id);
	pb_set_str(&cluster->root_cert_pem, cert);
	pb_set_str(&cluster->root_key_pem, key);
	if (o->spec)
		pb_set_msg(&cluster->spec, o->spec);
	else
		cluster->spec = pb_new(&skein__cluster_spec__descriptor);
	*ret = cluster;
	return 0;
}

static int make_identity(const struct ca_bootstrap_options *o, const pb_cluster *cluster, const char *node_id,
			 struct identity_data *ret, struct error *err)
{
	_cleanup_identity_ struct identity_data data = {
		.node_id = xstrdup(node_id),
		.cluster_id = xstrdup(cluster->id),
		.role = PKI_MANAGER,
		.root_pem = xstrdup(cluster->root_cert_pem),
		.address = xstrdup(o->address),
		.listen = xstrdup(o->listen),
		.peer_port = o->peer_port,
	};
	_cleanup_free_ char *csr = NULL, *leaf = NULL;
	struct pki_issue issue = {
		.root_cert_pem = cluster->root_cert_pem,
		.root_key_pem = cluster->root_key_pem,
		.node_id = node_id,
		.cluster_id = cluster->id,
		.role = PKI_MANAGER,
		.address = o->address,
		.now_ns = o->now,
		.life_ns = ca_cert_life(cluster->spec),
	};
	struct pki_cert cert;

	strv_add(&data.managers, o->api_address);
	if (pki_key_new(&data.key_pem, err) < 0 || pki_csr_new(data.key_pem, &csr, err) < 0)
		return -1;
	issue.csr_pem = csr;
	if (pki_issue(&issue, &leaf, err) < 0 || pki_cert_parse(leaf, &cert, err) < 0)
		return -1;
	data.cert_pem = pki_chain(leaf, cluster->root_cert_pem);
	data.not_after_ns = cert.not_after_ns;
	*ret = data;
	data = (struct identity_data){0};
	return 0;
}

static pb_node *make_node(const struct ca_bootstrap_options *o, const struct identity_data *identity)
{
	struct ca_node made = {
		.id = identity->node_id,
		.hostname = o->hostname,
		.address = o->address,
		.role = NODE_ROLE_MANAGER,
		.availability = o->availability,
		.cert_expires_at = identity->not_after_ns,
		.now = o->now,
	};
	pb_node *node = ca_node_new(&made);

	node->peer_port = o->peer_port;
	node->manager = pb_new(&skein__manager_status__descriptor);
	pb_set_str(&node->manager->address, o->api_address);
	return node;
}

static void add_token(Skein__Bootstrap *b, int role, int64_t now)
{
	unsigned char random[CA_TOKEN_RANDOM_BYTES];

	pki_random(random, sizeof(random));
	pb_msgs_add(&b->n_tokens, &b->tokens, ca_token_new_standing(role, now, random));
	mem_wipe(random, sizeof(random));
}

static int token_text(const Skein__Bootstrap *b, int role, char buf[static JOINTOKEN_MAX], struct error *err)
{
	struct jointoken token = {0};
	int r = pki_cert_digest(b->cluster->root_cert_pem, token.root_digest, err);

	if (r == 0 && jointoken_secret_parse(b->tokens[role]->secret, &token) == 0)
		jointoken_format(&token, buf);
	mem_wipe(&token, sizeof(token));
	return r;
}

static int write_file(const char *state_dir, const Skein__Bootstrap *b, struct error *err)
{
	_cleanup_free_ char *dir = xasprintf("%s/manager", state_dir), *path = file_path(state_dir);
	size_t len = protobuf_c_message_get_packed_size(&b->base);
	_cleanup_free_ uint8_t *bytes = xmalloc(len);
	int r;

	protobuf_c_message_pack(&b->base, bytes);
	r = file_mkdirs(dir, 0700, err) < 0 ? -1 : file_write(path, bytes, len, 0600, err);
	mem_wipe(bytes, len);
	return r;
}

static int check_options(const struct ca_bootstrap_options *o, const char *identity_dir, struct error *err)
{
	_cleanup_free_ char *info = xasprintf("%s/node.json", identity_dir);

	if (access(info, F_OK) == 0)
		return error_set(err, ERR_EXISTS, "this node is part of a cluster already; leave it first");
	if (o->spec && o->spec->cert_expiry && o->spec->cert_expiry < CA_CERT_LIFE_MIN_NS) {
		char buf[STR_HUMAN_MAX];

		return error_set(err, ERR_INVALID, "cert-expiry %s is too short: accepted is 1h or more",
				 str_duration(o->spec->cert_expiry, buf));
	}
	return 0;
}

int ca_bootstrap_write(const struct ca_bootstrap_options *options, struct ca_bootstrap_result *ret,
		       struct error *err)
{
	_cleanup_free_ char *identity_dir = xasprintf("%s/identity", options->state_dir);
	_cleanup_identity_ struct identity_data identity = {0};
	_cleanup_pb_ Skein__Bootstrap *b = pb_new(&skein__bootstrap__descriptor);
	char node_id[ID_LEN + 1], cluster_id[ID_LEN + 1];

	if (check_options(options, identity_dir, err) < 0)
		return -1;
	id_new(node_id);
	id_new(cluster_id);
	if (make_cluster(options, cluster_id, &b->cluster, err) < 0 ||
	    make_identity(options, b->cluster, node_id, &identity, err) < 0)
		return -1;
	b->node = make_node(options, &identity);
	add_token(b, NODE_ROLE_WORKER, options->now);
	add_token(b, NODE_ROLE_MANAGER, options->now);
	if (token_text(b, NODE_ROLE_WORKER, ret->worker_token, err) < 0 ||
	    token_text(b, NODE_ROLE_MANAGER, ret->manager_token, err) < 0)
		return -1;
	memcpy(ret->node_id, node_id, sizeof(node_id));
	memcpy(ret->cluster_id, cluster_id, sizeof(cluster_id));
	/* The identity comes last: with it the node is in the cluster. */
	if (write_file(options->state_dir, b, err) < 0)
		return -1;
	return identity_dir_save(identity_dir, &identity, err);
}

/* ---- first start */

int ca_bootstrap_load(const char *state_dir, Skein__Bootstrap **ret, struct error *err)
{
	_cleanup_free_ char *path = file_path(state_dir);
	_cleanup_pb_ Skein__Bootstrap *b = NULL;
	char *bytes = NULL;
	size_t len;

	if (file_read(path, FILE_MAX_BYTES, &bytes, &len, err) < 0)
		return -1;
	b = pb_unpack(&skein__bootstrap__descriptor, bytes, len);
	mem_wipe(bytes, len);
	free(bytes);
	if (!b || !b->cluster || !b->node || str_empty(b->cluster->id) || str_empty(b->node->id))
		return error_set(err, ERR_DATA_LOSS, "%s is damaged", path);
	*ret = TAKE_PTR(b);
	return 0;
}

int ca_bootstrap_stage(const Skein__Bootstrap *bootstrap, struct view *v, struct txn *t, struct error *err)
{
	const pb_cluster *cluster = view_cluster(v);

	if (cluster && str_eq(cluster->id, bootstrap->cluster->id))
		return 0;
	if (cluster)
		return error_set(err, ERR_PRECONDITION, "etcd holds another cluster (%s) already", cluster->id);
	txn_put(t, KIND_CLUSTER, pb_dup(bootstrap->cluster));
	txn_put(t, KIND_NODE, pb_dup(bootstrap->node));
	for (size_t i = 0; i < bootstrap->n_tokens; i++)
		txn_put(t, KIND_TOKEN, pb_dup(bootstrap->tokens[i]));
	return 1;
}

struct apply {
	char *path;
	void (*cb)(void *data, const struct error *err);
	void *data;
	bool staged;
	struct error err; /* of loading and staging */
};

static void on_committed(void *data, const struct error *err)
{
	struct apply *a = data;

	if (a->err.code == ERR_NOT_FOUND) {
		err = NULL; /* an earlier start did it */
	} else if (error_is_set(&a->err)) {
		err = &a->err;
	} else if (!err) {
		log_info("cluster_stored", kv_bool("new", a->staged));
		if (file_remove_tree(a->path, &a->err) < 0)
			err = &a->err;
	}
	a->cb(a->data, err);
	free(a->path);
	free(a);
}

void ca_bootstrap_apply(struct store *store, const char *state_dir,
			void (*cb)(void *data, const struct error *err), void *data)
{
	struct apply *a = xnew(struct apply);
	_cleanup_pb_ Skein__Bootstrap *b = NULL;
	struct txn *t = txn_begin(store_view(store));

	*a = (struct apply){.path = file_path(state_dir), .cb = cb, .data = data};
	if (ca_bootstrap_load(state_dir, &b, &a->err) == 0)
		a->staged = ca_bootstrap_stage(b, store_view(store), t, &a->err) > 0;
	/* With nothing staged the commit only brings us out of this function. */
	store_commit(store, t, 0, on_committed, a);
}
