#include "template.h"

#include "common/error.h"
#include "common/mem.h"

#include <ctype.h>
#include <string.h>

#define SHOWN 200

static void add_part(struct template *t, int kind, char *text)
{
	t->parts = xreallocarray(t->parts, t->n + 1, sizeof(*t->parts));
	t->parts[t->n++] = (struct template_part){.kind = kind, .text = text};
}

static void add_text(struct template *t, const char *text, size_t len)
{
	struct strbuf out = {0};

	for (size_t i = 0; i < len; i++) {
		if (text[i] == '\\' && i + 1 < len && (text[i + 1] == 't' || text[i + 1] == 'n'))
			strbuf_putc(&out, text[++i] == 't' ? '\t' : '\n');
		else
			strbuf_putc(&out, text[i]);
	}
	if (len > 0)
		add_part(t, TEMPLATE_TEXT, strbuf_take(&out));
}

static bool is_path(const char *s)
{
	return s[0] == '.' &&
	       !s[strspn(s, ".abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")] &&
	       !strstr(s, "..") && (!s[1] || s[strlen(s) - 1] != '.');
}

static char *trim(char *s)
{
	size_t len;

	while (isspace((unsigned char)*s))
		s++;
	len = strlen(s);
	while (len > 0 && isspace((unsigned char)s[len - 1]))
		s[--len] = '\0';
	return s;
}

static int add_action(struct template *t, const char *text, size_t len, struct error *err)
{
	_cleanup_free_ char *copy = xstrndup(text, len);
	char *action = trim(copy);
	bool json = str_starts(action, "json ");
	char *path = json ? trim(action + 5) : action;

	if (!is_path(path))
		return error_set(err, ERR_INVALID,
				 "\"{{%.*s}}\": expected {{.Field}} or {{json .}}", SHOWN, action);
	add_part(t, json ? TEMPLATE_JSON : TEMPLATE_FIELD, xstrdup(path + 1));
	return 0;
}

int template_parse(const char *text, struct template *ret, struct error *err)
{
	struct template t = {0};

	while (*text) {
		const char *open = strstr(text, "{{");
		const char *close = open ? strstr(open, "}}") : NULL;

		if (!open) {
			add_text(&t, text, strlen(text));
			break;
		}
		if (!close) {
			error_set(err, ERR_INVALID, "\"%.*s\": {{ is not closed", SHOWN, open);
			template_fini(&t);
			return -1;
		}
		add_text(&t, text, (size_t)(open - text));
		if (add_action(&t, open + 2, (size_t)(close - open - 2), err) < 0) {
			template_fini(&t);
			return -1;
		}
		text = close + 2;
	}
	*ret = t;
	return 0;
}

void template_fini(struct template *t)
{
	for (size_t i = 0; i < t->n; i++)
		free(t->parts[i].text);
	free(t->parts);
	*t = (struct template){0};
}
