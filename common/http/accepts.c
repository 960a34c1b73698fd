#include "common/http/http.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char *skip_spaces(const char *p)
{
	return p + strspn(p, " \t");
}

/* ";q=0.5" among the parameters up to `end`; 1 without one. */
static double quality(const char *p, const char *end)
{
	while ((p = memchr(p, ';', (size_t)(end - p)))) {
		p = skip_spaces(p + 1);
		if (p < end && (*p == 'q' || *p == 'Q')) {
			p = skip_spaces(p + 1);
			if (p < end && *p == '=')
				return strtod(p + 1, NULL);
		}
		if (p >= end)
			break;
	}
	return 1;
}

/* RFC 9110 12.5.3: a token that is named counts more than "*"; q=0 means no. */
bool http_accepts(const char *header, const char *token)
{
	size_t want = strlen(token);
	bool any = false;

	for (const char *p = header; p && *p;) {
		const char *end = p + strcspn(p, ",");
		const char *name = skip_spaces(p);
		size_t len = strcspn(name, " \t;,");

		if (len == want && strncasecmp(name, token, len) == 0)
			return quality(name, end) > 0;
		if (len == 1 && *name == '*')
			any = quality(name, end) > 0;
		p = *end ? end + 1 : NULL;
	}
	return any;
}
