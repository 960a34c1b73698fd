/*
 * Somebody has just left balancing. What was begun to it before and has got no answer since will not get one: the door may
 * be closed there (drain.c). Connection tracking would send each repetition the same way, so it forgets such
 * flows a little later, when an answer that was on its way has come.
 */
#include "net_internal.h"

#include "common/clock.h"
#include "common/mem.h"
#include "common/str.h"

#include <string.h>

/* Below the second after which a client asks again. */
#define ANSWER_NS (300 * NS_PER_MS)

struct stale {
	TAILQ_ENTRY(stale) link;
	struct conntrack_flow flow;
	int64_t due;
	char network_id[64]; /* "" = in the host */
};

void stale_add(struct net *n, const char *network_id, const struct conntrack_flow *flow)
{
	struct stale *s;

	if (!ipaddr_is_set(&flow->address) || (network_id && strlen(network_id) >= sizeof(s->network_id)))
		return;
	s = xnew(struct stale);
	s->flow = *flow;
	s->flow.unanswered = true;
	s->due = clock_mono_ns() + ANSWER_NS;
	strcpy(s->network_id, network_id ? network_id : "");
	TAILQ_INSERT_TAIL(&n->stale, s, link);
	net_tick_start(n);
}

/* All that is due in one place: one look at its tracked connections serves many. */
static void forget_due(struct net *n, struct work_job *job, const char *network_id, int64_t now)
{
	struct overlay *o = *network_id ? overlay_find(n, network_id) : NULL;
	struct conntrack_flow *v = NULL;
	struct stale *s, *next;
	size_t count = 0;

	for (s = TAILQ_FIRST(&n->stale); s && s->due <= now; s = next) {
		next = TAILQ_NEXT(s, link);
		if (!str_eq(s->network_id, network_id))
			continue;
		v = xreallocarray(v, count + 1, sizeof(*v));
		v[count++] = s->flow;
		TAILQ_REMOVE(&n->stale, s, link);
		free(s);
	}
	if (!*network_id) {
		work_forget(job, NULL, v, count);
		return;
	}
	if (o)
		overlay_forget(o, job, v, count);
	free(v);
}

bool stale_tick(struct net *n, struct work_job *job, int64_t now)
{
	struct stale *s;

	while ((s = TAILQ_FIRST(&n->stale)) && s->due <= now) {
		char network_id[sizeof(s->network_id)];

		strcpy(network_id, s->network_id);
		forget_due(n, job, network_id, now);
	}
	return !TAILQ_EMPTY(&n->stale);
}

void stale_free(struct net *n)
{
	struct stale *s;

	while ((s = TAILQ_FIRST(&n->stale))) {
		TAILQ_REMOVE(&n->stale, s, link);
		free(s);
	}
}
