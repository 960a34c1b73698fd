/* Content on the disk: who needs it, and how it goes away. */
#include "agent/image/store.h"

#include "common/error.h"
#include "common/file.h"
#include "common/id.h"
#include "common/log.h"
#include "common/mem.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define MOUNTINFO "/proc/self/mountinfo"
#define MOUNTINFO_MAX_BYTES (64u << 20)
#define LEFTOVER_PREFIX "image-"

char *store_blob_path(const struct image_store *s, const char *digest)
{
	return xasprintf("%s/blobs/sha256/%s", s->dir, digest_hex(digest));
}

char *store_layer_path(const struct image_store *s, const char *diff_id)
{
	return xasprintf("%s/layers/%s", s->dir, digest_hex(diff_id));
}

/* ---------------------------------------------------------------- trash */

struct trash_run {
	struct image_store *store;
	struct strv paths;
};

static void remove_paths(void *data)
{
	struct trash_run *run = data;

	for (size_t i = 0; i < run->paths.n; i++) {
		struct error err = ERROR_INIT;

		if (file_remove_tree(run->paths.v[i], &err) < 0)
			log_warn("image_trash", kv_str("path", run->paths.v[i]), kv_err(&err));
	}
}

static void trash_start(struct image_store *s);

static void on_removed(void *data)
{
	struct trash_run *run = data;
	struct image_store *s = run->store;

	strv_fini(&run->paths);
	free(run);
	s->trash_busy = false;
	trash_start(s);
	closer_drop(&s->closer);
}

static void trash_start(struct image_store *s)
{
	struct trash_run *run;

	if (s->trash_busy || !s->trash.n)
		return;
	run = xnew(struct trash_run);
	run->store = s;
	run->paths = s->trash;
	s->trash = (struct strv){0};
	s->trash_busy = true;
	closer_hold(&s->closer);
	loop_work(s->loop, remove_paths, on_removed, run);
}

void store_trash_later(struct image_store *s, const char *path)
{
	strv_add(&s->trash, path);
	trash_start(s);
}

void store_trash(struct image_store *s, const char *path)
{
	_cleanup_free_ char *to = NULL;
	char id[ID_LEN + 1];

	id_new(id);
	to = xasprintf("%s/" LEFTOVER_PREFIX "trash-%s", s->tmp_dir, id);
	if (rename(path, to) == 0)
		store_trash_later(s, to);
	else if (errno != ENOENT)
		log_warn("image_trash", kv_str("path", path),
			 kv_str("error", strerrordesc_np(errno)));
}

/* ---------------------------------------------------------------- references */

static void content_key(char key[static DIGEST_MAX + 1], enum content_kind kind, const char *digest)
{
	snprintf(key, DIGEST_MAX + 1, "%c%s", kind, digest);
}

static struct content *content_find(struct image_store *s, enum content_kind kind,
				    const char *digest)
{
	char key[DIGEST_MAX + 1];
	struct content *c;

	content_key(key, kind, digest);
	HASH_FIND_STR(s->contents, key, c);
	return c;
}

void store_pin(struct image_store *s, enum content_kind kind, const char *digest)
{
	struct content *c = content_find(s, kind, digest);

	if (!c) {
		c = xnew(struct content);
		content_key(c->key, kind, digest);
		HASH_ADD_STR(s->contents, key, c);
	}
	c->refs++;
}

void store_unpin(struct image_store *s, enum content_kind kind, const char *digest)
{
	struct content *c = content_find(s, kind, digest);
	_cleanup_free_ char *path = NULL;

	if (!c || --c->refs > 0)
		return;
	HASH_DEL(s->contents, c);
	free(c);
	path = kind == CONTENT_BLOB ? store_blob_path(s, digest) : store_layer_path(s, digest);
	store_trash(s, path);
}

char *image_blob_path(const struct image_store *s, const char *digest)
{
	char *path;

	if (!digest_valid(digest) || !content_find((struct image_store *)s, CONTENT_BLOB, digest))
		return NULL;
	path = store_blob_path(s, digest);
	if (access(path, R_OK) == 0)
		return path;
	free(path); /* on its way in */
	return NULL;
}

/* ---------------------------------------------------------------- collection at start */

/* Layers below a running container's root stay, whatever the table says. */
static bool is_mounted(const char *mounts, const char *hex)
{
	return mounts && strstr(mounts, hex);
}

static int collect_dir(struct image_store *s, enum content_kind kind, const char *path,
		       const char *mounts, struct error *err)
{
	DIR *dir = opendir(path);
	struct dirent *d;
	unsigned n = 0;

	if (!dir)
		return error_set_errno(err, errno, "open %s", path);
	while ((d = readdir(dir))) {
		char digest[DIGEST_MAX + NAME_MAX];
		_cleanup_free_ char *full = NULL;

		if (str_eq(d->d_name, ".") || str_eq(d->d_name, ".."))
			continue;
		snprintf(digest, sizeof(digest), "sha256:%s", d->d_name);
		if (digest_valid(digest) && content_find(s, kind, digest))
			continue;
		if (kind == CONTENT_LAYER && is_mounted(mounts, d->d_name))
			continue;
		full = xasprintf("%s/%s", path, d->d_name);
		store_trash(s, full);
		n++;
	}
	closedir(dir);
	if (n)
		log_info("image_collect", kv_str("dir", path), kv_u64("removed", n));
	return 0;
}

static int collect_tmp(struct image_store *s, struct error *err)
{
	DIR *dir = opendir(s->tmp_dir);
	struct dirent *d;

	if (!dir)
		return error_set_errno(err, errno, "open %s", s->tmp_dir);
	while ((d = readdir(dir))) {
		_cleanup_free_ char *full = NULL;

		if (!str_starts(d->d_name, LEFTOVER_PREFIX))
			continue;
		full = xasprintf("%s/%s", s->tmp_dir, d->d_name);
		strv_add(&s->trash, full);
	}
	closedir(dir);
	return 0;
}

/* A removed image waits for its containers; those that have ended meanwhile let it go. */
static void collect_doomed(struct image_store *s, const char *mounts)
{
	struct entry *e, *next;

	for (e = TAILQ_FIRST(&s->entries); e; e = next) {
		bool mounted = false;

		next = TAILQ_NEXT(e, link);
		for (size_t i = 0; i < e->diff_ids.n; i++)
			mounted |= is_mounted(mounts, digest_hex(e->diff_ids.v[i]));
		if (e->doomed && !mounted)
			store_drop(s, e);
	}
}

int store_collect(struct image_store *s, struct error *err)
{
	_cleanup_free_ char *blobs = xasprintf("%s/blobs/sha256", s->dir);
	_cleanup_free_ char *layers = xasprintf("%s/layers", s->dir);
	_cleanup_free_ char *mounts = NULL;

	if (collect_tmp(s, err) < 0)
		return -1;
	if (file_read(MOUNTINFO, MOUNTINFO_MAX_BYTES, &mounts, NULL, err) < 0)
		return error_wrap(err, "which layers are in use");
	collect_doomed(s, mounts);
	if (collect_dir(s, CONTENT_BLOB, blobs, NULL, err) < 0 ||
	    collect_dir(s, CONTENT_LAYER, layers, mounts, err) < 0)
		return -1;
	trash_start(s);
	return 0;
}
