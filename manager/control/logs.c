/*
 * Logs: the streams of many tasks become one. Without `follow` lines are merged by their time,
 * waiting a moment for slow nodes; with it they are passed on as they come. The client's pace is
 * everybody's.
 */
#include "internal.h"
#include "logs_source.h"
#include "resolve.h"
#include "text.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"
#include "manager/store/store.h"
#include "rpc/rpc.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define LOGS_MAX 100
#define SOURCES_MAX 500
#define UNSENT_MAX_BYTES (512u << 10)
#define SLOW_SOURCE_NS (2 * NS_PER_SEC)
#define TICK_NS (500 * NS_PER_MS)
#define RETRY_MAX_NS (15 * NS_PER_SEC)

struct node_channel {
	LIST_ENTRY(node_channel) entry;
	char node_id[LOGS_SOURCE_ID_MAX];
	char target[128];
	struct rpc_channel *channel;
};

struct logs {
	LIST_ENTRY(logs) entry;
	struct control *c;
	struct rpc_call *call; /* the client's; NULL: gone */
	Skein__LogsRequest *request;
	char service_id[LOGS_SOURCE_ID_MAX];
	char task_id[LOGS_SOURCE_ID_MAX]; /* "" = all tasks of the service */
	TAILQ_HEAD(, logs_source) sources;
	size_t n_sources;
	bool too_many, pumping;
	LIST_HEAD(, node_channel) channels;
	uv_timer_t tick;
	struct closer closer;
};

/* ---------------------------------------------------------------- to the client */

static void end(struct logs *l, const struct error *err)
{
	if (!l->call)
		return;
	if (err)
		rpc_call_fail(l->call, err);
	else
		rpc_call_finish(l->call);
	l->call = NULL;
}

static void send_response(struct logs *l, Skein__LogsResponse *msg, const struct logs_source *s)
{
	const pb_node *node = s ? view_node(control_view(l->c), s->node_id) : NULL;
	struct error err = ERROR_INIT;

	if (!l->call)
		return;
	if (s) {
		msg->task_id = (char *)s->task_id;
		msg->task_name = (char *)s->task_name;
		msg->node_id = (char *)s->node_id;
		msg->node_name = (char *)(node ? pb_node_name(node) : s->node_id);
	}
	if (rpc_call_send(l->call, &msg->base, &err) < 0)
		end(l, &err);
}

static void warn(struct logs *l, const struct logs_source *s, const char *text)
{
	Skein__LogsResponse msg = SKEIN__LOGS_RESPONSE__INIT;

	msg.warning = (char *)text;
	send_response(l, &msg, s);
}

/* The source with the oldest line; NULL: none, or one whose lines may be older has yet to answer.
 */
static struct logs_source *next_source(struct logs *l, int64_t now, int64_t *ret_limit)
{
	struct logs_source *s, *oldest = NULL;
	int64_t second = INT64_MAX;

	TAILQ_FOREACH(s, &l->sources, entry)
	{
		const pb_log_line *head = logs_source_head(s);

		if (!head) {
			if (!l->request->follow && !s->ended && now - s->opened_at < SLOW_SOURCE_NS)
				return NULL;
			continue;
		}
		if (!oldest || head->at < logs_source_head(oldest)->at) {
			if (oldest)
				second = MIN(second, logs_source_head(oldest)->at);
			oldest = s;
		} else {
			second = MIN(second, head->at);
		}
	}
	*ret_limit = second;
	return oldest;
}

static bool all_ended(const struct logs *l)
{
	const struct logs_source *s;

	TAILQ_FOREACH(s, &l->sources, entry)
	if (!s->ended || logs_source_head(s))
		return false;
	return true;
}

static bool is_complete(const struct logs *l)
{
	const struct view *v = control_view(l->c);

	if (!all_ended(l))
		return false;
	if (!l->request->follow)
		return true;
	if (l->task_id[0])
		return l->n_sources > 0 || !view_task(v, l->task_id);
	return !view_service(v, l->service_id);
}

static void pump(struct logs *l)
{
	int64_t now = clock_mono_ns(), limit;
	struct logs_source *s;

	/* Consuming may bring the next batch at once. */
	if (l->pumping)
		return;
	l->pumping = true;
	while (l->call && rpc_call_unsent(l->call) < UNSENT_MAX_BYTES &&
	       (s = next_source(l, now, &limit))) {
		Skein__LogsResponse msg = SKEIN__LOGS_RESPONSE__INIT;

		msg.n_lines = logs_source_run(s, limit, &msg.lines);
		send_response(l, &msg, s);
		logs_source_consume(s, msg.n_lines);
	}
	l->pumping = false;
	if (l->call && is_complete(l))
		end(l, NULL);
}

/* ---------------------------------------------------------------- from the agents */

static struct rpc_channel *channel_to(struct logs *l, const pb_node *node)
{
	bool v6 = strchr(node->status->address, ':') != NULL;
	struct rpc_channel_options options = {.creds = l->c->creds,
					      .server_name = RPC_NODE_NAME,
					      .keepalive_ms = 5000,
					      .keepalive_timeout_ms = 5000};
	struct node_channel *ch;
	char target[128];

	snprintf(target, sizeof(target), v6 ? "[%s]:%" PRIu32 : "%s:%" PRIu32,
		 node->status->address, node->peer_port);
	LIST_FOREACH(ch, &l->channels, entry)
	if (str_eq(ch->node_id, node->id) && str_eq(ch->target, target))
		return ch->channel;
	ch = xnew(struct node_channel);
	snprintf(ch->node_id, sizeof(ch->node_id), "%s", node->id);
	snprintf(ch->target, sizeof(ch->target), "%s", target);
	options.target = ch->target;
	ch->channel = rpc_channel_new(l->c->rpc, &options);
	LIST_INSERT_HEAD(&l->channels, ch, entry);
	return ch->channel;
}

static void on_tick(uv_timer_t *timer);

static void tick_soon(struct logs *l)
{
	if (l->call && !uv_is_active((uv_handle_t *)&l->tick))
		loop_timer_in(&l->tick, TICK_NS, on_tick);
}

/* It may run on: what it prints later is still to come. */
static bool may_retry(const struct logs *l, const struct logs_source *s)
{
	const pb_task *task = view_task(control_view(l->c), s->task_id);

	return l->request->follow && task && task->status &&
	       (int)task->status->state <= TASK_RUNNING;
}

static void fail(struct logs *l, struct logs_source *s, const char *why)
{
	char text[ERROR_MSG_MAX + 128];

	/* Once per outage. */
	if (s->failures == 0) {
		snprintf(text, sizeof(text), "logs of %s: %s", s->task_name, why);
		warn(l, s, text);
	}
	if (may_retry(l, s)) {
		s->retry_at =
			clock_mono_ns() + MIN(NS_PER_SEC << MIN(s->failures, 4u), RETRY_MAX_NS);
		s->failures++;
	} else {
		s->ended = true;
	}
	tick_soon(l);
}

static void open_source(struct logs *l, struct logs_source *s)
{
	const pb_node *node = view_node(control_view(l->c), s->node_id);

	s->retry_at = 0;
	if (!node)
		fail(l, s, "its node was removed");
	else if (!node->status || str_empty(node->status->address) || !node->peer_port)
		fail(l, s, "its node never told its address");
	else if ((int)node->status->state == NODE_DOWN)
		fail(l, s, "its node is down");
	else
		logs_source_open(s, channel_to(l, node), l->request);
}

static void add_source(struct logs *l, const pb_task *task)
{
	struct logs_source *s;

	TAILQ_FOREACH(s, &l->sources, entry)
	if (str_eq(s->task_id, task->id))
		return;
	if (l->n_sources >= SOURCES_MAX) {
		if (!l->too_many)
			warn(l, NULL,
			     "more than 500 tasks: only the logs of the first 500 are shown");
		l->too_many = true;
		return;
	}
	s = logs_source_new(l, task);
	TAILQ_INSERT_TAIL(&l->sources, s, entry);
	l->n_sources++;
	open_source(l, s);
	tick_soon(l);
}

/* Before STARTING there is no container that could have printed anything. */
static bool has_log(const pb_task *task)
{
	return !str_empty(task->node_id) && task->status &&
	       (int)task->status->state >= TASK_STARTING;
}

static bool is_wanted(const struct logs *l, const pb_task *task)
{
	if (l->task_id[0])
		return str_eq(task->id, l->task_id);
	return str_eq(task->service_id, l->service_id);
}

void logs_source_changed(struct logs_source *s)
{
	pump(s->logs);
}

void logs_source_failed(struct logs_source *s, const struct error *err)
{
	struct logs *l = s->logs;

	if (!l->call || s->ended) {
		s->ended = true;
		return;
	}
	/* Its container never came to print, or its history was cleared. */
	if (err->code == ERR_NOT_FOUND)
		s->ended = true;
	else
		fail(l, s, err->msg);
	pump(l);
}

void logs_source_hold(struct logs *logs)
{
	closer_hold(&logs->closer);
}

void logs_source_drop(struct logs *logs)
{
	closer_drop(&logs->closer);
}

/* Slow sources are not waited for any longer; broken ones are tried again. */
static void on_tick(uv_timer_t *timer)
{
	struct logs *l = timer->data;
	int64_t now = clock_mono_ns();
	struct logs_source *s;
	bool waiting = false;

	TAILQ_FOREACH(s, &l->sources, entry)
	{
		if (s->retry_at && now >= s->retry_at)
			open_source(l, s);
		waiting |= s->retry_at != 0 || (!l->request->follow && !s->ended);
	}
	pump(l);
	if (waiting)
		tick_soon(l);
}

void logs_on_event(struct control *c, const struct store_event *e)
{
	struct logs *l;

	if (e->kind != KIND_TASK && e->kind != KIND_SERVICE)
		return;
	LIST_FOREACH(l, &c->logs, entry)
	{
		if (!l->call || !l->request->follow)
			continue;
		if (e->kind == KIND_TASK && e->now && is_wanted(l, e->now) && has_log(e->now))
			add_source(l, e->now);
		else if (!e->now)
			pump(l); /* it may have been the last that was waited for */
	}
}

/* ---------------------------------------------------------------- life */

static void on_closed(void *data)
{
	struct logs *l = data;
	struct control *c = l->c;
	struct node_channel *ch;
	struct logs_source *s;

	while ((s = TAILQ_FIRST(&l->sources))) {
		TAILQ_REMOVE(&l->sources, s, entry);
		logs_source_free(s);
	}
	while ((ch = LIST_FIRST(&l->channels))) {
		LIST_REMOVE(ch, entry);
		rpc_channel_close(ch->channel);
		free(ch);
	}
	pb_free(l->request);
	free(l);
	closer_drop(&c->closer);
}

void logs_on_done(struct rpc_call *call, void *data)
{
	struct logs *l = rpc_call_data(call);
	struct logs_source *s;

	if (!l)
		return;
	l->call = NULL;
	LIST_REMOVE(l, entry);
	l->c->n_logs--;
	closer_begin(&l->closer, on_closed, l);
	closer_add(&l->closer, (uv_handle_t *)&l->tick);
	TAILQ_FOREACH(s, &l->sources, entry)
	logs_source_stop(s);
	closer_end(&l->closer);
}

void logs_on_drain(struct rpc_call *call, void *data)
{
	struct logs *l = rpc_call_data(call);

	if (l)
		pump(l);
}

static struct logs *logs_new(struct control *c, struct rpc_call *call)
{
	struct logs *l = xnew(struct logs);

	l->c = c;
	l->call = call;
	TAILQ_INIT(&l->sources);
	closer_init(&l->closer);
	uv_timer_init(c->loop, &l->tick);
	l->tick.data = l;
	closer_hold(&c->closer);
	LIST_INSERT_HEAD(&c->logs, l, entry);
	c->n_logs++;
	rpc_call_set_data(call, l);
	return l;
}

static int check_request(const struct control *c, const Skein__LogsRequest *request,
			 struct error *err)
{
	if (request->tail < -1)
		return error_set(err, ERR_INVALID,
				 "tail %" PRId64 ": must be -1 (all) or a number of lines",
				 request->tail);
	if (request->since < 0 || request->until < 0 ||
	    (request->until && request->until < request->since))
		return error_set(err, ERR_INVALID,
				 "since %" PRId64 ", until %" PRId64
				 ": must be nanoseconds since 1970, until not before since",
				 request->since, request->until);
	if (c->n_logs >= LOGS_MAX)
		return error_set(err, ERR_EXHAUSTED,
				 "%zu log requests are being served here: at most %d", c->n_logs,
				 LOGS_MAX);
	return 0;
}

/* A service, or else a task. */
static int resolve_target(struct logs *l, struct error *err)
{
	const struct view *v = control_view(l->c);
	const pb_service *service = resolve_service(v, l->request->ref, err);
	const pb_task *task;

	if (service) {
		snprintf(l->service_id, sizeof(l->service_id), "%s", service->id);
		return 0;
	}
	if (err->code != ERR_NOT_FOUND)
		return -1;
	task = resolve_task(v, l->request->ref, err);
	if (!task) {
		if (err->code == ERR_NOT_FOUND)
			error_set(err, ERR_NOT_FOUND, "no such service or task: %s",
				  l->request->ref);
		return -1;
	}
	snprintf(l->task_id, sizeof(l->task_id), "%s", task->id);
	snprintf(l->service_id, sizeof(l->service_id), "%s", task->service_id);
	return 0;
}

void logs_on_message(struct rpc_call *call, const ProtobufCMessage *raw, void *data)
{
	_cleanup_pb_ Skein__LogsRequest *request = NULL;
	_cleanup_free_ const pb_task **tasks = NULL;
	struct control *c = data;
	struct error err = ERROR_INIT;
	struct logs *l;
	size_t n;

	if (rpc_call_data(call))
		return; /* one request per call */
	request = text_checked_dup(raw, &err);
	if (!request || check_request(c, request, &err) < 0) {
		rpc_call_fail(call, &err);
		return;
	}
	l = logs_new(c, call);
	l->request = TAKE_PTR(request);
	if (resolve_target(l, &err) < 0) {
		end(l, &err);
		return;
	}
	tasks = view_tasks_of_service(control_view(c), l->service_id, &n);
	for (size_t i = 0; i < n; i++)
		if (is_wanted(l, tasks[i]) && has_log(tasks[i]))
			add_source(l, tasks[i]);
	pump(l);
}
