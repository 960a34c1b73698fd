/*
 * serve_agent - an agent that the test plays: a session with the dispatcher, and what came through it.
 */
#pragma once
#include "support/serve_world.h"

struct agent {
	struct serve *s;
	char id[64];
	struct rpc_channel *channel;
	struct rpc_call *call;
	bool done, registered;
	struct error err;
	int64_t beat_period;
	unsigned beat_acks, node_updates, sets, updates, removals;
	uint64_t sequence, acked, net_sequence;
	char order[64]; /* of the messages: N networks, A assignments */
	pb_net_state *net; /* the last one */
	pb_task *last_task;
	pb_migration_order *last_order; /* that came with it */
	Skein__NodeUpdate *node;
	uv_timer_t beat;
	bool beating, broken_sequence;
};

static inline void agent_notes(struct agent *a, char what)
{
	size_t len = strlen(a->order);

	if (len + 1 < sizeof(a->order))
		a->order[len] = what;
}

static inline void agent_on_message(struct rpc_call *call, const ProtobufCMessage *raw, void *data)
{
	const Skein__DispatcherMessage *msg = (const Skein__DispatcherMessage *)raw;
	struct agent *a = data;

	switch (msg->body_case) {
	case SKEIN__DISPATCHER_MESSAGE__BODY_REGISTERED:
		a->registered = true;
		a->beat_period = msg->registered->beat_period;
		break;
	case SKEIN__DISPATCHER_MESSAGE__BODY_BEAT:
		a->beat_acks++;
		break;
	case SKEIN__DISPATCHER_MESSAGE__BODY_NODE:
		a->node_updates++;
		pb_free(a->node);
		a->node = pb_dup(msg->node);
		break;
	case SKEIN__DISPATCHER_MESSAGE__BODY_NET:
		agent_notes(a, 'N');
		if (msg->net->applies_to != a->net_sequence ||
		    msg->net->complete != (a->net_sequence == 0))
			a->broken_sequence = true;
		a->net_sequence = msg->net->results_in;
		pb_free(a->net);
		a->net = pb_dup(msg->net);
		break;
	case SKEIN__DISPATCHER_MESSAGE__BODY_ASSIGNMENTS:
		agent_notes(a, 'A');
		a->sets++;
		if (msg->assignments->applies_to != a->sequence ||
		    msg->assignments->complete != (a->sequence == 0))
			a->broken_sequence = true;
		a->sequence = msg->assignments->results_in;
		a->updates += msg->assignments->n_update;
		a->removals += msg->assignments->n_remove;
		if (msg->assignments->n_update) {
			pb_free(a->last_task);
			a->last_task = pb_dup(msg->assignments->update[0]->task);
			pb_set_msg(&a->last_order, msg->assignments->update[0]->migration);
		}
		break;
	case SKEIN__DISPATCHER_MESSAGE__BODY_STATUS_ACK:
		a->acked = msg->status_ack->sequence;
		break;
	default:
		break;
	}
}

static inline void agent_on_done(struct rpc_call *call, const struct error *err, void *data)
{
	struct agent *a = data;

	a->done = true;
	a->call = NULL;
	a->err = err ? *err : ERROR_INIT;
}

static inline int agent_send(struct agent *a, Skein__AgentMessage *msg)
{
	return a->call ? rpc_call_send(a->call, &msg->base, NULL) : -1;
}

static inline void agent_beat(struct agent *a)
{
	Skein__AgentMessage msg = SKEIN__AGENT_MESSAGE__INIT;
	Skein__Beat beat = SKEIN__BEAT__INIT;

	msg.body_case = SKEIN__AGENT_MESSAGE__BODY_BEAT;
	msg.beat = &beat;
	agent_send(a, &msg);
}

static inline void agent_on_beat(uv_timer_t *timer)
{
	struct agent *a = timer->data;

	if (a->beating && a->registered)
		agent_beat(a);
}

static inline void agent_describe(struct agent *a, const pb_node_description *description)
{
	Skein__AgentMessage msg = SKEIN__AGENT_MESSAGE__INIT;

	msg.body_case = SKEIN__AGENT_MESSAGE__BODY_DESCRIPTION;
	msg.description = (pb_node_description *)description;
	agent_send(a, &msg);
}

static inline void agent_report(struct agent *a, uint64_t sequence, const char *task_id, int state)
{
	Skein__AgentMessage msg = SKEIN__AGENT_MESSAGE__INIT;
	Skein__StatusReports reports = SKEIN__STATUS_REPORTS__INIT;
	Skein__TaskStatusReport report = SKEIN__TASK_STATUS_REPORT__INIT, *list[] = {&report};
	pb_task_status status = SKEIN__TASK_STATUS__INIT;

	status.state = (Skein__TaskState)state;
	report.task_id = (char *)task_id;
	report.status = &status;
	reports.sequence = sequence;
	reports.reports = list;
	reports.n_reports = 1;
	msg.body_case = SKEIN__AGENT_MESSAGE__BODY_STATUSES;
	msg.statuses = &reports;
	agent_send(a, &msg);
}

static inline void agent_register(struct agent *a, const pb_node_description *description)
{
	Skein__AgentMessage msg = SKEIN__AGENT_MESSAGE__INIT;
	Skein__Register reg = SKEIN__REGISTER__INIT;

	reg.description = (pb_node_description *)description;
	reg.address = "127.0.0.1";
	reg.peer_port = 7946;
	msg.body_case = SKEIN__AGENT_MESSAGE__BODY_REGISTER;
	msg.register_ = &reg;
	agent_send(a, &msg);
}

/* Open a stream, without registering. */
static inline struct agent *agent_open(struct serve *s, const char *id, const char *role)
{
	static const struct rpc_handlers handlers = {.on_message = agent_on_message,
						     .on_done = agent_on_done};
	struct agent *a = xnew(struct agent);

	a->s = s;
	snprintf(a->id, sizeof(a->id), "%s", id);
	a->channel = channel_as(s, id, role);
	a->call =
		rpc_stream(a->channel, &skein__dispatcher__descriptor, "Session", 0, &handlers, a);
	uv_timer_init(&s->loop, &a->beat);
	a->beat.data = a;
	a->beating = true;
	uv_timer_start(&a->beat, agent_on_beat, 40, 40);
	return a;
}

/* Open, register, and wait for the complete set. */
static inline struct agent *agent_start(struct serve *s, const char *id)
{
	pb_node_description description = SKEIN__NODE_DESCRIPTION__INIT;
	struct agent *a = agent_open(s, id, "worker");

	description.hostname = (char *)id;
	agent_register(a, &description);
	wait_for(s, a->sets || a->done);
	if (a->done)
		fail_msg("session of %s: %s", id, a->err.msg);
	return a;
}

static inline void agent_stop(struct agent *a)
{
	struct serve *s = a->s;

	if (a->call)
		rpc_call_cancel(a->call);
	wait_for(s, a->done);
	rpc_channel_close(a->channel);
	uv_close((uv_handle_t *)&a->beat, NULL);
	uv_run(&s->loop, UV_RUN_NOWAIT);
	pb_free(a->last_task);
	pb_free(a->last_order);
	pb_free(a->node);
	pb_free(a->net);
	free(a);
}
