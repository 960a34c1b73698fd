/*
 * store - the cluster's state: etcd behind, a cache (struct view) in front.
 *
 * Reads come from the view, never from etcd. Writes are transactions compared on revisions. The watch keeps
 * the view current through disconnects, endpoint fail-over and compaction (then: full resync, told to subscribers
 * as the differences). How objects lie in etcd is known only here. Loop thread.
 */
#pragma once
#include "txn.h"
#include "view.h"

#include "common/error.h"

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct store;
struct etcd; /* client: etcd.h */

/* Keys live under "<prefix>/": "/skein/v1". The client is borrowed and must live longer. */
struct store *store_new(uv_loop_t *loop, struct etcd *etcd, const char *prefix);
void store_close(struct store *s, void (*closed)(void *data), void *data);

/* Load everything and start watching; cb once, when the view is complete (retries for ever while etcd
 * is away; ERR_CANCELLED when closed first). */
void store_start(struct store *s, void (*cb)(void *data, const struct error *err), void *data);

struct view *store_view(struct store *s);
uint64_t store_revision(const struct store *s);   /* of etcd that the view reflects */
bool store_connected(const struct store *s);      /* the watch is up */
int64_t store_behind_ns(const struct store *s);   /* time since the watch last said anything */

struct store_event {
	enum kind kind;
	const char *id;
	const void *old;  /* NULL = created */
	const void *now;  /* NULL = deleted */
};

/* After each applied etcd revision (or resync), with all its events; the view is already at the new state. */
typedef void (*store_events_cb)(void *data, const struct store_event *events, size_t n);
struct store_sub;
struct store_sub *store_subscribe(struct store *s, store_events_cb cb, void *data);
void store_unsubscribe(struct store_sub *sub); /* NULL is fine; may be called inside the callback */

/*
 * Commit what a transaction staged (txn_end is called; the txn is freed). cb runs once, after etcd answered AND the
 * view has reached the revision: who reads the view in cb sees the write.
 *   Errors  ERR_CONFLICT an object was changed meanwhile, or the fence no longer holds: nothing of the (chunk's) change
 *           happened; ERR_EXHAUSTED the change is too large for one etcd transaction (128 operations, 1 MiB) and `chunked` is
 *           not set; ERR_UNAVAILABLE: may or may not have happened - read again
 *   flags   STORE_FENCED: only while this process is the leader (store_set_fence). STORE_CHUNKED: may be split in
 *           several etcd transactions in the order staged; after a conflict the rest is not tried.
 */
enum store_commit_flags { STORE_FENCED = 1, STORE_CHUNKED = 2 };
typedef void (*store_commit_cb)(void *data, const struct error *err);
void store_commit(struct store *s, struct txn *t, unsigned flags, store_commit_cb cb, void *data);

/* The leader key and its create revision; key NULL: not leader (fenced commits fail with ERR_CONFLICT). */
void store_set_fence(struct store *s, const char *key, uint64_t create_revision);

/* Commits waiting or in flight; bytes; for metrics. */
struct store_stats {
	uint64_t commits, conflicts, failures, events, resyncs;
	int64_t last_commit_ns;
};
const struct store_stats *store_stats(const struct store *s);
/* After each commit that succeeded: from etcd's answer until the watch had told it here as well. NULL = off. */
void store_set_lag_observer(struct store *s, void (*cb)(void *data, int64_t lag_ns), void *data);
