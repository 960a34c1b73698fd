/*
 * work - carries out on the serial thread what the loop has decided, in order, per namespace; keeps the open namespaces.
 *
 * A job is a list of steps that is built on the loop, run as a whole, and given back with what each step found. A step
 * that fails does not keep the others from being tried. Paths: NULL = the host's namespace. Loop thread.
 */
#pragma once
#include "netoverlay/netns.h"
#include "netoverlay/netstate.h"

#include <stdbool.h>
#include <uv.h>

struct conntrack_flow;
struct error;
struct work;
struct work_job;

struct work *work_new(uv_loop_t *loop);
/* What was given still runs. */
void work_close(struct work *w, void (*closed)(void *data), void *data);

struct work_job *work_job_new(void);
bool work_job_empty(const struct work_job *job);
/* Never given to work_run(): drop it. */
void work_job_free(struct work_job *job);

/* Make / drop a namespace. */
void work_create(struct work_job *job, const char *path);
/* Make it of one that netns_new() made (taken over; its outer one is the host's as the thread knows it: work_call()). */
void work_adopt(struct work_job *job, const char *path, struct netns *ns);
void work_destroy(struct work_job *job, const char *path);
/* Takes ops over. */
void work_apply(struct work_job *job, const char *path, struct netstate_ops *ops);
/* Run a ruleset (taken over). fill: it fills the host's table anew, chains that an earlier agent left go with it. */
void work_nft(struct work_job *job, const char *path, char *text, bool fill);
/* Connection tracking there forgets these flows (taken over). */
void work_forget(struct work_job *job, const char *path, struct conntrack_flow *v, size_t n);
/* Call fn on the thread with the open namespace. */
void work_call(struct work_job *job, const char *path, void (*fn)(void *data, struct netns *ns, struct error *err),
	       void *data);
/* Watch the namespace; cb on the loop, each time something changed there that was not done here, until it is dropped. */
void work_watch(struct work *w, const char *path, void (*cb)(void *data), void *data);
void work_unwatch(struct work *w, const char *path);

/* A difference that work_sync() found. */
struct work_diff {
	char what[16];      /* netstate_kind_name(), "nftables" */
	char *wanted, *found; /* texts; NULL = not there */
	bool repaired;
};
struct work_sync {
	char *path;                  /* NULL = host */
	struct netstate *want;       /* taken over */
	unsigned kinds;
	bool (*owns)(const struct netstate_entry *e); /* what is too much and ours is taken away; NULL = everything */
	char *text;                  /* the whole ruleset, taken over; NULL = do not look at rulesets */
	bool fill;                   /* it is the host's (work_nft) */
	bool repair;
	/* found */
	struct work_diff *diffs;
	size_t n_diffs, checked;
};
/* Compare (and repair). Borrowed until the job's done callback has returned. */
const struct work_sync *work_sync(struct work_job *job, const struct work_sync *wish);

/* done on the loop. err: the first one; NULL when all steps went well. */
typedef void (*work_done_cb)(void *data, struct work_job *job, const struct error *err);
void work_run(struct work *w, struct work_job *job, work_done_cb done, void *data);
/* The first error of steps in this namespace; NULL = none. Only in done. */
const struct error *work_job_error(const struct work_job *job, const char *path);
/* Each failed step. Only in done. */
void work_each_error(const struct work_job *job, void (*cb)(void *data, const char *path, const struct error *err),
		     void *data);
