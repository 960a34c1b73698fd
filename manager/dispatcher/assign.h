/*
 * assign - what one agent was told to run, and the messages that bring it up to date.
 * Plain data, no I/O: compares with the view, whenever it is asked.
 */
#pragma once
#include "proto/pb.h"

#include <stdbool.h>

struct assign;
struct peers;
struct view;

#define ASSIGN_MESSAGE_MAX_BYTES                                                                   \
	(7u << 19) /* 3.5 MiB of tasks in one message, unless one task alone is larger */

struct assign *assign_new(const char *node_id); /* copied */
void assign_free(struct assign *a);

/*
 * The next message for the agent, or NULL when it knows everything. The first is `complete`; if
 * that does not fit into one message, it has `more` set and goes on in the next ones. A task is
 * told again only when what an agent acts on has changed (not its status, which came from there), with
 * the order of its migration, if it has one.
 *   peers    where images are to be had
 *   returns  heap message; counts as told from now on
 */
Skein__Assignments *assign_next(struct assign *a, const struct view *v, struct peers *peers);
