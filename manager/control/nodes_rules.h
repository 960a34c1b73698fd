/* nodes_rules - what may be done to a node: Swarm's rules, with the reason when not. Pure. */
#pragma once
#include "proto/pb.h"

#include <stdbool.h>

struct error;
struct txn;
struct view;

/*
 *   member_removed  the node has been taken out of etcd's members in the course of this very
 * request Errors  ERR_INVALID a field; ERR_PRECONDITION revision, last manager; ERR_EXISTS name
 */
int node_rules_update(const struct view *v, const pb_node *node,
		      const Skein__UpdateNodeRequest *request, bool member_removed,
		      struct error *err);

/* Errors: ERR_PRECONDITION a manager, or not DOWN and not forced. */
int node_rules_remove(const pb_node *node, bool force, struct error *err);

/* All other managers must be as the view has them when the transaction is committed. */
void node_rules_require_managers(struct txn *t, const struct view *v, const char *except);
