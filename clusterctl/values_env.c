/* Environment variables and points in time of values.h. */
#include "values.h"

#include "common/clock.h"
#include "common/error.h"
#include "common/mem.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define SHOWN 200

/* ---------------------------------------------------------------- environment */

static void env_set(size_t *n, char ***list, const char *pair, size_t name_len)
{
	for (size_t i = 0; i < *n; i++) {
		if (strncmp((*list)[i], pair, name_len) == 0 && (*list)[i][name_len] == '=') {
			pb_set_str(&(*list)[i], pair);
			return;
		}
	}
	pb_strs_add(n, list, pair);
}

int value_env(const char *text, char *(*lookup)(const char *name), size_t *n, char ***list,
	      struct error *err)
{
	size_t len = strcspn(text, "=");
	_cleanup_free_ char *found = NULL;

	if (len == 0)
		return error_set(err, ERR_INVALID, "\"%.*s\": expected NAME=VALUE or NAME", SHOWN,
				 text);
	for (size_t i = 0; i < len; i++)
		if (isspace((unsigned char)text[i]) || iscntrl((unsigned char)text[i]))
			return error_set(err, ERR_INVALID,
					 "\"%.*s\": the name of a variable may not hold blanks",
					 SHOWN, text);
	if (!text[len]) {
		const char *value = lookup(text);

		if (!value)
			return 0;
		text = found = xasprintf("%s=%s", text, value);
	}
	env_set(n, list, text, len);
	return 0;
}

int value_env_file(const char *text, char *(*lookup)(const char *name), size_t *n, char ***list,
		   struct error *err)
{
	unsigned number = 0;

	if (str_starts(text, "\xef\xbb\xbf")) /* byte order mark */
		text += 3;
	while (*text) {
		size_t len = strcspn(text, "\n");
		_cleanup_free_ char *line = xstrndup(text, len);
		char *start = line;

		number++;
		text += len + (text[len] == '\n');
		if (len > 0 && line[len - 1] == '\r')
			line[len - 1] = '\0';
		while (*start == ' ' || *start == '\t')
			start++;
		if (!*start || *start == '#')
			continue;
		if (value_env(start, lookup, n, list, err) < 0)
			return error_wrap(err, "line %u", number);
	}
	return 0;
}

/* ---------------------------------------------------------------- time */

/* Digits of a fraction of a second to ns; *end is set behind them. */
static int64_t parse_fraction(const char *p, const char **end)
{
	int64_t ns = 0, unit = NS_PER_SEC / 10;

	for (; isdigit((unsigned char)*p); p++, unit /= 10)
		ns += (*p - '0') * unit;
	*end = p;
	return ns;
}

/* "Z", "+02:00" or nothing (UTC) to seconds; -1 when it is none of them. */
static int parse_zone(const char *p, int *ret_seconds)
{
	int hours, minutes, used = 0;
	char sign;

	*ret_seconds = 0;
	if (!*p || str_eq(p, "Z") || str_eq(p, "z"))
		return 0;
	if (sscanf(p, "%c%2d:%2d%n", &sign, &hours, &minutes, &used) != 3 || p[used] ||
	    (sign != '+' && sign != '-'))
		return -1;
	if (hours < 0 || hours > 23 || minutes < 0 || minutes > 59)
		return -1;
	*ret_seconds = (sign == '+' ? 1 : -1) * (hours * 3600 + minutes * 60);
	return 0;
}

static int parse_rfc3339(const char *text, int64_t *ret_ns)
{
	struct tm tm = {0};
	const char *p = strptime(text, "%Y-%m-%d", &tm);
	int64_t fraction = 0;
	int zone;

	if (!p)
		return -1;
	if (*p == 'T' || *p == 't' || *p == ' ') {
		const char *behind = strptime(p + 1, "%H:%M:%S", &tm);

		if (!behind)
			behind = strptime(p + 1, "%H:%M", &tm);
		if (!behind)
			return -1;
		p = behind;
	}
	if (*p == '.')
		fraction = parse_fraction(p + 1, &p);
	if (parse_zone(p, &zone) < 0 || tm.tm_year < 70 || tm.tm_year > 300)
		return -1;
	*ret_ns = ((int64_t)timegm(&tm) - zone) * NS_PER_SEC + fraction;
	return 0;
}

static int parse_epoch(const char *text, int64_t *ret_ns)
{
	size_t len = strspn(text, "0123456789");
	_cleanup_free_ char *seconds = xstrndup(text, len);
	const char *end = text + len;
	int64_t value, fraction = 0;

	if (*end == '.')
		fraction = parse_fraction(end + 1, &end);
	if (len == 0 || *end || str_parse_i64(seconds, &value, NULL) < 0 ||
	    value > INT64_MAX / NS_PER_SEC - 1)
		return -1;
	*ret_ns = value * NS_PER_SEC + fraction;
	return 0;
}

int value_time(const char *text, int64_t now_ns, int64_t *ret_ns, struct error *err)
{
	int64_t ago;

	if (parse_rfc3339(text, ret_ns) == 0 || parse_epoch(text, ret_ns) == 0)
		return 0;
	if (str_parse_duration(text, &ago, NULL) == 0 && ago >= 0) {
		*ret_ns = MAX(now_ns - ago, 1);
		return 0;
	}
	return error_set(err, ERR_INVALID,
			 "\"%.*s\": expected a time such as 2026-01-31T12:00:00Z, seconds since "
			 "1970, or a duration such as 10m",
			 SHOWN, text);
}
