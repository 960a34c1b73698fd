/*
 * writer - one transaction in flight: what comes meanwhile is the next one.
 *
 * kick() says that there is something to write. At the end of the turn of the loop `stage` fills a
 * transaction; after the commit `done` is told. The first change goes out at once, a flood becomes
 * few large transactions. Conflicts and an etcd that is away are tried again, with a back-off;
 * `stage` then sees the new view.
 */
#pragma once
#include "common/error.h"
#include "common/loop.h"

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct store;
struct txn;

struct writer {
	struct store *store;
	unsigned flags; /* of store_commit */
	void (*stage)(void *data, struct txn *t);
	/* err NULL: what was staged last is committed. Else it is staged again later, unless it is
	 * not wanted any more. */
	void (*done)(void *data, const struct error *err);
	void *data;

	bool dirty, in_flight;
	unsigned failures;     /* in a row */
	int64_t begun;	       /* CLOCK_MONOTONIC: of the commit in flight, or the last one */
	int64_t failing_since; /* CLOCK_MONOTONIC; 0 = the last one went well (or conflicted) */
	uv_idle_t turn;
	uv_timer_t retry;
	struct closer *closer; /* the owner's: held while a commit is on its way */
};

/* Fields above the blank line are set by the caller before. */
void writer_open(struct writer *w, uv_loop_t *loop, struct closer *closer);
void writer_kick(struct writer *w);
/* Nothing has been written since `before`, though it was tried. */
bool writer_fails_since(const struct writer *w, int64_t before);
/* Between closer_begin and closer_end of the owner. */
void writer_close(struct writer *w);
