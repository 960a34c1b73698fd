/*
 * Writing node objects: the newest intent per node, all of them in one transaction at a time. An
 * intent is applied to the node as it is when the transaction is made; one that changes nothing
 * writes nothing.
 */
#include "internal.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/str.h"
#include "manager/store/store.h"
#include "nodestate.h"

#include <stdio.h>
#include <string.h>

#define NODES_PER_TXN 100

static struct intent *intent_of(struct dispatcher *d, const char *node_id)
{
	size_t len = strlen(node_id);
	struct intent *it;

	HASH_FIND_STR(d->intents, node_id, it);
	if (!it) {
		it = xcalloc(1, sizeof(*it) + len + 1);
		memcpy(it->node_id, node_id, len);
		HASH_ADD_KEYPTR(hh, d->intents, it->node_id, len, it);
	}
	it->staged = false;
	return it;
}

static void intent_clear(struct intent *it)
{
	pb_free(it->reg);
	pb_free(it->description);
	it->reg = NULL;
	it->description = NULL;
	it->down = false;
}

static void intent_drop(struct dispatcher *d, struct intent *it)
{
	intent_clear(it);
	HASH_DEL(d->intents, it);
	free(it);
}

void nodes_want_ready(struct dispatcher *d, const char *node_id, const Skein__Register *reg,
		      int role)
{
	struct intent *it = intent_of(d, node_id);

	intent_clear(it);
	it->reg = pb_dup(reg);
	it->role = role;
	writer_kick(&d->nodes);
}

void nodes_want_description(struct dispatcher *d, const char *node_id,
			    const pb_node_description *description)
{
	struct intent *it = intent_of(d, node_id);

	pb_set_msg(&it->description, description);
	writer_kick(&d->nodes);
}

void nodes_want_down(struct dispatcher *d, const char *node_id, const char *manager_id,
		     const char *message)
{
	struct intent *it;

	HASH_FIND_STR(d->intents, node_id, it);
	if (it && it->down)
		return;
	it = intent_of(d, node_id);
	intent_clear(it);
	it->down = true;
	snprintf(it->down_manager, sizeof(it->down_manager), "%s", manager_id);
	snprintf(it->message, sizeof(it->message), "%s", message);
	writer_kick(&d->nodes);
}

static bool apply(struct dispatcher *d, const struct intent *it, pb_node *node, int64_t now)
{
	bool changed = false;

	if (it->reg)
		changed |= nodestate_ready(node, it->reg, it->role, d->node_id, now);
	if (it->description)
		changed |= nodestate_describe(node, it->description);
	if (it->down)
		changed |= nodestate_down(node, it->down_manager, it->message, now);
	return changed;
}

static void stage(void *data, struct txn *t)
{
	struct dispatcher *d = data;
	int64_t now = clock_wall_ns();
	size_t n = 0;

	for (struct intent *it = d->intents; it && n < NODES_PER_TXN; it = it->hh.next, n++) {
		pb_node *node = txn_edit(t, KIND_NODE, it->node_id);

		it->staged = true;
		if (node && apply(d, it, node, now))
			txn_put(t, KIND_NODE, node);
		else
			pb_free(node);
	}
}

static void finished(struct dispatcher *d, struct intent *it)
{
	bool ready = it->reg != NULL;
	struct session *s = session_of_node(d, it->node_id);

	if (it->down) {
		d->stats.nodes_down++;
		log_warn("node_down", kv_str("node", it->node_id), kv_str("reason", it->message));
	}
	intent_drop(d, it);
	if (ready && s && !s->registered)
		session_registered(s);
}

static void done(void *data, const struct error *err)
{
	struct dispatcher *d = data;
	struct intent *it, *next;

	HASH_ITER(hh, d->intents, it, next)
	{
		if (!it->staged)
			continue;
		it->staged = false;
		if (!err)
			finished(d, it);
		else if (it->down && err->code != ERR_CONFLICT)
			/* Judged before an outage of unknown length: it will be judged again behind
			 * it. */
			intent_drop(d, it);
	}
	if (!err && d->intents)
		writer_kick(&d->nodes);
}

void nodes_open(struct dispatcher *d)
{
	d->nodes = (struct writer){
		.store = d->store, .flags = STORE_CHUNKED, .stage = stage, .done = done, .data = d};
	writer_open(&d->nodes, d->loop, &d->closer);
}

void nodes_close(struct dispatcher *d)
{
	writer_close(&d->nodes);
}

void nodes_free(struct dispatcher *d)
{
	struct intent *it, *next;

	HASH_ITER(hh, d->intents, it, next)
	intent_drop(d, it);
}
