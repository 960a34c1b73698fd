/*
 * replay - events of what happened before this manager started: etcd keeps its last revisions (10,000 and more) anyway,
 * and tells them, each with the value before it. So nothing is written for the sake of history.
 */
#pragma once
#include "derive.h"

#include <stdint.h>

struct etcd;
struct replay;

struct replay_options {
	struct etcd *etcd;      /* borrowed */
	const char *prefix;     /* of the store's keys */
	const char *leader_key;
	uint64_t from, upto;    /* revisions, both included */
	uint64_t enough;        /* done when this one was told: etcd only tells revisions that changed something here */
	size_t max_events;      /* the newest are kept */
	/* Once, never inside replay_start(): all that etcd still had. The replay is gone then; the list is taken over. */
	void (*done)(void *data, struct event_list *events);
	void *data;
};

/* Strings are copied. */
struct replay *replay_start(const struct replay_options *options);
/* No callback any more. NULL is fine. */
void replay_cancel(struct replay *r);
