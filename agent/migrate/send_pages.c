#include "agent/migrate/outgoing_internal.h"

#include "agent/migrate/frames.h"
#include "agent/migrate/squeeze.h"
#include "common/loop.h"
#include "common/mem.h"

#include <errno.h>
#include <sys/socket.h>

struct pages {
	struct producer producer;
	uint32_t round;
	send_pages_cb cb;
	void *data;
	uv_poll_t poll;
	int fd;
	bool polling, closing;
	uint64_t bytes;
	/* the pool's, while `working` */
	bool working, all_sent, lost;
	struct squeeze *squeeze;
	uint8_t *plain, *packed;
	size_t plain_len, packed_len;
	bool blocked; /* nothing to read now */
	struct error err;
};

static void on_closed(uv_handle_t *handle)
{
	struct pages *p = container_of((uv_poll_t *)handle, struct pages, poll);

	mem_closep(&p->fd);
	squeeze_free(p->squeeze);
	free(p->plain);
	free(p->packed);
	free(p);
}

static void pages_free(struct pages *p)
{
	if (p->closing)
		return;
	p->closing = true;
	/* Whoever writes on the other side must not wait for us. */
	shutdown(p->fd, SHUT_RDWR);
	uv_close((uv_handle_t *)&p->poll, on_closed);
}

static void finish(struct pages *p, const struct error *err)
{
	send_pages_cb cb = p->cb;
	void *data = p->data;
	uint64_t bytes = p->bytes;
	struct error copy = err ? *err : ERROR_INIT;

	p->producer.out->pages = NULL;
	pages_free(p);
	cb(data, bytes, err ? &copy : NULL);
}

/* On the pool: as much as is there. */
static void read_bytes(void *data)
{
	struct pages *p = data;
	size_t bound = squeeze_bound(FRAMES_PAGE_BYTES);

	if (!p->plain) {
		p->plain = xmalloc(FRAMES_PAGE_BYTES);
		p->packed = xmalloc(bound);
		p->squeeze = squeeze_new();
	}
	p->plain_len = 0;
	p->blocked = false;
	while (p->plain_len < FRAMES_PAGE_BYTES) {
		ssize_t n = recv(p->fd, p->plain + p->plain_len, FRAMES_PAGE_BYTES - p->plain_len, MSG_DONTWAIT);

		if (n > 0) {
			p->plain_len += (size_t)n;
			continue;
		}
		if (n < 0 && errno == EINTR)
			continue;
		p->blocked = n < 0 && errno == EAGAIN;
		p->all_sent = n == 0 || (n < 0 && errno == ECONNRESET);
		if (n < 0 && !p->blocked && !p->all_sent)
			error_set_errno(&p->err, errno, "read pages");
		break;
	}
	p->packed_len = p->plain_len ? squeeze_block(p->squeeze, p->plain, p->plain_len, p->packed, bound) : 0;
}

static int send_bytes(struct pages *p)
{
	Skein__MoveChunk chunk = SKEIN__MOVE_CHUNK__INIT;
	Skein__MovePageBytes bytes = SKEIN__MOVE_PAGE_BYTES__INIT;

	bytes.data.data = p->packed_len ? p->packed : p->plain;
	bytes.data.len = p->packed_len ? p->packed_len : p->plain_len;
	bytes.plain_bytes = p->packed_len ? (uint32_t)p->plain_len : 0;
	bytes.end = p->all_sent;
	chunk.body_case = SKEIN__MOVE_CHUNK__BODY_PAGE_BYTES;
	chunk.page_bytes = &bytes;
	p->bytes += p->plain_len;
	return outgoing_send(p->producer.out, &chunk);
}

static void go_on(struct pages *p);

static void on_read(void *data)
{
	struct pages *p = data;

	p->working = false;
	if (p->lost) {
		pages_free(p);
		return;
	}
	if (error_is_set(&p->err)) {
		finish(p, &p->err);
		return;
	}
	if ((p->plain_len || p->all_sent) && send_bytes(p) < 0)
		return; /* on_lost() follows, and knows why */
	if (!p->all_sent)
		go_on(p);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct pages *p = container_of(poll, struct pages, poll);

	uv_poll_stop(poll);
	p->polling = false;
	p->working = true;
	loop_work(p->producer.out->o.loop, read_bytes, on_read, p);
}

static void go_on(struct pages *p)
{
	if (p->working || p->polling || p->all_sent || outgoing_full(p->producer.out))
		return;
	p->polling = true;
	uv_poll_start(&p->poll, UV_READABLE | UV_DISCONNECT, on_readable);
}

static void on_drain(struct producer *producer)
{
	go_on(container_of(producer, struct pages, producer));
}

/* Answers are a few bytes each: they fit, or something is wrong. */
static void answer(struct pages *p, const ProtobufCBinaryData *bytes)
{
	ssize_t n = bytes->len ? send(p->fd, bytes->data, bytes->len, MSG_DONTWAIT | MSG_NOSIGNAL) : 0;
	struct error err;

	if (n == (ssize_t)bytes->len || p->all_sent || (n < 0 && (errno == EPIPE || errno == ECONNRESET)))
		return; /* who has closed wants no answer */
	error_set(&err, ERR_INTERNAL, "an answer of %zu bytes of the page server finds no room", bytes->len);
	if (p->working) {
		p->err = err;
		return;
	}
	finish(p, &err);
}

static bool on_ack(struct producer *producer, const Skein__MoveAck *ack)
{
	struct pages *p = container_of(producer, struct pages, producer);

	if (ack->body_case == SKEIN__MOVE_ACK__BODY_PAGE_BYTES) {
		answer(p, &ack->page_bytes);
		return true;
	}
	if (ack->body_case != SKEIN__MOVE_ACK__BODY_ROUND_DONE || ack->round_done->id != p->round || !p->all_sent)
		return false;
	finish(p, NULL);
	return true;
}

static void on_lost(struct producer *producer, const struct error *err)
{
	struct pages *p = container_of(producer, struct pages, producer);
	send_pages_cb cb = p->cb;
	void *data = p->data;

	p->lost = true;
	if (p->working)
		shutdown(p->fd, SHUT_RDWR);
	else
		pages_free(p);
	if (err)
		cb(data, 0, err);
}

void send_pages(struct outgoing *o, uint32_t round, uint32_t parent, int fd, send_pages_cb cb, void *data)
{
	Skein__MoveChunk chunk = SKEIN__MOVE_CHUNK__INIT;
	Skein__MovePages begin = SKEIN__MOVE_PAGES__INIT;
	struct pages *p = xnew(struct pages);

	p->producer = (struct producer){.out = o, .on_drain = on_drain, .on_ack = on_ack, .on_lost = on_lost};
	p->round = begin.round = round;
	begin.parent = parent;
	p->fd = fd;
	p->cb = cb;
	p->data = data;
	uv_poll_init(o->o.loop, &p->poll, fd);
	chunk.body_case = SKEIN__MOVE_CHUNK__BODY_PAGES;
	chunk.pages = &begin;
	o->pages = &p->producer;
	outgoing_send(o, &chunk);
	go_on(p);
	if (!p->polling) { /* full: something has to come back */
		p->polling = true;
		uv_poll_start(&p->poll, UV_READABLE | UV_DISCONNECT, on_readable);
	}
}
