#include "task_stats.h"

#include "common/clock.h"
#include "common/mem.h"

#include <inttypes.h>
#include <stdio.h>
#include <uthash.h>

const char *const start_phase_names[START_PHASES] = {
	[START_IMAGE] = "image", [START_NETWORK] = "network", [START_MOUNTS] = "mounts", [START_RUNTIME] = "runtime",
};

#define SLOT_KEY_MAX 64

struct slot_count {
	UT_hash_handle hh; /* in the order of their last start */
	char key[SLOT_KEY_MAX];
	uint64_t starts;
};

struct task_stats {
	const struct metric_family *bounds;
	struct metric_histogram phases[START_PHASES];
	uint64_t failures[START_PHASES];
	struct slot_count *slots;
};

struct task_stats *task_stats_new(const struct metric_family *bounds)
{
	struct task_stats *s = xnew(struct task_stats);

	s->bounds = bounds;
	return s;
}

static void drop(struct task_stats *s, struct slot_count *c)
{
	HASH_DEL(s->slots, c);
	free(c);
}

void task_stats_free(struct task_stats *s)
{
	if (!s)
		return;
	while (s->slots)
		drop(s, s->slots);
	free(s);
}

void task_stats_phase(struct task_stats *s, enum start_phase phase, int64_t took_ns, bool ok)
{
	if (!s)
		return;
	if (ok)
		metric_observe(&s->phases[phase], s->bounds, (double)took_ns / (double)NS_PER_SEC);
	else
		s->failures[phase]++;
}

static struct slot_count *find(const struct task_stats *s, const pb_task *task, char key[static SLOT_KEY_MAX])
{
	struct slot_count *c;

	snprintf(key, SLOT_KEY_MAX, "%.40s.%" PRIu64, task->service_id, task->slot);
	HASH_FIND_STR(s->slots, key, c);
	return c;
}

void task_stats_started(struct task_stats *s, const pb_task *task)
{
	char key[SLOT_KEY_MAX];
	struct slot_count *c;

	if (!s)
		return;
	c = find(s, task, key);
	if (c) {
		HASH_DEL(s->slots, c);
	} else {
		if (HASH_COUNT(s->slots) >= TASK_STATS_SLOTS_MAX)
			drop(s, s->slots);
		c = xnew(struct slot_count);
		snprintf(c->key, sizeof(c->key), "%s", key);
	}
	c->starts++;
	HASH_ADD_STR(s->slots, key, c);
}

const struct metric_histogram *task_stats_histogram(const struct task_stats *s, enum start_phase phase)
{
	return &s->phases[phase];
}

uint64_t task_stats_failures(const struct task_stats *s, enum start_phase phase)
{
	return s->failures[phase];
}

uint64_t task_stats_restarts(const struct task_stats *s, const pb_task *task)
{
	char key[SLOT_KEY_MAX];
	const struct slot_count *c = find(s, task, key);

	return c ? c->starts - 1 : 0;
}
