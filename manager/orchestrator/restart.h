/*
 * restart - what happens in a slot when its task ended, or its node is lost or drained: the old
 * task is shut down and, if the restart policy wants it, a successor waits (desired READY) for the
 * delay and for the old task to stop.
 *
 * A task that runs on a drained node stays until its successor runs, if the service's updates start first.
 *
 * Attempts are counted in the kept tasks of the slot, so that a new leader counts on. A delay
 * applies only to tasks that ended by themselves: who lost its node is replaced at once.
 */
#pragma once
#include "slot.h"

/* Would the policy follow this task by another one? */
bool restart_wanted(const struct slot *slot, const pb_task *task);

/* The task that tells how the slot stands: the newest of the present spec, else the newest. Not for
 * empty slots. */
const pb_task *restart_last(struct plan *p, const pb_service *service, const struct slot *slot);

/* The slot has no live task and its last one ended for good. */
bool restart_slot_finished(struct plan *p, const pb_service *service, const struct slot *slot);

/* Shut down live tasks that ended or lost their node; make a successor. */
void restart_slot(struct plan *p, const pb_service *service, struct slot *slot);

/* Put a task into an empty slot, as a successor when one is due. False when the budget is used up.
 */
bool restart_fill(struct plan *p, const pb_service *service, struct slot *slot);

/* Of several live tasks that do the same, keep one. */
void restart_dedupe(struct plan *p, const pb_service *service, struct slot *slot);

/* Desired READY -> RUNNING where delay and old tasks allow. start_first: an outdated task may run
 * beside. */
void restart_promote(struct plan *p, const pb_service *service, struct slot *slot,
		     bool start_first);
