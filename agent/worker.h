/*
 * worker - the tasks of this node: takes assignment sets, keeps the tasks, collects their statuses for the reporter.
 */
#pragma once
#include "common/error.h"
#include "proto/pb.h"

#include <stdbool.h>
#include <uv.h>

struct worker;
struct exec;
struct image_store;
struct migrate;
struct net;
struct taskdb;
struct reporter;
struct task;
struct task_stats;

struct worker_options {
	uv_loop_t *loop;
	struct exec *exec;
	struct image_store *images;
	struct net *net;
	struct migrate *migrate;     /* NULL: no task moves */
	struct taskdb *db;
	struct reporter *reporter;
	struct task_stats *stats;    /* may be NULL */
	bool (*exec_ready)(void *data, struct error *err); /* see struct task_env */
	bool (*net_ready)(void *data, struct error *err);
	void *data;
};

struct worker *worker_new(const struct worker_options *options);
/* Find the containers of an earlier agent. Once. */
void worker_adopt(struct worker *w);
/* What exec_ready or net_ready answers has changed: tasks that wait for it go on. */
void worker_kick(struct worker *w);
/* The agent ends: no task goes a step further, no set is taken; containers go on. Before exec, images and database close. */
void worker_freeze(struct worker *w);
/* After worker_freeze(), and after exec, images and database have closed. */
void worker_free(struct worker *w);

/* The node is in a cluster (again): from here on sets are taken. */
void worker_begin(struct worker *w);

/* A set from the manager. Returns -1 when an incremental one does not fit what we have (ask for a complete one:
 * reconnect). */
int worker_apply(struct worker *w, const Skein__Assignments *set, struct error *err);

/*
 * The node leaves: stop and remove every task, take no set until worker_begin(). cb once, later, when none is left; it
 * is forgotten when this is called again.
 */
void worker_stop_all(struct worker *w, void (*cb)(void *data), void *data);
/* The longest grace period among the tasks, ns. */
int64_t worker_grace_ns(const struct worker *w);

/* Report the status of every task again (new session). */
void worker_report_all(struct worker *w);
unsigned worker_running(const struct worker *w);
/* Each task of the node, whatever its state; in no particular order. */
void worker_each(const struct worker *w, void (*cb)(void *data, const struct task *t), void *data);
