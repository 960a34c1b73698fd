/* text - columns of UTF-8 text on a terminal. Pure. */
#pragma once
#include "common/str.h"

#include <stdio.h>

/* Columns that a text takes: wide characters count two, combining ones none, bad bytes one each. */
size_t text_width(const char *s);

/* At most `max` columns, the last one an ellipsis when something was cut off. Control characters
 * become spaces: a value from the network must not move the cursor. */
void text_cut(struct strbuf *out, const char *s, size_t max);
#define TEXT_NO_LIMIT ((size_t)-1)

#define TEXT_ID_SHOWN 12

/* "2 hours ago", "Less than a second ago" for a moment; "" when at is 0. */
char *text_ago(int64_t at_ns, int64_t now_ns);

/* A growing table: the same number of cells in every row. Zero-initialise, set `columns`. */
struct table {
	size_t columns;
	struct strv cells;
};
void table_cell(struct table *t, const char *text);
/* Columns aligned, three spaces apart, no trailing blanks. */
void table_print(const struct table *t, FILE *out);
void table_fini(struct table *t);
