/*
 * network_rules - when a network can be made and removed, by what else there is. Pure.
 */
#pragma once
#include "proto/pb.h"

#include <stddef.h>

struct error;
struct view;

/* A valid spec. Errors: ERR_EXISTS the name, or addresses of it, have an owner, who is named. */
int network_rules_create(const struct view *v, const pb_network_spec *spec, struct error *err);

/*
 * Errors: ERR_PRECONDITION it is predefined, or services use it, which are named.
 *   ret_stopping  tasks that are still in it though no service uses it; 0 = it can go now
 */
int network_rules_remove(const struct view *v, const pb_network *network, size_t *ret_stopping,
			 struct error *err);
