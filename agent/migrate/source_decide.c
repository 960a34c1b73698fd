#include "agent/migrate/source_decide.h"

#include "common/mem.h"
#include "proto/pb.h"

/* It goes on here: the leader says so, or the only one who could say otherwise has promised not to. */
static bool may_resume(const struct source_facts *f)
{
	return f->phase == MIGRATION_RESUME || f->phase == MIGRATION_CHECKED || f->phase == MIGRATION_REFUSED ||
	       f->phase == MIGRATION_ROLLED_BACK || f->promised;
}

static enum source_action resume(const struct source_facts *f)
{
	if (f->connected)
		return SOURCE_HANG_UP;
	if (f->busy)
		return SOURCE_WAIT;
	if (f->cut)
		return SOURCE_OPEN;
	if (f->frozen)
		return SOURCE_THAW;
	return f->step < STEP_RESUMED ? SOURCE_RESUMED : SOURCE_WAIT;
}

/* Stand still. Whoever is frozen tries to learn that it may go on, even when no manager answers. */
static enum source_action stand(const struct source_facts *f)
{
	if (f->connected && !f->asking)
		return SOURCE_HANG_UP;
	if (f->busy || f->connected || !f->frozen || !f->ask_due)
		return SOURCE_WAIT;
	return SOURCE_ASK;
}

static enum source_action prepare(const struct source_facts *f)
{
	if (f->step >= STEP_PREPARED || f->busy)
		return SOURCE_WAIT;
	if (!f->looked)
		return SOURCE_LOOK;
	if (!f->connected)
		return SOURCE_CONNECT;
	return f->ready ? SOURCE_PREPARED : SOURCE_WAIT;
}

static enum source_action copy(const struct source_facts *f)
{
	if (f->step >= STEP_CONVERGED || f->busy || f->files_busy)
		return SOURCE_WAIT;
	if (!f->files)
		return SOURCE_FILES;
	if (!f->rounds)
		return SOURCE_ROUND;
	return f->files_again ? SOURCE_CONVERGED : SOURCE_FILES;
}

/* The dump and the last pass over the files go beside each other. */
static enum source_action freeze(const struct source_facts *f)
{
	if (f->step >= STEP_SENT)
		return SOURCE_WAIT;
	if (f->received)
		return SOURCE_SENT;
	if (!f->is_frozen || !f->is_cut) {
		if (f->busy)
			return SOURCE_WAIT;
		return f->is_frozen ? SOURCE_CUT : SOURCE_FREEZE;
	}
	if (!f->files_still && !f->files_busy)
		return SOURCE_FILES_STILL;
	if (!f->dumped && !f->busy)
		return SOURCE_DUMP;
	if (f->busy || f->files_busy || f->said)
		return SOURCE_WAIT;
	return f->images ? SOURCE_SAY : SOURCE_IMAGES;
}

enum source_action source_decide(const struct source_facts *f)
{
	if (f->gone && f->phase != MIGRATION_MOVED) {
		if (f->connected)
			return SOURCE_HANG_UP;
		return f->step < STEP_GONE ? SOURCE_GONE : SOURCE_WAIT;
	}
	if (may_resume(f))
		return resume(f);
	switch (f->phase) {
	case MIGRATION_MOVED:
	case MIGRATION_LOST:
		return f->connected ? SOURCE_HANG_UP : SOURCE_WAIT;
	case MIGRATION_ABORT:
		return stand(f);
	default:
		break;
	}
	if (f->failed)
		return stand(f);
	if (f->step >= STEP_SENT && !f->connected)
		return stand(f);
	switch (f->phase) {
	case MIGRATION_PREPARE:
		return prepare(f);
	case MIGRATION_COPY:
		return copy(f);
	case MIGRATION_FREEZE:
		return freeze(f);
	default:
		return SOURCE_WAIT;
	}
}

bool source_stands(const struct source_facts *f)
{
	return f->frozen || f->cut;
}

const char *source_action_name(enum source_action action)
{
	static const char *const names[] = {
		"wait", "look", "connect", "prepared", "files", "round", "converged", "freeze", "cut", "dump",
		"files_still", "images", "say", "sent", "hang_up", "ask", "open", "thaw", "resumed", "gone",
	};

	return action < ARRAY_SIZE(names) ? names[action] : "?";
}
