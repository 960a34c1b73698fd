#include "options.h"

#include "error.h"
#include "file.h"
#include "mem.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

#define FILE_MAX_BYTES (1u << 20)
#define VALUE_SHOWN 200
#define MAX_OPTIONS (sizeof(((struct option_seen *)0)->bits) * 8)

/* ---------------------------------------------------------------- which options were given */

static bool seen_get(const struct option_seen *seen, size_t i)
{
	return seen->bits[i / 64] >> (i % 64) & 1;
}

static void seen_set(struct option_seen *seen, size_t i)
{
	seen->bits[i / 64] |= UINT64_C(1) << (i % 64);
}

static const struct option_def *find_name(const struct option_def *defs, const char *name,
					  size_t len)
{
	for (; defs->name; defs++)
		if (strncmp(defs->name, name, len) == 0 && !defs->name[len])
			return defs;
	return NULL;
}

bool option_was_seen(const struct option_def *defs, const struct option_seen *seen,
		     const char *name)
{
	const struct option_def *def = find_name(defs, name, strlen(name));

	assert(def);
	return seen_get(seen, (size_t)(def - defs));
}

/* ---------------------------------------------------------------- values */

static bool is_signed(enum option_kind kind)
{
	return kind == OPTION_I64 || kind == OPTION_BYTES || kind == OPTION_DURATION ||
	       kind == OPTION_CPUS;
}

/* A bound of `def` in the form in which a user types such a value. */
static const char *bound_text(const struct option_def *def, uint64_t bound,
			      char buf[static STR_HUMAN_MAX])
{
	switch (def->kind) {
	case OPTION_BYTES:
		return str_bytes_human((int64_t)bound, buf);
	case OPTION_DURATION:
		return str_duration((int64_t)bound, buf);
	case OPTION_CPUS:
		snprintf(buf, STR_HUMAN_MAX, "%.10g", (double)bound / 1e9);
		return buf;
	case OPTION_I64:
		snprintf(buf, STR_HUMAN_MAX, "%" PRId64, (int64_t)bound);
		return buf;
	default:
		snprintf(buf, STR_HUMAN_MAX, "%" PRIu64, bound);
		return buf;
	}
}

static void accepted_choices(const char *choices, struct strbuf *out)
{
	strbuf_puts(out, "one of ");
	for (const char *p = choices; *p; p++) {
		if (*p == '|')
			strbuf_puts(out, ", ");
		else
			strbuf_putc(out, *p);
	}
}

/* What an option accepts, in words: the end of every message about a bad value. */
static void accepted(const struct option_def *def, struct strbuf *out)
{
	static const char *const words[] = {
		[OPTION_BOOL] = "true or false",
		[OPTION_STR] = "text",
		[OPTION_U64] = "a whole number",
		[OPTION_I64] = "a whole number",
		[OPTION_BYTES] = "a size such as 512m, 1.5g or 4096",
		[OPTION_DURATION] = "a duration such as 10s, 500ms or 1h30m",
		[OPTION_CPUS] = "a number of cores such as 0.5 or 2",
		[OPTION_FLOAT] = "a number such as 0.1",
		[OPTION_LIST] = "text",
	};
	char min[STR_HUMAN_MAX], max[STR_HUMAN_MAX];

	if (def->kind == OPTION_ENUM) {
		accepted_choices(def->choices, out);
		return;
	}
	strbuf_puts(out, words[def->kind]);
	if (def->max > 0)
		strbuf_printf(out, " from %s to %s", bound_text(def, def->min, min),
			      bound_text(def, def->max, max));
}

static bool in_range(const struct option_def *def, int64_t value)
{
	if (def->max > 0)
		return value >= (int64_t)def->min && value <= (int64_t)def->max;
	return def->kind == OPTION_I64 || value >= 0;
}

static int parse_signed(const struct option_def *def, const char *text, int64_t *ret)
{
	int64_t value;
	int r;

	switch (def->kind) {
	case OPTION_BYTES:
		r = str_parse_bytes(text, &value, NULL);
		break;
	case OPTION_DURATION:
		r = str_parse_duration(text, &value, NULL);
		break;
	case OPTION_CPUS:
		r = str_parse_cpus(text, &value, NULL);
		break;
	default:
		r = str_parse_i64(text, &value, NULL);
		break;
	}
	if (r < 0 || !in_range(def, value))
		return -1;
	*ret = value;
	return 0;
}

static int parse_u64(const struct option_def *def, const char *text, uint64_t *ret)
{
	uint64_t value;

	if (str_parse_u64(text, &value, NULL) < 0)
		return -1;
	if (def->max > 0 && (value < def->min || value > def->max))
		return -1;
	*ret = value;
	return 0;
}

static int parse_float(const struct option_def *def, const char *text, double *ret)
{
	double value;
	char *end;

	/* strtod() also takes leading blanks, hexadecimal, "inf" and "nan": nobody means those */
	if (!text[strspn(text, "0123456789.eE+-")] && *text) {
		errno = 0;
		value = strtod(text, &end);
		if (*end || errno || !isfinite(value))
			return -1;
		if (def->max > 0 && (value < (double)def->min || value > (double)def->max))
			return -1;
		*ret = value;
		return 0;
	}
	return -1;
}

static int parse_bool(const char *text, bool *ret)
{
	if (str_eq(text, "true") || str_eq(text, "1") || str_eq(text, "yes"))
		*ret = true;
	else if (str_eq(text, "false") || str_eq(text, "0") || str_eq(text, "no"))
		*ret = false;
	else
		return -1;
	return 0;
}

static bool is_choice(const char *choices, const char *text)
{
	size_t len = strlen(text);

	for (const char *p = choices; len > 0 && p && !strchr(text, '|'); p = strchr(p, '|')) {
		p += *p == '|';
		if (strncmp(p, text, len) == 0 && (p[len] == '|' || !p[len]))
			return true;
	}
	return false;
}

static void replace_str(char **field, const char *text)
{
	char *copy = xstrdup(text);

	free(*field);
	*field = copy;
}

/* Parse `text` into the field of `def`; -1 when it is not acceptable (field unchanged). */
static int set_value(const struct option_def *def, void *values, const char *text, bool append)
{
	void *field = (char *)values + def->offset;

	if (is_signed(def->kind))
		return parse_signed(def, text, field);
	switch (def->kind) {
	case OPTION_BOOL:
		return parse_bool(text, field);
	case OPTION_U64:
		return parse_u64(def, text, field);
	case OPTION_FLOAT:
		return parse_float(def, text, field);
	case OPTION_ENUM:
		if (!is_choice(def->choices, text))
			return -1;
		replace_str(field, text);
		return 0;
	case OPTION_LIST:
		if (!append && def->def)
			strv_fini(field);
		strv_add(field, text);
		return 0;
	default:
		replace_str(field, text);
		return 0;
	}
}

/* `prefix` is "--" for flags, "" for keys of a file. */
static int bad_value(const struct option_def *def, const char *prefix, const char *text,
		     struct error *err)
{
	_cleanup_strbuf_ struct strbuf want = {0};

	accepted(def, &want);
	return error_set(err, ERR_INVALID, "%s%s: invalid value \"%.*s\": expected %s", prefix,
			 def->name, VALUE_SHOWN, def->secret ? "(hidden)" : text, want.p);
}

void options_defaults(const struct option_def *defs, void *values)
{
	size_t n = 0;

	for (const struct option_def *def = defs; def->name; def++, n++) {
		assert(n < MAX_OPTIONS);
		assert(def->kind != OPTION_ENUM || def->choices);
		if (def->def) {
			int r = set_value(def, values, def->def, true);

			assert(r == 0);
			(void)r;
		}
	}
}

void options_fini(const struct option_def *defs, void *values)
{
	for (const struct option_def *def = defs; def->name; def++) {
		void *field = (char *)values + def->offset;

		if (def->kind == OPTION_LIST) {
			strv_fini(field);
		} else if (def->kind == OPTION_STR || def->kind == OPTION_ENUM) {
			char **s = field;

			if (*s && def->secret)
				mem_wipe(*s, strlen(*s));
			free(*s);
			*s = NULL;
		}
	}
}

/* ---------------------------------------------------------------- arguments */

#define NAME_COMPARED 40

/* Levenshtein distance of two short names. */
static unsigned distance(const char *a, size_t a_len, const char *b, size_t b_len)
{
	unsigned row[NAME_COMPARED + 1];

	for (size_t j = 0; j <= b_len; j++)
		row[j] = (unsigned)j;
	for (size_t i = 1; i <= a_len; i++) {
		unsigned diagonal = row[0];

		row[0] = (unsigned)i;
		for (size_t j = 1; j <= b_len; j++) {
			unsigned change = diagonal + (a[i - 1] != b[j - 1]);

			diagonal = row[j];
			row[j] = MIN(change, MIN(row[j], row[j - 1]) + 1);
		}
	}
	return row[b_len];
}

static const struct option_def *nearest(const struct option_def *defs, const char *name, size_t len)
{
	const struct option_def *best = NULL;
	unsigned best_distance = len < 5 ? 2 : len < 8 ? 3 : 4;

	if (len > NAME_COMPARED)
		return NULL;
	for (; defs->name; defs++) {
		size_t def_len = strlen(defs->name);
		unsigned d;

		if (defs->hidden || def_len > NAME_COMPARED)
			continue;
		d = distance(name, len, defs->name, def_len);
		if (d < best_distance) {
			best = defs;
			best_distance = d;
		}
	}
	return best;
}

static int unknown(const struct option_def *defs, const char *prefix, const char *name, size_t len,
		   struct error *err)
{
	const struct option_def *near = nearest(defs, name, len);
	const char *what = *prefix ? "flag" : "key";
	int shown = (int)MIN(len, VALUE_SHOWN);

	if (near)
		return error_set(err, ERR_INVALID, "unknown %s %s%.*s: did you mean %s%s?", what,
				 prefix, shown, name, prefix, near->name);
	return error_set(err, ERR_INVALID, "unknown %s %s%.*s", what, prefix, shown, name);
}

struct parse {
	const struct option_def *defs;
	void *values;
	int argc;
	char **argv;
	int next; /* index of the next argument */
	struct option_seen *seen;
	struct error *err;
};

static int assign(struct parse *p, const struct option_def *def, const char *text)
{
	size_t i = (size_t)(def - p->defs);

	if (set_value(def, p->values, text, seen_get(p->seen, i)) < 0)
		return bad_value(def, "--", text, p->err);
	seen_set(p->seen, i);
	return 0;
}

/* The value of a flag that needs one: behind "=" or the next argument. */
static int assign_needed(struct parse *p, const struct option_def *def, const char *inline_value)
{
	if (inline_value)
		return assign(p, def, inline_value);
	if (p->next >= p->argc) {
		_cleanup_strbuf_ struct strbuf want = {0};

		accepted(def, &want);
		return error_set(p->err, ERR_INVALID, "--%s needs a value: %s", def->name, want.p);
	}
	return assign(p, def, p->argv[p->next++]);
}

static int parse_long(struct parse *p, const char *arg)
{
	const char *equals = strchr(arg, '=');
	size_t len = equals ? (size_t)(equals - arg) : strlen(arg);
	const struct option_def *def = find_name(p->defs, arg, len);

	if (!def && len > 3 && strncmp(arg, "no-", 3) == 0) {
		def = find_name(p->defs, arg + 3, len - 3);
		if (def && def->kind == OPTION_BOOL && !equals)
			return assign(p, def, "false");
		def = NULL;
	}
	if (!def)
		return unknown(p->defs, "--", arg, len, p->err);
	if (def->kind == OPTION_BOOL)
		return assign(p, def, equals ? equals + 1 : "true");
	return assign_needed(p, def, equals ? equals + 1 : NULL);
}

/* "-q", "-qd" (booleans together), "-n5", "-n=5", "-n 5" */
static int parse_short(struct parse *p, const char *arg)
{
	for (; *arg; arg++) {
		const struct option_def *def = p->defs;

		while (def->name && def->letter != *arg)
			def++;
		if (!def->name)
			return error_set(p->err, ERR_INVALID, "unknown flag -%c",
					 isprint((unsigned char)*arg) ? *arg : '?');
		if (def->kind != OPTION_BOOL)
			return assign_needed(p, def,
					     !arg[1]	     ? NULL
					     : arg[1] == '=' ? arg + 2
							     : arg + 1);
		if (arg[1] == '=')
			return assign(p, def, arg + 2);
		if (assign(p, def, "true") < 0)
			return -1;
	}
	return 0;
}

static int apply_env(struct parse *p)
{
	for (const struct option_def *def = p->defs; def->name; def++) {
		const char *text = def->env ? getenv(def->env) : NULL;
		size_t i = (size_t)(def - p->defs);

		if (str_empty(text) || seen_get(p->seen, i))
			continue;
		if (set_value(def, p->values, text, false) < 0) {
			bad_value(def, "--", text, p->err);
			return error_wrap(p->err, "environment variable %s", def->env);
		}
		seen_set(p->seen, i);
	}
	return 0;
}

int options_parse_args(const struct option_def *defs, void *values, int argc, char **argv,
		       bool stop_at_first_arg, struct strv *ret_args, struct option_seen *seen,
		       struct error *err)
{
	struct option_seen own = {0};
	struct parse p = {.defs = defs,
			  .values = values,
			  .argc = argc,
			  .argv = argv,
			  .seen = seen ? seen : &own,
			  .err = err};
	bool only_args = false;

	while (p.next < argc) {
		const char *arg = argv[p.next++];

		if (only_args || arg[0] != '-' || !arg[1]) {
			strv_add(ret_args, arg);
			only_args = only_args || stop_at_first_arg;
		} else if (str_eq(arg, "--")) {
			only_args = true;
		} else if (arg[1] == '-') {
			if (parse_long(&p, arg + 2) < 0)
				return -1;
		} else if (parse_short(&p, arg + 1) < 0) {
			return -1;
		}
	}
	return apply_env(&p);
}

/* ---------------------------------------------------------------- files */

static char *trim(char *s)
{
	char *end;

	while (isspace((unsigned char)*s))
		s++;
	end = s + strlen(s);
	while (end > s && isspace((unsigned char)end[-1]))
		end--;
	*end = '\0';
	return s;
}

static int parse_line(const struct option_def *defs, void *values, char *line,
		      const struct option_seen *before, struct option_seen *seen, struct error *err)
{
	const struct option_def *def;
	char *equals, *key, *text;
	size_t i;

	line = trim(line);
	if (!*line || *line == '#')
		return 0;
	equals = strchr(line, '=');
	if (!equals)
		return error_set(err, ERR_INVALID, "\"%.*s\": expected key = value", VALUE_SHOWN,
				 line);
	*equals = '\0';
	key = trim(line);
	text = trim(equals + 1);

	def = find_name(defs, key, strlen(key));
	if (!def)
		return unknown(defs, "", key, strlen(key), err);
	i = (size_t)(def - defs);
	if (seen_get(before, i))
		return 0;
	if (seen_get(seen, i) && def->kind != OPTION_LIST)
		return error_set(err, ERR_INVALID, "%s is given twice", def->name);
	if (set_value(def, values, text, seen_get(seen, i)) < 0)
		return bad_value(def, "", text, err);
	seen_set(seen, i);
	return 0;
}

int options_parse_text(const struct option_def *defs, void *values, const char *name,
		       const char *text, struct option_seen *seen, struct error *err)
{
	struct option_seen own = {0};
	struct option_seen before;
	unsigned number = 0;

	if (!seen)
		seen = &own;
	before = *seen;
	while (*text) {
		size_t len = strcspn(text, "\n");
		_cleanup_free_ char *line = xstrndup(text, len);

		number++;
		if (parse_line(defs, values, line, &before, seen, err) < 0)
			return error_wrap(err, "%s:%u", name, number);
		text += len + (text[len] == '\n');
	}
	return 0;
}

int options_parse_file(const struct option_def *defs, void *values, const char *path,
		       struct option_seen *seen, struct error *err)
{
	_cleanup_free_ char *text = NULL;
	size_t len;

	if (file_read(path, FILE_MAX_BYTES, &text, &len, err) < 0)
		return -1;
	if (memchr(text, '\0', len))
		return error_set(err, ERR_INVALID,
				 "%s: a configuration file may not hold NUL bytes", path);
	return options_parse_text(defs, values, path, text, seen, err);
}
