#include "dns_internal.h"

#include "common/clock.h"
#include "common/error.h"
#include "common/mem.h"

#include <string.h>

#define CLIENTS_MAX 32 /* of one task */
#define BACKLOG 16
#define IDLE_NS (10 * NS_PER_SEC)
#define UNSENT_MAX (512u << 10)
#define FIRST_BYTES 1024

struct dns_client {
	LIST_ENTRY(dns_client) link;
	struct dns_task *task;
	uv_tcp_t tcp;
	uv_timer_t idle;
	struct closer closer;
	LIST_HEAD(, dns_request) requests;
	uint8_t *in;
	size_t in_len, in_cap;
};

struct sending {
	uv_write_t write;
	uint8_t *data;
};

static void on_client_closed(void *data)
{
	struct dns_client *c = data;
	struct dns_task *t = c->task;

	free(c->in);
	free(c);
	closer_drop(&t->closer);
}

static void client_close(struct dns_client *c)
{
	struct dns_request *r;

	if (!closer_begin(&c->closer, on_client_closed, c))
		return;
	while ((r = LIST_FIRST(&c->requests)))
		dns_request_free(r);
	LIST_REMOVE(c, link);
	c->task->n_clients--;
	closer_add(&c->closer, (uv_handle_t *)&c->tcp);
	closer_add(&c->closer, (uv_handle_t *)&c->idle);
	closer_end(&c->closer);
}

static void on_idle(uv_timer_t *timer)
{
	struct dns_client *c = container_of(timer, struct dns_client, idle);

	if (LIST_EMPTY(&c->requests))
		client_close(c);
	else
		loop_timer_in(timer, IDLE_NS, on_idle);
}

/* ---------------------------------------------------------------- out */

static void on_written(uv_write_t *write, int status)
{
	struct sending *s = container_of(write, struct sending, write);

	free(s->data);
	free(s);
}

void dns_client_send(struct dns_client *c, const struct dns_packet *packet)
{
	struct sending *s;
	uv_buf_t buf;

	if (c->closer.closing)
		return;
	if (uv_stream_get_write_queue_size((uv_stream_t *)&c->tcp) > UNSENT_MAX) { /* it asks and does not read */
		client_close(c);
		return;
	}
	s = xnew(struct sending);
	s->data = xmalloc(packet->len + 2);
	s->data[0] = (uint8_t)(packet->len >> 8);
	s->data[1] = (uint8_t)packet->len;
	memcpy(s->data + 2, packet->data, packet->len);
	buf = uv_buf_init((char *)s->data, (unsigned)(packet->len + 2));
	if (uv_write(&s->write, (uv_stream_t *)&c->tcp, &buf, 1, on_written) < 0) {
		free(s->data);
		free(s);
		client_close(c);
	}
}

void dns_client_add(struct dns_client *c, struct dns_request *r)
{
	LIST_INSERT_HEAD(&c->requests, r, of_client);
}

/* ---------------------------------------------------------------- in */

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
	struct dns_client *c = container_of(handle, struct dns_client, tcp);

	*buf = uv_buf_init((char *)c->in + c->in_len, (unsigned)(c->in_cap - c->in_len));
}

static size_t message_bytes(const struct dns_client *c, size_t at)
{
	return c->in_len - at < 2 ? 2 : 2 + (size_t)(c->in[at] << 8 | c->in[at + 1]);
}

static void take_messages(struct dns_client *c)
{
	size_t at = 0, need;

	while (!c->closer.closing && c->in_len - at >= 2 && c->in_len - at >= message_bytes(c, at)) {
		size_t len = message_bytes(c, at);

		dns_take(c->task, c, NULL, c->in + at + 2, len - 2);
		at += len;
	}
	if (c->closer.closing)
		return;
	need = message_bytes(c, at);
	memmove(c->in, c->in + at, c->in_len - at);
	c->in_len -= at;
	if (need > c->in_cap) { /* at most 64 KiB and its length */
		c->in_cap = need;
		c->in = xrealloc(c->in, c->in_cap);
	}
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct dns_client *c = container_of(stream, struct dns_client, tcp);

	if (n < 0) {
		/* Half closed: answers under way are still wanted. */
		if (n == UV_EOF && !LIST_EMPTY(&c->requests))
			uv_read_stop(stream);
		else
			client_close(c);
		return;
	}
	c->in_len += (size_t)n;
	loop_timer_in(&c->idle, IDLE_NS, on_idle);
	take_messages(c);
}

/* ---------------------------------------------------------------- connections */

static void on_connection(uv_stream_t *server, int status)
{
	struct dns_task *t = container_of(server, struct dns_task, tcp);
	struct dns_client *c;

	if (status < 0)
		return;
	c = xnew(struct dns_client);
	c->task = t;
	c->in_cap = FIRST_BYTES;
	c->in = xmalloc(c->in_cap);
	closer_init(&c->closer);
	uv_tcp_init(t->dns->loop, &c->tcp);
	uv_timer_init(t->dns->loop, &c->idle);
	closer_hold(&t->closer);
	LIST_INSERT_HEAD(&t->clients, c, link);
	t->n_clients++;
	loop_timer_in(&c->idle, IDLE_NS, on_idle);
	if (uv_accept(server, (uv_stream_t *)&c->tcp) < 0 || t->n_clients > CLIENTS_MAX ||
	    uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read) < 0)
		client_close(c);
}

int dns_clients_listen(struct dns_task *t, int fd, struct error *err)
{
	int r = uv_tcp_open(&t->tcp, fd);

	if (r < 0)
		close(fd);
	else
		r = uv_listen((uv_stream_t *)&t->tcp, BACKLOG, on_connection);
	return r < 0 ? error_set(err, ERR_INTERNAL, "listen for names by TCP: %s", uv_strerror(r)) : 0;
}

void dns_clients_close(struct dns_task *t)
{
	struct dns_client *c;

	while ((c = LIST_FIRST(&t->clients)))
		client_close(c);
}
