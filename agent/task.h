/*
 * task - one task on this node: from the assignment to a container and to its end.
 *
 * task_decide() is the whole state machine as a pure function; task.c carries out what it says, one
 * step at a time, and asks again. States only grow.
 */
#pragma once
#include "agent/exec/exec.h"
#include "agent/image/image.h"
#include "agent/migrate/target_decide.h"
#include "common/error.h"
#include "proto/pb.h"

#include <stdbool.h>

struct migrate;
struct net;
struct task;
struct taskdb;
struct task_stats;

/* ---------------------------------------------------------------- deciding */

/* What is under way for a task (at most one thing). */
enum task_op {
	OP_NONE, OP_SAVE, OP_IMAGE, OP_NETWORK, OP_CREATE, OP_START, OP_RESTORE, OP_ADOPT, OP_DETACH, OP_REMOVE,
};

struct task_facts {
	int state;            /* pb task state */
	int desired;          /* pb task state: READY, RUNNING, SHUTDOWN, REMOVE */
	bool assigned;        /* the manager still knows it */
	bool saved;           /* stands in the task database */
	bool has_image;
	bool wants_network;   /* it gets a network namespace */
	bool has_network;     /* and has it: the container can be made */
	bool attached;        /* something of a network is there for it, in use or not */
	bool network_lost;    /* its namespace was removed under the running container */
	bool has_container;   /* created, whatever became of it */
	bool running;         /* its process runs */
	bool ready;           /* and serves, or that is not waited for (any longer) */
	bool unhealthy;       /* its check has failed too often */
	bool draining;        /* it is being taken out of balancing */
	bool drained;
	bool stopping;        /* the stop signal is on its way */
	bool probing;         /* it is not known yet which runtime works, or what networks this kernel can make */
	enum move_want move;  /* what its migration wants of it */
	enum task_op op;
};

enum task_action {
	ACT_NONE,             /* wait for something */
	ACT_ACCEPT,           /* ASSIGNED -> ACCEPTED, save */
	ACT_PREPARE,          /* ACCEPTED -> PREPARING, get the image */
	ACT_ATTACH,           /* give it its network namespace */
	ACT_CREATE,           /* build the container */
	ACT_READY,            /* PREPARING -> READY */
	ACT_START,            /* READY -> STARTING, run it */
	ACT_RESTORE,          /* READY -> STARTING, let the processes that came from another node run in it */
	ACT_RUNNING,          /* STARTING -> RUNNING: from now on it gets connections */
	ACT_DRAIN,            /* take it out of balancing before it is stopped */
	ACT_STOP,             /* ask the container to end */
	ACT_CANCEL,           /* stop fetching the image, or waiting for the network */
	ACT_SHUTDOWN,         /* nothing runs: -> SHUTDOWN */
	ACT_DETACH,           /* drop the network namespace: its addresses will be others' soon */
	ACT_REMOVE,           /* remove the container and its files */
	ACT_FORGET,           /* nothing is left: drop the task */
};

enum task_action task_decide(const struct task_facts *facts);

/* State that follows from how the process ended: COMPLETE, FAILED or SHUTDOWN (it was told to stop). */
int task_state_of_exit(int exit_code, bool stop_was_asked);

/* How long a task may be drained before its stop signal, ns: the grace period, at most 5 s, at most 1 s when unhealthy. */
int64_t task_drain_ns(int64_t grace_ns, bool unhealthy);

/* ---------------------------------------------------------------- carrying out */

/* What tasks need of their node; lives as long as any task. */
struct task_env {
	uv_loop_t *loop;
	struct exec *exec;
	struct image_store *images;
	struct net *net;
	struct migrate *migrate;                           /* NULL: no task moves */
	struct taskdb *db;
	struct task_stats *stats;                          /* NULL = nobody counts */
	/* false: no runtime works, and why; without a reason: not known yet, task_kick() will follow */
	bool (*exec_ready)(void *data, struct error *err);
	/* The same for networks that have to be made here. */
	bool (*net_ready)(void *data, struct error *err);
	void (*on_status)(void *data, struct task *t);     /* status changed: report it */
	void (*on_gone)(void *data, struct task *t);       /* nothing is left of it: task_free it */
	void *data;
};

/* A task just assigned. */
struct task *task_new(const struct task_env *env, const Skein__Assignment *assignment);
/* A task that an earlier agent left in the database: finds its container first. */
struct task *task_adopt(const struct task_env *env, const pb_task *saved);
/*
 * The agent ends: no further step; the container goes on without us. What is under way in the image store and in
 * the database still calls back, so the task is freed behind their close.
 */
void task_freeze(struct task *t);
/* Only after on_gone, or behind task_freeze(). */
void task_free(struct task *t);

/* The manager's present word on it. */
void task_assign(struct task *t, const Skein__Assignment *assignment);
/* The manager no longer knows it: stop, remove, on_gone. */
void task_unassign(struct task *t);
/* Something that it may have waited for has changed (the runtime works now). */
void task_kick(struct task *t);

const char *task_id(const struct task *t);
const pb_task_status *task_status(const struct task *t);
const pb_task *task_object(const struct task *t);
