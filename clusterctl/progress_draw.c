#include "progress_draw.h"

#include "ps.h"
#include "text.h"

#include "common/clock.h"
#include "common/mem.h"

#include <ctype.h>
#include <string.h>

#define BAR_COLUMNS 50
#define BAR_MIN 10
#define OTHER_LINES 3 /* overall, verify, and where the cursor stands */

static const int steps[] = {TASK_NEW,	    TASK_PENDING, TASK_ASSIGNED, TASK_ACCEPTED,
			    TASK_PREPARING, TASK_READY,	  TASK_STARTING, TASK_RUNNING};

/* "[=====>    ]": `done` of `all` parts. */
static void put_bar(struct strbuf *out, uint64_t done, uint64_t all, unsigned columns)
{
	unsigned filled = all == 0 ? columns : (unsigned)(MIN(done, all) * columns / all);

	strbuf_putc(out, '[');
	for (unsigned i = 0; i < columns; i++)
		strbuf_putc(out, i < filled ? '=' : i == filled ? '>' : ' ');
	if (filled == columns)
		strbuf_putc(out, '>');
	strbuf_puts(out, filled == columns ? "]" : " ]");
}

static char *state_word(const struct progress_slot *slot)
{
	char *word = xstrdup(ps_state_text(slot->state));

	*word = (char)tolower((unsigned char)*word);
	return word;
}

static unsigned bar_columns(unsigned width, size_t used)
{
	unsigned left = width > used + 4 ? width - (unsigned)used - 4 : 0;

	return MIN(MAX(left, BAR_MIN), BAR_COLUMNS);
}

/* "2/3: preparing [====>   ]", or why it does not go on. */
static void slot_line(const struct progress *p, const struct progress_slot *slot,
		      size_t label_width, unsigned width, struct strv *lines)
{
	_cleanup_strbuf_ struct strbuf line = {0}, cut = {0};
	_cleanup_free_ char *word = state_word(slot);
	unsigned step = 0;

	while (step + 1 < ARRAY_SIZE(steps) && steps[step] < slot->state)
		step++;
	strbuf_printf(&line, "%*s%s", (int)(label_width - text_width(slot->label)), "",
		      slot->label);
	if (slot->numbered)
		strbuf_printf(&line, "/%llu", (unsigned long long)p->desired);
	strbuf_puts(&line, ": ");
	if (!slot->running && !slot->completed && *slot->reason) {
		strbuf_printf(&line, "%s: %s", word, slot->reason);
	} else {
		strbuf_printf(&line, "%-9s ", word);
		put_bar(&line, step + (slot->completed ? ARRAY_SIZE(steps) : 1), ARRAY_SIZE(steps),
			bar_columns(width, text_width(line.p)));
	}
	text_cut(&cut, line.p, width > 1 ? width - 1 : 1);
	strv_add(lines, cut.p ?: "");
}

/* One bar for all: of many tasks, or where a line for each does not fit. */
static bool is_summary(const struct progress *p, unsigned height)
{
	return p->desired > PROGRESS_SLOTS_SHOWN || p->n_slots > 2 * PROGRESS_SLOTS_SHOWN ||
	       p->n_slots + OTHER_LINES > height;
}

static void overall_line(const struct progress *p, unsigned width, bool summary, struct strv *lines)
{
	_cleanup_strbuf_ struct strbuf line = {0};

	strbuf_printf(&line, "%s: %llu out of %llu tasks",
		      p->rolling_back ? "rollback" : "overall progress",
		      (unsigned long long)(p->running + p->completed),
		      (unsigned long long)p->desired);
	if (summary) {
		strbuf_putc(&line, ' ');
		put_bar(&line, p->running + p->completed, p->desired,
			bar_columns(width, text_width(line.p)));
	}
	strv_add(lines, line.p);
}

static void verify_line(const struct progress *p, int64_t now, struct strv *lines)
{
	int64_t left =
		p->verify_until > now ? (p->verify_until - now + NS_PER_SEC - 1) / NS_PER_SEC : 0;

	if (p->verdict == PROGRESS_DONE)
		strv_add(lines, "verify: service converged");
	else if (p->verifying)
		strv_addf(lines, "verify: waiting %lld second%s for tasks to be stable",
			  (long long)left, left == 1 ? "" : "s");
}

void progress_screen(const struct progress *p, unsigned width, unsigned height, int64_t now,
		     struct strv *lines)
{
	bool summary = is_summary(p, height);
	size_t label_width = 0;

	overall_line(p, width, summary, lines);
	if (summary) {
		_cleanup_strv_ struct strv reasons = {0};

		progress_reasons(p, &reasons);
		for (size_t i = 0; i < reasons.n && i < 3; i++) {
			_cleanup_strbuf_ struct strbuf cut = {0};

			text_cut(&cut, reasons.v[i], width > 1 ? width - 1 : 1);
			strv_add(lines, cut.p ?: "");
		}
	} else {
		for (size_t i = 0; i < p->n_slots; i++)
			label_width = MAX(label_width, text_width(p->slots[i].label));
		for (size_t i = 0; i < p->n_slots; i++)
			slot_line(p, &p->slots[i], label_width, width, lines);
	}
	verify_line(p, now, lines);
}

/* ---------------------------------------------------------------- plain lines */

void progress_plain(struct progress_plain *last, const struct progress *p, struct strbuf *out)
{
	_cleanup_free_ char *counts = NULL;
	_cleanup_strv_ struct strv reasons = {0};
	char period[STR_HUMAN_MAX];

	if (!p->name)
		return;
	if (p->rolling_back && !last->rolling_back)
		strbuf_printf(out, "%s: rolling back\n", p->name);
	last->rolling_back = p->rolling_back;
	counts =
		p->completed
			? xasprintf("%s: %llu/%llu running, %llu complete", p->name,
				    (unsigned long long)p->running, (unsigned long long)p->desired,
				    (unsigned long long)p->completed)
			: xasprintf("%s: %llu/%llu running", p->name,
				    (unsigned long long)p->running, (unsigned long long)p->desired);
	if (!str_eq(counts, last->counts))
		strbuf_printf(out, "%s\n", counts);
	free(last->counts);
	last->counts = TAKE_PTR(counts);

	progress_reasons(p, &reasons);
	for (size_t i = 0; i < reasons.n; i++) {
		_cleanup_strbuf_ struct strbuf clean = {0};

		text_cut(&clean, reasons.v[i], TEXT_NO_LIMIT);
		if (!strv_has(&last->reasons, clean.p)) {
			strbuf_printf(out, "%s\n", clean.p);
			strv_add(&last->reasons, clean.p);
		}
	}
	if (p->verifying && !last->verifying && p->verdict == PROGRESS_WAIT)
		strbuf_printf(out, "%s: verify: waiting %s for tasks to be stable\n", p->name,
			      str_duration_human(p->hold_ns, period));
	last->verifying = p->verifying;
}

void progress_plain_fini(struct progress_plain *last)
{
	free(last->counts);
	strv_fini(&last->reasons);
}
