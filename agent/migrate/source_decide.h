/*
 * source_decide - what the source of a migration does next, as docs/adr/0019-one-copy-runs.md has it. Pure.
 */
#pragma once
#include <stdbool.h>

struct source_facts {
	int phase, step;             /* the leader's word; what we have said */
	bool gone;                   /* the container has ended */
	bool failed;                 /* it cannot go on, and we have said so */
	bool promised;               /* the target has told us that it will never run it */
	bool connected;              /* a stream to the target is open (or being opened) */
	bool asking;                 /* it is a question */
	bool ask_due;                /* nothing was heard for a while */
	bool looked, ready;          /* can be moved as far as we see; the target is ready */
	bool files, rounds, files_again; /* copied: once, memory as often as it pays, what changed meanwhile */
	bool frozen, cut;            /* may be: set before it is tried */
	bool is_frozen, is_cut;      /* done */
	bool dumped, files_still;
	bool images;                 /* and sent */
	bool said;                   /* told the target that it has all */
	bool received;               /* which says so, too */
	bool busy;                   /* an operation is under way */
	bool files_busy;             /* a tree is being sent */
};

enum source_action {
	SOURCE_WAIT,
	SOURCE_LOOK,                 /* trial dump, local checks */
	SOURCE_CONNECT,
	SOURCE_PREPARED,
	SOURCE_FILES,                /* a pass over the files, the container running */
	SOURCE_ROUND,                /* a pass over the memory */
	SOURCE_CONVERGED,
	SOURCE_FREEZE,
	SOURCE_CUT,
	SOURCE_DUMP,
	SOURCE_FILES_STILL,
	SOURCE_IMAGES,
	SOURCE_SAY,                  /* that it has all */
	SOURCE_SENT,
	SOURCE_HANG_UP,              /* end the stream and what uses it */
	SOURCE_ASK,                  /* whether the target promises */
	SOURCE_OPEN,
	SOURCE_THAW,
	SOURCE_RESUMED,
	SOURCE_GONE,
};

enum source_action source_decide(const struct source_facts *f);

/* The task may not be stopped or looked after: it stands still, or is about to. */
bool source_stands(const struct source_facts *f);
const char *source_action_name(enum source_action action);
