/*
 * req - one unary request on its way: the checked message, retries, and a caller who may be gone
 * before the end. Each request is answered exactly once with req_reply or req_fail, which free it.
 */
#pragma once
#include "common/error.h"
#include "common/str.h"

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct control;
struct rpc_call;
struct txn;

struct req {
	struct control *c;
	struct rpc_call *call; /* NULL: the caller is gone; go on all the same */
	void *msg;	       /* copy of the request, its strings checked; may be changed */
	/* Reads the view, then answers or commits. Runs again after a conflict. */
	void (*step)(struct req *r);
	void (*committed)(struct req *r);
	unsigned attempts;
	bool retry_unavailable; /* the transaction is harmless to repeat */
	bool timer_open;
	uv_timer_t timer;
	int64_t deadline; /* CLOCK_MONOTONIC: of what a step waits for; 0 = it does not */
	char id[64]; /* of the object that is made or changed */
	char *text;  /* of a token; wiped */
	char *url;   /* of the web page */
	void *answer; /* heap message that is known before the write; NULL = there is none */
	struct strv warnings;
	bool image_done;  /* the digest has been looked for */
	bool member_done; /* taken out of etcd's members */
};

/* Begin. A message whose strings are not clean text is refused here. */
void req_begin(struct control *c, struct rpc_call *call, const ProtobufCMessage *msg,
	       void (*step)(struct req *r));
void req_gone(struct rpc_call *call); /* the call is over */

void req_reply(struct req *r, const void *msg); /* a message */
/* As req_reply, for lists: too long for one message is an error that asks for filters. */
void req_reply_bounded(struct req *r, const ProtobufCMessage *msg, const char *what);
void req_fail(struct req *r, const struct error *err);
void req_fail_with(struct req *r, enum error_code code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Commit what was staged; then `committed` with the view at its revision. A conflict runs the step
 * again. */
void req_commit(struct req *r, struct txn *t, void (*committed)(struct req *r));
/* Run the step again later: what it needs is not there yet. */
void req_again(struct req *r, int64_t after_ns);
void req_warn(struct req *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
