/* Wants of callers: answered at once from the store, or joined to a work. */
#include "agent/image/space.h"
#include "agent/image/work.h"

#include "common/error.h"
#include "common/file.h"
#include "common/id.h"
#include "common/imageref.h"
#include "common/log.h"
#include "common/mem.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define DISK_WATCH_MS 250

struct image_job {
	struct image_store *store;
	struct work *work; /* NULL: it has ended, only the callback is missing */
	image_progress_cb progress;
	image_done_cb done;
	void *data;
	struct entry *entry; /* result (held) or NULL */
	struct error err;
	TAILQ_ENTRY(image_job) link;
};

/* ---------------------------------------------------------------- end of a job */

void jobs_drained(struct image_store *s)
{
	if (!s->closer.closing || !TAILQ_EMPTY(&s->works) || !TAILQ_EMPTY(&s->ended) ||
	    uv_is_closing((uv_handle_t *)&s->end_timer))
		return;
	closer_add(&s->closer, (uv_handle_t *)&s->end_timer);
	closer_drop(&s->closer);
}

static void on_end_timer(uv_timer_t *timer)
{
	struct image_store *s = container_of(timer, struct image_store, end_timer);
	struct job_list told = TAILQ_HEAD_INITIALIZER(told);
	struct image_job *job;

	TAILQ_CONCAT(&told, &s->ended, link);
	closer_hold(&s->closer); /* a callback may close the store */
	while ((job = TAILQ_FIRST(&told))) {
		TAILQ_REMOVE(&told, job, link);
		job->done(job->data, job->entry ? &job->entry->image : NULL,
			  error_is_set(&job->err) ? &job->err : NULL);
		if (job->entry)
			image_unref(&job->entry->image);
		free(job);
	}
	jobs_drained(s);
	closer_drop(&s->closer);
}

/* The callback comes in the next turn of the loop. */
static void job_end(struct image_job *job, struct entry *entry, const struct error *err)
{
	struct image_store *s = job->store;

	job->work = NULL;
	if (entry) {
		image_ref(&entry->image);
		job->entry = entry;
	}
	if (err)
		job->err = *err;
	TAILQ_INSERT_TAIL(&s->ended, job, link);
	uv_timer_start(&s->end_timer, on_end_timer, 0, 0);
}

static struct image_job *job_new(struct image_store *s, image_progress_cb progress,
				 image_done_cb done, void *data)
{
	struct image_job *job = xnew(struct image_job);

	assert(!s->closer.closing);
	job->store = s;
	job->progress = progress;
	job->done = done;
	job->data = data;
	return job;
}

/* ---------------------------------------------------------------- works */

void work_progress(struct work *w, const char *fmt, ...)
{
	struct image_job *job, *next;
	char text[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	for (job = TAILQ_FIRST(&w->jobs); job; job = next) {
		next = TAILQ_NEXT(job, link);
		if (job->progress)
			job->progress(job->data, text);
	}
}

bool work_cancelled(const struct work *w)
{
	return atomic_load(&w->cancel);
}

static void pool_main(void *data)
{
	struct work *w = data;

	if (!work_cancelled(w))
		w->pool_part(w);
}

static void on_pool_done(void *data)
{
	struct work *w = data;

	if (work_cancelled(w))
		error_set(&w->err, ERR_CANCELLED, "cancelled");
	w->then(w);
}

void work_on_pool(struct work *w, void (*part)(struct work *w), void (*then)(struct work *w))
{
	w->pool_part = part;
	w->then = then;
	w->err = ERROR_INIT;
	loop_work(w->store->loop, pool_main, on_pool_done, w);
}

static void on_disk_timer(uv_timer_t *timer)
{
	struct work *w = container_of(timer, struct work, disk_timer);
	struct error err = ERROR_INIT;

	if (w->request && space_check_path(w->store->tmp_dir, 0, &err) < 0)
		registry_cancel(w->request, &err);
}

void work_watch_disk(struct work *w)
{
	uv_timer_start(&w->disk_timer, on_disk_timer, DISK_WATCH_MS, DISK_WATCH_MS);
}

static void on_work_closed(uv_handle_t *handle)
{
	struct work *w = container_of(handle, struct work, disk_timer);
	struct image_store *s = w->store;

	TAILQ_REMOVE(&s->works, w, link);
	strv_fini(&w->peers);
	strv_fini(&w->blobs_wanted);
	free(w->ref);
	if (w->auth)
		mem_wipe(w->auth, strlen(w->auth));
	free(w->auth);
	free(w->archive);
	free(w->tmp);
	free(w);
	jobs_drained(s);
	closer_drop(&s->closer);
}

/* Everything is in the store, or nothing will come. */
void work_end(struct work *w, const struct error *err)
{
	struct image_store *s = w->store;
	struct entry *result = !err && w->n_images ? w->images[0].present : NULL;
	struct image_job *job;

	atomic_store(&w->cancel, true); /* nobody joins any more */
	while ((job = TAILQ_FIRST(&w->jobs))) {
		TAILQ_REMOVE(&w->jobs, job, link);
		job_end(job, result, err);
	}
	if (w->archive && w->remove_archive)
		store_trash_later(s, w->archive);
	work_extract_fini(w);
	work_clear_images(w);
	store_trash_later(s, w->tmp);
	repo_tags_free(w->tags);
	mem_closep(&w->archive_fd);
	uv_close((uv_handle_t *)&w->disk_timer, on_work_closed);
}

/* Of what several sources said, the caller needs what helps most. */
static int rank(enum error_code code)
{
	switch (code) {
	case ERR_CANCELLED:
		return 6;
	case ERR_EXHAUSTED:
		return 5;
	case ERR_DATA_LOSS:
		return 4;
	case ERR_DENIED:
		return 3;
	case ERR_NOT_FOUND:
		return 1;
	default:
		return 2;
	}
}

void work_join_error(struct error *all, const struct error *err)
{
	struct error before = *all;

	if (!error_is_set(&before))
		*all = *err;
	else
		error_set(all, rank(err->code) > rank(before.code) ? err->code : before.code,
			  "%.500s; %.500s", before.msg, err->msg);
}

static void ask_next_source(struct work *w)
{
	struct error err;

	if (work_cancelled(w)) {
		error_set(&err, ERR_CANCELLED, "cancelled");
		work_end(w, &err);
		return;
	}
	if (w->sources[w->next_source]) {
		w->sources[w->next_source++](w);
		return;
	}
	err = w->source_err;
	if (!error_is_set(&err))
		error_set(&err, ERR_NOT_FOUND, "nobody to ask for it");
	if (w->ref)
		error_wrap(&err, "image %s", w->ref);
	work_end(w, &err);
}

static void count_source(struct work *w, bool got)
{
	void (*source)(struct work *) = w->sources[w->next_source - 1];
	enum image_source which = source == source_registry ? IMAGE_SOURCE_REGISTRY :
				  source == source_peers ? IMAGE_SOURCE_PEERS : IMAGE_SOURCE_ARCHIVE;

	if (got)
		w->store->stats.got[which]++;
	else
		w->store->stats.failed[which]++;
}

const struct image_stats *image_stats(const struct image_store *s)
{
	return &s->stats;
}

void work_source_done(struct work *w, const struct error *err)
{
	if (!work_cancelled(w))
		count_source(w, !err);
	if (!err && !work_cancelled(w)) {
		work_extract(w);
		return;
	}
	work_clear_images(w);
	if (err)
		work_join_error(&w->source_err, err);
	if (err && err->code == ERR_EXHAUSTED) /* the disk: no other source helps */
		w->sources[w->next_source] = NULL;
	ask_next_source(w);
}

static void make_tmp(struct work *w)
{
	_cleanup_free_ char *blobs = xasprintf("%s/blobs/sha256", w->tmp);
	_cleanup_free_ char *layers = xasprintf("%s/layers", w->tmp);

	if (file_mkdirs(blobs, 0700, &w->err) < 0)
		return;
	file_mkdirs(layers, 0700, &w->err);
}

static void on_tmp_made(struct work *w)
{
	struct error err = w->err;

	if (error_is_set(&err))
		work_end(w, &err);
	else
		ask_next_source(w);
}

static struct work *work_new(struct image_store *s)
{
	struct work *w = xnew(struct work);
	char id[ID_LEN + 1];

	id_new(id);
	w->store = s;
	w->tmp = xasprintf("%s/image-%s", s->tmp_dir, id);
	w->archive_fd = -1;
	TAILQ_INIT(&w->jobs);
	uv_timer_init(s->loop, &w->disk_timer);
	TAILQ_INSERT_TAIL(&s->works, w, link);
	closer_hold(&s->closer);
	return w;
}

static void work_join(struct work *w, struct image_job *job)
{
	job->work = w;
	TAILQ_INSERT_TAIL(&w->jobs, job, link);
}

/* ---------------------------------------------------------------- ensure, pull, load */

static struct work *find_work(struct image_store *s, const char *ref, const char *digest,
			      const char *auth, bool from_name)
{
	struct work *w;

	TAILQ_FOREACH (w, &s->works, link) {
		if (!work_cancelled(w) && !w->archive && str_eq(w->ref, ref) &&
		    str_eq(w->digest, digest) && str_eq(w->auth, auth) && w->from_name == from_name)
			return w;
	}
	return NULL;
}

static struct work *registry_work(struct image_store *s, const char *ref, const char *digest,
				  const char *auth, bool from_name)
{
	struct work *w = work_new(s);

	w->ref = xstrdup(ref);
	snprintf(w->digest, sizeof(w->digest), "%s", digest);
	w->auth = xstrdup(auth);
	w->from_name = from_name;
	w->sources[0] = source_registry;
	return w;
}

static void add_peers(struct work *w, const char *const *peers)
{
	for (size_t i = 0; peers && peers[i]; i++) {
		if (!strv_has(&w->peers, peers[i]))
			strv_add(&w->peers, peers[i]);
	}
}

/* Reference and digest of a want, checked and normalised. */
static int parse_want(const char *ref, const char *want_digest, char name[static IMAGEREF_MAX],
		      char digest[static DIGEST_MAX], struct error *err)
{
	struct imageref parsed;

	if (imageref_parse(ref, &parsed, err) < 0)
		return -1;
	if (!str_empty(want_digest) && !digest_valid(want_digest))
		return error_set(err, ERR_INVALID,
				 "digest \"%.100s\" of image %s, accepted is sha256:<64 hex>",
				 want_digest, ref);
	snprintf(digest, DIGEST_MAX, "%s", !str_empty(want_digest) ? want_digest : parsed.digest);
	parsed.digest[0] = '\0';
	if (!parsed.tag[0]) /* only a digest: the image gets no name */
		name[0] = '\0';
	else
		imageref_format(&parsed, name);
	return 0;
}

/* What a registry is asked for: the name without its digest, or "path@digest" if it has no tag. */
static struct image_job *want(struct image_store *s, const char *ref, const struct image_want *w,
			      struct image_job *job, bool pull)
{
	char name[IMAGEREF_MAX], digest[DIGEST_MAX];
	struct error err = ERROR_INIT;
	struct entry *e = NULL;
	struct work *work;

	if (parse_want(ref, w->digest, name, digest, &err) < 0) {
		job_end(job, NULL, &err);
		return job;
	}
	if (!pull)
		e = digest[0] ? store_find_digest(s, digest) : store_find_name(s, name);
	if (e) {
		job_end(job, e, NULL);
		return job;
	}
	work = find_work(s, name[0] ? name : ref, digest, w->registry_auth, !digest[0]);
	if (!work) {
		work = registry_work(s, name[0] ? name : ref, digest, w->registry_auth, !digest[0]);
		work->loaded = w->loaded;
		if (digest[0]) /* peers are asked by digest only */
			work->sources[w->loaded ? 0 : 1] = source_peers;
		if (digest[0] && w->loaded)
			work->sources[1] = source_registry;
		work_on_pool(work, make_tmp, on_tmp_made);
	}
	add_peers(work, w->peers);
	work_join(work, job);
	return job;
}

struct image_job *image_ensure(struct image_store *s, const struct image_want *w,
			       image_progress_cb progress, image_done_cb done, void *data)
{
	return want(s, w->ref, w, job_new(s, progress, done, data), false);
}

struct image_job *image_pull(struct image_store *s, const char *ref, const char *registry_auth,
			     image_progress_cb progress, image_done_cb done, void *data)
{
	return want(s, ref, &(struct image_want){.registry_auth = registry_auth},
		    job_new(s, progress, done, data), true);
}

struct image_job *image_load(struct image_store *s, const char *path, bool remove_it,
			     image_progress_cb progress, image_done_cb done, void *data)
{
	struct image_job *job = job_new(s, progress, done, data);
	struct work *w = work_new(s);

	w->archive = xstrdup(path);
	w->remove_archive = remove_it;
	w->loaded = true;
	w->from_name = true;
	w->sources[0] = source_archive;
	work_join(w, job);
	work_on_pool(w, make_tmp, on_tmp_made);
	return job;
}

/* ---------------------------------------------------------------- cancel */

static void work_cancel(struct work *w)
{
	atomic_store(&w->cancel, true);
	source_registry_cancel(w);
	source_peers_cancel(w);
}

void image_job_cancel(struct image_job *job)
{
	struct work *w = job->work;
	struct error err;

	if (!w) {
		if (job->entry)
			image_unref(&job->entry->image);
		job->entry = NULL;
		error_set(&job->err, ERR_CANCELLED, "cancelled");
		return;
	}
	if (TAILQ_FIRST(&w->jobs) == job && !TAILQ_NEXT(job, link)) {
		work_cancel(w); /* the job ends when everything is cleaned up */
		return;
	}
	TAILQ_REMOVE(&w->jobs, job, link);
	error_set(&err, ERR_CANCELLED, "cancelled");
	job_end(job, NULL, &err);
}

void jobs_cancel_all(struct image_store *s)
{
	struct image_job *job;
	struct work *w;

	TAILQ_FOREACH(w, &s->works, link)
	work_cancel(w);
	TAILQ_FOREACH(job, &s->ended, link)
	image_job_cancel(job);
}
