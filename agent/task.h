/*
 * task - one task on this node: from the assignment to a container and to its end.
 *
 * task_decide() is the whole state machine as a pure function; task.c carries out what it says, one
 * step at a time, and asks again. States only grow.
 */
#pragma once
#include "agent/exec/exec.h"
#include "agent/image/image.h"
#include "common/error.h"
#include "proto/pb.h"

#include <stdbool.h>

struct task;
struct taskdb;

/* ---------------------------------------------------------------- deciding */

/* What is under way for a task (at most one thing). */
enum task_op { OP_NONE, OP_SAVE, OP_IMAGE, OP_CREATE, OP_START, OP_ADOPT, OP_REMOVE };

struct task_facts {
	int state;            /* pb task state */
	int desired;          /* pb task state: READY, RUNNING, SHUTDOWN, REMOVE */
	bool assigned;        /* the manager still knows it */
	bool saved;           /* stands in the task database */
	bool has_image;
	bool has_container;   /* created, whatever became of it */
	bool running;         /* its process runs */
	bool stopping;        /* the stop signal is on its way */
	bool probing;         /* it is not known yet which runtime works */
	enum task_op op;
};

enum task_action {
	ACT_NONE,             /* wait for something */
	ACT_ACCEPT,           /* ASSIGNED -> ACCEPTED, save */
	ACT_PREPARE,          /* ACCEPTED -> PREPARING, get the image */
	ACT_CREATE,           /* build the container */
	ACT_READY,            /* PREPARING -> READY */
	ACT_START,            /* READY -> STARTING, run it */
	ACT_STOP,             /* ask the container to end */
	ACT_CANCEL,           /* stop fetching the image */
	ACT_SHUTDOWN,         /* nothing runs: -> SHUTDOWN */
	ACT_REMOVE,           /* remove the container and its files */
	ACT_FORGET,           /* nothing is left: drop the task */
};

enum task_action task_decide(const struct task_facts *facts);

/* State that follows from how the process ended: COMPLETE, FAILED or SHUTDOWN (it was told to stop). */
int task_state_of_exit(int exit_code, bool stop_was_asked);

/* ---------------------------------------------------------------- carrying out */

/* What tasks need of their node; lives as long as any task. */
struct task_env {
	struct exec *exec;
	struct image_store *images;
	struct taskdb *db;
	/* false: no runtime works, and why; without a reason: not known yet, task_kick() will follow */
	bool (*exec_ready)(void *data, struct error *err);
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
