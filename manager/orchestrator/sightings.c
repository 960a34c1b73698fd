#include "sightings.h"

#include "manager/store/plan.h"

#include "common/mem.h"

#include <string.h>

struct seen {
	UT_hash_handle hh;
	struct sighting pub;
	char task_id[];
};

struct service_seen {
	UT_hash_handle hh;
	struct seen *tasks;
	char service_id[];
};

struct sightings {
	struct service_seen *services;
};

struct sightings *sightings_new(void)
{
	return xnew(struct sightings);
}

static struct service_seen *service_find(const struct sightings *s, const char *service_id)
{
	struct service_seen *service;

	HASH_FIND_STR(s->services, service_id, service);
	return service;
}

static struct service_seen *service_get(struct sightings *s, const char *service_id)
{
	struct service_seen *service = service_find(s, service_id);
	size_t len = strlen(service_id);

	if (service)
		return service;
	service = xcalloc(1, sizeof(*service) + len + 1);
	memcpy(service->service_id, service_id, len);
	HASH_ADD_KEYPTR(hh, s->services, service->service_id, len, service);
	return service;
}

static struct seen *task_get(struct service_seen *service, const pb_task *task)
{
	size_t len = strlen(task->id);
	struct seen *seen;

	HASH_FIND_STR(service->tasks, task->id, seen);
	if (seen)
		return seen;
	seen = xcalloc(1, sizeof(*seen) + len + 1);
	memcpy(seen->task_id, task->id, len);
	seen->pub.task_id = seen->task_id;
	seen->pub.created_at = task_created_at(task);
	HASH_ADD_KEYPTR(hh, service->tasks, seen->task_id, len, seen);
	return seen;
}

/* When the task was last written, which is hardly later than its change of state; never in the
 * future. */
static int64_t last_write(const pb_task *task, int64_t now)
{
	int64_t at = task->meta && task->meta->updated_at ? task->meta->updated_at : now;

	return MIN(at, now);
}

const struct sighting *sightings_see(struct sightings *s, const pb_task *task, int64_t now)
{
	struct sighting *seen = &task_get(service_get(s, task->service_id), task)->pub;
	int state = task_state(task);

	if (state == TASK_RUNNING && !seen->running_at)
		seen->running_at = last_write(task, now);
	if (state > TASK_RUNNING && !seen->ended_at) {
		seen->ended_at = last_write(task, now);
		seen->failed =
			state == TASK_FAILED || state == TASK_REJECTED || state == TASK_COMPLETE;
	}
	return seen;
}

void sightings_each(const struct sightings *s, const char *service_id, sightings_each_cb cb,
		    void *data)
{
	struct service_seen *service = service_find(s, service_id);

	for (struct seen *seen = service ? service->tasks : NULL; seen; seen = seen->hh.next)
		cb(data, &seen->pub);
}

static void service_free(struct sightings *s, struct service_seen *service)
{
	struct seen *seen, *tmp;

	HASH_ITER(hh, service->tasks, seen, tmp) {
		HASH_DEL(service->tasks, seen);
		free(seen);
	}
	HASH_DEL(s->services, service);
	free(service);
}

void sightings_forget(struct sightings *s, const char *service_id)
{
	struct service_seen *service = service_find(s, service_id);

	if (service)
		service_free(s, service);
}

void sightings_free(struct sightings *s)
{
	struct service_seen *service, *tmp;

	if (!s)
		return;
	HASH_ITER(hh, s->services, service, tmp)
		service_free(s, service);
	free(s);
}
