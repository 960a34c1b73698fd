/*
 * history - what happened in the cluster lately: a bounded list of events in the order of etcd's revisions.
 *
 * Every manager makes them of the changes of the view, so that all tell the same; what was before its start it
 * makes of the revisions that etcd still keeps (docs/adr, "events"). Nothing is written. Loop thread.
 */
#pragma once
#include "proto/pb.h"

#include <stdbool.h>
#include <stdint.h>

struct etcd;
struct history;
struct store;

#define HISTORY_MAX 5000 /* events kept, about 2 MiB */

struct history_options {
	struct store *store;    /* loaded; borrowed */
	struct etcd *etcd;      /* borrowed */
	const char *prefix;     /* of the store's keys; copied */
	const char *leader_key; /* copied */
};

struct history *history_new(const struct history_options *options);
void history_free(struct history *h); /* NULL is fine; before etcd and store are closed */

/* The present leader, as leader.h tells it. */
void history_leader(struct history *h, const char *node_id, uint64_t create_revision);

/* The past has been read; before, nothing can be got. */
bool history_ready(const struct history *h);
/* Events have numbers without gaps: [first, end). */
uint64_t history_first(const struct history *h);
uint64_t history_end(const struct history *h);
/* Borrowed until the next turn of the loop. NULL: forgotten, or not there yet. */
const pb_event *history_get(const struct history *h, uint64_t number);

/* Tell after events were added, or history has become ready. */
struct history_sub;
struct history_sub *history_subscribe(struct history *h, void (*cb)(void *data), void *data);
void history_unsubscribe(struct history_sub *sub); /* NULL is fine; not inside the callback */
