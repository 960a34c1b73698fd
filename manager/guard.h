/*
 * guard - a last look at a peer before its call is dispatched: is its node still in the cluster, and still a manager?
 * A certificate lives on after a removal or a demotion; the view knows better.
 */
#pragma once
#include "rpc/rpc.h"

struct error;
struct view;

/* Lowers the role of a demoted manager to a worker's. Errors: ERR_DENIED "node was removed from the cluster". */
int guard_check(const struct view *view, const char *cluster_id, struct rpc_peer *peer, struct error *err);
