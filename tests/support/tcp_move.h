/*
 * tcp_move - an established TCP socket goes from one network namespace to another, as CRIU does it (TCP_REPAIR, tcp(7)): with its
 * addresses, sequence numbers, options and what is in its queues. Neither end is told.
 */
#pragma once
#include "support/net_nodes.h"

#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>


struct tcp_image {
	struct sockaddr_storage own, peer;
	socklen_t len;
	uint32_t seq[3];       /* by queue: TCP_RECV_QUEUE, TCP_SEND_QUEUE */
	uint8_t queue[3][65536];
	int queued[3];
	int unsent;
	struct tcp_info info;
	uint32_t timestamp, mss;
	struct tcp_repair_window window;
};

static inline void tcp_set(int fd, int option, int value)
{
	if (setsockopt(fd, SOL_TCP, option, &value, sizeof(value)) < 0)
		fail_msg("TCP option %d = %d: %s", option, value, strerror(errno));
}

static inline void tcp_get(int fd, int option, void *value, size_t size)
{
	socklen_t len = (socklen_t)size;

	if (getsockopt(fd, SOL_TCP, option, value, &len) < 0)
		fail_msg("TCP option %d: %s", option, strerror(errno));
}

/* From here on it says nothing; its end is not told to the peer. Its namespace must be cut. */
static inline void tcp_dump(int fd, struct tcp_image *im)
{
	static const int asks[] = {[TCP_RECV_QUEUE] = FIONREAD, [TCP_SEND_QUEUE] = SIOCOUTQ};

	memset(im, 0, sizeof(*im));
	tcp_set(fd, TCP_REPAIR, 1);
	tcp_get(fd, TCP_INFO, &im->info, sizeof(im->info));
	assert_int_equal(im->info.tcpi_state, 1);
	im->len = sizeof(im->own);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&im->own, &im->len), 0);
	assert_int_equal(getpeername(fd, (struct sockaddr *)&im->peer, &im->len), 0);
	tcp_get(fd, TCP_TIMESTAMP, &im->timestamp, sizeof(im->timestamp));
	tcp_get(fd, TCP_MAXSEG, &im->mss, sizeof(im->mss));
	tcp_get(fd, TCP_REPAIR_WINDOW, &im->window, sizeof(im->window));
	assert_int_equal(ioctl(fd, SIOCOUTQNSD, &im->unsent), 0);
	for (int q = TCP_RECV_QUEUE; q <= TCP_SEND_QUEUE; q++) {
		assert_int_equal(ioctl(fd, (unsigned long)asks[q], &im->queued[q]), 0);
		assert_in_range(im->queued[q], 0, sizeof(im->queue[q]));
		tcp_set(fd, TCP_REPAIR_QUEUE, q);
		tcp_get(fd, TCP_QUEUE_SEQ, &im->seq[q], sizeof(im->seq[q]));
		if (im->queued[q])
			assert_int_equal(recv(fd, im->queue[q], sizeof(im->queue[q]), MSG_PEEK | MSG_DONTWAIT), im->queued[q]);
	}
	close(fd);
}

static inline void tcp_fill(int fd, int queue, const uint8_t *bytes, int n)
{
	tcp_set(fd, TCP_REPAIR_QUEUE, queue);
	for (int done = 0; done < n;) {
		ssize_t r = send(fd, bytes + done, (size_t)(n - done), 0);

		if (r <= 0)
			fail_msg("fill queue %d: %s", queue, strerror(errno));
		done += (int)r;
	}
}

static inline void tcp_options(int fd, const struct tcp_image *im)
{
	struct tcp_repair_opt opts[4];
	uint8_t on = im->info.tcpi_options;
	size_t n = 0;

	opts[n++] = (struct tcp_repair_opt){2 /* MSS */, im->mss};
	if (on & 4) /* window scale */
		opts[n++] = (struct tcp_repair_opt){3, (uint32_t)im->info.tcpi_snd_wscale | (uint32_t)im->info.tcpi_rcv_wscale << 16};
	if (on & 2)
		opts[n++] = (struct tcp_repair_opt){4 /* SACK */, 0};
	if (on & 1)
		opts[n++] = (struct tcp_repair_opt){8 /* timestamps */, 0};
	if (setsockopt(fd, SOL_TCP, TCP_REPAIR_OPTIONS, opts, (socklen_t)(n * sizeof(*opts))) < 0)
		fail_msg("TCP options: %s", strerror(errno));
	tcp_set(fd, TCP_TIMESTAMP, (int)im->timestamp);
}

/* As it was, in namespace ns, which has its address. */
static inline int tcp_restore(int ns, const struct tcp_image *im)
{
	int fd = ns_socket(ns, im->own.ss_family, SOCK_STREAM), on = 1, sent = im->queued[TCP_SEND_QUEUE] - im->unsent;

	tcp_set(fd, TCP_REPAIR, 1);
	for (int q = TCP_RECV_QUEUE; q <= TCP_SEND_QUEUE; q++) {
		tcp_set(fd, TCP_REPAIR_QUEUE, q);
		tcp_set(fd, TCP_QUEUE_SEQ, (int)(im->seq[q] - (uint32_t)im->queued[q]));
	}
	if (im->own.ss_family == AF_INET6) /* as CRIU does; a virtual address is none of an interface's */
		assert_int_equal(setsockopt(fd, SOL_IP, IP_FREEBIND, &on, sizeof(on)), 0);
	if (bind(fd, (const struct sockaddr *)&im->own, im->len) < 0)
		fail_msg("bind to the address that it had: %s", strerror(errno));
	if (connect(fd, (const struct sockaddr *)&im->peer, im->len) < 0)
		fail_msg("connect, repairing: %s", strerror(errno));
	tcp_options(fd, im);
	tcp_fill(fd, TCP_RECV_QUEUE, im->queue[TCP_RECV_QUEUE], im->queued[TCP_RECV_QUEUE]);
	tcp_fill(fd, TCP_SEND_QUEUE, im->queue[TCP_SEND_QUEUE], sent);
	if (setsockopt(fd, SOL_TCP, TCP_REPAIR_WINDOW, &im->window, sizeof(im->window)) < 0)
		fail_msg("TCP window: %s", strerror(errno));
	tcp_set(fd, TCP_REPAIR, 0);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)); /* repairing has changed it */
	if (im->unsent)
		assert_int_equal(send(fd, im->queue[TCP_SEND_QUEUE] + sent, (size_t)im->unsent, 0), im->unsent);
	set_timeout(fd, 10000);
	return fd;
}
