#include "top_index.h"

#include "top_model.h"

#include "common/mem.h"
#include "common/str.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

struct entry {
	UT_hash_handle hh;
	const void *found;
	uint64_t n;
	char key[];
};

struct top_index {
	struct entry *samples, *usages, *restarts;
};

static struct entry *find(const struct entry *map, const char *key)
{
	struct entry *e;

	HASH_FIND_STR(map, key, e);
	return e;
}

/* The entry of a key, made when there is none: the first one of a key counts. */
static struct entry *place(struct entry **map, const char *key, const void *found)
{
	struct entry *e = find(*map, key);
	size_t len = strlen(key);

	if (e)
		return e;
	e = xcalloc(1, sizeof(*e) + len + 1);
	e->found = found;
	memcpy(e->key, key, len);
	HASH_ADD_KEYPTR(hh, *map, e->key, len, e);
	return e;
}

static void clear(struct entry **map)
{
	struct entry *e, *next;

	HASH_ITER (hh, *map, e, next) {
		HASH_DEL(*map, e);
		free(e);
	}
}

static char *usage_key(const char *node_id, const char *task_id)
{
	return xasprintf("%s/%s", node_id, task_id);
}

/* A global service has a slot per node. */
static char *slot_key(const pb_task *task)
{
	return xasprintf("%s/%" PRIu64 "/%s", task->service_id, task->slot, task->slot ? "" : task->node_id);
}

static void add_sample(struct top_index *x, const pb_node_usage *sample)
{
	struct entry *e = place(&x->samples, sample->node_id, sample);

	for (size_t i = 0; e->found == sample && i < sample->n_tasks; i++) {
		_cleanup_free_ char *key = usage_key(sample->node_id, sample->tasks[i]->task_id);

		place(&x->usages, key, sample->tasks[i]);
	}
}

static void add_task(struct top_index *x, const pb_task *task)
{
	int state = task->status ? (int)task->status->state : TASK_NEW;
	_cleanup_free_ char *key = NULL;

	if (state != TASK_COMPLETE && state != TASK_FAILED && state != TASK_ORPHANED)
		return;
	key = slot_key(task);
	place(&x->restarts, key, NULL)->n++;
}

struct top_index *top_index_new(const struct top_state *state)
{
	struct top_index *x = xnew(struct top_index);

	for (size_t i = 0; i < state->n_samples; i++)
		add_sample(x, state->samples[i]);
	for (size_t i = 0; i < state->tasks->n_tasks; i++)
		add_task(x, state->tasks->tasks[i]);
	return x;
}

void top_index_free(struct top_index *x)
{
	if (!x)
		return;
	clear(&x->samples);
	clear(&x->usages);
	clear(&x->restarts);
	free(x);
}

const pb_node_usage *top_index_sample(const struct top_index *x, const char *node_id)
{
	const struct entry *e = find(x->samples, node_id);

	return e ? e->found : NULL;
}

const pb_task_usage *top_index_usage(const struct top_index *x, const pb_task *task)
{
	_cleanup_free_ char *key = usage_key(task->node_id, task->id);
	const struct entry *e = find(x->usages, key);

	return e ? e->found : NULL;
}

uint64_t top_index_restarts(const struct top_index *x, const pb_task *task)
{
	_cleanup_free_ char *key = slot_key(task);
	const struct entry *e = find(x->restarts, key);

	return e ? e->n : 0;
}
