/*
 * metrics - families of metrics as data, and their encoder: Prometheus text format 0.0.4 and OpenMetrics 1.0.
 *
 * A program keeps its families in tables; code, documentation (docs/metrics.md) and tests read the same tables. Writing a
 * sample copies bytes into one growing buffer: no allocation, no printf. Labels of an object (a container, say) are
 * rendered once and used for all its samples. Pure; any thread, one writer at a time.
 *
 *   static const struct metric_family tasks = {"skein_tasks", METRIC_GAUGE, .help = "Tasks by state", .labels = "state",
 *                                              .series = "12"};
 *   metrics_family(w, &tasks);
 *   metrics_u64(w, NULL, "state=\"running\"", n_running);
 */
#pragma once
#include "common/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* ---------------------------------------------------------------- families */

enum metric_type {
	METRIC_GAUGE,
	METRIC_COUNTER,    /* samples are called <name>_total */
	METRIC_HISTOGRAM,  /* <name>_bucket, _sum, _count */
	METRIC_INFO,       /* <name>_info, always 1: what stands in its labels */
};

#define METRIC_BOUNDS_MAX 16

struct metric_family {
	const char *name;      /* [a-z_][a-z0-9_]*; ends with its unit; without _total or _info */
	enum metric_type type;
	const char *unit;      /* "seconds", "bytes", "ratio"; NULL = none */
	const char *help;      /* what it is; no full stop at the end */
	const char *labels;    /* names of its labels, "node,task"; NULL = none. "*": and others (documented in the help) */
	const char *series;    /* how many series there are, "1 per container": the bound of its cardinality */
	const double *bounds;  /* of a histogram: upper bounds, ascending, without +Inf */
	unsigned n_bounds;     /* at most METRIC_BOUNDS_MAX */
};

/* Families that belong together, for the documentation. */
struct metric_table {
	const char *title;     /* "Containers" */
	const struct metric_family *families;
	size_t n;
};

/* ---------------------------------------------------------------- labels */

#define METRIC_LABEL_VALUE_MAX 256 /* bytes of a value that are kept */

/*
 * Append name="value" to rendered labels, with a comma between. Any bytes may be in the value: they are escaped, what is
 * not UTF-8 becomes U+FFFD (one bad label would make Prometheus drop the whole scrape), the rest behind the bound is cut.
 *   name  a valid label name: ours, or made by metrics_label_name()
 */
void metrics_label(struct strbuf *labels, const char *name, const char *value);
/* Make a label's name of a prefix and any text: other characters than [a-zA-Z0-9_] become '_'. Yours. */
char *metrics_label_name(const char *prefix, const char *text);

/* ---------------------------------------------------------------- histograms */

/* Plain data: counts per bucket of the family's bounds, the last one for what is above all. Zero-initialise. */
struct metric_histogram {
	uint64_t counts[METRIC_BOUNDS_MAX + 1];
	double sum;
};
void metric_observe(struct metric_histogram *h, const struct metric_family *family, double value);

/* ---------------------------------------------------------------- writing */

enum metrics_format { METRICS_PROMETHEUS, METRICS_OPENMETRICS, METRICS_FORMATS };

/* What a request's Accept header asks for; NULL gives the text format, as Prometheus has it. Pure. */
enum metrics_format metrics_negotiate(const char *accept);
const char *metrics_content_type(enum metrics_format format);

struct metrics_writer {
	struct strbuf text;
	enum metrics_format format;
	const struct metric_family *family; /* that is being written */
	uint64_t samples;                   /* written so far */
	char name[128];                     /* of its samples */
	size_t name_len;
};

void metrics_begin(struct metrics_writer *w, enum metrics_format format);
void metrics_end(struct metrics_writer *w); /* once, behind the last family */
void metrics_fini(struct metrics_writer *w);

/* Begin a family: each once, all its samples behind it. */
void metrics_family(struct metrics_writer *w, const struct metric_family *family);

/*
 * A sample of the present family.
 *   labels  rendered by metrics_label(); NULL or empty = none
 *   extra   more rendered labels, e.g. "state=\"running\""; NULL = none
 */
void metrics_u64(struct metrics_writer *w, const struct strbuf *labels, const char *extra, uint64_t value);
void metrics_i64(struct metrics_writer *w, const struct strbuf *labels, const char *extra, int64_t value);
/* value / 10^decimals, exactly: microseconds as seconds with 6. decimals at most 9. */
void metrics_scaled(struct metrics_writer *w, const struct strbuf *labels, const char *extra, uint64_t value,
		    unsigned decimals);
void metrics_double(struct metrics_writer *w, const struct strbuf *labels, const char *extra, double value);
void metrics_info(struct metrics_writer *w, const struct strbuf *labels);
void metrics_histogram(struct metrics_writer *w, const struct strbuf *labels, const char *extra,
		       const struct metric_histogram *h);

/* Shorter: a whole family of one sample without labels. */
void metrics_one_u64(struct metrics_writer *w, const struct metric_family *family, uint64_t value);
void metrics_one_double(struct metrics_writer *w, const struct metric_family *family, double value);

/* ---------------------------------------------------------------- documentation, checks */

/* The tables as Markdown: one heading and one table each. */
void metrics_doc(FILE *out, const struct metric_table *const *tables, size_t n);
/* Is a table's family well-formed by Prometheus' rules (names, units, bounds, help)? For tests: -1 with the reason. */
struct error;
int metrics_check(const struct metric_family *family, struct error *err);
