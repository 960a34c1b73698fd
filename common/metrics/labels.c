#include "common/metrics/metrics.h"

#include "common/mem.h"
#include "common/utf8.h"

#include <ctype.h>
#include <string.h>

#define REPLACEMENT "\xef\xbf\xbd" /* U+FFFD */

/* At most three bytes for each of the value, and for what is cut nothing. */
static void add_escaped(struct strbuf *out, const char *value)
{
	const unsigned char *p = (const unsigned char *)value;
	const unsigned char *end = p + METRIC_LABEL_VALUE_MAX, *stop = p + strlen(value);
	uint32_t cp;

	while (*p) {
		size_t n = utf8_sequence(p, stop, &cp);

		if (p + MAX(n, 1u) > end)
			break;
		if (n == 0)
			strbuf_puts(out, REPLACEMENT);
		else if (*p == '\\')
			strbuf_puts(out, "\\\\");
		else if (*p == '"')
			strbuf_puts(out, "\\\"");
		else if (*p == '\n')
			strbuf_puts(out, "\\n");
		else
			strbuf_add(out, (const char *)p, n);
		p += MAX(n, 1u);
	}
}

void metrics_label(struct strbuf *labels, const char *name, const char *value)
{
	strbuf_reserve(labels, strlen(name) + METRIC_LABEL_VALUE_MAX);
	if (labels->len)
		strbuf_putc(labels, ',');
	strbuf_puts(labels, name);
	strbuf_puts(labels, "=\"");
	add_escaped(labels, value ? value : "");
	strbuf_putc(labels, '"');
}

char *metrics_label_name(const char *prefix, const char *text)
{
	char *name = xasprintf("%s%s", prefix, text);

	for (char *p = name; *p; p++) {
		if (!isascii((unsigned char)*p) || (!isalnum((unsigned char)*p) && *p != '_') ||
		    (p == name && isdigit((unsigned char)*p)))
			*p = '_';
	}
	return name;
}
