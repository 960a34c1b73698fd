/*
 * discovery - Prometheus' HTTP service discovery: agents, managers and tasks that ask for it, as target groups. Pure.
 *
 * Agents and managers say themselves where they serve metrics (node features "metrics.agent" and "metrics.manager":
 * "http:9640", "https:9641"; none = off). A task that runs is a target when it carries the label `prometheus.port`
 * (of its container or its service; prometheus.path, .scheme, .network and .job are optional) and can be reached.
 */
#pragma once

struct view;

#define DISCOVERY_AGENT "metrics.agent"
#define DISCOVERY_MANAGER "metrics.manager"

/* A JSON array of {"targets": [...], "labels": {...}}. Heap, yours. */
char *discovery_json(const struct view *v);
