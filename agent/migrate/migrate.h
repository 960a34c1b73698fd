/*
 * migrate - running containers that go to another node, or come from one (docs/adr/0019-one-copy-runs.md).
 *
 * The leader's orders come with the assignments of the two tasks; each task here has one end (struct move) of its migration.
 * What is next is decided by pure functions (source_decide, target_decide); source.c and target.c carry it out. A task is known
 * by the callbacks that it gives: it keeps the container's own life, and asks move_wants() before each step of it.
 *
 *   frames, incoming, outgoing, send_tree, send_pages   the stream between the two agents
 *   snapshot, pack, apply, attributes, squeeze          its files
 *   converge                                            when it is worth while to freeze
 *   facts                                               do the two nodes go together?
 *
 * Loop thread.
 */
#pragma once
#include "agent/exec/exec.h"
#include "agent/migrate/target_decide.h"
#include "proto/pb.h"

#include <stdbool.h>
#include <uv.h>

struct migrate;
struct move;
struct net;
struct rpc;
struct rpc_call;
struct rpc_creds;

struct migrate_options {
	uv_loop_t *loop;
	struct rpc *rpc;
	struct exec *exec;
	struct net *net;
	const char *state_dir, *run_dir; /* images go to <run_dir>/migrate while there is room in it, else to <state_dir>/migrate */
	/* The newest word of one end: to the manager, if there is a session. */
	void (*report)(void *data, const pb_migration_report *report);
	void *data;
};

/* Images that an earlier agent left are removed. */
struct migrate *migrate_new(const struct migrate_options *options);
/* After its tasks have been frozen or freed, and the server of its streams closed. `closed` may be NULL. */
void migrate_close(struct migrate *m, void (*closed)(void *data), void *data);
/* The node is in a cluster, under this name; NULL both: it has left. */
void migrate_set_node(struct migrate *m, const char *node_id, struct rpc_creds *creds);
/* A new session: every end says again what it said last. */
void migrate_report_all(struct migrate *m);

/* ---- Peer.Move: handlers of the service */
void migrate_on_chunk(struct migrate *m, struct rpc_call *call, const Skein__MoveChunk *chunk);
/* The source sends no more. */
void migrate_on_half_close(struct rpc_call *call);
void migrate_on_done(struct rpc_call *call);

/* ---- ends */

/* What an end needs of its task. */
struct move_host {
	const pb_task *(*task)(void *data);
	struct container *(*container)(void *data);        /* NULL: there is none */
	/* Into the task database; saved (may be NULL) once it is on disk, or not: err. */
	void (*save)(void *data, const Skein__MigrationState *state, void (*saved)(void *data, const struct error *err),
		     void *saved_data);
	/* Ask move_wants() again; not inside move_*(). */
	void (*changed)(void *data);
	/* Source: it is about to stand still, and goes on again: checks of its health must not count meanwhile. */
	void (*stand)(void *data, bool still);
	void *data;
};

/*
 * An end begins: an order has come for a task. saved: what the task database has of this migration (the agent was started anew);
 * NULL = nothing.
 */
struct move *move_new(struct migrate *m, const pb_migration_order *order, const Skein__MigrationState *saved,
		      const struct move_host *host);
void move_free(struct move *v);
/* The leader's present word; of the same migration. */
void move_order(struct move *v, const pb_migration_order *order);
const char *move_migration_id(const struct move *v);
bool move_is_target(const struct move *v);

enum move_want move_wants(const struct move *v);
/* With MOVE_RESTORE: the directory to restore from. */
const char *move_images(const struct move *v);

/* ---- the task's news */

/* Its state or its container has changed. */
void move_task_changed(struct move *v);
/* Target: container_restore() was called, and has ended. */
void move_restoring(struct move *v);
void move_restored(struct move *v, const struct error *err);
/* The container has ended. */
void move_exited(struct move *v);
