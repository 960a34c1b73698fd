/*
 * nodeset - the nodes as the scheduler sees them: room, load, and how they stand to one service.
 * Built from the view, then kept up to date while tasks are placed.
 */
#pragma once
#include "manager/store/view.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct faults;

struct nodeinfo {
	const pb_node *node;
	int64_t cpu_nano, mem_bytes, pids; /* capacity */
	int64_t cpu_reserved, mem_reserved, pids_reserved;
	uint64_t tasks; /* that are wanted here, of all services */
	/* what nodeset_focus() set for the service at hand */
	uint64_t service_tasks;
	unsigned faults; /* 0 while they are too few to matter */
	bool has_image;
	const pb_port *own_port;   /* a host-mode port of the service; NULL = it has none */
	const pb_port *taken_port; /* one of them that is in use here */
};

struct nodeset {
	struct nodeinfo *v; /* by node id */
	size_t n;
};

/* All nodes with their load. except: a task that is left out (NULL = none). Pointers into the view
 * are borrowed. */
void nodeset_load(struct nodeset *set, const struct view *view, const pb_task *except);
void nodeset_fini(struct nodeset *set);

/* Set what is about the service and version of this task. */
void nodeset_focus(struct nodeset *set, const struct view *view, const pb_task *task,
		   const struct faults *faults, int64_t now, const pb_task *except);

struct nodeinfo *nodeset_find(const struct nodeset *set, const char *node_id);

/* A task is placed here: account for it. */
void nodeinfo_add(struct nodeinfo *info, const pb_task *task);

/* What a task reserves; never NULL. */
const pb_resources *task_reservations(const pb_task *task);
