#include "feed.h"

#include "common/mem.h"

#include <stdlib.h>
#include <string.h>

struct feed {
	struct feed_item *items[KIND_COUNT];
	TAILQ_HEAD(feed_list, feed_item) list;
	TAILQ_HEAD(, feed_item) marks; /* those of the list that are gone, in its order */
	uint64_t seq, forgotten;
	uint32_t last_num;
	size_t n_items, n_marks;
};

struct feed *feed_new(void)
{
	struct feed *f = xnew(struct feed);

	TAILQ_INIT(&f->list);
	TAILQ_INIT(&f->marks);
	return f;
}

static void unmark(struct feed *f, struct feed_item *item)
{
	if (!item->gone)
		return;
	item->gone = false;
	TAILQ_REMOVE(&f->marks, item, marks);
	f->n_marks--;
}

static void item_free(struct feed *f, struct feed_item *item)
{
	HASH_DEL(f->items[item->kind], item);
	TAILQ_REMOVE(&f->list, item, entry);
	unmark(f, item);
	f->n_items--;
	free(item);
}

void feed_free(struct feed *f)
{
	struct feed_item *item;

	if (!f)
		return;
	while ((item = TAILQ_FIRST(&f->list)))
		item_free(f, item);
	free(f);
}

static struct feed_item *find(const struct feed *f, enum kind kind, const char *id)
{
	struct feed_item *item = NULL;

	HASH_FIND_STR(f->items[kind], id, item);
	return item;
}

static void to_the_end(struct feed *f, struct feed_item *item)
{
	item->seq = ++f->seq;
	TAILQ_INSERT_TAIL(&f->list, item, entry);
}

void feed_put(struct feed *f, enum kind kind, const char *id)
{
	struct feed_item *item = find(f, kind, id);

	if (item) {
		TAILQ_REMOVE(&f->list, item, entry);
		unmark(f, item);
		to_the_end(f, item);
		return;
	}
	item = xcalloc(1, sizeof(*item) + strlen(id) + 1);
	strcpy(item->id, id);
	item->kind = kind;
	item->num = ++f->last_num;
	HASH_ADD_STR(f->items[kind], id, item);
	f->n_items++;
	to_the_end(f, item);
}

void feed_drop(struct feed *f, enum kind kind, const char *id, int last_state)
{
	struct feed_item *item = find(f, kind, id);

	if (!item || item->gone)
		return;
	TAILQ_REMOVE(&f->list, item, entry);
	item->gone = true;
	item->last = last_state;
	TAILQ_INSERT_TAIL(&f->marks, item, marks);
	f->n_marks++;
	to_the_end(f, item);
	if (f->n_marks <= FEED_MARKS_MAX)
		return;
	item = TAILQ_FIRST(&f->marks);
	f->forgotten = item->seq;
	item_free(f, item);
}

const struct feed_item *feed_get(const struct feed *f, enum kind kind, const char *id)
{
	const struct feed_item *item = find(f, kind, id);

	return item && !item->gone ? item : NULL;
}

const struct feed_item *feed_after(const struct feed *f, uint64_t seq)
{
	struct feed_item *item = TAILQ_LAST(&f->list, feed_list), *first = NULL;

	if (seq == 0)
		return TAILQ_FIRST(&f->list);
	for (; item && item->seq > seq; item = TAILQ_PREV(item, feed_list, entry))
		first = item;
	return first;
}

const struct feed_item *feed_next(const struct feed_item *item)
{
	return TAILQ_NEXT(item, entry);
}

uint64_t feed_seq(const struct feed *f)
{
	return f->seq;
}

uint64_t feed_forgotten(const struct feed *f)
{
	return f->forgotten;
}

size_t feed_count(const struct feed *f)
{
	return f->n_items - f->n_marks;
}
