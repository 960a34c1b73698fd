#include "agent/migrate/target_decide.h"

#include "common/mem.h"
#include "proto/pb.h"

/* It is at the source for good. */
static bool is_over(const struct target_facts *f)
{
	return f->phase == MIGRATION_ABORT || f->phase == MIGRATION_RESUME || f->phase == MIGRATION_CHECKED ||
	       f->phase == MIGRATION_REFUSED || f->phase == MIGRATION_ROLLED_BACK || f->phase == MIGRATION_LOST;
}

/* Allowed to run, but without what it would need: the leader has to give the slot back. */
static bool cannot_switch(const struct target_facts *f)
{
	return f->phase == MIGRATION_SWITCH && !f->restored && (!f->received || f->task_over);
}

static bool gives_up(const struct target_facts *f)
{
	if (f->promise_kept || f->failed || is_over(f))
		return true;
	return cannot_switch(f) || (f->task_over && !f->restored_kept);
}

/* Said when nothing of it runs: what is left are files. */
static enum target_action discard(const struct target_facts *f)
{
	if (f->busy || f->running)
		return TARGET_WAIT;
	if (!f->promise_kept)
		return TARGET_PROMISE;
	return f->step < STEP_DISCARDED ? TARGET_DISCARDED : TARGET_WAIT;
}

static enum target_action run(const struct target_facts *f)
{
	if (f->busy || !f->restored)
		return TARGET_WAIT;
	if (!f->restored_kept)
		return TARGET_KEEP;
	if (!f->opened)
		return TARGET_OPEN;
	return f->step < STEP_RESTORED ? TARGET_RESTORED : TARGET_WAIT;
}

enum target_action target_decide(const struct target_facts *f)
{
	if (gives_up(f))
		return discard(f);
	if (f->busy)
		return TARGET_WAIT;
	switch (f->phase) {
	case MIGRATION_PREPARE:
		if (!f->joined || !f->task_ready || f->step >= STEP_PREPARED)
			return TARGET_WAIT;
		return f->fits ? TARGET_PREPARED : TARGET_COMPARE;
	case MIGRATION_COPY:
	case MIGRATION_FREEZE:
		return f->received && f->step < STEP_RECEIVED ? TARGET_RECEIVED : TARGET_WAIT;
	case MIGRATION_SWITCH:
	case MIGRATION_MOVED:
		return run(f);
	default:
		return TARGET_WAIT;
	}
}

enum move_want target_wants(const struct target_facts *f)
{
	if (gives_up(f))
		return MOVE_DISCARD;
	if (f->opened)
		return MOVE_NOTHING;
	return f->phase == MIGRATION_SWITCH && f->received ? MOVE_RESTORE : MOVE_HOLD;
}

bool target_may_promise(const struct target_facts *f)
{
	return f->promise_kept || (f->phase < MIGRATION_SWITCH && !f->restored) || f->phase == MIGRATION_ABORT;
}

const char *target_action_name(enum target_action action)
{
	static const char *const names[] = {
		"wait", "compare", "prepared", "received", "keep", "open", "restored", "promise", "discarded",
	};

	return action < ARRAY_SIZE(names) ? names[action] : "?";
}
