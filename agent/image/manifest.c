#include "agent/image/manifest.h"

#include "common/error.h"
#include "common/imageref.h"
#include "common/mem.h"
#include "common/str.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#define MAX_STRINGS 4096u /* of one list in a config */

/* ---------------------------------------------------------------- JSON */

static json_t *parse_object(const char *what, const char *json, size_t len, struct error *err)
{
	json_error_t jerr;
	json_t *root;

	if (len > MANIFEST_MAX_BYTES) {
		error_set(err, ERR_EXHAUSTED, "%s has %zu bytes, accepted are at most %u", what,
			  len, MANIFEST_MAX_BYTES);
		return NULL;
	}
	root = json_loadb(json, len, 0, &jerr);
	if (!root) {
		error_set(err, ERR_DATA_LOSS, "%s is not JSON: line %d: %s", what, jerr.line,
			  jerr.text);
		return NULL;
	}
	if (!json_is_object(root)) {
		json_decref(root);
		error_set(err, ERR_DATA_LOSS, "%s is not a JSON object", what);
		return NULL;
	}
	return root;
}

/* Media types of what cannot be unpacked here. */
static int check_media_type(const char *type, struct error *err)
{
	if (!type)
		return 0;
	if (str_ends(type, "+encrypted"))
		return error_set(err, ERR_UNIMPLEMENTED, "layer is encrypted (%.128s)", type);
	if (strstr(type, ".foreign.") || strstr(type, "nondistributable"))
		return error_set(err, ERR_UNIMPLEMENTED, "layer is not distributed (%.128s)", type);
	return 0;
}

static int parse_descriptor(const char *what, const json_t *obj, struct descriptor *ret,
			    struct error *err)
{
	const char *digest = json_string_value(json_object_get(obj, "digest"));
	const json_t *size = json_object_get(obj, "size");

	if (!digest || !digest_valid(digest))
		return error_set(err, ERR_DATA_LOSS,
				 "%s has digest \"%.100s\", accepted is sha256:<64 hex>", what,
				 digest ? digest : "");
	if (!json_is_integer(size) || json_integer_value(size) < 0 ||
	    json_integer_value(size) > MANIFEST_MAX_BLOB_BYTES)
		return error_set(err, ERR_DATA_LOSS, "%s %s has no size from 0 to 2^40 bytes", what,
				 digest);
	strcpy(ret->digest, digest);
	ret->size_bytes = json_integer_value(size);
	return 0;
}

/* ---------------------------------------------------------------- manifest */

int manifest_kind(const char *json, size_t len, enum manifest_kind *ret, struct error *err)
{
	_cleanup_(json_decrefp) json_t *root = parse_object("manifest", json, len, err);
	const char *type;

	if (!root)
		return -1;
	if (json_integer_value(json_object_get(root, "schemaVersion")) == 1)
		return error_set(
			err, ERR_UNIMPLEMENTED,
			"manifest has schema version 1, accepted are Docker schema 2 and OCI");
	type = json_string_value(json_object_get(root, "mediaType"));
	if (json_is_array(json_object_get(root, "manifests")) && !json_object_get(root, "layers")) {
		*ret = MANIFEST_INDEX;
		return 0;
	}
	if (json_is_array(json_object_get(root, "layers")) &&
	    json_is_object(json_object_get(root, "config")) &&
	    !json_object_get(root, "manifests")) {
		*ret = MANIFEST_IMAGE;
		return 0;
	}
	return error_set(err, ERR_DATA_LOSS,
			 "neither a manifest nor an index (media type \"%.128s\")",
			 type ? type : "");
}

static int parse_layers(const json_t *list, struct manifest *m, struct error *err)
{
	size_t n = json_array_size(list);

	if (n > MANIFEST_MAX_LAYERS)
		return error_set(err, ERR_EXHAUSTED,
				 "manifest has %zu layers, accepted are at most %u", n,
				 MANIFEST_MAX_LAYERS);
	m->layers = xcalloc(n ? n : 1, sizeof(*m->layers));
	for (; m->n_layers < n; m->n_layers++) {
		const json_t *layer = json_array_get(list, m->n_layers);

		if (check_media_type(json_string_value(json_object_get(layer, "mediaType")), err) <
			    0 ||
		    parse_descriptor("layer", layer, &m->layers[m->n_layers], err) < 0)
			return -1;
	}
	return 0;
}

struct manifest *manifest_parse(const char *json, size_t len, struct error *err)
{
	_cleanup_(manifest_freep) struct manifest *m = xnew(struct manifest);
	_cleanup_(json_decrefp) json_t *root = NULL;
	enum manifest_kind kind;

	if (manifest_kind(json, len, &kind, err) < 0)
		return NULL;
	if (kind != MANIFEST_IMAGE) {
		error_set(err, ERR_DATA_LOSS,
			  "an index where the manifest of one image is expected");
		return NULL;
	}
	root = parse_object("manifest", json, len, err);
	if (!root ||
	    parse_descriptor("config", json_object_get(root, "config"), &m->config, err) < 0)
		return NULL;
	if (m->config.size_bytes > MANIFEST_MAX_BYTES) {
		error_set(err, ERR_EXHAUSTED, "config %s has %lld bytes, accepted are at most %u",
			  m->config.digest, (long long)m->config.size_bytes, MANIFEST_MAX_BYTES);
		return NULL;
	}
	if (parse_layers(json_object_get(root, "layers"), m, err) < 0)
		return NULL;
	return TAKE_PTR(m);
}

void manifest_free(struct manifest *m)
{
	if (!m)
		return;
	free(m->layers);
	free(m);
}

char *manifest_with_config(const char *json, size_t len, const struct descriptor *config, struct error *err)
{
	_cleanup_(json_decrefp) json_t *root = parse_object("manifest", json, len, err);
	json_t *obj = json_object_get(root, "config");

	if (!root)
		return NULL;
	if (!json_is_object(obj)) {
		error_set(err, ERR_DATA_LOSS, "manifest has no config");
		return NULL;
	}
	json_object_set_new(obj, "digest", json_string(config->digest));
	json_object_set_new(obj, "size", json_integer(config->size_bytes));
	return json_dumps(root, JSON_COMPACT);
}

/* ---------------------------------------------------------------- index */

void platform_host(struct platform *ret)
{
	static const struct {
		const char *machine, *arch, *variant;
	} known[] = {
		{"x86_64", "amd64", ""},    {"aarch64", "arm64", "v8"},
		{"armv7l", "arm", "v7"},    {"armv6l", "arm", "v6"},
		{"i686", "386", ""},	    {"i386", "386", ""},
		{"ppc64le", "ppc64le", ""}, {"s390x", "s390x", ""},
		{"riscv64", "riscv64", ""}, {"loongarch64", "loong64", ""},
	};
	struct utsname u;

	*ret = (struct platform){.os = "linux"};
	if (uname(&u) < 0)
		return;
	snprintf(ret->arch, sizeof(ret->arch), "%.23s", u.machine);
	for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
		if (!str_eq(u.machine, known[i].machine))
			continue;
		strcpy(ret->arch, known[i].arch);
		strcpy(ret->variant, known[i].variant);
	}
}

static void copy_text(char *ret, size_t size, const json_t *obj, const char *key)
{
	const char *s = json_string_value(json_object_get(obj, key));

	if (s)
		snprintf(ret, size, "%s", s);
}

/* A name that an archive gives: "docker.io/library/web:1", "web:1"; a bare tag ("latest") is none.
 */
static char *normalised_name(const char *s)
{
	char buf[IMAGEREF_MAX];
	struct imageref ref;

	if (!s || (!strchr(s, '/') && !strchr(s, ':')))
		return NULL;
	if (imageref_parse(s, &ref, NULL) < 0 || ref.digest[0])
		return NULL;
	return xstrdup(imageref_format(&ref, buf));
}

static char *entry_name(const json_t *annotations)
{
	static const char *const keys[] = {"io.containerd.image.name",
					   "org.opencontainers.image.ref.name"};

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		char *name =
			normalised_name(json_string_value(json_object_get(annotations, keys[i])));

		if (name)
			return name;
	}
	return NULL;
}

static int parse_entry(const json_t *obj, struct index_entry *e, struct error *err)
{
	const json_t *platform = json_object_get(obj, "platform");
	const json_t *annotations = json_object_get(obj, "annotations");

	if (parse_descriptor("index entry", obj, &e->blob, err) < 0)
		return -1;
	if (e->blob.size_bytes > MANIFEST_MAX_BYTES)
		return error_set(err, ERR_EXHAUSTED,
				 "manifest %s has %lld bytes, accepted are at most %u",
				 e->blob.digest, (long long)e->blob.size_bytes, MANIFEST_MAX_BYTES);
	copy_text(e->platform.os, sizeof(e->platform.os), platform, "os");
	copy_text(e->platform.arch, sizeof(e->platform.arch), platform, "architecture");
	copy_text(e->platform.variant, sizeof(e->platform.variant), platform, "variant");
	e->is_attestation = json_object_get(annotations, "vnd.docker.reference.type") ||
			    str_eq(e->platform.os, "unknown");
	e->name = entry_name(annotations);
	return 0;
}

struct image_index *image_index_parse(const char *json, size_t len, struct error *err)
{
	_cleanup_(image_index_freep) struct image_index *x = xnew(struct image_index);
	_cleanup_(json_decrefp) json_t *root = parse_object("index", json, len, err);
	const json_t *list;
	size_t n;

	if (!root)
		return NULL;
	list = json_object_get(root, "manifests");
	if (!json_is_array(list)) {
		error_set(err, ERR_DATA_LOSS, "index has no list of manifests");
		return NULL;
	}
	n = json_array_size(list);
	if (n > MANIFEST_MAX_ENTRIES) {
		error_set(err, ERR_EXHAUSTED, "index has %zu entries, accepted are at most %u", n,
			  MANIFEST_MAX_ENTRIES);
		return NULL;
	}
	x->entries = xcalloc(n ? n : 1, sizeof(*x->entries));
	for (; x->n < n; x->n++) {
		if (parse_entry(json_array_get(list, x->n), &x->entries[x->n], err) < 0)
			return NULL;
	}
	return TAKE_PTR(x);
}

void image_index_free(struct image_index *x)
{
	if (!x)
		return;
	for (size_t i = 0; i < x->n; i++)
		free(x->entries[i].name);
	free(x->entries);
	free(x);
}

const struct index_entry *image_index_choose(const struct image_index *x,
					     const struct platform *host)
{
	const struct index_entry *best = NULL;
	int best_rank = 0;

	for (size_t i = 0; i < x->n; i++) {
		const struct index_entry *e = &x->entries[i];
		int rank = 1;

		if (e->is_attestation)
			continue;
		if (e->platform.os[0] || e->platform.arch[0]) {
			if (!str_eq(e->platform.os, host->os) ||
			    !str_eq(e->platform.arch, host->arch))
				continue;
			rank = str_eq(e->platform.variant, host->variant) ? 4
			       : !e->platform.variant[0]		  ? 3
									  : 2;
		}
		if (rank > best_rank) {
			best = e;
			best_rank = rank;
		}
	}
	return best;
}

/* ---------------------------------------------------------------- config */

static int string_list(const char *what, const json_t *list, char ***ret, struct error *err)
{
	struct strv v = {0};

	if (!list || json_is_null(list))
		return 0;
	if (!json_is_array(list) || json_array_size(list) > MAX_STRINGS)
		return error_set(err, ERR_DATA_LOSS,
				 "%s in the config is not a list of at most %u strings", what,
				 MAX_STRINGS);
	for (size_t i = 0; i < json_array_size(list); i++) {
		const char *s = json_string_value(json_array_get(list, i));

		if (!s) {
			strv_fini(&v);
			return error_set(err, ERR_DATA_LOSS,
					 "%s in the config holds something else than strings",
					 what);
		}
		strv_add(&v, s);
	}
	*ret = v.v;
	return 0;
}

/* Volumes and ports are sets: objects whose keys count. */
static int key_list(const char *what, json_t *obj, char ***ret, struct error *err)
{
	struct strv v = {0};
	const char *key;
	json_t *value;

	if (!obj || json_is_null(obj))
		return 0;
	if (!json_is_object(obj) || json_object_size(obj) > MAX_STRINGS)
		return error_set(err, ERR_DATA_LOSS,
				 "%s in the config is not a set of at most %u strings", what,
				 MAX_STRINGS);
	json_object_foreach(obj, key, value)
		strv_add(&v, key);
	*ret = v.v;
	return 0;
}

static int string_value(const char *what, const json_t *obj, char **ret, struct error *err)
{
	if (!obj || json_is_null(obj))
		return 0;
	if (!json_is_string(obj))
		return error_set(err, ERR_DATA_LOSS, "%s in the config is not a string", what);
	*ret = xstrdup(json_string_value(obj));
	return 0;
}

/* A span of a check, ns; 0 = the default. */
static int span_value(const json_t *health, const char *key, int64_t *ret, struct error *err)
{
	const json_t *value = json_object_get(health, key);

	if (!value || json_is_null(value))
		return 0;
	if (!json_is_integer(value) || json_integer_value(value) < 0)
		return error_set(err, ERR_DATA_LOSS, "Healthcheck.%s in the config is not a number from 0 on", key);
	*ret = json_integer_value(value);
	return 0;
}

/* Docker's extension of the format; builders of OCI images write it, too. */
static int parse_health(const json_t *obj, pb_health_check **ret, struct error *err)
{
	_cleanup_pb_ pb_health_check *h = pb_new(&skein__health_check__descriptor);
	_cleanup_strv_ struct strv test = {0};
	int64_t retries = 0;

	if (!obj || json_is_null(obj))
		return 0;
	if (!json_is_object(obj))
		return error_set(err, ERR_DATA_LOSS, "Healthcheck in the config is not an object");
	if (string_list("Healthcheck.Test", json_object_get(obj, "Test"), &test.v, err) < 0)
		return -1;
	while (test.v && test.v[test.n])
		pb_strs_add(&h->n_test, &h->test, test.v[test.n++]);
	if (span_value(obj, "Interval", &h->interval, err) < 0 || span_value(obj, "Timeout", &h->timeout, err) < 0 ||
	    span_value(obj, "StartPeriod", &h->start_period, err) < 0 ||
	    span_value(obj, "StartInterval", &h->start_interval, err) < 0 ||
	    span_value(obj, "Retries", &retries, err) < 0)
		return -1;
	h->retries = (uint32_t)MIN(retries, (int64_t)INT32_MAX);
	*ret = TAKE_PTR(h);
	return 0;
}

static int parse_diff_ids(const json_t *list, struct image_config *c, struct error *err)
{
	size_t n = json_array_size(list);

	if (!json_is_array(list) || n > MANIFEST_MAX_LAYERS)
		return error_set(err, ERR_DATA_LOSS,
				 "config does not list at most %u diff ids of layers",
				 MANIFEST_MAX_LAYERS);
	c->diff_ids = xcalloc(n ? n : 1, sizeof(*c->diff_ids));
	for (; c->n_diff_ids < n; c->n_diff_ids++) {
		const char *s = json_string_value(json_array_get(list, c->n_diff_ids));

		if (!s || !digest_valid(s))
			return error_set(
				err, ERR_DATA_LOSS,
				"config has diff id \"%.100s\", accepted is sha256:<64 hex>",
				s ? s : "");
		strcpy(c->diff_ids[c->n_diff_ids], s);
	}
	return 0;
}

struct image_config *image_config_parse(const char *json, size_t len, struct error *err)
{
	_cleanup_(image_config_freep) struct image_config *c = xnew(struct image_config);
	_cleanup_(json_decrefp) json_t *root = parse_object("config", json, len, err);
	const json_t *run;

	if (!root || parse_diff_ids(json_object_get(json_object_get(root, "rootfs"), "diff_ids"), c,
				    err) < 0)
		return NULL;
	run = json_object_get(root, "config");
	if (run && !json_is_null(run) && !json_is_object(run)) {
		error_set(err, ERR_DATA_LOSS, "\"config\" of the image is not an object");
		return NULL;
	}
	if (string_list("Entrypoint", json_object_get(run, "Entrypoint"), &c->entrypoint, err) <
		    0 ||
	    string_list("Cmd", json_object_get(run, "Cmd"), &c->cmd, err) < 0 ||
	    string_list("Env", json_object_get(run, "Env"), &c->env, err) < 0 ||
	    key_list("Volumes", json_object_get(run, "Volumes"), &c->volumes, err) < 0 ||
	    key_list("ExposedPorts", json_object_get(run, "ExposedPorts"), &c->exposed_ports, err) <
		    0 ||
	    string_value("User", json_object_get(run, "User"), &c->user, err) < 0 ||
	    string_value("WorkingDir", json_object_get(run, "WorkingDir"), &c->dir, err) < 0 ||
	    string_value("StopSignal", json_object_get(run, "StopSignal"), &c->stop_signal, err) <
		    0 ||
	    parse_health(json_object_get(run, "Healthcheck"), &c->health, err) < 0)
		return NULL;
	return TAKE_PTR(c);
}

static void strs_free(char **v)
{
	for (size_t i = 0; v && v[i]; i++)
		free(v[i]);
	free(v);
}

void image_config_free(struct image_config *c)
{
	if (!c)
		return;
	free(c->diff_ids);
	strs_free(c->entrypoint);
	strs_free(c->cmd);
	strs_free(c->env);
	strs_free(c->volumes);
	strs_free(c->exposed_ports);
	free(c->user);
	free(c->dir);
	free(c->stop_signal);
	pb_free(c->health);
	free(c);
}

/* ---------------------------------------------------------------- docker-archive */

static char **names_of(const json_t *tags)
{
	struct strv v = {0};

	for (size_t i = 0; i < json_array_size(tags) && i < MAX_STRINGS; i++) {
		_cleanup_free_ char *name =
			normalised_name(json_string_value(json_array_get(tags, i)));

		if (name && !strv_has(&v, name))
			strv_add(&v, name);
	}
	return v.v ? v.v : xcalloc(1, sizeof(char *));
}

struct repo_tags *repo_tags_parse(const char *json, size_t len, struct error *err)
{
	_cleanup_(repo_tags_freep) struct repo_tags *a = xnew(struct repo_tags);
	_cleanup_(json_decrefp) json_t *root = NULL;
	size_t n;

	if (len > MANIFEST_MAX_BYTES) {
		error_set(err, ERR_EXHAUSTED,
			  "manifest.json has %zu bytes, accepted are at most %u", len,
			  MANIFEST_MAX_BYTES);
		return NULL;
	}
	root = json_loadb(json, len, 0, NULL);
	n = json_array_size(root);
	if (!json_is_array(root) || n == 0 || n > MANIFEST_MAX_ENTRIES) {
		error_set(err, ERR_DATA_LOSS, "manifest.json does not list 1 to %u images",
			  MANIFEST_MAX_ENTRIES);
		return NULL;
	}
	a->names = xcalloc(n, sizeof(*a->names));
	a->configs = xcalloc(n, sizeof(*a->configs));
	for (; a->n < n; a->n++) {
		const json_t *image = json_array_get(root, a->n);
		const char *config = json_string_value(json_object_get(image, "Config"));

		a->names[a->n] = names_of(json_object_get(image, "RepoTags"));
		a->configs[a->n] = xstrdup(config ? config : "");
	}
	return TAKE_PTR(a);
}

void repo_tags_free(struct repo_tags *a)
{
	if (!a)
		return;
	for (size_t i = 0; i < a->n; i++) {
		strs_free(a->names[i]);
		free(a->configs[i]);
	}
	free(a->names);
	free(a->configs);
	free(a);
}
