#include "replay.h"

#include "common/log.h"
#include "common/mem.h"
#include "common/str.h"
#include "manager/store/etcd.h"
#include "manager/store/store.h"
#include "manager/store/store_codec.h"

#include <string.h>

struct replay {
	struct replay_options opt;
	char *prefix, *leader_key, *first, *end;
	struct etcd_watch *watch;
	struct event_list events;
	size_t timeless; /* events from here on wait for a time */
};

static void replay_free(struct replay *r)
{
	event_list_fini(&r->events);
	free(r->prefix);
	free(r->leader_key);
	free(r->first);
	free(r->end);
	free(r);
}

void replay_cancel(struct replay *r)
{
	if (!r)
		return;
	etcd_watch_cancel(TAKE_PTR(r->watch));
	replay_free(r);
}

/* Drop what is more than wanted from the beginning. */
static void trim(struct replay *r, size_t max)
{
	size_t surplus = r->events.n > max ? r->events.n - max : 0;

	for (size_t i = 0; i < surplus; i++)
		pb_free(r->events.v[i]);
	if (surplus)
		memmove(r->events.v, r->events.v + surplus, max * sizeof(pb_event *));
	r->events.n -= surplus;
	r->timeless -= MIN(r->timeless, surplus);
}

/* Removals carry no time: they happened before the next change that does. */
static void set_times(struct replay *r, int64_t at)
{
	for (; at && r->timeless < r->events.n; r->timeless++)
		if (!r->events.v[r->timeless]->at)
			r->events.v[r->timeless]->at = at;
}

static void finish(struct replay *r)
{
	struct event_list events;
	int64_t last = 0;

	etcd_watch_cancel(TAKE_PTR(r->watch));
	trim(r, r->opt.max_events);
	for (size_t i = 0; i < r->events.n; i++)
		last = MAX(last, r->events.v[i]->at);
	set_times(r, last);
	events = r->events;
	r->events = (struct event_list){0};
	r->opt.done(r->opt.data, &events);
	replay_free(r);
}

static void on_leader_key(struct replay *r, const struct etcd_event *event)
{
	_cleanup_free_ char *id = NULL;

	if (event->is_delete || event->kv.create_revision != event->kv.mod_revision)
		return;
	id = xstrndup(event->kv.value, event->kv.value_len);
	event_list_add(&r->events, derive_leader(id, event->kv.mod_revision, 0));
}

/* The value of the key before, when etcd still has it. */
static void *old_of(enum kind kind, const char *id, const struct etcd_event *event)
{
	if (!event->prev.key_len)
		return NULL;
	return store_value_unpack(kind, id, event->prev.value, event->prev.value_len, event->prev.mod_revision);
}

static void on_object(struct replay *r, const struct etcd_event *event, enum kind kind, const char *id)
{
	const struct etcd_kv *kv = &event->kv;
	_cleanup_pb_ void *old = old_of(kind, id, event);
	_cleanup_pb_ void *now = event->is_delete
					 ? NULL
					 : store_value_unpack(kind, id, kv->value, kv->value_len, kv->mod_revision);
	const struct store_event change = {.kind = kind, .id = id, .old = old, .now = now};
	size_t before = r->events.n;

	if (!old && (event->is_delete || kv->create_revision != kv->mod_revision))
		return; /* what it was before is not known any more */
	if (!old && !now)
		return;
	derive(&change, kv->mod_revision, 0, &r->events);
	if (now && r->events.n > before)
		set_times(r, r->events.v[r->events.n - 1]->at);
}

static void on_event(struct replay *r, const struct etcd_event *event)
{
	enum kind kind;
	const char *id;

	if (str_eq(event->kv.key, r->leader_key))
		on_leader_key(r, event);
	else if (store_key_parse(r->prefix, event->kv.key, event->kv.key_len, &kind, &id))
		on_object(r, event, kind, id);
}

static void on_events(void *data, uint64_t revision, const struct etcd_event *events, size_t n)
{
	struct replay *r = data;

	for (size_t i = 0; i < n && events[i].kv.mod_revision <= r->opt.upto; i++)
		on_event(r, &events[i]);
	trim(r, 2 * r->opt.max_events);
	if (revision >= r->opt.enough)
		finish(r);
}

static void on_compacted(void *data, uint64_t compact_revision);

static void watch(struct replay *r, uint64_t from)
{
	static const struct etcd_watch_handlers handlers = {
		.on_events = on_events,
		.on_compacted = on_compacted,
		.prev = true,
	};

	r->opt.from = from;
	r->watch = etcd_watch(r->opt.etcd, r->first, r->end, from, &handlers, r);
}

static void on_compacted(void *data, uint64_t compact_revision)
{
	struct replay *r = data;

	r->watch = NULL;
	log_debug("history_compacted", kv_u64("from", r->opt.from), kv_u64("compacted", compact_revision));
	if (compact_revision >= r->opt.from && compact_revision < r->opt.enough)
		watch(r, compact_revision + 1);
	else
		finish(r); /* or an answer larger than we take: what was told until then is kept */
}

struct replay *replay_start(const struct replay_options *options)
{
	struct replay *r = xnew(struct replay);

	r->opt = *options;
	r->prefix = xstrdup(options->prefix);
	r->leader_key = xstrdup(options->leader_key);
	r->first = xasprintf("%s/", options->prefix);
	r->end = etcd_prefix_end(r->first);
	watch(r, options->from);
	return r;
}
