#include "internal.h"

#include "common/clock.h"
#include "common/error.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/str.h"
#include "manager/store/store.h"
#include "netfeed.h"
#include "nodestate.h"
#include "peers.h"
#include "rpc/rpc.h"
#include "text.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define REQUEST_MAX_BYTES (1u << 20)
#define UNSENT_SMALL_BYTES (64u << 10) /* above it a slow agent gets nothing that can wait */
#define UNSENT_MAX_BYTES (1u << 20)    /* above it assignments wait for on_drain */
#define QUICK_NS NS_PER_SEC
#define QUICK_MAX 5

struct session *session_of_node(struct dispatcher *d, const char *node_id)
{
	struct session *s;

	HASH_FIND_STR(d->by_node, node_id, s);
	return s;
}

static void unlink_session(struct session *s)
{
	if (s->dirty)
		TAILQ_REMOVE(&s->d->dirty, s, dirty_entry);
	s->dirty = false;
	if (s->current)
		HASH_DEL(s->d->by_node, s);
	s->current = false;
	netfeed_free(s->net);
	s->net = NULL;
}

void session_end(struct session *s, const struct error *err)
{
	if (s->ended)
		return;
	s->ended = true;
	log_info("session_end", kv_str("node", s->node_id), kv_str("session", s->id), kv_err(err));
	/* May end the call at once, and with it the session. */
	rpc_call_fail(s->call, err);
}

static void session_fail(struct session *s, enum error_code code, const char *what)
{
	struct error err = ERROR_INIT;

	error_set(&err, code, "%s", what);
	session_end(s, &err);
}

static bool send_message(struct session *s, const Skein__DispatcherMessage *msg)
{
	struct error err = ERROR_INIT;

	if (s->ended)
		return false;
	if (rpc_call_send(s->call, &msg->base, &err) == 0)
		return true;
	session_end(s, &err);
	return false;
}

/* ---------------------------------------------------------------- registration */

/* Two agents with one identity would take the session from each other as fast as they can. */
static int replace_older(struct session *s, struct error *err)
{
	struct session *older = session_of_node(s->d, s->node_id);

	if (!older)
		return 0;
	if (s->begun - older->begun < QUICK_NS)
		s->quick = older->quick + 1;
	if (s->quick > QUICK_MAX)
		return error_set(err, ERR_EXHAUSTED,
				 "node %s registers again and again: is its identity in use twice?",
				 s->node_id);
	unlink_session(older);
	session_fail(older, ERR_CONFLICT, "a newer session of this node took over");
	return 0;
}

static void session_begin(struct dispatcher *d, struct rpc_call *call,
			  const Skein__AgentMessage *msg)
{
	const struct rpc_peer *peer = rpc_call_peer(call);
	struct session *s = xnew(struct session);
	struct error err = ERROR_INIT;

	s->d = d;
	s->begun = clock_mono_ns();
	s->call = call;
	snprintf(s->node_id, sizeof(s->node_id), "%s", peer->node_id);
	s->role = peer->role == RPC_ROLE_MANAGER ? NODE_ROLE_MANAGER : NODE_ROLE_WORKER;
	id_new(s->id);
	rpc_call_set_data(call, s);

	if (msg->body_case != SKEIN__AGENT_MESSAGE__BODY_REGISTER) {
		session_fail(s, ERR_INVALID, "session: the first message must be a registration");
		return;
	}
	if (outage_refuses(d)) {
		session_fail(s, ERR_UNAVAILABLE, "this manager cannot write to etcd at the moment");
		return;
	}
	s->reg = pb_dup_clean(&msg->register_->base);
	if (nodestate_check_register(s->reg, &err) < 0 || replace_older(s, &err) < 0) {
		session_end(s, &err);
		return;
	}
	s->current = true;
	HASH_ADD_STR(d->by_node, node_id, s);
	d->stats.registrations++;
	s->deadline = s->begun;
	if (view_node(store_view(d->store), s->node_id)) {
		session_proceed(s);
	} else {
		/* It may have joined through another manager a moment ago. */
		s->deadline += SESSION_UNKNOWN_NODE_NS;
		dispatcher_judge_soon(d);
	}
}

void session_proceed(struct session *s)
{
	s->deadline += SESSION_REGISTER_TIMEOUT_NS;
	s->probing = false;
	nodes_want_ready(s->d, s->node_id, s->reg, s->role);
	dispatcher_judge_soon(s->d);
}

static void on_net_touched(void *data)
{
	session_mark(data, 0);
}

void session_registered(struct session *s)
{
	Skein__DispatcherMessage msg = SKEIN__DISPATCHER_MESSAGE__INIT;
	Skein__Registered registered = SKEIN__REGISTERED__INIT;
	int64_t period = dispatcher_period(s->d);

	if (s->ended)
		return;
	s->registered = true;
	s->assign = assign_new(s->node_id);
	s->net = netfeed_new(s->d->net, s->node_id, on_net_touched, s);
	liveness_session(s->d->liveness, s->node_id, period, clock_mono_ns());
	registered.session_id = s->id;
	registered.beat_period = period;
	msg.body_case = SKEIN__DISPATCHER_MESSAGE__BODY_REGISTERED;
	msg.registered = &registered;
	if (!send_message(s, &msg))
		return;
	log_info("session_begin", kv_str("node", s->node_id), kv_str("session", s->id),
		 kv_str("address", s->reg->address));
	pb_free(s->reg);
	s->reg = NULL;
	session_mark(s, MARK_NODE | MARK_TASKS);
	dispatcher_judge_soon(s->d);
}

/* ---------------------------------------------------------------- down: what the agent is to do */

void session_mark(struct session *s, unsigned marks)
{
	s->marks |= marks;
	if (s->dirty || s->blocked || !s->registered || s->ended)
		return;
	s->dirty = true;
	TAILQ_INSERT_TAIL(&s->d->dirty, s, dirty_entry);
	dispatcher_flush_soon(s->d);
}

/* False: the session may be gone. */
static bool send_node_update(struct session *s, const struct strv *managers)
{
	Skein__DispatcherMessage msg = SKEIN__DISPATCHER_MESSAGE__INIT;
	_cleanup_pb_ Skein__NodeUpdate *update = NULL;
	const struct view *v = store_view(s->d->store);
	const pb_node *node = view_node(v, s->node_id);
	const pb_cluster *cluster = view_cluster(v);

	if (!node)
		return true;
	update = pb_new(&skein__node_update__descriptor);
	update->role = node->spec ? node->spec->role : node->role;
	for (size_t i = 0; i < managers->n; i++)
		pb_strs_add(&update->n_managers, &update->managers, managers->v[i]);
	if (cluster)
		pb_set_str(&update->root_cert_pem, cluster->root_cert_pem);
	if (pb_equal(update, s->told))
		return true;
	msg.body_case = SKEIN__DISPATCHER_MESSAGE__BODY_NODE;
	msg.node = update;
	if (!send_message(s, &msg))
		return false;
	pb_free(s->told);
	s->told = TAKE_PTR(update);
	return true;
}

/* A slow agent gets the rest when it has taken what is on its way. */
static bool is_slow(struct session *s)
{
	if (rpc_call_unsent(s->call) > UNSENT_MAX_BYTES)
		s->blocked = true;
	return s->blocked;
}

/* What became of the next message of a kind. */
enum sent { SENT, SENT_NOTHING, SENT_BLOCKED, SENT_LOST /* the session may be gone */ };

static enum sent send_net(struct session *s)
{
	Skein__DispatcherMessage msg = SKEIN__DISPATCHER_MESSAGE__INIT;
	_cleanup_pb_ Skein__NetState *state = NULL;

	if (is_slow(s))
		return SENT_BLOCKED;
	state = netfeed_next(s->net, store_view(s->d->store), store_revision(s->d->store));
	if (!state)
		return SENT_NOTHING;
	s->d->stats.net_states++;
	msg.body_case = SKEIN__DISPATCHER_MESSAGE__BODY_NET;
	msg.net = state;
	return send_message(s, &msg) ? SENT : SENT_LOST;
}

static enum sent send_assignments(struct session *s, struct peers *peers)
{
	Skein__DispatcherMessage msg = SKEIN__DISPATCHER_MESSAGE__INIT;
	_cleanup_pb_ Skein__Assignments *set = NULL;

	if (is_slow(s))
		return SENT_BLOCKED;
	set = assign_next(s->assign, store_view(s->d->store), peers);
	if (!set)
		return SENT_NOTHING;
	s->d->stats.assignments += set->n_update + set->n_remove;
	msg.body_case = SKEIN__DISPATCHER_MESSAGE__BODY_ASSIGNMENTS;
	msg.assignments = set;
	return send_message(s, &msg) ? SENT : SENT_LOST;
}

void session_flush(struct session *s, struct flush *flush)
{
	enum sent sent = SENT;

	if ((s->marks & MARK_NODE) && !send_node_update(s, flush_managers(flush)))
		return;
	s->marks &= ~(unsigned)MARK_NODE;
	while (sent == SENT)
		sent = send_net(s);
	/* Tasks not before the networks that they need are told. */
	if (sent != SENT_NOTHING || !(s->marks & MARK_TASKS))
		return;
	do
		sent = send_assignments(s, flush_peers(flush));
	while (sent == SENT);
	if (sent == SENT_NOTHING)
		s->marks &= ~(unsigned)MARK_TASKS;
}

static void on_drain(struct rpc_call *call, void *data)
{
	struct session *s = rpc_call_data(call);

	if (!s || !s->blocked)
		return;
	s->blocked = false;
	session_mark(s, 0);
}

/* ---------------------------------------------------------------- up: beats, statuses,
 * descriptions */

void session_send_beat(struct session *s, uint64_t sequence, int64_t period)
{
	Skein__DispatcherMessage msg = SKEIN__DISPATCHER_MESSAGE__INIT;
	Skein__BeatAck ack = SKEIN__BEAT_ACK__INIT;

	if (rpc_call_unsent(s->call) > UNSENT_SMALL_BYTES)
		return;
	ack.sequence = sequence;
	ack.beat_period = period;
	msg.body_case = SKEIN__DISPATCHER_MESSAGE__BODY_BEAT;
	msg.beat = &ack;
	send_message(s, &msg);
}

static void on_beat(struct session *s, const Skein__Beat *beat, int64_t period)
{
	s->d->stats.beats++;
	session_send_beat(s, beat->sequence, period);
}

static void pause_if_full(struct session *s)
{
	if (s->queued_reports < SESSION_QUEUED_REPORTS_MAX || s->paused)
		return;
	s->paused = true;
	rpc_call_pause(s->call);
}

static void on_migration(struct session *s, const pb_migration_report *report)
{
	reports_add_move(s, pb_dup_clean(&report->base));
	pause_if_full(s);
}

static void on_statuses(struct session *s, const Skein__StatusReports *reports)
{
	struct error err = ERROR_INIT;

	if (reports->n_reports > STATUS_REPORTS_MAX) {
		error_set(&err, ERR_EXHAUSTED,
			  "session: %zu status reports in one message: at most %d",
			  reports->n_reports, STATUS_REPORTS_MAX);
		session_end(s, &err);
		return;
	}
	reports_add(s, pb_dup_clean(&reports->base));
	pause_if_full(s);
}

void session_written(struct dispatcher *d, const struct report_message *m)
{
	Skein__DispatcherMessage msg = SKEIN__DISPATCHER_MESSAGE__INIT;
	Skein__StatusAck ack = SKEIN__STATUS_ACK__INIT;
	struct session *s = session_of_node(d, m->node_id);

	if (!s || !str_eq(s->id, m->session_id) || s->ended)
		return;
	s->queued_reports--;
	if (s->paused) {
		s->paused = false;
		rpc_call_resume(s->call);
		/* It could not be heard meanwhile. */
		liveness_heard(d->liveness, s->node_id, dispatcher_period(d), clock_mono_ns());
	}
	if (!m->reports)
		return;
	ack.sequence = m->reports->sequence;
	msg.body_case = SKEIN__DISPATCHER_MESSAGE__BODY_STATUS_ACK;
	msg.status_ack = &ack;
	send_message(s, &msg);
}

static void on_description(struct session *s, const pb_node_description *description)
{
	_cleanup_pb_ pb_node_description *clean = pb_dup_clean(&description->base);
	struct error err = ERROR_INIT;

	if (nodestate_check_description(clean, &err) < 0)
		session_end(s, &err);
	else
		nodes_want_description(s->d, s->node_id, clean);
}

static void on_message(struct rpc_call *call, const ProtobufCMessage *raw, void *data)
{
	const Skein__AgentMessage *msg = (const Skein__AgentMessage *)raw;
	struct session *s = rpc_call_data(call);
	int64_t period;

	if (!s) {
		session_begin(data, call, msg);
		return;
	}
	if (s->ended)
		return;
	if (!s->registered) {
		session_fail(s, ERR_INVALID,
			     "session: nothing may be sent before the registration is answered");
		return;
	}
	period = dispatcher_period(s->d);
	liveness_heard(s->d->liveness, s->node_id, period, clock_mono_ns());
	s->asked = 0;
	s->busy = false;
	switch (msg->body_case) {
	case SKEIN__AGENT_MESSAGE__BODY_BEAT:
		on_beat(s, msg->beat, period);
		break;
	case SKEIN__AGENT_MESSAGE__BODY_STATUSES:
		on_statuses(s, msg->statuses);
		break;
	case SKEIN__AGENT_MESSAGE__BODY_MIGRATION:
		on_migration(s, msg->migration);
		break;
	case SKEIN__AGENT_MESSAGE__BODY_DESCRIPTION:
		on_description(s, msg->description);
		break;
	case SKEIN__AGENT_MESSAGE__BODY_LEAVING:
		s->left = true;
		break;
	case SKEIN__AGENT_MESSAGE__BODY_REGISTER:
		session_fail(s, ERR_INVALID, "session: already registered");
		break;
	default:
		break; /* from a newer agent */
	}
}

/* The agent ends its session by closing its side. */
static void on_half_close(struct rpc_call *call, void *data)
{
	struct session *s = rpc_call_data(call);

	if (s && !s->ended) {
		s->ended = true;
		rpc_call_finish(call);
	}
}

static void on_done(struct rpc_call *call, void *data)
{
	struct session *s = rpc_call_data(call);
	bool was_current;

	if (!s)
		return;
	was_current = s->current;
	unlink_session(s);
	if (was_current && s->registered) {
		liveness_broken(s->d->liveness, s->node_id, s->left, clock_mono_ns());
		if (s->left)
			log_info("node_left", kv_str("node", s->node_id));
		else if (!s->ended)
			log_info("session_lost", kv_str("node", s->node_id),
				 kv_str("session", s->id));
	}
	dispatcher_judge_soon(s->d);
	pb_free(s->reg);
	pb_free(s->told);
	assign_free(s->assign);
	free(s);
}

static const struct rpc_method methods[] = {
	{.name = "Session",
	 .allow = RPC_ROLE_WORKER | RPC_ROLE_MANAGER,
	 .max_request_bytes = REQUEST_MAX_BYTES,
	 .on_message = on_message,
	 .on_half_close = on_half_close,
	 .on_drain = on_drain,
	 .on_done = on_done},
};

void session_serve(struct dispatcher *d, struct rpc_server *server)
{
	rpc_server_add_service(server, &skein__dispatcher__descriptor, methods, ARRAY_SIZE(methods),
			       d);
}
