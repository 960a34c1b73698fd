/*
 * agent - the node daemon put together: opens the parts in order, wires them, closes them in reverse.
 *
 *   inactive   no identity: only the local socket answers (init, join, images)
 *   active     in a cluster: session, worker, peer server; beside it cluster-manager if the role says so
 */
#pragma once
#include "config.h"

#include <uv.h>

struct agent;
struct error;

/* Open everything; the config is borrowed. Short blocking I/O (sockets, directories, identity). */
struct agent *agent_new(uv_loop_t *loop, const struct agent_config *config, struct error *err);
/* Get a new certificate now instead of later; nothing that is connected is disturbed. Outside a cluster: nothing to do. */
void agent_renew(struct agent *a);
/* Stop: containers and the manager go on. closed runs once; the agent is freed then. */
void agent_close(struct agent *a, void (*closed)(void *data), void *data);
