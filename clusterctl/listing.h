/*
 * listing - what every list prints: a table, ids only, JSON, or a template. Made before the request
 * is sent, so that a bad --format costs nothing.
 */
#pragma once
#include "template.h"
#include "text.h"

#include <stdio.h>

struct error;

struct list_field {
	const char *name;   /* in --format, "ID"; the first field is what -q prints */
	const char *header; /* in the table; NULL: not in it */
};

struct listing {
	const struct list_field *fields; /* ends with {0} */
	size_t n_fields;
	enum {
		LISTING_TABLE,
		LISTING_QUIET,
		LISTING_JSON,
		LISTING_TEMPLATE,
		LISTING_TEMPLATE_TABLE
	} kind;
	struct template template;
	struct table rows; /* one cell per field */
};

/*
 *   format   NULL or "" = table; "table", "json", "table TEMPLATE", TEMPLATE
 *   Errors   ERR_INVALID names the known fields
 */
int listing_init(struct listing *l, const struct list_field *fields, const char *format, bool quiet,
		 struct error *err);
/* The next cell of the row being built; rows follow one another. */
void listing_cell(struct listing *l, const char *text);
void listing_cellf(struct listing *l, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void listing_print(const struct listing *l, FILE *out);
void listing_fini(struct listing *l);
#define _cleanup_listing_ __attribute__((cleanup(listing_fini)))
