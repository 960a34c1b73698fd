#include "text.h"

#include "common/mem.h"

#include <assert.h>
#include <ctype.h>
#include <locale.h>
#include <string.h>
#include <wchar.h>

#define COLUMN_GAP 3

/* wcwidth() needs a locale that knows UTF-8, whatever the user's environment says. */
static int columns_of(wchar_t c)
{
	static locale_t utf8;
	locale_t before;
	int n;

	if (!utf8)
		utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
	if (!utf8)
		return 1;
	before = uselocale(utf8);
	n = wcwidth(c);
	uselocale(before);
	return n < 0 ? 1 : n;
}

/* Decode one character; returns its bytes (at least 1), *columns = its width. */
static size_t next_char(const char *s, size_t *columns)
{
	unsigned char c = (unsigned char)*s;
	size_t len = c < 0x80 ? 1 : c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : c >= 0xc2 ? 2 : 1;
	wchar_t wide = len == 1 ? c : c & (0x7f >> len);

	*columns = 1;
	if (len == 1)
		return 1;
	for (size_t i = 1; i < len; i++) {
		if (((unsigned char)s[i] & 0xc0) != 0x80)
			return 1;
		wide = (wide << 6) | ((unsigned char)s[i] & 0x3f);
	}
	*columns = (size_t)columns_of(wide);
	return len;
}

size_t text_width(const char *s)
{
	size_t width = 0, columns;

	while (*s) {
		s += next_char(s, &columns);
		width += columns;
	}
	return width;
}

void text_cut(struct strbuf *out, const char *s, size_t max)
{
	bool cut = max != TEXT_NO_LIMIT && text_width(s) > max;
	size_t left = cut ? (max > 0 ? max - 1 : 0) : max;

	while (*s) {
		size_t columns, len = next_char(s, &columns);

		if (columns > left)
			break;
		left -= columns;
		if (len == 1 && iscntrl((unsigned char)*s))
			strbuf_putc(out, ' ');
		else
			strbuf_add(out, s, len);
		s += len;
	}
	if (cut && max > 0)
		strbuf_puts(out, "…");
}

char *text_ago(int64_t at_ns, int64_t now_ns)
{
	char buf[STR_HUMAN_MAX];

	if (at_ns == 0)
		return xstrdup("");
	return xasprintf("%s ago", str_duration_human(MAX(now_ns - at_ns, 0), buf));
}

void table_cell(struct table *t, const char *text)
{
	_cleanup_strbuf_ struct strbuf clean = {0};

	text_cut(&clean, text ? text : "", TEXT_NO_LIMIT);
	strv_add(&t->cells, clean.p ? clean.p : "");
}

static size_t column_width(const struct table *t, size_t column)
{
	size_t width = 0;

	for (size_t i = column; i < t->cells.n; i += t->columns)
		width = MAX(width, text_width(t->cells.v[i]));
	return width;
}

void table_print(const struct table *t, FILE *out)
{
	_cleanup_free_ size_t *widths = xcalloc(t->columns + 1, sizeof(*widths));

	assert(t->cells.n % t->columns == 0);
	for (size_t c = 0; c < t->columns; c++)
		widths[c] = column_width(t, c);
	for (size_t row = 0; row < t->cells.n; row += t->columns) {
		size_t blanks = 0;

		for (size_t c = 0; c < t->columns; c++) {
			const char *cell = t->cells.v[row + c];

			if (*cell)
				fprintf(out, "%*s%s", (int)blanks, "", cell);
			blanks = (*cell ? 0 : blanks) + widths[c] - text_width(cell) + COLUMN_GAP;
		}
		fputc('\n', out);
	}
}

void table_fini(struct table *t)
{
	strv_fini(&t->cells);
}
