/*
 * manager - cluster-manager put together: etcd, store, election, deciding, and the services on two listeners
 * (mutual TLS for agents, managers and remote clusterctl; a unix socket for this host).
 */
#pragma once
#include "config.h"

#include <uv.h>

struct manager;
struct error;

/*
 * Start. ready runs once, later: NULL when it serves, else why it cannot (close it then). While etcd is not
 * there it keeps trying; what is final (removed from the cluster, port taken) is an error. The config is borrowed.
 * Errors at once: no identity, not a manager's certificate.
 */
struct manager *manager_new(uv_loop_t *loop, const struct manager_config *config,
			    void (*ready)(void *data, const struct error *err), void *data, struct error *err);
/* Give leadership back, end all calls, stop etcd. closed runs once; the manager is freed then. */
void manager_close(struct manager *m, void (*closed)(void *data), void *data);
/* Read the identity's files again (the agent renewed the certificate). */
void manager_reload(struct manager *m);
