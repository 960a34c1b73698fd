#include "identity_dir.h"

#include "error.h"
#include "file.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>

#define INFO_MAX_BYTES (256u << 10)
#define MANAGERS_MAX 64

void identity_data_fini(struct identity_data *data)
{
	free(data->node_id);
	free(data->cluster_id);
	pki_secret_free(data->key_pem);
	free(data->cert_pem);
	free(data->root_pem);
	free(data->address);
	free(data->listen);
	strv_fini(&data->managers);
	*data = (struct identity_data){0};
}

struct identity_data identity_data_copy(const struct identity_data *data)
{
	struct identity_data copy = *data;

	copy.node_id = xstrdup(data->node_id);
	copy.cluster_id = xstrdup(data->cluster_id);
	copy.key_pem = xstrdup(data->key_pem);
	copy.cert_pem = xstrdup(data->cert_pem);
	copy.root_pem = xstrdup(data->root_pem);
	copy.address = xstrdup(data->address);
	copy.listen = xstrdup(data->listen);
	copy.managers = (struct strv){0};
	for (size_t i = 0; i < data->managers.n; i++)
		strv_add(&copy.managers, data->managers.v[i]);
	return copy;
}

/* ---- load */

static int damaged(struct error *err, const char *path)
{
	err->code = ERR_DATA_LOSS;
	return error_wrap(err, "%s", path);
}

static int read_pem(const char *dir, const char *name, char **ret, struct error *err)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", dir, name);

	return file_read(path, PKI_PEM_MAX_BYTES, ret, NULL, err);
}

static char *string_of(const json_t *json, const char *key)
{
	const char *s = json_string_value(json_object_get(json, key));

	return xstrdup(s ? s : "");
}

static int parse_info(const char *text, struct identity_data *data, struct error *err)
{
	json_error_t where;
	_cleanup_(json_decrefp) json_t *json = json_loads(text, 0, &where);
	json_int_t peer_port;
	json_t *managers, *item;
	size_t i;

	if (!json)
		return error_set(err, ERR_DATA_LOSS, "line %d: %s", where.line, where.text);
	data->node_id = string_of(json, "node_id");
	data->cluster_id = string_of(json, "cluster_id");
	data->address = string_of(json, "address");
	data->listen = string_of(json, "listen");
	peer_port = json_integer_value(json_object_get(json, "peer_port"));
	managers = json_object_get(json, "managers");
	if (str_empty(data->node_id) || str_empty(data->cluster_id) || peer_port < 0 || peer_port > 65535 ||
	    json_array_size(managers) > MANAGERS_MAX)
		return error_set(err, ERR_DATA_LOSS, "not what this program writes");
	data->peer_port = (unsigned)peer_port;
	json_array_foreach(managers, i, item) {
		if (json_is_string(item))
			strv_add(&data->managers, json_string_value(item));
	}
	return 0;
}

static int load_info(const char *dir, struct identity_data *data, struct error *err)
{
	_cleanup_free_ char *path = xasprintf("%s/node.json", dir), *text = NULL;

	if (file_read(path, INFO_MAX_BYTES, &text, NULL, err) < 0)
		return err->code == ERR_NOT_FOUND
			       ? error_set(err, ERR_NOT_FOUND, "this node is not part of a cluster")
			       : -1;
	return parse_info(text, data, err) < 0 ? damaged(err, path) : 0;
}

/* The writer died between the new certificate and the rename of its key: finish that. */
static int adopt_new_key(const char *dir, struct identity_data *data)
{
	_cleanup_free_ char *from = xasprintf("%s/node.key.new", dir), *to = xasprintf("%s/node.key", dir);
	_cleanup_secret_ char *key = NULL;

	if (read_pem(dir, "node.key.new", &key, NULL) < 0 || pki_key_check(data->cert_pem, key, NULL) < 0 ||
	    rename(from, to) < 0)
		return -1;
	pki_secret_free(data->key_pem);
	data->key_pem = TAKE_PTR(key);
	return 0;
}

static int load_pems(const char *dir, struct identity_data *data, struct error *err)
{
	struct pki_cert cert;

	if (read_pem(dir, "node.crt", &data->cert_pem, err) < 0 ||
	    read_pem(dir, "root.crt", &data->root_pem, err) < 0)
		return -1;
	if (read_pem(dir, "node.key", &data->key_pem, err) < 0 && adopt_new_key(dir, data) < 0)
		return -1;
	if (pki_key_check(data->cert_pem, data->key_pem, err) < 0 && adopt_new_key(dir, data) < 0)
		return -1;
	if (pki_cert_parse(data->cert_pem, &cert, err) < 0)
		return -1;
	if (!str_eq(cert.cn, data->node_id) || !str_eq(cert.org, data->cluster_id))
		return error_set(err, ERR_DATA_LOSS, "node.crt is of node %s in cluster %s, node.json of %s in %s",
				 cert.cn, cert.org, data->node_id, data->cluster_id);
	/* At a time when it was valid: that it may have expired is another matter. */
	if (pki_verify(data->root_pem, data->cert_pem, NULL, cert.not_after_ns - 1, err) < 0)
		return -1;
	data->role = cert.role;
	data->not_before_ns = cert.not_before_ns;
	data->not_after_ns = cert.not_after_ns;
	return 0;
}

int identity_dir_load(const char *dir, struct identity_data *ret, struct error *err)
{
	_cleanup_identity_ struct identity_data data = {0};
	struct error local = ERROR_INIT;
	int r = load_info(dir, &data, &local);

	if (r == 0 && load_pems(dir, &data, &local) < 0)
		r = damaged(&local, dir);
	if (r < 0) {
		if (err)
			*err = local;
		return -1;
	}
	*ret = data;
	data = (struct identity_data){0};
	return 0;
}

/* ---- save */

static int save(const char *dir, const char *name, const char *text, struct error *err)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", dir, name);

	return file_write(path, text, strlen(text), 0600, err);
}

static int save_key(const char *dir, const struct identity_data *data, struct error *err)
{
	_cleanup_free_ char *from = xasprintf("%s/node.key.new", dir), *to = xasprintf("%s/node.key", dir);
	_cleanup_secret_ char *now = NULL;

	/* The certificate goes in between: whichever of the two is missing, load finds a pair. */
	if (save(dir, "node.key.new", data->key_pem, err) < 0 ||
	    save(dir, "node.crt", data->cert_pem, err) < 0)
		return -1;
	if (rename(from, to) == 0)
		return 0;
	/* The manager beside the agent may have read the files just now, and taken the step itself. */
	if (errno == ENOENT && read_pem(dir, "node.key", &now, NULL) == 0 && str_eq(now, data->key_pem))
		return 0;
	return error_set(err, ERR_INTERNAL, "cannot rename %s to node.key", from);
}

int identity_dir_save_info(const char *dir, const struct identity_data *data, struct error *err)
{
	_cleanup_(json_decrefp) json_t *json = NULL;
	_cleanup_free_ char *text = NULL;
	json_t *managers = json_array();

	for (size_t i = 0; i < data->managers.n; i++)
		json_array_append_new(managers, json_string(data->managers.v[i]));
	json = json_pack("{s:s, s:s, s:s, s:s, s:s, s:i, s:o}", "node_id", data->node_id, "cluster_id",
			 data->cluster_id, "role", data->role == PKI_MANAGER ? "manager" : "worker", "address",
			 data->address ? data->address : "", "listen", data->listen ? data->listen : "",
			 "peer_port", (int)data->peer_port, "managers", managers);
	text = json ? json_dumps(json, JSON_INDENT(2)) : NULL;
	if (!text)
		return error_set(err, ERR_INVALID, "the node's identity has text that is not UTF-8");
	return save(dir, "node.json", text, err);
}

int identity_dir_save(const char *dir, const struct identity_data *data, struct error *err)
{
	if (file_mkdirs(dir, 0700, err) < 0 || save_key(dir, data, err) < 0 ||
	    save(dir, "root.crt", data->root_pem, err) < 0)
		return -1;
	return identity_dir_save_info(dir, data, err);
}
