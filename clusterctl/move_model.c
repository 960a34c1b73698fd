#include "move_model.h"

#include "text.h"

#include "common/clock.h"
#include "common/error.h"
#include "common/mem.h"

#include <string.h>

/* What a step waits for: it is done when the phase or the report of one end is as far as this. */
static const struct {
	const char *name;
	int begins;		/* phase */
	int phase;		/* done with it at the latest */
	bool target;		/* whose report */
	int step;		/* done with it */
} plan[MOVE_STEPS] = {
	{"preflight", MIGRATION_NEW, MIGRATION_COPY, false, STEP_PREPARED},
	{"image", MIGRATION_PREPARE, MIGRATION_COPY, true, STEP_PREPARED},
	{"pre-copy", MIGRATION_COPY, MIGRATION_FREEZE, false, STEP_CONVERGED},
	{"freeze", MIGRATION_FREEZE, MIGRATION_SWITCH, false, STEP_FROZEN},
	{"transfer", MIGRATION_FREEZE, MIGRATION_SWITCH, true, STEP_RECEIVED},
	{"restore", MIGRATION_SWITCH, MIGRATION_MOVED, true, STEP_RESTORED},
	{"switch", MIGRATION_SWITCH, MIGRATION_MOVED, false, STEP_GONE + 1},
};

static const pb_migration_report *report_of(const pb_migration *m, bool target)
{
	static const pb_migration_report nothing = SKEIN__MIGRATION_REPORT__INIT;
	const pb_migration_report *report = target ? m->target : m->source;

	return report ?: &nothing;
}

const char *move_took(int64_t ns, char buf[static STR_HUMAN_MAX])
{
	int64_t unit = ns < 10 * NS_PER_MS ? NS_PER_MS / 100 : ns < NS_PER_SEC ? NS_PER_MS : ns < 60 * NS_PER_SEC ? 10 * NS_PER_MS : NS_PER_SEC;

	return str_duration((ns + unit / 2) / unit * unit, buf);
}

/* ---- steps */

static bool dry_run(const pb_migration *m)
{
	return m->options && m->options->dry_run;
}

/* The furthest that it came, whatever became of it then. */
static int reached(const pb_migration *m)
{
	switch ((int)m->phase) {
	case MIGRATION_MOVED:
		return MIGRATION_MOVED;
	case MIGRATION_CHECKED:
		return MIGRATION_COPY;
	case MIGRATION_ABORT:
	case MIGRATION_RESUME:
	case MIGRATION_REFUSED:
	case MIGRATION_ROLLED_BACK:
	case MIGRATION_LOST:
		return (int)m->reached;
	default:
		return (int)m->phase;
	}
}

static bool has_failed(const pb_migration *m)
{
	return (int)m->phase >= MIGRATION_ABORT && (int)m->phase != MIGRATION_MOVED && (int)m->phase != MIGRATION_CHECKED;
}

static enum move_state state_of(const pb_migration *m, size_t i)
{
	/* An end says "prepared" with a step of its own count: DISCARDED, RESUMED and GONE come behind all others. */
	int step = (int)report_of(m, plan[i].target)->step;
	bool done = reached(m) >= plan[i].phase || (step >= plan[i].step && step < STEP_DISCARDED);

	if (done)
		return MOVE_DONE;
	if (reached(m) < plan[i].begins || (dry_run(m) && plan[i].begins >= MIGRATION_COPY))
		return MOVE_WAITS;
	return has_failed(m) ? MOVE_FAILED : MOVE_RUNS;
}

static void put_round(struct strbuf *out, size_t n, const pb_migration_round *round)
{
	char bytes[STR_HUMAN_MAX], rate[STR_HUMAN_MAX], took[STR_HUMAN_MAX];

	strbuf_printf(out, "round %zu: %s in %s", n, str_bytes_human((int64_t)round->bytes, bytes),
		      move_took(round->took, took));
	if (round->dirty_per_second)
		strbuf_printf(out, ", dirty %s/s", str_bytes_human((int64_t)round->dirty_per_second, rate));
}

static void put_copy(struct strbuf *out, const pb_migration *m)
{
	const pb_migration_report *source = report_of(m, false);
	char sent[STR_HUMAN_MAX], memory[STR_HUMAN_MAX];

	if (source->n_rounds)
		put_round(out, source->n_rounds, source->rounds[source->n_rounds - 1]);
	if (source->bytes_sent)
		strbuf_printf(out, "%s%s sent", out->len ? "; " : "", str_bytes_human((int64_t)source->bytes_sent, sent));
	if (source->bytes_sent && source->memory_bytes)
		strbuf_printf(out, ", memory %s", str_bytes_human((int64_t)source->memory_bytes, memory));
}

static char *detail_of(const pb_migration *m, size_t i, enum move_state state)
{
	const pb_migration_report *report = report_of(m, plan[i].target);
	const pb_migration_report *source = report_of(m, false), *target = report_of(m, true);
	_cleanup_strbuf_ struct strbuf out = {0};
	char took[STR_HUMAN_MAX];
	int64_t ns = 0;

	if (state == MOVE_FAILED)
		return xstrdup(str_empty(m->message) ? report->err : m->message);
	if (plan[i].begins == MIGRATION_COPY && state != MOVE_WAITS)
		put_copy(&out, m);
	else if (state == MOVE_RUNS)
		strbuf_puts(&out, report->doing);
	else if (state == MOVE_DONE && plan[i].step == STEP_FROZEN)
		ns = source->dump;
	else if (state == MOVE_DONE && plan[i].step == STEP_RECEIVED)
		ns = source->transfer;
	else if (state == MOVE_DONE && plan[i].step == STEP_RESTORED)
		ns = target->restore;
	if (ns > 0)
		strbuf_puts(&out, move_took(ns, took));
	return xstrdup(out.p ?: "");
}

/* ---- the model */

static void drop_details(struct move *m)
{
	for (size_t i = 0; i < MOVE_STEPS; i++) {
		free(m->steps[i].detail);
		m->steps[i].detail = NULL;
	}
	free(m->task);
	free(m->from);
	free(m->to);
	free(m->verdicts);
	m->task = m->from = m->to = m->verdicts = NULL;
}

void move_fini(struct move *m)
{
	drop_details(m);
	pb_free(m->migration);
}

static char *node_text(const Skein__MigrationResponse *msg, const char *id)
{
	const char *name = pb_kv_get(msg->node_names, msg->n_node_names, id);

	return xstrdup(name ?: id);
}

static char *verdicts_text(const Skein__MigrationResponse *msg)
{
	_cleanup_strbuf_ struct strbuf out = {0};

	for (size_t i = 0; i < msg->n_nodes; i++)
		if (!msg->nodes[i]->fits)
			strbuf_printf(&out, "\n  %s: %s", msg->nodes[i]->node_name, msg->nodes[i]->reason);
	return xstrdup(out.p ?: "");
}

void move_feed(struct move *m, const Skein__MigrationResponse *msg)
{
	if (!msg->migration || m->over)
		return;
	pb_free(m->migration);
	m->migration = pb_dup(msg->migration);
	drop_details(m);
	m->task = xasprintf("%s.%llu", m->migration->service_name, (unsigned long long)m->migration->slot);
	m->from = node_text(msg, m->migration->source_node);
	m->to = node_text(msg, m->migration->target_node);
	m->verdicts = verdicts_text(msg);
	m->over = pb_migration_ended(m->migration);
	for (size_t i = 0; i < MOVE_STEPS; i++) {
		m->steps[i].name = plan[i].name;
		m->steps[i].state = state_of(m->migration, i);
		m->steps[i].detail = detail_of(m->migration, i, m->steps[i].state);
	}
}

/* ---- drawing */

static const char *state_word(enum move_state state)
{
	static const char *const words[] = {
		[MOVE_WAITS] = "", [MOVE_RUNS] = "...", [MOVE_DONE] = "done", [MOVE_FAILED] = "failed"};

	return words[state];
}

static void put_title(const struct move *m, struct strbuf *out)
{
	strbuf_printf(out, "%s: %s -> %s: %s", m->task, m->from, str_empty(m->to) ? "?" : m->to,
		      pb_migration_phase_name((int)m->migration->phase));
}

static void add_cut(struct strv *lines, const char *text, unsigned width)
{
	_cleanup_strbuf_ struct strbuf cut = {0};

	text_cut(&cut, text, width > 1 ? width - 1 : 1);
	strv_add(lines, cut.p ?: "");
}

void move_screen(const struct move *m, unsigned width, struct strv *lines)
{
	_cleanup_strbuf_ struct strbuf title = {0};

	if (!m->migration)
		return;
	put_title(m, &title);
	add_cut(lines, title.p, width);
	for (size_t i = 0; i < MOVE_STEPS; i++) {
		const struct move_step *step = &m->steps[i];
		_cleanup_strbuf_ struct strbuf line = {0};

		if (dry_run(m->migration) && plan[i].begins >= MIGRATION_COPY)
			break;
		strbuf_printf(&line, "  %-9s  %-6s  %s", step->name, state_word(step->state), step->detail);
		while (line.len > 0 && line.p[line.len - 1] == ' ')
			line.p[--line.len] = '\0';
		add_cut(lines, line.p, width);
	}
}

static void plain_rounds(struct move_plain *last, const struct move *m, struct strbuf *out)
{
	const pb_migration_report *source = report_of(m->migration, false);

	for (; last->rounds < source->n_rounds; last->rounds++) {
		strbuf_printf(out, "%s: pre-copy: ", m->task);
		put_round(out, last->rounds + 1, source->rounds[last->rounds]);
		strbuf_putc(out, '\n');
	}
}

static void plain_step(struct move_plain *last, const struct move *m, size_t i, struct strbuf *out)
{
	const struct move_step *step = &m->steps[i];
	bool copies = plan[i].begins == MIGRATION_COPY, changed = step->state != last->states[i];
	_cleanup_strbuf_ struct strbuf clean = {0};

	last->states[i] = step->state;
	if (changed && step->state == MOVE_RUNS)
		strbuf_printf(out, "%s: %s: begins\n", m->task, step->name);
	if (copies)
		plain_rounds(last, m, out);
	if (!changed || step->state < MOVE_DONE)
		return;
	/* Of the copying each round was told. */
	text_cut(&clean, copies && step->state == MOVE_DONE ? "" : step->detail, TEXT_NO_LIMIT);
	strbuf_printf(out, "%s: %s: %s%s%s\n", m->task, step->name, state_word(step->state), clean.len ? ": " : "",
		      clean.p ?: "");
}

void move_plain(struct move_plain *last, const struct move *m, struct strbuf *out)
{
	if (!m->migration)
		return;
	if (!str_empty(m->to) && !str_eq(m->to, last->to)) {
		strbuf_printf(out, "%s: %s -> %s\n", m->task, m->from, m->to);
		free(last->to);
		last->to = xstrdup(m->to);
	}
	for (size_t i = 0; i < MOVE_STEPS; i++)
		plain_step(last, m, i, out);
}

void move_plain_fini(struct move_plain *last)
{
	free(last->to);
}

/* ---- the end */

static void put_summary(const struct move *m, struct strbuf *out)
{
	const pb_migration_report *source = report_of(m->migration, false), *target = report_of(m->migration, true);
	char downtime[STR_HUMAN_MAX], sent[STR_HUMAN_MAX], memory[STR_HUMAN_MAX], files[STR_HUMAN_MAX];
	char dump[STR_HUMAN_MAX], transfer[STR_HUMAN_MAX], restore[STR_HUMAN_MAX];

	strbuf_printf(out, "%s moved from %s to %s: downtime %s, %s sent in %zu round%s\n", m->task, m->from, m->to,
		      move_took(source->downtime, downtime), str_bytes_human((int64_t)source->bytes_sent, sent),
		      source->n_rounds, source->n_rounds == 1 ? "" : "s");
	strbuf_printf(out, "  dump %s, transfer %s, restore %s; memory %s, files %s\n",
		      move_took(source->dump, dump), move_took(source->transfer, transfer),
		      move_took(target->restore, restore),
		      str_bytes_human((int64_t)source->memory_bytes, memory),
		      str_bytes_human((int64_t)source->file_bytes, files));
}

enum ctl_exit move_conclude(const struct move *m, struct strbuf *out)
{
	const char *why = str_empty(m->migration->message) ? "no reason given" : m->migration->message;

	switch ((int)m->migration->phase) {
	case MIGRATION_MOVED:
		put_summary(m, out);
		return CTL_OK;
	case MIGRATION_CHECKED:
		strbuf_printf(out, "%s can be moved from %s to %s\n", m->task, m->from, m->to);
		return CTL_OK;
	case MIGRATION_REFUSED:
		strbuf_printf(out, "%s was not moved: %s; nothing was touched%s", m->task, why, m->verdicts);
		return CTL_REFUSED;
	case MIGRATION_ROLLED_BACK:
		strbuf_printf(out, "%s was not moved, it runs on %s as before: %s", m->task, m->from, why);
		return CTL_ROLLED_BACK;
	default:
		strbuf_printf(out, "%s is on neither node any more: %s; its slot begins anew", m->task, why);
		return CTL_FAILED;
	}
}

enum ctl_exit move_refusal(const struct error *err)
{
	switch (err->code) {
	case ERR_PRECONDITION:
	case ERR_NOT_FOUND:
	case ERR_INVALID:
		return CTL_REFUSED;
	default:
		return CTL_FAILED;
	}
}
