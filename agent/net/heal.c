#include "net_internal.h"

#include "common/clock.h"
#include "common/error.h"
#include "common/log.h"
#include "common/mem.h"

#include <stdlib.h>
#include <string.h>

/*
 * Somebody else changed something: look at it when it has been quiet for a moment. Everything is looked at from time to
 * time in any case, one namespace after the other. Where the same has to be repaired again and again somebody disagrees
 * with us: then less and less often.
 */
#define DEBOUNCE_NS (300 * NS_PER_MS)
#define BACKOFF_MIN_NS (1 * NS_PER_SEC)
#define BACKOFF_MAX_NS (60 * NS_PER_SEC)
#define SLOW_NS (60 * NS_PER_SEC)
#define SLOW_JITTER_MS 12000

struct heal {
	struct net *net;
	struct overlay *overlay; /* NULL = host */
	int64_t due;             /* mono ns; 0 = nothing noticed */
	int64_t backoff;
	bool watched, checking, gone, again;
};

/* ---- what was found */

static void log_diffs(struct net *n, const char *where, const struct work_sync *s, const char *event)
{
	for (size_t i = 0; i < s->n_diffs; i++)
		log_warn(event, kv_str("network", where), kv_str("what", s->diffs[i].what),
			 kv_str("wanted", s->diffs[i].wanted ? s->diffs[i].wanted : ""),
			 kv_str("found", s->diffs[i].found ? s->diffs[i].found : ""),
			 kv_bool("repaired", s->diffs[i].repaired));
}

static bool has_link(const struct work_sync *s)
{
	for (size_t i = 0; i < s->n_diffs; i++)
		if (str_eq(s->diffs[i].what, netstate_kind_name(NETSTATE_LINK)))
			return true;
	return false;
}

/* ---- one namespace */

struct look {
	struct heal *heal;
	bool deep;
	const struct work_sync *found;
};

static const char *name_of(const struct heal *h)
{
	return h->overlay ? net_name(h->net, h->overlay->id) : "";
}

static void look(struct heal *h, bool deep);
static void schedule(struct net *n);

static void looked(void *data, struct work_job *job, const struct error *err)
{
	struct look *l = data;
	struct heal *h = l->heal;
	bool found = l->found->n_diffs > 0, deep = l->deep, link = has_link(l->found);
	struct net *n = h->net;

	free(l);
	h->checking = false;
	if (h->gone || net_closing(n)) {
		if (h->gone)
			free(h);
		return;
	}
	if (err)
		log_warn("net_check", kv_str("network", name_of(h)), kv_err(err));
	h->backoff = found || err ? MIN(MAX(h->backoff * 2, BACKOFF_MIN_NS), BACKOFF_MAX_NS) : 0;
	if (link && !deep) { /* what stood on the link went with it */
		look(h, true);
		return;
	}
	if (found || err || h->again)
		h->due = clock_mono_ns() + MAX(DEBOUNCE_NS, h->backoff);
	h->again = false;
	schedule(n);
}

/* Interfaces of tasks are made from here: when one was made again it has no address yet. */
static void sync_tasks(struct heal *h, struct work_job *job)
{
	struct attached *a, *next;

	HASH_ITER(hh, h->net->attached, a, next) {
		struct work_sync s;

		if (!a->planned || a->state != ATTACHED_UP || (h->overlay && !attached_in(a, h->overlay->id)))
			continue;
		s = sync_of_attached(a, false, true);
		work_sync(job, &s);
	}
}

static void look_done(void *data, struct work_job *job, const struct error *err)
{
	struct look *l = data;

	if (!l->heal->gone && !net_closing(l->heal->net))
		log_diffs(l->heal->net, name_of(l->heal), l->found, "net_repaired");
	looked(data, job, err);
}

static void look(struct heal *h, bool deep)
{
	struct work_job *job = work_job_new();
	struct work_sync s = h->overlay ? sync_of_overlay(h->overlay, deep, true) : sync_of_host(h->net, deep, true);
	struct look *l = xnew(struct look);

	*l = (struct look){h, deep, work_sync(job, &s)};
	if (deep)
		sync_tasks(h, job);
	h->checking = true;
	h->due = 0;
	work_run(h->net->work, job, look_done, l);
}

/* ---- when */

static void on_timer(uv_timer_t *timer);

static void each_heal(struct net *n, void (*fn)(struct heal *h, void *data), void *data)
{
	struct overlay *o, *next;

	if (n->host_heal)
		fn(n->host_heal, data);
	HASH_ITER(hh, n->overlays, o, next)
		if (o->heal)
			fn(o->heal, data);
}

static void earliest(struct heal *h, void *data)
{
	int64_t *at = data;

	if (h->due && !h->checking && h->due < *at)
		*at = h->due;
}

static void schedule(struct net *n)
{
	int64_t at = n->slow_due ? n->slow_due : INT64_MAX;

	if (net_closing(n))
		return;
	each_heal(n, earliest, &at);
	if (at != INT64_MAX)
		loop_timer_in(&n->heal_timer, MAX(at - clock_mono_ns(), 0), on_timer);
}

void heal_soon(struct heal *h)
{
	if (h->checking) {
		h->again = true;
		return;
	}
	if (!h->due)
		h->due = clock_mono_ns() + MAX(DEBOUNCE_NS, h->backoff);
	schedule(h->net);
}

static void on_change(void *data)
{
	heal_soon(data);
}

struct heal *heal_open(struct net *n, struct overlay *o)
{
	struct heal *h = xnew(struct heal);

	h->net = n;
	h->overlay = o;
	return h;
}

void heal_watch(struct heal *h)
{
	if (!h || h->watched)
		return;
	h->watched = true;
	work_watch(h->net->work, h->overlay ? h->overlay->space.path : NULL, on_change, h);
}

void heal_close(struct heal *h)
{
	if (!h)
		return;
	h->overlay = NULL;
	h->gone = true;
	if (!h->checking)
		free(h);
}

/* ---- from time to time */

/* The tasks one after the other, so that other work gets its turn in between. */
struct slow {
	struct net *net;
	char **tasks;
	size_t n, next;
	char *now;
	const struct work_sync *sync;
};

static void slow_next(struct slow *s);

static void slow_done(void *data, struct work_job *job, const struct error *err)
{
	struct slow *s = data;

	if (!net_closing(s->net)) {
		struct attached *a;

		HASH_FIND_STR(s->net->attached, s->now, a);
		if (a && a->state == ATTACHED_UP)
			log_diffs(s->net, s->now, s->sync, "net_repaired");
	}
	slow_next(s);
}

static void slow_free(struct slow *s)
{
	for (size_t i = 0; i < s->n; i++)
		free(s->tasks[i]);
	free(s->tasks);
	free(s);
}

static void slow_next(struct slow *s)
{
	while (!net_closing(s->net) && s->next < s->n) {
		struct attached *a;
		struct work_job *job;
		struct work_sync sync;

		s->now = s->tasks[s->next++];
		HASH_FIND_STR(s->net->attached, s->now, a);
		if (!a || !a->planned || a->state != ATTACHED_UP)
			continue;
		job = work_job_new();
		sync = sync_of_attached(a, true, true);
		s->sync = work_sync(job, &sync);
		work_run(s->net->work, job, slow_done, s);
		return;
	}
	slow_free(s);
}

static void slow_begin(struct net *n)
{
	struct slow *s = xnew(struct slow);
	struct attached *a, *next;

	s->net = n;
	s->tasks = xcalloc(HASH_COUNT(n->attached) + 1, sizeof(*s->tasks));
	HASH_ITER(hh, n->attached, a, next)
		s->tasks[s->n++] = xstrdup(a->id);
	slow_next(s);
}

static void look_deep(struct heal *h, void *data)
{
	if (!h->checking)
		look(h, true);
}

static void look_due(struct heal *h, void *data)
{
	if (!h->due || h->checking || h->due > *(int64_t *)data)
		return;
	look(h, false);
	if (!h->overlay && h->net->link_known) /* the underlay's MTU may be what has changed */
		start_find_link(h->net);
}

static void slow_again(struct net *n)
{
	n->slow_due = clock_mono_ns() + SLOW_NS + (int64_t)(random() % SLOW_JITTER_MS) * NS_PER_MS;
}

static void on_timer(uv_timer_t *timer)
{
	struct net *n = container_of(timer, struct net, heal_timer);
	int64_t now = clock_mono_ns();

	each_heal(n, look_due, &now);
	if (n->slow_due && now >= n->slow_due) {
		each_heal(n, look_deep, NULL);
		slow_begin(n);
		forward_slow(n);
		slow_again(n);
		if (n->link_known) /* its MTU may have changed */
			start_find_link(n);
	}
	schedule(n);
}

void heal_slow_start(struct net *n)
{
	slow_again(n);
	schedule(n);
}
