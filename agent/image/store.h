/*
 * store - inside of agent/image: what the node holds, and who holds on to which content.
 * Loop thread, except where it says otherwise.
 */
#pragma once
#include "agent/image/image.h"
#include "agent/image/manifest.h"
#include "common/loop.h"
#include "common/str.h"

#include <sys/queue.h>
#include <uthash.h>

struct work;
struct image_job;

/* One image of the store. `image` is what others see. */
struct entry {
	struct image image;           /* first: image_ref() gets here by its address */
	unsigned refs;                /* one is the store's, unless it has let go */
	struct image_store *store;    /* NULL once the store is closed */
	struct strv names;            /* normalised */
	struct strv aliases;          /* digests of indexes that led here */
	struct strv blobs, diff_ids;  /* content it holds: manifest, indexes, config, layers */
	bool loaded;
	bool doomed;                  /* removed by force while in use: goes with the last reference */
	int64_t created_at, size_bytes;
	TAILQ_ENTRY(entry) link;
};
TAILQ_HEAD(entry_list, entry);

/* The content that images (and images on their way in) need; gone from the disk with the last one. */
struct content {
	char key[DIGEST_MAX + 1];     /* kind, digest */
	unsigned refs;
	UT_hash_handle hh;
};
enum content_kind { CONTENT_BLOB = 'b', CONTENT_LAYER = 'l' };

struct save_waiter {
	void (*cb)(void *data, const struct error *err);
	void *data;
	TAILQ_ENTRY(save_waiter) link;
};
TAILQ_HEAD(save_waiters, save_waiter);

TAILQ_HEAD(work_list, work);
TAILQ_HEAD(job_list, image_job);

struct image_store {
	uv_loop_t *loop;
	char *dir, *tmp_dir, *auth_file, *certs_dir;
	struct image_fetcher fetcher;
	struct entry_list entries;
	struct content *contents;
	pb_image_info **list;         /* of image_list(); NULL = to be made */
	size_t n_list;
	void (*on_change)(void *data);
	void *on_change_data;

	struct strv trash;            /* paths to remove, not yet handed to the pool */
	bool trash_busy;
	struct save_waiters save_next, save_now;
	bool save_wanted, save_busy;

	struct image_stats stats;
	struct work_list works;       /* under way */
	struct work_list extract_queue;
	unsigned extracting;
	struct job_list ended;        /* jobs whose callback comes in the next turn */
	uv_timer_t end_timer;
	struct closer closer;
};

/* ---- paths; any thread; yours */
char *store_blob_path(const struct image_store *s, const char *digest);
char *store_layer_path(const struct image_store *s, const char *diff_id);

/* ---- content */
void store_pin(struct image_store *s, enum content_kind kind, const char *digest);
void store_unpin(struct image_store *s, enum content_kind kind, const char *digest);
/* Move a path below tmp_dir and remove it on the pool. Missing is fine. */
void store_trash(struct image_store *s, const char *path);
/* Remove a path (a leftover below tmp_dir) on the pool. */
void store_trash_later(struct image_store *s, const char *path);

/* ---- entries */
/*
 * Make an entry of documents and pin its content.
 *   aliases  digests of indexes that led here
 */
struct entry *entry_new(struct image_store *s, const char *digest, size_t manifest_len,
			const struct manifest *manifest, const struct image_config *config,
			const struct strv *aliases);
/* By digest of the manifest or of an index that led to it. Doomed ones are not found. */
struct entry *store_find_digest(struct image_store *s, const char *digest);
struct entry *store_find_name(struct image_store *s, const char *name);
void store_add(struct image_store *s, struct entry *e);
void store_add_alias(struct entry *e, const char *digest);
/* Give a name to an image; whoever had it loses it. */
void store_set_name(struct image_store *s, struct entry *e, const char *name);
/* Let go of an image: its content goes with the last reference. */
void store_drop(struct image_store *s, struct entry *e);
bool entry_in_use(const struct entry *e);

/* ---- table of contents */
/* Write images.json soon, on the pool; cb (may be NULL) when what is there now is on disk. */
void store_save(struct image_store *s, void (*cb)(void *data, const struct error *err), void *data);
/* Read it. Blocking. Entries that are not whole are dropped with a log line. */
int store_load(struct image_store *s, struct error *err);
/* The list has changed: tell. */
void store_changed(struct image_store *s);
/* Drop leftovers and content that nobody needs. Blocking, short: trees go on the pool. */
int store_collect(struct image_store *s, struct error *err);
