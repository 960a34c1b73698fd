/*
 * A task's log: a stream of the manager's own API, passed on as events. Each message is taken when the browser has taken
 * the one before.
 */
#include "internal.h"
#include "session.h"
#include "text.h"

#include "common/clock.h"
#include "common/error.h"
#include "common/mem.h"
#include "rpc/rpc.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define RELAY_BUFFER_BYTES (1u << 20)
#define LINE_MAX_BYTES 4096 /* of a log line; what is longer is cut */
#define TAIL_LINES 300

struct relay {
	LIST_ENTRY(relay) entry;
	struct web *w;
	struct http_stream *stream; /* NULL: over */
	struct rpc_call *call;	    /* NULL: over */
	uint64_t session;	    /* 0: it is being ended */
	bool paused;
	/* One message as an event. */
	void (*encode)(const ProtobufCMessage *msg, struct strbuf *out);
};

static void put_away(struct relay *r)
{
	struct web *w = r->w;

	if (r->stream || r->call)
		return;
	LIST_REMOVE(r, entry);
	w->n_relays--;
	free(r);
	closer_drop(&w->closer);
}

/* ---------------------------------------------------------------- from the API */

static void on_message(struct rpc_call *call, const ProtobufCMessage *msg, void *data)
{
	_cleanup_strbuf_ struct strbuf out = {0};
	struct relay *r = data;

	if (!r->stream || !r->session)
		return;
	r->encode(msg, &out);
	if (out.len && http_stream_push(r->stream, out.p, out.len) == 0 && !r->paused) {
		r->paused = true;
		rpc_call_pause(call);
	}
}

static void say_end(struct relay *r, const struct error *err)
{
	_cleanup_strbuf_ struct strbuf out = {0};
	json_t *object = json_object();

	if (err)
		json_object_set_new(object, "error", text_json(err->msg));
	web_event(&out, "end", NULL, object);
	http_stream_push(r->stream, out.p, out.len);
}

static void on_done(struct rpc_call *call, const struct error *err, void *data)
{
	struct relay *r = data;

	r->call = NULL;
	if (r->stream) {
		if (r->session)
			say_end(r, err);
		r->session = 0;
		http_stream_close(r->stream);
	}
	put_away(r);
}

/* ---------------------------------------------------------------- to the browser */

static void on_drain(void *data)
{
	struct relay *r = data;

	if (!r->paused || !r->call)
		return;
	r->paused = false;
	rpc_call_resume(r->call);
}

static void on_close(void *data)
{
	struct relay *r = data;

	r->stream = NULL;
	if (r->call)
		rpc_call_cancel(r->call);
	put_away(r);
}

static struct rpc_channel *channel(struct web *w)
{
	struct rpc_channel_options options = {.target = w->control_target};

	if (!w->channel)
		w->channel = rpc_channel_new(w->rpc, &options);
	return w->channel;
}

/* Begin both ends; `request` is what the method is asked. */
static void begin(struct web *w, struct http_request *req, uint64_t session, const char *method,
		  const ProtobufCMessage *request, void (*encode)(const ProtobufCMessage *msg, struct strbuf *out))
{
	static const struct rpc_handlers handlers = {.on_message = on_message, .on_done = on_done};
	struct relay *r;
	struct http_stream_options options = {
		.content_type = "text/event-stream", .heartbeat = ":\n\n", .buffer_max_bytes = RELAY_BUFFER_BYTES,
		.on_close = on_close, .on_drain = on_drain,
	};

	if (w->n_relays >= WEB_PAGES_MAX || w->closer.closing) {
		web_refuse(req, 503, "%d logs are open on this manager already", WEB_PAGES_MAX);
		return;
	}
	r = xnew(struct relay);
	r->w = w;
	r->session = session;
	r->encode = encode;
	options.data = r;
	r->stream = http_stream_begin(req, &options);
	if (!r->stream) {
		free(r);
		return;
	}
	LIST_INSERT_HEAD(&w->relays, r, entry);
	w->n_relays++;
	closer_hold(&w->closer);
	r->call = rpc_stream(channel(w), &skein__control__descriptor, method, 0, &handlers, r);
	rpc_call_send(r->call, request, NULL);
	rpc_call_half_close(r->call);
}

void relays_check(struct web *w)
{
	int64_t now = clock_wall_ns();
	struct relay *r;

	LIST_FOREACH(r, &w->relays, entry)
	{
		if (!r->stream || !r->session || sessions_has(w->sessions, r->session, now))
			continue;
		r->session = 0;
		http_stream_close(r->stream);
	}
}

/* ---------------------------------------------------------------- a task's log */

static json_t *line_json(const pb_log_line *line)
{
	json_t *a = json_array();

	json_array_append_new(a, json_integer(line->at / NS_PER_MS));
	json_array_append_new(a, json_integer(line->stream));
	json_array_append_new(a, text_json_n((const char *)line->data.data, MIN(line->data.len, (size_t)LINE_MAX_BYTES)));
	if (line->partial || line->data.len > LINE_MAX_BYTES)
		json_array_append_new(a, json_true());
	return a;
}

static void encode_log(const ProtobufCMessage *raw, struct strbuf *out)
{
	const Skein__LogsResponse *msg = (const Skein__LogsResponse *)raw;
	json_t *object = json_object(), *lines = json_array();
	char id[24] = "";

	for (size_t i = 0; i < msg->n_lines; i++)
		json_array_append_new(lines, line_json(msg->lines[i]));
	json_object_set_new(object, "lines", lines);
	text_set(object, "warning", msg->warning);
	if (msg->n_lines)
		snprintf(id, sizeof(id), "%" PRId64, msg->lines[msg->n_lines - 1]->at);
	web_event(out, NULL, *id ? id : NULL, object);
}

void relay_log(struct web *w, struct http_request *req)
{
	Skein__LogsRequest request = SKEIN__LOGS_REQUEST__INIT;
	uint64_t session = sign_check(w, req);
	const char *task = http_query(req, "task"), *last = http_header(req, "Last-Event-ID");
	struct error err = ERROR_INIT;
	int64_t at = 0;

	if (!session)
		return;
	if (str_empty(task) || !view_task(w->view, task)) {
		web_refuse(req, 404, "there is no such task any more");
		return;
	}
	if (last && str_parse_i64(last, &at, &err) < 0) {
		web_refuse(req, 400, "Last-Event-ID: %s", err.msg);
		return;
	}
	request.ref = (char *)task;
	request.follow = true;
	request.tail = TAIL_LINES;
	/* What was seen before is not told again. */
	request.since = at > 0 ? at + 1 : 0;
	begin(w, req, session, "Logs", &request.base, encode_log);
}
