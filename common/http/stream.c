#include "internal.h"

#include "common/clock.h"
#include "common/mem.h"

#include <string.h>

#define BUFFER_DEFAULT_BYTES ((size_t)256 << 10)
#define BLOCK_BYTES 4096
#define HEARTBEAT_NS (15 * NS_PER_SEC)

/* ---------------------------------------------------------------- from libmicrohttpd */

static void suspend(struct http_stream *s)
{
	s->suspended = true;
	MHD_suspend_connection(s->conn->mhd);
}

static ssize_t read_stream(void *data, uint64_t pos, char *buf, size_t max)
{
	struct http_stream *s = data;
	size_t n = MIN(s->buf.len - s->taken, max);

	if (s->dropped || !s->conn || s->conn->doomed)
		return MHD_CONTENT_READER_END_WITH_ERROR;
	if (n == 0) {
		if (s->ending)
			return MHD_CONTENT_READER_END_OF_STREAM;
		suspend(s);
		if (s->opt.on_drain && !s->told_drained)
			s->told_drained = s->drained = s->server->drained = true;
		return 0;
	}
	memcpy(buf, s->buf.p + s->taken, n);
	s->taken += n;
	if (s->taken == s->buf.len)
		s->taken = s->buf.len = 0;
	s->conn->since = clock_mono_ns();
	return (ssize_t)n;
}

static void on_response_gone(void *data)
{
	struct http_stream *s = data;

	LIST_REMOVE(s, entry);
	if (s->conn && s->conn->req)
		s->conn->req->stream = NULL;
	if (s->opt.on_close)
		s->opt.on_close(s->opt.data);
	strbuf_fini(&s->buf);
	free(s->heartbeat);
	free(s);
}

static void resume(struct http_stream *s)
{
	if (!s->suspended || !s->conn || !s->conn->mhd)
		return;
	s->suspended = false;
	s->conn->since = clock_mono_ns(); /* from now on it has something to take */
	MHD_resume_connection(s->conn->mhd);
	server_kick(s->server);
}

static void drop(struct http_stream *s)
{
	s->dropped = true;
	if (s->conn && s->conn->mhd) {
		s->conn->doomed = true;
		shutdown(s->conn->fd, SHUT_RDWR);
	}
	resume(s);
	server_kick(s->server);
}

/* ---------------------------------------------------------------- from our side */

static unsigned count(const struct http_server *server)
{
	const struct http_stream *s;
	unsigned n = 0;

	LIST_FOREACH(s, &server->streams, entry)
		n++;
	return n;
}

struct http_stream *http_stream_begin(struct http_request *req, const struct http_stream_options *options)
{
	struct http_server *server = req->server;
	struct http_stream *s;

	if (!req->conn || req->answered || req->conn->doomed || server->closing) {
		http_answer(req, MHD_HTTP_SERVICE_UNAVAILABLE, "text/plain; charset=utf-8", NULL, 0);
		return NULL;
	}
	if (count(server) >= server->opt.streams_max) {
		http_add_header(req, "Retry-After", "10");
		http_answer_text(req, MHD_HTTP_SERVICE_UNAVAILABLE, "%u streams are open: no more are taken", server->opt.streams_max);
		return NULL;
	}
	s = xnew(struct http_stream);
	s->server = server;
	s->conn = req->conn;
	s->opt = *options;
	s->heartbeat = xstrdup(options->heartbeat);
	if (s->opt.buffer_max_bytes == 0)
		s->opt.buffer_max_bytes = BUFFER_DEFAULT_BYTES;
	s->pushed_at = clock_mono_ns();
	LIST_INSERT_HEAD(&server->streams, s, entry);
	req->stream = s;
	req->status = MHD_HTTP_OK;
	req->content_type = xstrdup(options->content_type);
	http_add_header(req, "Cache-Control", "no-store");
	req->response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, BLOCK_BYTES, read_stream, s, on_response_gone);
	if (!req->response)
		abort(); /* out of memory */
	req->answered = true;
	answer_ready(req);
	request_let_go_of_handler(req);
	return s;
}

/* What has been taken goes from the front now and then, so that the buffer stays as small as what is in it. */
static void compact(struct http_stream *s)
{
	if (s->taken < s->buf.len / 2)
		return;
	memmove(s->buf.p, s->buf.p + s->taken, s->buf.len - s->taken);
	s->buf.len -= s->taken;
	s->taken = 0;
}

int http_stream_push(struct http_stream *s, const void *data, size_t len)
{
	if (s->dropped || s->ending)
		return -1;
	if (s->buf.len - s->taken + len > s->opt.buffer_max_bytes) {
		drop(s);
		return -1;
	}
	if (s->taken > 0)
		compact(s);
	strbuf_add(&s->buf, data, len);
	s->pushed_at = clock_mono_ns();
	s->told_drained = false;
	resume(s);
	return 0;
}

size_t http_stream_unsent(const struct http_stream *s)
{
	return s->buf.len - s->taken;
}

void http_stream_close(struct http_stream *s)
{
	s->ending = true;
	resume(s);
}

/* ---------------------------------------------------------------- from the server */

void stream_tick(struct http_server *server, int64_t now)
{
	struct http_stream *s, *next;

	for (s = LIST_FIRST(&server->streams); s; s = next) {
		next = LIST_NEXT(s, entry);
		if (s->suspended && s->conn)
			s->conn->since = now; /* it has taken everything */
		if (s->heartbeat && !s->ending && now - s->pushed_at >= HEARTBEAT_NS)
			http_stream_push(s, s->heartbeat, strlen(s->heartbeat));
	}
}

void stream_tell_drained(struct http_server *server)
{
	struct http_stream *s;

	if (!server->drained)
		return;
	server->drained = false;
	LIST_FOREACH(s, &server->streams, entry) {
		if (!s->drained)
			continue;
		s->drained = false;
		if (!s->dropped && !s->ending)
			s->opt.on_drain(s->opt.data);
	}
}

void stream_end_all(struct http_server *server)
{
	struct http_stream *s;

	LIST_FOREACH(s, &server->streams, entry) {
		s->dropped = true;
		resume(s);
	}
}
