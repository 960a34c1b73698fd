/*
 * derive - what a change of an object means to people. Pure: the same change gives the same events on every manager.
 *
 * Changes that nobody asked about give nothing: steps of a task on its way up, a node's description, what the
 * allocator gives. Secrets never come in: tokens are named by id, specs by their few fields here.
 */
#pragma once
#include "proto/pb.h"

#include <stddef.h>
#include <stdint.h>

struct store_event;

/* A list of heap messages. */
struct event_list {
	pb_event **v;
	size_t n, cap;
};

void event_list_add(struct event_list *list, pb_event *event); /* takes it over */
void event_list_fini(struct event_list *list);

/*
 * Append the events of one change.
 *   revision  of etcd, that made it
 *   now       for a removal, which carries no time; else the time comes from the object. 0: the events' `at` stays 0
 */
void derive(const struct store_event *change, uint64_t revision, int64_t now, struct event_list *out);

/* A node became the leader. */
pb_event *derive_leader(const char *node_id, uint64_t revision, int64_t now);
