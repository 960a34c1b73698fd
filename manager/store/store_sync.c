/*
 * How the view follows etcd: load all keys page by page at one revision, compare with the view, then
 * watch from the next revision on. When the watch cannot go on (compaction), the same again; subscribers
 * are told the differences, so a resync looks like one large change.
 */
#include "store_codec.h"
#include "store_internal.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"

#include <string.h>

#define PAGE_KEYS 1000
#define BACKOFF_MIN_MS 20
#define BACKOFF_MAX_MS 1000

struct load {
	struct store *store;
	struct etcd_request *request;
	struct view *fresh;
	uint64_t revision;   /* of the first page; all others are read at it */
	uint64_t page_keys;
	char *next;          /* first key of the next page */
};

/* Differences found, and the replaced objects, which live until subscribers were told. */
struct changes {
	struct store_event *events;
	size_t n, cap;
};

static void load_begin(struct store *s);

/* ---- applying */

static void changes_add(struct changes *c, enum kind kind, void *old, const void *now)
{
	const void *any = now ? now : old;

	if (c->n == c->cap) {
		c->cap = c->cap ? c->cap * 2 : 64;
		c->events = xreallocarray(c->events, c->cap, sizeof(*c->events));
	}
	c->events[c->n++] = (struct store_event){kind, kind_info(kind)->id(any), old, now};
}

static void changes_tell(struct store *s, struct changes *c)
{
	store_tell(s, c->events, c->n);
	for (size_t i = 0; i < c->n; i++)
		pb_free((void *)c->events[i].old);
	free(c->events);
	*c = (struct changes){0};
}

static void *decode(struct store *s, const struct etcd_kv *kv, enum kind *ret_kind)
{
	const char *id;
	void *obj;

	if (!store_key_parse(s->prefix, kv->key, kv->key_len, ret_kind, &id))
		return NULL;
	obj = store_value_unpack(*ret_kind, id, kv->value, kv->value_len, kv->mod_revision);
	if (!obj)
		log_error("store_value_bad", kv_str("key", kv->key), kv_u64("revision", kv->mod_revision),
			  kv_u64("bytes", kv->value_len));
	return obj;
}

static void apply_event(struct store *s, const struct etcd_event *event, struct changes *c)
{
	enum kind kind;
	const char *id;
	void *obj, *old;

	if (event->is_delete) {
		if (!store_key_parse(s->prefix, event->kv.key, event->kv.key_len, &kind, &id))
			return;
		old = view_del(s->view, kind, id);
		if (old)
			changes_add(c, kind, old, NULL);
		return;
	}
	obj = decode(s, &event->kv, &kind);
	if (obj)
		changes_add(c, kind, view_put(s->view, kind, obj), obj);
}

static void reached(struct store *s, uint64_t revision)
{
	if (revision > s->revision)
		s->revision = revision;
	s->heard_ns = clock_mono_ns();
	store_commits_seen(s);
}

/* One turn per revision: subscribers never see half of a transaction. */
static void on_events(void *data, uint64_t revision, const struct etcd_event *events, size_t n)
{
	struct store *s = data;
	struct changes changes = {0};
	size_t i = 0;

	while (i < n && !s->closer.closing) {
		uint64_t rev = events[i].kv.mod_revision;

		for (; i < n && events[i].kv.mod_revision == rev; i++)
			apply_event(s, &events[i], &changes);
		if (rev > s->revision)
			s->revision = rev;
		changes_tell(s, &changes);
	}
	if (!s->closer.closing)
		reached(s, revision);
}

/* ---- watching */

static void on_compacted(void *data, uint64_t compact_revision)
{
	struct store *s = data;

	log_warn("store_resync", kv_u64("at", s->revision), kv_u64("compacted", compact_revision));
	s->watch = NULL;
	s->connected = false;
	s->stats.resyncs++;
	load_begin(s);
}

static void on_watch_state(void *data, const struct error *err)
{
	struct store *s = data;

	s->connected = !err;
	if (err) {
		log_warn("store_watch_lost", kv_err(err));
		return;
	}
	s->heard_ns = clock_mono_ns();
	log_debug("store_watch_up", kv_u64("revision", s->revision));
}

static void watch_begin(struct store *s)
{
	static const struct etcd_watch_handlers handlers = {
		.on_events = on_events,
		.on_compacted = on_compacted,
		.on_state = on_watch_state,
	};

	s->watch = etcd_watch(s->etcd, s->first, s->end, s->revision + 1, &handlers, s);
}

/* ---- loading */

static void load_free(struct load *load)
{
	view_free(load->fresh);
	free(load->next);
	free(load);
}

static uint64_t revision_of(enum kind kind, const void *obj)
{
	Skein__Meta *meta = *kind_info(kind)->meta((void *)obj);

	return meta ? meta->revision : 0;
}

/* Objects of `fresh` move into the view where they differ; what `fresh` has not goes. */
static void merge_kind(struct store *s, struct view *fresh, enum kind kind, struct changes *c)
{
	const struct kind_info *info = kind_info(kind);
	_cleanup_free_ const void **there = NULL, **loaded = NULL;
	size_t n_there, n_loaded;

	there = view_list(s->view, kind, &n_there);
	loaded = view_list(fresh, kind, &n_loaded);
	for (size_t i = 0; i < n_there; i++)
		if (!view_get(fresh, kind, info->id(there[i])))
			changes_add(c, kind, view_del(s->view, kind, info->id(there[i])), NULL);
	for (size_t i = 0; i < n_loaded; i++) {
		const void *old = view_get(s->view, kind, info->id(loaded[i]));
		void *obj;

		if (old && revision_of(kind, old) == revision_of(kind, loaded[i]))
			continue;
		obj = view_del(fresh, kind, info->id(loaded[i]));
		changes_add(c, kind, view_put(s->view, kind, obj), obj);
	}
}

static void loaded_all(struct store *s)
{
	struct load *load = TAKE_PTR(s->load);
	void (*started)(void *, const struct error *) = TAKE_PTR(s->on_started);
	struct changes changes = {0};

	for (unsigned kind = 0; kind < KIND_COUNT; kind++)
		merge_kind(s, load->fresh, kind, &changes);
	/* Not reached(): an etcd restored from an older state has smaller revisions. */
	s->revision = load->revision;
	s->load_backoff_ms = 0;
	load_free(load);
	watch_begin(s);
	changes_tell(s, &changes);
	if (started)
		started(s->on_started_data, NULL);
	if (!s->closer.closing)
		reached(s, s->revision);
}

static void on_load_timer(uv_timer_t *timer)
{
	load_begin(container_of(timer, struct store, load_timer));
}

static void load_failed(struct store *s, const struct error *err)
{
	load_free(TAKE_PTR(s->load));
	/* Said once, not at each try. */
	if (!s->load_backoff_ms)
		log_warn("store_load_failed", kv_err(err));
	s->load_backoff_ms = MIN(MAX(s->load_backoff_ms * 2, BACKOFF_MIN_MS), BACKOFF_MAX_MS);
	uv_timer_start(&s->load_timer, on_load_timer, s->load_backoff_ms, 0);
}

static void load_page(struct load *load);

static void take_page(struct load *load, const struct etcd_range_result *result)
{
	for (size_t i = 0; i < result->n; i++) {
		enum kind kind;
		void *obj = decode(load->store, &result->kvs[i], &kind);

		if (obj)
			pb_free(view_put(load->fresh, kind, obj));
	}
	if (!load->revision)
		load->revision = result->revision;
}

static void on_page(void *data, const struct etcd_range_result *result, const struct error *err)
{
	struct load *load = data;
	struct store *s = load->store;

	load->request = NULL;
	if (s->closer.closing)
		return;
	if (err && err->code == ERR_EXHAUSTED && load->page_keys > 1) {
		load->page_keys /= 2;
		load_page(load);
		return;
	}
	if (err) {
		load_failed(s, err);
		return;
	}
	take_page(load, result);
	if (!result->more || !result->n) {
		loaded_all(s);
		return;
	}
	free(load->next);
	/* The smallest key behind the last one (our keys have no control characters). */
	load->next = xasprintf("%s\x01", result->kvs[result->n - 1].key);
	load_page(load);
}

static void load_page(struct load *load)
{
	struct store *s = load->store;

	load->request = etcd_range(s->etcd, load->next, s->end, load->revision, load->page_keys, on_page, load);
}

static void load_begin(struct store *s)
{
	struct load *load = xnew(struct load);

	load->store = s;
	load->fresh = view_new();
	load->page_keys = PAGE_KEYS;
	load->next = xstrdup(s->first);
	s->load = load;
	load_page(load);
}

void store_sync_start(struct store *s)
{
	load_begin(s);
}

void store_sync_stop(struct store *s)
{
	void (*started)(void *, const struct error *) = TAKE_PTR(s->on_started);
	struct load *load = TAKE_PTR(s->load);
	struct error err;

	etcd_watch_cancel(TAKE_PTR(s->watch));
	s->connected = false;
	if (load) {
		if (load->request)
			etcd_request_cancel(load->request);
		load_free(load);
	}
	if (!started)
		return;
	error_set(&err, ERR_CANCELLED, "the store closes");
	started(s->on_started_data, &err);
}
