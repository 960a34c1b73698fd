/* WatchMigration: the present state at once, then after every change; ends behind the last phase. As watch.c does it. */
#include "internal.h"
#include "redact.h"
#include "resolve.h"
#include "text.h"

#include "common/clock.h"
#include "common/mem.h"
#include "manager/store/store.h"
#include "rpc/rpc.h"

#include <stdio.h>
#include <string.h>

#define WATCHES_MAX 1000

struct migration_watch {
	LIST_ENTRY(migration_watch) entry;
	struct control *c;
	struct rpc_call *call;
	char id[64];
	bool dirty, ended;
};

struct verdicts {
	struct redact *redact;
	Skein__MigrationResponse *out;
	const char *source_node;
};

static void on_verdict(void *data, const pb_node *node, bool fits, const char *filter, const char *reason)
{
	struct verdicts *verdicts = data;
	Skein__NodeVerdict *verdict;
	char *copy;

	if (str_eq(node->id, verdicts->source_node))
		return;
	verdict = redact_alloc(verdicts->redact, sizeof(*verdict));
	copy = redact_alloc(verdicts->redact, strlen(reason) + 1);
	memcpy(copy, reason, strlen(reason));
	*verdict = (Skein__NodeVerdict)SKEIN__NODE_VERDICT__INIT;
	verdict->node_id = node->id;
	verdict->node_name = (char *)pb_node_name(node);
	verdict->fits = fits;
	verdict->filter = (char *)filter;
	verdict->reason = copy;
	verdicts->out->nodes[verdicts->out->n_nodes++] = verdict;
}

/* No node was found for it: why not each of them. */
static void add_verdicts(struct control *c, const pb_migration *m, struct redact *redact, Skein__MigrationResponse *out)
{
	struct verdicts verdicts = {.redact = redact, .out = out, .source_node = m->source_node};
	const struct view *v = control_view(c);
	const pb_task *task = view_task(v, m->source_task);

	if ((int)m->phase != MIGRATION_REFUSED || !str_empty(m->target_node) || !task)
		return;
	out->nodes = redact_alloc(redact, view_count(v, KIND_NODE) * sizeof(*out->nodes));
	c->ops.verdicts(c->ops.data, v, task, clock_wall_ns(), on_verdict, &verdicts);
}

static void end(struct migration_watch *w, const struct error *err)
{
	w->ended = true;
	if (err)
		rpc_call_fail(w->call, err);
	else
		rpc_call_finish(w->call);
}

static void send_state(struct migration_watch *w)
{
	Skein__MigrationResponse out = SKEIN__MIGRATION_RESPONSE__INIT;
	_cleanup_redact_ struct redact redact = {0};
	const struct view *v = control_view(w->c);
	const pb_migration *m = view_migration(v, w->id);
	struct error err = ERROR_INIT;

	w->dirty = false;
	if (!m) {
		error_set(&err, ERR_NOT_FOUND, "migration %s was removed from the history", w->id);
		end(w, &err);
		return;
	}
	out.migration = redact_migration(&redact, m);
	redact_node_names(&redact, v, &out.n_node_names, &out.node_names);
	add_verdicts(w->c, m, &redact, &out);
	if (rpc_call_send(w->call, &out.base, &err) < 0)
		end(w, &err);
	else if (pb_migration_ended(m))
		end(w, NULL);
}

void migration_watch_turn(struct control *c)
{
	struct migration_watch *w;

	LIST_FOREACH(w, &c->migration_watches, entry)
	{
		/* A client that has not taken the last state yet waits for on_drain. */
		if (w->dirty && !w->ended && rpc_call_unsent(w->call) == 0)
			send_state(w);
	}
}

void migration_watch_on_event(struct control *c, const struct store_event *e)
{
	struct migration_watch *w;

	if (e->kind != KIND_MIGRATION)
		return;
	LIST_FOREACH(w, &c->migration_watches, entry)
	{
		if (w->ended || !str_eq(e->id, w->id))
			continue;
		w->dirty = true;
		watch_wake(c);
	}
}

void migration_watch_on_message(struct rpc_call *call, const ProtobufCMessage *raw, void *data)
{
	_cleanup_pb_ Skein__RefRequest *request = NULL;
	struct control *c = data;
	struct error err = ERROR_INIT;
	const pb_migration *m;
	struct migration_watch *w;

	if (rpc_call_data(call))
		return; /* one request per call */
	request = text_checked_dup(raw, &err);
	m = request ? resolve_migration(control_view(c), request->ref, &err) : NULL;
	if (m && c->n_migration_watches >= WATCHES_MAX) {
		error_set(&err, ERR_EXHAUSTED, "%zu migrations are being watched here: at most %d",
			  c->n_migration_watches, WATCHES_MAX);
		m = NULL;
	}
	if (!m) {
		rpc_call_fail(call, &err);
		return;
	}
	w = xnew(struct migration_watch);
	w->c = c;
	w->call = call;
	snprintf(w->id, sizeof(w->id), "%s", m->id);
	LIST_INSERT_HEAD(&c->migration_watches, w, entry);
	c->n_migration_watches++;
	rpc_call_set_data(call, w);
	send_state(w);
}

void migration_watch_on_drain(struct rpc_call *call, void *data)
{
	struct migration_watch *w = rpc_call_data(call);

	if (w && w->dirty && !w->ended)
		watch_wake(w->c);
}

void migration_watch_on_done(struct rpc_call *call, void *data)
{
	struct migration_watch *w = rpc_call_data(call);

	if (!w)
		return;
	LIST_REMOVE(w, entry);
	w->c->n_migration_watches--;
	free(w);
}
