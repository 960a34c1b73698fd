/*
 * liveness - which nodes are DOWN: state and time in, verdicts out. No I/O, no clock of its own.
 *
 * A node with a session here is judged by its silence; one whose stream broke gets a grace in which
 * it may come back to any manager. Nodes of a manager that is gone are the leader's to judge, after
 * the same grace. All times are CLOCK_MONOTONIC ns.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct view;
struct liveness;

struct liveness_params {
	int64_t beat_min_ns;
	int64_t silence_min_ns;
	int64_t grace_ns;
	int64_t restart_grace_ns; /* after a start or an outage, when agents are deep in their
				     back-off */
	int64_t confirm_ns;	  /* a silence counts when it is still there this much later */
};

extern const struct liveness_params liveness_defaults;

/* self: node id of this manager; copied. `now`: nodes that name this manager get their grace from
 * here on. */
struct liveness *liveness_new(const struct liveness_params *params, const char *self, int64_t now);
void liveness_free(struct liveness *l);

/*
 * Nobody could register here until now (the process began, or could not write): nodes without a
 * session have the long grace from here on.
 */
void liveness_restart(struct liveness *l, int64_t now);

/* The period that agents are told: by the cluster's spec (0 = by the number of sessions, 1 ms
 * each). */
int64_t liveness_period(const struct liveness *l, int64_t spec_period_ns);
size_t liveness_sessions(const struct liveness *l);

/* A session began (a newer one of the same node replaces the older). */
void liveness_session(struct liveness *l, const char *node_id, int64_t period_ns, int64_t now);
/* Something came from the node; period_ns is what it is told from now on. */
void liveness_heard(struct liveness *l, const char *node_id, int64_t period_ns, int64_t now);
/* The session's stream ended. left: the node had said that it leaves the cluster: no grace. */
void liveness_broken(struct liveness *l, const char *node_id, bool left, int64_t now);
/* The node is gone from the cluster, or was judged. */
void liveness_forget(struct liveness *l, const char *node_id);

void liveness_manager(struct liveness *l, const char *manager_id, bool alive, int64_t now);
/* This manager knows less than half of the others to be alive: it may be cut off. */
bool liveness_minority(const struct liveness *l, const struct view *v);
void liveness_leader(struct liveness *l, bool leader, int64_t now);
/* This process did not run for a while: what was silent meanwhile may be waiting in our own queues.
 */
void liveness_stalled(struct liveness *l, int64_t now);

enum liveness_reason {
	LIVENESS_SILENT,       /* a session here without a sign of life */
	LIVENESS_LOST,	       /* its stream broke, and it did not come back to any manager */
	LIVENESS_LEFT,	       /* it said that it leaves the cluster */
	LIVENESS_MANAGER_GONE, /* the manager that held its session is gone */
};

struct liveness_verdict {
	const char *node_id;	/* of the view or the session: valid until either changes */
	const char *manager_id; /* what the node's status must still say for the verdict to hold */
	enum liveness_reason reason;
	int64_t for_ns; /* how long it has been so */
};

/*
 * Judge every node that this manager answers for.
 *   ret_verdicts  nodes that are DOWN now; free()
 *   ret_next      when to judge again at the latest (INT64_MAX: nothing is awaited)
 *   returns       the number of verdicts
 */
size_t liveness_judge(struct liveness *l, const struct view *v, int64_t now,
		      struct liveness_verdict **ret_verdicts, int64_t *ret_next);
