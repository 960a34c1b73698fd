/*
 * move_model - how far a task's way to another node is, from what WatchMigration sends. Pure.
 *
 * Seven steps, as docs/adr/0019-one-copy-runs.md has them for people: preflight and image (nothing is touched), pre-copy (it runs
 * on), freeze and transfer (it stands still), restore and switch (it runs at the target).
 */
#pragma once
#include "verbs.h"

#include "common/str.h"
#include "proto/pb.h"

#define MOVE_STEPS 7

enum move_state { MOVE_WAITS, MOVE_RUNS, MOVE_DONE, MOVE_FAILED };

struct move_step {
	const char *name;
	enum move_state state;
	char *detail; /* never NULL */
};

struct move {
	struct move_step steps[MOVE_STEPS];
	pb_migration *migration; /* newest; NULL = none came yet */
	char *task, *from, *to;	 /* names; to is "" while it is not chosen */
	char *verdicts;		 /* why no node fits, a line each; "" */
	bool over;
};

void move_fini(struct move *m);
/* A message came. */
void move_feed(struct move *m, const Skein__MigrationResponse *msg);

/* All lines of the picture, at most `width` columns. */
void move_screen(const struct move *m, unsigned width, struct strv *lines);

/* For a pipe: what is new since the last call. Zero-initialise; fini frees. */
struct move_plain {
	enum move_state states[MOVE_STEPS];
	size_t rounds;
	char *to;
};
void move_plain(struct move_plain *last, const struct move *m, struct strbuf *out);
void move_plain_fini(struct move_plain *last);

/* What came of it, when it is over: the status, and lines about it (of a failure: for the error). */
enum ctl_exit move_conclude(const struct move *m, struct strbuf *out);

/* The status of a request that the manager refused. */
enum ctl_exit move_refusal(const struct error *err);

/* A span of time, as precise as somebody can take in: "142ms", "1.21s", "3m2s". `buf` is returned. */
const char *move_took(int64_t ns, char buf[static STR_HUMAN_MAX]);
