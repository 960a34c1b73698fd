#include "faults.h"

#include "common/mem.h"

#include <stdio.h>
#include <string.h>
#include <sys/queue.h>
#include <uthash.h>

struct fault {
	UT_hash_handle hh; /* by task id */
	LIST_ENTRY(fault) siblings;
	int64_t at;
	char task_id[];
};

/* One service version on one node. */
struct place {
	UT_hash_handle hh;
	LIST_HEAD(, fault) faults;
	char key[];
};

struct faults {
	struct fault *by_task;
	struct place *places;
};

static char *place_key(const char *service_id, uint64_t spec_version, const char *node_id)
{
	return xasprintf("%s/%llu/%s", service_id, (unsigned long long)spec_version, node_id);
}

static struct place *place_find(const struct faults *f, const char *key)
{
	struct place *place;

	HASH_FIND_STR(f->places, key, place);
	return place;
}

static struct place *place_get(struct faults *f, const char *key)
{
	struct place *place = place_find(f, key);
	size_t len = strlen(key);

	if (place)
		return place;
	place = xcalloc(1, sizeof(*place) + len + 1);
	memcpy(place->key, key, len);
	LIST_INIT(&place->faults);
	HASH_ADD_KEYPTR(hh, f->places, place->key, len, place);
	return place;
}

struct faults *faults_new(void)
{
	return xnew(struct faults);
}

static void fault_free(struct faults *f, struct fault *fault)
{
	LIST_REMOVE(fault, siblings);
	HASH_DEL(f->by_task, fault);
	free(fault);
}

static void place_drop_if_empty(struct faults *f, struct place *place)
{
	if (!LIST_EMPTY(&place->faults))
		return;
	HASH_DEL(f->places, place);
	free(place);
}

/* Drop everything that is not younger than the limit. */
static void drop_before(struct faults *f, int64_t limit)
{
	struct place *place, *next_place;

	HASH_ITER(hh, f->places, place, next_place) {
		struct fault *fault = LIST_FIRST(&place->faults);

		while (fault) {
			struct fault *next = LIST_NEXT(fault, siblings);

			if (fault->at <= limit)
				fault_free(f, fault);
			fault = next;
		}
		place_drop_if_empty(f, place);
	}
}

void faults_free(struct faults *f)
{
	if (!f)
		return;
	drop_before(f, INT64_MAX);
	free(f);
}

void faults_note(struct faults *f, const pb_task *task, int64_t now)
{
	int state = task->status ? (int)task->status->state : TASK_NEW;
	_cleanup_free_ char *key = NULL;
	struct fault *fault;
	size_t len = strlen(task->id);
	int64_t at;

	if ((state != TASK_FAILED && state != TASK_REJECTED) || !*task->node_id)
		return;
	/* The node's clock may be ahead of ours. */
	at = MIN(task->status->at, now);
	HASH_FIND_STR(f->by_task, task->id, fault);
	if (fault || at <= now - FAULTS_WINDOW_NS)
		return;
	key = place_key(task->service_id, task->spec_version, task->node_id);
	fault = xcalloc(1, sizeof(*fault) + len + 1);
	memcpy(fault->task_id, task->id, len);
	fault->at = at;
	HASH_ADD_KEYPTR(hh, f->by_task, fault->task_id, len, fault);
	LIST_INSERT_HEAD(&place_get(f, key)->faults, fault, siblings);
}

unsigned faults_count(const struct faults *f, const char *service_id, uint64_t spec_version,
		      const char *node_id, int64_t now)
{
	_cleanup_free_ char *key = NULL;
	struct place *place;
	struct fault *fault;
	unsigned n = 0;

	if (!f->places)
		return 0;
	key = place_key(service_id, spec_version, node_id);
	place = place_find(f, key);
	if (place)
		LIST_FOREACH(fault, &place->faults, siblings)
			n += fault->at > now - FAULTS_WINDOW_NS;
	return n;
}

void faults_expire(struct faults *f, int64_t now)
{
	drop_before(f, now - FAULTS_WINDOW_NS);
}
