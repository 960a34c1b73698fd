/*
 * template - placeholders in a service's env, hostname and mounts, Swarm's subset of Go templates:
 *
 *   {{.Service.ID}} {{.Service.Name}} {{.Service.Labels.key}} {{index .Service.Labels "key"}}
 *   {{.Node.ID}} {{.Node.Hostname}} {{.Node.Platform.Architecture}} {{.Node.Platform.OS}}
 *   {{.Task.ID}} {{.Task.Name}} {{.Task.Slot}}
 *
 * Pure. For a global service the slot is the node's id.
 */
#pragma once
#include "proto/pb.h"

struct error;

#define TEMPLATE_MAX_BYTES (64 * 1024)

struct template_values {
	const pb_task *task;
	const char *node_id, *node_hostname, *arch;
};

/*
 * Yours; NULL on error. Text without "{{" comes back as it is.
 *   Errors  ERR_INVALID unknown or unclosed placeholder (named), ERR_EXHAUSTED result too long
 */
char *template_expand(const char *text, const struct template_values *values, struct error *err);

/* "<service>.<slot or node id>.<task id>": what {{.Task.Name}} gives. Yours. */
char *template_task_name(const pb_task *task, const char *node_id);
