#include "internal.h"

#include "common/clock.h"
#include "common/error.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/str.h"
#include "common/tcp.h"
#include "doubt.h"
#include "manager/store/store.h"
#include "move.h"
#include "netindex.h"
#include "peers.h"

#include <stdio.h>
#include <string.h>

#define STALL_NS (200 * NS_PER_MS)
#define TICK_MAX_NS (1 * NS_PER_SEC)
#define BUSY_DEFAULT_NS (10 * NS_PER_SEC)

int64_t dispatcher_period(struct dispatcher *d)
{
	const pb_cluster *cluster = view_cluster(store_view(d->store));
	int64_t wanted = cluster && cluster->spec ? cluster->spec->heartbeat_period : 0;

	return liveness_period(d->liveness, wanted);
}

/* ---------------------------------------------------------------- judging */

static void on_tick(uv_timer_t *timer);

static void tick_at(struct dispatcher *d, int64_t at, int64_t now)
{
	at = MIN(at, now + TICK_MAX_NS);
	d->tick_due = MAX(at, now);
	loop_timer_in(&d->tick, d->tick_due - now, on_tick);
}

void dispatcher_judge_soon(struct dispatcher *d)
{
	int64_t now = clock_mono_ns();

	if (!d->closer.closing && d->started && d->tick_due > now)
		tick_at(d, now, now);
}

static void write_down(struct dispatcher *d, const struct liveness_verdict *verdict)
{
	char message[160], human[STR_HUMAN_MAX];

	/* Tenths of a second are what a reader can use. */
	str_duration(verdict->for_ns / (100 * NS_PER_MS) * (100 * NS_PER_MS), human);
	switch (verdict->reason) {
	case LIVENESS_SILENT:
		snprintf(message, sizeof(message), "no sign of life for %s", human);
		break;
	case LIVENESS_LOST:
		snprintf(message, sizeof(message), "session lost, not back within %s", human);
		break;
	case LIVENESS_LEFT:
		snprintf(message, sizeof(message), "left the cluster");
		break;
	case LIVENESS_MANAGER_GONE:
		if (str_empty(verdict->manager_id))
			snprintf(message, sizeof(message),
				 "no manager has its session, none within %s", human);
		else
			snprintf(message, sizeof(message),
				 "its manager %s is gone, not back within %s", verdict->manager_id,
				 human);
		break;
	}
	nodes_want_down(d, verdict->node_id, verdict->manager_id, message);
}

static void on_verdict(struct dispatcher *d, const struct liveness_verdict *verdict,
		       struct tcp_table **table, int64_t now, int64_t *next)
{
	struct session *s = session_of_node(d, verdict->node_id);
	struct error err = ERROR_INIT;
	int64_t again;

	if (s && !s->registered && !s->ended)
		return; /* it is coming back just now */
	if (verdict->reason != LIVENESS_SILENT) {
		write_down(d, verdict);
		return;
	}
	if (s && s->paused) {
		/* We do not listen: its statuses wait for etcd. */
		liveness_heard(d->liveness, s->node_id, dispatcher_period(d), now);
		return;
	}
	if (s && !s->ended && doubt_spares(s, table, verdict->for_ns, d->busy_ns, now, &again)) {
		*next = MIN(*next, now + again);
		return;
	}
	write_down(d, verdict);
	error_set(&err, ERR_UNAVAILABLE, "no beat for %lld ms",
		  (long long)(verdict->for_ns / NS_PER_MS));
	if (s)
		session_end(s, &err);
	liveness_forget(d->liveness, verdict->node_id);
}

/* etcd's answer for a node that our view does not have; by ids, because the session may be gone by
 * then. */
struct probe {
	struct dispatcher *d;
	char node_id[64];
	char session_id[ID_LEN + 1];
};

static void on_probed(void *data, const struct error *err)
{
	_cleanup_free_ struct probe *p = data;
	struct dispatcher *d = p->d;
	struct session *s = d->closer.closing ? NULL : session_of_node(d, p->node_id);
	struct error end = ERROR_INIT;

	/* A conflict means that the node exists; the view has it by now, and the event let the
	 * session go on. */
	if (s && str_eq(s->id, p->session_id) && !view_node(store_view(d->store), s->node_id)) {
		if (err)
			error_set(&end, ERR_UNAVAILABLE, "node %s is not known here yet",
				  s->node_id);
		else
			error_set(&end, ERR_DENIED, "node %s was removed from the cluster",
				  s->node_id);
		session_end(s, &end);
	}
	closer_drop(&d->closer);
}

/* An agent that hears "removed" gives up for good: only etcd itself, asked now, may say so. */
static void probe_unknown(struct session *s)
{
	struct dispatcher *d = s->d;
	struct txn *t = txn_begin(store_view(d->store));
	struct probe *p = xnew(struct probe);

	p->d = d;
	snprintf(p->node_id, sizeof(p->node_id), "%s", s->node_id);
	snprintf(p->session_id, sizeof(p->session_id), "%s", s->id);
	s->probing = true;
	closer_hold(&d->closer);
	txn_require(t, KIND_NODE, s->node_id);
	store_commit(d->store, t, 0, on_probed, p);
}

static void end_late_registrations(struct dispatcher *d, int64_t now, int64_t *next)
{
	struct session *s, *following;

	HASH_ITER(hh, d->by_node, s, following)
	{
		struct error err = ERROR_INIT;

		if (s->registered || s->ended || s->probing)
			continue;
		if (now < s->deadline) {
			*next = MIN(*next, s->deadline);
			continue;
		}
		if (!view_node(store_view(d->store), s->node_id)) {
			probe_unknown(s);
			continue;
		}
		error_set(&err, ERR_UNAVAILABLE, "etcd did not take the registration in time");
		session_end(s, &err);
	}
}

static void on_tick(uv_timer_t *timer)
{
	struct dispatcher *d = timer->data;
	_cleanup_free_ struct liveness_verdict *verdicts = NULL;
	struct tcp_table *table = NULL;
	int64_t now = clock_mono_ns(), next = INT64_MAX;
	size_t n;

	if (now - d->tick_due > STALL_NS) {
		d->stats.stalls++;
		log_warn("dispatcher_stall", kv_i64("late_ms", (now - d->tick_due) / NS_PER_MS));
		liveness_stalled(d->liveness, now);
	}
	outage_watch(d, now);
	n = d->outage ? 0
		      : liveness_judge(d->liveness, store_view(d->store), now, &verdicts, &next);
	for (size_t i = 0; i < n; i++)
		on_verdict(d, &verdicts[i], &table, now, &next);
	tcp_table_free(table);
	end_late_registrations(d, now, &next);
	/* A verdict is pronounced again until it is written. */
	if (n)
		next = MIN(next, now + STALL_NS);
	tick_at(d, next, now);
}

/* ---------------------------------------------------------------- telling agents */

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void list_managers(const struct view *v, struct strv *out)
{
	_cleanup_free_ const void **nodes = NULL;
	size_t n;

	nodes = view_list(v, KIND_NODE, &n);
	for (size_t i = 0; i < n; i++) {
		const pb_node *node = nodes[i];

		if (node->manager && !str_empty(node->manager->address))
			strv_add(out, node->manager->address);
	}
	if (out->n)
		qsort(out->v, out->n, sizeof(*out->v), by_text);
}

struct flush {
	const struct view *view;
	struct peers *peers;
	struct strv managers;
	bool listed;
};

const struct strv *flush_managers(struct flush *flush)
{
	if (!flush->listed)
		list_managers(flush->view, &flush->managers);
	flush->listed = true;
	return &flush->managers;
}

struct peers *flush_peers(struct flush *flush)
{
	if (!flush->peers)
		flush->peers = peers_new(flush->view);
	return flush->peers;
}

static void on_turn(uv_idle_t *idle)
{
	struct dispatcher *d = idle->data;
	struct flush flush = {.view = store_view(d->store)};
	struct session *s;

	uv_idle_stop(idle);
	while ((s = TAILQ_FIRST(&d->dirty))) {
		TAILQ_REMOVE(&d->dirty, s, dirty_entry);
		s->dirty = false;
		session_flush(s, &flush);
	}
	peers_free(flush.peers);
	strv_fini(&flush.managers);
}

void dispatcher_flush_soon(struct dispatcher *d)
{
	if (!d->closer.closing)
		uv_idle_start(&d->turn, on_turn);
}

static void mark_tasks(struct dispatcher *d, const char *node_id)
{
	struct session *s = str_empty(node_id) ? NULL : session_of_node(d, node_id);

	if (s)
		session_mark(s, MARK_TASKS);
}

static void mark_all(struct dispatcher *d)
{
	for (struct session *s = d->by_node; s; s = s->hh.next)
		session_mark(s, MARK_NODE);
}

/* ---------------------------------------------------------------- what the store says */

static void on_task_event(struct dispatcher *d, const struct store_event *e)
{
	const pb_task *old = e->old, *now = e->now;

	if (old)
		mark_tasks(d, old->node_id);
	if (now)
		mark_tasks(d, now->node_id);
}

static void mark_ends(struct dispatcher *d, const pb_migration *m)
{
	if (!m)
		return;
	mark_tasks(d, m->source_node);
	mark_tasks(d, m->target_node);
}

/* Reports of progress come many times a second, and are nothing to tell. */
static void on_migration_event(struct dispatcher *d, const struct store_event *e)
{
	if (move_same_orders(e->old, e->now))
		return;
	mark_ends(d, e->old);
	mark_ends(d, e->now);
}

static const char *manager_address(const pb_node *node)
{
	return node && node->manager ? node->manager->address : "";
}

static int state_of(const pb_node *node)
{
	return node->status ? (int)node->status->state : NODE_UNKNOWN;
}

static const char *manager_of(const pb_node *node)
{
	return node->status ? node->status->manager_id : "";
}

static void on_node_removed(struct dispatcher *d, const char *id)
{
	struct session *s = session_of_node(d, id);
	struct error err = ERROR_INIT;

	if (s) {
		error_set(&err, ERR_DENIED, "node was removed from the cluster");
		session_end(s, &err);
	}
	liveness_forget(d->liveness, id);
}

static void on_node_event(struct dispatcher *d, const struct store_event *e)
{
	const pb_node *old = e->old, *now = e->now;
	struct session *s = session_of_node(d, e->id);

	if (!str_eq(manager_address(old), manager_address(now)))
		mark_all(d);
	if (!now) {
		on_node_removed(d, e->id);
		return;
	}
	if (!old) {
		if (s && !s->registered && !s->ended)
			session_proceed(s);
		return;
	}
	if (s)
		session_mark(s, MARK_NODE);
	if (s && s->registered && !s->ended && !str_eq(manager_of(now), d->node_id) &&
	    !str_eq(manager_of(now), manager_of(old)) && !str_empty(manager_of(now))) {
		struct error err = ERROR_INIT;

		error_set(&err, ERR_CONFLICT, "the node has a newer session with manager %s",
			  manager_of(now));
		liveness_forget(d->liveness, e->id);
		session_end(s, &err);
	}
	/* Somebody else called it DOWN while it has a session here: it is not. */
	if (s && s->registered && !s->ended && state_of(now) == NODE_DOWN &&
	    state_of(old) != NODE_DOWN) {
		struct error err = ERROR_INIT;

		error_set(&err, ERR_UNAVAILABLE, "node was called down (%s): register again",
			  now->status->message);
		session_end(s, &err);
	}
	if (state_of(now) != state_of(old))
		dispatcher_judge_soon(d);
}

static void on_events(void *data, const struct store_event *events, size_t n)
{
	struct dispatcher *d = data;

	for (size_t i = 0; i < n; i++) {
		const struct store_event *e = &events[i];

		netindex_event(d->net, store_view(d->store), e->kind, e->id, e->old, e->now);
		switch (e->kind) {
		case KIND_TASK:
			on_task_event(d, e);
			break;
		case KIND_MIGRATION:
			on_migration_event(d, e);
			break;
		case KIND_NODE:
			on_node_event(d, e);
			break;
		case KIND_CLUSTER:
			mark_all(d);
			break;
		default:
			break;
		}
	}
}

/* ---------------------------------------------------------------- life */

static struct liveness_params params_of(const struct dispatcher_options *options)
{
	struct liveness_params p = liveness_defaults;

	if (options->beat_min_ns)
		p.beat_min_ns = options->beat_min_ns;
	if (options->silence_min_ns)
		p.silence_min_ns = options->silence_min_ns;
	if (options->grace_ns) {
		p.grace_ns = options->grace_ns;
		p.restart_grace_ns = options->grace_ns;
	}
	return p;
}

/* What is there already; the rest comes as events. */
static struct netindex *index_services(const struct view *v)
{
	struct netindex *ix = netindex_new();
	_cleanup_free_ const void **services = NULL;
	size_t n;

	services = view_list(v, KIND_SERVICE, &n);
	for (size_t i = 0; i < n; i++)
		netindex_event(ix, v, KIND_SERVICE, ((const pb_service *)services[i])->id, NULL,
			       services[i]);
	return ix;
}

struct dispatcher *dispatcher_new(const struct dispatcher_options *options)
{
	struct dispatcher *d = xnew(struct dispatcher);
	struct liveness_params params = params_of(options);

	d->loop = options->loop;
	d->store = options->store;
	d->node_id = xstrdup(options->node_id);
	d->net = index_services(store_view(d->store));
	d->liveness = liveness_new(&params, options->node_id, clock_mono_ns());
	d->busy_ns = options->busy_ns ? options->busy_ns : BUSY_DEFAULT_NS;
	TAILQ_INIT(&d->dirty);
	closer_init(&d->closer);
	uv_idle_init(d->loop, &d->turn);
	uv_timer_init(d->loop, &d->tick);
	d->turn.data = d->tick.data = d;
	nodes_open(d);
	reports_open(d);
	d->sub = store_subscribe(d->store, on_events, d);
	return d;
}

void dispatcher_add_to(struct dispatcher *d, struct rpc_server *server)
{
	session_serve(d, server);
}

void dispatcher_start(struct dispatcher *d)
{
	int64_t now = clock_mono_ns();

	d->started = true;
	liveness_restart(d->liveness, now);
	tick_at(d, now, now);
}

void dispatcher_set_leader(struct dispatcher *d, bool leader)
{
	d->leader = leader;
	liveness_leader(d->liveness, leader, clock_mono_ns());
	dispatcher_judge_soon(d);
}

void dispatcher_manager_alive(struct dispatcher *d, const char *node_id, bool alive)
{
	liveness_manager(d->liveness, node_id, alive, clock_mono_ns());
	dispatcher_judge_soon(d);
}

const struct dispatcher_stats *dispatcher_stats(struct dispatcher *d)
{
	d->stats.sessions = liveness_sessions(d->liveness);
	d->stats.beat_period_ns = dispatcher_period(d);
	d->stats.reports_dropped = 0;
	for (int i = STATUS_STALE; i < STATUS_VERDICTS; i++)
		d->stats.reports_dropped += d->counts[i];
	return &d->stats;
}

struct closing {
	struct dispatcher *d;
	void (*closed)(void *data);
	void *data;
};

static void on_closed(void *data)
{
	struct closing c = *(struct closing *)data;
	struct dispatcher *d = c.d;

	free(data);
	nodes_free(d);
	reports_free(d);
	liveness_free(d->liveness);
	netindex_free(d->net);
	free(d->node_id);
	free(d);
	if (c.closed)
		c.closed(c.data);
}

void dispatcher_close(struct dispatcher *d, void (*closed)(void *data), void *data)
{
	struct closing *c = xnew(struct closing);

	*c = (struct closing){d, closed, data};
	if (!closer_begin(&d->closer, on_closed, c)) {
		free(c);
		return;
	}
	store_unsubscribe(d->sub);
	closer_add(&d->closer, (uv_handle_t *)&d->turn);
	closer_add(&d->closer, (uv_handle_t *)&d->tick);
	nodes_close(d);
	reports_close(d);
	closer_end(&d->closer);
}
