#include "presence.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/loop.h"
#include "common/mem.h"
#include "common/silence.h"
#include "common/str.h"
#include "manager/store/store.h"
#include "rpc/rpc.h"

#include <string.h>
#include <sys/queue.h>

#define RETRY_MIN_NS (100 * NS_PER_MS)
#define RETRY_MAX_NS (2 * NS_PER_SEC)
#define PING_MS 500
#define BEAT_MS 250
#define PING_TIMEOUT_MS 1000

/* One other manager. */
struct peer {
	LIST_ENTRY(peer) link;
	struct presence *presence;
	char *node_id, *address;
	struct rpc_channel *channel;
	struct rpc_call *call;
	uv_timer_t retry;
	struct silence silence;
	int64_t backoff_ns;
	bool alive, leaving;
	struct closer closer;
};

struct presence {
	struct presence_options o;
	char *node_id;
	struct store_sub *sub;
	LIST_HEAD(, peer) peers;
	uv_timer_t beat;
	struct closer closer;
	void (*closed)(void *data);
	void *closed_data;
};

/* ---------------------------------------------------------------- to the others */

static struct peer *find_peer(const struct presence *presence, const char *node_id)
{
	struct peer *p;

	LIST_FOREACH(p, &presence->peers, link) {
		if (strcmp(p->node_id, node_id) == 0)
			return p;
	}
	return NULL;
}

static void connect_peer(struct peer *p);

static void on_retry(uv_timer_t *timer)
{
	connect_peer(timer->data);
}

static void set_alive(struct peer *p, bool alive)
{
	if (p->alive == alive)
		return;
	p->alive = alive;
	log_info("manager_presence", kv_str("node", p->node_id), kv_bool("alive", alive));
	p->presence->o.on_alive(p->presence->o.data, p->node_id, alive);
}

static void on_answer(struct rpc_call *call, const ProtobufCMessage *msg, void *data)
{
	struct peer *p = data;

	if (call != p->call || p->leaving)
		return;
	p->backoff_ns = RETRY_MIN_NS;
	silence_over(&p->silence);
	set_alive(p, true);
}

static void on_stream_done(struct rpc_call *call, const struct error *err, void *data)
{
	struct peer *p = data;

	p->call = NULL;
	silence_over(&p->silence);
	if (p->channel)
		rpc_channel_close(p->channel);
	p->channel = NULL;
	if (!p->leaving) {
		log_debug("presence_down", kv_str("node", p->node_id), kv_err(err));
		set_alive(p, false);
		loop_timer_in(&p->retry, p->backoff_ns, on_retry);
		p->backoff_ns = MIN(p->backoff_ns * 2, RETRY_MAX_NS);
	}
	closer_drop(&p->closer);
}

static void say_hello(struct peer *p)
{
	Skein__PresenceRequest hello = SKEIN__PRESENCE_REQUEST__INIT;

	hello.node_id = p->presence->node_id;
	rpc_call_send(p->call, &hello.base, NULL);
}

/* The leader's silence holds everything up: it is asked more often than HTTP/2's pings do. */
static void on_beat(uv_timer_t *timer)
{
	struct presence *presence = timer->data;
	struct peer *p = find_peer(presence, presence->o.leader_id(presence->o.data));
	char address[64];

	if (!p || !p->alive)
		return;
	say_hello(p);
	rpc_call_remote(p->call, address, sizeof(address));
	silence_asked(&p->silence, address);
}

static void on_silent(void *data)
{
	struct peer *p = data;

	log_warn("manager_silent", kv_str("node", p->node_id));
	if (p->call)
		rpc_call_cancel(p->call);
}

static void connect_peer(struct peer *p)
{
	static const struct rpc_handlers handlers = {.on_message = on_answer, .on_done = on_stream_done};
	struct rpc_channel_options options = {
		.target = p->address,
		.creds = p->presence->o.creds,
		.server_name = RPC_MANAGER_NAME,
		.keepalive_ms = PING_MS,
		.keepalive_timeout_ms = PING_TIMEOUT_MS,
	};

	if (p->call || p->leaving)
		return;
	p->channel = rpc_channel_new(p->presence->o.rpc, &options);
	closer_hold(&p->closer);
	p->call = rpc_stream(p->channel, &skein__member__descriptor, "Presence", 0, &handlers, p);
	say_hello(p);
}

static void on_peer_closed(void *data)
{
	struct peer *p = data;
	struct presence *presence = p->presence;

	free(p->node_id);
	free(p->address);
	free(p);
	closer_drop(&presence->closer);
}

static void drop_peer(struct peer *p)
{
	LIST_REMOVE(p, link);
	p->leaving = true;
	set_alive(p, false);
	if (!closer_begin(&p->closer, on_peer_closed, p))
		return;
	closer_add(&p->closer, (uv_handle_t *)&p->retry);
	closer_add(&p->closer, (uv_handle_t *)&p->silence.timer);
	if (p->call)
		rpc_call_cancel(p->call);
	closer_end(&p->closer);
}

static void add_peer(struct presence *presence, const pb_node *node)
{
	struct peer *p = xnew(struct peer);

	p->presence = presence;
	p->node_id = xstrdup(node->id);
	p->address = xstrdup(node->manager->address);
	p->backoff_ns = RETRY_MIN_NS;
	closer_init(&p->closer);
	closer_hold(&presence->closer);
	uv_timer_init(presence->o.loop, &p->retry);
	p->retry.data = p;
	silence_init(&p->silence, presence->o.loop, on_silent, p);
	LIST_INSERT_HEAD(&presence->peers, p, link);
	connect_peer(p);
}

static void node_changed(struct presence *presence, const char *node_id, const pb_node *node)
{
	struct peer *p = find_peer(presence, node_id);
	const char *address = node && node->manager ? node->manager->address : NULL;

	if (strcmp(node_id, presence->node_id) == 0)
		return;
	if (p && (!address || strcmp(p->address, address) != 0)) {
		drop_peer(p);
		p = NULL;
	}
	if (!p && address && *address)
		add_peer(presence, node);
}

static void on_events(void *data, const struct store_event *events, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (events[i].kind == KIND_NODE)
			node_changed(data, events[i].id, events[i].now);
	}
}

/* ---------------------------------------------------------------- from the others */

static void on_presence(struct rpc_call *call, const ProtobufCMessage *msg, void *data)
{
	struct presence *p = data;
	Skein__PresenceResponse answer = SKEIN__PRESENCE_RESPONSE__INIT;

	answer.node_id = p->node_id;
	answer.leader_id = (char *)p->o.leader_id(p->o.data);
	rpc_call_send(call, &answer.base, NULL);
}

static void on_presence_half_close(struct rpc_call *call, void *data)
{
	rpc_call_finish(call);
}

/* An AddMember under way; `call` is NULL once the caller has gone. */
struct adding {
	struct rpc_call *call;
};

static void on_added(void *data, Skein__AddMemberResponse *response, const struct error *err)
{
	struct adding *a = data;

	if (a->call) {
		rpc_call_set_data(a->call, NULL);
		if (response)
			rpc_call_reply(a->call, &response->base);
		else
			rpc_call_fail(a->call, err);
	}
	pb_free(response);
	free(a);
}

static void on_add_member(struct rpc_call *call, const ProtobufCMessage *msg, void *data)
{
	struct presence *p = data;
	const Skein__AddMemberRequest *request = (const Skein__AddMemberRequest *)msg;
	struct error err = ERROR_INIT;
	struct adding *a;

	if (strcmp(request->node_id, rpc_call_peer(call)->node_id) != 0) {
		error_set(&err, ERR_DENIED, "node %s cannot add node %s as a member", rpc_call_peer(call)->node_id,
			  request->node_id);
		rpc_call_fail(call, &err);
		return;
	}
	a = xnew(struct adding);
	a->call = call;
	rpc_call_set_data(call, a);
	p->o.add_member(p->o.data, request, on_added, a);
}

static void on_add_member_done(struct rpc_call *call, void *data)
{
	struct adding *a = rpc_call_data(call);

	if (a)
		a->call = NULL;
}

void presence_add_to(struct presence *p, struct rpc_server *server)
{
	static const struct rpc_method methods[] = {
		{.name = "AddMember", .allow = RPC_ROLE_MANAGER, .max_request_bytes = 16 << 10,
		 .on_message = on_add_member, .on_done = on_add_member_done},
		{.name = "Presence", .allow = RPC_ROLE_MANAGER, .max_request_bytes = 1 << 10,
		 .on_message = on_presence, .on_half_close = on_presence_half_close},
	};

	rpc_server_add_service(server, &skein__member__descriptor, methods, ARRAY_SIZE(methods), p);
}

/* ---------------------------------------------------------------- life */

struct presence *presence_new(const struct presence_options *options)
{
	struct presence *p = xnew(struct presence);

	p->o = *options;
	p->node_id = xstrdup(options->node_id);
	LIST_INIT(&p->peers);
	closer_init(&p->closer);
	uv_timer_init(options->loop, &p->beat);
	p->beat.data = p;
	return p;
}

void presence_start(struct presence *p)
{
	struct view *view = store_view(p->o.store);
	_cleanup_free_ const void **nodes = NULL;
	size_t n;

	p->sub = store_subscribe(p->o.store, on_events, p);
	uv_timer_start(&p->beat, on_beat, BEAT_MS, BEAT_MS);
	nodes = view_list(view, KIND_NODE, &n);
	for (size_t i = 0; i < n; i++)
		node_changed(p, ((const pb_node *)nodes[i])->id, nodes[i]);
}

bool presence_alive(const struct presence *p, const char *node_id)
{
	const struct peer *peer = find_peer(p, node_id);

	return peer && peer->alive;
}

static void on_closed(void *data)
{
	struct presence *p = data;
	void (*closed)(void *) = p->closed;
	void *closed_data = p->closed_data;

	free(p->node_id);
	free(p);
	closed(closed_data);
}

void presence_close(struct presence *p, void (*closed)(void *data), void *data)
{
	p->closed = closed;
	p->closed_data = data;
	if (!closer_begin(&p->closer, on_closed, p))
		return;
	store_unsubscribe(p->sub);
	p->sub = NULL;
	closer_add(&p->closer, (uv_handle_t *)&p->beat);
	while (!LIST_EMPTY(&p->peers))
		drop_peer(LIST_FIRST(&p->peers));
	closer_end(&p->closer);
}
