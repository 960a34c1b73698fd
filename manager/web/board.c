#include "board.h"
#include "model.h"

#include "common/mem.h"
#include "common/str.h"
#include "manager/store/plan.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define SLOT_KEY_MAX 160

/* Tasks that do the same, one after another. */
struct slot {
	UT_hash_handle hh;
	unsigned live;      /* tasks that are shown because they are wanted or run */
	char *remains;      /* the last that ended by itself; NULL = none */
	int64_t remains_at; /* when it was made */
	char key[];
};

struct board {
	const struct view *view;
	struct feed *feed;
	struct slot *slots;
};

struct feed *board_feed(struct board *b)
{
	return b->feed;
}

/* ---------------------------------------------------------------- slots */

static const char *slot_key(const pb_task *task, char buf[static SLOT_KEY_MAX])
{
	if (task->slot)
		snprintf(buf, SLOT_KEY_MAX, "%.64s/%" PRIu64, task->service_id, task->slot);
	else
		snprintf(buf, SLOT_KEY_MAX, "%.64s/%.64s", task->service_id, task->node_id);
	return buf;
}

static struct slot *slot_get(struct board *b, const pb_task *task)
{
	char key[SLOT_KEY_MAX];
	struct slot *slot;

	slot_key(task, key);
	HASH_FIND_STR(b->slots, key, slot);
	if (slot)
		return slot;
	slot = xcalloc(1, sizeof(*slot) + strlen(key) + 1);
	strcpy(slot->key, key);
	HASH_ADD_STR(b->slots, key, slot);
	return slot;
}

static void slot_put_away(struct board *b, struct slot *slot)
{
	if (slot->live || slot->remains)
		return;
	HASH_DEL(b->slots, slot);
	free(slot);
}

static void forget_remains(struct board *b, struct slot *slot)
{
	const pb_task *task = slot->remains ? view_task(b->view, slot->remains) : NULL;

	if (!slot->remains)
		return;
	feed_drop(b->feed, KIND_TASK, slot->remains, task ? task_state(task) : 0);
	free(slot->remains);
	slot->remains = NULL;
}

/* ---------------------------------------------------------------- tasks */

static bool is_live(const pb_task *task)
{
	return task && (task_live(task) || task_on_node(task));
}

static bool ended_by_itself(const pb_task *task)
{
	int state = task_state(task);

	return (int)task->desired <= TASK_SHUTDOWN &&
	       (state == TASK_COMPLETE || state == TASK_FAILED || state == TASK_REJECTED);
}

/* It is over: a mark, unless it is the last that its slot has. */
static void task_over(struct board *b, struct slot *slot, const pb_task *task)
{
	if (!ended_by_itself(task) || (slot->remains && task_created_at(task) < slot->remains_at)) {
		feed_drop(b->feed, KIND_TASK, task->id, task_state(task));
		return;
	}
	if (!str_eq(slot->remains, task->id))
		forget_remains(b, slot);
	if (!slot->remains)
		slot->remains = xstrdup(task->id);
	slot->remains_at = task_created_at(task);
	if (!slot->live)
		feed_put(b->feed, KIND_TASK, task->id);
	else
		feed_drop(b->feed, KIND_TASK, task->id, task_state(task));
}

static void on_task(struct board *b, const char *id, const pb_task *old, const pb_task *now)
{
	struct slot *slot = slot_get(b, now ? now : old);

	/* A global task that gets its node changes its slot. */
	if (is_live(old)) {
		struct slot *had = slot_get(b, old);

		had->live -= had->live > 0;
		if (had != slot)
			slot_put_away(b, had);
	}
	if (is_live(now)) {
		slot->live++;
		forget_remains(b, slot);
		if (!old || !feed_get(b->feed, KIND_TASK, id) || model_task_differs(old, now))
			feed_put(b->feed, KIND_TASK, id);
	} else if (now) {
		task_over(b, slot, now);
	} else {
		if (str_eq(slot->remains, id))
			forget_remains(b, slot);
		feed_drop(b->feed, KIND_TASK, id, task_state(old));
	}
	slot_put_away(b, slot);
}

/* What remains of a slot shows only while nothing lives in it; the last to go uncovers it. */
static void uncover(struct board *b, const pb_task *task)
{
	char key[SLOT_KEY_MAX];
	struct slot *slot;

	slot_key(task, key);
	HASH_FIND_STR(b->slots, key, slot);
	if (slot && !slot->live && slot->remains && !feed_get(b->feed, KIND_TASK, slot->remains))
		feed_put(b->feed, KIND_TASK, slot->remains);
}

/* ---------------------------------------------------------------- the rest */

/* How many tasks a global service wants depends on the nodes. */
static void touch_global_services(struct board *b)
{
	_cleanup_free_ const void **services = NULL;
	size_t n;

	services = view_list(b->view, KIND_SERVICE, &n);
	for (size_t i = 0; i < n; i++)
		if (service_is_global(services[i]))
			feed_put(b->feed, KIND_SERVICE, ((const pb_service *)services[i])->id);
}

/* Returns whether something that placement looks at has changed. */
static bool on_node(struct board *b, const char *id, const pb_node *old, const pb_node *now)
{
	if (!now)
		feed_drop(b->feed, KIND_NODE, id, 0);
	else if (!old || model_node_differs(old, now))
		feed_put(b->feed, KIND_NODE, id);
	return !old || !now || node_state(old) != node_state(now) || !pb_equal(old->spec, now->spec);
}

static void on_service(struct board *b, const char *id, const pb_service *old, const pb_service *now)
{
	if (!now)
		feed_drop(b->feed, KIND_SERVICE, id, 0);
	else if (!old || model_service_differs(old, now))
		feed_put(b->feed, KIND_SERVICE, id);
}

void board_events(struct board *b, const struct store_event *events, size_t n)
{
	bool placement = false;

	for (size_t i = 0; i < n; i++) {
		const struct store_event *e = &events[i];

		if (e->kind == KIND_TASK)
			on_task(b, e->id, e->old, e->now);
		else if (e->kind == KIND_NODE)
			placement |= on_node(b, e->id, e->old, e->now);
		else if (e->kind == KIND_SERVICE)
			on_service(b, e->id, e->old, e->now);
	}
	for (size_t i = 0; i < n; i++)
		if (events[i].kind == KIND_TASK && events[i].old)
			uncover(b, events[i].old);
	if (placement)
		touch_global_services(b);
}

void board_touch_node(struct board *b, const char *node_id)
{
	if (feed_get(b->feed, KIND_NODE, node_id))
		feed_put(b->feed, KIND_NODE, node_id);
}

/* ---------------------------------------------------------------- life */

static void add_all(struct board *b, enum kind kind)
{
	_cleanup_free_ const void **list = NULL;
	size_t n;

	list = view_list(b->view, kind, &n);
	for (size_t i = 0; i < n; i++)
		feed_put(b->feed, kind, kind_info(kind)->id(list[i]));
}

/* Ends are shown only of slots in which nothing lives: who lives comes first. */
static void add_tasks(struct board *b)
{
	_cleanup_free_ const void **list = NULL;
	size_t n;

	list = view_list(b->view, KIND_TASK, &n);
	for (int live = 1; live >= 0; live--)
		for (size_t i = 0; i < n; i++)
			if (is_live(list[i]) == live)
				on_task(b, ((const pb_task *)list[i])->id, NULL, list[i]);
}

struct board *board_new(const struct view *v)
{
	struct board *b = xnew(struct board);

	b->view = v;
	b->feed = feed_new();
	/* What others refer to comes first. */
	add_all(b, KIND_NODE);
	add_all(b, KIND_SERVICE);
	add_tasks(b);
	return b;
}

void board_free(struct board *b)
{
	struct slot *slot, *next;

	if (!b)
		return;
	HASH_ITER(hh, b->slots, slot, next) {
		HASH_DEL(b->slots, slot);
		free(slot->remains);
		free(slot);
	}
	feed_free(b->feed);
	free(b);
}
