/* internal - what the files of the dispatcher share. Not for others. */
#pragma once
#include "assign.h"
#include "dispatcher.h"
#include "liveness.h"
#include "status.h"
#include "writer.h"

#include "common/id.h"
#include "common/loop.h"
#include "proto/pb.h"

#include <sys/queue.h>
#include <uthash.h>

struct netfeed;
struct netindex;
struct peers;
struct rpc_call;
struct store_event;
struct store_sub;
struct strv;

#define SESSION_REGISTER_TIMEOUT_NS INT64_C(30000000000) /* agents give up before that */
#define SESSION_UNKNOWN_NODE_NS                                                                    \
	INT64_C(3000000000)	     /* for our view to catch up with a fresh join                 \
				      */
#define SESSION_QUEUED_REPORTS_MAX 4 /* messages waiting to be written, per session */

/* One agent's stream. Lives until the call is over; only the newest of a node is in `by_node`. */
struct session {
	UT_hash_handle hh;
	TAILQ_ENTRY(session) dirty_entry;
	struct dispatcher *d;
	struct rpc_call *call;
	char node_id[64];
	char id[ID_LEN + 1];
	int role;
	bool current;		/* in by_node */
	bool registered;	/* Registered was sent: the agent is served */
	bool ended;		/* we ended the call; what still arrives is ignored */
	bool left;		/* the node leaves the cluster: its end needs no grace */
	bool dirty;		/* to be looked at in flush, at what `marks` says */
	unsigned marks;
	bool blocked;		/* waits for on_drain */
	bool paused;
	bool probing;	  /* etcd is asked whether the node is really unknown */
	int64_t begun;	  /* CLOCK_MONOTONIC */
	unsigned quick;	  /* replacements in a row of sessions that had hardly begun */
	int64_t deadline; /* of the registration, CLOCK_MONOTONIC */
	Skein__Register *reg;
	Skein__NodeUpdate *told;
	struct assign *assign;
	struct netfeed *net; /* while current and registered */
	unsigned queued_reports;
	int64_t asked; /* CLOCK_MONOTONIC, 0 = not since it was heard last; see doubt.h */
	bool busy;     /* silent, but its host answered */
};

struct report_message {
	STAILQ_ENTRY(report_message) entry;
	char node_id[64];
	char session_id[ID_LEN + 1];
	Skein__StatusReports *reports; /* either these */
	pb_migration_report *move;     /* or what an end of a migration says */
};
STAILQ_HEAD(report_queue, report_message);

/* What a node object is to become; see nodes.c. */
struct intent {
	UT_hash_handle hh;
	Skein__Register *reg;
	int role;
	pb_node_description *description;
	bool down;
	char down_manager[64];
	char message[160];
	bool staged; /* as it is now, in the transaction on its way */
	char node_id[];
};

struct dispatcher {
	uv_loop_t *loop;
	struct store *store;
	char *node_id;
	struct closer closer;
	struct store_sub *sub;
	struct liveness *liveness;
	int64_t busy_ns; /* silence of an agent whose host answers */
	bool started, leader;
	bool outage;				  /* agents were sent away */
	bool probing;				  /* of etcd's majority: on its way */
	int64_t probe_begun, probe_failing_since; /* CLOCK_MONOTONIC */

	struct netindex *net;
	struct session *by_node;
	TAILQ_HEAD(, session) dirty;
	uv_idle_t turn;	  /* flushes dirty sessions at the end of a turn */
	uv_timer_t tick;  /* the next judgement */
	int64_t tick_due; /* CLOCK_MONOTONIC */

	struct writer nodes;
	struct intent *intents;
	struct writer statuses;
	struct report_queue queue, batch;
	uint64_t counts[STATUS_VERDICTS];

	struct dispatcher_stats stats;
};

/* ---- session.c */
void session_serve(struct dispatcher *d, struct rpc_server *server);

void session_end(struct session *s, const struct error *err);
/* The node object is in the view: ask for the write that makes it READY. */
void session_proceed(struct session *s);
/* The node is READY in etcd: answer the registration and serve the agent. */
void session_registered(struct session *s);
/* Something may have changed; its networks know that themselves. */
enum session_marks { MARK_NODE = 1, MARK_TASKS = 2 };
void session_mark(struct session *s, unsigned marks);
struct session *session_of_node(struct dispatcher *d, const char *node_id);
/* Send what changed: networks before the tasks that need them. */
struct flush;
void session_flush(struct session *s, struct flush *flush);
/* What it says is in the view, or was dropped. */
void session_written(struct dispatcher *d, const struct report_message *m);
void session_send_beat(struct session *s, uint64_t sequence, int64_t period);

/* ---- nodes.c */
void nodes_open(struct dispatcher *d);
void nodes_close(struct dispatcher *d);
void nodes_free(struct dispatcher *d);
void nodes_want_ready(struct dispatcher *d, const char *node_id, const Skein__Register *reg,
		      int role);
void nodes_want_description(struct dispatcher *d, const char *node_id,
			    const pb_node_description *description);
/* manager_id: what the node's status must still say. */
void nodes_want_down(struct dispatcher *d, const char *node_id, const char *manager_id,
		     const char *message);

/* ---- reports.c */
void reports_open(struct dispatcher *d);
void reports_close(struct dispatcher *d);
void reports_free(struct dispatcher *d);
/* Both take over what is given. */
void reports_add(struct session *s, Skein__StatusReports *reports);
void reports_add_move(struct session *s, pb_migration_report *report);

/* ---- dispatcher.c */
/* "host:port" of all managers, and who has images: found once per round of messages, when asked for. */
const struct strv *flush_managers(struct flush *flush);
struct peers *flush_peers(struct flush *flush);
/* Some session is dirty: send at the end of this turn of the loop. */
void dispatcher_flush_soon(struct dispatcher *d);
/* Judge soon: something happened that may need a timer. */
void dispatcher_judge_soon(struct dispatcher *d);
int64_t dispatcher_period(struct dispatcher *d);

/* ---- outage.c */
/* etcd has taken no write for a while: this manager is of no use to agents that would register. */
bool outage_refuses(const struct dispatcher *d);
/* Look for the beginning and the end of an outage; from time to time. */
void outage_watch(struct dispatcher *d, int64_t now);
