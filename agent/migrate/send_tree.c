#include "agent/migrate/outgoing_internal.h"

#include "agent/migrate/pack.h"
#include "agent/migrate/squeeze.h"
#include "common/loop.h"
#include "common/mem.h"

struct tree {
	struct producer producer;
	char *dir, *name;
	bool still;
	struct snapshot *before, *now;
	struct snapshot_changes changes;
	uint32_t item;
	send_tree_cb cb;
	void *data;
	/* the pool's, while `working` */
	bool working, all_sent, lost;
	struct pack *pack;
	struct squeeze *squeeze;
	const uint8_t *plain;
	size_t plain_len;
	uint8_t *packed;
	size_t packed_len;
	struct error err;
};

static void snapshot_free(struct snapshot *s)
{
	if (s)
		snapshot_fini(s);
	free(s);
}

static void tree_free(struct tree *t)
{
	pack_free(t->pack);
	snapshot_changes_fini(&t->changes);
	squeeze_free(t->squeeze);
	snapshot_free(t->before);
	snapshot_free(t->now);
	free(t->packed);
	free(t->dir);
	free(t->name);
	free(t);
}

static void finish(struct tree *t, const struct error *err)
{
	send_tree_cb cb = t->cb;
	void *data = t->data;
	uint64_t bytes = t->changes.file_bytes;
	struct snapshot *now = err ? NULL : TAKE_PTR(t->now);
	struct error copy = err ? *err : ERROR_INIT;

	t->producer.out->tree = NULL;
	tree_free(t);
	cb(data, now, bytes, err ? &copy : NULL);
}

/* ---------------------------------------------------------------- on the pool */

static int look(struct tree *t)
{
	t->now = xnew(struct snapshot);
	if (snapshot_take(t->dir, t->now, &t->err) < 0)
		return -1;
	snapshot_compare(t->before, t->now, &t->changes);
	t->pack = pack_new(t->dir, t->before, t->now, &t->changes, t->still, &t->err);
	t->squeeze = squeeze_new();
	return t->pack ? 0 : -1;
}

static void make_block(void *data)
{
	struct tree *t = data;
	size_t bound;

	if (!t->pack && look(t) < 0)
		return;
	if (pack_next(t->pack, &t->plain, &t->plain_len, &t->err) < 0 || t->plain_len == 0)
		return;
	bound = squeeze_bound(t->plain_len);
	free(t->packed);
	t->packed = xmalloc(bound);
	t->packed_len = squeeze_block(t->squeeze, t->plain, t->plain_len, t->packed, bound);
}

/* ---------------------------------------------------------------- on the loop */

static void on_made(void *data);

static void make_next(struct tree *t)
{
	t->working = true;
	loop_work(t->producer.out->o.loop, make_block, on_made, t);
}

static int send_block(struct tree *t)
{
	Skein__MoveChunk chunk = SKEIN__MOVE_CHUNK__INIT;
	Skein__MoveBlock block = SKEIN__MOVE_BLOCK__INIT;
	bool packed = t->packed_len > 0;

	block.item = t->item;
	block.data.data = packed ? t->packed : (uint8_t *)t->plain;
	block.data.len = packed ? t->packed_len : t->plain_len;
	block.plain_bytes = packed ? (uint32_t)t->plain_len : 0;
	chunk.body_case = SKEIN__MOVE_CHUNK__BODY_BLOCK;
	chunk.block = &block;
	return outgoing_send(t->producer.out, &chunk);
}

static int send_end(struct tree *t)
{
	Skein__MoveChunk chunk = SKEIN__MOVE_CHUNK__INIT;
	Skein__MoveEnd end = SKEIN__MOVE_END__INIT;

	end.item = t->item;
	end.digest = (char *)pack_digest(t->pack);
	chunk.body_case = SKEIN__MOVE_CHUNK__BODY_END;
	chunk.end = &end;
	return outgoing_send(t->producer.out, &chunk);
}

static void on_made(void *data)
{
	struct tree *t = data;

	t->working = false;
	if (t->lost) {
		tree_free(t);
		return;
	}
	if (error_is_set(&t->err)) {
		error_wrap(&t->err, "send %s", t->name);
		finish(t, &t->err);
		return;
	}
	t->all_sent = t->plain_len == 0;
	if ((t->all_sent ? send_end(t) : send_block(t)) < 0)
		t->all_sent = true; /* on_lost() follows, and knows why */
	else if (!t->all_sent && !outgoing_full(t->producer.out))
		make_next(t);
}

static void on_drain(struct producer *p)
{
	struct tree *t = container_of(p, struct tree, producer);

	if (!t->working && !t->all_sent)
		make_next(t);
}

static bool on_ack(struct producer *p, const Skein__MoveAck *ack)
{
	struct tree *t = container_of(p, struct tree, producer);

	if (ack->body_case != SKEIN__MOVE_ACK__BODY_ITEM_DONE || ack->item_done->id != t->item || !t->all_sent)
		return false;
	finish(t, NULL);
	return true;
}

/* What is on the pool ends by itself; its answer does not count any more. */
static void on_lost(struct producer *p, const struct error *err)
{
	struct tree *t = container_of(p, struct tree, producer);
	send_tree_cb cb = t->cb;
	void *data = t->data;

	t->lost = true;
	if (!t->working)
		tree_free(t);
	if (err)
		cb(data, NULL, 0, err);
}

void send_tree(struct outgoing *o, const struct send_tree_options *options, send_tree_cb cb, void *data)
{
	Skein__MoveChunk chunk = SKEIN__MOVE_CHUNK__INIT;
	Skein__MoveItem item = SKEIN__MOVE_ITEM__INIT;
	struct tree *t = xnew(struct tree);

	t->producer = (struct producer){.out = o, .on_drain = on_drain, .on_ack = on_ack, .on_lost = on_lost};
	t->dir = xstrdup(options->dir);
	t->name = xstrdup(options->name);
	t->before = options->before;
	t->still = options->still;
	t->item = item.id = ++o->items;
	t->cb = cb;
	t->data = data;
	item.name = t->name;
	chunk.body_case = SKEIN__MOVE_CHUNK__BODY_ITEM;
	chunk.item = &item;
	o->tree = &t->producer;
	outgoing_send(o, &chunk);
	make_next(t);
}
