/*
 * progress_model - how far a service is, from what WatchService sends. Pure: time is an argument.
 *
 *   create, scale   done as soon as every wanted task runs (or has completed, when it is not
 * restarted) update          the same, and then it must stay so for the monitor period; a rollback
 * or a pause fails
 *
 * With verify_ns it must stay so for that long in any case, and a task that ends meanwhile fails it.
 *
 * A task that cannot be placed is waited for, with the reason shown: a node may join. Tasks that
 * failed and will not be replaced end the waiting.
 */
#pragma once
#include "common/str.h"
#include "proto/pb.h"

/* Failed tasks count as final only after this long without change: a replacement may be on its way.
 */
#define PROGRESS_SETTLE_NS (2 * INT64_C(1000000000))

enum progress_verdict { PROGRESS_WAIT, PROGRESS_DONE, PROGRESS_FAILED };

/* What was asked for, and how the service was before. */
struct progress_setup {
	bool verify;	  /* hold for the monitor period */
	int64_t verify_ns; /* hold for this long, and let no task end meanwhile; 0 = no */
	bool new_tasks;	  /* the update changed what tasks are: old ones do not count */
	bool rollback;	  /* a rollback was asked for: its completion is success */
	int update_state; /* of the service before the request: not news */
	int64_t update_started_at;
};

/* One place where a task should run. */
struct progress_slot {
	char *label;			 /* "3", or the node's name for a global service */
	int state;			 /* of the newest task */
	char *reason;			 /* why it does not run; "" */
	bool numbered;			 /* label is a slot's number */
	bool running, completed, failed; /* failed: and will not be replaced */
};

struct progress {
	struct progress_setup setup;
	enum progress_verdict verdict;
	char *message; /* why it failed; NULL */
	char *name;
	uint64_t desired, running, completed, failed;
	struct progress_slot *slots; /* in order */
	size_t n_slots;
	bool verifying, rolling_back, one_shot;
	int64_t monitor_ns;
	int64_t hold_ns;      /* how long it is to stay as it is */
	int64_t converged_at;
	int64_t verify_until; /* 0 = not verifying */
	bool watching;	      /* converged once: no task may end any more */
	struct strv ended;    /* ids of those that had ended before */
	int64_t settle_until; /* 0 = nothing failed for good */
	bool update_seen;     /* an update of our own was seen to start */
};

void progress_init(struct progress *p, const struct progress_setup *setup);
void progress_fini(struct progress *p);

/* A message came. */
void progress_feed(struct progress *p, const Skein__WatchServiceResponse *msg, int64_t now_ns);
/* Time passed. */
void progress_tick(struct progress *p, int64_t now_ns);
/* When progress_tick may change the verdict; 0 = never by itself. */
int64_t progress_wake_at(const struct progress *p);

/* Distinct reasons of slots that do not run, with the slots: "web.2: no suitable node (...)". */
void progress_reasons(const struct progress *p, struct strv *out);
