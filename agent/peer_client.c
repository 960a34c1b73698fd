#include "agent/peer_client.h"

#include "common/error.h"
#include "common/loop.h"
#include "common/mem.h"
#include "common/str.h"
#include "proto/pb.h"
#include "rpc/rpc.h"

#include <errno.h>
#include <sys/queue.h>
#include <unistd.h>

#define FIRST_BYTE_MS 120000 /* a busy peer lets us wait in line */
#define IDLE_MS 30000
#define MIN_BYTES_PER_MS 64 /* slower than that is as good as not at all, */
#define GRACE_MS 600000	    /* once this is over */
#define KEEP_MS 10000	    /* an unused connection */
#define KEEPALIVE_MS 10000
#define KEEPALIVE_TIMEOUT_MS 10000

/* A connection to one peer. */
struct conn {
	char *address;
	struct rpc_channel *channel;
	unsigned users;
	uint64_t unused_since;
	TAILQ_ENTRY(conn) link;
};

/* One blob on its way in. */
struct blob_fetch {
	struct peer_client *client;
	struct conn *conn;
	struct rpc_call *call; /* NULL: it has ended, a write on the pool is waited for */
	uv_timer_t timer;
	int fd;
	int64_t max_bytes, total_bytes, got_bytes;
	uint8_t *buf; /* being written */
	size_t len;
	bool writing;
	struct error err;
	struct error write_err; /* the pool's */
	void (*done)(void *done_data, const struct error *err);
	void *done_data;
	TAILQ_ENTRY(blob_fetch) link;
};

struct peer_client {
	uv_loop_t *loop;
	struct rpc *rpc;
	struct rpc_creds *creds;
	uv_timer_t timer; /* closes unused connections */
	TAILQ_HEAD(, conn) conns;
	TAILQ_HEAD(, blob_fetch) fetches;
	struct closer closer;
};

/* ---------------------------------------------------------------- connections */

static void conn_free(struct peer_client *c, struct conn *conn)
{
	TAILQ_REMOVE(&c->conns, conn, link);
	rpc_channel_close(conn->channel);
	free(conn->address);
	free(conn);
}

static void on_conn_timer(uv_timer_t *timer)
{
	struct peer_client *c = container_of(timer, struct peer_client, timer);
	struct conn *conn, *next;

	for (conn = TAILQ_FIRST(&c->conns); conn; conn = next) {
		next = TAILQ_NEXT(conn, link);
		if (!conn->users && uv_now(c->loop) - conn->unused_since >= KEEP_MS)
			conn_free(c, conn);
	}
	if (TAILQ_EMPTY(&c->conns))
		uv_timer_stop(timer);
}

static struct conn *conn_get(struct peer_client *c, const char *address)
{
	struct conn *conn;

	TAILQ_FOREACH (conn, &c->conns, link) {
		if (str_eq(conn->address, address))
			break;
	}
	if (!conn) {
		conn = xnew(struct conn);
		conn->address = xstrdup(address);
		conn->channel = rpc_channel_new(
			c->rpc, &(struct rpc_channel_options){
					.target = address,
					.creds = c->creds,
					.server_name = RPC_NODE_NAME,
					.keepalive_ms = KEEPALIVE_MS,
					.keepalive_timeout_ms = KEEPALIVE_TIMEOUT_MS,
				});
		TAILQ_INSERT_TAIL(&c->conns, conn, link);
		uv_timer_start(&c->timer, on_conn_timer, KEEP_MS, KEEP_MS);
		uv_unref((uv_handle_t *)&c->timer);
	}
	conn->users++;
	return conn;
}

static void conn_put(struct peer_client *c, struct conn *conn)
{
	conn->users--;
	conn->unused_since = uv_now(c->loop);
}

/* ---------------------------------------------------------------- end */

static void on_timer_closed(uv_handle_t *handle)
{
	struct blob_fetch *f = container_of(handle, struct blob_fetch, timer);
	struct peer_client *c = f->client;

	f->done(f->done_data, error_is_set(&f->err) ? &f->err : NULL);
	free(f->buf);
	free(f);
	closer_drop(&c->closer);
}

static void end_if_over(struct blob_fetch *f)
{
	if (f->call || f->writing)
		return;
	if (!error_is_set(&f->err) && f->got_bytes != f->total_bytes)
		error_set(&f->err, ERR_DATA_LOSS, "blob ended after %lld of %lld bytes",
			  (long long)f->got_bytes, (long long)f->total_bytes);
	TAILQ_REMOVE(&f->client->fetches, f, link);
	conn_put(f->client, f->conn);
	uv_close((uv_handle_t *)&f->timer, on_timer_closed);
}

/* The first reason stays. */
static void give_up(struct blob_fetch *f, const struct error *why)
{
	if (!error_is_set(&f->err))
		f->err = *why;
	if (f->call)
		rpc_call_cancel(f->call); /* on_call_done follows */
}

static void on_idle(uv_timer_t *timer)
{
	struct blob_fetch *f = container_of(timer, struct blob_fetch, timer);
	struct error err;

	error_set(&err, ERR_TIMEOUT, "sent nothing for %d s",
		  f->got_bytes ? IDLE_MS / 1000 : FIRST_BYTE_MS / 1000);
	give_up(f, &err);
}

static void on_call_done(struct rpc_call *call, const struct error *err, void *data)
{
	struct blob_fetch *f = data;

	f->call = NULL;
	if (err && !error_is_set(&f->err))
		f->err = *err;
	end_if_over(f);
}

/* ---------------------------------------------------------------- bytes */

static void write_chunk(void *data)
{
	struct blob_fetch *f = data;
	int64_t at = f->got_bytes;

	for (size_t done = 0; done < f->len;) {
		ssize_t n = pwrite(f->fd, f->buf + done, f->len - done, at + (int64_t)done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			error_set_errno(&f->write_err, errno, "write blob");
			return;
		}
		done += (size_t)n;
	}
}

static void on_chunk_written(void *data)
{
	struct blob_fetch *f = data;

	f->writing = false;
	f->got_bytes += (int64_t)f->len;
	if (error_is_set(&f->write_err)) {
		give_up(f, &f->write_err);
	} else if (f->call) {
		uv_timer_start(&f->timer, on_idle, IDLE_MS, 0);
		rpc_call_resume(f->call);
	}
	end_if_over(f);
}

static void on_chunk(struct rpc_call *call, const ProtobufCMessage *msg, void *data)
{
	const Skein__BlobChunk *chunk = (const Skein__BlobChunk *)msg;
	struct blob_fetch *f = data;
	struct error err = ERROR_INIT;

	if (error_is_set(&f->err) || f->writing)
		return;
	if (f->total_bytes < 0)
		f->total_bytes = chunk->total_bytes;
	if (f->total_bytes > f->max_bytes || f->total_bytes < 0 ||
	    (!chunk->data.len && f->total_bytes) ||
	    f->got_bytes + (int64_t)chunk->data.len > f->total_bytes) {
		error_set(&err, ERR_DATA_LOSS, "does not keep to the %lld bytes that are accepted",
			  (long long)f->max_bytes);
		give_up(f, &err);
		return;
	}
	free(f->buf);
	f->buf = xmemdup(chunk->data.len ? chunk->data.data : (const uint8_t *)"",
			 MAX(chunk->data.len, 1));
	f->len = chunk->data.len;
	f->writing = true;
	uv_timer_stop(&f->timer); /* now it is our disk that takes its time */
	rpc_call_pause(call);
	loop_work(f->client->loop, write_chunk, on_chunk_written, f);
}

/* ---------------------------------------------------------------- fetch */

static void fetch(void *data, const char *address, const char *digest, int fd, int64_t max_bytes,
		  void (*done)(void *done_data, const struct error *err), void *done_data)
{
	static const struct rpc_handlers handlers = {.on_message = on_chunk,
						     .on_done = on_call_done};
	Skein__BlobRequest request = SKEIN__BLOB_REQUEST__INIT;
	struct blob_fetch *f = xnew(struct blob_fetch);
	struct peer_client *c = data;
	struct error err = ERROR_INIT;

	f->client = c;
	f->fd = fd;
	f->max_bytes = max_bytes;
	f->total_bytes = -1;
	f->done = done;
	f->done_data = done_data;
	uv_timer_init(c->loop, &f->timer);
	uv_timer_start(&f->timer, on_idle, FIRST_BYTE_MS, 0);
	closer_hold(&c->closer);
	TAILQ_INSERT_TAIL(&c->fetches, f, link);
	f->conn = conn_get(c, address);
	f->call = rpc_stream(f->conn->channel, &skein__peer__descriptor, "GetBlob",
			     GRACE_MS + (uint64_t)max_bytes / MIN_BYTES_PER_MS, &handlers, f);
	request.digest = (char *)digest;
	/* When the call has ended already, on_call_done tells why. */
	if (rpc_call_send(f->call, &request.base, &err) == 0)
		rpc_call_half_close(f->call);
	else if (err.code != ERR_CANCELLED)
		give_up(f, &err);
	if (c->closer.closing) {
		error_set(&err, ERR_CANCELLED, "cancelled");
		give_up(f, &err);
	}
}

static void cancel(void *data, void *done_data)
{
	struct peer_client *c = data;
	struct blob_fetch *f;
	struct error err;

	error_set(&err, ERR_CANCELLED, "cancelled");
	TAILQ_FOREACH (f, &c->fetches, link) {
		if (f->done_data == done_data)
			give_up(f, &err);
	}
}

struct image_fetcher peer_client_fetcher(struct peer_client *c)
{
	return (struct image_fetcher){.fetch = fetch, .cancel = cancel, .data = c};
}

struct peer_client *peer_client_new(uv_loop_t *loop, struct rpc *rpc, struct rpc_creds *creds)
{
	struct peer_client *c = xnew(struct peer_client);

	c->loop = loop;
	c->rpc = rpc;
	c->creds = rpc_creds_ref(creds);
	TAILQ_INIT(&c->conns);
	TAILQ_INIT(&c->fetches);
	uv_timer_init(loop, &c->timer);
	closer_init(&c->closer);
	return c;
}

struct close_call {
	struct peer_client *client;
	void (*closed)(void *data);
	void *data;
};

static void on_closed(void *data)
{
	struct close_call call = *(struct close_call *)data;
	struct peer_client *c = call.client;
	struct conn *conn;

	free(data);
	while ((conn = TAILQ_FIRST(&c->conns)))
		conn_free(c, conn);
	rpc_creds_unref(c->creds);
	free(c);
	if (call.closed)
		call.closed(call.data);
}

void peer_client_close(struct peer_client *c, void (*closed)(void *data), void *data)
{
	struct close_call *call = xnew(struct close_call);
	struct blob_fetch *f;
	struct error err;

	*call = (struct close_call){.client = c, .closed = closed, .data = data};
	if (!closer_begin(&c->closer, on_closed, call)) {
		free(call);
		return;
	}
	error_set(&err, ERR_CANCELLED, "cancelled");
	TAILQ_FOREACH(f, &c->fetches, link)
	give_up(f, &err);
	closer_add(&c->closer, (uv_handle_t *)&c->timer);
	closer_end(&c->closer);
}
