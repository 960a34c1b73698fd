/*
 * follow - watch one object of the cluster until what is watched has come to an end, and show how it goes: drawn anew on a
 * terminal, plain lines in a pipe. A manager that is lost is no end: each watch begins with the whole state, so the next
 * manager is simply asked.
 */
#pragma once
#include "common/str.h"

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stdint.h>

struct ctl;
struct error;

/* What is followed. All but wake_at and tick are needed; `data` is passed to each. Times are of the monotonic clock. */
struct follow_ops {
	const char *method; /* of Control: takes a RefRequest, streams states */
	void (*feed)(void *data, const ProtobufCMessage *msg, int64_t now_ns);
	bool (*over)(void *data);
	void (*tick)(void *data, int64_t now_ns);
	int64_t (*wake_at)(void *data); /* when tick may change something; 0 = never by itself */
	/* All lines of the picture; none = there is nothing to be seen yet. */
	void (*screen)(void *data, unsigned width, unsigned height, int64_t now_ns, struct strv *lines);
	void (*plain)(void *data, struct strbuf *out); /* what is new since the last call */
};

enum follow_end {
	FOLLOW_OVER,
	FOLLOW_INTERRUPTED, /* Ctrl-C */
	FOLLOW_BROKEN,	    /* err says why; no manager was heard for long, or it refused */
};

/* quiet: show nothing. */
enum follow_end follow_run(struct ctl *ctl, const struct follow_ops *ops, void *data, const char *ref, bool quiet,
			   struct error *err);
/* Whether pictures are drawn. */
bool follow_draws(void);
/* Lines over the last picture, of which `drawn` were drawn (0 at first). */
void follow_redraw(const struct strv *lines, unsigned *drawn);
