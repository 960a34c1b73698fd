#include "history.h"

#include "derive.h"
#include "replay.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"
#include "manager/store/store.h"

#include <sys/queue.h>

#define REVISIONS_READ 5000 /* of the past, at most */

struct history_sub {
	LIST_ENTRY(history_sub) entry;
	void (*cb)(void *data);
	void *data;
};

struct history {
	struct store *store;
	struct store_sub *store_sub;
	struct replay *replay;
	uint64_t base;          /* revision that the view had at first: later ones come from the view */
	uint64_t next;          /* number of the next event */
	pb_event *ring[HISTORY_MAX];
	struct event_list early; /* what came while the past was being read */
	bool ready;
	LIST_HEAD(, history_sub) subs;
};

static void append(struct history *h, pb_event *event)
{
	pb_event **place = &h->ring[h->next % HISTORY_MAX];

	pb_free(*place);
	*place = event;
	h->next++;
}

static void tell(struct history *h)
{
	struct history_sub *sub;

	LIST_FOREACH(sub, &h->subs, entry)
	sub->cb(sub->data);
}

/* Takes the events over. */
static void take(struct history *h, struct event_list *events)
{
	if (!events->n)
		return;
	for (size_t i = 0; i < events->n; i++) {
		if (h->ready)
			append(h, events->v[i]);
		else
			event_list_add(&h->early, events->v[i]);
	}
	events->n = 0;
	if (h->ready)
		tell(h);
}

static uint64_t revision_of(const struct history *h, const struct store_event *event)
{
	Skein__Meta *meta = event->now ? *kind_info(event->kind)->meta((void *)event->now) : NULL;

	return meta && meta->revision ? meta->revision : store_revision(h->store);
}

static void on_events(void *data, const struct store_event *events, size_t n)
{
	struct history *h = data;
	struct event_list list = {0};

	for (size_t i = 0; i < n; i++)
		derive(&events[i], revision_of(h, &events[i]), clock_wall_ns(), &list);
	take(h, &list);
	event_list_fini(&list);
}

void history_leader(struct history *h, const char *node_id, uint64_t create_revision)
{
	struct event_list list = {0};

	/* Those up to the base are in the past that is read. */
	if (!*node_id || create_revision <= h->base)
		return;
	event_list_add(&list, derive_leader(node_id, create_revision, clock_wall_ns()));
	take(h, &list);
	event_list_fini(&list);
}

static void become_ready(struct history *h, struct event_list *past)
{
	for (size_t i = 0; i < past->n; i++)
		append(h, past->v[i]);
	for (size_t i = 0; i < h->early.n; i++)
		append(h, h->early.v[i]);
	past->n = h->early.n = 0;
	event_list_fini(past);
	event_list_fini(&h->early);
	h->ready = true;
	log_debug("history_ready", kv_u64("events", h->next));
	tell(h);
}

static void on_replayed(void *data, struct event_list *events)
{
	struct history *h = data;

	h->replay = NULL;
	become_ready(h, events);
}

/* The last revision that changed an object which is there: the past is read up to it. */
static uint64_t newest_revision(const struct view *v)
{
	uint64_t newest = 0;

	for (unsigned kind = 0; kind < KIND_COUNT; kind++) {
		_cleanup_free_ const void **list = NULL;
		size_t n;

		list = view_list(v, kind, &n);
		for (size_t i = 0; i < n; i++) {
			const Skein__Meta *meta = *kind_info(kind)->meta((void *)list[i]);

			newest = MAX(newest, meta ? meta->revision : 0);
		}
	}
	return newest;
}

struct history *history_new(const struct history_options *options)
{
	struct history *h = xnew(struct history);
	struct event_list nothing = {0};
	struct replay_options replay = {
		.etcd = options->etcd,
		.prefix = options->prefix,
		.leader_key = options->leader_key,
		.max_events = HISTORY_MAX,
		.done = on_replayed,
		.data = h,
	};

	h->store = options->store;
	h->base = store_revision(h->store);
	LIST_INIT(&h->subs);
	h->store_sub = store_subscribe(h->store, on_events, h);
	replay.from = h->base > REVISIONS_READ ? h->base - REVISIONS_READ : 1;
	replay.upto = h->base;
	replay.enough = newest_revision(store_view(h->store));
	if (replay.enough >= replay.from)
		h->replay = replay_start(&replay);
	else
		become_ready(h, &nothing);
	return h;
}

void history_free(struct history *h)
{
	if (!h)
		return;
	replay_cancel(h->replay);
	store_unsubscribe(h->store_sub);
	while (!LIST_EMPTY(&h->subs))
		history_unsubscribe(LIST_FIRST(&h->subs));
	for (size_t i = 0; i < HISTORY_MAX; i++)
		pb_free(h->ring[i]);
	event_list_fini(&h->early);
	free(h);
}

/* ---- reading */

bool history_ready(const struct history *h)
{
	return h->ready;
}

uint64_t history_end(const struct history *h)
{
	return h->next;
}

uint64_t history_first(const struct history *h)
{
	return h->next > HISTORY_MAX ? h->next - HISTORY_MAX : 0;
}

const pb_event *history_get(const struct history *h, uint64_t number)
{
	if (!h->ready || number < history_first(h) || number >= h->next)
		return NULL;
	return h->ring[number % HISTORY_MAX];
}

struct history_sub *history_subscribe(struct history *h, void (*cb)(void *data), void *data)
{
	struct history_sub *sub = xnew(struct history_sub);

	sub->cb = cb;
	sub->data = data;
	LIST_INSERT_HEAD(&h->subs, sub, entry);
	return sub;
}

void history_unsubscribe(struct history_sub *sub)
{
	if (!sub)
		return;
	LIST_REMOVE(sub, entry);
	free(sub);
}
