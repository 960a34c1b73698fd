#include "usage.h"

#include "common/clock.h"
#include "common/error.h"
#include "common/log.h"
#include "common/loop.h"
#include "common/mem.h"
#include "common/str.h"
#include "manager/store/store.h"
#include "rpc/rpc.h"

#include <stdio.h>
#include <string.h>
#include <sys/queue.h>
#include <uthash.h>

#define LOOK_MS 1000 /* for nodes that came or went, and streams to try again */
#define RETRY_NS (3 * NS_PER_SEC)
#define SAMPLE_MAX_BYTES (1u << 20)

struct usage_sub {
	LIST_ENTRY(usage_sub) entry;
	struct usage *usage;
	usage_cb cb; /* NULL = gone while somebody is being told */
	void *data;
};

/* One node, from the first subscriber to the last. */
struct watched {
	UT_hash_handle hh;
	struct usage *usage;
	struct rpc_channel *channel;
	struct rpc_call *call; /* NULL: no stream */
	int64_t retry_at;      /* monotonic */
	pb_node_usage *sample; /* the newest, or an error; NULL = nothing yet */
	bool seen, ending;     /* ending: no more samples, freed when the stream has ended */
	char id[];
};

struct usage {
	uv_loop_t *loop;
	struct store *store;
	struct rpc *rpc;
	struct rpc_creds *creds;
	uv_timer_t timer;
	struct watched *nodes;
	LIST_HEAD(, usage_sub) subs;
	unsigned telling;
	struct closer closer;
};

/* ---------------------------------------------------------------- telling */

static void sweep(struct usage *u)
{
	struct usage_sub *sub, *next;

	for (sub = LIST_FIRST(&u->subs); sub; sub = next) {
		next = LIST_NEXT(sub, entry);
		if (sub->cb)
			continue;
		LIST_REMOVE(sub, entry);
		free(sub);
	}
}

static bool anybody(const struct usage *u)
{
	struct usage_sub *sub;

	LIST_FOREACH(sub, &u->subs, entry)
	if (sub->cb)
		return true;
	return false;
}

static void tell(struct usage *u, const pb_node_usage *sample)
{
	struct usage_sub *sub;

	u->telling++;
	LIST_FOREACH(sub, &u->subs, entry)
	if (sub->cb)
		sub->cb(sub->data, sample);
	if (--u->telling == 0)
		sweep(u);
}

/* Takes the sample over. */
static void set_sample(struct watched *w, pb_node_usage *sample)
{
	pb_free(w->sample);
	w->sample = sample;
	tell(w->usage, sample);
}

static void set_error(struct watched *w, const char *why)
{
	pb_node_usage *sample;

	if (w->sample && str_eq(w->sample->error, why))
		return;
	sample = pb_new(&skein__node_usage__descriptor);
	pb_set_str(&sample->node_id, w->id);
	pb_set_str(&sample->error, why);
	set_sample(w, sample);
}

/* ---------------------------------------------------------------- streams */

struct told {
	UT_hash_handle hh;
	const pb_task *task;
};

/* Not another's task, and none twice. */
static bool may_tell(const struct watched *w, struct told **told, const char *task_id, struct told *place)
{
	const pb_task *task = view_task(store_view(w->usage->store), task_id);
	struct told *before;

	if (!task || !str_eq(task->node_id, w->id))
		return false;
	HASH_FIND_PTR(*told, &task, before);
	if (before)
		return false;
	place->task = task;
	HASH_ADD_PTR(*told, task, place);
	return true;
}

/* An agent speaks for its own tasks only, once for each. */
static void keep_own_tasks(const struct watched *w, pb_node_usage *sample)
{
	_cleanup_free_ struct told *places = xcalloc(sample->n_tasks + 1, sizeof(*places));
	struct told *told = NULL;
	size_t kept = 0;

	for (size_t i = 0; i < sample->n_tasks; i++) {
		if (may_tell(w, &told, sample->tasks[i]->task_id, &places[kept]))
			sample->tasks[kept++] = sample->tasks[i];
		else
			pb_free(sample->tasks[i]);
	}
	HASH_CLEAR(hh, told);
	sample->n_tasks = kept;
}

static void on_message(struct rpc_call *call, const ProtobufCMessage *msg, void *data)
{
	struct watched *w = data;
	pb_node_usage *sample;

	if (w->ending)
		return;
	if (protobuf_c_message_get_packed_size(msg) > SAMPLE_MAX_BYTES) {
		rpc_call_cancel(call);
		return;
	}
	sample = pb_dup_clean(msg);
	pb_set_str(&sample->node_id, w->id);
	pb_set_str(&sample->error, "");
	keep_own_tasks(w, sample);
	set_sample(w, sample);
}

static void watched_free(struct watched *w)
{
	struct usage *u = w->usage;

	HASH_DEL(u->nodes, w);
	if (w->channel)
		rpc_channel_close(w->channel);
	pb_free(w->sample);
	free(w);
	closer_drop(&u->closer);
}

static void on_done(struct rpc_call *call, const struct error *err, void *data)
{
	struct watched *w = data;

	w->call = NULL;
	if (w->ending) {
		watched_free(w);
		return;
	}
	w->retry_at = clock_mono_ns() + RETRY_NS;
	rpc_channel_close(TAKE_PTR(w->channel));
	set_error(w, err ? err->msg : "the agent ended the stream");
}

static void open_stream(struct watched *w, const pb_node *node)
{
	static const struct rpc_handlers handlers = {.on_message = on_message, .on_done = on_done};
	Skein__NodeUsageRequest request = SKEIN__NODE_USAGE_REQUEST__INIT;
	bool v6 = strchr(node->status->address, ':') != NULL;
	char target[128];
	struct rpc_channel_options options = {.target = target,
					      .creds = w->usage->creds,
					      .server_name = RPC_NODE_NAME,
					      .keepalive_ms = 5000,
					      .keepalive_timeout_ms = 5000};

	snprintf(target, sizeof(target), v6 ? "[%s]:%u" : "%s:%u", node->status->address, node->peer_port);
	w->channel = rpc_channel_new(w->usage->rpc, &options);
	w->call = rpc_stream(w->channel, &skein__peer__descriptor, "Usage", 0, &handlers, w);
	rpc_call_send(w->call, &request.base, NULL);
	rpc_call_half_close(w->call);
}

static void end_watched(struct watched *w)
{
	w->ending = true;
	if (w->call)
		rpc_call_cancel(w->call); /* on_done frees */
	else
		watched_free(w);
}

/* ---------------------------------------------------------------- which nodes */

static const char *why_not(const pb_node *node)
{
	if (!node->status || str_empty(node->status->address) || !node->peer_port)
		return "the node never told its address";
	if ((int)node->status->state == NODE_DOWN)
		return "the node is down";
	return NULL;
}

static struct watched *watched_get(struct usage *u, const char *id)
{
	size_t len = strlen(id);
	struct watched *w;

	HASH_FIND(hh, u->nodes, id, len, w);
	if (w)
		return w;
	w = xcalloc(1, sizeof(*w) + len + 1);
	w->usage = u;
	memcpy(w->id, id, len);
	HASH_ADD_KEYPTR(hh, u->nodes, w->id, len, w);
	closer_hold(&u->closer);
	return w;
}

static void look_at(struct usage *u, const pb_node *node)
{
	struct watched *w = watched_get(u, node->id);
	const char *why = why_not(node);

	w->seen = true;
	if (w->ending || w->call)
		return;
	if (why)
		set_error(w, why);
	else if (clock_mono_ns() >= w->retry_at)
		open_stream(w, node);
}

static void look(uv_timer_t *timer)
{
	struct usage *u = timer->data;
	_cleanup_free_ const void **nodes = NULL;
	struct watched *w, *next;
	size_t n;

	HASH_ITER (hh, u->nodes, w, next)
		w->seen = false;
	nodes = view_list(store_view(u->store), KIND_NODE, &n);
	/* Who is told may go. */
	for (size_t i = 0; i < n && anybody(u); i++)
		look_at(u, nodes[i]);
	HASH_ITER (hh, u->nodes, w, next)
		if (!w->seen && !w->ending)
			end_watched(w);
}

/* ---------------------------------------------------------------- subscribers */

struct usage_sub *usage_subscribe(struct usage *u, usage_cb cb, void *data)
{
	struct usage_sub *sub = xnew(struct usage_sub);

	sub->usage = u;
	sub->cb = cb;
	sub->data = data;
	LIST_INSERT_HEAD(&u->subs, sub, entry);
	if (!uv_is_active((uv_handle_t *)&u->timer))
		uv_timer_start(&u->timer, look, 0, LOOK_MS);
	return sub;
}

void usage_unsubscribe(struct usage_sub *sub)
{
	struct watched *w, *next;
	struct usage *u;

	if (!sub)
		return;
	u = sub->usage;
	sub->cb = NULL;
	if (!u->telling)
		sweep(u);
	if (anybody(u))
		return;
	uv_timer_stop(&u->timer);
	HASH_ITER (hh, u->nodes, w, next)
		if (!w->ending)
			end_watched(w);
}

void usage_each(const struct usage *u, usage_cb cb, void *data)
{
	for (const struct watched *w = u->nodes; w; w = w->hh.next)
		if (w->sample && !w->ending)
			cb(data, w->sample);
}

/* ---------------------------------------------------------------- life */

struct usage *usage_new(const struct usage_options *options)
{
	struct usage *u = xnew(struct usage);

	u->loop = options->loop;
	u->store = options->store;
	u->rpc = options->rpc;
	u->creds = options->creds ? rpc_creds_ref(options->creds) : NULL;
	LIST_INIT(&u->subs);
	closer_init(&u->closer);
	uv_timer_init(u->loop, &u->timer);
	u->timer.data = u;
	return u;
}

struct closing {
	struct usage *usage;
	void (*closed)(void *data);
	void *data;
};

static void on_closed(void *data)
{
	struct closing closing = *(struct closing *)data;

	free(data);
	if (closing.usage->creds)
		rpc_creds_unref(closing.usage->creds);
	free(closing.usage);
	if (closing.closed)
		closing.closed(closing.data);
}

void usage_close(struct usage *u, void (*closed)(void *data), void *data)
{
	struct closing *closing = xnew(struct closing);
	struct watched *w, *next;

	*closing = (struct closing){u, closed, data};
	if (!closer_begin(&u->closer, on_closed, closing)) {
		free(closing);
		return;
	}
	uv_timer_stop(&u->timer);
	HASH_ITER (hh, u->nodes, w, next)
		if (!w->ending)
			end_watched(w);
	closer_add(&u->closer, (uv_handle_t *)&u->timer);
	closer_end(&u->closer);
}
