/* predefined - the networks that every cluster has: host, none, bridge and ingress. Their ids are their names. */
#pragma once
#include <stdbool.h>

struct plan;

#define PREDEFINED_INGRESS "ingress"
#define PREDEFINED_INGRESS_SUBNET "10.255.0.0/16"

/* Make those that are missing. */
void predefined_plan(struct plan *p);

/* A network that a task gets no address in: host, none, bridge. */
bool predefined_is_local(const char *network_id);
