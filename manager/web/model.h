/*
 * model - nodes, services and tasks as the page's stream tells them: short, because a cluster has many. Pure.
 *
 *   node     {"n": number, "id", "name", "address", "role": 0|1, "leads", "state", "availability", "message", "since",
 *             "cpu": 1e-9 cores, "mem": bytes}
 *   service  {"n": number, "id", "name", "image", "global", "want", "update": {"state", "message", "since"}}
 *   task     [id, service's number, node's number or 0, slot, state, desired state, since, text (may be left out)]
 *
 * Numbers are those of the feed; states those of objects.proto; times are ms since the epoch. Empty members are left out.
 * What is secret or long (environments, commands, labels) is not in it.
 */
#pragma once
#include "proto/pb.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

json_t *model_node(const pb_node *node, uint32_t num, bool leads);
json_t *model_service(const pb_service *service, uint32_t num, uint64_t want);
json_t *model_task(const pb_task *task, uint32_t service_num, uint32_t node_num);

/* Would the page see a difference? */
bool model_node_differs(const pb_node *a, const pb_node *b);
bool model_service_differs(const pb_service *a, const pb_service *b);
bool model_task_differs(const pb_task *a, const pb_task *b);
