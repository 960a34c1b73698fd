/*
 * etcd_http - POST requests by libcurl's multi interface on a libuv loop. Knows endpoints, TLS and
 * sizes, nothing of etcd. Loop thread; callbacks never run inside the function that starts a call.
 */
#pragma once
#include "common/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct http;
struct http_call;

/* Strings are copied. */
struct http_tls {
	const char *ca_file, *cert_file, *key_file; /* NULL for http and unix */
	const char *server_name;                    /* NULL = the endpoint's host */
};

struct http *http_new(uv_loop_t *loop, const struct http_tls *tls);
/* Calls still open are dropped without callback. */
void http_close(struct http *h, void (*closed)(void *data), void *data);

/* Endpoint as http understands it: "http://host:port", "https://host:port", "unix:/path". ERR_INVALID. */
int http_check_endpoint(const char *endpoint, struct error *err);

struct http_result {
	bool sent;           /* false: no connection, the server cannot have seen the request */
	long status;         /* of HTTP; 0 = the answer is not complete, see error */
	const char *body;
	size_t len;
	struct error error;  /* ERR_UNAVAILABLE, ERR_TIMEOUT, ERR_EXHAUSTED longer than max_body */
};

typedef void (*http_done_cb)(void *data, const struct http_result *result);
/* Streams: everything not yet consumed, each time it grew; returns how much of it is done with. */
typedef size_t (*http_data_cb)(void *data, const char *bytes, size_t len);

struct http_post {
	const char *endpoint, *path;
	char *body;                 /* heap; taken over */
	uint64_t timeout_ms;        /* 0 = none (streams) */
	uint64_t connect_timeout_ms;
	size_t max_body;            /* of the answer, or of its part not yet consumed */
	bool once;                  /* never sent a second time by the library on its own */
	http_data_cb on_data;       /* NULL = all at the end */
	http_done_cb on_done;       /* exactly once, unless cancelled; the call is freed behind it */
	void *data;
};

struct http_call *http_post(struct http *h, const struct http_post *post);
/* No callback any more; may be called inside one. NULL is fine. */
void http_cancel(struct http_call *call);
