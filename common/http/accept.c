#include "internal.h"

#include "common/clock.h"
#include "common/error.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/tls_context.h"
#include "common/tls_pump.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <string.h>

#define BACKLOG 128
#define ACCEPTS_PER_TURN 16 /* then the others on the loop have their turn */
#define TLS_QUEUE_BYTES ((size_t)64 << 10)
#define SEND_BUFFER_BYTES (128 << 10) /* the kernel's, per connection: by itself it would take megabytes for each slow client */
#define USER_TIMEOUT_MS 30000 /* what was sent and is not acknowledged: the host is gone */

/* ---------------------------------------------------------------- room */

static bool same_address(const struct http_conn *a, const struct http_conn *b)
{
	return strcmp(a->peer, b->peer) == 0;
}

/* Make room for a connection, if need be by closing another one. False: it cannot be had. */
static bool make_room(struct http_server *s, const struct http_conn *fresh)
{
	struct room_look look = {.connections_max = s->opt.connections_max, .per_address_max = s->opt.per_address_max};
	struct http_conn *c, *goes = NULL;
	bool same;

	LIST_FOREACH(c, &s->conns, entry) {
		if (c == fresh || c->doomed)
			continue;
		look.connections++;
		look.of_address += same_address(c, fresh);
	}
	if (room_for(&look, &same))
		return true;
	LIST_FOREACH(c, &s->conns, entry) {
		if (c != fresh && room_may_go(c) && (!same || same_address(c, fresh)) &&
		    (!goes || room_goes_before(c, goes)))
			goes = c;
	}
	if (!goes)
		return false;
	s->stats.evicted_connections++;
	conn_kill(goes);
	return true;
}

/* ---------------------------------------------------------------- handing over */

/* libmicrohttpd takes the descriptor, whatever happens. It asks the address for the kind of socket only. */
static int hand_over(struct http_conn *c, int fd, const struct sockaddr *addr, socklen_t len)
{
	struct http_server *s = c->server;
	enum MHD_Result r;

	c->fd = fd;
	s->adding = c; /* on_connection() of server.c finds it there */
	r = MHD_add_connection(s->daemon, fd, addr, len);
	s->adding = NULL;
	server_kick(s);
	if (r == MHD_YES && c->mhd)
		return 0;
	c->fd = -1;
	return -1;
}

/* ---- TLS in front */

static int on_shaken(void *data)
{
	const struct sockaddr local = {.sa_family = AF_UNIX};
	struct http_conn *c = data;
	int pair[2];

	if (c->doomed || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
		return -1;
	if (hand_over(c, pair[0], &local, sizeof(local)) == 0)
		return pair[1];
	close(pair[1]);
	return -1;
}

static void on_refused(void *data, const char *why)
{
	struct http_conn *c = data;

	c->server->stats.timeouts += strstr(why, "too long") != NULL;
	log_debug("http_tls_refused", kv_str("peer", c->peer), kv_str("why", why));
}

static void on_pump_closed(void *data)
{
	struct http_conn *c = data;

	c->pump = NULL;
	if (!c->mhd) /* else it sees the end of the plain side */
		conn_free(c);
}

static void start_tls(struct http_conn *c, uv_stream_t *listener)
{
	struct http_server *s = c->server;
	struct tls_pump_options options = {
		.loop = s->opt.loop,
		.ctx = tls_context_get(s->tls),
		.queue_max_bytes = TLS_QUEUE_BYTES,
		.handshake_timeout_ms = s->opt.request_timeout_ms,
		.open_plain = on_shaken,
		.on_refused = on_refused,
		.on_closed = on_pump_closed,
		.data = c,
	};

	c->pump = tls_pump_new(&options);
}

/* ---- without TLS: only libuv's handle is in between for a moment */

static void on_handle_closed(uv_handle_t *handle)
{
	struct http_server *s = handle->data;

	free(handle);
	closer_drop(&s->closer);
}

static int descriptor_of(uv_tcp_t *tcp)
{
	uv_os_fd_t fd;

	return uv_fileno((uv_handle_t *)tcp, &fd) == 0 ? fcntl(fd, F_DUPFD_CLOEXEC, 3) : -1;
}

/* ---------------------------------------------------------------- accepting */

static void look_at_peer(struct http_conn *c, const uv_tcp_t *tcp)
{
	int len = sizeof(c->addr);

	if (uv_tcp_getpeername(tcp, (struct sockaddr *)&c->addr, &len) == 0)
		uv_ip_name((struct sockaddr *)&c->addr, c->peer, sizeof(c->peer));
	/* "::ffff:10.0.0.1" is the same host as "10.0.0.1" */
	if (strncmp(c->peer, "::ffff:", 7) == 0 && strchr(c->peer, '.'))
		memmove(c->peer, c->peer + 7, strlen(c->peer + 7) + 1);
}

static void bound_socket(uv_tcp_t *tcp)
{
	unsigned ms = USER_TIMEOUT_MS;
	int size = SEND_BUFFER_BYTES;
	uv_os_fd_t fd;

	uv_tcp_nodelay(tcp, 1);
	uv_tcp_keepalive(tcp, 1, 30);
	if (uv_fileno((uv_handle_t *)tcp, &fd) < 0)
		return;
	setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof(ms));
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
}

static void take_plain(struct http_conn *c, uv_tcp_t *tcp)
{
	struct http_server *s = c->server;
	int fd = -1;

	look_at_peer(c, tcp);
	bound_socket(tcp);
	if (make_room(s, c))
		fd = descriptor_of(tcp);
	else
		s->stats.refused_connections++;
	if (fd < 0 || hand_over(c, fd, (struct sockaddr *)&c->addr, sizeof(c->addr)) < 0)
		conn_free(c);
}

static void accept_one(struct http_server *s)
{
	uv_stream_t *listener = (uv_stream_t *)&s->listener;
	struct http_conn *c;
	uv_tcp_t *tcp;

	c = xnew(struct http_conn);
	c->server = s;
	c->fd = -1;
	conn_enter(c, CONN_READING);
	closer_hold(&s->closer);
	LIST_INSERT_HEAD(&s->conns, c, entry);
	if (s->tls) {
		start_tls(c, listener);
		tcp = tls_pump_tcp(c->pump);
		if (uv_accept(listener, (uv_stream_t *)tcp) == 0) {
			look_at_peer(c, tcp);
			bound_socket(tcp);
			if (make_room(s, c)) {
				tls_pump_start(c->pump);
				return;
			}
			s->stats.refused_connections++;
		}
		conn_kill(c);
		return;
	}
	tcp = xnew(uv_tcp_t);
	uv_tcp_init(s->opt.loop, tcp);
	tcp->data = s;
	closer_hold(&s->closer);
	if (uv_accept(listener, (uv_stream_t *)tcp) == 0)
		take_plain(c, tcp);
	else
		conn_free(c);
	uv_close((uv_handle_t *)tcp, on_handle_closed);
}

static void on_next_turn(uv_timer_t *timer)
{
	struct http_server *s = timer->data;

	s->accepts = 0;
	if (!s->accept_waits || s->closing)
		return;
	s->accept_waits = false;
	accept_one(s); /* libuv goes on listening behind it */
}

/* libuv takes connection after connection: one that it is not asked for makes it wait. */
static void on_connection(uv_stream_t *listener, int status)
{
	struct http_server *s = listener->data;

	if (status < 0 || s->closing)
		return;
	if (s->accepts == 0)
		uv_timer_start(&s->next_turn, on_next_turn, 0, 0);
	if (++s->accepts > ACCEPTS_PER_TURN)
		s->accept_waits = true;
	else
		accept_one(s);
}

int accept_open(struct http_server *s, struct error *err)
{
	struct sockaddr_storage addr;
	int r = uv_ip4_addr(s->opt.address, s->opt.port, (struct sockaddr_in *)&addr);

	if (r < 0)
		r = uv_ip6_addr(s->opt.address, s->opt.port, (struct sockaddr_in6 *)&addr);
	if (r == 0)
		r = uv_tcp_bind(&s->listener, (struct sockaddr *)&addr, 0);
	s->listener.data = s;
	if (r == 0)
		r = uv_listen((uv_stream_t *)&s->listener, BACKLOG, on_connection);
	if (r < 0)
		return error_set(err, ERR_UNAVAILABLE, "listen on %s port %u: %s", s->opt.address, s->opt.port, uv_strerror(r));
	return 0;
}
