#include "store_internal.h"

#include "common/clock.h"
#include "common/mem.h"

#include <assert.h>

struct store_sub {
	LIST_ENTRY(store_sub) entry;
	struct store *store;
	store_events_cb cb; /* NULL = unsubscribed while somebody is being told */
	void *data;
};

struct store *store_new(uv_loop_t *loop, struct etcd *etcd, const char *prefix)
{
	struct store *s = xnew(struct store);

	s->loop = loop;
	s->etcd = etcd;
	s->prefix = xstrdup(prefix);
	s->first = xasprintf("%s/", prefix);
	s->end = etcd_prefix_end(s->first);
	s->view = view_new();
	s->heard_ns = clock_mono_ns();
	closer_init(&s->closer);
	LIST_INIT(&s->subs);
	TAILQ_INIT(&s->queued);
	TAILQ_INIT(&s->in_flight);
	TAILQ_INIT(&s->waiting);
	uv_timer_init(loop, &s->load_timer);
	uv_timer_init(loop, &s->commit_timer);
	uv_timer_init(loop, &s->resend_timer);
	return s;
}

struct closing {
	void (*closed)(void *data);
	void *data;
	struct store *store;
};

static void sub_free(struct store_sub *sub)
{
	LIST_REMOVE(sub, entry);
	free(sub);
}

static void on_closed(void *data)
{
	struct closing c = *(struct closing *)data;
	struct store *s = c.store;

	free(data);
	while (!LIST_EMPTY(&s->subs))
		sub_free(LIST_FIRST(&s->subs));
	view_free(s->view);
	free(s->prefix);
	free(s->first);
	free(s->end);
	free(s->fence_key);
	free(s);
	if (c.closed)
		c.closed(c.data);
}

void store_close(struct store *s, void (*closed)(void *data), void *data)
{
	struct closing *c;

	if (s->closer.closing)
		return;
	c = xmalloc(sizeof(*c));
	*c = (struct closing){closed, data, s};
	closer_begin(&s->closer, on_closed, c);
	store_sync_stop(s);
	store_commits_cancel(s);
	closer_add(&s->closer, (uv_handle_t *)&s->load_timer);
	closer_add(&s->closer, (uv_handle_t *)&s->commit_timer);
	closer_add(&s->closer, (uv_handle_t *)&s->resend_timer);
	closer_end(&s->closer);
}

void store_start(struct store *s, void (*cb)(void *data, const struct error *err), void *data)
{
	assert(!s->on_started && !s->revision);
	s->on_started = cb;
	s->on_started_data = data;
	store_sync_start(s);
}

struct view *store_view(struct store *s)
{
	return s->view;
}

uint64_t store_revision(const struct store *s)
{
	return s->revision;
}

bool store_connected(const struct store *s)
{
	return s->connected;
}

int64_t store_behind_ns(const struct store *s)
{
	return clock_mono_ns() - s->heard_ns;
}

const struct store_stats *store_stats(const struct store *s)
{
	return &s->stats;
}

void store_set_lag_observer(struct store *s, void (*cb)(void *data, int64_t lag_ns), void *data)
{
	s->on_lag = cb;
	s->on_lag_data = data;
}

void store_set_fence(struct store *s, const char *key, uint64_t create_revision)
{
	char *copy = xstrdup(key);

	free(s->fence_key);
	s->fence_key = copy;
	s->fence_revision = create_revision;
}

/* ---- subscribers */

struct store_sub *store_subscribe(struct store *s, store_events_cb cb, void *data)
{
	struct store_sub *sub = xnew(struct store_sub);

	sub->store = s;
	sub->cb = cb;
	sub->data = data;
	LIST_INSERT_HEAD(&s->subs, sub, entry);
	return sub;
}

void store_unsubscribe(struct store_sub *sub)
{
	if (!sub)
		return;
	sub->cb = NULL;
	if (!sub->store->telling)
		sub_free(sub);
}

void store_tell(struct store *s, const struct store_event *events, size_t n)
{
	struct store_sub *sub, *next;

	s->stats.events += n;
	if (!n)
		return;
	s->telling++;
	LIST_FOREACH(sub, &s->subs, entry)
		if (sub->cb && !s->closer.closing)
			sub->cb(sub->data, events, n);
	if (--s->telling)
		return;
	for (sub = LIST_FIRST(&s->subs); sub; sub = next) {
		next = LIST_NEXT(sub, entry);
		if (!sub->cb)
			sub_free(sub);
	}
}
