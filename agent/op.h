/* op - an init, join or leave under way: shared by op.c (frame), op_init.c, op_join.c, op_leave.c and ops.c. */
#pragma once
#include "agent_internal.h"

#include "netoverlay/addr.h"
#include "rpc/rpc.h"

#include <stdbool.h>

enum op_kind { OP_INIT, OP_FORCE_NEW, OP_JOIN, OP_LEAVE };

struct op {
	struct agent *agent;
	enum op_kind kind;
	Skein__InitRequest *init;
	Skein__JoinRequest *join;
	bool auto_join;
	union {
		local_init_cb init;
		local_join_cb join;
		local_leave_cb leave;
	} cb;
	void *cb_data;
	struct error err;              /* why it failed, while cleaning up */
	struct bootstrap *bootstrap;
	struct rpc_channel *channel;   /* to the manager beside us */
	pb_node_spec *node_spec;
	Skein__InitResponse *response;
	uv_timer_t timer;              /* join waits for the first session, leave for the containers */
	bool timer_open;
	bool awaits_manager;           /* to be ready */
	bool awaits_wipe;              /* of what a demoted manager left */
	unsigned demotions;            /* tried */
};

/* An operation that failed at once: its callback may only run later. */
struct refusal {
	struct agent *agent;
	enum op_kind kind;
	void *cb_data;
	struct error err;
	union {
		local_init_cb init;
		local_join_cb join;
		local_leave_cb leave;
	} cb;
	uv_timer_t timer;
};

/* Begin an operation; false and err when another one is under way or the agent ends. */
bool op_begin(struct agent *a, enum op_kind kind, void *cb_data, struct op **ret, struct error *err);
/* Tell the caller (op->err says how it went) and forget the operation. */
void op_finish(struct op *op);
/* Refuse one that cannot begin: set the callback in what is returned; it runs in the next turn. */
struct refusal *op_refuse(struct agent *a, enum op_kind kind, void *cb_data, const struct error *err);
void op_start_timer(struct op *op, int64_t delay_ns, uv_timer_cb cb);

/* Back to being in no cluster: the manager, the session, the networks, then the files; then op_finish. */
void op_go_inactive(struct op *op);
/* Only the files, then op_finish; data is the op. */
void op_wipe(void *data);

/* Errors: ERR_PRECONDITION this node is in a cluster. */
int op_check_outside(struct agent *a, struct error *err);
/* "10.0.0.1", "10.0.0.1:2377", "eth0", "" -> a literal address of this host. */
int op_choose_address(struct agent *a, const char *want, char ret[static ADDR_TEXT_MAX], struct error *err);
/* Where the manager's API listens: `want`, or what the configuration says. Yours. */
char *op_listen_of(struct agent *a, const char *want);
/* Call the manager beside us over its unix socket; cb gets the op. */
void op_call_manager(struct op *op, const char *method, const ProtobufCMessage *request, rpc_reply_cb cb);
void op_start_manager(struct op *op, void (*ready)(void *data, const struct error *err));

/* The operations themselves, as struct local_ops has them. */
void op_init(void *data, const Skein__InitRequest *request, local_init_cb cb, void *cb_data);
void op_join(void *data, const Skein__JoinRequest *request, local_join_cb cb, void *cb_data);
void op_leave(void *data, bool force, local_leave_cb cb, void *cb_data);
