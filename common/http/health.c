#include "common/http/health.h"

#include "common/http/http.h"
#include "common/str.h"

/* A reason is one line here, whatever is in it. */
static void add_line(struct strbuf *text, const char *state, const char *name, const char *why)
{
	strbuf_printf(text, "%s %s", state, name);
	if (!str_empty(why)) {
		strbuf_puts(text, ": ");
		for (const char *p = why; *p; p++)
			strbuf_putc(text, (unsigned char)*p < ' ' ? ' ' : *p);
	}
	strbuf_putc(text, '\n');
}

void health_answer(struct http_request *req, const struct health_check *checks, size_t n, void *data)
{
	_cleanup_strbuf_ struct strbuf text = {0};
	bool fine = true;

	for (size_t i = 0; i < n; i++) {
		struct error err = ERROR_INIT;
		bool ok = checks[i].check(data, &err);

		fine = fine && ok;
		add_line(&text, ok ? "ok" : "failed", checks[i].name,
			 ok ? NULL : error_is_set(&err) ? err.msg : "not known yet");
	}
	http_add_header(req, "Cache-Control", "no-store");
	http_answer(req, fine ? 200 : 503, "text/plain; charset=utf-8", text.p, text.len);
}
