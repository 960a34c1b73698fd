/*
 * The changes are made in the view itself; this keeps what was there before. Every object that was
 * replaced lives until the transaction is freed, so pointers taken from the view stay readable.
 */
#include "txn.h"

#include "common/mem.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <sys/queue.h>
#include <uthash.h>

struct change {
	UT_hash_handle hh;
	TAILQ_ENTRY(change) order;
	struct txn_change pub;
	char *old_name;
	char key[]; /* kind, then the id */
};

struct txn {
	struct view *view;
	bool ended;
	uint64_t since[KIND_COUNT]; /* txn_require_all(); 0 = not asked for */
	struct change *by_key;
	TAILQ_HEAD(, change) changes;
	struct txn_change *array; /* what txn_changes() gave out last */
	void **garbage;           /* replaced inside this transaction */
	size_t n_garbage;
};

struct txn *txn_begin(struct view *v)
{
	struct txn *t = xnew(struct txn);

	t->view = v;
	TAILQ_INIT(&t->changes);
	return t;
}

static uint64_t revision_of(enum kind kind, const void *obj)
{
	Skein__Meta *meta = obj ? *kind_info(kind)->meta((void *)obj) : NULL;

	return meta ? meta->revision : 0;
}

static struct change *change_find(struct txn *t, enum kind kind, const char *id)
{
	_cleanup_free_ char *key = xasprintf("%c%s", 'a' + (int)kind, id);
	struct change *change;

	HASH_FIND_STR(t->by_key, key, change);
	return change;
}

/* The change of an object; a new one begins as "only check that it is as the view has it". */
static struct change *touch(struct txn *t, enum kind kind, const char *id)
{
	struct change *change = change_find(t, kind, id);
	size_t len = 1 + strlen(id);

	assert(!t->ended);
	if (change)
		return change;
	change = xcalloc(1, sizeof(*change) + len + 1);
	change->key[0] = (char)('a' + (int)kind);
	memcpy(change->key + 1, id, len);
	change->pub.kind = kind;
	change->pub.id = change->key + 1;
	change->pub.old = view_get(t->view, kind, id);
	change->old_name = xstrdup(change->pub.old ? kind_info(kind)->unique_name(change->pub.old) : "");
	change->pub.old_name = change->old_name;
	change->pub.revision = revision_of(kind, change->pub.old);
	change->pub.check_only = true;
	HASH_ADD_KEYPTR(hh, t->by_key, change->key, len, change);
	TAILQ_INSERT_TAIL(&t->changes, change, order);
	return change;
}

static void discard(struct txn *t, void *obj)
{
	if (!obj)
		return;
	t->garbage = xreallocarray(t->garbage, t->n_garbage + 1, sizeof(void *));
	t->garbage[t->n_garbage++] = obj;
}

/* What left the view is either the original (which the change remembers) or staged by us earlier. */
static void staged(struct txn *t, struct change *change, void *displaced, void *obj)
{
	if (displaced != change->pub.old)
		discard(t, displaced);
	change->pub.obj = obj;
	change->pub.check_only = false;
}

void txn_put(struct txn *t, enum kind kind, void *obj)
{
	struct change *change = touch(t, kind, kind_info(kind)->id(obj));

	staged(t, change, view_put(t->view, kind, obj), obj);
}

void txn_del(struct txn *t, enum kind kind, const char *id)
{
	struct change *change;

	if (!view_get(t->view, kind, id))
		return;
	change = touch(t, kind, id);
	/* The caller's id may be inside the object that goes; the change has its own copy. */
	staged(t, change, view_del(t->view, kind, change->pub.id), NULL);
}

void *txn_edit(struct txn *t, enum kind kind, const char *id)
{
	return pb_dup(view_get(t->view, kind, id));
}

void txn_require(struct txn *t, enum kind kind, const char *id)
{
	touch(t, kind, id);
}

void txn_require_all(struct txn *t, enum kind kind, uint64_t since)
{
	t->since[kind] = since;
}

uint64_t txn_required_since(const struct txn *t, enum kind kind)
{
	return t->since[kind];
}

/* Made and deleted again: for etcd nothing happened. */
static bool is_nothing(const struct txn_change *change)
{
	return !change->check_only && !change->obj && !change->old;
}

const struct txn_change *txn_changes(const struct txn *t, size_t *ret_n)
{
	struct txn *mutable = (struct txn *)t;
	struct change *change;
	size_t n = 0;

	free(mutable->array);
	mutable->array = xcalloc(HASH_COUNT(t->by_key), sizeof(*t->array));
	TAILQ_FOREACH(change, &t->changes, order)
		if (!is_nothing(&change->pub))
			mutable->array[n++] = change->pub;
	*ret_n = n;
	return t->array;
}

bool txn_empty(const struct txn *t)
{
	struct change *change;

	TAILQ_FOREACH(change, &t->changes, order)
		if (!change->pub.check_only && !is_nothing(&change->pub))
			return false;
	return true;
}

void txn_end(struct txn *t)
{
	struct change *change;

	if (t->ended)
		return;
	t->ended = true;
	TAILQ_FOREACH(change, &t->changes, order) {
		const struct txn_change *c = &change->pub;

		if (c->check_only)
			continue;
		if (c->old)
			discard(t, view_put(t->view, c->kind, (void *)c->old));
		else
			discard(t, view_del(t->view, c->kind, c->id));
	}
}

void txn_free(struct txn *t)
{
	struct change *change, *tmp;

	if (!t)
		return;
	txn_end(t);
	HASH_ITER(hh, t->by_key, change, tmp) {
		HASH_DEL(t->by_key, change);
		free(change->old_name);
		free(change);
	}
	for (size_t i = 0; i < t->n_garbage; i++)
		pb_free(t->garbage[i]);
	free(t->garbage);
	free(t->array);
	free(t);
}
