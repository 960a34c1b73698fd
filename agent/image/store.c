#include "agent/image/store.h"

#include "agent/image/work.h"
#include "common/error.h"
#include "common/file.h"
#include "common/imageref.h"
#include "common/log.h"
#include "common/mem.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#define MIN_PREFIX 4 /* hex digits of a digest that name an image */

/* ---------------------------------------------------------------- find */

struct entry *store_find_digest(struct image_store *s, const char *digest)
{
	struct entry *e;

	TAILQ_FOREACH (e, &s->entries, link) {
		if (!e->doomed &&
		    (str_eq(e->image.digest, digest) || strv_has(&e->aliases, digest)))
			return e;
	}
	return NULL;
}

struct image *image_held(struct image_store *s, const char *digest)
{
	struct entry *e = str_empty(digest) ? NULL : store_find_digest(s, digest);

	return e ? &e->image : NULL;
}

struct entry *store_find_name(struct image_store *s, const char *name)
{
	struct entry *e;

	TAILQ_FOREACH (e, &s->entries, link) {
		if (!e->doomed && strv_has(&e->names, name))
			return e;
	}
	return NULL;
}

/* ---------------------------------------------------------------- change */

static void list_free(struct image_store *s)
{
	for (size_t i = 0; i < s->n_list; i++)
		pb_free(s->list[i]);
	free(s->list);
	s->list = NULL;
	s->n_list = 0;
}

void store_changed(struct image_store *s)
{
	list_free(s);
	if (s->on_change)
		s->on_change(s->on_change_data);
}

void store_add(struct image_store *s, struct entry *e)
{
	assert(!store_find_digest(s, e->image.digest));
	TAILQ_INSERT_TAIL(&s->entries, e, link);
}

static bool take_name(struct entry *e, const char *name)
{
	for (size_t i = 0; i < e->names.n; i++) {
		if (!str_eq(e->names.v[i], name))
			continue;
		free(e->names.v[i]);
		memmove(&e->names.v[i], &e->names.v[i + 1], (e->names.n - i) * sizeof(char *));
		e->names.n--;
		return true;
	}
	return false;
}

void store_set_name(struct image_store *s, struct entry *e, const char *name)
{
	struct entry *other = store_find_name(s, name);

	if (other == e)
		return;
	if (other)
		take_name(other, name);
	strv_add(&e->names, name);
}

void store_drop(struct image_store *s, struct entry *e)
{
	strv_fini(&e->names);
	e->names = (struct strv){0};
	if (entry_in_use(e)) {
		e->doomed = true;
		return;
	}
	TAILQ_REMOVE(&s->entries, e, link);
	for (size_t i = 0; i < e->blobs.n; i++)
		store_unpin(s, CONTENT_BLOB, e->blobs.v[i]);
	for (size_t i = 0; i < e->diff_ids.n; i++)
		store_unpin(s, CONTENT_LAYER, e->diff_ids.v[i]);
	e->doomed = false;
	e->store = NULL;
	image_unref(&e->image);
	store_save(s, NULL, NULL);
}

/* ---------------------------------------------------------------- life */

static int make_dirs(struct image_store *s, struct error *err)
{
	_cleanup_free_ char *blobs = xasprintf("%s/blobs/sha256", s->dir);
	_cleanup_free_ char *layers = xasprintf("%s/layers", s->dir);
	struct stat a, b;

	if (file_mkdirs(blobs, 0700, err) < 0 || file_mkdirs(layers, 0700, err) < 0 ||
	    file_mkdirs(s->tmp_dir, 0700, err) < 0)
		return -1;
	if (stat(s->dir, &a) < 0 || stat(s->tmp_dir, &b) < 0)
		return error_set_errno(err, errno, "look at %s and %s", s->dir, s->tmp_dir);
	if (a.st_dev != b.st_dev)
		return error_set(err, ERR_INVALID, "%s and %s are on different file systems",
				 s->dir, s->tmp_dir);
	return 0;
}

static void store_free(struct image_store *s)
{
	struct content *c, *tmp;
	struct entry *e;

	while ((e = TAILQ_FIRST(&s->entries))) {
		TAILQ_REMOVE(&s->entries, e, link);
		e->store = NULL;
		e->doomed = false;
		image_unref(&e->image);
	}
	HASH_ITER (hh, s->contents, c, tmp) {
		HASH_DEL(s->contents, c);
		free(c);
	}
	list_free(s);
	strv_fini(&s->trash);
	free(s->dir);
	free(s->tmp_dir);
	free(s->auth_file);
	free(s->certs_dir);
	free(s);
}

struct image_store *image_store_new(const struct image_store_options *o, struct error *err)
{
	struct image_store *s = xnew(struct image_store);
	struct error why = ERROR_INIT;

	s->loop = o->loop;
	s->dir = xstrdup(o->dir);
	s->tmp_dir = xstrdup(o->tmp_dir);
	s->auth_file = xstrdup(o->auth_file);
	s->certs_dir = xstrdup(o->registries_dir);
	TAILQ_INIT(&s->entries);
	TAILQ_INIT(&s->works);
	TAILQ_INIT(&s->extract_queue);
	TAILQ_INIT(&s->ended);
	TAILQ_INIT(&s->save_next);
	TAILQ_INIT(&s->save_now);
	closer_init(&s->closer);
	if (make_dirs(s, &why) < 0 || store_load(s, &why) < 0) {
		store_free(s);
		error_set(err, why.code, "open image store: %s", why.msg);
		return NULL;
	}
	uv_timer_init(s->loop, &s->end_timer);
	if (store_collect(s, &why) < 0) /* not fatal: it only costs space */
		log_warn("image_collect", kv_err(&why));
	return s;
}

struct close_call {
	struct image_store *store;
	void (*closed)(void *data);
	void *data;
};

static void on_closed(void *data)
{
	struct close_call *call = data;
	void (*closed)(void *) = call->closed;
	void *closed_data = call->data;

	store_free(call->store);
	free(call);
	if (closed)
		closed(closed_data);
}

void image_store_close(struct image_store *s, void (*closed)(void *data), void *data)
{
	struct close_call *call = xnew(struct close_call);

	*call = (struct close_call){.store = s, .closed = closed, .data = data};
	if (!closer_begin(&s->closer, on_closed, call)) {
		free(call);
		return;
	}
	s->on_change = NULL;
	jobs_cancel_all(s);
	/* The timer of ended jobs is closed behind the last job: see jobs_drained(). */
	closer_hold(&s->closer);
	jobs_drained(s);
	closer_end(&s->closer);
}

void image_store_set_fetcher(struct image_store *s, const struct image_fetcher *fetcher)
{
	s->fetcher = *fetcher;
}

void image_store_on_change(struct image_store *s, void (*cb)(void *data), void *data)
{
	s->on_change = cb;
	s->on_change_data = data;
}

/* ---------------------------------------------------------------- list */

pb_image_info *const *image_list(const struct image_store *store, size_t *ret_n)
{
	struct image_store *s =
		(struct image_store *)store; /* the list is made when it is asked for */
	const struct entry *e;
	size_t n = 0;

	if (!s->list) {
		TAILQ_FOREACH(e, &s->entries, link)
		n++;
		s->list = xcalloc(n + 1, sizeof(*s->list));
		TAILQ_FOREACH (e, &s->entries, link) {
			pb_image_info *info;

			if (e->doomed)
				continue;
			info = pb_new(&skein__image_info__descriptor);
			pb_set_str(&info->digest, e->image.digest);
			for (size_t i = 0; i < e->names.n; i++)
				pb_strs_add(&info->n_names, &info->names, e->names.v[i]);
			info->size_bytes = e->size_bytes;
			info->loaded = e->loaded;
			info->created_at = e->created_at;
			s->list[s->n_list++] = info;
		}
	}
	*ret_n = s->n_list;
	return s->list;
}

/* ---------------------------------------------------------------- remove */

static bool has_prefix(const char *digest, const char *prefix)
{
	return str_starts(digest, prefix) || str_starts(digest_hex(digest), prefix);
}

/* 1 = found, 0 = not a prefix or nobody has it. */
static int find_prefix(struct image_store *s, const char *prefix, struct entry **ret,
		       struct error *err)
{
	const char *hex = str_starts(prefix, "sha256:") ? prefix + strlen("sha256:") : prefix;
	struct entry *e;
	bool match;

	*ret = NULL;
	if (strlen(hex) < MIN_PREFIX || strspn(hex, "0123456789abcdef") != strlen(hex))
		return 0;
	TAILQ_FOREACH (e, &s->entries, link) {
		if (e->doomed)
			continue;
		match = has_prefix(e->image.digest, prefix);
		for (size_t i = 0; i < e->aliases.n; i++)
			match |= has_prefix(e->aliases.v[i], prefix);
		if (match && *ret)
			return error_set(err, ERR_INVALID,
					 "\"%s\" means several images: %.19s, %.19s", prefix,
					 (*ret)->image.digest, e->image.digest);
		if (match)
			*ret = e;
	}
	return *ret != NULL;
}

static int check_unused(const struct entry *e, const char *ref, bool force, struct error *err)
{
	if (force || !entry_in_use(e))
		return 0;
	return error_set(err, ERR_PRECONDITION,
			 "image \"%s\" is in use by a container (force removes it all the same)",
			 ref);
}

static void remove_entry(struct image_store *s, struct entry *e, Skein__RemoveImageResponse *resp)
{
	for (size_t i = 0; i < e->names.n; i++)
		pb_strs_add(&resp->n_untagged, &resp->untagged, e->names.v[i]);
	pb_strs_add(&resp->n_deleted, &resp->deleted, e->image.digest);
	store_drop(s, e);
}

int image_remove(struct image_store *s, const char *ref, bool force,
		 Skein__RemoveImageResponse *resp, struct error *err)
{
	struct entry *e = NULL;
	char name[IMAGEREF_MAX];
	struct imageref parsed;
	int r = 0;

	if (imageref_parse(ref, &parsed, NULL) == 0 && !parsed.digest[0]) {
		e = store_find_name(s, imageref_format(&parsed, name));
	} else if (imageref_parse(ref, &parsed, NULL) == 0 && parsed.path[0]) {
		e = store_find_digest(s, parsed.digest);
		r = e != NULL;
	}
	if (!e) {
		r = find_prefix(s, ref, &e, err);
		if (r < 0)
			return -1;
	}
	if (!e)
		return error_set(
			err, ERR_NOT_FOUND,
			"no image \"%s\" on this node (accepted: a name, or a digest of at "
			"least %d hex digits)",
			ref, MIN_PREFIX);
	if (r > 0 && e->names.n > 1 && !force)
		return error_set(err, ERR_PRECONDITION,
				 "image %.19s has %zu names (force removes them all)",
				 e->image.digest, e->names.n);
	if (r == 0 && e->names.n > 1) {
		take_name(e, name);
		pb_strs_add(&resp->n_untagged, &resp->untagged, name);
	} else {
		if (check_unused(e, ref, force, err) < 0)
			return -1;
		remove_entry(s, e, resp);
	}
	store_save(s, NULL, NULL);
	store_changed(s);
	return 0;
}
