#include "help.h"

#include "ctl.h"

#include "common/mem.h"

#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define WIDTH_DEFAULT 80
#define WIDTH_MIN 60
#define WIDTH_MAX 120

static unsigned help_width(FILE *out)
{
	struct winsize size;

	if (ioctl(fileno(out), TIOCGWINSZ, &size) < 0 || size.ws_col == 0)
		return WIDTH_DEFAULT;
	return MIN(MAX(size.ws_col, WIDTH_MIN), WIDTH_MAX);
}

char *help_command(const struct verb *verb)
{
	return xasprintf("clusterctl%s%s%s%s", verb->noun ? " " : "", verb->noun ?: "",
			 *verb->name ? " " : "", verb->name);
}

/* Indented lines of a text that has newlines of its own. */
static void put_lines(FILE *out, const char *text, const char *indent)
{
	while (*text) {
		size_t len = strcspn(text, "\n");

		fprintf(out, "%s%.*s\n", len ? indent : "", (int)len, text);
		text += len + (text[len] == '\n');
	}
}

static void put_verbs(FILE *out, const char *noun)
{
	size_t width = 0;

	for (const struct verb *const *v = verbs_all(); *v; v++)
		if (str_eq((*v)->noun, noun) && *(*v)->name)
			width = MAX(width, strlen((*v)->name));
	for (const struct verb *const *v = verbs_all(); *v; v++)
		if (str_eq((*v)->noun, noun) && *(*v)->name)
			fprintf(out, "  %-*s   %s\n", (int)width, (*v)->name, (*v)->help);
}

static void put_exit_status(FILE *out)
{
	fputs("\nExit status:\n"
	      "  0     success; for create, update and scale: the service runs as asked\n"
	      "  1     the cluster refused or failed to do it\n"
	      "  2     wrong flags or arguments: nothing was done\n"
	      "  3     task migrate: refused, nothing was touched\n"
	      "  4     task migrate: rolled back, the task runs where it did\n"
	      "  130   interrupted; a service goes on converging\n",
	      out);
}

void help_program(FILE *out)
{
	fputs("Usage: clusterctl [GLOBAL OPTIONS] COMMAND\n\n"
	      "Runs services of containers on a cluster of hosts.\n\n"
	      "Cluster:\n",
	      out);
	put_verbs(out, NULL);
	fputs("\nObjects:\n", out);
	for (const struct noun *noun = nouns; noun->name; noun++)
		fprintf(out, "  %-10s   %s\n", noun->name, noun->help);
	fputs("\nGlobal options (before the command):\n", out);
	options_print_list(global_options, out, help_width(out));
	put_exit_status(out);
	fputs("\nExample:\n"
	      "  clusterctl init\n"
	      "  clusterctl service create --name web --replicas 3 nginx\n"
	      "\n'clusterctl COMMAND --help' says more about a command.\n",
	      out);
}

void help_noun(const struct noun *noun, FILE *out)
{
	const struct verb *alone = verb_find(noun->name, "");

	fprintf(out, "Usage: clusterctl %s COMMAND\n", noun->name);
	if (alone)
		fprintf(out, "       clusterctl %s %s\n", noun->name, alone->synopsis);
	fprintf(out, "\n%s\n\nCommands:\n", noun->help);
	put_verbs(out, noun->name);
	if (alone) {
		fprintf(out, "\n%s\n\nOptions:\n", alone->about ?: alone->help);
		options_print_list(alone->options, out, help_width(out));
	}
	fputs("\nExample:\n", out);
	for (const struct verb *const *v = verbs_all(); *v; v++)
		if (str_eq((*v)->noun, noun->name))
			fprintf(out, "  %.*s\n", (int)strcspn((*v)->example, "\n"), (*v)->example);
	fprintf(out, "\n'clusterctl %s COMMAND --help' says more about a command.\n", noun->name);
}

static void put_fields(const struct verb *verb, FILE *out)
{
	fputs("\nFields of --format:", out);
	for (const struct list_field *field = verb->fields; field->name; field++)
		fprintf(out, " .%s", field->name);
	fputc('\n', out);
	if (!verb->filters)
		return;
	fputs("Keys of --filter:", out);
	for (const char *p = verb->filters; *p;) {
		size_t len = strcspn(p, "|");

		fprintf(out, " %.*s", (int)len, p);
		p += len + (p[len] == '|');
	}
	fputs(" (the same key twice: or; different keys: and)\n", out);
}

void help_verb(const struct verb *verb, FILE *out)
{
	_cleanup_free_ char *command = help_command(verb);

	fprintf(out, "Usage: %s %s\n\n%s\n", command, verb->synopsis, verb->help);
	if (verb->about)
		fprintf(out, "\n%s\n", verb->about);
	if (verb->aliases) {
		fputs("\nAliases:", out);
		for (const char *p = verb->aliases; *p;) {
			size_t len = strcspn(p, "|");

			fprintf(out, " %.*s", (int)len, p);
			p += len + (p[len] == '|');
		}
		fputc('\n', out);
	}
	fputc('\n', out);
	options_print_help(verb->options, out, help_width(out));
	if (verb->fields)
		put_fields(verb, out);
	fputs("\nExample:\n", out);
	put_lines(out, verb->example, "  ");
	put_exit_status(out);
}

/* ---------------------------------------------------------------- mistyped words */

/* Letters in common at both ends: enough to find "sevice" and "list-nodes". */
static unsigned likeness(const char *a, const char *b)
{
	size_t a_len = strlen(a), b_len = strlen(b), front = 0, back = 0;
	size_t max = MIN(a_len, b_len);

	while (front < max && a[front] == b[front])
		front++;
	while (back < max - front && a[a_len - 1 - back] == b[b_len - 1 - back])
		back++;
	return (unsigned)(front + back);
}

const char *help_nearest(const char *noun, const char *word)
{
	const char *best = NULL;
	unsigned best_likeness = (unsigned)strlen(word) / 2 + 1;

	for (const struct verb *const *v = verbs_all(); *v; v++) {
		unsigned like = likeness(word, (*v)->name);

		if (str_eq((*v)->noun, noun) && like >= best_likeness) {
			best = (*v)->name;
			best_likeness = like + 1;
		}
	}
	for (const struct noun *n = nouns; !noun && n->name; n++) {
		unsigned like = likeness(word, n->name);

		if (like >= best_likeness) {
			best = n->name;
			best_likeness = like + 1;
		}
	}
	return best;
}
