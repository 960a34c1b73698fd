/* Manual pages from the table of verbs: man(7) macros, which every man(1) reads. */
#include "help.h"

#include "ctl.h"

#include "common/error.h"
#include "common/file.h"
#include "common/mem.h"

#include <ctype.h>
#include <string.h>

/* A backslash, a hyphen and a control character at the start of a line mean something to roff. */
static void put_text(FILE *out, const char *s)
{
	bool line_start = true;

	for (; *s; s++) {
		if (line_start && (*s == '.' || *s == '\''))
			fputs("\\&", out);
		if (*s == '\\')
			fputs("\\e", out);
		else if (*s == '-')
			fputs("\\-", out);
		else
			fputc(*s, out);
		line_start = *s == '\n';
	}
	fputc('\n', out);
}

/* Paragraphs are divided by empty lines in `text`. */
static void put_paragraphs(FILE *out, const char *text)
{
	const char *gap;

	while ((gap = strstr(text, "\n\n"))) {
		_cleanup_free_ char *paragraph = xstrndup(text, (size_t)(gap - text));

		put_text(out, paragraph);
		fputs(".PP\n", out);
		text = gap + 2;
	}
	put_text(out, text);
}

static void put_head(FILE *out, const char *page, const char *help)
{
	_cleanup_free_ char *title = xstrdup(page);

	for (char *p = title; *p; p++)
		*p = (char)toupper((unsigned char)*p);
	fprintf(out, ".TH \"%s\" 1 \"\" \"Skein " SKEIN_VERSION "\" \"Skein manual\"\n.SH NAME\n",
		title);
	_cleanup_free_ char *line = xasprintf("%s - %s", page, help);
	put_text(out, line);
}

static void put_example(FILE *out, const char *text)
{
	fputs(".SH EXAMPLE\n.nf\n", out);
	put_text(out, text);
	fputs(".fi\n", out);
}

static void put_exit_status(FILE *out)
{
	fputs(".SH EXIT STATUS\n"
	      ".TP\n0\nSuccess. For create, update and scale: the service runs as asked.\n"
	      ".TP\n1\nThe cluster refused or failed to do it; the reason is on standard error.\n"
	      ".TP\n2\nWrong flags or arguments: nothing was done.\n"
	      ".TP\n3\nOf task migrate: refused, nothing was touched.\n"
	      ".TP\n4\nOf task migrate: rolled back, the task runs where it did.\n"
	      ".TP\n130\nInterrupted. A service goes on converging.\n",
	      out);
}

static void put_list(FILE *out, const char *noun)
{
	for (const struct verb *const *v = verbs_all(); *v; v++) {
		_cleanup_free_ char *command = help_command(*v);

		if (!str_eq((*v)->noun, noun) || !*(*v)->name)
			continue;
		for (char *p = command; *p; p++)
			*p = *p == ' ' ? '-' : *p;
		fputs(".TP\n.BR ", out);
		for (const char *p = command; *p; p++)
			fprintf(out, *p == '-' ? "\\-" : "%c", *p);
		fputs(" (1)\n", out);
		put_text(out, (*v)->help);
	}
}

static void put_fields(FILE *out, const struct verb *verb)
{
	_cleanup_strbuf_ struct strbuf text = {0};

	fputs(".SH FORMAT\n", out);
	strbuf_puts(&text, "Fields of --format:");
	for (const struct list_field *field = verb->fields; field->name; field++)
		strbuf_printf(&text, " .%s", field->name);
	strbuf_puts(&text, ".");
	put_text(out, text.p);
	if (!verb->filters)
		return;
	_cleanup_free_ char *keys = xasprintf("Keys of --filter: %s.", verb->filters);
	for (char *p = keys; *p; p++)
		*p = *p == '|' ? ' ' : *p;
	fputs(".PP\n", out);
	put_text(out, keys);
}

static void page_verb(FILE *out, const struct verb *verb, const char *page)
{
	_cleanup_free_ char *command = help_command(verb);
	_cleanup_free_ char *synopsis = xasprintf("%s %s", command, verb->synopsis);

	put_head(out, page, verb->help);
	fputs(".SH SYNOPSIS\n", out);
	put_text(out, synopsis);
	fputs(".SH DESCRIPTION\n", out);
	put_paragraphs(out, verb->help);
	if (verb->about) {
		fputs(".PP\n", out);
		put_paragraphs(out, verb->about);
	}
	if (verb->aliases) {
		_cleanup_free_ char *aliases = xasprintf("Aliases: %s.", verb->aliases);

		for (char *p = aliases; *p; p++)
			*p = *p == '|' ? ' ' : *p;
		fputs(".PP\n", out);
		put_text(out, aliases);
	}
	fputs(".SH OPTIONS\n", out);
	options_print_man(verb->options, out);
	if (verb->fields)
		put_fields(out, verb);
	put_example(out, verb->example);
	put_exit_status(out);
	fputs(".SH SEE ALSO\n.BR clusterctl (1)\n", out);
}

static void page_noun(FILE *out, const struct noun *noun, const char *page)
{
	_cleanup_free_ char *synopsis = xasprintf("clusterctl %s COMMAND", noun->name);
	const struct verb *alone = verb_find(noun->name, "");

	put_head(out, page, noun->help);
	fputs(".SH SYNOPSIS\n", out);
	put_text(out, synopsis);
	if (alone) {
		_cleanup_free_ char *second =
			xasprintf("clusterctl %s %s", noun->name, alone->synopsis);

		fputs(".br\n", out);
		put_text(out, second);
	}
	fputs(".SH DESCRIPTION\n", out);
	put_paragraphs(out, alone ? alone->about ?: alone->help : noun->help);
	if (alone) {
		fputs(".SH OPTIONS\n", out);
		options_print_man(alone->options, out);
		put_example(out, alone->example);
	}
	fputs(".SH COMMANDS\n", out);
	put_list(out, noun->name);
	fputs(".SH SEE ALSO\n.BR clusterctl (1)\n", out);
}

static void page_program(FILE *out)
{
	put_head(out, "clusterctl", "run services of containers on a cluster of hosts");
	fputs(".SH SYNOPSIS\n", out);
	put_text(out, "clusterctl [GLOBAL OPTIONS] COMMAND");
	fputs(".SH DESCRIPTION\n", out);
	put_paragraphs(out, "clusterctl talks to a manager of the cluster: to the one on this host "
			    "through its socket, "
			    "or with --host to any other over mutual TLS. Commands about this host "
			    "(init, join, leave, image) "
			    "talk to its agent.\n\n"
			    "Objects are named by id, by a unique beginning of an id, or by name.");
	fputs(".SH GLOBAL OPTIONS\n", out);
	options_print_man(global_options, out);
	fputs(".SH COMMANDS\n", out);
	put_list(out, NULL);
	for (const struct noun *noun = nouns; noun->name; noun++)
		put_list(out, noun->name);
	put_exit_status(out);
	put_example(out, "clusterctl init\nclusterctl service create --name web --replicas 3 "
			 "nginx\nclusterctl service ps web");
}

static int write_page(const char *dir, const char *page, const char *text, struct error *err)
{
	_cleanup_free_ char *path = xasprintf("%s/%s.1", dir, page);

	return file_write(path, text, strlen(text), 0644, err);
}

/* One page by its function; the pages differ in what `data` is. */
static int make_page(const char *dir, const char *page, const struct verb *verb,
		     const struct noun *noun, struct error *err)
{
	_cleanup_free_ char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	if (!out)
		return error_set(err, ERR_INTERNAL, "out of memory");
	if (verb)
		page_verb(out, verb, page);
	else if (noun)
		page_noun(out, noun, page);
	else
		page_program(out);
	fclose(out);
	return write_page(dir, page, text, err);
}

int man_write(const char *dir, struct error *err)
{
	if (file_mkdirs(dir, 0755, err) < 0 || make_page(dir, "clusterctl", NULL, NULL, err) < 0)
		return -1;
	for (const struct noun *noun = nouns; noun->name; noun++) {
		_cleanup_free_ char *page = xasprintf("clusterctl-%s", noun->name);

		if (make_page(dir, page, NULL, noun, err) < 0)
			return -1;
	}
	for (const struct verb *const *v = verbs_all(); *v; v++) {
		_cleanup_free_ char *page = help_command(*v);

		for (char *p = page; *p; p++)
			*p = *p == ' ' ? '-' : *p;
		if (*(*v)->name && make_page(dir, page, *v, NULL, err) < 0)
			return -1;
	}
	return 0;
}
