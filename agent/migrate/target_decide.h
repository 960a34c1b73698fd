/*
 * target_decide - what the target of a migration does next, as docs/adr/0019-one-copy-runs.md has it. Pure.
 */
#pragma once
#include <stdbool.h>

struct target_facts {
	int phase, step;             /* the leader's word; what we have said */
	bool failed;                 /* it cannot become anything: said, or about to be */
	bool promise_kept;           /* on disk: it will never run here */
	bool task_ready;             /* image, network (shut), root */
	bool task_over;              /* the task has ended or was refused */
	bool running;                /* its processes run here */
	bool joined;                 /* the source is here */
	bool fits;                   /* its facts and ours go together */
	bool received;               /* all is here and checked */
	bool restored, restored_kept; /* its processes run; that is on disk */
	bool opened;
	bool busy;                   /* an operation is under way */
};

enum target_action {
	TARGET_WAIT,
	TARGET_COMPARE,              /* the source's facts and ours */
	TARGET_PREPARED,
	TARGET_RECEIVED,
	TARGET_KEEP,                 /* write down that it runs here */
	TARGET_OPEN,
	TARGET_RESTORED,
	TARGET_PROMISE,              /* write down that it never will */
	TARGET_DISCARDED,
};

enum target_action target_decide(const struct target_facts *f);

/* What the task is to do (enum move_want), as far as the target is concerned. */
enum move_want { MOVE_NOTHING, MOVE_HOLD, MOVE_RESTORE, MOVE_STAND, MOVE_KILL, MOVE_DISCARD };
enum move_want target_wants(const struct target_facts *f);

/* May it promise never to run it? Not once it has read that it may run it, or when it runs. */
bool target_may_promise(const struct target_facts *f);
const char *target_action_name(enum target_action action);
