#include "etcd_gate.h"

#include "common/error.h"
#include "common/log.h"
#include "common/loop.h"
#include "common/mem.h"
#include "common/pki.h"
#include "common/tls_context.h"
#include "common/tls_pump.h"

#include <string.h>
#include <sys/queue.h>

#define CONNECTIONS_MAX 256
#define QUEUE_MAX_BYTES ((size_t)1 << 20)
#define HANDSHAKE_TIMEOUT_MS 5000

struct etcd_gate {
	struct etcd_gate_options opt;
	char *socket;
	struct tls_context *tls;
	uv_tcp_t listener;
	struct closer closer;
	LIST_HEAD(, conn) conns;
	size_t n_conns;
};

/* One manager's connection. */
struct conn {
	LIST_ENTRY(conn) entry;
	struct etcd_gate *gate;
	struct tls_pump *pump;
};

static void on_conn_closed(void *data)
{
	struct conn *c = data;
	struct etcd_gate *g = c->gate;

	LIST_REMOVE(c, entry);
	g->n_conns--;
	free(c);
	closer_drop(&g->closer);
}

static void on_refused(void *data, const char *why)
{
	log_warn("etcd_gate_refused", kv_str("why", why));
}

static void on_connection(uv_stream_t *listener, int status)
{
	struct etcd_gate *g = container_of((uv_tcp_t *)listener, struct etcd_gate, listener);
	struct tls_pump_options options = {
		.loop = g->opt.loop,
		.client_name = PKI_MANAGER_NAME,
		.queue_max_bytes = QUEUE_MAX_BYTES,
		.handshake_timeout_ms = HANDSHAKE_TIMEOUT_MS,
		.socket = g->socket,
		.on_refused = on_refused,
		.on_closed = on_conn_closed,
	};
	struct conn *c;

	if (status < 0)
		return;
	c = xnew(struct conn);
	c->gate = g;
	closer_hold(&g->closer);
	LIST_INSERT_HEAD(&g->conns, c, entry);
	g->n_conns++;
	options.ctx = tls_context_get(g->tls);
	options.data = c;
	c->pump = tls_pump_new(&options);
	/* Taken even when it is one too many, so that the listener does not stay readable. */
	if (uv_accept(listener, (uv_stream_t *)tls_pump_tcp(c->pump)) == 0 && g->n_conns <= CONNECTIONS_MAX) {
		tls_pump_start(c->pump);
		return;
	}
	on_refused(NULL, g->n_conns > CONNECTIONS_MAX ? "too many connections" : "accept failed");
	tls_pump_close(c->pump);
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

struct etcd_gate *etcd_gate_open(const struct etcd_gate_options *options, struct error *err)
{
	struct tls_context_options tls = {
		.cert_file = options->cert_file, .key_file = options->key_file, .client_ca_file = options->ca_file,
	};
	struct etcd_gate *g = xnew(struct etcd_gate);

	g->opt = *options;
	g->socket = xstrdup(options->socket);
	LIST_INIT(&g->conns);
	closer_init(&g->closer);
	uv_tcp_init(options->loop, &g->listener);
	g->tls = tls_context_new(&tls, err);
	if (g->tls && listen_on(g, options->address, err) == 0)
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
	tls_context_free(c.gate->tls);
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
		tls_pump_close(c->pump);
	closer_end(&g->closer);
}
