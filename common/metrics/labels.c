#include "common/metrics/metrics.h"

#include "common/mem.h"

#include <ctype.h>
#include <string.h>

#define REPLACEMENT "\xef\xbf\xbd" /* U+FFFD */

/* Length of the UTF-8 sequence at p, 0 when it is none (RFC 3629: no overlong forms, no surrogates). p ends in a NUL. */
static size_t utf8_length(const unsigned char *p)
{
	size_t n = p[0] < 0x80 ? 1 : p[0] >= 0xc2 && p[0] < 0xe0 ? 2 : p[0] >= 0xe0 && p[0] < 0xf0 ? 3 :
		   p[0] >= 0xf0 && p[0] < 0xf5 ? 4 : 0;

	for (size_t i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	}
	if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) || (p[0] == 0xf0 && p[1] < 0x90) ||
	    (p[0] == 0xf4 && p[1] > 0x8f))
		return 0;
	return n;
}

/* At most three bytes for each of the value, and for what is cut nothing. */
static void add_escaped(struct strbuf *out, const char *value)
{
	const unsigned char *p = (const unsigned char *)value;
	const unsigned char *end = p + METRIC_LABEL_VALUE_MAX;

	while (*p) {
		size_t n = utf8_length(p);

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
