/*
 * Events: what happened, from the history; then, when asked, what comes. A client that does not keep up is sent no more
 * until it has taken what is on its way: the history keeps it meanwhile, and what it forgets is told as an error.
 */
#include "filters.h"
#include "internal.h"
#include "text.h"

#include "common/error.h"
#include "common/mem.h"
#include "manager/history/history.h"
#include "manager/store/store.h"
#include "rpc/rpc.h"

#include <string.h>

#define CALLS_MAX 200
#define BATCH_MAX 200 /* events of one message: about 60 KiB */
#define UNSENT_MAX_BYTES (256u << 10)

struct events_call {
	LIST_ENTRY(events_call) entry;
	struct control *c;
	struct rpc_call *call;
	Skein__EventsRequest *request;
	uint64_t next; /* number */
	bool begun, ended;
};

/* ---------------------------------------------------------------- filters */

static const char *attribute(const pb_event *e, const char *key)
{
	return pb_kv_get(e->attributes, e->n_attributes, key) ?: "";
}

static bool is_about(const pb_event *e, const char *type, const char *value)
{
	return str_eq(e->type, type) && (str_starts(e->id, value) || str_eq(e->name, value));
}

static bool match_type(const struct view *v, const void *obj, const char *value)
{
	return str_eq(((const pb_event *)obj)->type, value);
}

static bool match_event(const struct view *v, const void *obj, const char *value)
{
	return str_eq(((const pb_event *)obj)->action, value);
}

static bool match_id(const struct view *v, const void *obj, const char *value)
{
	return str_starts(((const pb_event *)obj)->id, value);
}

static bool match_name(const struct view *v, const void *obj, const char *value)
{
	return str_starts(((const pb_event *)obj)->name, value);
}

static bool match_node(const struct view *v, const void *obj, const char *value)
{
	const pb_event *e = obj;
	const char *id = attribute(e, "nodeid");
	const pb_node *node = *id ? view_node(v, id) : NULL;

	return is_about(e, "node", value) || (*id && str_starts(id, value)) || (node && str_eq(pb_node_name(node), value));
}

static bool match_service(const struct view *v, const void *obj, const char *value)
{
	const pb_event *e = obj;
	const char *id = attribute(e, "serviceid");

	return is_about(e, "service", value) || (*id && str_starts(id, value)) || str_eq(attribute(e, "service"), value);
}

static bool match_task(const struct view *v, const void *obj, const char *value)
{
	return is_about(obj, "task", value);
}

static bool match_network(const struct view *v, const void *obj, const char *value)
{
	return is_about(obj, "network", value);
}

/* "web", "web:1" and "docker.io/library/web:1" are one image to those who ask. */
static bool match_image(const struct view *v, const void *obj, const char *value)
{
	const pb_event *e = obj;
	const char *image = str_eq(e->type, "image") ? e->name : attribute(e, "image"), *at = strstr(image, value);
	size_t len = strlen(value);

	if (is_about(e, "image", value))
		return true;
	return at && (at == image || at[-1] == '/') && (at[len] == '\0' || at[len] == ':' || at[len] == '@');
}

static const struct filter_key keys[] = {
	{"type", match_type, "service|task|node|network|image|token|cluster"},
	{"event", match_event},
	{"id", match_id},
	{"name", match_name},
	{"node", match_node},
	{"service", match_service},
	{"task", match_task},
	{"network", match_network},
	{"image", match_image},
	{0},
};

static bool wanted(const struct events_call *k, const pb_event *e)
{
	const Skein__EventsRequest *r = k->request;

	return e->at >= r->since && (!r->until || e->at <= r->until) && (e->revision > r->after) &&
	       filters_pass(keys, r->filters, r->n_filters, control_view(k->c), e);
}

/* ---------------------------------------------------------------- sending */

static void end(struct events_call *k, const struct error *err)
{
	k->ended = true;
	if (err)
		rpc_call_fail(k->call, err);
	else
		rpc_call_finish(k->call);
}

/* The names that nodes have now, beside their ids. */
static pb_event *named(const struct view *v, const pb_event *e)
{
	const char *id = str_eq(e->type, "node") ? e->id : attribute(e, "nodeid");
	const pb_node *node = *id ? view_node(v, id) : NULL;
	pb_event *copy = pb_dup(e);

	if (node && str_eq(e->type, "node") && !*e->name)
		pb_set_str(&copy->name, pb_node_name(node));
	else if (node && !str_eq(e->type, "node"))
		pb_kv_set(&copy->n_attributes, &copy->attributes, "node", pb_node_name(node));
	return copy;
}

/* Up to a message of events; false: there are none. */
static bool send_batch(struct events_call *k)
{
	_cleanup_pb_ Skein__EventsResponse *out = pb_new(&skein__events_response__descriptor);
	const struct history *h = k->c->history;
	struct error err = ERROR_INIT;
	uint64_t revision = 0;

	for (; k->next < history_end(h); k->next++) {
		const pb_event *e = history_get(h, k->next);

		/* A follower goes on behind a revision with the next manager: none is torn apart. */
		if (out->n_events >= BATCH_MAX && e->revision != revision)
			break;
		revision = e->revision;
		if (wanted(k, e))
			pb_msgs_add(&out->n_events, &out->events, named(control_view(k->c), e));
	}
	if (!out->n_events)
		return false;
	if (rpc_call_send(k->call, &out->base, &err) < 0)
		end(k, &err);
	return true;
}

static void pump(struct events_call *k)
{
	const struct history *h = k->c->history;
	struct error err = ERROR_INIT;

	if (!history_ready(h))
		return;
	if (!k->begun)
		k->next = history_first(h);
	k->begun = true;
	if (k->next < history_first(h)) {
		error_set(&err, ERR_DATA_LOSS, "events came faster than they were read: %llu are lost",
			  (unsigned long long)(history_first(h) - k->next));
		end(k, &err);
		return;
	}
	while (!k->ended && rpc_call_unsent(k->call) < UNSENT_MAX_BYTES)
		if (!send_batch(k))
			break;
	if (!k->ended && !k->request->follow && k->next == history_end(h))
		end(k, NULL);
}

void events_turn(struct control *c)
{
	struct events_call *k;

	LIST_FOREACH(k, &c->events, entry)
	if (!k->ended)
		pump(k);
}

static void on_history(void *data)
{
	struct control *c = data;

	if (c->n_events)
		watch_wake(c);
}

/* ---------------------------------------------------------------- calls */

void events_open(struct control *c)
{
	c->history_sub = history_subscribe(c->history, on_history, c);
}

void events_close(struct control *c)
{
	history_unsubscribe(TAKE_PTR(c->history_sub));
}

static int check(const struct control *c, const Skein__EventsRequest *request, struct error *err)
{
	if (request->until && request->until < request->since)
		return error_set(err, ERR_INVALID, "until is before since");
	if (c->n_events >= CALLS_MAX)
		return error_set(err, ERR_EXHAUSTED, "%zu calls for events are under way here: at most %d", c->n_events,
				 CALLS_MAX);
	return filters_check(keys, request->filters, request->n_filters, err);
}

void events_on_message(struct rpc_call *call, const ProtobufCMessage *raw, void *data)
{
	_cleanup_pb_ Skein__EventsRequest *request = NULL;
	struct error err = ERROR_INIT;
	struct control *c = data;
	struct events_call *k;

	if (rpc_call_data(call))
		return; /* one request per call */
	request = text_checked_dup(raw, &err);
	if (!request || check(c, request, &err) < 0) {
		rpc_call_fail(call, &err);
		return;
	}
	k = xnew(struct events_call);
	k->c = c;
	k->call = call;
	k->request = TAKE_PTR(request);
	LIST_INSERT_HEAD(&c->events, k, entry);
	c->n_events++;
	rpc_call_set_data(call, k);
	pump(k);
}

void events_on_drain(struct rpc_call *call, void *data)
{
	struct events_call *k = rpc_call_data(call);

	if (k && !k->ended)
		pump(k);
}

void events_on_done(struct rpc_call *call, void *data)
{
	struct events_call *k = rpc_call_data(call);

	if (!k)
		return;
	LIST_REMOVE(k, entry);
	k->c->n_events--;
	pb_free(k->request);
	free(k);
}
