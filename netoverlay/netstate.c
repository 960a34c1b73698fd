#include "netstate.h"

#include "common/mem.h"
#include "common/str.h"
#include "netstate_entry.h"
#include "netstate_order.h"

#include <string.h>
#include <sys/queue.h>
#include <uthash.h>

/* One key that is in the set, or was when changes were taken last. */
struct item {
	UT_hash_handle hh;
	TAILQ_ENTRY(item) change;
	bool present, changed;
	struct netstate_entry *base; /* only while changed: what it was; NULL = was not there */
	struct netstate_entry entry;
	uint8_t key_len;
	uint8_t key[];
};

struct netstate {
	struct item *items;
	size_t count;
	TAILQ_HEAD(, item) changes;
};

struct netstate *netstate_new(void)
{
	struct netstate *s = xnew(struct netstate);

	TAILQ_INIT(&s->changes);
	return s;
}

static void entry_wipe(struct netstate_entry *e)
{
	if (e)
		mem_wipe(e, sizeof(*e));
}

static void item_free(struct netstate *s, struct item *it)
{
	HASH_DEL(s->items, it);
	if (it->changed)
		TAILQ_REMOVE(&s->changes, it, change);
	entry_wipe(it->base);
	entry_wipe(&it->entry);
	free(it->base);
	free(it);
}

void netstate_free(struct netstate *s)
{
	struct item *it, *next;

	if (!s)
		return;
	HASH_ITER(hh, s->items, it, next)
		item_free(s, it);
	free(s);
}

static struct item *find(const struct netstate *s, const struct netstate_entry *e)
{
	uint8_t key[NETSTATE_KEY_MAX];
	size_t n = netstate_entry_key(e, key);
	struct item *it;

	HASH_FIND(hh, s->items, key, n, it);
	return it;
}

static struct item *add_item(struct netstate *s, const struct netstate_entry *e)
{
	uint8_t key[NETSTATE_KEY_MAX];
	size_t n = netstate_entry_key(e, key);
	struct item *it = xcalloc(1, sizeof(*it) + n);

	it->key_len = n;
	memcpy(it->key, key, n);
	HASH_ADD_KEYPTR(hh, s->items, it->key, it->key_len, it);
	return it;
}

/* To be called before the item changes. */
static void note_change(struct netstate *s, struct item *it)
{
	if (it->changed)
		return;
	it->changed = true;
	if (it->present)
		it->base = xmemdup(&it->entry, sizeof(it->entry));
	TAILQ_INSERT_TAIL(&s->changes, it, change);
}

bool netstate_put(struct netstate *s, const struct netstate_entry *e)
{
	struct item *it = find(s, e);

	if (it && it->present && netstate_entry_equal(&it->entry, e))
		return false;
	if (!it)
		it = add_item(s, e);
	note_change(s, it);
	s->count += !it->present;
	it->present = true;
	it->entry = *e;
	return true;
}

bool netstate_del(struct netstate *s, const struct netstate_entry *key)
{
	struct item *it = find(s, key);

	if (!it || !it->present)
		return false;
	note_change(s, it);
	it->present = false;
	s->count--;
	if (!it->base)
		item_free(s, it); /* came and went */
	return true;
}

const struct netstate_entry *netstate_get(const struct netstate *s, const struct netstate_entry *key)
{
	const struct item *it = find(s, key);

	return it && it->present ? &it->entry : NULL;
}

size_t netstate_count(const struct netstate *s)
{
	return s->count;
}

void netstate_each(const struct netstate *s, bool (*cb)(void *data, const struct netstate_entry *e), void *data)
{
	for (const struct item *it = s->items; it; it = it->hh.next) {
		if (it->present && !cb(data, &it->entry))
			return;
	}
}

/* ---------------------------------------------------------------- changes */

static bool is_remade(const struct item *it)
{
	return it->present && it->base && it->entry.kind == NETSTATE_LINK &&
	       netstate_link_remade(&it->base->link, &it->entry.link);
}

static bool stands_on(const struct netstate_entry *e, const struct strv *names)
{
	if (e->kind == NETSTATE_LINK)
		return strv_has(names, e->link.master) || strv_has(names, e->link.parent);
	return strv_has(names, netstate_entry_base(e));
}

/* Links on links that are made anew are lost with them. */
static void find_remade(const struct netstate *s, struct strv *names)
{
	const struct item *it;
	size_t before;

	TAILQ_FOREACH(it, &s->changes, change)
		if (is_remade(it))
			strv_add(names, it->entry.link.name);
	while (names->n) {
		before = names->n;
		for (it = s->items; it; it = it->hh.next)
			if (it->present && it->entry.kind == NETSTATE_LINK && *it->entry.link.parent &&
			    strv_has(names, it->entry.link.parent) && !strv_has(names, it->entry.link.name))
				strv_add(names, it->entry.link.name);
		if (names->n == before)
			break;
	}
}

static void emit_change(const struct item *it, struct oplist *ops)
{
	if (!it->present) {
		oplist_add(ops, true, it->base, NULL);
	} else if (is_remade(it)) {
		oplist_add(ops, true, it->base, NULL);
		oplist_add(ops, false, &it->entry, NULL);
	} else if (!it->base || !netstate_entry_equal(it->base, &it->entry)) {
		oplist_add(ops, false, &it->entry, it->base);
	}
}

void netstate_take_changes(struct netstate *s, struct netstate_ops *ret)
{
	_cleanup_strv_ struct strv remade = {};
	struct oplist ops = {};
	struct item *it, *next;

	find_remade(s, &remade);
	TAILQ_FOREACH(it, &s->changes, change)
		emit_change(it, &ops);
	if (remade.n) {
		for (it = s->items; it; it = it->hh.next)
			if (it->present && !it->changed && stands_on(&it->entry, &remade))
				oplist_add(&ops, false, &it->entry, NULL);
	}
	oplist_finish(&ops, s, ret);
	for (it = TAILQ_FIRST(&s->changes); it; it = next) {
		next = TAILQ_NEXT(it, change);
		if (!it->present) {
			item_free(s, it);
			continue;
		}
		TAILQ_REMOVE(&s->changes, it, change);
		it->changed = false;
		entry_wipe(it->base);
		mem_freep(&it->base);
	}
}
