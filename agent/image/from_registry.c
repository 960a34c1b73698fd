/* An image out of a registry: its manifest first, so that only what is missing here is copied. */
#include "agent/image/space.h"
#include "agent/image/work.h"

#include "common/error.h"
#include "common/imageref.h"
#include "common/mem.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define DOCUMENT_TIMEOUT_MS 30000
#define COPY_TIMEOUT_MS (30 * 60 * 1000)

static struct registry_access access_of(const struct work *w)
{
	return (struct registry_access){
		.auth_json = w->auth,
		.auth_file = w->store->auth_file,
		.certs_dir = w->store->certs_dir,
		.tmp_dir = w->tmp,
	};
}

/* "host/path@digest", or with digest "" the name as it is wanted. */
static void name_with(const struct work *w, const char *digest, char buf[static IMAGEREF_MAX])
{
	struct imageref ref;
	int r = imageref_parse(w->ref, &ref, NULL);

	assert(r == 0); /* checked with the want */
	(void)r;
	if (digest[0]) {
		ref.tag[0] = '\0';
		snprintf(ref.digest, sizeof(ref.digest), "%s", digest);
	}
	imageref_format(&ref, buf);
}

static void done(struct work *w, const struct error *err)
{
	struct error told;

	if (!err) {
		work_source_done(w, NULL);
		return;
	}
	told = *err;
	error_wrap(&told, "registry");
	work_source_done(w, &told);
}

/* ---------------------------------------------------------------- layers */

/* skopeo does not fetch what is there already: give it our blobs as further links to the same
 * files. */
static void link_present(struct work *w)
{
	const struct manifest *m = w->images[0].manifest;
	int64_t missing_bytes = 0;

	for (size_t i = 0; i < m->n_layers; i++) {
		_cleanup_free_ char *stored = store_blob_path(w->store, m->layers[i].digest);
		_cleanup_free_ char *to = work_blob_path(w, m->layers[i].digest);

		if (link(stored, to) < 0 && errno != EEXIST)
			missing_bytes += m->layers[i].size_bytes;
	}
	space_check_path(w->tmp, missing_bytes, &w->err);
}

static void on_config(void *data, const char *bytes, size_t len, const struct error *err)
{
	struct work *w = data;

	w->request = NULL;
	if (!err) {
		w->images[0].config_json = xmemdup(bytes, len + 1);
		w->images[0].config_len = len;
	}
	done(w, err);
}

static void on_copied(void *data, const struct error *err)
{
	struct work *w = data;
	_cleanup_free_ char *config = NULL;
	struct registry_access how = access_of(w);
	char name[IMAGEREF_MAX];

	w->request = NULL;
	uv_timer_stop(&w->disk_timer);
	if (!err)
		config = work_find_blob(w, w->images[0].manifest->config.digest);
	if (err || config) {
		done(w, err);
		return;
	}
	/* The layout is OCI: skopeo has translated the config of an image of Docker's kind. */
	name_with(w, w->images[0].digest, name);
	w->request = registry_config(w->store->loop, &how, name, DOCUMENT_TIMEOUT_MS, on_config, w);
}

static void on_blob(void *data, const char *digest)
{
	work_progress(data, "pulling layer %.12s", digest_hex(digest));
}

static void on_linked(struct work *w)
{
	struct error err = w->err;
	struct registry_access how = access_of(w);
	_cleanup_free_ char *layout = xasprintf("%s/layout", w->tmp);
	_cleanup_free_ char *blobs = xasprintf("%s/blobs", w->tmp);
	char name[IMAGEREF_MAX];

	if (error_is_set(&err)) {
		done(w, &err);
		return;
	}
	name_with(w, w->images[0].digest, name);
	work_watch_disk(w);
	w->request = registry_copy(w->store->loop, &how,
				   &(struct registry_copy_options){
					   .ref = name,
					   .layout_dir = layout,
					   .blob_dir = blobs,
					   .timeout_ms = COPY_TIMEOUT_MS,
					   .on_blob = on_blob,
				   },
				   on_copied, w);
}

/* ---------------------------------------------------------------- manifest */

static int check_digest(const char *bytes, size_t len, const char *wanted, struct error *err)
{
	char found[DIGEST_MAX];

	digest_of(bytes, len, found);
	if (str_eq(found, wanted))
		return 0;
	return error_set(err, ERR_DATA_LOSS, "manifest %s is corrupt: its digest is %s", wanted,
			 found);
}

static void got_manifest(struct work *w, struct work_image *img, const char *bytes, size_t len)
{
	struct error err = ERROR_INIT;

	if (work_set_manifest(w, img, xmemdup(bytes, len + 1), len, &err) < 0)
		done(w, &err);
	else if (img->present)
		done(w, NULL);
	else
		work_on_pool(w, link_present, on_linked);
}

static void on_manifest(void *data, const char *bytes, size_t len, const struct error *failed)
{
	struct work *w = data;
	struct work_image *img = &w->images[0];
	struct error err = ERROR_INIT;

	w->request = NULL;
	if (failed)
		done(w, failed);
	else if (check_digest(bytes, len, img->digest, &err) < 0)
		done(w, &err);
	else
		got_manifest(w, img, bytes, len);
}

/* The name is one for several platforms. */
static void got_index(struct work *w, const char *digest, const char *bytes, size_t len)
{
	_cleanup_(image_index_freep) struct image_index *index = NULL;
	struct registry_access how = access_of(w);
	const struct index_entry *chosen;
	struct error err = ERROR_INIT;
	struct platform host;
	struct work_image *img;
	char name[IMAGEREF_MAX];

	platform_host(&host);
	index = image_index_parse(bytes, len, &err);
	chosen = index ? image_index_choose(index, &host) : NULL;
	if (index && !chosen)
		error_set(&err, ERR_NOT_FOUND, "index %s has no image for %s/%s", digest, host.os,
			  host.arch);
	if (!chosen) {
		done(w, &err);
		return;
	}
	img = work_add_image(w, chosen->blob.digest);
	strcpy(img->index_digest, digest);
	img->index_json = xmemdup(bytes, len + 1);
	img->index_len = len;
	name_with(w, img->digest, name);
	w->request =
		registry_manifest(w->store->loop, &how, name, DOCUMENT_TIMEOUT_MS, on_manifest, w);
}

static void on_top(void *data, const char *bytes, size_t len, const struct error *failed)
{
	struct work *w = data;
	struct error err = ERROR_INIT;
	enum manifest_kind kind;
	char digest[DIGEST_MAX];

	w->request = NULL;
	if (failed) {
		done(w, failed);
		return;
	}
	digest_of(bytes, len, digest);
	if ((w->digest[0] && check_digest(bytes, len, w->digest, &err) < 0) ||
	    manifest_kind(bytes, len, &kind, &err) < 0)
		done(w, &err);
	else if (kind == MANIFEST_INDEX)
		got_index(w, digest, bytes, len);
	else
		got_manifest(w, work_add_image(w, digest), bytes, len);
}

void source_registry(struct work *w)
{
	struct registry_access how = access_of(w);
	char name[IMAGEREF_MAX];

	name_with(w, w->digest, name);
	work_progress(w, "asking the registry for %s", name);
	w->request = registry_manifest(w->store->loop, &how, name, DOCUMENT_TIMEOUT_MS, on_top, w);
}

void source_registry_cancel(struct work *w)
{
	if (w->request)
		registry_cancel(w->request, NULL);
}
