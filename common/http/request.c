#include "internal.h"

#include "common/mem.h"

#include <stdlib.h>
#include <string.h>

#define HEADER_TEXT "text/plain; charset=utf-8"

/* ---------------------------------------------------------------- life */

static void request_free(struct http_request *req)
{
	struct http_extra *x;

	while ((x = STAILQ_FIRST(&req->extra))) {
		STAILQ_REMOVE_HEAD(&req->extra, link);
		free(x->name);
		free(x->value);
		free(x);
	}
	if (req->response)
		MHD_destroy_response(req->response);
	strbuf_fini(&req->body);
	free(req->path);
	free(req->form_value);
	free(req->content_type);
	free(req);
}

static void maybe_free(struct http_request *req)
{
	if (!req->of_mhd && !req->of_handler)
		request_free(req);
}

void request_let_go_of_handler(struct http_request *req)
{
	req->of_handler = false;
	maybe_free(req);
}

static struct http_conn *conn_of(struct MHD_Connection *connection)
{
	return MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
}

void *request_on_uri(void *server, const char *uri, struct MHD_Connection *connection)
{
	struct http_request *req = xnew(struct http_request);

	req->server = server;
	req->conn = conn_of(connection);
	req->of_mhd = true;
	STAILQ_INIT(&req->extra);
	req->conn->req = req;
	conn_enter(req->conn, CONN_READING);
	return req;
}

void request_on_completed(void *server, struct MHD_Connection *connection, void **request,
			  enum MHD_RequestTerminationCode how)
{
	struct http_request *req = *request;
	struct http_conn *c = conn_of(connection);

	if (!req)
		return;
	*request = NULL;
	if (how == MHD_REQUEST_TERMINATED_COMPLETED_OK)
		req->server->stats.requests++;
	c->req = NULL;
	c->asked++;
	conn_enter(c, CONN_IDLE);
	if (req->stream)
		req->stream->conn = NULL;
	req->conn = NULL;
	req->server = NULL;
	req->of_mhd = false;
	maybe_free(req);
}

void request_detach(struct http_request *req)
{
	if (!req->answered && req->dispatched) {
		req->status = MHD_HTTP_SERVICE_UNAVAILABLE;
		free(req->content_type);
		req->content_type = xstrdup(HEADER_TEXT);
		req->response = MHD_create_response_from_buffer(strlen("no answer in time\n"), (void *)"no answer in time\n",
								MHD_RESPMEM_PERSISTENT);
		req->answered = true;
	}
	answer_ready(req);
	if (req->stream && req->stream->suspended && req->conn && req->conn->mhd) {
		req->stream->suspended = false;
		req->stream->dropped = true;
		MHD_resume_connection(req->conn->mhd);
	}
}

/* ---------------------------------------------------------------- routes */

static bool route_fits(const struct http_route *r, const char *path)
{
	size_t len = strlen(r->path);

	if (len > 0 && r->path[len - 1] == '*')
		return strncmp(r->path, path, len - 1) == 0;
	return strcmp(r->path, path) == 0;
}

static const char *allow(unsigned methods)
{
	return methods == (HTTP_GET | HTTP_POST) ? "GET, HEAD, POST" : methods == HTTP_POST ? "POST" : "GET, HEAD";
}

static void dispatch(struct http_request *req)
{
	const struct http_options *o = &req->server->opt;
	const struct http_route *route = NULL;

	req->dispatched = req->of_handler = true;
	conn_enter(req->conn, CONN_HANDLING);
	for (size_t i = 0; i < o->n_routes && !route; i++) {
		if (route_fits(&o->routes[i], req->path))
			route = &o->routes[i];
	}
	if (!route) {
		http_answer_text(req, MHD_HTTP_NOT_FOUND, "nothing is at this path");
	} else if (!(route->methods & req->method)) {
		http_add_header(req, "Allow", allow(route->methods));
		http_answer_text(req, MHD_HTTP_METHOD_NOT_ALLOWED, "accepted here: %s", allow(route->methods));
	} else if (req->refused) {
		http_answer_text(req, MHD_HTTP_REQUEST_HEADER_FIELDS_TOO_LARGE, "the header is longer than %u bytes",
				 o->head_max_bytes);
	} else if (req->body_too_big) {
		http_answer_text(req, MHD_HTTP_CONTENT_TOO_LARGE, "the body is longer than %u bytes", o->body_max_bytes);
	} else {
		route->handler(req, route->data);
	}
}

/* ---------------------------------------------------------------- from libmicrohttpd */

static void begin(struct http_request *req, struct MHD_Connection *connection, const char *url, const char *method)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);

	req->begun = true;
	req->path = xstrdup(url);
	req->head = strcmp(method, MHD_HTTP_METHOD_HEAD) == 0;
	if (req->head || strcmp(method, MHD_HTTP_METHOD_GET) == 0)
		req->method = HTTP_GET;
	else if (strcmp(method, MHD_HTTP_METHOD_POST) == 0)
		req->method = HTTP_POST;
	req->refused = info && info->header_size > req->server->opt.head_max_bytes;
}

static void take_body(struct http_request *req, const char *data, size_t len)
{
	if (req->method != HTTP_POST || req->body.len + len > req->server->opt.body_max_bytes)
		req->body_too_big = true;
	else
		strbuf_add(&req->body, data, len);
}

enum MHD_Result request_on_access(void *server, struct MHD_Connection *connection, const char *url, const char *method,
				  const char *version, const char *upload, size_t *upload_len, void **request)
{
	struct http_request *req = *request;

	if (!req->begun) {
		begin(req, connection, url, method);
		return MHD_YES;
	}
	if (*upload_len > 0) {
		take_body(req, upload, *upload_len);
		*upload_len = 0;
		return MHD_YES;
	}
	if (req->conn->doomed)
		return MHD_NO;
	if (!req->dispatched) {
		dispatch(req);
		/* The handler may have let go of it already; libmicrohttpd's side has not. */
	}
	if (req->answered)
		return answer_queue(req, connection);
	req->suspended = true;
	MHD_suspend_connection(connection);
	return MHD_YES;
}

/* ---------------------------------------------------------------- what a handler can ask */

enum http_method http_method(const struct http_request *req)
{
	return req->method;
}

const char *http_path(const struct http_request *req)
{
	return req->path;
}

static const char *lookup(const struct http_request *req, enum MHD_ValueKind kind, const char *name)
{
	if (!req->conn || !req->conn->mhd)
		return NULL;
	return MHD_lookup_connection_value(req->conn->mhd, kind, name);
}

const char *http_header(const struct http_request *req, const char *name)
{
	return lookup(req, MHD_HEADER_KIND, name);
}

const char *http_query(const struct http_request *req, const char *name)
{
	return lookup(req, MHD_GET_ARGUMENT_KIND, name);
}

const char *http_cookie(const struct http_request *req, const char *name)
{
	return lookup(req, MHD_COOKIE_KIND, name);
}

const char *http_body(const struct http_request *req, size_t *ret_len)
{
	if (ret_len)
		*ret_len = req->body.len;
	return req->body.p ? req->body.p : "";
}

const char *http_peer(const struct http_request *req)
{
	return req->conn ? req->conn->peer : "";
}

bool http_is_tls(const struct http_request *req)
{
	return req->server && req->server->tls;
}

/* "a+b%20c" of a form; '+' is a space there. In place. */
static void form_decode(char *s)
{
	for (char *p = s; *p; p++) {
		if (*p == '+')
			*p = ' ';
	}
	MHD_http_unescape(s);
}

const char *http_form(struct http_request *req, const char *name)
{
	_cleanup_free_ char *copy = xstrdup(http_body(req, NULL));
	char *save = NULL;

	free(req->form_value);
	req->form_value = NULL;
	for (char *field = strtok_r(copy, "&", &save); field; field = strtok_r(NULL, "&", &save)) {
		char *eq = strchr(field, '=');

		if (eq)
			*eq = '\0';
		form_decode(field);
		if (strcmp(field, name) == 0) {
			req->form_value = xstrdup(eq ? eq + 1 : "");
			form_decode(req->form_value);
			break;
		}
	}
	return req->form_value;
}
