/*
 * slot - the tasks of a service by the place they fill: a number for replicated services, a node
 * for global ones. Everything a decision needs about the past of a slot is read from the tasks that
 * are kept.
 */
#pragma once
#include "manager/store/plan.h"

struct slot {
	uint64_t number;       /* replicated: 1.. */
	const char *node_id;   /* global; NULL for replicated */
	const pb_task **tasks; /* oldest first; always what the view has now */
	size_t n;
	bool gone;    /* not wanted any more: its tasks are being removed */
	bool frozen;  /* leave as it is (global, paused node) */
	const pb_migration *moving; /* its task is on the way to another node: NULL = it stays */
	bool changed; /* a task was changed or made in this round */
};

struct slots {
	struct slot *v;
	size_t n;
};

/* Group the service's tasks; tasks that are only waiting for their removal are included, those that wait for a container
 * to be moved to them are not. */
void slots_load(struct slots *slots, const struct plan *p, const pb_service *service);
void slots_fini(struct slots *slots);
/* Add an empty slot; pointers into slots->v move. */
struct slot *slots_add(struct slots *slots, uint64_t number, const char *node_id);

/* Tasks of nodes that are gone, or down for a day, will never report again: ORPHANED. */
void slot_orphan(struct plan *p, struct slot *slot);

/* Change the desired state of task i / of all (live ones only, or every one). */
void slot_desire(struct plan *p, struct slot *slot, size_t i, int desired);
void slot_desire_all(struct plan *p, struct slot *slot, int desired, bool live_only);

/* Make a task of the service's present spec in this slot. NULL when the round's budget is used up.
 */
const pb_task *slot_create(struct plan *p, const pb_service *service, struct slot *slot,
			   int desired, int64_t start_after);

bool slot_is_live(const struct slot *slot);
/* The newest task, NULL when there is none. */
const pb_task *slot_newest(const struct slot *slot);
/* Another task of the slot is being stopped and may still run, on a node that is up. */
bool slot_must_wait(const struct plan *p, const struct slot *slot, const pb_task *task);

/* The task does not run what the service wants now. */
bool slot_task_outdated(struct plan *p, const pb_service *service, const pb_task *task);
