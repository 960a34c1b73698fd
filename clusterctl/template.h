/* template - the part of Go's templates that --format is used for: text, {{.Field}}, {{json .}}.
 * Pure. */
#pragma once
#include "common/str.h"

struct error;

struct template_part {
	enum { TEMPLATE_TEXT, TEMPLATE_FIELD, TEMPLATE_JSON } kind;
	char *text; /* the text, or the path without its first dot: "ID", "Spec.Name", "" for {{.}}
		     */
};

struct template
{
	struct template_part *parts;
	size_t n;
};

/*
 * Parse. "\t" and "\n" stand for tab and newline in text.
 *   Errors  ERR_INVALID: a brace is not closed, or something else than .Field, json . or json
 * .Field
 */
int template_parse(const char *text, struct template *ret, struct error *err);
void template_fini(struct template *t);
#define _cleanup_template_ __attribute__((cleanup(template_fini)))
