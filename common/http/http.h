/*
 * http - a small HTTP/1.1 server on the loop: metrics, health, the web page. libmicrohttpd behind, OpenSSL for TLS.
 *
 * Only GET, HEAD and POST (of forms). Everything a client can make us hold is bounded: connections (in total and per
 * address), header, body, time for a request, time to take an answer, bytes of answers under way, streams. When there is
 * no room, the connection that has been silent longest makes it: who only holds connections keeps nobody out.
 * Loop thread; long compressions run on the uv pool.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct error;
struct http_server;
struct http_request;
struct http_stream;

/* ---------------------------------------------------------------- server */

enum http_method { HTTP_GET = 1, HTTP_POST = 2 }; /* HEAD is a GET whose body is not sent */

/*
 * Answers now or later, exactly once (http_answer*, http_stream_begin): the request stays valid until then, also when its
 * client has gone meanwhile, or the server has closed; the answer then goes nowhere.
 */
typedef void (*http_handler)(struct http_request *req, void *data);

struct http_route {
	const char *path;      /* "/metrics"; "/ui/" and a '*' at the end: all that begin so. The first that fits counts */
	unsigned methods;      /* of enum http_method; others get 405 with Allow */
	http_handler handler;
	void *data;
};

struct http_header {
	const char *name, *value;
};

struct http_options {
	uv_loop_t *loop;
	const char *address;             /* literal IP address to listen at; "::" also takes IPv4 */
	uint16_t port;                   /* 0 = any, see http_port() */
	const char *cert_file, *key_file; /* PEM: TLS 1.2 or newer. NULL = plain. Read anew when they have changed */
	const char *client_ca_file;      /* PEM: clients need a certificate of these; NULL = none is asked for */
	const struct http_route *routes; /* kept, not copied */
	size_t n_routes;
	const struct http_header *headers; /* of every answer; kept, not copied */
	size_t n_headers;

	/* Bounds; 0 = the default. */
	unsigned connections_max;        /* 256 */
	unsigned per_address_max;        /* 64 */
	unsigned streams_max;            /* 64 */
	uint32_t head_max_bytes;         /* request line and header: 16 KiB, then 431 (or the connection closes) */
	uint32_t body_max_bytes;         /* of a POST: 16 KiB, then 413 */
	uint64_t answers_max_bytes;      /* bodies held for clients that have not taken them: 64 MiB, then 503 */
	unsigned request_timeout_ms;     /* from a connection's (or request's) begin to its last byte: 10 s */
	unsigned handler_timeout_ms;     /* until the handler has answered: 30 s, then 503 */
	unsigned answer_timeout_ms;      /* until the client has taken the answer: 30 s */
	unsigned idle_timeout_ms;        /* between requests of a connection: 120 s */
};

/* Strings but routes and headers are copied. Errors: the address cannot be listened at, the certificate cannot be used. */
struct http_server *http_open(const struct http_options *options, struct error *err);
uint16_t http_port(const struct http_server *s);
/* Connections end, streams get their on_close; closed runs once, later. NULL server: at once. */
void http_close(struct http_server *s, void (*closed)(void *data), void *data);

struct http_stats {
	uint64_t requests;               /* answered, all kinds */
	uint64_t refused_connections;    /* no room */
	uint64_t evicted_connections;    /* closed to make room */
	uint64_t timeouts;               /* closed because of one of the timeouts */
	unsigned connections, streams;   /* now */
	uint64_t answer_bytes;           /* held now */
};
void http_stats(const struct http_server *s, struct http_stats *ret);

/* ---------------------------------------------------------------- request; strings are valid while the handler runs: copy what you keep */

enum http_method http_method(const struct http_request *req);
const char *http_path(const struct http_request *req);           /* decoded, without the query; valid until it is answered */
const char *http_header(const struct http_request *req, const char *name); /* NULL = none */
const char *http_query(const struct http_request *req, const char *name);  /* "?name=value", decoded; NULL = none */
const char *http_cookie(const struct http_request *req, const char *name);
const char *http_body(const struct http_request *req, size_t *ret_len);    /* of a POST; NUL-terminated */
/* A field of an application/x-www-form-urlencoded body, decoded; NULL = none. Valid until the next call. */
const char *http_form(struct http_request *req, const char *name);
const char *http_peer(const struct http_request *req);           /* literal address, no port */
bool http_is_tls(const struct http_request *req);
/* Does an Accept-Encoding (or another header with q-values) accept the token? Pure, for tests: header may be NULL. */
bool http_accepts(const char *header, const char *token);

/* ---------------------------------------------------------------- answer */

/* A header of this answer alone; before answering. Copied; a line break in it is our own mistake (assert). */
void http_add_header(struct http_request *req, const char *name, const char *value);

/* The body is copied; NULL and 0 = none. Compressed when the client takes it and it pays. */
void http_answer(struct http_request *req, unsigned status, const char *content_type, const void *body, size_t len);
/* text/plain with a newline behind; for errors and health. */
void http_answer_text(struct http_request *req, unsigned status, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* 303 to a path of ours. */
void http_redirect(struct http_request *req, const char *location);

/*
 * A body that many answers share (a static file, a scrape that several ask for at once), with its compressed form once
 * somebody has wanted it. Counted.
 */
struct http_body;
struct http_body *http_body_new(void *data, size_t len); /* takes the malloc'ed data over */
struct http_body *http_body_ref(struct http_body *body);
void http_body_unref(struct http_body *body);
void http_answer_body(struct http_request *req, unsigned status, const char *content_type, struct http_body *body);

/* ---------------------------------------------------------------- streams: answers that go on (server-sent events) */

struct http_stream_options {
	const char *content_type;        /* "text/event-stream" */
	size_t buffer_max_bytes;         /* not yet taken by the client; 0 = 256 KiB; more: the client is dropped */
	const char *heartbeat;           /* sent when nothing was for 15 s, so that a dead client is noticed: ":\n\n"; NULL = none */
	/* Once, also after http_stream_close(): the client has gone, was too slow, or the server closes. Free nothing before it. */
	void (*on_close)(void *data);
	/* The client has taken everything that was pushed: from the loop, once behind each time. May push and close. NULL = unwanted. */
	void (*on_drain)(void *data);
	void *data;
};
/* Answers the request with 200 and begins a stream. NULL: no room (503 was answered), or the client has gone; no on_close then. */
struct http_stream *http_stream_begin(struct http_request *req, const struct http_stream_options *options);
/* Returns -1 when the client was too slow: it is dropped, on_close follows from the loop. After on_close: never. */
int http_stream_push(struct http_stream *s, const void *data, size_t len);
size_t http_stream_unsent(const struct http_stream *s); /* bytes that the client has not taken */
/* What was pushed is still sent, then the answer ends; on_close follows from the loop. */
void http_stream_close(struct http_stream *s);
