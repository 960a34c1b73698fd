#include "session.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/loop.h"
#include "common/mem.h"
#include "common/silence.h"
#include "common/str.h"
#include "rpc/rpc.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define BACKOFF_MIN_NS (100 * NS_PER_MS)
#define BACKOFF_MAX_NS (8 * NS_PER_SEC)
/* The first is short, in case that the manager is gone; a cluster that is slow everywhere gets more each time. */
#define REGISTER_TIMEOUT_NS (5 * NS_PER_SEC)
#define REGISTER_TIMEOUT_MAX_NS (25 * NS_PER_SEC)
#define KEEPALIVE_MS 2000
#define KEEPALIVE_TIMEOUT_MS 3000
/* A manager whose view lags does not know a node that has just joined: only insistence counts as removal. */
#define REMOVED_REFUSALS 5
#define REMOVED_AFTER_NS (10 * NS_PER_SEC)
#define REMOVED_RETRY_MAX_NS (2 * NS_PER_SEC)
#define BEAT_PERIOD_MIN_NS (50 * NS_PER_MS)
#define BEAT_PERIOD_MAX_NS (60 * NS_PER_SEC)

struct session {
	struct session_options o;
	char *address, *prefer;
	struct strv managers;
	size_t next;               /* manager to try next */
	unsigned failures;         /* in a row */
	uint64_t count;            /* sessions so far */
	char manager[300];
	char *silent;              /* manager whose host fell silent: it is asked last */
	struct rpc_channel *channel;
	struct rpc_call *call;
	bool registered, started, removed;
	bool description_stale;    /* changed since Register was sent, before the answer */
	unsigned refusals;         /* "this node was removed", in a row */
	int64_t refused_since_ns;
	uint64_t beat_sequence;
	int64_t beat_period_ns;
	uv_timer_t beat, retry, deadline;
	struct silence silence;
	struct closer closer;
};

static uint32_t random_below(uint32_t limit)
{
	uint32_t r = 0;

	if (getrandom(&r, sizeof(r), 0) != sizeof(r))
		r = (uint32_t)clock_mono_ns();
	return limit ? r % limit : 0;
}

static void try_now(struct session *s);

static void on_retry(uv_timer_t *timer)
{
	try_now(timer->data);
}

/* The first failure leads to the next manager at once; later ones wait. */
static void try_later(struct session *s)
{
	int64_t delay = 0;

	if (!s->started || s->removed || s->closer.closing)
		return;
	if (s->failures > s->managers.n) {
		unsigned shift = MIN(s->failures - (unsigned)s->managers.n - 1, 10u);

		delay = MIN(BACKOFF_MIN_NS << shift, s->refusals > 0 ? REMOVED_RETRY_MAX_NS : BACKOFF_MAX_NS);
		delay = delay / 2 + (int64_t)random_below((uint32_t)(delay / 2000)) * 1000;
	}
	loop_timer_in(&s->retry, delay, on_retry);
}

static int send_message(struct session *s, const Skein__AgentMessage *msg)
{
	struct error err = ERROR_INIT;

	if (!s->call)
		return -1;
	if (rpc_call_send(s->call, &msg->base, &err) == 0)
		return 0;
	log_warn("session_send", kv_err(&err));
	return -1;
}

static void on_beat(uv_timer_t *timer)
{
	struct session *s = timer->data;
	Skein__AgentMessage msg = SKEIN__AGENT_MESSAGE__INIT;
	Skein__Beat beat = SKEIN__BEAT__INIT;
	char peer[64];

	beat.sequence = ++s->beat_sequence;
	msg.body_case = SKEIN__AGENT_MESSAGE__BODY_BEAT;
	msg.beat = &beat;
	send_message(s, &msg);
	loop_timer_in(&s->beat, s->beat_period_ns, on_beat);
	if (s->call) {
		rpc_call_remote(s->call, peer, sizeof(peer));
		silence_asked(&s->silence, peer);
	}
}

/* Its host is gone, or our way to it: another manager may be reached. One that is merely busy is waited for. */
static void on_silent(void *data)
{
	struct session *s = data;

	if (!s->call)
		return;
	log_warn("manager_silent", kv_str("manager", s->manager));
	free(s->silent);
	s->silent = xstrdup(s->manager);
	rpc_call_cancel(s->call);
}

static void set_beat_period(struct session *s, int64_t period_ns)
{
	period_ns = MAX(BEAT_PERIOD_MIN_NS, MIN(period_ns, BEAT_PERIOD_MAX_NS));
	if (period_ns == s->beat_period_ns && uv_is_active((uv_handle_t *)&s->beat))
		return;
	s->beat_period_ns = period_ns;
	loop_timer_in(&s->beat, period_ns, on_beat);
}

static void on_registered(struct session *s, const Skein__Registered *msg)
{
	s->registered = true;
	s->count++;
	mem_freep(&s->silent);
	s->failures = 0;
	s->refusals = 0;
	if (s->description_stale)
		session_send_description(s);
	s->description_stale = false;
	uv_timer_stop(&s->deadline);
	set_beat_period(s, msg->beat_period);
	log_info("session_up", kv_str("manager", s->manager), kv_str("session", msg->session_id));
	s->o.on_up(s->o.data, s->manager);
}

static void on_message(struct rpc_call *call, const ProtobufCMessage *raw, void *data)
{
	struct session *s = data;
	const Skein__DispatcherMessage *msg = (const Skein__DispatcherMessage *)raw;
	struct error err = ERROR_INIT;

	if (call != s->call)
		return;
	silence_over(&s->silence);
	switch (msg->body_case) {
	case SKEIN__DISPATCHER_MESSAGE__BODY_REGISTERED:
		on_registered(s, msg->registered);
		break;
	case SKEIN__DISPATCHER_MESSAGE__BODY_BEAT:
		set_beat_period(s, msg->beat->beat_period);
		break;
	case SKEIN__DISPATCHER_MESSAGE__BODY_ASSIGNMENTS:
		if (s->o.on_assignments(s->o.data, msg->assignments, &err) < 0) {
			log_warn("assignments_refused", kv_err(&err));
			rpc_call_cancel(call);
		}
		break;
	case SKEIN__DISPATCHER_MESSAGE__BODY_NET:
		if (s->o.on_net(s->o.data, msg->net, &err) < 0) {
			log_warn("net_state_refused", kv_err(&err));
			rpc_call_cancel(call);
		}
		break;
	case SKEIN__DISPATCHER_MESSAGE__BODY_STATUS_ACK:
		s->o.on_ack(s->o.data, msg->status_ack->sequence);
		break;
	case SKEIN__DISPATCHER_MESSAGE__BODY_NODE:
		s->o.on_node(s->o.data, msg->node);
		break;
	default:
		break; /* from a newer manager */
	}
}

static void drop_channel(struct session *s)
{
	if (s->channel)
		rpc_channel_close(s->channel);
	s->channel = NULL;
}

static void note_refusal(struct session *s, const struct error *err)
{
	if (err->code != ERR_DENIED || !strstr(err->msg, "removed"))
		return;
	if (s->refusals++ == 0)
		s->refused_since_ns = clock_mono_ns();
	if (s->refusals < REMOVED_REFUSALS || clock_mono_ns() - s->refused_since_ns < REMOVED_AFTER_NS)
		return;
	s->removed = true;
	s->o.on_removed(s->o.data, err);
}

static void on_done(struct rpc_call *call, const struct error *err, void *data)
{
	struct session *s = data;
	struct error lost = ERROR_INIT;
	bool was_up = s->registered;

	if (!err) {
		error_set(&lost, ERR_UNAVAILABLE, "the manager ended the session");
		err = &lost;
	}
	s->call = NULL;
	s->registered = false;
	uv_timer_stop(&s->deadline);
	uv_timer_stop(&s->beat);
	silence_over(&s->silence);
	if (!s->closer.closing) {
		log_warn("session_down", kv_str("manager", s->manager), kv_err(err));
		s->failures = was_up ? 0 : s->failures + 1;
		drop_channel(s);
		s->manager[0] = '\0';
		if (was_up)
			s->o.on_down(s->o.data, err);
		note_refusal(s, err);
		try_later(s);
	}
	closer_drop(&s->closer);
}

static void on_deadline(uv_timer_t *timer)
{
	struct session *s = timer->data;

	if (s->call)
		rpc_call_cancel(s->call);
}

static const char *choose_manager(struct session *s)
{
	const char *manager;

	if (s->prefer && s->failures == 0 && !str_eq(s->prefer, s->silent))
		return s->prefer;
	if (s->managers.n == 0)
		return s->prefer;
	manager = s->managers.v[s->next++ % s->managers.n];
	/* Nobody refuses the connection there: the attempt would take as long as it may. */
	if (str_eq(manager, s->silent))
		manager = s->managers.v[s->next++ % s->managers.n];
	return manager;
}

static void send_register(struct session *s)
{
	Skein__AgentMessage msg = SKEIN__AGENT_MESSAGE__INIT;
	Skein__Register reg = SKEIN__REGISTER__INIT;

	s->description_stale = false;
	reg.description = s->o.describe(s->o.data);
	reg.address = s->address;
	reg.peer_port = s->o.peer_port;
	reg.cert_expires_at = s->o.cert_expires_at(s->o.data);
	msg.body_case = SKEIN__AGENT_MESSAGE__BODY_REGISTER;
	msg.register_ = &reg;
	send_message(s, &msg);
	pb_free(reg.description);
}

static void try_now(struct session *s)
{
	static const struct rpc_handlers handlers = {.on_message = on_message, .on_done = on_done};
	const char *manager = choose_manager(s);
	struct rpc_channel_options options = {
		.target = manager,
		.creds = s->o.creds,
		.server_name = RPC_MANAGER_NAME,
		.keepalive_ms = KEEPALIVE_MS,
		.keepalive_timeout_ms = KEEPALIVE_TIMEOUT_MS,
	};

	if (!manager || s->call)
		return;
	strncpy(s->manager, manager, sizeof(s->manager) - 1);
	s->channel = rpc_channel_new(s->o.rpc, &options);
	closer_hold(&s->closer);
	s->call = rpc_stream(s->channel, &skein__dispatcher__descriptor, "Session", 0, &handlers, s);
	loop_timer_in(&s->deadline, MIN(REGISTER_TIMEOUT_NS << MIN(s->failures, 3u), REGISTER_TIMEOUT_MAX_NS), on_deadline);
	send_register(s);
}

struct session *session_new(const struct session_options *options)
{
	struct session *s = xnew(struct session);
	uv_timer_t *timers[] = {&s->beat, &s->retry, &s->deadline};

	s->o = *options;
	s->address = xstrdup(options->address);
	s->prefer = xstrdup(options->prefer);
	s->next = random_below(1000);
	closer_init(&s->closer);
	for (size_t i = 0; i < ARRAY_SIZE(timers); i++) {
		uv_timer_init(options->loop, timers[i]);
		timers[i]->data = s;
	}
	silence_init(&s->silence, options->loop, on_silent, s);
	return s;
}

void session_set_managers(struct session *s, const char *const *managers, size_t n)
{
	strv_fini(&s->managers);
	s->managers = (struct strv){0};
	for (size_t i = 0; i < n; i++)
		strv_add(&s->managers, managers[i]);
}

void session_set_prefer(struct session *s, const char *manager)
{
	free(s->prefer);
	s->prefer = xstrdup(manager);
}

void session_start(struct session *s)
{
	s->started = true;
	s->removed = false;
	try_later(s);
}

void session_leave(struct session *s)
{
	Skein__AgentMessage msg = SKEIN__AGENT_MESSAGE__INIT;

	s->started = false;
	uv_timer_stop(&s->retry);
	if (!s->call)
		return;
	msg.body_case = SKEIN__AGENT_MESSAGE__BODY_LEAVING;
	msg.leaving = true;
	if (!s->registered || send_message(s, &msg) < 0)
		rpc_call_cancel(s->call);
	else
		rpc_call_half_close(s->call); /* the manager ends the stream behind it; a dead one is noticed by the pings */
}

void session_restart(struct session *s)
{
	s->failures = 0;
	if (s->call)
		rpc_call_cancel(s->call);
	else
		try_later(s);
}

void session_kick(struct session *s)
{
	if (s->registered)
		return;
	s->failures = 0;
	if (s->call)
		rpc_call_cancel(s->call); /* it may still be connecting to where nobody listened */
	else
		try_later(s);
}

int session_send_statuses(struct session *s, const Skein__StatusReports *batch)
{
	Skein__AgentMessage msg = SKEIN__AGENT_MESSAGE__INIT;

	if (!s->registered)
		return -1;
	msg.body_case = SKEIN__AGENT_MESSAGE__BODY_STATUSES;
	msg.statuses = (Skein__StatusReports *)batch;
	return send_message(s, &msg);
}

int session_send_migration(struct session *s, const pb_migration_report *report)
{
	Skein__AgentMessage msg = SKEIN__AGENT_MESSAGE__INIT;

	if (!s->registered)
		return -1;
	msg.body_case = SKEIN__AGENT_MESSAGE__BODY_MIGRATION;
	msg.migration = (pb_migration_report *)report;
	return send_message(s, &msg);
}

void session_send_description(struct session *s)
{
	Skein__AgentMessage msg = SKEIN__AGENT_MESSAGE__INIT;

	if (!s->registered) {
		s->description_stale = true; /* what Register carried may be old already */
		return;
	}
	msg.body_case = SKEIN__AGENT_MESSAGE__BODY_DESCRIPTION;
	msg.description = s->o.describe(s->o.data);
	send_message(s, &msg);
	pb_free(msg.description);
}

const char *session_manager(const struct session *s)
{
	return s->registered ? s->manager : "";
}

uint64_t session_count(const struct session *s)
{
	return s->count;
}

struct closing {
	struct session *session;
	void (*closed)(void *data);
	void *data;
};

static void on_closed(void *data)
{
	struct closing *c = data;
	struct closing copy = *c;

	drop_channel(copy.session);
	strv_fini(&copy.session->managers);
	free(copy.session->address);
	free(copy.session->prefer);
	free(copy.session->silent);
	free(copy.session);
	free(c);
	if (copy.closed)
		copy.closed(copy.data);
}

void session_close(struct session *s, void (*closed)(void *data), void *data)
{
	struct closing *c = xnew(struct closing);

	*c = (struct closing){s, closed, data};
	s->started = false;
	if (!closer_begin(&s->closer, on_closed, c)) {
		free(c);
		return;
	}
	closer_add(&s->closer, (uv_handle_t *)&s->beat);
	closer_add(&s->closer, (uv_handle_t *)&s->retry);
	closer_add(&s->closer, (uv_handle_t *)&s->deadline);
	closer_add(&s->closer, (uv_handle_t *)&s->silence.timer);
	if (s->call)
		rpc_call_cancel(s->call);
	closer_end(&s->closer);
}
