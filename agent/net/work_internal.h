/*
 * work_internal - between work.c (jobs, open namespaces), work_rules.c (rulesets) and work_watch.c (who else changes something
 * there).
 */
#pragma once
#include "nftdiff.h"
#include "work.h"

#include <sys/queue.h>
#include <uthash.h>

#define WORK_TABLES 3

/* An open namespace. Serial thread only. */
struct handle {
	UT_hash_handle hh;
	TAILQ_ENTRY(handle) used;
	struct netns *ns;
	bool watched, rules; /* rules: its rulesets' library is kept, see work_rest_later() */
	char path[];
};

/* Loop thread. */
struct watch {
	UT_hash_handle hh;
	uv_poll_t poll;
	struct work *work;
	void (*cb)(void *data);
	void *data;
	int fd;
	bool polling, changed, reading, gone;
	char path[];
};

struct work {
	struct serial *serial;
	uv_loop_t *loop;
	struct watch *watches; /* loop thread */
	void (*closed)(void *data);
	void *closed_data;
	/* serial thread only */
	struct netns *host;
	struct handle *handles;
	TAILQ_HEAD(, handle) lru;
	unsigned n_open, n_rules;
	char *written_text;    /* a ruleset, and how nft(8) writes its tables */
	struct nftobjects written[WORK_TABLES];
};

/* Serial thread. */
struct netns *work_open(struct work *w, const char *path, struct error *err);
struct handle *work_find(struct work *w, const char *path);
/* Its rulesets were changed: what the library holds for it (netns_rest) goes when many others have been changed after it. */
void work_rest_later(struct work *w, const char *path);
/* Now. */
void work_rest(struct work *w, const char *path);
struct work_diff *work_add_diff(struct work_sync *s, const char *what);

/* ---- work_rules.c. Serial thread. */
int work_run_nft(struct netns *ns, const char *text, bool fill, struct error *err);
int work_sync_rulesets(struct work *w, struct netns *ns, struct work_sync *s, struct error *err);
/* Of the end. */
void work_forget_written(struct work *w);
