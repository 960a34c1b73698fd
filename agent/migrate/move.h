/*
 * move - what the files of this folder know of one end of a migration; nobody else includes it.
 */
#pragma once
#include "agent/migrate/migrate.h"

#include "agent/migrate/converge.h"
#include "agent/migrate/frames.h"
#include "agent/migrate/snapshot.h"
#include "common/error.h"
#include "common/loop.h"

#include <sys/queue.h>

struct incoming;
struct outgoing;
struct page_server;

/* Halves of a round of memory. */
#define HALF_DUMP 1u
#define HALF_SEND 2u

/* The source's end. */
struct source {
	struct outgoing *out;
	bool asking, looked, ready, files, rounds_done, files_again, is_frozen, is_cut, dumped, files_still, images, said, received;
	bool busy, files_busy, gone, promised, ask_due, has_volumes;
	uv_timer_t timer;            /* nothing was heard for a while */
	uint64_t memory_bytes;
	struct snapshot *upper, *volumes; /* what the target has */
	struct converge_round rounds[FRAMES_ROUNDS_MAX];
	unsigned n_rounds;           /* of them over */
	uint32_t round;              /* under way, or the last */
	unsigned halves;             /* of a round: the dump and the sending are not over yet */
	struct error half_err;
	uint64_t round_bytes;
	int64_t round_began, round_frozen, froze_at, dumped_at;
	char *dir;                   /* of images here */
};

/* The target's end. */
struct target {
	struct incoming *in;
	Skein__MoveFacts *theirs;
	bool fits, received, restored, restored_kept, running, opened, busy;
	uint32_t round;              /* the container is in images/<round> */
	char *dir, *images;
	struct page_server *pages;
	int64_t switched_at;
	int64_t clock_apart;         /* ours less the source's, wall ns */
};

struct move {
	struct migrate *m;
	struct move_host host;
	Skein__MigrationState *state; /* order, report, promises: what is saved */
	bool is_target, failed, closing, advancing, again, freeing;
	unsigned holds;              /* callbacks that are still due */
	struct source s;
	struct target t;
	LIST_ENTRY(move) link;
};

/* In the last round's directory: what the kernel knew of the connections (net_export_flows). */
#define MOVE_FLOWS_FILE "flows.skein"

struct parked;

struct migrate {
	struct migrate_options o;
	char *node_id;
	struct rpc_creds *creds;
	LIST_HEAD(, move) moves;
	LIST_HEAD(, parked) parked;
	unsigned n_parked;
	struct closer closer;
};

/* ---- migrate.c */
void move_hold(struct move *v);
void move_drop(struct move *v); /* may free it */
void move_advance(struct move *v);
void move_say(struct move *v, const char *doing);
/* A step is reached: report, and keep it. saved may be NULL. */
void move_step(struct move *v, Skein__MigrationStep step);
void move_report(struct move *v);
void move_fail(struct move *v, const struct error *err);
void move_save(struct move *v, void (*saved)(void *data, const struct error *err));
static inline pb_migration_report *move_rep(struct move *v)
{
	return v->state->report;
}
static inline int move_phase(const struct move *v)
{
	return (int)v->state->order->phase;
}
/* Where images of this migration go: the directory is made; yours. NULL and err. need_bytes: of memory. */
char *migrate_images_dir(struct migrate *m, const char *id, bool target, uint64_t need_bytes, struct error *err);
void migrate_remove_dir(struct migrate *m, char *dir); /* takes it over; on the pool */

/* ---- source.c */
void source_init(struct move *v);
void source_close(struct move *v);
bool source_act(struct move *v); /* one action; false: nothing to do now */
enum move_want source_wants(const struct move *v);

void source_files_over(struct move *v, const struct error *err);

/* ---- source_copy.c: what takes time */
void source_send_files(struct move *v);
void source_round(struct move *v, bool final);
void source_send_images(struct move *v);

/* ---- target.c */
void target_init(struct move *v);
void target_close(struct move *v);
bool target_act(struct move *v);
enum move_want target_end_wants(const struct move *v);
/* A source has come for this end; the ticket fits. Takes the call over. */
void target_join(struct move *v, struct rpc_call *call, const Skein__MoveHello *hello);
