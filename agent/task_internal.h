/*
 * task_internal - what the files of a task share.
 *
 *   task.c          its state, the next step, image and container
 *   task_decide.c   which step is next
 *   task_network.c  its network namespace, and leaving balancing
 *   task_serve.c    from the container's start to RUNNING, and whether it stays healthy
 *   task_move.c     it goes to another node, or comes from one
 */
#pragma once
#include "task.h"
#include "agent/net/net.h"
#include "task_stats.h"

#include "common/str.h"

struct move;
struct readiness;

struct task {
	const struct task_env *env;
	pb_task *obj;              /* as assigned, with our status */
	struct strv image_peers;
	struct image *image;
	struct image_job *image_job;
	struct container *container;
	const struct net_attachment *network; /* what a container can be made with; until net_detach() */
	bool attached;             /* there is something to detach */
	bool network_lost, draining, drained;
	enum task_op op;
	int64_t step_began;        /* mono ns: of the step of its start that is under way */
	bool assigned, saved, running, created, frozen, advancing, again;
	bool stopping;             /* this agent has sent the stop signal */
	bool stop_asked;           /* somebody has: an earlier agent counts, too */
	struct readiness *readiness; /* while it runs and is not being stopped */
	bool ready;                /* it serves, or nobody waits for that any longer */
	char *ready_message;
	struct move *move;         /* the end here of its migration */
	char *unhealthy;           /* why it is being stopped; NULL = it is not unhealthy */
};

/* ---- task.c */

static inline pb_task_status *task_status_of(struct task *t)
{
	return t->obj->status;
}
void task_set_state(struct task *t, int state, const char *message, const char *err);
/* Rejected or failed, as its state says. */
void task_set_failed(struct task *t, const struct error *err);
/* Save what a restart must know. */
void task_save(struct task *t);
/* A step of its start begins, and has ended: how long it took is counted. */
void task_step_begin(struct task *t, enum task_op op);
void task_step_end(struct task *t, enum start_phase phase, const struct error *err);
/* The next step, and those behind it. */
void task_advance(struct task *t);

/* ---- task_network.c */

void task_attach(struct task *t);
void task_detach(struct task *t);
void task_drain(struct task *t);

/* ---- task_move.c */

/* What the assignment says of a migration. */
void task_take_order(struct task *t, const pb_migration_order *order);
/* What an earlier agent kept of one; before the network is taken over. */
void task_adopt_move(struct task *t);
enum net_gate task_adopted_gate(const struct task *t);
void task_drop_move(struct task *t);
enum move_want task_move_wants(const struct task *t);
void task_restore(struct task *t);
/* Its state has changed, or its container was found. */
void task_tell_move(struct task *t);
/* Its container does not run (any more). */
void task_tell_move_exit(struct task *t);

/* ---- task_serve.c */

/* The check in force goes into the task's own spec: it stays with it, whatever becomes of the image. */
void task_resolve_health(struct task *t);
/* Its process runs. */
void task_watch_serving(struct task *t, bool adopted);
/* It is to stop, has ended, or is no longer ours. */
void task_unwatch_serving(struct task *t);
