/*
 * service_networks - what a service's networks and ports mean in this cluster: references become ids, and
 * nothing is promised that another service has already. Pure.
 */
#pragma once
#include "proto/pb.h"

#include <stdbool.h>

struct error;
struct txn;
struct view;

/*
 * Replace what a user wrote (id, beginning of an id, or name, in network_id or else network_name) by the
 * network's id and name. "host", "none" and "bridge" become task.network.
 *   Errors  ERR_NOT_FOUND, ERR_PRECONDITION (ambiguous), ERR_INVALID
 */
int service_networks_resolve(const struct view *v, pb_service_spec *spec, struct error *err);

/* Ports of the hosts that the cluster itself needs; ends with port 0. */
struct own_port {
	const char *protocol;
	uint32_t port;
	const char *what;
};

/*
 * A valid, resolved spec against what there is now.
 *   service_id  of the service that will have it; "" = a new one
 *   own         see above; ports of managers and agents are found in the view
 *   Errors      ERR_NOT_FOUND a network is gone; ERR_EXISTS a port or an address has another owner, named;
 *               ERR_INVALID
 */
int service_networks_check(const struct view *v, const pb_service_spec *spec, const char *service_id,
			   const struct own_port *own, struct error *err);

/* What a service asks for and some nodes cannot do, for its owner to know: heap text; NULL = nothing. */
char *service_networks_warning(const struct view *v, const pb_service_spec *spec);

/* The networks must still be there when the service is written. */
void service_networks_require(struct txn *t, const struct view *v, const pb_service_spec *spec);
