/*
 * top_index - what top_model looks for in samples and lists, by id: made once per picture, so that a picture of a large cluster
 * costs what it shows. Pure.
 */
#pragma once
#include "proto/pb.h"

struct top_state;
struct top_index;

/* Borrows what is in state. */
struct top_index *top_index_new(const struct top_state *state);
void top_index_free(struct top_index *x); /* NULL is fine */

/* NULL: the node has told nothing, or nothing of this task. */
const pb_node_usage *top_index_sample(const struct top_index *x, const char *node_id);
const pb_task_usage *top_index_usage(const struct top_index *x, const pb_task *task);
/* How often what was in the task's slot ended by itself, as far as the task history goes. */
uint64_t top_index_restarts(const struct top_index *x, const pb_task *task);
