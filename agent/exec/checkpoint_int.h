/* checkpoint_int - shared by the files that freeze, copy and restore containers. Loop thread. */
#pragma once
#include "agent/exec/checkpoint.h"
#include "agent/exec/internal.h"

/* ---- mark.c: the file checkpoint.json in the bundle: what an agent that starts again must know. */
#define MARK_FILE "checkpoint.json"

struct checkpoint_mark {
	bool frozen;		/* by us, on purpose */
	int64_t child;		/* a criu that works on it; 0 = none */
	uint64_t child_start;	/* its start time */
};
/* Write what is now (c->freezing, c->criu_pid). Not synced: good for one boot. */
int checkpoint_mark(struct container *c);
/* Pure part. A missing or damaged one, or one of another boot, is empty. */
void checkpoint_mark_parse(const char *text, size_t len, const char *boot_id, struct checkpoint_mark *ret);
void checkpoint_mark_load(const char *task_dir, const char *boot_id, struct checkpoint_mark *ret);

/* ---- freeze.c */
char *freeze_dir(const struct container *c); /* yours */
int freeze_write(const char *dir, bool frozen, struct error *err);
/* cgroup.events: -1 = it does not say. Pure. */
int freeze_parse_events(const char *text, bool *ret_frozen);
void freeze_drop(struct container *c);

/* ---- dump.c */
void dump_drop(struct container *c);

/* ---- page_sink.c: criu's page server that keeps nothing. */
struct page_sink;
/* Takes fd over. with_parent: answer that there is an earlier round. */
struct page_sink *page_sink_open(uv_loop_t *loop, int fd, bool with_parent);
void page_sink_close(struct page_sink *s);
