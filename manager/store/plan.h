/*
 * plan - what one round of deciding works with: a view with a transaction open on it, the time,
 * what changed, and when to look again.
 *
 * Every stage of a round (enforcer, orchestrators, allocator, scheduler, reaper) is a function
 * `void x_plan(struct plan *p)` without clock, randomness or I/O of its own. Stages see what the
 * earlier ones staged. They are level-triggered: planning again from any state that a part of an
 * earlier plan left behind leads to the right result.
 */
#pragma once
#include "txn.h"
#include "view.h"

#include "common/id.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <uthash.h>

struct faults;	  /* scheduler/faults.h */
struct rests;	  /* allocator/rests.h */
struct sightings; /* orchestrator/sightings.h */

/* ---- a set of object ids; zero-initialise. Iterate: for (e = set.entries; e; e = e->hh.next) */

struct idset_entry {
	UT_hash_handle hh;
	char id[];
};
struct idset {
	struct idset_entry *entries;
};

void idset_add(struct idset *set, const char *id); /* "" and NULL are ignored */
bool idset_has(const struct idset *set, const char *id);
void idset_add_all(struct idset *set, const struct idset *other);
void idset_clear(struct idset *set);

/* ---- what changed since the last round that was committed */

struct dirty {
	bool all;	       /* look at everything: after an election */
	bool schedule;	       /* a task waits for a node, or room came up */
	struct idset services; /* also ids of services that are gone */
	struct idset nodes;    /* also ids of nodes that are gone */
	struct idset networks; /* that changed themselves, or in which addresses came free */
	bool subnets;	       /* a network came or went: what waits for a subnet looks again */
	bool ports;	       /* a service gave published ports back */
	bool migrations;       /* one was asked for, or an end of one said something that decides */
};

bool dirty_any(const struct dirty *dirty);
void dirty_merge(struct dirty *dirty, const struct dirty *other);
void dirty_clear(struct dirty *dirty);

/* ---- when to look again; zero-initialise */

enum wake_kind { WAKE_SERVICE, WAKE_SCHEDULER, WAKE_NETWORK, WAKE_MIGRATION };

struct wake {
	UT_hash_handle hh;
	int64_t at;
	char key[]; /* the kind, then the id */
};
struct wakes {
	struct wake *entries;
};

/* Look at a service or network (id), at the waiting tasks or at the migrations (id "") at this wall time; the earliest wins. */
void wakes_set(struct wakes *wakes, enum wake_kind kind, const char *id, int64_t at);
void wakes_drop(struct wakes *wakes, enum wake_kind kind, const char *id);
/* Earliest wall time, INT64_MAX when there is none. */
int64_t wakes_next(const struct wakes *wakes);
/* Turn what is due into dirt. */
void wakes_due(struct wakes *wakes, int64_t now, struct dirty *dirty);
void wakes_clear(struct wakes *wakes);

/* ---- the plan */

#define PLAN_WAIT_FOR_OLD_NS                                                                       \
	INT64_C(60000000000) /* a successor waits at most this long for the old task */
#define PLAN_ORPHAN_AFTER_NS                                                                       \
	INT64_C(86400000000000) /* tasks of a node that is down this long are given up */
#define PLAN_HISTORY_DEFAULT 5

struct plan {
	struct view *view;
	struct txn *txn; /* open on view */
	int64_t now;	 /* wall clock, ns */
	const struct dirty *dirty;
	struct wakes *wakes;
	void (*new_id)(void *data, char ret_id[static ID_LEN + 1]);
	void (*random)(void *data, void *buf, size_t len); /* for keys */
	void *id_data;					   /* of both */
	bool (*meets_constraints)(const pb_placement *placement,
				  const pb_node *node); /* placement may be NULL */
	/* A node for this task, which is not in the view: the wanted one, or (want "") the best. NULL: *ret_why (heap) says why. */
	const pb_node *(*place)(struct plan *p, const pb_task *task, const char *want, char **ret_why);
	struct sightings *sightings; /* what this leader saw; may be fresh at any time */
	struct faults *faults;	     /* same */
	struct rests *rests;	     /* same */
	size_t budget;		     /* tasks that may still be created in this round */
	struct idset scope;	     /* services to look at: plan_scope() */
	struct {		     /* the last comparison of specs: orchestrator/slot.c */
		const pb_service *service;
		uint64_t task_version;
		unsigned differences;
	} compared;
};

/* Fill p->scope: dirty services, those with tasks on dirty nodes, global ones when a node is dirty;
 * or all. Drops the wakes of these services: planning sets them anew. Free with plan_fini. */
void plan_scope(struct plan *p);
void plan_fini(struct plan *p);

/* An object of the task being changed, status never NULL; give it to plan_put. */
pb_task *plan_edit(struct plan *p, const pb_task *task);
/* Stage it; returns what the view has now. */
const pb_task *plan_put(struct plan *p, pb_task *task);
/* Change the desired state; no-op when it is already so. Desired states only grow. */
const pb_task *plan_desire(struct plan *p, const pb_task *task, int desired);
/* Set state, message and error with the time. */
void plan_status(struct plan *p, pb_task *task, int state, const char *message, const char *err);
/* Look at the service again at this time. */
void plan_wake(struct plan *p, const char *service_id, int64_t at);

/* Stage the abort of a migration that has not come to SWITCH; else, or when it is given up already, nothing happens. */
void plan_abort(struct plan *p, const pb_migration *m, const char *why);

/* ---- reading tasks and nodes */

static inline int task_state(const pb_task *task)
{
	return task->status ? (int)task->status->state : TASK_NEW;
}

/* Wanted: it runs, or will. */
static inline bool task_live(const pb_task *task)
{
	return (int)task->desired <= TASK_RUNNING;
}

static inline bool task_ended(const pb_task *task)
{
	return task_state(task) > TASK_RUNNING;
}

/* On a node and perhaps running there. */
static inline bool task_on_node(const pb_task *task)
{
	int state = task_state(task);

	return state >= TASK_ASSIGNED && state <= TASK_RUNNING;
}

/* Its addresses are not free: it is not over, and not given up before it came to a node. */
static inline bool task_holds_addresses(const pb_task *task)
{
	return !task_ended(task) && (task_live(task) || task_state(task) >= TASK_ASSIGNED);
}

static inline int64_t task_created_at(const pb_task *task)
{
	return task->meta ? task->meta->created_at : 0;
}

/* It is being moved: its node, its state and its slot are left alone until that has ended. */
static inline const pb_migration *task_moving(const struct view *v, const pb_task *task)
{
	const pb_migration *m = *task->migration_id ? view_migration(v, task->migration_id) : NULL;

	return m && !migration_over(m) ? m : NULL;
}

/* It was made to take a container over, and has not (yet): it fills no slot. */
static inline bool task_is_guest(const struct view *v, const pb_task *task)
{
	const pb_migration *m = *task->migrated_from && *task->migration_id ? view_migration(v, task->migration_id) : NULL;

	return m && (int)m->phase != MIGRATION_MOVED && strcmp(m->target_task, task->id) == 0;
}

static inline int node_state(const pb_node *node)
{
	return node->status ? (int)node->status->state : NODE_UNKNOWN;
}

static inline int node_availability(const pb_node *node)
{
	return node->spec ? (int)node->spec->availability : AVAILABILITY_ACTIVE;
}

static inline bool service_is_global(const pb_service *service)
{
	return service->spec && service->spec->mode_case == SKEIN__SERVICE_SPEC__MODE_GLOBAL;
}

/* Spec of a service's tasks; never NULL for services that went through validation. */
static inline const pb_task_spec *service_task_spec(const pb_service *service)
{
	return service->spec ? service->spec->task : NULL;
}
