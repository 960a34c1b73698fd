/* The documents of images on their way in. */
#include "agent/image/work.h"

#include "common/error.h"
#include "common/mem.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

char *work_blob_path(const struct work *w, const char *digest)
{
	return xasprintf("%s/blobs/sha256/%s", w->tmp, digest_hex(digest));
}

char *work_find_blob(const struct work *w, const char *digest)
{
	char *path = work_blob_path(w, digest);

	if (access(path, F_OK) == 0)
		return path;
	free(path);
	path = store_blob_path(w->store, digest);
	if (access(path, F_OK) == 0)
		return path;
	free(path);
	return NULL;
}

struct work_image *work_add_image(struct work *w, const char *digest)
{
	struct work_image *img;

	w->images = xreallocarray(w->images, w->n_images + 1, sizeof(*w->images));
	img = &w->images[w->n_images++];
	*img = (struct work_image){0};
	snprintf(img->digest, sizeof(img->digest), "%s", digest);
	return img;
}

static void set_present(struct work *w, struct work_image *img)
{
	img->present = store_find_digest(w->store, img->digest);
	if (img->present)
		image_ref(&img->present->image);
}

static void pin_blobs(struct work *w, struct work_image *img,
		      void (*pin)(struct image_store *, enum content_kind, const char *))
{
	pin(w->store, CONTENT_BLOB, img->digest);
	if (img->index_digest[0])
		pin(w->store, CONTENT_BLOB, img->index_digest);
	pin(w->store, CONTENT_BLOB, img->manifest->config.digest);
	for (size_t i = 0; i < img->manifest->n_layers; i++)
		pin(w->store, CONTENT_BLOB, img->manifest->layers[i].digest);
}

int work_set_manifest(struct work *w, struct work_image *img, char *json, size_t len,
		      struct error *err)
{
	free(img->manifest_json);
	img->manifest_json = json;
	img->manifest_len = len;
	manifest_free(img->manifest);
	img->manifest = manifest_parse(json, len, err);
	if (!img->manifest)
		return error_wrap(err, "manifest %s", img->digest);
	pin_blobs(w, img, store_pin);
	img->pinned = true;
	set_present(w, img);
	return 0;
}

static void image_fini(struct work *w, struct work_image *img)
{
	if (img->pinned)
		pin_blobs(w, img, store_unpin);
	for (size_t i = 0; img->pinned_layers && i < img->config->n_diff_ids; i++)
		store_unpin(w->store, CONTENT_LAYER, img->config->diff_ids[i]);
	if (img->present)
		image_unref(&img->present->image);
	manifest_free(img->manifest);
	image_config_free(img->config);
	free(img->manifest_json);
	free(img->index_json);
	free(img->config_json);
	strv_fini(&img->names);
}

void work_clear_images(struct work *w)
{
	for (size_t i = 0; i < w->n_images; i++)
		image_fini(w, &w->images[i]);
	free(w->images);
	w->images = NULL;
	w->n_images = 0;
}
