/* The texts that options.h makes from a table: --help and man page. */
#include "options.h"

#include "mem.h"

#include <ctype.h>
#include <string.h>

#define COLUMN_MAX 34 /* help starts on its own line when the flag is wider */

static const char *arg_name(const struct option_def *def)
{
	static const char *const names[] = {
		[OPTION_STR] = "TEXT",		[OPTION_U64] = "N",	 [OPTION_I64] = "N",
		[OPTION_BYTES] = "SIZE",	[OPTION_CPUS] = "CORES", [OPTION_FLOAT] = "NUMBER",
		[OPTION_DURATION] = "DURATION", [OPTION_LIST] = "VALUE",
	};

	if (def->kind == OPTION_BOOL)
		return NULL;
	if (def->arg)
		return def->arg;
	return def->kind == OPTION_ENUM ? def->choices : names[def->kind];
}

/* "  -q, --quiet", "      --listen HOST:PORT" */
static void flag_text(const struct option_def *def, struct strbuf *out)
{
	const char *arg = arg_name(def);

	if (def->letter)
		strbuf_printf(out, "  -%c, --%s", def->letter, def->name);
	else
		strbuf_printf(out, "      --%s", def->name);
	if (arg)
		strbuf_printf(out, " %s", arg);
}

static bool shows_default(const struct option_def *def)
{
	return !def->secret && !str_empty(def->def) &&
	       !(def->kind == OPTION_BOOL && str_eq(def->def, "false"));
}

static void help_text(const struct option_def *def, struct strbuf *out)
{
	strbuf_puts(out, def->help ? def->help : "");
	if (def->kind == OPTION_ENUM && def->arg)
		strbuf_printf(out, " (%s)", def->choices);
	if (def->kind == OPTION_LIST)
		strbuf_puts(out, " (may be repeated)");
	if (shows_default(def))
		strbuf_printf(out, " (default %s)", def->def);
	if (def->env)
		strbuf_printf(out, " [$%s]", def->env);
}

/* Words of `text`, wrapped; the cursor stands at `column` already. */
static void put_wrapped(FILE *out, const char *text, unsigned column, unsigned width)
{
	unsigned at = column;

	while (*text) {
		size_t len = strcspn(text, " ");

		if (at > column && at + 1 + len > width) {
			fprintf(out, "\n%*s", (int)column, "");
			at = column;
		} else if (at > column) {
			fputc(' ', out);
			at++;
		}
		fprintf(out, "%.*s", (int)len, text);
		at += (unsigned)len;
		text += len;
		text += strspn(text, " ");
	}
	fputc('\n', out);
}

void options_print_list(const struct option_def *defs, FILE *out, unsigned width)
{
	unsigned column = 0;

	for (const struct option_def *def = defs; def->name; def++) {
		_cleanup_strbuf_ struct strbuf flag = {0};

		flag_text(def, &flag);
		if (!def->hidden && flag.len <= COLUMN_MAX)
			column = MAX(column, (unsigned)flag.len);
	}
	column += 3;
	for (const struct option_def *def = defs; def->name; def++) {
		_cleanup_strbuf_ struct strbuf flag = {0}, help = {0};

		if (def->hidden)
			continue;
		flag_text(def, &flag);
		help_text(def, &help);
		if (flag.len + 3 > column)
			fprintf(out, "%s\n%*s", flag.p, (int)column, "");
		else
			fprintf(out, "%-*s", (int)column, flag.p);
		put_wrapped(out, help.p, column, MAX(width, column + 20));
	}
}

void options_print_help(const struct option_def *defs, FILE *out, unsigned width)
{
	fputs("Options:\n", out);
	options_print_list(defs, out, width);
}

/* roff: a backslash, a hyphen and a control character at the start of a line need care. */
static void put_roff(FILE *out, const char *s)
{
	if (*s == '.' || *s == '\'')
		fputs("\\&", out);
	for (; *s; s++) {
		if (*s == '\\')
			fputs("\\e", out);
		else if (*s == '-')
			fputs("\\-", out);
		else
			fputc(*s, out);
	}
}

void options_print_man(const struct option_def *defs, FILE *out)
{
	for (const struct option_def *def = defs; def->name; def++) {
		_cleanup_strbuf_ struct strbuf help = {0};
		const char *arg = arg_name(def);

		if (def->hidden)
			continue;
		fputs(".TP\n", out);
		if (def->letter)
			fprintf(out, "\\fB\\-%c\\fR, ", def->letter);
		fputs("\\fB\\-\\-", out);
		put_roff(out, def->name);
		fputs("\\fR", out);
		if (arg) {
			fputs(" \\fI", out);
			put_roff(out, arg);
			fputs("\\fR", out);
		}
		fputc('\n', out);
		help_text(def, &help);
		if (help.len > 0)
			help.p[0] = (char)toupper((unsigned char)help.p[0]);
		put_roff(out, help.len > 0 ? help.p : "");
		fputs(".\n", out);
	}
}
