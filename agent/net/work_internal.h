/* work_internal - between work.c (jobs, open namespaces) and work_watch.c (who else changes something there). */
#pragma once
#include "work.h"

#include <sys/queue.h>
#include <uthash.h>

/* An open namespace. Serial thread only. */
struct handle {
	UT_hash_handle hh;
	TAILQ_ENTRY(handle) used;
	struct netns *ns;
	bool watched;
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
	char *scratch;
	struct watch *watches; /* loop thread */
	void (*closed)(void *data);
	void *closed_data;
	/* serial thread only */
	struct netns *host;
	struct handle *handles;
	TAILQ_HEAD(, handle) lru;
	unsigned n_open;
};

/* Serial thread. */
struct netns *work_open(struct work *w, const char *path, struct error *err);
struct handle *work_find(struct work *w, const char *path);
