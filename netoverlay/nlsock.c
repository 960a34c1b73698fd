#include "nlsock.h"

#include "common/error.h"
#include "common/file.h"
#include "common/mem.h"

#include <errno.h>
#include <linux/netlink.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define ANSWER_BYTES (64 * 1024) /* the kernel fills at most 32 KiB per read of a dump */
#define RCVBUF_BYTES (1 << 20)   /* room for the answers to a whole batch */
#define TIMEOUT_S 10             /* answers are there when send returns; a dump takes milliseconds */

DEFINE_CLEANUP(struct nl_sock *, nl_socket_free)

static int open_bound(int protocol, struct error *err)
{
	struct sockaddr_nl any = {.nl_family = AF_NETLINK};
	_cleanup_close_ int fd = file_fd_high(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol));

	if (fd >= 0 && bind(fd, (struct sockaddr *)&any, sizeof(any)) == 0)
		return TAKE_FD(fd);
	if (errno == EPROTONOSUPPORT || errno == EAFNOSUPPORT)
		return error_set(err, ERR_UNIMPLEMENTED, "netlink protocol %d: not supported by the kernel", protocol);
	return error_set_errno(err, errno, "open netlink protocol %d", protocol);
}

int nlsock_open(struct nlsock *nl, int protocol, struct error *err)
{
	_cleanup_(nl_socket_freep) struct nl_sock *sock = nl_socket_alloc();
	struct timeval timeout = {.tv_sec = TIMEOUT_S};
	int r, fd, on = 1, size = RCVBUF_BYTES;

	if (!sock)
		return error_set(err, ERR_INTERNAL, "allocate a netlink socket");
	fd = open_bound(protocol, err);
	if (fd < 0)
		return -1;
	r = nl_socket_set_fd(sock, protocol, fd); /* its, when it went well */
	if (r < 0) {
		close(fd);
		return error_set(err, ERR_INTERNAL, "open netlink protocol %d: %s", protocol, nl_geterror(r));
	}
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) < 0)
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)) < 0)
		return error_set_errno(err, errno, "set the timeout of a netlink socket");
	/* Short answers, with words. Kernels without these answer in the long form, which is understood as well. */
	setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof(on));
	setsockopt(fd, SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof(on));
	nl->sock = TAKE_PTR(sock);
	nl->seq = 1;
	return 0;
}

void nlsock_close(struct nlsock *nl)
{
	if (nl->sock)
		nl_socket_free(nl->sock);
	nl->sock = NULL;
}

uint32_t nlsock_port(const struct nlsock *nl)
{
	return nl->sock ? nl_socket_get_local_port(nl->sock) : 0;
}

static ssize_t send_bytes(struct nlsock *nl, const void *buf, size_t len)
{
	struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
	ssize_t n;

	do
		n = sendto(nl_socket_get_fd(nl->sock), buf, len, 0, (void *)&kernel, sizeof(kernel));
	while (n < 0 && errno == EINTR);
	return n;
}

/* Number of bytes, or -errno. Only the kernel is listened to. */
static ssize_t receive(struct nlsock *nl, void *buf, size_t size, int flags)
{
	struct sockaddr_nl from = {};
	struct iovec iov = {.iov_base = buf, .iov_len = size};
	struct msghdr mh = {.msg_name = &from, .msg_namelen = sizeof(from), .msg_iov = &iov, .msg_iovlen = 1};
	ssize_t n;

	for (;;) {
		n = recvmsg(nl_socket_get_fd(nl->sock), &mh, flags);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (from.nl_pid == 0)
			return mh.msg_flags & MSG_TRUNC ? -EMSGSIZE : n;
	}
}

/* ---------------------------------------------------------------- messages */

struct nl_msg *nlsock_msg(uint16_t type, uint16_t flags, const void *header, size_t header_len)
{
	struct nl_msg *msg = nlmsg_alloc_size(NLSOCK_MESSAGE_MAX);
	void *p;

	if (!msg || !nlmsg_put(msg, 0, 0, type, 0, NLM_F_REQUEST | flags))
		abort(); /* out of memory */
	p = nlmsg_reserve(msg, header_len, NLMSG_ALIGNTO);
	if (!p)
		abort();
	if (header_len)
		memcpy(p, header, header_len);
	return msg;
}

const void *nlsock_header(const struct nlmsghdr *nlh, size_t header_len)
{
	if (nlh->nlmsg_len < NLMSG_HDRLEN + NLMSG_ALIGN(header_len))
		return NULL;
	return (const uint8_t *)nlh + NLMSG_HDRLEN;
}

int nlsock_error_of(const struct nlmsghdr *nlh, char text[NLSOCK_TEXT_MAX])
{
	const struct nlmsgerr *e = nlsock_header(nlh, sizeof(*e));
	size_t skip = NLMSG_HDRLEN + sizeof(*e);
	const struct nlattr *attr;

	if (text)
		text[0] = '\0';
	if (!e || e->error > 0 || e->error < -4095)
		return -EBADMSG;
	if (!text || !(nlh->nlmsg_flags & NLM_F_ACK_TLVS))
		return e->error;
	if (!(nlh->nlmsg_flags & NLM_F_CAPPED) && e->msg.nlmsg_len > NLMSG_HDRLEN)
		skip += NLMSG_ALIGN(e->msg.nlmsg_len - NLMSG_HDRLEN);
	if (skip > nlh->nlmsg_len)
		return e->error;
	attr = nla_find((const struct nlattr *)((const uint8_t *)nlh + skip), nlh->nlmsg_len - skip, NLMSGERR_ATTR_MSG);
	if (attr)
		nla_strlcpy(text, attr, NLSOCK_TEXT_MAX);
	return e->error;
}

/* ---------------------------------------------------------------- batches */

void nlsock_batch_init(struct nlsock_batch *b, struct nlsock *nl, nlsock_failed_cb failed, void *data)
{
	*b = (struct nlsock_batch){.nl = nl, .failed = failed, .data = data};
	b->buf = xmalloc(NLSOCK_BATCH_BYTES);
	b->msg = nlmsg_alloc_size(NLSOCK_MESSAGE_MAX);
	if (!b->msg)
		abort();
}

static void close_fds(struct nlsock_batch *b)
{
	while (b->n_fds)
		close(b->fds[--b->n_fds]);
}

void nlsock_batch_fini(struct nlsock_batch *b)
{
	close_fds(b);
	if (b->msg)
		nlmsg_free(b->msg);
	if (b->buf)
		mem_wipe(b->buf, NLSOCK_BATCH_BYTES); /* keys of states */
	free(b->buf);
	*b = (struct nlsock_batch){};
}

struct nl_msg *nlsock_batch_begin(struct nlsock_batch *b, uint16_t type, uint16_t flags, const void *header, size_t header_len)
{
	struct nlmsghdr *nlh = nlmsg_hdr(b->msg);
	void *p;

	nlh->nlmsg_len = NLMSG_HDRLEN; /* the message before was copied: build in the same memory */
	nlh->nlmsg_type = type;
	nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | flags;
	nlh->nlmsg_pid = 0;
	p = nlmsg_reserve(b->msg, header_len, NLMSG_ALIGNTO);
	if (!p)
		abort();
	memcpy(p, header, header_len);
	return b->msg;
}

void nlsock_batch_add(struct nlsock_batch *b, size_t tag, int tolerate1, int tolerate2, int tolerate3)
{
	struct nlmsghdr *nlh = nlmsg_hdr(b->msg);
	size_t size = NLMSG_ALIGN(nlh->nlmsg_len);

	if (b->n == NLSOCK_BATCH_MAX || b->len + size > NLSOCK_BATCH_BYTES)
		nlsock_batch_flush(b);
	nlh->nlmsg_seq = b->nl->seq++;
	memset(b->buf + b->len, 0, size);
	memcpy(b->buf + b->len, nlh, nlh->nlmsg_len);
	b->len += size;
	b->requests[b->n++] = (struct nlsock_request){.tag = tag, .seq = nlh->nlmsg_seq, .tolerated = {tolerate1, tolerate2, tolerate3}};
}

void nlsock_batch_keep_fd(struct nlsock_batch *b, int fd)
{
	if (b->n_fds == NLSOCK_BATCH_MAX)
		nlsock_batch_flush(b); /* the message that fd is for is not built yet */
	b->fds[b->n_fds++] = fd;
}

static bool tolerated(const struct nlsock_request *r, int e)
{
	return e == 0 || e == r->tolerated[0] || e == r->tolerated[1] || e == r->tolerated[2];
}

/* Their numbers grow, but not by one when something was read while they were queued. */
static struct nlsock_request *request_of(struct nlsock_batch *b, uint32_t seq)
{
	uint32_t i = seq - b->requests[0].seq;

	for (i = MIN(i, b->n - 1); i > 0 && (int32_t)(b->requests[i].seq - seq) > 0; i--)
		;
	return b->requests[i].seq == seq ? &b->requests[i] : NULL;
}

/* Number of requests that these bytes answer. */
static unsigned take_answers(struct nlsock_batch *b, const void *buf, int len)
{
	unsigned n = 0;

	for (const struct nlmsghdr *nlh = buf; nlmsg_ok(nlh, len); nlh = nlmsg_next((struct nlmsghdr *)nlh, &len)) {
		struct nlsock_request *r = request_of(b, nlh->nlmsg_seq);
		char text[NLSOCK_TEXT_MAX];
		int e;

		if (nlh->nlmsg_type != NLMSG_ERROR || !r || r->answered)
			continue; /* an answer to something that was given up */
		r->answered = true;
		n++;
		e = -nlsock_error_of(nlh, text);
		if (!tolerated(r, e))
			b->failed(b->data, r->tag, e, text);
	}
	return n;
}

static void fail_rest(struct nlsock_batch *b, int e)
{
	for (unsigned i = 0; i < b->n; i++) {
		if (!b->requests[i].answered)
			b->failed(b->data, b->requests[i].tag, e, "");
	}
}

void nlsock_batch_flush(struct nlsock_batch *b)
{
	_cleanup_free_ uint8_t *answers = NULL;
	unsigned left = b->n;
	ssize_t n;

	if (left && send_bytes(b->nl, b->buf, b->len) < 0) {
		fail_rest(b, errno);
		left = 0;
	}
	if (left)
		answers = xmalloc(ANSWER_BYTES);
	while (left) {
		n = receive(b->nl, answers, ANSWER_BYTES, 0);
		if (n < 0) {
			fail_rest(b, -n);
			break;
		}
		left -= take_answers(b, answers, n);
	}
	b->n = 0;
	b->len = 0;
	close_fds(b);
}

/* ---------------------------------------------------------------- reading */

struct reading {
	uint32_t seq;
	bool dump, interrupted, done;
	nlsock_message_cb cb;
	void *data;
};

static int read_error(const struct nlmsghdr *nlh, struct error *err)
{
	char text[NLSOCK_TEXT_MAX];
	int e = -nlsock_error_of(nlh, text);

	if (e == 0)
		return 0;
	if (e == ENODEV || e == ENOENT || e == ESRCH)
		return error_set(err, ERR_NOT_FOUND, "netlink: %s%s%s", strerror(e), *text ? ": " : "", text);
	return error_set_errno(err, e, "netlink%s%s", *text ? ": " : "", text);
}

/* The end of a dump carries a status. */
static int done_error(const struct nlmsghdr *nlh, struct error *err)
{
	const int *status = nlsock_header(nlh, sizeof(*status));

	if (status && *status < 0 && *status >= -4095)
		return error_set_errno(err, -*status, "netlink dump");
	return 0;
}

static int take_messages(struct reading *r, const void *buf, int len, struct error *err)
{
	for (const struct nlmsghdr *nlh = buf; nlmsg_ok(nlh, len) && !r->done;
	     nlh = nlmsg_next((struct nlmsghdr *)nlh, &len)) {
		if (nlh->nlmsg_seq != r->seq)
			continue;
		r->interrupted |= nlh->nlmsg_flags & NLM_F_DUMP_INTR;
		if (nlh->nlmsg_type == NLMSG_DONE || nlh->nlmsg_type == NLMSG_ERROR) {
			r->done = true;
			return nlh->nlmsg_type == NLMSG_DONE ? done_error(nlh, err) : read_error(nlh, err);
		}
		if (nlh->nlmsg_type < NLMSG_MIN_TYPE)
			continue;
		if (!r->cb(r->data, nlh, err))
			return -1; /* the rest of the answer has a sequence number that nobody waits for */
		if (!r->dump)
			r->done = true;
	}
	return 0;
}

int nlsock_read(struct nlsock *nl, struct nl_msg *msg, nlsock_message_cb cb, void *data, struct error *err)
{
	_cleanup_free_ uint8_t *buf = xmalloc(ANSWER_BYTES);
	struct nlmsghdr *nlh = nlmsg_hdr(msg);
	struct reading r = {.seq = nl->seq++, .dump = (nlh->nlmsg_flags & NLM_F_DUMP) == NLM_F_DUMP, .cb = cb, .data = data};
	ssize_t n;

	nlh->nlmsg_seq = r.seq;
	if (send_bytes(nl, nlh, nlh->nlmsg_len) < 0)
		return error_set_errno(err, errno, "netlink send");
	while (!r.done) {
		n = receive(nl, buf, ANSWER_BYTES, 0);
		if (n < 0)
			return error_set_errno(err, -n, "netlink receive");
		if (take_messages(&r, buf, n, err) < 0)
			return -1;
	}
	if (r.interrupted)
		return error_set(err, ERR_CONFLICT, "the kernel's tables changed while they were read");
	return 0;
}

long nlsock_poll(struct nlsock *nl, void *buf, size_t size)
{
	ssize_t n = receive(nl, buf, size, MSG_DONTWAIT);

	if (n == -EAGAIN || n == -EWOULDBLOCK)
		return 0;
	return n < 0 ? -1 : n;
}
