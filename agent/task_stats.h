/*
 * task_stats - what starting tasks took, and how often the slots of services were started here. Plain counting, bounded.
 */
#pragma once
#include "common/metrics/metrics.h"
#include "proto/pb.h"

#include <stdbool.h>
#include <stdint.h>

struct task_stats;

enum start_phase {
	START_IMAGE,   /* until the image is there; next to nothing when it was */
	START_NETWORK, /* namespace, links, addresses */
	START_MOUNTS,  /* root file system, volumes, bundle */
	START_RUNTIME, /* conmon, runtime, until the container's process runs */
	START_PHASES,
};
extern const char *const start_phase_names[START_PHASES]; /* "image", ... */

#define TASK_STATS_SLOTS_MAX 4096 /* the slot that was started least recently is forgotten */

/* bounds: of this family (a histogram in seconds), borrowed. */
struct task_stats *task_stats_new(const struct metric_family *bounds);
void task_stats_free(struct task_stats *s);

/* All calls with s NULL do nothing. */
void task_stats_phase(struct task_stats *s, enum start_phase phase, int64_t took_ns, bool ok);
/* Its container runs: the first one of a slot is no restart. */
void task_stats_started(struct task_stats *s, const pb_task *task);

const struct metric_histogram *task_stats_histogram(const struct task_stats *s, enum start_phase phase);
uint64_t task_stats_failures(const struct task_stats *s, enum start_phase phase);
/* How often the task's slot was started here after the first time; 0 = unknown as well. */
uint64_t task_stats_restarts(const struct task_stats *s, const pb_task *task);
