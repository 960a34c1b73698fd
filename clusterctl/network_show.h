/* network_show - a network as people and programs read it. Pure. */
#pragma once
#include "proto/pb.h"

#include <jansson.h>
#include <stdio.h>

/* "cluster" or "local": whether one network spans the nodes, or each node has its own. */
const char *network_scope(const pb_network *network);
/* Subnets in force, or those asked for. Yours. */
char *network_subnets(const pb_network *network);

/* For `network inspect`; msg is a Skein__NetworkResponse. */
json_t *network_json(const void *msg);
void network_pretty(const void *msg, FILE *out);

/* What `network check` found, node by node. */
struct network_findings {
	size_t nodes, unreachable, checked, differences, repaired;
};
void network_findings_add(struct network_findings *f, const Skein__CheckNetworksResponse *node);
/* A table of all differences; nothing when there are none. */
void network_check_table(Skein__CheckNetworksResponse *const *nodes, size_t n, FILE *out);
/* "3 nodes, 412 entries checked: 1 difference, 1 repaired; 1 node could not be asked". Yours. */
char *network_check_summary(const struct network_findings *f);
