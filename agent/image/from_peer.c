/* An image out of the stores of other nodes: exactly the same blobs, each checked against its
 * digest. */
#include "agent/image/space.h"
#include "agent/image/work.h"

#include "common/error.h"
#include "common/file.h"
#include "common/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* One blob on its way, from whichever peer has it. */
struct fetch {
	struct work *w;
	char digest[DIGEST_MAX];
	int64_t max_bytes;
	bool is_document; /* its bytes are wanted in memory */
	char *path;
	int fd;
	size_t tries;
	char *bytes;
	size_t len;
	struct error err; /* what the peers said so far */
	struct error bad; /* of the check */
	void (*then)(struct work *w, struct fetch *f);
};

static void ask_peer(struct fetch *f);

static void done(struct work *w, const struct error *err)
{
	work_source_done(w, err);
}

/* ---------------------------------------------------------------- one blob */

static void fetch_free(struct fetch *f)
{
	f->w->fetch = NULL;
	mem_closep(&f->fd);
	free(f->path);
	free(f->bytes);
	free(f);
}

static void fetch_failed(struct fetch *f)
{
	struct work *w = f->w;
	struct error err = f->err;

	if (work_cancelled(w))
		error_set(&err, ERR_CANCELLED, "cancelled");
	fetch_free(f);
	done(w, &err);
}

static void peer_failed(struct fetch *f, const struct error *err)
{
	struct work *w = f->w;
	struct error told = *err;

	error_wrap(&told, "peer %s", w->peers.v[w->peer]);
	work_join_error(&f->err, &told);
	mem_closep(&f->fd);
	w->peer = (w->peer + 1) % w->peers.n;
	ask_peer(f);
}

static void check_blob(struct work *w)
{
	struct fetch *f = w->fetch;
	char found[DIGEST_MAX];

	if (f->is_document) {
		if (file_read(f->path, MANIFEST_MAX_BYTES, &f->bytes, &f->len, &f->bad) < 0)
			return;
		digest_of(f->bytes, f->len, found);
	} else if (lseek(f->fd, 0, SEEK_SET) < 0) {
		error_set_errno(&f->bad, errno, "read %s", f->path);
		return;
	} else if (digest_of_fd(f->fd, found, NULL, &f->bad) < 0) {
		return;
	}
	if (!str_eq(found, f->digest))
		error_set(&f->bad, ERR_DATA_LOSS, "%s is corrupt: its digest is %s", f->digest,
			  found);
}

static void on_checked(struct work *w)
{
	struct fetch *f = w->fetch;

	if (work_cancelled(w)) {
		fetch_failed(f);
		return;
	}
	if (error_is_set(&f->bad)) {
		peer_failed(f, &f->bad);
		return;
	}
	f->then(w, f); /* frees it */
}

static void on_fetched(void *data, const struct error *err)
{
	struct fetch *f = data;

	f->bad = ERROR_INIT;
	if (work_cancelled(f->w))
		fetch_failed(f);
	else if (err)
		peer_failed(f, err);
	else
		work_on_pool(f->w, check_blob, on_checked);
}

static void ask_peer(struct fetch *f)
{
	struct work *w = f->w;
	const struct image_fetcher *fetcher = &w->store->fetcher;

	if (f->tries++ == w->peers.n || work_cancelled(w)) {
		fetch_failed(f);
		return;
	}
	free(f->bytes);
	f->bytes = NULL;
	f->fd = open(f->path, O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (f->fd < 0) {
		error_set_errno(&f->err, errno, "create %s", f->path);
		fetch_failed(f);
		return;
	}
	fetcher->fetch(fetcher->data, w->peers.v[w->peer], f->digest, f->fd, f->max_bytes,
		       on_fetched, f);
}

static void fetch_start(struct work *w, const char *digest, int64_t max_bytes, bool is_document,
			void (*then)(struct work *w, struct fetch *f))
{
	struct fetch *f = xnew(struct fetch);

	f->w = w;
	snprintf(f->digest, sizeof(f->digest), "%s", digest);
	f->max_bytes = max_bytes;
	f->is_document = is_document;
	f->path = work_blob_path(w, digest);
	f->fd = -1;
	f->then = then;
	w->fetch = f;
	ask_peer(f);
}

/* ---------------------------------------------------------------- config and layers */

static void fetch_next_blob(struct work *w);

static void on_blob(struct work *w, struct fetch *f)
{
	fetch_free(f);
	w->next_blob++;
	fetch_next_blob(w);
}

static int64_t blob_size(const struct manifest *m, const char *digest)
{
	for (size_t i = 0; i < m->n_layers; i++) {
		if (str_eq(m->layers[i].digest, digest))
			return m->layers[i].size_bytes;
	}
	return m->config.size_bytes;
}

static void fetch_next_blob(struct work *w)
{
	const char *digest;

	if (w->next_blob == w->blobs_wanted.n) {
		done(w, NULL);
		return;
	}
	digest = w->blobs_wanted.v[w->next_blob];
	work_progress(w, "fetching blob %zu/%zu %.12s from %s", w->next_blob + 1, w->blobs_wanted.n,
		      digest_hex(digest), w->peers.v[w->peer]);
	fetch_start(w, digest, blob_size(w->images[0].manifest, digest), false, on_blob);
}

static int64_t want_blob(struct work *w, const struct descriptor *blob)
{
	_cleanup_free_ char *path = store_blob_path(w->store, blob->digest);

	if (access(path, F_OK) == 0 || strv_has(&w->blobs_wanted, blob->digest))
		return 0;
	strv_add(&w->blobs_wanted, blob->digest);
	return blob->size_bytes;
}

static void fetch_blobs(struct work *w)
{
	const struct manifest *m = w->images[0].manifest;
	int64_t bytes = want_blob(w, &m->config);
	struct error err = ERROR_INIT;

	for (size_t i = 0; i < m->n_layers; i++)
		bytes += want_blob(w, &m->layers[i]);
	if (space_check_path(w->store->tmp_dir, bytes, &err) < 0)
		done(w, &err);
	else
		fetch_next_blob(w);
}

/* ---------------------------------------------------------------- manifest */

static void got_manifest(struct work *w, struct work_image *img, struct fetch *f)
{
	struct error err = ERROR_INIT;
	char *bytes = TAKE_PTR(f->bytes);
	size_t len = f->len;

	fetch_free(f);
	if (work_set_manifest(w, img, bytes, len, &err) < 0)
		done(w, &err);
	else if (img->present)
		done(w, NULL);
	else
		fetch_blobs(w);
}

static void on_manifest(struct work *w, struct fetch *f)
{
	got_manifest(w, &w->images[0], f);
}

static void got_index(struct work *w, struct fetch *f)
{
	_cleanup_(image_index_freep) struct image_index *index = NULL;
	const struct index_entry *chosen;
	struct error err = ERROR_INIT;
	struct platform host;
	struct work_image *img;

	platform_host(&host);
	index = image_index_parse(f->bytes, f->len, &err);
	chosen = index ? image_index_choose(index, &host) : NULL;
	if (index && !chosen)
		error_set(&err, ERR_NOT_FOUND, "index %s has no image for %s/%s", f->digest,
			  host.os, host.arch);
	if (!chosen) {
		fetch_free(f);
		done(w, &err);
		return;
	}
	img = work_add_image(w, chosen->blob.digest);
	strcpy(img->index_digest, f->digest);
	fetch_free(f);
	fetch_start(w, img->digest, MANIFEST_MAX_BYTES, true, on_manifest);
}

static void on_top(struct work *w, struct fetch *f)
{
	struct error err = ERROR_INIT;
	enum manifest_kind kind;

	if (manifest_kind(f->bytes, f->len, &kind, &err) < 0) {
		fetch_free(f);
		done(w, &err);
	} else if (kind == MANIFEST_INDEX) {
		got_index(w, f);
	} else {
		got_manifest(w, work_add_image(w, f->digest), f);
	}
}

void source_peers(struct work *w)
{
	struct error err;

	if (!w->peers.n || !w->store->fetcher.fetch) {
		error_set(&err, ERR_NOT_FOUND, "no peer is known to hold %s", w->digest);
		done(w, &err);
		return;
	}
	strv_fini(&w->blobs_wanted);
	w->blobs_wanted = (struct strv){0};
	w->next_blob = 0;
	w->peer = 0;
	work_progress(w, "asking peers for %.19s", w->digest);
	fetch_start(w, w->digest, MANIFEST_MAX_BYTES, true, on_top);
}

void source_peers_cancel(struct work *w)
{
	const struct image_fetcher *fetcher = &w->store->fetcher;

	/* Only what the fetcher has; a check on the pool ends by itself. */
	if (w->fetch && w->fetch->fd >= 0 && fetcher->cancel)
		fetcher->cancel(fetcher->data, w->fetch);
}
