/*
 * migrator - moves containers from node to node (docs/adr/0019-one-copy-runs.md): a stage of the round of deciding.
 *
 * A Migration that is NEW gets a node and a task there, as soon as the limits allow; from then on the slot is left alone by
 * all others (task_moving(), task_is_guest()) until the migration has come to its end. Tasks on nodes that are
 * being drained are moved without being asked for, if their service wishes so.
 *
 * Of a plan perhaps only the beginning is committed: the migration stands before its target task, and at the end both tasks
 * before the migration, so that every part of it leads to the same end.
 */
#pragma once
struct plan;

#define MIGRATOR_AT_ONCE 16	      /* in the cluster */
#define MIGRATOR_PER_NODE 2	      /* that leave it, and as many that come */
#define MIGRATOR_KEPT_PER_SLOT 3      /* that have ended */
#define MIGRATOR_KEPT 200	      /* in all */
#define MIGRATOR_TICKET_BYTES 32
/* A task that could not be moved from a node that is being drained is not tried again for this long. */
#define MIGRATOR_DRAIN_AGAIN_NS INT64_C(600000000000)

/* Before the orchestrators. */
void migrator_plan(struct plan *p);
/* Behind them: forget what has ended long ago. */
void migrator_reap(struct plan *p);
