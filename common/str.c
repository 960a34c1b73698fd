#include "str.h"

#include "error.h"
#include "mem.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#define BYTES_ACCEPTED "accepted is a number with an optional unit, such as 512, 64k, 1.5g or 2GiB"
#define DURATION_ACCEPTED "accepted are numbers with the units ns, us, ms, s, m and h, such as 1h30m or 500ms"
#define CPUS_ACCEPTED "accepted is a number of cores with at most nine decimals, such as 0.5 or 2"

bool str_starts(const char *s, const char *prefix)
{
	return s && strncmp(s, prefix, strlen(prefix)) == 0;
}

bool str_ends(const char *s, const char *suffix)
{
	size_t len = s ? strlen(s) : 0, suffix_len = strlen(suffix);

	return s && len >= suffix_len && memcmp(s + len - suffix_len, suffix, suffix_len) == 0;
}

/* ---- strbuf */

void strbuf_reserve(struct strbuf *b, size_t more)
{
	size_t want = b->len + more + 1;

	if (want <= b->cap)
		return;
	b->cap = MAX(want, b->cap ? b->cap * 2 : 64);
	b->p = xrealloc(b->p, b->cap);
}

void strbuf_add(struct strbuf *b, const char *data, size_t len)
{
	strbuf_reserve(b, len);
	if (len)
		memcpy(b->p + b->len, data, len);
	b->len += len;
	b->p[b->len] = '\0';
}

void strbuf_puts(struct strbuf *b, const char *s)
{
	strbuf_add(b, s, strlen(s));
}

void strbuf_putc(struct strbuf *b, char c)
{
	strbuf_add(b, &c, 1);
}

static void strbuf_vprintf(struct strbuf *b, const char *fmt, va_list ap)
{
	va_list again;
	int len;

	va_copy(again, ap);
	len = vsnprintf(NULL, 0, fmt, ap);
	if (len < 0)
		len = 0;
	strbuf_reserve(b, (size_t)len);
	vsnprintf(b->p + b->len, (size_t)len + 1, fmt, again);
	b->len += (size_t)len;
	va_end(again);
}

void strbuf_printf(struct strbuf *b, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	strbuf_vprintf(b, fmt, ap);
	va_end(ap);
}

void strbuf_fini(struct strbuf *b)
{
	free(b->p);
	*b = (struct strbuf){0};
}

char *strbuf_take(struct strbuf *b)
{
	char *s = b->p ? b->p : xstrdup("");

	*b = (struct strbuf){0};
	return s;
}

/* ---- strv */

static void strv_add_taken(struct strv *v, char *s)
{
	/* Room grows when n + 1 (the NULL) reaches a power of two. */
	if (!v->v || ((v->n + 2) & (v->n + 1)) == 0)
		v->v = xreallocarray(v->v, MAX((v->n + 2) * 2, 4u), sizeof(*v->v));
	v->v[v->n++] = s;
	v->v[v->n] = NULL;
}

void strv_add(struct strv *v, const char *s)
{
	strv_add_taken(v, xstrdup(s ? s : ""));
}

void strv_addf(struct strv *v, const char *fmt, ...)
{
	struct strbuf b = {0};
	va_list ap;

	va_start(ap, fmt);
	strbuf_vprintf(&b, fmt, ap);
	va_end(ap);
	strv_add_taken(v, strbuf_take(&b));
}

void strv_fini(struct strv *v)
{
	for (size_t i = 0; i < v->n; i++)
		free(v->v[i]);
	free(v->v);
	*v = (struct strv){0};
}

bool strv_has(const struct strv *v, const char *s)
{
	for (size_t i = 0; i < v->n; i++) {
		if (str_eq(v->v[i], s))
			return true;
	}
	return false;
}

/* ---- numbers */

/* Digits into *ret, at most INT64_MAX or UINT64_MAX; returns how many were read, -1 on overflow. */
static int read_digits(const char **p, uint64_t max, uint64_t *ret)
{
	uint64_t value = 0;
	int n = 0;

	for (; isdigit((unsigned char)**p); (*p)++) {
		unsigned digit = (unsigned)(**p - '0');

		if (value > (max - digit) / 10)
			return -1;
		value = value * 10 + digit;
		n = 1;
	}
	*ret = value;
	return n;
}

int str_parse_u64(const char *s, uint64_t *ret, struct error *err)
{
	const char *p = s ? s : "";
	uint64_t value;

	if (read_digits(&p, UINT64_MAX, &value) <= 0 || *p)
		return error_set(err, ERR_INVALID,
				 "\"%.64s\" is not a number from 0 to 18446744073709551615",
				 s ? s : "");
	*ret = value;
	return 0;
}

int str_parse_i64(const char *s, int64_t *ret, struct error *err)
{
	const char *p = s ? s : "";
	bool negative = *p == '-';
	uint64_t value;

	if (negative)
		p++;
	if (read_digits(&p, (uint64_t)INT64_MAX + negative, &value) <= 0 || *p)
		return error_set(err, ERR_INVALID,
				 "\"%.64s\" is not a number from -9223372036854775808 to "
				 "9223372036854775807",
				 s ? s : "");
	*ret = negative ? (int64_t)(0 - value) : (int64_t)value;
	return 0;
}

/* "12.345" = whole 12, frac 345, scale 1000. Digits behind the 18th decimal count for nothing. */
struct decimal {
	uint64_t whole, frac, scale;
	int decimals;
};

static int read_decimal(const char **p, struct decimal *ret)
{
	struct decimal d = {.scale = 1};
	int digits = read_digits(p, INT64_MAX, &d.whole);

	if (digits < 0)
		return -1;
	if (**p == '.') {
		for ((*p)++; isdigit((unsigned char)**p); (*p)++) {
			if (d.decimals++ >= 18)
				continue;
			d.frac = d.frac * 10 + (unsigned)(**p - '0');
			d.scale *= 10;
		}
	}
	*ret = d;
	return digits || d.decimals ? 0 : -1;
}

/* The decimal times unit (at most 2^60), cut to an integer; -1 when it is above INT64_MAX. */
static int decimal_times(const struct decimal *d, uint64_t unit, uint64_t *ret)
{
	unsigned __int128 value = (unsigned __int128)d->whole * unit +
				  (unsigned __int128)d->frac * unit / d->scale;

	if (value > INT64_MAX)
		return -1;
	*ret = (uint64_t)value;
	return 0;
}

int str_parse_bytes(const char *s, int64_t *ret_bytes, struct error *err)
{
	static const char units[] = "kmgtp";
	const char *p = s ? s : "", *unit;
	uint64_t factor = 1, value;
	struct decimal d;

	if (read_decimal(&p, &d) < 0)
		goto invalid;
	if (*p == ' ')
		p++;
	if (*p && (unit = strchr(units, tolower((unsigned char)*p)))) {
		factor = UINT64_C(1) << (10 * (unit - units + 1));
		p++;
		if (tolower((unsigned char)*p) == 'i' && tolower((unsigned char)p[1]) == 'b')
			p++;
	}
	if (tolower((unsigned char)*p) == 'b')
		p++;
	if (*p)
		goto invalid;
	if (decimal_times(&d, factor, &value) < 0)
		goto invalid;
	*ret_bytes = (int64_t)value;
	return 0;
invalid:
	return error_set(err, ERR_INVALID, "\"%.64s\" is not a size in bytes: " BYTES_ACCEPTED, s ? s : "");
}

static const struct {
	const char *name;
	uint64_t ns;
} duration_units[] = {
	/* Longer names first: "ms" before "m". */
	{"ns", 1},
	{"us", 1000},
	{"\u00b5s", 1000},
	{"\u03bcs", 1000},
	{"ms", 1000000},
	{"s", 1000000000},
	{"m", UINT64_C(60000000000)},
	{"h", UINT64_C(3600000000000)},
};

static int read_duration_unit(const char **p, uint64_t *ret_ns)
{
	for (size_t i = 0; i < ARRAY_SIZE(duration_units); i++) {
		if (str_starts(*p, duration_units[i].name)) {
			*p += strlen(duration_units[i].name);
			*ret_ns = duration_units[i].ns;
			return 0;
		}
	}
	return -1;
}

int str_parse_duration(const char *s, int64_t *ret_ns, struct error *err)
{
	const char *p = s ? s : "";
	bool negative = *p == '-';
	uint64_t sum = 0, unit, value;
	struct decimal d;

	if (*p == '-' || *p == '+')
		p++;
	if (str_eq(p, "0")) {
		*ret_ns = 0;
		return 0;
	}
	do {
		if (read_decimal(&p, &d) < 0 || read_duration_unit(&p, &unit) < 0 ||
		    decimal_times(&d, unit, &value) < 0 || value > INT64_MAX - sum)
			return error_set(err, ERR_INVALID,
					 "\"%.64s\" is not a duration: " DURATION_ACCEPTED,
					 s ? s : "");
		sum += value;
	} while (*p);
	*ret_ns = negative ? -(int64_t)sum : (int64_t)sum;
	return 0;
}

int str_parse_cpus(const char *s, int64_t *ret_nano, struct error *err)
{
	const char *p = s ? s : "";
	struct decimal d;
	uint64_t value;

	if (read_decimal(&p, &d) < 0 || *p || d.decimals > 9 ||
	    decimal_times(&d, UINT64_C(1000000000), &value) < 0)
		return error_set(err, ERR_INVALID,
				 "\"%.64s\" is not a number of CPUs: " CPUS_ACCEPTED, s ? s : "");
	*ret_nano = (int64_t)value;
	return 0;
}

/* ---- human forms */

const char *str_bytes_human(int64_t bytes, char buf[static STR_HUMAN_MAX])
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
	double value = bytes < 0 ? -(double)bytes : (double)bytes;
	char num[24];
	size_t unit = 0;

	/* 1023.95 would print as 1024.0 of the smaller unit. */
	while (value >= (unit ? 1023.95 : 1023.5) && unit < ARRAY_SIZE(units) - 1) {
		value /= 1024;
		unit++;
	}
	snprintf(num, sizeof(num), "%.1f", value);
	if (str_ends(num, ".0"))
		num[strlen(num) - 2] = '\0';
	snprintf(buf, STR_HUMAN_MAX, "%s%s%s", bytes < 0 ? "-" : "", num, units[unit]);
	return buf;
}

/* value / unit with as many decimals as are needed: 1500000 / 1000000 = "1.5". At most 21 bytes. */
static void format_fraction(uint64_t value, uint64_t unit, char *buf, size_t size)
{
	size_t len = (size_t)snprintf(buf, size, "%llu", (unsigned long long)(value / unit));
	uint64_t rest = value % unit;

	if (rest && len < size)
		buf[len++] = '.';
	for (; rest && len + 1 < size; rest %= unit) {
		unit /= 10;
		buf[len++] = (char)('0' + rest / unit);
	}
	buf[MIN(len, size - 1)] = '\0';
}

const char *str_duration(int64_t ns, char buf[static STR_HUMAN_MAX])
{
	uint64_t value = ns < 0 ? 0 - (uint64_t)ns : (uint64_t)ns;
	uint64_t hours = value / UINT64_C(3600000000000), minutes = value / UINT64_C(60000000000) % 60;
	const char *sign = ns < 0 ? "-" : "";
	char num[STR_HUMAN_MAX / 2 + 4];

	if (value == 0) {
		snprintf(buf, STR_HUMAN_MAX, "0s");
	} else if (value < 1000000000) {
		uint64_t unit = value < 1000 ? 1 : value < 1000000 ? 1000 : 1000000;

		format_fraction(value, unit, num, sizeof(num));
		snprintf(buf, STR_HUMAN_MAX, "%s%s%s", sign, num,
			 unit == 1 ? "ns" : unit == 1000 ? "\u00b5s" : "ms");
	} else {
		int len;

		format_fraction(value % UINT64_C(60000000000), 1000000000, num, sizeof(num));
		if (hours)
			len = snprintf(buf, STR_HUMAN_MAX, "%s%lluh%llum", sign,
				       (unsigned long long)hours, (unsigned long long)minutes);
		else if (minutes)
			len = snprintf(buf, STR_HUMAN_MAX, "%s%llum", sign,
				       (unsigned long long)minutes);
		else
			len = snprintf(buf, STR_HUMAN_MAX, "%s", sign);
		snprintf(buf + len, STR_HUMAN_MAX - (size_t)len, "%.18ss", num);
	}
	return buf;
}

const char *str_duration_human(int64_t ns, char buf[static STR_HUMAN_MAX])
{
	long long seconds = ns / 1000000000, minutes = seconds / 60;
	long long hours = (seconds + 1800) / 3600;

	if (seconds < 1)
		snprintf(buf, STR_HUMAN_MAX, "less than a second");
	else if (seconds < 60)
		snprintf(buf, STR_HUMAN_MAX, "%lld second%s", seconds, seconds == 1 ? "" : "s");
	else if (minutes == 1)
		snprintf(buf, STR_HUMAN_MAX, "about a minute");
	else if (minutes < 60)
		snprintf(buf, STR_HUMAN_MAX, "%lld minutes", minutes);
	else if (hours == 1)
		snprintf(buf, STR_HUMAN_MAX, "about an hour");
	else if (hours < 48)
		snprintf(buf, STR_HUMAN_MAX, "%lld hours", hours);
	else if (hours < 24 * 14)
		snprintf(buf, STR_HUMAN_MAX, "%lld days", hours / 24);
	else if (hours < 24 * 60)
		snprintf(buf, STR_HUMAN_MAX, "%lld weeks", hours / (24 * 7));
	else if (hours < 24 * 365 * 2)
		snprintf(buf, STR_HUMAN_MAX, "%lld months", hours / (24 * 30));
	else
		snprintf(buf, STR_HUMAN_MAX, "%lld years", hours / (24 * 365));
	return buf;
}
