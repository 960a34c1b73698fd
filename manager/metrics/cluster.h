/* cluster - metrics of the view: services, tasks, nodes. Pure. */
#pragma once
#include "proto/pb.h"

#include <stdint.h>

struct metrics_writer;
struct view;

/* What the view does not know by itself; required. */
struct cluster_ops {
	void *data;
	/* Nodes that a global service runs on now. */
	uint64_t (*global_wanted)(void *data, const struct view *v, const pb_service *service);
	/* What refused a task that waits, one of a fixed list (scheduler's filters); NULL = unknown. */
	const char *(*refused_by)(void *data, const pb_task *task);
};

void cluster_write(struct metrics_writer *w, const struct view *v, const struct cluster_ops *ops);
