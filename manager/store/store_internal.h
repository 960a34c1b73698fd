/* store_internal - what the files of the store share: store.c, store_sync.c, store_commit.c. */
#pragma once
#include "etcd.h"
#include "store.h"

#include "common/loop.h"

#include <sys/queue.h>

struct store {
	uv_loop_t *loop;
	struct etcd *etcd;
	char *prefix;
	char *first, *end;          /* range of all keys */
	struct view *view;
	uint64_t revision;
	bool connected;
	int64_t heard_ns;           /* monotonic; when etcd last said something */
	struct store_stats stats;
	void (*on_lag)(void *data, int64_t lag_ns);
	void *on_lag_data;
	struct closer closer;

	/* store_sync.c */
	struct etcd_watch *watch;
	struct load *load;          /* under way */
	uv_timer_t load_timer;      /* until the next try */
	uint64_t load_backoff_ms;
	void (*on_started)(void *data, const struct error *err);
	void *on_started_data;

	/* store.c */
	LIST_HEAD(, store_sub) subs;
	unsigned telling;           /* depth of subscribers' callbacks */

	/* store_commit.c */
	TAILQ_HEAD(commit_list, commit) queued, in_flight, waiting;
	size_t n_in_flight;
	uv_timer_t commit_timer, resend_timer;
	char *fence_key;
	uint64_t fence_revision;
};

/* store.c: events to subscribers. */
void store_tell(struct store *s, const struct store_event *events, size_t n);

/* store_sync.c */
void store_sync_start(struct store *s);
void store_sync_stop(struct store *s);

/* store_commit.c: the view has moved on; the store closes. */
void store_commits_seen(struct store *s);
void store_commits_cancel(struct store *s);
void store_commit_timer(uv_timer_t *timer);
void store_resend_timer(uv_timer_t *timer);
