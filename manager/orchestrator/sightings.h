/*
 * sightings - when this leader first saw a task of an update running, and when ended; by our own
 * clock. Only for services that are being updated. A fresh one takes the times that the tasks
 * carry.
 */
#pragma once
#include "proto/pb.h"

#include <stdbool.h>
#include <stdint.h>

struct sightings;

struct sighting {
	int64_t running_at; /* 0 = not seen running */
	int64_t ended_at;   /* 0 = not ended */
	bool failed;	    /* ended as FAILED, REJECTED or COMPLETE */
	int64_t created_at; /* of the task */
	const char *task_id;
};

struct sightings *sightings_new(void);
void sightings_free(struct sightings *s);

/* Look at a task; what is known of it now, borrowed until sightings_forget. */
const struct sighting *sightings_see(struct sightings *s, const pb_task *task, int64_t now);

/* All that was seen of a service, also of tasks that history has dropped. */
typedef void (*sightings_each_cb)(void *data, const struct sighting *sighting);
void sightings_each(const struct sightings *s, const char *service_id, sightings_each_cb cb,
		    void *data);

void sightings_forget(struct sightings *s, const char *service_id);
