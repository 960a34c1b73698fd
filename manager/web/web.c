#include "attempts.h"
#include "internal.h"
#include "session.h"

#include "common/mem.h"
#include "manager/store/view.h"
#include "rpc/rpc.h"

#include <stdarg.h>
#include <string.h>

/* ---------------------------------------------------------------- answers */

/* Nothing but our own files, from here; no frames, no forms elsewhere. The same for data: it is never a page. */
static const struct http_header safety[] = {
	{"Content-Security-Policy",
	 "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
	 "form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"},
	{"X-Frame-Options", "DENY"},
	{"Referrer-Policy", "no-referrer"},
	{"Cross-Origin-Opener-Policy", "same-origin"},
	{"Cross-Origin-Resource-Policy", "same-origin"},
	{"Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()"},
};

static bool is_loopback(const char *address)
{
	return str_starts(address, "127.") || str_eq(address, "::1") || str_starts(address, "::ffff:127.");
}

bool web_admit(struct web *w, struct http_request *req)
{
	for (size_t i = 0; i < ARRAY_SIZE(safety); i++)
		http_add_header(req, safety[i].name, safety[i].value);
	if (http_is_tls(req) || is_loopback(http_peer(req)))
		return true;
	/* A token must not cross a network in the clear. */
	http_answer_text(req, 403, "the page is served over TLS only; without it, to this host alone");
	return false;
}

void web_answer_json(struct http_request *req, unsigned status, json_t *object)
{
	char *text = json_dumps(object, JSON_COMPACT);

	http_add_header(req, "Cache-Control", "no-store");
	http_answer(req, status, "application/json", text, strlen(text));
	free(text);
	json_decref(object);
}

void web_refuse(struct http_request *req, unsigned status, const char *fmt, ...)
{
	_cleanup_strbuf_ struct strbuf text = {0};
	json_t *object = json_object();
	char line[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	json_object_set_new(object, "error", json_string(line));
	web_answer_json(req, status, object);
}

/* JSON has no line breaks of its own, so one line of data holds it. */
void web_event(struct strbuf *out, const char *name, const char *id, json_t *object)
{
	char *text = json_dumps(object, JSON_COMPACT);

	if (name)
		strbuf_printf(out, "event: %s\n", name);
	if (id)
		strbuf_printf(out, "id: %s\n", id);
	strbuf_puts(out, "data: ");
	strbuf_puts(out, text);
	strbuf_puts(out, "\n\n");
	free(text);
	json_decref(object);
}

/* ---------------------------------------------------------------- changes */

void web_events(struct web *w, const struct store_event *events, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (events[i].kind == KIND_UI_TOKEN && !events[i].now)
			sign_token_gone(w, events[i].id);
	viewers_events(w, events, n);
}

void web_leader_changed(struct web *w)
{
	viewers_touch_node(w, w->leader_id);
	free(w->leader_id);
	w->leader_id = xstrdup(w->ops.leader_id(w->ops.data));
	viewers_touch_node(w, w->leader_id);
}

/* ---------------------------------------------------------------- life */

static void redirect(struct web *w, struct http_request *req)
{
	if (web_admit(w, req))
		http_redirect(req, "/ui/");
}

static const struct route {
	const char *path;
	enum http_method method;
	void (*handle)(struct web *w, struct http_request *req);
} routes[] = {
	{"/ui", HTTP_GET, redirect},
	{"/ui/sign-in", HTTP_POST, sign_in},
	{"/ui/sign-out", HTTP_POST, sign_out},
	{"/ui/events", HTTP_GET, viewers_begin},
	{"/ui/node", HTTP_GET, details_node},
	{"/ui/service", HTTP_GET, details_service},
	{"/ui/task", HTTP_GET, details_task},
	{"/ui/log", HTTP_GET, relay_log},
	{"/ui/usage", HTTP_GET, plots_begin},
	{NULL, HTTP_GET, files_serve},
};

void web_handle(struct web *w, struct http_request *req)
{
	const struct route *route = routes;

	while (route->path && !str_eq(route->path, http_path(req)))
		route++;
	if (http_method(req) == route->method) {
		route->handle(w, req);
	} else {
		http_add_header(req, "Allow", route->method == HTTP_GET ? "GET, HEAD" : "POST");
		http_answer_text(req, 405, "this is asked for with %s", route->method == HTTP_GET ? "GET" : "POST");
	}
}

static void init_timer(struct web *w, uv_timer_t *timer)
{
	uv_timer_init(w->loop, timer);
	timer->data = w;
}

struct web *web_new(const struct web_options *options)
{
	struct web *w = xnew(struct web);

	w->loop = options->loop;
	w->view = options->view;
	w->rpc = options->rpc;
	w->usage = options->usage;
	w->ops = *options;
	w->control_target = xstrdup(options->control_target);
	w->node_id = xstrdup(options->node_id);
	w->leader_id = xstrdup(options->leader_id(options->data));
	w->sessions = sessions_new();
	w->attempts = attempts_new();
	LIST_INIT(&w->viewers);
	LIST_INIT(&w->relays);
	LIST_INIT(&w->plots);
	init_timer(w, &w->end);
	init_timer(w, &w->flush);
	init_timer(w, &w->rest);
	closer_init(&w->closer);
	files_open(w);
	return w;
}

struct closing {
	struct web *w;
	void (*closed)(void *data);
	void *data;
};

static void on_closed(void *data)
{
	struct closing closing = *(struct closing *)data;
	struct web *w = closing.w;

	free(data);
	if (w->channel)
		rpc_channel_close(w->channel);
	viewers_close(w);
	files_close(w);
	sessions_free(w->sessions);
	attempts_free(w->attempts);
	free(w->control_target);
	free(w->node_id);
	free(w->leader_id);
	free(w);
	closing.closed(closing.data);
}

void web_close(struct web *w, void (*closed)(void *data), void *data)
{
	struct closing *closing;

	if (!w) {
		closed(data);
		return;
	}
	closing = xnew(struct closing);
	*closing = (struct closing){w, closed, data};
	if (!closer_begin(&w->closer, on_closed, closing)) {
		free(closing);
		return;
	}
	closer_add(&w->closer, (uv_handle_t *)&w->end);
	closer_add(&w->closer, (uv_handle_t *)&w->flush);
	closer_add(&w->closer, (uv_handle_t *)&w->rest);
	closer_end(&w->closer);
}
