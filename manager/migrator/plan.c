#include "plan.h"

#include "common/mem.h"
#include "common/str.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ---- what is known of an end */

static int step_of(const struct migration_end *end)
{
	return end->report ? (int)end->report->step : STEP_NONE;
}

static const char *err_of(const struct migration_end *end)
{
	return end->report && !str_empty(end->report->err) ? end->report->err : NULL;
}

static bool is_down(const struct migration_end *end)
{
	return !end->node || !end->node->status || (int)end->node->status->state == NODE_DOWN;
}

static bool has_ended(const struct migration_end *end)
{
	return !end->task || (end->task->status && (int)end->task->status->state > TASK_RUNNING);
}

/* The container is not at the source any more, and was not moved. */
static bool is_gone(const struct migration_end *source)
{
	return step_of(source) == STEP_GONE || has_ended(source);
}

static const char *name_of(const struct migration_end *end, const char *id)
{
	return end->node ? pb_node_name(end->node) : id;
}

/* ---- what may go wrong */

struct trouble {
	const pb_migration *m;
	const struct migration_end *source, *target;
	const char *stop;
	int64_t now;
};

#define SAY(out, ...) snprintf((out)->message, sizeof((out)->message), __VA_ARGS__)

static bool stopped(const struct trouble *t, struct migration_verdict *out)
{
	if (t->stop)
		SAY(out, "%s", t->stop);
	else if (t->m->cancelled)
		SAY(out, "cancelled");
	return t->stop || t->m->cancelled;
}

static bool source_fails(const struct trouble *t, struct migration_verdict *out)
{
	const char *err = err_of(t->source), *name = name_of(t->source, t->m->source_node);

	if (err)
		SAY(out, "source %s: %s", name, err);
	else if (is_gone(t->source))
		SAY(out, "the container has ended at %s", name);
	else if (is_down(t->source))
		SAY(out, "source node %s is %s", name, t->source->node ? "down" : "removed");
	else if (step_of(t->source) == STEP_RESUMED)
		SAY(out, "source %s went on with it, because the target gave up", name);
	else
		return false;
	return true;
}

static bool target_fails(const struct trouble *t, struct migration_verdict *out)
{
	const char *err = err_of(t->target), *name = name_of(t->target, t->m->target_node);
	const pb_task_status *status = t->target->task ? t->target->task->status : NULL;

	if (err)
		SAY(out, "target %s: %s", name, err);
	else if (step_of(t->target) == STEP_DISCARDED)
		SAY(out, "target %s gave up", name);
	else if (is_down(t->target))
		SAY(out, "target node %s is %s", name, t->target->node ? "down" : "removed");
	else if (has_ended(t->target))
		SAY(out, "target %s: %s", name,
		    status && !str_empty(status->err) ? status->err : "its task has ended before the container came");
	else
		return false;
	return true;
}

static bool is_late(const struct trouble *t, struct migration_verdict *out)
{
	char human[STR_HUMAN_MAX];

	if (migration_deadline(t->m) > t->now)
		return false;
	str_duration(t->now - t->m->phase_at, human);
	SAY(out, "%s took longer than it may (%s)", migration_phase_name((int)t->m->phase), human);
	return true;
}

/* ---- phases */

static void abort_it(struct migration_verdict *out)
{
	out->phase = MIGRATION_ABORT;
}

static void end(struct migration_verdict *out, int phase, enum migration_fate source, enum migration_fate target)
{
	out->phase = phase;
	out->source = source;
	out->target = target;
	out->look_at = INT64_MAX;
}

static void prepare(const struct trouble *t, struct migration_verdict *out)
{
	if (stopped(t, out) || source_fails(t, out) || target_fails(t, out)) {
		abort_it(out);
		return;
	}
	if (step_of(t->source) >= STEP_PREPARED && step_of(t->target) >= STEP_PREPARED) {
		if (t->m->options && t->m->options->dry_run)
			end(out, MIGRATION_CHECKED, FATE_RELEASE, FATE_REMOVE);
		else
			out->phase = MIGRATION_COPY;
	} else if (is_late(t, out)) {
		abort_it(out);
	}
}

static void copy(const struct trouble *t, struct migration_verdict *out)
{
	if (stopped(t, out) || source_fails(t, out) || target_fails(t, out))
		abort_it(out);
	else if (step_of(t->source) >= STEP_CONVERGED)
		out->phase = MIGRATION_FREEZE;
	else if (is_late(t, out))
		abort_it(out);
}

/*
 * The target has all of it, and the source stands still: it said so, or was lost behind that. A source that has ended or
 * gone on contradicts.
 */
static bool is_whole(const struct trouble *t)
{
	int source = step_of(t->source);

	return step_of(t->target) == STEP_RECEIVED && !err_of(t->target) && !is_down(t->target) && !has_ended(t->target) &&
	       (source == STEP_SENT || (is_down(t->source) && source < STEP_SENT && !has_ended(t->source)));
}

static void freeze(const struct trouble *t, struct migration_verdict *out)
{
	if (stopped(t, out))
		abort_it(out);
	else if (is_whole(t) && !err_of(t->source))
		out->phase = MIGRATION_SWITCH;
	else if (source_fails(t, out) || target_fails(t, out) || is_late(t, out))
		abort_it(out);
}

/* Its task may be over and the target not have said yet whether the container ran before: that word is waited for. */
static bool switch_fails(const struct trouble *t, struct migration_verdict *out)
{
	if (err_of(t->target) || step_of(t->target) == STEP_DISCARDED || is_down(t->target) || !t->target->task)
		return target_fails(t, out);
	return is_late(t, out);
}

static void switch_over(const struct trouble *t, struct migration_verdict *out)
{
	if (step_of(t->target) == STEP_RESTORED) {
		SAY(out, "moved to %s", name_of(t->target, t->m->target_node));
		end(out, MIGRATION_MOVED, FATE_SHUTDOWN, FATE_STAY);
	} else if (switch_fails(t, out)) {
		abort_it(out);
	}
}

static void lose(const struct trouble *t, struct migration_verdict *out, const char *why)
{
	/* The reason for giving up, and what came of it. */
	SAY(out, "%s%s%s", t->m->message, str_empty(t->m->message) ? "" : "; ", why);
	end(out, MIGRATION_LOST, FATE_RELEASE, FATE_REMOVE);
}

/* Nothing of it will run at the target: who was never allowed to, who promised, who is down, who is not there. */
static void give_up(const struct trouble *t, struct migration_verdict *out)
{
	if ((int)t->m->reached >= MIGRATION_SWITCH && step_of(t->target) != STEP_DISCARDED && !is_down(t->target) && t->target->task)
		return;
	if ((int)t->m->reached <= MIGRATION_PREPARE && !is_gone(t->source) && !is_down(t->source))
		end(out, MIGRATION_REFUSED, FATE_RELEASE, FATE_REMOVE);
	else
		out->phase = MIGRATION_RESUME;
}

static void resume(const struct trouble *t, struct migration_verdict *out)
{
	if (is_gone(t->source))
		lose(t, out, "the container has ended at the source");
	else if (step_of(t->source) == STEP_RESUMED)
		end(out, MIGRATION_ROLLED_BACK, FATE_RELEASE, FATE_REMOVE);
	else if (is_down(t->source))
		lose(t, out, "the source node is down, too");
}

static const struct {
	int phase;
	const char *name;
	void (*plan)(const struct trouble *t, struct migration_verdict *out);
} phases[] = {
	{MIGRATION_NEW, "NEW", NULL},
	{MIGRATION_PREPARE, "PREPARE", prepare},
	{MIGRATION_COPY, "COPY", copy},
	{MIGRATION_FREEZE, "FREEZE", freeze},
	{MIGRATION_SWITCH, "SWITCH", switch_over},
	{MIGRATION_ABORT, "ABORT", give_up},
	{MIGRATION_RESUME, "RESUME", resume},
	{MIGRATION_MOVED, "MOVED", NULL},
	{MIGRATION_CHECKED, "CHECKED", NULL},
	{MIGRATION_REFUSED, "REFUSED", NULL},
	{MIGRATION_ROLLED_BACK, "ROLLED_BACK", NULL},
	{MIGRATION_LOST, "LOST", NULL},
};

const char *migration_phase_name(int phase)
{
	for (size_t i = 0; i < ARRAY_SIZE(phases); i++)
		if (phases[i].phase == phase)
			return phases[i].name;
	return "?";
}

int64_t migration_deadline(const pb_migration *m)
{
	int64_t copying = m->options && m->options->timeout > 0 ? m->options->timeout : MIGRATION_COPY_DEFAULT_NS;

	switch ((int)m->phase) {
	case MIGRATION_NEW:
	case MIGRATION_COPY:
		return m->phase_at > INT64_MAX - copying ? INT64_MAX : m->phase_at + copying;
	case MIGRATION_PREPARE:
		return m->phase_at + MIGRATION_PREPARE_NS;
	case MIGRATION_FREEZE:
		return m->phase_at + MIGRATION_FREEZE_NS;
	case MIGRATION_SWITCH:
		return m->phase_at + MIGRATION_SWITCH_NS;
	default:
		return INT64_MAX;
	}
}

void migration_plan(const pb_migration *m, const struct migration_end *source, const struct migration_end *target, const char *stop,
		    int64_t now, struct migration_verdict *ret)
{
	const struct trouble t = {m, source, target, stop, now};

	*ret = (struct migration_verdict){.phase = (int)m->phase, .look_at = migration_deadline(m)};
	for (size_t i = 0; i < ARRAY_SIZE(phases); i++)
		if (phases[i].phase == (int)m->phase && phases[i].plan)
			phases[i].plan(&t, ret);
}
