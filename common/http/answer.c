#include "internal.h"

#include "common/http/gzip.h"
#include "common/mem.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#define INLINE_MAX_BYTES ((size_t)16 << 10) /* compressed on the loop: some hundred microseconds */
#define PAYS_BYTES 512u

/* ---------------------------------------------------------------- bodies */

struct http_body *http_body_new(void *data, size_t len)
{
	struct http_body *body = xnew(struct http_body);

	body->refs = 1;
	body->data = data;
	body->len = len;
	STAILQ_INIT(&body->waiting);
	return body;
}

struct http_body *http_body_ref(struct http_body *body)
{
	body->refs++;
	return body;
}

void http_body_unref(struct http_body *body)
{
	if (!body || --body->refs > 0)
		return;
	free(body->data);
	free(body->gzip);
	free(body);
}

/* The bytes of a body count once, however many clients are taking it. */
static void hold(struct http_body *body, struct http_server *s)
{
	if (body->held++ == 0) {
		body->holder = s;
		s->stats.answer_bytes += body->len + body->gzip_len;
	}
}

static void on_response_gone(void *data)
{
	struct http_body *body = data;

	if (--body->held == 0)
		body->holder->stats.answer_bytes -= body->len + body->gzip_len;
	http_body_unref(body);
}

/* ---------------------------------------------------------------- compressing */

static void finish(struct http_request *req, struct http_body *body);

static void compress(void *data)
{
	struct http_body *body = data;

	body->packed = gzip_encode(body->data, body->len, &body->packed_len);
}

static void set_compressed(struct http_body *body)
{
	body->gzip = TAKE_PTR(body->packed);
	body->gzip_len = body->gzip ? body->packed_len : 0;
	body->compressed = true;
	body->compressing = false;
	if (body->held > 0)
		body->holder->stats.answer_bytes += body->gzip_len;
}

static void on_compressed(void *data)
{
	struct http_body *body = data;
	struct http_request *req;

	set_compressed(body);
	while ((req = STAILQ_FIRST(&body->waiting))) {
		STAILQ_REMOVE_HEAD(&body->waiting, waiting);
		finish(req, body);
	}
	http_body_unref(body);
}

static bool is_text(const char *content_type)
{
	static const char *const kinds[] = {"text/", "application/json", "application/openmetrics-text",
					    "application/javascript", "image/svg+xml"};

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (str_starts(content_type, kinds[i]))
			return true;
	}
	return false;
}

static bool wants_gzip(const struct http_request *req, const struct http_body *body)
{
	return body->len >= PAYS_BYTES && is_text(req->content_type) &&
	       http_accepts(http_header(req, MHD_HTTP_HEADER_ACCEPT_ENCODING), "gzip");
}

/* ---------------------------------------------------------------- answers */

void http_add_header(struct http_request *req, const char *name, const char *value)
{
	struct http_extra *x = xnew(struct http_extra);

	assert(!strpbrk(name, "\r\n") && !strpbrk(value, "\r\n"));
	x->name = xstrdup(name);
	x->value = xstrdup(value);
	STAILQ_INSERT_TAIL(&req->extra, x, link);
}

void answer_ready(struct http_request *req)
{
	if (!req->suspended || !req->conn || !req->conn->mhd)
		return;
	req->suspended = false;
	MHD_resume_connection(req->conn->mhd);
	server_kick(req->server);
}

static void set_response(struct http_request *req, struct http_body *body)
{
	static char busy[] = "too much is under way for slow clients: try later\n";
	bool gzip = body && body->gzip && wants_gzip(req, body);
	struct http_server *s = req->server;

	if (body && body->held == 0 && s->stats.answer_bytes + body->len + body->gzip_len > s->opt.answers_max_bytes) {
		req->status = MHD_HTTP_SERVICE_UNAVAILABLE;
		free(req->content_type);
		req->content_type = xstrdup("text/plain; charset=utf-8");
		http_add_header(req, "Retry-After", "5");
		req->response = MHD_create_response_from_buffer(strlen(busy), busy, MHD_RESPMEM_PERSISTENT);
	} else if (body && body->len > 0) {
		hold(body, s);
		if (is_text(req->content_type))
			http_add_header(req, "Vary", "Accept, Accept-Encoding");
		if (gzip)
			http_add_header(req, "Content-Encoding", "gzip");
		req->response = MHD_create_response_from_buffer_with_free_callback_cls(
			gzip ? body->gzip_len : body->len, gzip ? body->gzip : body->data, on_response_gone,
			http_body_ref(body));
	} else {
		req->response = MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);
	}
	if (!req->response)
		abort(); /* out of memory */
}

static void finish(struct http_request *req, struct http_body *body)
{
	if (req->conn && !req->answered) {
		set_response(req, body);
		req->answered = true;
		answer_ready(req);
	}
	request_let_go_of_handler(req);
}

void http_answer_body(struct http_request *req, unsigned status, const char *content_type, struct http_body *body)
{
	assert(req->of_handler && !req->to_compress);
	if (!req->conn || req->answered) {
		request_let_go_of_handler(req);
		return;
	}
	req->status = status;
	req->content_type = xstrdup(content_type);
	if (!body || body->compressed || !wants_gzip(req, body)) {
		finish(req, body);
		return;
	}
	if (!body->compressing && body->len <= INLINE_MAX_BYTES) {
		compress(body);
		set_compressed(body);
		finish(req, body);
		return;
	}
	req->to_compress = body;
	STAILQ_INSERT_TAIL(&body->waiting, req, waiting);
	if (!body->compressing) {
		body->compressing = true;
		http_body_ref(body);
		loop_work(req->server->opt.loop, compress, on_compressed, body);
	}
}

void http_answer(struct http_request *req, unsigned status, const char *content_type, const void *data, size_t len)
{
	struct http_body *body = len ? http_body_new(xmemdup(data, len), len) : NULL;

	http_answer_body(req, status, content_type, body);
	http_body_unref(body);
}

void http_answer_text(struct http_request *req, unsigned status, const char *fmt, ...)
{
	char text[2048];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(text, sizeof(text) - 1, fmt, ap);
	va_end(ap);
	n = MAX(0, MIN(n, (int)sizeof(text) - 2));
	text[n] = '\n';
	http_answer(req, status, "text/plain; charset=utf-8", text, (size_t)n + 1);
}

void http_redirect(struct http_request *req, const char *location)
{
	http_add_header(req, "Location", location);
	http_answer(req, MHD_HTTP_SEE_OTHER, "text/plain; charset=utf-8", NULL, 0);
}

enum MHD_Result answer_queue(struct http_request *req, struct MHD_Connection *connection)
{
	const struct http_options *o = &req->server->opt;
	struct MHD_Response *response = req->response;
	struct http_extra *x;
	enum MHD_Result r;

	req->response = NULL;
	for (size_t i = 0; i < o->n_headers; i++)
		MHD_add_response_header(response, o->headers[i].name, o->headers[i].value);
	STAILQ_FOREACH(x, &req->extra, link)
		MHD_add_response_header(response, x->name, x->value);
	if (req->content_type)
		MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, req->content_type);
	conn_enter(req->conn, req->stream ? CONN_STREAMING : CONN_SENDING);
	r = MHD_queue_response(connection, req->status, response);
	MHD_destroy_response(response); /* our reference */
	return r;
}
