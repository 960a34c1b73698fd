#include "agent/exec/checkpoint_int.h"

#include "common/error.h"
#include "common/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/*
 * The protocol of criu's page server (criu/page-xfer.c): headers, some with pages behind them, some with an answer. A header
 * has 24 bytes (criu 3: 32-bit number of pages) or 32 (criu 4: 64-bit one, with padding). Which of them, the first message
 * tells: criu sends a single header and waits.
 */
#define HEADER_V3 24
#define HEADER_V4 32
#define READ_BYTES (256 * 1024)
#define READS_PER_TURN 4
#define PE_PRESENT 4u /* images/pagemap.proto: pages follow */

enum { PS_ADD = 1, PS_HOLE = 2, PS_OPEN = 3, PS_OPEN2 = 4, PS_PARENT = 5, PS_ADD_F = 6, PS_CLOSE = 0x1023, PS_FORCE_CLOSE = 0x1024 };

struct page_sink {
	int fd;
	bool with_parent;
	size_t header_bytes; /* 0 = not known yet */
	char header[HEADER_V4];
	size_t have;   /* of the header */
	uint64_t skip; /* bytes of pages that are to come */
	char *buf;
	uv_poll_t poll;
	struct closer closer;
};

static void on_closed(void *data)
{
	struct page_sink *s = data;

	mem_closep(&s->fd);
	free(s->buf);
	free(s);
}

void page_sink_close(struct page_sink *s)
{
	if (!closer_begin(&s->closer, on_closed, s))
		return;
	closer_add(&s->closer, (uv_handle_t *)&s->poll);
	closer_end(&s->closer);
}

static void answer(struct page_sink *s, const void *data, size_t len)
{
	if (send(s->fd, data, len, MSG_NOSIGNAL) < 0)
		uv_poll_stop(&s->poll); /* the other end is gone: criu's exit tells of it */
}

/* False: it is not of this protocol. */
static bool take_header(struct page_sink *s)
{
	const int32_t parent = s->with_parent, ok = 0;
	uint32_t cmd, n32;
	uint64_t pages;
	char yes = (char)s->with_parent;

	memcpy(&cmd, s->header, 4);
	memcpy(&n32, s->header + 4, 4);
	pages = n32;
	if (s->header_bytes == HEADER_V4)
		memcpy(&pages, s->header + 8, 8);
	switch (cmd & 0xffff) {
	case PS_ADD_F:
		if (!(cmd >> 16 & PE_PRESENT))
			return true;
		/* fall through */
	case PS_ADD:
		s->skip = pages * (uint64_t)sysconf(_SC_PAGESIZE);
		return pages < UINT64_MAX >> 16;
	case PS_OPEN2:
		answer(s, &yes, 1);
		return true;
	case PS_PARENT:
		answer(s, &parent, sizeof(parent));
		return true;
	case PS_CLOSE:
	case PS_FORCE_CLOSE:
		answer(s, &ok, sizeof(ok));
		return true;
	case PS_OPEN:
	case PS_HOLE:
		return true;
	}
	return false;
}

static bool take(struct page_sink *s, const char *p, size_t len)
{
	if (!s->header_bytes)
		s->header_bytes = len == HEADER_V4 ? HEADER_V4 : HEADER_V3;
	while (len) {
		size_t n = s->skip ? (size_t)MIN(s->skip, (uint64_t)len) : MIN(len, s->header_bytes - s->have);

		if (s->skip) {
			s->skip -= n;
		} else {
			memcpy(s->header + s->have, p, n);
			s->have += n;
		}
		p += n;
		len -= n;
		if (s->have == s->header_bytes) {
			s->have = 0;
			if (!take_header(s))
				return false;
		}
	}
	return true;
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct page_sink *s = container_of(poll, struct page_sink, poll);

	for (int i = 0; i < READS_PER_TURN; i++) {
		ssize_t n = recv(s->fd, s->buf, READ_BYTES, MSG_DONTWAIT);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n <= 0 || !take(s, s->buf, (size_t)n)) {
			uv_poll_stop(&s->poll);
			shutdown(s->fd, SHUT_RDWR); /* criu gives up, should it still be there */
			return;
		}
	}
}

struct page_sink *page_sink_open(uv_loop_t *loop, int fd, bool with_parent)
{
	struct page_sink *s = xnew(struct page_sink);

	*s = (struct page_sink){.fd = fd, .with_parent = with_parent, .buf = xmalloc(READ_BYTES)};
	closer_init(&s->closer);
	uv_poll_init(loop, &s->poll, fd);
	uv_poll_start(&s->poll, UV_READABLE, on_readable);
	return s;
}

int page_socket_pair(int ret_fds[2], struct error *err)
{
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ret_fds) < 0)
		return error_set_errno(err, errno, "make a pair of sockets");
	return 0;
}
