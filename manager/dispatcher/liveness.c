#include "liveness.h"

#include "common/clock.h"
#include "common/mem.h"
#include "common/str.h"
#include "manager/store/view.h"

#include <string.h>
#include <uthash.h>

#define PERIOD_PER_SESSION_NS NS_PER_MS
#define MISSED_PERIODS 3
#define JITTER_MAX_NS (2 * NS_PER_SEC)

const struct liveness_params liveness_defaults = {
	.beat_min_ns = 250 * NS_PER_MS,
	.silence_min_ns = NS_PER_SEC,
	.grace_ns = 5 * NS_PER_SEC,
	.restart_grace_ns = 12 * NS_PER_SEC, /* agents wait at most 8 s between two attempts */
	.confirm_ns = 50 * NS_PER_MS,
};

struct agent {
	UT_hash_handle hh;
	bool session;
	bool left; /* it ended its session for good */
	int64_t heard;
	int64_t jitter;
	int64_t period, period_before; /* told last and the time before: either may be in use */
	int64_t suspect;	       /* when the silence was first too long; 0 = it is not */
	int64_t broken, deadline;      /* without a session */
	char id[];
};

struct manager {
	UT_hash_handle hh;
	bool alive;
	int64_t since;
	char id[];
};

struct liveness {
	struct liveness_params p;
	char *self;
	int64_t started;
	bool leader;
	int64_t leader_since;
	size_t n_sessions;
	struct agent *agents;
	struct manager *managers;
};

struct liveness *liveness_new(const struct liveness_params *params, const char *self, int64_t now)
{
	struct liveness *l = xnew(struct liveness);

	l->p = *params;
	l->self = xstrdup(self);
	l->started = now;
	return l;
}

void liveness_free(struct liveness *l)
{
	struct agent *a, *next_a;
	struct manager *m, *next_m;

	if (!l)
		return;
	HASH_ITER(hh, l->agents, a, next_a)
	{
		HASH_DEL(l->agents, a);
		free(a);
	}
	HASH_ITER(hh, l->managers, m, next_m)
	{
		HASH_DEL(l->managers, m);
		free(m);
	}
	free(l->self);
	free(l);
}

void liveness_restart(struct liveness *l, int64_t now)
{
	l->started = now;
	for (struct agent *a = l->agents; a; a = a->hh.next)
		if (!a->session)
			a->deadline = MAX(a->deadline, now + l->p.restart_grace_ns);
}

int64_t liveness_period(const struct liveness *l, int64_t spec_period_ns)
{
	if (spec_period_ns > 0)
		return spec_period_ns;
	return MAX(l->p.beat_min_ns, (int64_t)l->n_sessions * PERIOD_PER_SESSION_NS);
}

size_t liveness_sessions(const struct liveness *l)
{
	return l->n_sessions;
}

static struct agent *agent_find(const struct liveness *l, const char *id)
{
	struct agent *a;

	HASH_FIND_STR(l->agents, id, a);
	return a;
}

void liveness_session(struct liveness *l, const char *node_id, int64_t period_ns, int64_t now)
{
	struct agent *a = agent_find(l, node_id);
	size_t len = strlen(node_id);

	if (!a) {
		a = xcalloc(1, sizeof(*a) + len + 1);
		memcpy(a->id, node_id, len);
		HASH_ADD_KEYPTR(hh, l->agents, a->id, len, a);
	}
	if (!a->session)
		l->n_sessions++;
	a->session = true;
	a->heard = now;
	a->suspect = a->broken = a->deadline = a->jitter = 0;
	a->period = a->period_before = period_ns;
}

void liveness_heard(struct liveness *l, const char *node_id, int64_t period_ns, int64_t now)
{
	struct agent *a = agent_find(l, node_id);
	int64_t late;

	if (!a || !a->session)
		return;
	/* The worst lateness of late, forgotten slowly: a busy host earns itself more patience. */
	late = now - a->heard - MAX(a->period, a->period_before);
	a->jitter = MIN(MAX(late, a->jitter - a->jitter / 8), JITTER_MAX_NS);
	a->jitter = MAX(a->jitter, 0);
	a->heard = now;
	a->suspect = 0;
	a->period_before = a->period;
	a->period = period_ns;
}

static int64_t silence_limit(const struct liveness *l, const struct agent *a)
{
	int64_t period = MAX(a->period, a->period_before);

	return MAX(l->p.silence_min_ns, MISSED_PERIODS * period + a->jitter);
}

void liveness_broken(struct liveness *l, const char *node_id, bool left, int64_t now)
{
	struct agent *a = agent_find(l, node_id);

	if (!a || !a->session)
		return;
	a->session = false;
	l->n_sessions--;
	a->broken = now;
	a->left = left;
	if (left) {
		a->deadline = now;
		return;
	}
	/* However long it was silent before: a slow agent gives up a slow manager, too. And never less
	 * than silence would have had: long periods are told where everything is slow. */
	a->deadline = now + MAX(l->p.grace_ns, silence_limit(l, a));
}

static void agent_drop(struct liveness *l, struct agent *a)
{
	if (a->session)
		l->n_sessions--;
	HASH_DEL(l->agents, a);
	free(a);
}

void liveness_forget(struct liveness *l, const char *node_id)
{
	struct agent *a = agent_find(l, node_id);

	if (a)
		agent_drop(l, a);
}

void liveness_manager(struct liveness *l, const char *manager_id, bool alive, int64_t now)
{
	size_t len = strlen(manager_id);
	struct manager *m;

	HASH_FIND_STR(l->managers, manager_id, m);
	if (!m) {
		m = xcalloc(1, sizeof(*m) + len + 1);
		memcpy(m->id, manager_id, len);
		m->since = now;
		HASH_ADD_KEYPTR(hh, l->managers, m->id, len, m);
	}
	if (m->alive != alive)
		m->since = now;
	m->alive = alive;
}

bool liveness_minority(const struct liveness *l, const struct view *v)
{
	_cleanup_free_ const void **nodes = NULL;
	size_t n, managers = 0, alive = 0;

	nodes = view_list(v, KIND_NODE, &n);
	for (size_t i = 0; i < n; i++) {
		const pb_node *node = nodes[i];
		struct manager *m;

		if (!node->manager)
			continue;
		HASH_FIND_STR(l->managers, node->id, m);
		managers++;
		alive += str_eq(node->id, l->self) || (m && m->alive);
	}
	return managers > 1 && 2 * alive <= managers;
}

void liveness_leader(struct liveness *l, bool leader, int64_t now)
{
	if (leader && !l->leader)
		l->leader_since = now;
	l->leader = leader;
}

void liveness_stalled(struct liveness *l, int64_t now)
{
	for (struct agent *a = l->agents; a; a = a->hh.next) {
		if (a->session) {
			a->heard = now;
			a->suspect = 0;
		} else {
			/* It could not register with a process that did not run. */
			a->deadline = MAX(a->deadline, now + l->p.silence_min_ns);
		}
	}
}

struct judging {
	struct liveness *l;
	int64_t now, next;
	struct liveness_verdict *verdicts;
	size_t n, cap;
};

static void verdict_add(struct judging *j, const char *node_id, const char *manager_id,
			enum liveness_reason reason, int64_t since)
{
	if (j->n == j->cap) {
		j->cap = j->cap ? 2 * j->cap : 8;
		j->verdicts = xreallocarray(j->verdicts, j->cap, sizeof(*j->verdicts));
	}
	j->verdicts[j->n++] =
		(struct liveness_verdict){node_id, manager_id, reason, j->now - since};
}

/* True when the moment has come; else it is remembered as one to wake up for. */
static bool due(struct judging *j, int64_t deadline)
{
	if (j->now >= deadline)
		return true;
	j->next = MIN(j->next, deadline);
	return false;
}

static void judge_session(struct judging *j, struct agent *a)
{
	if (!due(j, a->heard + silence_limit(j->l, a))) {
		a->suspect = 0;
		return;
	}
	/* Beats may lie unread behind this very turn of the loop: look again before saying so. */
	if (!a->suspect)
		a->suspect = j->now;
	if (due(j, a->suspect + j->l->p.confirm_ns))
		verdict_add(j, a->id, j->l->self, LIVENESS_SILENT, a->heard);
}

/* Since when a manager cannot have held the node's session as far as we know; -1 while it is alive.
 */
static int64_t manager_gone_since(const struct liveness *l, const struct view *v,
				  const char *manager_id)
{
	struct manager *m;

	HASH_FIND_STR(l->managers, manager_id, m);
	if (!m || !view_node(v, manager_id))
		return l->leader_since;
	return m->alive ? -1 : MAX(l->leader_since, m->since);
}

/* The grace that liveness_broken() would give, for nodes of a manager whose sessions are not known here. */
static int64_t grace_elsewhere(const struct liveness *l, const struct view *v)
{
	const pb_cluster *cluster = view_cluster(v);
	int64_t wanted = cluster && cluster->spec ? cluster->spec->heartbeat_period : 0;

	return MAX(l->p.grace_ns, MISSED_PERIODS * liveness_period(l, wanted));
}

static void judge_sessionless(struct judging *j, const struct view *v, const pb_node *node)
{
	struct liveness *l = j->l;
	const char *manager_id = node->status->manager_id;
	struct agent *a = agent_find(l, node->id);
	int64_t since;

	if (str_eq(manager_id, l->self)) {
		since = a ? a->broken : l->started;
		if (due(j, a ? a->deadline : l->started + l->p.restart_grace_ns))
			verdict_add(j, node->id, manager_id,
				    a && a->left ? LIVENESS_LEFT : LIVENESS_LOST, since);
		return;
	}
	if (a)
		agent_drop(l, a); /* it has gone to another manager */
	if (!l->leader)
		return;
	since = manager_gone_since(l, v, manager_id);
	if (since >= 0 && due(j, MAX(since + grace_elsewhere(l, v), l->started + l->p.restart_grace_ns)))
		verdict_add(j, node->id, manager_id, LIVENESS_MANAGER_GONE, since);
}

size_t liveness_judge(struct liveness *l, const struct view *v, int64_t now,
		      struct liveness_verdict **ret_verdicts, int64_t *ret_next)
{
	struct judging j = {.l = l, .now = now, .next = INT64_MAX};
	_cleanup_free_ const void **nodes = NULL;
	size_t n;

	nodes = view_list(v, KIND_NODE, &n);
	for (size_t i = 0; i < n; i++) {
		const pb_node *node = nodes[i];
		struct agent *a = agent_find(l, node->id);

		if (a && a->session)
			judge_session(&j, a);
		else if (node->status && node->status->state != (Skein__NodeState)NODE_DOWN &&
			 node->status->state != (Skein__NodeState)NODE_UNKNOWN)
			judge_sessionless(&j, v, node);
		else if (a)
			agent_drop(l, a);
	}
	*ret_verdicts = j.verdicts;
	*ret_next = j.next;
	return j.n;
}
