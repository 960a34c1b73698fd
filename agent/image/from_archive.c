/* Images out of an archive that a user has made: docker save, or an OCI layout in a tar. */
#include "agent/image/imagefile.h"
#include "agent/image/work.h"

#include "common/error.h"
#include "common/file.h"
#include "common/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define COPY_TIMEOUT_MS (30 * 60 * 1000)
#define MAX_IMAGES 64

static void done(struct work *w, const struct error *err)
{
	struct error told;

	if (!err) {
		work_source_done(w, NULL);
		return;
	}
	told = *err;
	error_wrap(&told, "archive");
	work_source_done(w, &told);
}

/* ---------------------------------------------------------------- documents; on the pool */

static int read_blob(struct work *w, const char *digest, char **ret, size_t *ret_len,
		     struct error *err)
{
	_cleanup_free_ char *path = work_blob_path(w, digest), *bytes = NULL;
	char found[DIGEST_MAX];

	if (file_read(path, MANIFEST_MAX_BYTES, &bytes, ret_len, err) < 0)
		return error_set(err, ERR_DATA_LOSS, "manifest %s is missing", digest);
	digest_of(bytes, *ret_len, found);
	if (!str_eq(found, digest))
		return error_set(err, ERR_DATA_LOSS, "manifest %s is corrupt: its digest is %s",
				 digest, found);
	*ret = TAKE_PTR(bytes);
	return 0;
}

static void add_name(struct work_image *img, const char *name)
{
	if (name && !strv_has(&img->names, name))
		strv_add(&img->names, name);
}

/* The manifest goes to the image as bytes; the loop parses it. */
static int add_manifest(struct work *w, const char *digest, const char *index_digest,
			const char *name, struct error *err)
{
	struct work_image *img;

	for (size_t i = 0; i < w->n_images; i++) {
		if (!str_eq(w->images[i].digest, digest))
			continue;
		add_name(&w->images[i], name);
		return 0;
	}
	if (w->n_images == MAX_IMAGES)
		return error_set(err, ERR_EXHAUSTED, "more than %d images", MAX_IMAGES);
	img = work_add_image(w, digest);
	if (index_digest)
		strcpy(img->index_digest, index_digest);
	add_name(img, name);
	return read_blob(w, digest, &img->manifest_json, &img->manifest_len, err);
}

static int add_nested(struct work *w, const struct index_entry *e, const struct platform *host,
		      struct error *err)
{
	_cleanup_(image_index_freep) struct image_index *index = NULL;
	_cleanup_free_ char *json = NULL;
	const struct index_entry *chosen;
	size_t len;

	if (read_blob(w, e->blob.digest, &json, &len, err) < 0)
		return -1;
	index = image_index_parse(json, len, err);
	if (!index)
		return error_wrap(err, "index %s", e->blob.digest);
	chosen = image_index_choose(index, host);
	if (!chosen)
		return 0;
	return add_manifest(w, chosen->blob.digest, e->blob.digest, e->name, err);
}

static int add_entry(struct work *w, const struct index_entry *e, const struct platform *host,
		     struct error *err)
{
	_cleanup_free_ char *json = NULL;
	enum manifest_kind kind;
	size_t len;

	if (e->is_attestation || (e->platform.arch[0] && !str_eq(e->platform.arch, host->arch)) ||
	    (e->platform.os[0] && !str_eq(e->platform.os, host->os)))
		return 0;
	if (read_blob(w, e->blob.digest, &json, &len, err) < 0 ||
	    manifest_kind(json, len, &kind, err) < 0)
		return -1;
	if (kind == MANIFEST_INDEX)
		return add_nested(w, e, host, err);
	return add_manifest(w, e->blob.digest, NULL, e->name, err);
}

static struct image_index *read_index(const char *path, struct error *err)
{
	_cleanup_free_ char *json = NULL;
	size_t len;

	if (file_read(path, MANIFEST_MAX_BYTES, &json, &len, err) < 0)
		return NULL;
	return image_index_parse(json, len, err);
}

static void read_layout(struct work *w)
{
	_cleanup_(image_index_freep) struct image_index *index = NULL;
	_cleanup_free_ char *path = xasprintf("%s/index.json", w->tmp);
	struct platform host;

	platform_host(&host);
	index = read_index(path, &w->err);
	if (!index)
		return;
	for (size_t i = 0; i < index->n; i++) {
		if (add_entry(w, &index->entries[i], &host, &w->err) < 0)
			return;
	}
	if (!w->n_images)
		error_set(&w->err, ERR_NOT_FOUND, "no image for %s/%s in it", host.os, host.arch);
}

static void inspect(struct work *w)
{
	if (imagefile_inspect(w->archive, &w->cancel, &w->kind, &w->tags, &w->err) < 0)
		return;
	if (w->kind == IMAGEFILE_DOCKER) {
		w->archive_fd = open(w->archive, O_RDONLY | O_CLOEXEC);
		if (w->archive_fd < 0)
			error_set_errno(&w->err, errno, "open %s", w->archive);
		return;
	}
	if (imagefile_extract(w->archive, w->tmp, &w->cancel, &w->err) == 0)
		read_layout(w);
}

static int put_blob(struct work *w, const char *bytes, size_t len, struct descriptor *ret, struct error *err)
{
	_cleanup_free_ char *path = NULL;

	digest_of(bytes, len, ret->digest);
	ret->size_bytes = (int64_t)len;
	path = work_blob_path(w, ret->digest);
	return file_write(path, bytes, len, 0600, err);
}

/*
 * The layout is OCI, whose configs have no health check: skopeo drops it. An image that has one keeps the config that stands in
 * the archive, whose other parts mean the same. digest: of the manifest, before and after.
 */
static int keep_health(struct work *w, char digest[static DIGEST_MAX], struct error *err)
{
	_cleanup_(image_config_freep) struct image_config *parsed = NULL;
	_cleanup_free_ char *config = NULL, *json = NULL, *manifest = NULL;
	struct descriptor config_blob, manifest_blob;
	size_t config_len, len;

	if (imagefile_document(w->archive, w->tags->configs[w->next_image], &w->cancel, &config, &config_len, NULL) < 0)
		return 0; /* skopeo has found it: elsewhere, or under another name */
	parsed = image_config_parse(config, config_len, err);
	if (!parsed)
		return -1;
	if (!parsed->health)
		return 0;
	if (read_blob(w, digest, &json, &len, err) < 0 || put_blob(w, config, config_len, &config_blob, err) < 0)
		return -1;
	manifest = manifest_with_config(json, len, &config_blob, err);
	if (!manifest || put_blob(w, manifest, strlen(manifest), &manifest_blob, err) < 0)
		return -1;
	strcpy(digest, manifest_blob.digest);
	return 0;
}

/* What skopeo has made of one image of a docker-archive. */
static void read_copied(struct work *w)
{
	char digest[DIGEST_MAX];

	_cleanup_(image_index_freep) struct image_index *index = NULL;
	_cleanup_free_ char *path = xasprintf("%s/layout-%zu/index.json", w->tmp, w->next_image);
	char **names = w->tags->names[w->next_image];

	index = read_index(path, &w->err);
	if (!index)
		return;
	if (index->n != 1) {
		error_set(&w->err, ERR_DATA_LOSS, "%s has %zu manifests", path, index->n);
		return;
	}
	strcpy(digest, index->entries[0].blob.digest);
	if (keep_health(w, digest, &w->err) < 0 || add_manifest(w, digest, NULL, NULL, &w->err) < 0)
		return;
	for (size_t i = 0; names[i]; i++)
		add_manifest(w, digest, NULL, names[i], &w->err);
}

/* ---------------------------------------------------------------- steps */

static void finish(struct work *w)
{
	struct error err = ERROR_INIT;

	for (size_t i = 0; i < w->n_images; i++) {
		struct work_image *img = &w->images[i];

		if (work_set_manifest(w, img, TAKE_PTR(img->manifest_json), img->manifest_len,
				      &err) < 0) {
			done(w, &err);
			return;
		}
	}
	done(w, NULL);
}

static void copy_next(struct work *w);

static void on_copy_read(struct work *w)
{
	struct error err = w->err;

	if (error_is_set(&err)) {
		done(w, &err);
		return;
	}
	w->next_image++;
	copy_next(w);
}

static void on_copied(void *data, const struct error *err)
{
	struct work *w = data;

	w->request = NULL;
	uv_timer_stop(&w->disk_timer);
	if (err)
		done(w, err);
	else
		work_on_pool(w, read_copied, on_copy_read);
}

static void copy_next(struct work *w)
{
	_cleanup_free_ char *layout = xasprintf("%s/layout-%zu", w->tmp, w->next_image);
	_cleanup_free_ char *blobs = xasprintf("%s/blobs", w->tmp);
	struct registry_access how = {.tmp_dir = w->tmp};

	if (w->next_image == w->tags->n) {
		finish(w);
		return;
	}
	work_progress(w, "reading image %zu/%zu", w->next_image + 1, w->tags->n);
	work_watch_disk(w);
	w->request = registry_copy(w->store->loop, &how,
				   &(struct registry_copy_options){
					   .archive_fd = w->archive_fd,
					   .archive_index = w->next_image,
					   .layout_dir = layout,
					   .blob_dir = blobs,
					   .timeout_ms = COPY_TIMEOUT_MS,
				   },
				   on_copied, w);
}

static void on_inspected(struct work *w)
{
	struct error err = w->err;

	if (error_is_set(&err))
		done(w, &err);
	else if (w->kind == IMAGEFILE_OCI)
		finish(w);
	else
		copy_next(w);
}

void source_archive(struct work *w)
{
	work_progress(w, "reading the archive");
	work_on_pool(w, inspect, on_inspected);
}
