#include "common/metrics/metrics.h"

#include "common/mem.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define NUMBER_MAX 32  /* characters of a number */
#define FRAMING_MAX 16 /* "{", ",", "} ", newline */

/* ---------------------------------------------------------------- numbers */

static char *put_u64(char *p, uint64_t v)
{
	char digits[20];
	int n = 0;

	do
		digits[n++] = (char)('0' + v % 10);
	while ((v /= 10));
	while (n > 0)
		*p++ = digits[--n];
	return p;
}

static char *put_scaled(char *p, uint64_t v, unsigned decimals)
{
	static const uint64_t powers[] = {1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000, 1000000000};
	uint64_t rest;

	assert(decimals < ARRAY_SIZE(powers));
	p = put_u64(p, v / powers[decimals]);
	rest = v % powers[decimals];
	if (rest == 0)
		return p;
	*p++ = '.';
	while (rest > 0) {
		decimals--;
		*p++ = (char)('0' + rest / powers[decimals]);
		rest %= powers[decimals];
	}
	return p;
}

/* The shorter form that still means the same number. */
static char *put_double(char *p, double v)
{
	if (isnan(v))
		return stpcpy(p, "NaN");
	if (isinf(v))
		return stpcpy(p, v > 0 ? "+Inf" : "-Inf");
	snprintf(p, NUMBER_MAX, "%.15g", v);
	if (strtod(p, NULL) != v)
		snprintf(p, NUMBER_MAX, "%.17g", v);
	return p + strlen(p);
}

/* A bucket's bound as OpenMetrics wants it, and the text format takes it: "1.0", "0.005". */
static void bound_text(char buf[static NUMBER_MAX], double bound)
{
	*put_double(buf, bound) = '\0';
	if (!strpbrk(buf, ".eIN"))
		strcat(buf, ".0");
}

/* ---------------------------------------------------------------- lines */

static char *put(char *p, const char *s, size_t len)
{
	if (len) /* else s may be NULL */
		memcpy(p, s, len);
	return p + len;
}

/* Up to where the value goes; room for it is there. */
static char *begin_sample(struct metrics_writer *w, const char *suffix, const struct strbuf *labels, const char *extra)
{
	size_t suffix_len = suffix ? strlen(suffix) : 0, extra_len = extra ? strlen(extra) : 0;
	size_t labels_len = labels ? labels->len : 0;
	char *p;

	strbuf_reserve(&w->text, w->name_len + suffix_len + labels_len + extra_len + NUMBER_MAX + FRAMING_MAX);
	p = put(w->text.p + w->text.len, w->name, w->name_len);
	p = put(p, suffix, suffix_len);
	if (labels_len || extra_len) {
		*p++ = '{';
		p = put(p, labels_len ? labels->p : "", labels_len);
		if (labels_len && extra_len)
			*p++ = ',';
		p = put(p, extra, extra_len);
		*p++ = '}';
	}
	*p++ = ' ';
	w->samples++;
	return p;
}

static void end_sample(struct metrics_writer *w, char *p)
{
	*p++ = '\n';
	*p = '\0';
	w->text.len = (size_t)(p - w->text.p);
}

void metrics_u64(struct metrics_writer *w, const struct strbuf *labels, const char *extra, uint64_t value)
{
	end_sample(w, put_u64(begin_sample(w, NULL, labels, extra), value));
}

void metrics_i64(struct metrics_writer *w, const struct strbuf *labels, const char *extra, int64_t value)
{
	char *p = begin_sample(w, NULL, labels, extra);

	if (value < 0)
		*p++ = '-';
	end_sample(w, put_u64(p, value < 0 ? -(uint64_t)value : (uint64_t)value));
}

void metrics_scaled(struct metrics_writer *w, const struct strbuf *labels, const char *extra, uint64_t value, unsigned decimals)
{
	end_sample(w, put_scaled(begin_sample(w, NULL, labels, extra), value, decimals));
}

void metrics_double(struct metrics_writer *w, const struct strbuf *labels, const char *extra, double value)
{
	end_sample(w, put_double(begin_sample(w, NULL, labels, extra), value));
}

void metrics_info(struct metrics_writer *w, const struct strbuf *labels)
{
	metrics_u64(w, labels, NULL, 1);
}

void metrics_histogram(struct metrics_writer *w, const struct strbuf *labels, const char *extra, const struct metric_histogram *h)
{
	const struct metric_family *f = w->family;
	_cleanup_strbuf_ struct strbuf with_bound = {0};
	char number[NUMBER_MAX];
	uint64_t count = 0;
	size_t len;

	if (labels)
		strbuf_add(&with_bound, labels->p, labels->len);
	if (extra)
		strbuf_printf(&with_bound, "%s%s", with_bound.len ? "," : "", extra);
	strbuf_puts(&with_bound, with_bound.len ? ",le=\"" : "le=\"");
	len = with_bound.len;
	for (unsigned i = 0; i <= f->n_bounds; i++) {
		bound_text(number, i < f->n_bounds ? f->bounds[i] : HUGE_VAL);
		with_bound.len = len;
		strbuf_printf(&with_bound, "%s\"", number);
		count += h->counts[i];
		end_sample(w, put_u64(begin_sample(w, "_bucket", &with_bound, NULL), count));
	}
	end_sample(w, put_double(begin_sample(w, "_sum", labels, extra), h->sum));
	end_sample(w, put_u64(begin_sample(w, "_count", labels, extra), count));
}

void metric_observe(struct metric_histogram *h, const struct metric_family *family, double value)
{
	unsigned i = 0;

	while (i < family->n_bounds && value > family->bounds[i])
		i++;
	h->counts[i]++;
	h->sum += value;
}

/* ---------------------------------------------------------------- families */

static const char *const type_names[] = {
	[METRIC_GAUGE] = "gauge", [METRIC_COUNTER] = "counter", [METRIC_HISTOGRAM] = "histogram", [METRIC_INFO] = "info",
};

void metrics_begin(struct metrics_writer *w, enum metrics_format format)
{
	*w = (struct metrics_writer){.format = format};
}

void metrics_fini(struct metrics_writer *w)
{
	strbuf_fini(&w->text);
}

void metrics_family(struct metrics_writer *w, const struct metric_family *f)
{
	const char *suffix = f->type == METRIC_COUNTER ? "_total" : f->type == METRIC_INFO ? "_info" : "";
	bool open = w->format == METRICS_OPENMETRICS;
	const char *name = open ? f->name : w->name;
	int n = snprintf(w->name, sizeof(w->name), "%s%s", f->name, suffix);

	assert(n > 0 && (size_t)n < sizeof(w->name));
	w->name_len = (size_t)n;
	w->family = f;
	/* OpenMetrics names the family without its samples' suffix, and knows units and info. */
	strbuf_printf(&w->text, "# HELP %s %s.\n# TYPE %s %s\n", name, f->help, name,
		      f->type == METRIC_INFO && !open ? "gauge" : type_names[f->type]);
	if (open && f->unit)
		strbuf_printf(&w->text, "# UNIT %s %s\n", name, f->unit);
}

void metrics_end(struct metrics_writer *w)
{
	if (w->format == METRICS_OPENMETRICS)
		strbuf_puts(&w->text, "# EOF\n");
	w->family = NULL;
}

void metrics_one_u64(struct metrics_writer *w, const struct metric_family *family, uint64_t value)
{
	metrics_family(w, family);
	metrics_u64(w, NULL, NULL, value);
}

void metrics_one_double(struct metrics_writer *w, const struct metric_family *family, double value)
{
	metrics_family(w, family);
	metrics_double(w, NULL, NULL, value);
}

/* ---------------------------------------------------------------- negotiation */

/* Prometheus names OpenMetrics first when it takes it; everybody else gets the older text. */
enum metrics_format metrics_negotiate(const char *accept)
{
	const char *at = accept ? strcasestr(accept, "application/openmetrics-text") : NULL;
	size_t len = at ? strcspn(at, ",") : 0;
	const char *q;

	if (!at)
		return METRICS_PROMETHEUS;
	q = memmem(at, len, "q=", 2);
	return q && strtod(q + 2, NULL) <= 0 ? METRICS_PROMETHEUS : METRICS_OPENMETRICS;
}

const char *metrics_content_type(enum metrics_format format)
{
	return format == METRICS_OPENMETRICS ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
					     : "text/plain; version=0.0.4; charset=utf-8";
}
