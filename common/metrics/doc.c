#include "common/metrics/metrics.h"

#include "common/error.h"

#include <string.h>

static const char *const type_names[] = {
	[METRIC_GAUGE] = "gauge", [METRIC_COUNTER] = "counter", [METRIC_HISTOGRAM] = "histogram", [METRIC_INFO] = "info",
};

static void print_cell(FILE *out, const char *text)
{
	for (; *text; text++)
		fprintf(out, *text == '|' ? "\\%c" : "%c", *text);
}

static void print_family(FILE *out, const struct metric_family *f)
{
	fprintf(out, "| `%s%s` | %s | ", f->name, f->type == METRIC_COUNTER ? "_total" : f->type == METRIC_INFO ? "_info" : "",
		type_names[f->type]);
	print_cell(out, f->help);
	fputs(" | ", out);
	for (const char *p = f->labels; p && *p; p += strcspn(p, ","), p += *p == ',') {
		int len = (int)strcspn(p, ",");

		fprintf(out, "%s`%.*s`", p == f->labels ? "" : ", ", len, p);
	}
	fprintf(out, " | %s |\n", f->series);
}

void metrics_doc(FILE *out, const struct metric_table *const *tables, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		fprintf(out, "%s### %s\n\n| metric | type | meaning | labels | series |\n|---|---|---|---|---|\n", i ? "\n" : "",
			tables[i]->title);
		for (size_t j = 0; j < tables[i]->n; j++)
			print_family(out, &tables[i]->families[j]);
	}
}

/* ---------------------------------------------------------------- checks */

static bool ends_with_word(const char *name, const char *word)
{
	size_t n = strlen(name), w = strlen(word);

	return n > w + 1 && name[n - w - 1] == '_' && strcmp(name + n - w, word) == 0;
}

static bool name_is_valid(const char *name)
{
	return name[0] && strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_") == strlen(name) && (name[0] < '0' || name[0] > '9');
}

int metrics_check(const struct metric_family *f, struct error *err)
{
	static const char *const reserved[] = {"total", "info", "bucket", "sum", "count", "created"};

	if (!f->name || !name_is_valid(f->name))
		return error_set(err, ERR_INVALID, "%s: accepted are lower-case letters, digits and '_'", f->name ? f->name : "(none)");
	for (size_t i = 0; i < sizeof(reserved) / sizeof(*reserved); i++) {
		if (ends_with_word(f->name, reserved[i]))
			return error_set(err, ERR_INVALID, "%s: the encoder adds _%s", f->name, reserved[i]);
	}
	if (f->unit && !ends_with_word(f->name, f->unit))
		return error_set(err, ERR_INVALID, "%s: does not end with its unit, %s", f->name, f->unit);
	if (!f->help || !f->help[0] || strchr(f->help, '\n') || f->help[strlen(f->help) - 1] == '.')
		return error_set(err, ERR_INVALID, "%s: the help is one sentence without a full stop", f->name);
	if (!f->series || !f->series[0])
		return error_set(err, ERR_INVALID, "%s: says not how many series there are", f->name);
	if ((f->type == METRIC_HISTOGRAM) != (f->n_bounds > 0) || f->n_bounds > METRIC_BOUNDS_MAX)
		return error_set(err, ERR_INVALID, "%s: a histogram has 1 to %d bounds, others none", f->name, METRIC_BOUNDS_MAX);
	for (unsigned i = 1; i < f->n_bounds; i++) {
		if (f->bounds[i] <= f->bounds[i - 1])
			return error_set(err, ERR_INVALID, "%s: bounds do not ascend", f->name);
	}
	return 0;
}
