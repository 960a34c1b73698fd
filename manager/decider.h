/*
 * decider - runs rounds of deciding (round.h) while this process leads: at once when something
 * changed, and when a planned time has come. One commit is in flight at a time; what changes
 * meanwhile is planned behind it.
 */
#pragma once
#include "common/loop.h"

#include <stdint.h>
#include <uv.h>

struct decider;
struct store;

struct decider_stats {
	uint64_t rounds;  /* planned */
	uint64_t commits; /* rounds that led to a commit that succeeded */
	uint64_t conflicts, failures;
	uint64_t ops;	 /* objects written or deleted */
	int64_t plan_ns; /* time spent planning, in total */
	int64_t plan_max_ns;
	int64_t last_commit_ns; /* duration of the last commit */
};

/* The store is borrowed. Does nothing until decider_start(). */
struct decider *decider_new(uv_loop_t *loop, struct store *store);
void decider_close(struct decider *d, closed_cb cb, void *data);

/* This process leads (the store's fence is set): look at everything. Starting twice starts anew. */
void decider_start(struct decider *d);
/* It does not lead any more: plan nothing, forget everything. */
void decider_stop(struct decider *d);

const struct decider_stats *decider_stats(const struct decider *d);
/* After each round: the time that planning took. NULL = off. */
void decider_set_observer(struct decider *d, void (*cb)(void *data, int64_t plan_ns), void *data);
