/*
 * tls_pump - one accepted connection: TLS towards the client, plain bytes on a unix socket, passed on as they are.
 * For servers that speak plain text only. Memory is bounded: a side is read as long as the other one takes it. Loop thread.
 */
#pragma once
#include <stddef.h>
#include <uv.h>

struct ssl_ctx_st;
struct tls_pump;

struct tls_pump_options {
	uv_loop_t *loop;
	struct ssl_ctx_st *ctx;   /* borrowed for the call */
	const char *client_name;  /* DNS name that the client's certificate has to carry; NULL = any */
	size_t queue_max_bytes;   /* per direction, then reading stops */
	unsigned handshake_timeout_ms;
	/* The plain side once the handshake is done: */
	const char *socket;       /* path to connect to (copied), or NULL: */
	int (*open_plain)(void *data); /* a connected socket, taken over; -1 = it is refused */
	/* The handshake did not come about; may be NULL. */
	void (*on_refused)(void *data, const char *why);
	/* Once, from the loop; the pump is freed then. */
	void (*on_closed)(void *data);
	void *data;
};

/* Then accept into tls_pump_tcp(), then tls_pump_start(). */
struct tls_pump *tls_pump_new(const struct tls_pump_options *options);
uv_tcp_t *tls_pump_tcp(struct tls_pump *p);
void tls_pump_start(struct tls_pump *p);
/* At once, whatever is under way; on_closed follows. Repeatable until then. */
void tls_pump_close(struct tls_pump *p);
