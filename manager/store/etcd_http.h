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

struct etcd_http;
struct etcd_http_call;

/* Strings are copied. */
struct etcd_http_tls {
	const char *ca_file, *cert_file, *key_file; /* NULL for http and unix */
	const char *server_name;                    /* NULL = the endpoint's host */
};

/* Bodies, sent and received, since the start. */
struct etcd_http_traffic {
	uint64_t sent_bytes, received_bytes;
};
const struct etcd_http_traffic *etcd_http_traffic(const struct etcd_http *h);

struct etcd_http *etcd_http_new(uv_loop_t *loop, const struct etcd_http_tls *tls);
/* Calls still open are dropped without callback. */
void etcd_http_close(struct etcd_http *h, void (*closed)(void *data), void *data);

/* Endpoint as http understands it: "http://host:port", "https://host:port", "unix:/path". ERR_INVALID. */
int etcd_http_check_endpoint(const char *endpoint, struct error *err);

struct etcd_http_result {
	bool sent;           /* false: no connection, the server cannot have seen the request */
	long status;         /* of HTTP; 0 = the answer is not complete, see error */
	const char *body;
	size_t len;
	struct error error;  /* ERR_UNAVAILABLE, ERR_TIMEOUT, ERR_EXHAUSTED longer than max_body */
};

typedef void (*etcd_http_done_cb)(void *data, const struct etcd_http_result *result);
/* Streams: everything not yet consumed, each time it grew; returns how much of it is done with. */
typedef size_t (*etcd_http_data_cb)(void *data, const char *bytes, size_t len);

struct etcd_http_post {
	const char *endpoint, *path;
	char *body;                 /* heap; taken over */
	uint64_t timeout_ms;        /* 0 = none (streams) */
	uint64_t connect_timeout_ms;
	size_t max_body;            /* of the answer, or of its part not yet consumed */
	bool once;                  /* never sent a second time by the library on its own */
	etcd_http_data_cb on_data;       /* NULL = all at the end */
	etcd_http_done_cb on_done;       /* exactly once, unless cancelled; the call is freed behind it */
	void *data;
};

struct etcd_http_call *etcd_http_post(struct etcd_http *h, const struct etcd_http_post *post);
/* No callback any more; may be called inside one. NULL is fine. */
void etcd_http_cancel(struct etcd_http_call *call);
