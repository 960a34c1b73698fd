#include "common/tls_pump.h"

#include "common/loop.h"
#include "common/mem.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdbool.h>
#include <string.h>

#define CHUNK_BYTES ((size_t)64 << 10)

struct tls_pump {
	struct tls_pump_options opt;
	char *socket;
	uv_tcp_t tcp;
	uv_pipe_t pipe;
	uv_timer_t deadline;      /* of the handshake */
	uv_connect_t connect;
	struct closer closer;
	SSL *ssl;
	BIO *in, *out;            /* owned by ssl */
	bool open;                /* handshake done and the plain side connected */
	bool shaken;
	bool ending;              /* the plain side has closed: close when all is sent */
};

struct outgoing {
	uv_write_t req;
	struct tls_pump *pump;
	char data[];
};

static void pump_to_plain(struct tls_pump *p);

/* ---- end */

static void on_handles_closed(void *data)
{
	struct tls_pump *p = data;
	void (*on_closed)(void *) = p->opt.on_closed;
	void *closed_data = p->opt.data;

	SSL_free(p->ssl);
	free(p->socket);
	free(p);
	on_closed(closed_data);
}

void tls_pump_close(struct tls_pump *p)
{
	if (!closer_begin(&p->closer, on_handles_closed, p))
		return;
	closer_add(&p->closer, (uv_handle_t *)&p->tcp);
	closer_add(&p->closer, (uv_handle_t *)&p->pipe);
	closer_add(&p->closer, (uv_handle_t *)&p->deadline);
	closer_end(&p->closer);
}

/* ---- sending */

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
	/* One read at a time on the one loop thread, and each is used up at once. */
	static char buffer[CHUNK_BYTES];

	*buf = uv_buf_init(buffer, sizeof(buffer));
}

static void on_tcp_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf);
static void on_pipe_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf);

/* Read from a side as long as the other side takes it. */
static void steer(struct tls_pump *p)
{
	if (p->closer.closing)
		return;
	if (!p->open || p->pipe.write_queue_size < p->opt.queue_max_bytes)
		uv_read_start((uv_stream_t *)&p->tcp, on_alloc, on_tcp_read);
	else
		uv_read_stop((uv_stream_t *)&p->tcp);
	if (!p->open)
		return;
	if (p->tcp.write_queue_size < p->opt.queue_max_bytes && !p->ending)
		uv_read_start((uv_stream_t *)&p->pipe, on_alloc, on_pipe_read);
	else
		uv_read_stop((uv_stream_t *)&p->pipe);
}

static void on_written(uv_write_t *req, int status)
{
	struct outgoing *out = container_of(req, struct outgoing, req);
	struct tls_pump *p = out->pump;

	free(out);
	if (status < 0 || (p->ending && p->tcp.write_queue_size == 0))
		tls_pump_close(p);
	else
		steer(p);
}

static void send_bytes(struct tls_pump *p, uv_stream_t *to, const char *data, size_t len)
{
	struct outgoing *out = xmalloc(sizeof(*out) + len);
	uv_buf_t buf = uv_buf_init(out->data, (unsigned)len);

	memcpy(out->data, data, len);
	out->pump = p;
	if (uv_write(&out->req, to, &buf, 1, on_written) == 0)
		return;
	free(out);
	tls_pump_close(p);
}

/* What TLS wants on the wire. */
static void flush_tls(struct tls_pump *p)
{
	char *data;
	long len = BIO_get_mem_data(p->out, &data);

	if (len <= 0 || p->closer.closing)
		return;
	send_bytes(p, (uv_stream_t *)&p->tcp, data, (size_t)len);
	(void)BIO_reset(p->out);
}

/* Nothing more comes; what has been written still goes out. */
static void end(struct tls_pump *p)
{
	p->ending = true;
	if (p->tcp.write_queue_size == 0)
		tls_pump_close(p);
	else
		steer(p);
}

/* ---- bytes */

static void on_pipe_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct tls_pump *p = container_of((uv_pipe_t *)stream, struct tls_pump, pipe);

	if (n < 0) {
		SSL_shutdown(p->ssl);
		flush_tls(p);
		end(p);
		return;
	}
	/* A memory BIO takes everything: no partial writes, no renegotiation. */
	if (n > 0 && SSL_write(p->ssl, buf->base, (int)n) != (int)n) {
		tls_pump_close(p);
		return;
	}
	flush_tls(p);
	steer(p);
}

/* Decrypt what has come. */
static void pump_to_plain(struct tls_pump *p)
{
	static char plain[CHUNK_BYTES];
	int n = 1;

	while (p->open && !p->closer.closing && n > 0) {
		n = SSL_read(p->ssl, plain, sizeof(plain));
		if (n > 0)
			send_bytes(p, (uv_stream_t *)&p->pipe, plain, (size_t)n);
		else if (SSL_get_error(p->ssl, n) != SSL_ERROR_WANT_READ)
			tls_pump_close(p);
	}
	ERR_clear_error();
	flush_tls(p);
}

static void plain_is_open(struct tls_pump *p)
{
	p->open = true;
	pump_to_plain(p);
	steer(p);
}

static void on_plain_connected(uv_connect_t *req, int status)
{
	struct tls_pump *p = container_of(req, struct tls_pump, connect);

	if (p->closer.closing)
		return;
	if (status < 0)
		tls_pump_close(p);
	else
		plain_is_open(p);
}

static void open_plain(struct tls_pump *p)
{
	int fd;

	if (p->socket) {
		uv_pipe_connect(&p->connect, &p->pipe, p->socket, on_plain_connected);
		return;
	}
	fd = p->opt.open_plain(p->opt.data);
	if (fd >= 0 && uv_pipe_open(&p->pipe, fd) == 0) {
		plain_is_open(p);
		return;
	}
	if (fd >= 0)
		close(fd);
	tls_pump_close(p);
}

static void refused(struct tls_pump *p, const char *why)
{
	if (p->opt.on_refused)
		p->opt.on_refused(p->opt.data, why);
}

static void handshake(struct tls_pump *p)
{
	int r = SSL_accept(p->ssl);
	int code = SSL_get_error(p->ssl, r);
	long verified = SSL_get_verify_result(p->ssl);
	const char *reason = ERR_reason_error_string(ERR_peek_last_error());

	flush_tls(p);
	ERR_clear_error();
	if (p->closer.closing)
		return;
	if (r == 1) {
		p->shaken = true;
		uv_timer_stop(&p->deadline);
		open_plain(p);
	} else if (code != SSL_ERROR_WANT_READ) {
		refused(p, verified != X509_V_OK ? X509_verify_cert_error_string(verified) : reason ? reason : "no TLS");
		end(p); /* the alert goes out first */
	}
}

static void on_tcp_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct tls_pump *p = container_of((uv_tcp_t *)stream, struct tls_pump, tcp);

	/* What waits to be decrypted is bounded: before the plain side is open, a client has little to say. */
	if (n < 0 || p->ending || BIO_write(p->in, buf->base, (int)n) != (int)n ||
	    BIO_pending(p->in) > (int)(p->opt.queue_max_bytes + CHUNK_BYTES)) {
		tls_pump_close(p);
		return;
	}
	if (!p->shaken)
		handshake(p);
	if (p->open)
		pump_to_plain(p);
	steer(p);
}

static void on_deadline(uv_timer_t *timer)
{
	struct tls_pump *p = container_of(timer, struct tls_pump, deadline);

	refused(p, "handshake took too long");
	tls_pump_close(p);
}

/* ---- begin */

struct tls_pump *tls_pump_new(const struct tls_pump_options *options)
{
	struct tls_pump *p = xnew(struct tls_pump);

	p->opt = *options;
	p->opt.client_name = NULL; /* used up here */
	p->socket = xstrdup(options->socket);
	closer_init(&p->closer);
	uv_tcp_init(options->loop, &p->tcp);
	uv_pipe_init(options->loop, &p->pipe, 0);
	uv_timer_init(options->loop, &p->deadline);
	p->ssl = SSL_new(options->ctx);
	p->in = BIO_new(BIO_s_mem());
	p->out = BIO_new(BIO_s_mem());
	if (!p->ssl || !p->in || !p->out)
		abort();
	SSL_set_bio(p->ssl, p->in, p->out);
	if (options->client_name) {
		/* The same check as for a server's name, made of the client's certificate. */
		SSL_set_hostflags(p->ssl, X509_CHECK_FLAG_NO_WILDCARDS);
		if (SSL_set1_host(p->ssl, options->client_name) != 1)
			abort();
	}
	SSL_set_accept_state(p->ssl);
	return p;
}

uv_tcp_t *tls_pump_tcp(struct tls_pump *p)
{
	return &p->tcp;
}

void tls_pump_start(struct tls_pump *p)
{
	uv_timer_start(&p->deadline, on_deadline, p->opt.handshake_timeout_ms, 0);
	uv_tcp_nodelay(&p->tcp, 1);
	steer(p);
}
