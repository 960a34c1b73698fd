/* images.json: the table of contents of the store. */
#include "agent/image/store.h"

#include "common/error.h"
#include "common/file.h"
#include "common/log.h"
#include "common/mem.h"

#include <jansson.h>
#include <string.h>
#include <unistd.h>

#define TABLE_MAX_BYTES (64u << 20)
#define TABLE_VERSION 1

static char *table_path(const struct image_store *s)
{
	return xasprintf("%s/images.json", s->dir);
}

/* ---------------------------------------------------------------- write */

static json_t *strings(const struct strv *v)
{
	json_t *list = json_array();

	for (size_t i = 0; i < v->n; i++)
		json_array_append_new(list, json_string(v->v[i]));
	return list;
}

static char *table_text(const struct image_store *s)
{
	json_t *root = json_object(), *list = json_array();
	const struct entry *e;
	char *text;

	TAILQ_FOREACH (e, &s->entries, link) {
		json_t *o = json_object();

		json_object_set_new(o, "digest", json_string(e->image.digest));
		json_object_set_new(o, "names", strings(&e->names));
		if (e->aliases.n)
			json_object_set_new(o, "indexes", strings(&e->aliases));
		json_object_set_new(o, "loaded", json_boolean(e->loaded));
		json_object_set_new(o, "created_at", json_integer(e->created_at));
		if (e->doomed)
			json_object_set_new(o, "removed", json_true());
		json_array_append_new(list, o);
	}
	json_object_set_new(root, "version", json_integer(TABLE_VERSION));
	json_object_set_new(root, "images", list);
	text = json_dumps(root, JSON_INDENT(1));
	json_decref(root);
	if (!text)
		abort();
	return text;
}

struct save_run {
	struct image_store *store;
	char *path, *text;
	struct error err;
};

static void write_table(void *data)
{
	struct save_run *run = data;

	file_write(run->path, run->text, strlen(run->text), 0600, &run->err);
}

static void save_start(struct image_store *s);

static void on_saved(void *data)
{
	struct save_run *run = data;
	struct image_store *s = run->store;
	struct save_waiters told = TAILQ_HEAD_INITIALIZER(told);
	struct save_waiter *w;

	if (error_is_set(&run->err))
		log_error("image_table", kv_err(&run->err));
	TAILQ_CONCAT(&told, &s->save_now, link);
	s->save_busy = false;
	save_start(s);
	while ((w = TAILQ_FIRST(&told))) {
		TAILQ_REMOVE(&told, w, link);
		w->cb(w->data, error_is_set(&run->err) ? &run->err : NULL);
		free(w);
	}
	free(run->path);
	free(run->text);
	free(run);
	closer_drop(&s->closer);
}

static void save_start(struct image_store *s)
{
	struct save_run *run;

	if (s->save_busy || !s->save_wanted)
		return;
	run = xnew(struct save_run);
	run->store = s;
	run->path = table_path(s);
	run->text = table_text(s);
	s->save_wanted = false;
	s->save_busy = true;
	TAILQ_CONCAT(&s->save_now, &s->save_next, link);
	closer_hold(&s->closer);
	loop_work(s->loop, write_table, on_saved, run);
}

void store_save(struct image_store *s, void (*cb)(void *data, const struct error *err), void *data)
{
	if (cb) {
		struct save_waiter *w = xnew(struct save_waiter);

		w->cb = cb;
		w->data = data;
		TAILQ_INSERT_TAIL(&s->save_next, w, link);
	}
	s->save_wanted = true;
	save_start(s);
}

/* ---------------------------------------------------------------- read */

static void get_strings(const json_t *list, struct strv *ret)
{
	for (size_t i = 0; i < json_array_size(list); i++) {
		const char *s = json_string_value(json_array_get(list, i));

		if (s)
			strv_add(ret, s);
	}
}

static int read_blob(struct image_store *s, const char *digest, char **ret, size_t *ret_len,
		     struct error *err)
{
	_cleanup_free_ char *path = store_blob_path(s, digest);
	_cleanup_free_ char *bytes = NULL;
	char found[DIGEST_MAX];

	if (file_read(path, MANIFEST_MAX_BYTES, &bytes, ret_len, err) < 0)
		return -1;
	digest_of(bytes, *ret_len, found);
	if (!str_eq(found, digest))
		return error_set(err, ERR_DATA_LOSS, "%s is corrupt: its digest is %s", path,
				 found);
	*ret = TAKE_PTR(bytes);
	return 0;
}

static int check_files(struct image_store *s, const struct manifest *m,
		       const struct image_config *c, const struct strv *aliases, struct error *err)
{
	for (size_t i = 0; i < m->n_layers; i++) {
		_cleanup_free_ char *blob = store_blob_path(s, m->layers[i].digest);
		_cleanup_free_ char *layer = store_layer_path(s, c->diff_ids[i]);

		if (access(blob, F_OK) < 0 || access(layer, F_OK) < 0)
			return error_set(err, ERR_NOT_FOUND, "layer %s is missing",
					 m->layers[i].digest);
	}
	for (size_t i = 0; i < aliases->n; i++) {
		_cleanup_free_ char *blob =
			digest_valid(aliases->v[i]) ? store_blob_path(s, aliases->v[i]) : NULL;

		if (!blob || access(blob, F_OK) < 0)
			return error_set(err, ERR_NOT_FOUND, "index %.100s is missing",
					 aliases->v[i]);
	}
	return 0;
}

static int load_entry(struct image_store *s, const json_t *o, const char *digest, struct error *err)
{
	_cleanup_(manifest_freep) struct manifest *m = NULL;
	_cleanup_(image_config_freep) struct image_config *c = NULL;
	_cleanup_free_ char *manifest = NULL, *config = NULL;
	_cleanup_strv_ struct strv aliases = {0};
	size_t manifest_len, config_len;
	struct entry *e;

	if (!digest_valid(digest) || store_find_digest(s, digest))
		return error_set(err, ERR_DATA_LOSS, "not a digest, or twice in the table");
	if (read_blob(s, digest, &manifest, &manifest_len, err) < 0)
		return -1;
	m = manifest_parse(manifest, manifest_len, err);
	if (!m || read_blob(s, m->config.digest, &config, &config_len, err) < 0)
		return -1;
	c = image_config_parse(config, config_len, err);
	if (!c)
		return -1;
	if (c->n_diff_ids != m->n_layers)
		return error_set(err, ERR_DATA_LOSS,
				 "config and manifest have a different number of layers");
	get_strings(json_object_get(o, "indexes"), &aliases);
	if (check_files(s, m, c, &aliases, err) < 0)
		return -1;
	e = entry_new(s, digest, manifest_len, m, c, &aliases);
	get_strings(json_object_get(o, "names"), &e->names);
	e->loaded = json_is_true(json_object_get(o, "loaded"));
	e->doomed = json_is_true(json_object_get(o, "removed"));
	e->created_at = json_integer_value(json_object_get(o, "created_at"));
	TAILQ_INSERT_TAIL(&s->entries, e, link);
	return 0;
}

int store_load(struct image_store *s, struct error *err)
{
	_cleanup_free_ char *path = table_path(s), *text = NULL;
	struct error missing = ERROR_INIT;
	const json_t *list;
	json_error_t jerr;
	json_t *root;
	size_t len;

	if (file_read(path, TABLE_MAX_BYTES, &text, &len, &missing) < 0) {
		if (missing.code == ERR_NOT_FOUND)
			return 0;
		return error_set(err, missing.code, "%s", missing.msg);
	}
	root = json_loadb(text, len, 0, &jerr);
	list = json_object_get(root, "images");
	/* Without the table everything would be collected: rather stop and let somebody look. */
	if (!root || !json_is_array(list) ||
	    json_integer_value(json_object_get(root, "version")) != TABLE_VERSION) {
		json_decref(root);
		return error_set(err, ERR_DATA_LOSS,
				 "%s is not a table of images of version %d (%s); remove it to "
				 "start without "
				 "images",
				 path, TABLE_VERSION, root ? "other version" : jerr.text);
	}
	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *o = json_array_get(list, i);
		const char *digest = json_string_value(json_object_get(o, "digest"));
		struct error bad = ERROR_INIT;

		if (load_entry(s, o, digest, &bad) < 0)
			log_warn("image_dropped", kv_str("digest", digest ? digest : ""),
				 kv_err(&bad));
	}
	json_decref(root);
	return 0;
}
