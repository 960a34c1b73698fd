#include "internal.h"

#include "common/clock.h"
#include "common/error.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/tls_context.h"
#include "common/tls_pump.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#define SWEEP_MIN_MS 20
#define SWEEP_MAX_MS 1000
#define MEMORY_EXTRA_BYTES (16u << 10) /* of a connection, beside its header: what is being sent */
#define LIMIT_EXTRA 64                 /* connections that are ending still count for libmicrohttpd */

/* ---------------------------------------------------------------- connections */

void conn_enter(struct http_conn *c, enum conn_state state)
{
	c->state = state;
	c->since = clock_mono_ns();
}

void conn_kill(struct http_conn *c)
{
	c->doomed = true;
	if (c->mhd) {
		shutdown(c->fd, SHUT_RDWR);
		if (c->req)
			request_detach(c->req);
		server_kick(c->server);
	}
	if (c->pump) /* not by its plain side: it would wait for the client to take what there is */
		tls_pump_close(c->pump);
}

void conn_free(struct http_conn *c)
{
	struct http_server *s = c->server;

	assert(!c->mhd && !c->pump);
	LIST_REMOVE(c, entry);
	free(c);
	closer_drop(&s->closer);
}

static void on_connection(void *data, struct MHD_Connection *connection, void **context,
			  enum MHD_ConnectionNotificationCode what)
{
	struct http_server *s = data;
	struct http_conn *c;

	if (what == MHD_CONNECTION_NOTIFY_STARTED) {
		c = s->adding;
		*context = c;
		c->mhd = connection;
		return;
	}
	c = *context;
	c->mhd = NULL;
	if (c == s->adding) { /* it was not taken after all: hand_over() sees it */
		c->doomed = true;
		return;
	}
	/* With TLS, its other side ends by itself once the client has taken what there is, but not in its own time: until
	 * then it takes room like any other. */
	if (c->pump)
		conn_enter(c, CONN_DRAINING);
	else
		conn_free(c);
}

/* ---------------------------------------------------------------- libmicrohttpd on the loop */

static void on_kick(uv_timer_t *timer);

static void run(struct http_server *s)
{
	MHD_UNSIGNED_LONG_LONG timeout_ms;

	s->running = true;
	MHD_run(s->daemon);
	s->running = false;
	/* 0: there is more to do, after the others on the loop have had their turn. */
	if (MHD_get_timeout(s->daemon, &timeout_ms) == MHD_YES)
		uv_timer_start(&s->kick, on_kick, timeout_ms, 0);
	else
		uv_timer_stop(&s->kick);
	/* Behind the timer: what they push is not among what libmicrohttpd waits for yet. */
	stream_tell_drained(s);
}

static void on_kick(uv_timer_t *timer)
{
	run(timer->data);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
	run(poll->data);
}

void server_kick(struct http_server *s)
{
	if (!s->closing)
		uv_timer_start(&s->kick, on_kick, 0, 0);
}

static void on_log(void *data, const char *fmt, va_list ap)
{
	char text[256];
	size_t len;

	vsnprintf(text, sizeof(text), fmt, ap);
	len = strlen(text);
	if (len > 0 && text[len - 1] == '\n')
		text[len - 1] = '\0';
	log_debug("http", kv_str("message", text));
}

/* ---------------------------------------------------------------- deadlines */

static int64_t longest_ns(const struct http_conn *c)
{
	const struct http_options *o = &c->server->opt;

	switch (c->state) {
	case CONN_READING:
		return o->request_timeout_ms * NS_PER_MS;
	case CONN_HANDLING:
		return o->handler_timeout_ms * NS_PER_MS;
	case CONN_SENDING:
	case CONN_DRAINING:
	case CONN_STREAMING: /* since the client took something, while it has something to take: stream.c */
		return o->answer_timeout_ms * NS_PER_MS;
	case CONN_IDLE:
		break;
	}
	return o->idle_timeout_ms * NS_PER_MS;
}

static void on_sweep(uv_timer_t *timer)
{
	struct http_server *s = timer->data;
	int64_t now = clock_mono_ns();
	struct http_conn *c, *next;

	stream_tick(s, now);
	for (c = LIST_FIRST(&s->conns); c; c = next) {
		next = LIST_NEXT(c, entry);
		if (now - c->since < longest_ns(c) || (c->state == CONN_READING && !c->mhd && !c->doomed))
			continue; /* the handshake has a deadline of its own */
		if (!c->doomed)
			s->stats.timeouts++;
		if (c->state == CONN_HANDLING && c->req && !c->doomed)
			request_detach(c->req); /* it is told, and stays */
		else
			conn_kill(c);
	}
}

static unsigned sweep_ms(const struct http_options *o)
{
	unsigned least = MIN(MIN(o->request_timeout_ms, o->handler_timeout_ms), MIN(o->answer_timeout_ms, o->idle_timeout_ms));

	return MAX(SWEEP_MIN_MS, MIN(least / 4, SWEEP_MAX_MS));
}

/* ---------------------------------------------------------------- life */

static void set_default_u(unsigned *value, unsigned def)
{
	if (*value == 0)
		*value = def;
}

static void set_defaults(struct http_options *o)
{
	set_default_u(&o->connections_max, 256);
	set_default_u(&o->per_address_max, 64);
	set_default_u(&o->streams_max, 64);
	set_default_u(&o->head_max_bytes, 16u << 10);
	set_default_u(&o->body_max_bytes, 16u << 10);
	set_default_u(&o->request_timeout_ms, 10000);
	set_default_u(&o->handler_timeout_ms, 30000);
	set_default_u(&o->answer_timeout_ms, 30000);
	set_default_u(&o->idle_timeout_ms, 120000);
	if (o->answers_max_bytes == 0)
		o->answers_max_bytes = 64u << 20;
}

static int start_daemon(struct http_server *s, struct error *err)
{
	const union MHD_DaemonInfo *info;

	s->daemon = MHD_start_daemon(
		MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, 0, NULL, NULL,
		request_on_access, s,
		MHD_OPTION_EXTERNAL_LOGGER, on_log, NULL,
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)s->opt.head_max_bytes + MEMORY_EXTRA_BYTES,
		MHD_OPTION_CONNECTION_LIMIT, s->opt.connections_max + LIMIT_EXTRA,
		MHD_OPTION_CONNECTION_TIMEOUT, 0u, /* on_sweep() looks after them: slow ones are never silent */
		MHD_OPTION_NOTIFY_CONNECTION, on_connection, s,
		MHD_OPTION_NOTIFY_COMPLETED, request_on_completed, s,
		MHD_OPTION_URI_LOG_CALLBACK, request_on_uri, s,
		MHD_OPTION_END);
	info = s->daemon ? MHD_get_daemon_info(s->daemon, MHD_DAEMON_INFO_EPOLL_FD) : NULL;
	if (!info || uv_poll_init(s->opt.loop, &s->poll, info->epoll_fd) < 0)
		return error_set(err, ERR_INTERNAL, "the HTTP library does not start");
	s->polls = true;
	s->poll.data = s;
	uv_poll_start(&s->poll, UV_READABLE, on_poll);
	return 0;
}

static int start_tls(struct http_server *s, struct error *err)
{
	struct tls_context_options tls = {
		.cert_file = s->opt.cert_file, .key_file = s->opt.key_file, .client_ca_file = s->opt.client_ca_file,
		.tls12 = true,
	};

	if (!s->opt.cert_file)
		return 0;
	s->tls = tls_context_new(&tls, err);
	return s->tls ? 0 : -1;
}

struct http_server *http_open(const struct http_options *options, struct error *err)
{
	struct http_server *s = xnew(struct http_server);

	s->opt = *options;
	set_defaults(&s->opt);
	LIST_INIT(&s->conns);
	LIST_INIT(&s->streams);
	closer_init(&s->closer);
	uv_tcp_init(options->loop, &s->listener);
	uv_timer_init(options->loop, &s->kick);
	uv_timer_init(options->loop, &s->sweep);
	uv_timer_init(options->loop, &s->next_turn);
	s->kick.data = s->sweep.data = s->next_turn.data = s;
	if (start_tls(s, err) == 0 && start_daemon(s, err) == 0 && accept_open(s, err) == 0) {
		s->opt.address = s->opt.cert_file = s->opt.key_file = s->opt.client_ca_file = NULL; /* used up */
		uv_timer_start(&s->sweep, on_sweep, sweep_ms(&s->opt), sweep_ms(&s->opt));
		uv_unref((uv_handle_t *)&s->sweep);
		return s;
	}
	http_close(s, NULL, NULL);
	return NULL;
}

uint16_t http_port(const struct http_server *s)
{
	struct sockaddr_storage addr;
	int len = sizeof(addr);

	if (uv_tcp_getsockname(&s->listener, (struct sockaddr *)&addr, &len) < 0)
		return 0;
	return ntohs(addr.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&addr)->sin6_port
						: ((struct sockaddr_in *)&addr)->sin_port);
}

void http_stats(const struct http_server *s, struct http_stats *ret)
{
	struct http_conn *c;
	struct http_stream *stream;

	*ret = s->stats;
	LIST_FOREACH(c, &s->conns, entry)
		ret->connections += !c->doomed;
	LIST_FOREACH(stream, &s->streams, entry)
		ret->streams++;
}

static void on_closed(void *data)
{
	struct http_server *s = data;
	void (*closed)(void *) = s->closed;
	void *closed_data = s->closed_data;

	tls_context_free(s->tls);
	free(s);
	if (closed)
		closed(closed_data);
}

/* libmicrohttpd may not be stopped while a connection is suspended. */
static void stop_daemon(struct http_server *s)
{
	struct http_conn *c;

	if (!s->daemon)
		return;
	LIST_FOREACH(c, &s->conns, entry) {
		c->doomed = true;
		if (c->req)
			request_detach(c->req);
	}
	stream_end_all(s);
	if (s->polls)
		uv_poll_stop(&s->poll);
	MHD_stop_daemon(s->daemon);
	s->daemon = NULL;
	if (s->polls)
		closer_add(&s->closer, (uv_handle_t *)&s->poll);
}

void http_close(struct http_server *s, void (*closed)(void *data), void *data)
{
	struct http_conn *c, *next;

	if (!s) {
		if (closed)
			closed(data);
		return;
	}
	assert(!s->running);
	s->closing = true;
	s->closed = closed;
	s->closed_data = data;
	closer_begin(&s->closer, on_closed, s);
	closer_add(&s->closer, (uv_handle_t *)&s->listener);
	stop_daemon(s);
	for (c = LIST_FIRST(&s->conns); c; c = next) {
		next = LIST_NEXT(c, entry);
		if (c->pump)
			tls_pump_close(c->pump);
	}
	closer_add(&s->closer, (uv_handle_t *)&s->kick);
	closer_add(&s->closer, (uv_handle_t *)&s->sweep);
	closer_add(&s->closer, (uv_handle_t *)&s->next_turn);
	closer_end(&s->closer);
}
