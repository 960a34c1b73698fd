/* node_index - a number of its own for every node: its place in the ingress network. */
#pragma once

struct plan;

#define NODE_INDEX_MAX 65534u

/* Dirty nodes (or all) that have none get the number behind the largest one, so that one is not used again soon; when
 * the last one is reached, the lowest free one. With all in use a node stays without. */
void node_index_plan(struct plan *p);
