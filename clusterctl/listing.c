#include "listing.h"

#include "common/error.h"
#include "common/mem.h"

#include <assert.h>
#include <jansson.h>
#include <string.h>
#include <strings.h>

static size_t field_index(const struct listing *l, const char *name)
{
	size_t i = 0;

	while (i < l->n_fields && strcasecmp(l->fields[i].name, name) != 0)
		i++;
	return i;
}

static int check_template(const struct listing *l, struct error *err)
{
	for (size_t i = 0; i < l->template.n; i++) {
		const struct template_part *part = &l->template.parts[i];
		_cleanup_strbuf_ struct strbuf known = {0};

		if (part->kind == TEMPLATE_TEXT || (part->kind == TEMPLATE_JSON && !*part->text))
			continue;
		if (field_index(l, part->text) < l->n_fields)
			continue;
		for (size_t k = 0; k < l->n_fields; k++)
			strbuf_printf(&known, "%s.%s", k ? ", " : "", l->fields[k].name);
		return error_set(err, ERR_INVALID, "unknown field .%.100s: expected one of %s",
				 part->text, known.p);
	}
	return 0;
}

static int parse_format(struct listing *l, const char *format, struct error *err)
{
	if (str_empty(format) || str_eq(format, "table")) {
		l->kind = LISTING_TABLE;
		return 0;
	}
	if (str_eq(format, "json")) {
		l->kind = LISTING_JSON;
		return 0;
	}
	l->kind = str_starts(format, "table ") ? LISTING_TEMPLATE_TABLE : LISTING_TEMPLATE;
	if (l->kind == LISTING_TEMPLATE_TABLE)
		format += strlen("table ");
	else if (!strstr(format, "{{"))
		return error_set(err, ERR_INVALID,
				 "\"%.100s\": expected table, json or a template such as {{.%s}}",
				 format, l->fields[0].name);
	if (template_parse(format, &l->template, err) < 0)
		return -1;
	return check_template(l, err);
}

int listing_init(struct listing *l, const struct list_field *fields, const char *format, bool quiet,
		 struct error *err)
{
	*l = (struct listing){.fields = fields};
	while (fields[l->n_fields].name)
		l->n_fields++;
	l->rows.columns = l->n_fields;
	if (quiet && str_empty(format)) {
		l->kind = LISTING_QUIET;
		return 0;
	}
	if (parse_format(l, format, err) < 0) {
		listing_fini(l);
		return error_wrap(err, "--format");
	}
	return 0;
}

void listing_cell(struct listing *l, const char *text)
{
	table_cell(&l->rows, text);
}

void listing_cellf(struct listing *l, const char *fmt, ...)
{
	struct strbuf text = {0};
	char *formatted = NULL;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&formatted, fmt, ap) < 0)
		abort();
	va_end(ap);
	strbuf_puts(&text, formatted);
	listing_cell(l, text.p);
	strbuf_fini(&text);
	free(formatted);
}

static void print_table(const struct listing *l, FILE *out)
{
	struct table t = {0};

	for (size_t f = 0; f < l->n_fields; f++)
		t.columns += l->fields[f].header != NULL;
	for (size_t f = 0; f < l->n_fields; f++)
		if (l->fields[f].header)
			table_cell(&t, l->fields[f].header);
	for (size_t i = 0; i < l->rows.cells.n; i++)
		if (l->fields[i % l->n_fields].header)
			table_cell(&t, l->rows.cells.v[i]);
	table_print(&t, out);
	table_fini(&t);
}

static void put_json_string(struct strbuf *out, const char *text)
{
	json_t *string = json_string(text);
	char *dump = string ? json_dumps(string, JSON_ENCODE_ANY) : NULL;

	strbuf_puts(out, dump ? dump : "\"\"");
	free(dump);
	json_decref(string);
}

static void put_json_row(const struct listing *l, char *const *row, struct strbuf *out)
{
	strbuf_putc(out, '{');
	for (size_t f = 0; f < l->n_fields; f++) {
		strbuf_puts(out, f ? "," : "");
		put_json_string(out, l->fields[f].name);
		strbuf_putc(out, ':');
		put_json_string(out, row[f]);
	}
	strbuf_putc(out, '}');
}

/* `row` NULL: the headers. */
static char *expand(const struct listing *l, char *const *row)
{
	struct strbuf out = {0};

	for (size_t i = 0; i < l->template.n; i++) {
		const struct template_part *part = &l->template.parts[i];
		size_t field = part->kind == TEMPLATE_TEXT ? 0 : field_index(l, part->text);

		if (part->kind == TEMPLATE_TEXT)
			strbuf_puts(&out, part->text);
		else if (!row)
			strbuf_puts(&out, field < l->n_fields
						  ? l->fields[field].header ?: l->fields[field].name
						  : "");
		else if (field >= l->n_fields)
			put_json_row(l, row, &out);
		else if (part->kind == TEMPLATE_JSON)
			put_json_string(&out, row[field]);
		else
			strbuf_puts(&out, row[field]);
	}
	return strbuf_take(&out);
}

/* Tabs of the template separate the columns. */
static void add_template_row(const struct listing *l, char *const *row, struct table *t)
{
	_cleanup_free_ char *line = expand(l, row);
	char *rest = line;

	for (size_t c = 0; c < t->columns; c++)
		table_cell(t, strsep(&rest, "\t"));
}

static void print_template_table(const struct listing *l, FILE *out)
{
	struct table t = {.columns = 1};

	for (size_t i = 0; i < l->template.n; i++)
		for (const char *p = l->template.parts[i].text;
		     l->template.parts[i].kind == TEMPLATE_TEXT && *p; p++)
			t.columns += *p == '\t';
	add_template_row(l, NULL, &t);
	for (size_t i = 0; i < l->rows.cells.n; i += l->n_fields)
		add_template_row(l, l->rows.cells.v + i, &t);
	table_print(&t, out);
	table_fini(&t);
}

void listing_print(const struct listing *l, FILE *out)
{
	assert(l->rows.cells.n % l->n_fields == 0);
	if (l->kind == LISTING_TABLE) {
		print_table(l, out);
		return;
	}
	if (l->kind == LISTING_TEMPLATE_TABLE) {
		print_template_table(l, out);
		return;
	}
	for (size_t i = 0; i < l->rows.cells.n; i += l->n_fields) {
		char *const *row = l->rows.cells.v + i;
		_cleanup_strbuf_ struct strbuf json = {0};
		_cleanup_free_ char *line = NULL;

		if (l->kind == LISTING_JSON)
			put_json_row(l, row, &json);
		else if (l->kind == LISTING_TEMPLATE)
			line = expand(l, row);
		fprintf(out, "%s\n", l->kind == LISTING_QUIET ? row[0] : line ?: json.p);
	}
}

void listing_fini(struct listing *l)
{
	template_fini(&l->template);
	table_fini(&l->rows);
}
