/*
 * feed - what the page shows, in the order of its last change. Plain data, no I/O.
 *
 * One list for all clients: a client is a position in it, and what stands behind that position is what it has still to be
 * told, each object once and in its newest form, however slow it is. So nothing is queued per client, a snapshot is the
 * walk from the beginning, and who comes back goes on where it was. What is gone stays as a short mark for a while.
 */
#pragma once
#include "manager/store/view.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <uthash.h>

#define FEED_MARKS_MAX 4096 /* of objects that are gone */

struct feed_item {
	UT_hash_handle hh;
	TAILQ_ENTRY(feed_item) entry;
	TAILQ_ENTRY(feed_item) marks;
	uint64_t seq;  /* of its last change; grows along the list */
	uint32_t num;  /* its short name in this feed: nodes and services are referred to by it */
	bool gone;     /* a mark */
	int last;      /* of a task that is gone: its last state; 0: unknown */
	enum kind kind;
	char id[];
};

struct feed;

struct feed *feed_new(void);
void feed_free(struct feed *f);

/* It is new or has changed: goes to the end of the list. */
void feed_put(struct feed *f, enum kind kind, const char *id);
/* It is no longer shown; no-op when it was not. */
void feed_drop(struct feed *f, enum kind kind, const char *id, int last_state);

/* Borrowed; NULL: not shown. */
const struct feed_item *feed_get(const struct feed *f, enum kind kind, const char *id);
/* The first item behind a position; then by feed_next. NULL: the client knows everything. */
const struct feed_item *feed_after(const struct feed *f, uint64_t seq);
const struct feed_item *feed_next(const struct feed_item *item);

uint64_t feed_seq(const struct feed *f);      /* of the newest change */
uint64_t feed_forgotten(const struct feed *f); /* marks up to here are gone: who is not beyond has to begin anew */
size_t feed_count(const struct feed *f);      /* shown, without marks */
