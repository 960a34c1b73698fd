#include "text.h"

#include "common/str.h"
#include "common/utf8.h"

#include <string.h>

json_t *text_json_n(const char *s, size_t len)
{
	const uint8_t *p = (const uint8_t *)s, *end = p + len;
	_cleanup_strbuf_ struct strbuf clean = {0};
	json_t *text = len ? json_stringn(s, len) : json_string(""); /* an empty line has no bytes to point to */
	uint32_t cp;

	if (text)
		return text;
	while (p < end) {
		size_t n = utf8_sequence(p, end, &cp);

		strbuf_add(&clean, n ? (const char *)p : "\xef\xbf\xbd", n ? n : 3);
		p += n ? n : 1;
	}
	return json_stringn(clean.p, clean.len);
}

json_t *text_json(const char *s)
{
	return s ? text_json_n(s, strlen(s)) : json_string("");
}

void text_set(json_t *object, const char *member, const char *value)
{
	if (!str_empty(value))
		json_object_set_new(object, member, text_json(value));
}
