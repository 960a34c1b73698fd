#include "etcd_gate.h"

#include "common/error.h"
#include "common/log.h"
#include "common/loop.h"
#include "common/mem.h"
#include "common/pki.h"
#include "common/str.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <sys/queue.h>

#define CONNECTIONS_MAX 256
#define CHUNK_BYTES ((size_t)64 << 10)
#define QUEUE_MAX_BYTES ((size_t)1 << 20) /* per direction; then reading stops */
#define HANDSHAKE_TIMEOUT_MS 5000

struct etcd_gate {
	struct etcd_gate_options opt;
	char *socket, *ca_file, *cert_file, *key_file;
	uv_tcp_t listener;
	struct closer closer;
	LIST_HEAD(, conn) conns;
	size_t n_conns;
	char buffer[CHUNK_BYTES]; /* of the read under way */
};

/* One manager's connection: tcp (TLS) <-> pipe (plain). */
struct conn {
	LIST_ENTRY(conn) entry;
	struct etcd_gate *gate;
	uv_tcp_t tcp;
	uv_pipe_t pipe;
	uv_timer_t deadline;      /* of the handshake */
	uv_connect_t connect;
	struct closer closer;
	SSL *ssl;
	BIO *in, *out;            /* owned by ssl */
	bool open;                /* handshake done and etcd connected */
	bool shaken;
	bool ending;              /* etcd has closed: close when all is sent */
};

struct outgoing {
	uv_write_t req;
	struct conn *conn;
	char data[];
};

static void pump_to_etcd(struct conn *c);

/* ---- end of a connection */

static void on_conn_closed(void *data)
{
	struct conn *c = data;
	struct etcd_gate *g = c->gate;

	SSL_free(c->ssl);
	LIST_REMOVE(c, entry);
	g->n_conns--;
	free(c);
	closer_drop(&g->closer);
}

static void conn_close(struct conn *c)
{
	if (!closer_begin(&c->closer, on_conn_closed, c))
		return;
	closer_add(&c->closer, (uv_handle_t *)&c->tcp);
	closer_add(&c->closer, (uv_handle_t *)&c->pipe);
	closer_add(&c->closer, (uv_handle_t *)&c->deadline);
	closer_end(&c->closer);
}

/* ---- sending */

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
	struct etcd_gate *g = handle->data;

	/* One read at a time on one thread, and each is used up at once. */
	*buf = uv_buf_init(g->buffer, sizeof(g->buffer));
}

static void on_tcp_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf);
static void on_pipe_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf);

/* Read from a side as long as the other side takes it. */
static void steer(struct conn *c)
{
	if (c->closer.closing)
		return;
	if (!c->open || c->pipe.write_queue_size < QUEUE_MAX_BYTES)
		uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_tcp_read);
	else
		uv_read_stop((uv_stream_t *)&c->tcp);
	if (!c->open)
		return;
	if (c->tcp.write_queue_size < QUEUE_MAX_BYTES && !c->ending)
		uv_read_start((uv_stream_t *)&c->pipe, on_alloc, on_pipe_read);
	else
		uv_read_stop((uv_stream_t *)&c->pipe);
}

static void on_written(uv_write_t *req, int status)
{
	struct outgoing *out = container_of(req, struct outgoing, req);
	struct conn *c = out->conn;

	free(out);
	if (status < 0 || (c->ending && c->tcp.write_queue_size == 0))
		conn_close(c);
	else
		steer(c);
}

static void send_bytes(struct conn *c, uv_stream_t *to, const char *data, size_t len)
{
	struct outgoing *out = xmalloc(sizeof(*out) + len);
	uv_buf_t buf = uv_buf_init(out->data, (unsigned)len);

	memcpy(out->data, data, len);
	out->conn = c;
	if (uv_write(&out->req, to, &buf, 1, on_written) == 0)
		return;
	free(out);
	conn_close(c);
}

/* What TLS wants on the wire. */
static void flush_tls(struct conn *c)
{
	char *data;
	long len = BIO_get_mem_data(c->out, &data);

	if (len <= 0 || c->closer.closing)
		return;
	send_bytes(c, (uv_stream_t *)&c->tcp, data, (size_t)len);
	(void)BIO_reset(c->out);
}

/* ---- bytes */

static void on_pipe_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct conn *c = container_of((uv_pipe_t *)stream, struct conn, pipe);

	if (n < 0) {
		c->ending = true;
		SSL_shutdown(c->ssl);
		flush_tls(c);
		if (c->tcp.write_queue_size == 0)
			conn_close(c);
		else
			steer(c);
		return;
	}
	/* A memory BIO takes everything: no partial writes, no renegotiation in TLS 1.3. */
	if (n > 0 && SSL_write(c->ssl, buf->base, (int)n) != (int)n) {
		conn_close(c);
		return;
	}
	flush_tls(c);
	steer(c);
}

static void on_etcd_connected(uv_connect_t *req, int status)
{
	struct conn *c = container_of(req, struct conn, connect);

	if (c->closer.closing)
		return;
	if (status < 0) {
		conn_close(c);
		return;
	}
	c->open = true;
	pump_to_etcd(c);
	steer(c);
}

/* Decrypt what has come. Clients speak HTTP/1.1 and wait, so this is little before etcd is connected. */
static void pump_to_etcd(struct conn *c)
{
	static char plain[CHUNK_BYTES];
	int n = 1;

	while (c->open && !c->closer.closing && n > 0) {
		n = SSL_read(c->ssl, plain, sizeof(plain));
		if (n > 0)
			send_bytes(c, (uv_stream_t *)&c->pipe, plain, (size_t)n);
		else if (SSL_get_error(c->ssl, n) != SSL_ERROR_WANT_READ)
			conn_close(c);
	}
	ERR_clear_error();
	flush_tls(c);
}

static void log_refused(const char *why)
{
	log_warn("etcd_gate_refused", kv_str("why", why));
}

static void handshake(struct conn *c)
{
	int r = SSL_accept(c->ssl);
	int code = SSL_get_error(c->ssl, r);
	long verified = SSL_get_verify_result(c->ssl);
	const char *reason = ERR_reason_error_string(ERR_peek_last_error());

	flush_tls(c);
	ERR_clear_error();
	if (c->closer.closing)
		return;
	if (r == 1) {
		c->shaken = true;
		uv_timer_stop(&c->deadline);
		uv_pipe_connect(&c->connect, &c->pipe, c->gate->socket, on_etcd_connected);
	} else if (code != SSL_ERROR_WANT_READ) {
		log_refused(verified != X509_V_OK ? X509_verify_cert_error_string(verified) :
			    reason ? reason : "no TLS");
		/* The alert goes out first. */
		c->ending = true;
		if (c->tcp.write_queue_size == 0)
			conn_close(c);
	}
}

static void on_tcp_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct conn *c = container_of((uv_tcp_t *)stream, struct conn, tcp);

	if (n < 0 || c->ending) {
		conn_close(c);
		return;
	}
	if (BIO_write(c->in, buf->base, (int)n) != (int)n || BIO_pending(c->in) > (int)QUEUE_MAX_BYTES) {
		conn_close(c);
		return;
	}
	if (!c->shaken)
		handshake(c);
	if (c->open)
		pump_to_etcd(c);
	steer(c);
}

static void on_deadline(uv_timer_t *timer)
{
	struct conn *c = container_of(timer, struct conn, deadline);

	log_refused("handshake took too long");
	conn_close(c);
}

/* ---- accepting */

static SSL_CTX *context_new(const struct etcd_gate *g, struct error *err)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());

	if (ctx && SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) == 1 &&
	    SSL_CTX_load_verify_locations(ctx, g->ca_file, NULL) == 1 &&
	    SSL_CTX_use_certificate_chain_file(ctx, g->cert_file) == 1 &&
	    SSL_CTX_use_PrivateKey_file(ctx, g->key_file, SSL_FILETYPE_PEM) == 1) {
		SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
		/* Each connection has a context of its own: nothing to resume. */
		SSL_CTX_set_num_tickets(ctx, 0);
		SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
		return ctx;
	}
	error_set(err, ERR_INVALID, "certificate %s, key %s, CA %s: %s", g->cert_file, g->key_file, g->ca_file,
		  ERR_reason_error_string(ERR_peek_last_error()));
	ERR_clear_error();
	SSL_CTX_free(ctx);
	return NULL;
}

static int start_tls(struct conn *c, struct error *err)
{
	SSL_CTX *ctx = context_new(c->gate, err);

	if (!ctx)
		return -1;
	c->ssl = SSL_new(ctx);
	SSL_CTX_free(ctx);
	c->in = BIO_new(BIO_s_mem());
	c->out = BIO_new(BIO_s_mem());
	if (!c->ssl || !c->in || !c->out)
		abort();
	SSL_set_bio(c->ssl, c->in, c->out);
	/* The same check as for a server's name, made of the client's certificate. */
	SSL_set_hostflags(c->ssl, X509_CHECK_FLAG_NO_WILDCARDS);
	if (SSL_set1_host(c->ssl, PKI_MANAGER_NAME) != 1)
		return error_set(err, ERR_INTERNAL, "cannot demand the name %s", PKI_MANAGER_NAME);
	SSL_set_accept_state(c->ssl);
	return 0;
}

static void on_connection(uv_stream_t *listener, int status)
{
	struct etcd_gate *g = container_of((uv_tcp_t *)listener, struct etcd_gate, listener);
	struct error err = ERROR_INIT;
	struct conn *c;

	if (status < 0)
		return;
	c = xnew(struct conn);
	c->gate = g;
	closer_init(&c->closer);
	closer_hold(&g->closer);
	LIST_INSERT_HEAD(&g->conns, c, entry);
	uv_tcp_init(g->opt.loop, &c->tcp);
	uv_pipe_init(g->opt.loop, &c->pipe, 0);
	uv_timer_init(g->opt.loop, &c->deadline);
	c->tcp.data = c->pipe.data = g;
	if (++g->n_conns > CONNECTIONS_MAX)
		error_set(&err, ERR_EXHAUSTED, "more than %d connections", CONNECTIONS_MAX);
	/* Taken even then, so that the listener does not stay readable. */
	if (uv_accept(listener, (uv_stream_t *)&c->tcp) < 0 || error_is_set(&err) || start_tls(c, &err) < 0) {
		log_refused(error_is_set(&err) ? err.msg : "accept failed");
		conn_close(c);
		return;
	}
	uv_timer_start(&c->deadline, on_deadline, HANDSHAKE_TIMEOUT_MS, 0);
	uv_tcp_nodelay(&c->tcp, 1);
	steer(c);
}

/* ---- the gate */

static int listen_on(struct etcd_gate *g, const char *address, struct error *err)
{
	struct sockaddr_storage addr;
	int r = uv_ip4_addr(address, g->opt.port, (struct sockaddr_in *)&addr);

	if (r < 0)
		r = uv_ip6_addr(address, g->opt.port, (struct sockaddr_in6 *)&addr);
	if (r == 0)
		r = uv_tcp_bind(&g->listener, (struct sockaddr *)&addr, 0);
	if (r == 0)
		r = uv_listen((uv_stream_t *)&g->listener, 64, on_connection);
	if (r < 0)
		return error_set(err, ERR_UNAVAILABLE, "listen on %s port %u for the other managers: %s", address,
				 g->opt.port, uv_strerror(r));
	return 0;
}

static int check_files(const struct etcd_gate *g, struct error *err)
{
	SSL_CTX *ctx = context_new(g, err);

	SSL_CTX_free(ctx);
	return ctx ? 0 : -1;
}

struct etcd_gate *etcd_gate_open(const struct etcd_gate_options *options, struct error *err)
{
	struct etcd_gate *g = xnew(struct etcd_gate);

	g->opt = *options;
	g->socket = xstrdup(options->socket);
	g->ca_file = xstrdup(options->ca_file);
	g->cert_file = xstrdup(options->cert_file);
	g->key_file = xstrdup(options->key_file);
	LIST_INIT(&g->conns);
	closer_init(&g->closer);
	uv_tcp_init(options->loop, &g->listener);
	if (check_files(g, err) == 0 && listen_on(g, options->address, err) == 0)
		return g;
	etcd_gate_close(g, NULL, NULL);
	return NULL;
}

struct closing {
	void (*closed)(void *data);
	void *data;
	struct etcd_gate *gate;
};

static void on_closed(void *data)
{
	struct closing c = *(struct closing *)data;

	free(data);
	free(c.gate->socket);
	free(c.gate->ca_file);
	free(c.gate->cert_file);
	free(c.gate->key_file);
	free(c.gate);
	if (c.closed)
		c.closed(c.data);
}

void etcd_gate_close(struct etcd_gate *g, void (*closed)(void *data), void *data)
{
	struct closing *closing;
	struct conn *c;

	if (g->closer.closing)
		return;
	closing = xmalloc(sizeof(*closing));
	*closing = (struct closing){closed, data, g};
	closer_begin(&g->closer, on_closed, closing);
	closer_add(&g->closer, (uv_handle_t *)&g->listener);
	/* They leave the list when they are closed, in a later turn of the loop. */
	LIST_FOREACH(c, &g->conns, entry)
		conn_close(c);
	closer_end(&g->closer);
}
