/* From documents and blobs to an image of the store: read configs, unpack layers, commit. */
#include "agent/image/unpack.h"
#include "agent/image/work.h"

#include "common/error.h"
#include "common/file.h"
#include "common/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* Unpacking holds a thread of the uv pool for long: some threads stay for others. */
#define MAX_EXTRACTING 2

static void extract_next(struct work *w);

/* ---------------------------------------------------------------- configs */

static int read_document(const struct work *w, const char *digest, char **ret, size_t *ret_len,
			 struct error *err)
{
	_cleanup_free_ char *path = work_find_blob(w, digest);
	_cleanup_free_ char *bytes = NULL;
	char found[DIGEST_MAX];

	if (!path)
		return error_set(err, ERR_NOT_FOUND, "config %s is missing", digest);
	if (file_read(path, MANIFEST_MAX_BYTES, &bytes, ret_len, err) < 0)
		return -1;
	digest_of(bytes, *ret_len, found);
	if (!str_eq(found, digest))
		return error_set(err, ERR_DATA_LOSS, "config %s is corrupt: its digest is %s",
				 digest, found);
	*ret = TAKE_PTR(bytes);
	return 0;
}

static int read_config(struct work *w, struct work_image *img, struct error *err)
{
	const char *digest = img->manifest->config.digest;
	_cleanup_free_ char *path = NULL;
	char found[DIGEST_MAX];

	if (img->config_json) { /* the source had it in memory: to the other blobs with it */
		path = work_blob_path(w, digest);
		digest_of(img->config_json, img->config_len, found);
		if (!str_eq(found, digest))
			return error_set(err, ERR_DATA_LOSS,
					 "config %s is corrupt: its digest is %s", digest, found);
		if (file_write(path, img->config_json, img->config_len, 0600, err) < 0)
			return -1;
	} else if (read_document(w, digest, &img->config_json, &img->config_len, err) < 0) {
		return -1;
	}
	img->config = image_config_parse(img->config_json, img->config_len, err);
	if (!img->config)
		return error_wrap(err, "config %s", digest);
	if (img->config->n_diff_ids != img->manifest->n_layers)
		return error_set(err, ERR_DATA_LOSS, "config %s names %zu layers, the manifest %zu",
				 digest, img->config->n_diff_ids, img->manifest->n_layers);
	return 0;
}

static void read_configs(struct work *w)
{
	for (size_t i = 0; i < w->n_images; i++) {
		if (!w->images[i].present && read_config(w, &w->images[i], &w->err) < 0)
			return;
	}
}

/* ---------------------------------------------------------------- one layer */

static bool exists(const char *path)
{
	return access(path, F_OK) == 0;
}

static int check_size(const char *path, int64_t expected, struct error *err)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return error_set_errno(err, errno, "look at %s", path);
	if (st.st_size != expected)
		return error_set(err, ERR_DATA_LOSS,
				 "content is corrupt: it has %lld bytes, the manifest says %lld",
				 (long long)st.st_size, (long long)expected);
	return 0;
}

static int unpack_unit(struct work *w, const struct unit *u, struct error *err)
{
	_cleanup_free_ char *stored_layer = store_layer_path(w->store, u->diff_id);
	_cleanup_free_ char *stored_blob = store_blob_path(w->store, u->blob.digest);
	_cleanup_free_ char *root = xasprintf("%s/layers/%s", w->tmp, digest_hex(u->diff_id));
	_cleanup_free_ char *blob = NULL;
	struct unpack_options options = {
		.blob_digest = u->blob.digest,
		.diff_id = u->diff_id,
		.cancel = &w->cancel,
	};

	if (exists(stored_layer) && exists(stored_blob))
		return 0;
	blob = work_find_blob(w, u->blob.digest);
	if (!blob)
		return error_set(err, ERR_NOT_FOUND, "content is missing");
	if (check_size(blob, u->blob.size_bytes, err) < 0)
		return -1;
	options.blob_path = blob;
	if (!exists(stored_layer) && !exists(root)) {
		options.root = root;
		if (mkdir(root, 0755) < 0)
			return error_set_errno(err, errno, "make %s", root);
		if (chmod(root, 0755) < 0)
			return error_set_errno(err, errno, "set mode of %s", root);
	}
	return unpack_layer(&options, err);
}

static void unpack_next_unit(struct work *w)
{
	const struct unit *u = &w->units[w->next_unit];

	if (unpack_unit(w, u, &w->err) < 0)
		error_wrap(&w->err, "layer %zu/%zu %s", w->next_unit + 1, w->n_units,
			   u->blob.digest);
}

/* ---------------------------------------------------------------- commit */

static int move_into(const char *from, const char *to, struct error *err)
{
	if (!exists(from))
		return 0;
	if (rename(from, to) == 0 || errno == EEXIST || errno == ENOTEMPTY)
		return 0; /* somebody else has brought the same: ours goes with the rest of tmp */
	return error_set_errno(err, errno, "move %s to %s", from, to);
}

static int move_blob(struct work *w, const char *digest, struct error *err)
{
	_cleanup_free_ char *from = work_blob_path(w, digest),
			    *to = store_blob_path(w->store, digest);

	/* Others may have been verified meanwhile; what is there is right. */
	if (exists(to))
		return 0;
	if (!exists(from))
		return error_set(err, ERR_NOT_FOUND, "blob %s is missing", digest);
	return move_into(from, to, err);
}

static int put_document(struct work *w, const char *digest, const char *json, size_t len,
			struct error *err)
{
	_cleanup_free_ char *path = work_blob_path(w, digest);

	if (unlink(path) < 0 && errno != ENOENT)
		return error_set_errno(err, errno, "remove %s", path);
	return file_write(path, json, len, 0600, err);
}

static int move_image(struct work *w, struct work_image *img, struct error *err)
{
	const struct manifest *m = img->manifest;

	if (img->index_digest[0] && move_blob(w, img->index_digest, err) < 0)
		return -1;
	if (img->present)
		return 0;
	for (size_t i = 0; i < m->n_layers; i++) {
		_cleanup_free_ char *from =
			xasprintf("%s/layers/%s", w->tmp, digest_hex(img->config->diff_ids[i]));
		_cleanup_free_ char *to = store_layer_path(w->store, img->config->diff_ids[i]);

		if (move_blob(w, m->layers[i].digest, err) < 0 || move_into(from, to, err) < 0)
			return -1;
	}
	if (move_blob(w, m->config.digest, err) < 0)
		return -1;
	return move_blob(w, img->digest, err);
}

/* All bytes are on the disk before a name points to them. */
static void commit_files(struct work *w)
{
	_cleanup_close_ int fd = open(w->store->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	for (size_t i = 0; i < w->n_images; i++) {
		struct work_image *img = &w->images[i];

		if (img->index_json && put_document(w, img->index_digest, img->index_json,
						    img->index_len, &w->err) < 0)
			return;
		if (!img->present && put_document(w, img->digest, img->manifest_json,
						  img->manifest_len, &w->err) < 0)
			return;
	}
	if (fd < 0 || (w->n_units && syncfs(fd) < 0)) {
		error_set_errno(&w->err, errno, "sync %s", w->store->dir);
		return;
	}
	for (size_t i = 0; i < w->n_images; i++) {
		if (move_image(w, &w->images[i], &w->err) < 0)
			return;
	}
}

/* A pull by digest gives its name only where it takes it from nothing that a user has loaded. */
static bool may_name(struct work *w, struct entry *e, const char *name)
{
	struct entry *holder = store_find_name(w->store, name);

	return w->from_name || !holder || holder == e || w->loaded || !holder->loaded;
}

static void add_entry(struct work *w, struct work_image *img)
{
	struct strv aliases = {0};
	struct entry *e = img->present;

	if (!e) { /* another work may have been faster */
		e = store_find_digest(w->store, img->digest);
		if (!e) {
			e = entry_new(w->store, img->digest, img->manifest_len, img->manifest,
				      img->config, &aliases);
			e->loaded = w->loaded;
			store_add(w->store, e);
		}
		img->present = e;
		image_ref(&e->image);
	}
	if (e->doomed) /* removed meanwhile; who waits gets it all the same */
		return;
	if (img->index_digest[0])
		store_add_alias(e, img->index_digest);
	if (w->ref && strchr(w->ref, '@') == NULL && may_name(w, e, w->ref))
		store_set_name(w->store, e, w->ref);
	for (size_t i = 0; i < img->names.n; i++)
		store_set_name(w->store, e, img->names.v[i]);
}

static void on_table_saved(void *data, const struct error *err)
{
	struct work *w = data;
	struct error failed;

	if (!err) {
		work_end(w, NULL);
		return;
	}
	failed = *err;
	work_end(w, &failed);
}

static void extract_end(struct work *w)
{
	struct work *next;

	if (!w->extracting)
		return;
	w->extracting = false;
	w->store->extracting--;
	next = TAILQ_FIRST(&w->store->extract_queue);
	if (!next)
		return;
	TAILQ_REMOVE(&w->store->extract_queue, next, queue_link);
	w->store->extracting++;
	next->extracting = true;
	extract_next(next);
}

static void fail(struct work *w)
{
	struct error err = w->err;

	if (w->ref)
		error_wrap(&err, "image %s", w->ref);
	work_end(w, &err);
}

static void on_committed(struct work *w)
{
	if (error_is_set(&w->err)) {
		fail(w);
		return;
	}
	for (size_t i = 0; i < w->n_images; i++)
		add_entry(w, &w->images[i]);
	store_save(w->store, on_table_saved, w);
	store_changed(w->store);
}

/* ---------------------------------------------------------------- steps */

void work_extract_fini(struct work *w)
{
	free(w->units);
	w->units = NULL;
	extract_end(w);
}

static void on_unit_unpacked(struct work *w)
{
	if (error_is_set(&w->err)) {
		fail(w);
		return;
	}
	w->next_unit++;
	extract_next(w);
}

static void extract_next(struct work *w)
{
	if (w->next_unit == w->n_units) {
		work_on_pool(w, commit_files, on_committed);
		return;
	}
	work_progress(w, "extracting layer %zu/%zu %.12s", w->next_unit + 1, w->n_units,
		      digest_hex(w->units[w->next_unit].blob.digest));
	work_on_pool(w, unpack_next_unit, on_unit_unpacked);
}

static bool has_unit(const struct work *w, const char *blob, const char *diff_id)
{
	for (size_t i = 0; i < w->n_units; i++) {
		if (str_eq(w->units[i].blob.digest, blob) && str_eq(w->units[i].diff_id, diff_id))
			return true;
	}
	return false;
}

static void add_units(struct work *w, const struct work_image *img)
{
	const struct manifest *m = img->manifest;

	w->units = xreallocarray(w->units, w->n_units + m->n_layers + 1, sizeof(*w->units));
	for (size_t i = 0; i < m->n_layers; i++) {
		const char *diff_id = img->config->diff_ids[i];

		if (has_unit(w, m->layers[i].digest, diff_id))
			continue;
		w->units[w->n_units].blob = m->layers[i];
		strcpy(w->units[w->n_units++].diff_id, diff_id);
	}
}

static void on_configs_read(struct work *w)
{
	if (error_is_set(&w->err)) {
		fail(w);
		return;
	}
	for (size_t i = 0; i < w->n_images; i++) {
		struct work_image *img = &w->images[i];

		if (img->present)
			continue;
		for (size_t k = 0; k < img->config->n_diff_ids; k++)
			store_pin(w->store, CONTENT_LAYER, img->config->diff_ids[k]);
		img->pinned_layers = true;
		add_units(w, img);
	}
	if (w->store->extracting >= MAX_EXTRACTING) {
		TAILQ_INSERT_TAIL(&w->store->extract_queue, w, queue_link);
		return;
	}
	w->store->extracting++;
	w->extracting = true;
	extract_next(w);
}

void work_extract(struct work *w)
{
	work_on_pool(w, read_configs, on_configs_read);
}
