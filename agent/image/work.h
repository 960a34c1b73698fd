/*
 * work - an image on its way into the store; inside of agent/image.
 *
 *   source (registry | peers | archive)  documents and blobs into <tmp>/blobs/sha256, images[] filled
 *   extract                              configs read, layers unpacked into <tmp>/layers, digests checked
 *   commit                               renamed into the store, table written
 *
 * A work is shared by all jobs (callers) that want the same. Steps run on the loop, their heavy parts on the uv pool,
 * which alone touches the work while it runs - but for `jobs`, `peers` and `cancel`.
 */
#pragma once
#include "agent/image/imagefile.h"
#include "agent/image/store.h"
#include "common/registry.h"

#include <stdatomic.h>

/* One image of a work; an archive may hold several. */
struct work_image {
	char digest[DIGEST_MAX];
	char *manifest_json, *index_json, *config_json; /* the last two: NULL unless the source had them at hand */
	size_t manifest_len, index_len, config_len;
	char index_digest[DIGEST_MAX];                  /* "" = no index led here */
	struct manifest *manifest;
	struct image_config *config;
	struct strv names;
	struct entry *present;   /* the store has it already (held) */
	bool pinned, pinned_layers;
};

/* A layer to be unpacked. */
struct unit {
	struct descriptor blob;
	char diff_id[DIGEST_MAX];
};

struct work {
	struct image_store *store;
	struct job_list jobs;
	TAILQ_ENTRY(work) link, queue_link;
	bool queued;

	/* what is wanted */
	char *ref;                  /* NULL for archives */
	char digest[DIGEST_MAX];    /* "" = whatever the name means */
	char *auth;                 /* NULL = the node's */
	bool loaded, from_name;     /* from_name: the name moves to what comes */
	struct strv peers;
	char *archive;
	bool remove_archive;

	/* where it comes from */
	void (*sources[3])(struct work *w);
	unsigned next_source;
	struct error source_err;    /* what the sources said so far */

	/* under way */
	char *tmp;
	struct work_image *images;
	size_t n_images;
	struct unit *units;
	size_t n_units, next_unit;
	bool extracting;
	atomic_bool cancel;
	struct error err;           /* of the pool's part, then of the whole */
	void (*then)(struct work *w);
	void (*pool_part)(struct work *w);

	struct registry_request *request;
	uv_timer_t disk_timer;      /* watches the disk while skopeo fills it */

	/* peers */
	size_t peer;                /* index of the one that is asked */
	struct fetch *fetch;
	size_t next_blob;
	struct strv blobs_wanted;

	/* archives */
	struct repo_tags *tags;
	enum imagefile_kind kind;
	int archive_fd;
	size_t next_image;
};

/* ---- for sources */

/* Run `part` on the pool, `then` on the loop: with w->err set when it failed or the work was cancelled meanwhile. */
void work_on_pool(struct work *w, void (*part)(struct work *w), void (*then)(struct work *w));
/* The source has done: err NULL = images[] is there; else the next source is asked. */
void work_source_done(struct work *w, const struct error *err);
bool work_cancelled(const struct work *w);
/* Put what one more of several said to what they said so far; the code that helps most stays. */
void work_join_error(struct error *all, const struct error *err);
void work_progress(struct work *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

char *work_blob_path(const struct work *w, const char *digest); /* below tmp; yours */
/* The first path of the two (tmp, store) that exists, NULL if none. Any thread. */
char *work_find_blob(const struct work *w, const char *digest);
struct work_image *work_add_image(struct work *w, const char *digest);
/* Give the image its manifest: takes the bytes over, parses, and either notes that the store has it
 * (present) or pins its blobs so that nothing of them goes away meanwhile. */
int work_set_manifest(struct work *w, struct work_image *img, char *json, size_t len, struct error *err);
void work_clear_images(struct work *w);

/* Until uv_timer_stop(&w->disk_timer): cancel w->request with ERR_EXHAUSTED when the disk gets full. */
void work_watch_disk(struct work *w);

void source_registry(struct work *w);
void source_peers(struct work *w);
void source_archive(struct work *w);
/* Stop what the source is waiting for; it ends with an error soon. */
void source_registry_cancel(struct work *w);
void source_peers_cancel(struct work *w);

/* ---- the rest of the way (extract.c); ends in work_end() */
void work_extract(struct work *w);
void work_extract_fini(struct work *w);
void work_end(struct work *w, const struct error *err);

/* ---- jobs (job.c) */
void jobs_cancel_all(struct image_store *s);
/* While the store closes: let it go on when the last job has been told. */
void jobs_drained(struct image_store *s);
