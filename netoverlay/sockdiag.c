#include "netns_internal.h"

#include "common/error.h"
#include "common/mem.h"

#include <arpa/inet.h>
#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <netinet/tcp.h>
#include <netlink/msg.h>
#include <stdlib.h>

/* Source: sock_diag(7). */

#define PORTS 65536
#define LIVE (1u << TCP_ESTABLISHED | 1u << TCP_SYN_RECV | 1u << TCP_FIN_WAIT1 | 1u << TCP_FIN_WAIT2 | 1u << TCP_CLOSE_WAIT)

struct count {
	uint8_t *ports; /* one bit per local port that counts */
	bool listening; /* this read finds them */
	unsigned n;
};

static bool has_port(const uint8_t *ports, uint16_t port)
{
	return ports[port / 8] & 1u << port % 8;
}

static void set_port(uint8_t *ports, uint16_t port)
{
	ports[port / 8] |= 1u << port % 8;
}

static bool on_socket(void *data, const struct nlmsghdr *nlh, struct error *err)
{
	const struct inet_diag_msg *m = nlsock_header(nlh, sizeof(*m));
	struct count *c = data;

	if (!m)
		return true;
	if (c->listening)
		set_port(c->ports, ntohs(m->id.idiag_sport));
	else
		c->n += has_port(c->ports, ntohs(m->id.idiag_sport));
	return true;
}

static int read_sockets(struct nlsock *nl, unsigned states, struct count *c, struct error *err)
{
	static const uint8_t families[] = {AF_INET, AF_INET6};

	for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
		struct inet_diag_req_v2 req = {
			.sdiag_family = families[i], .sdiag_protocol = IPPROTO_TCP, .idiag_states = states};
		struct nl_msg *msg = nlsock_msg(SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, &req, sizeof(req));
		int r = nlsock_read(nl, msg, on_socket, c, err);

		nlmsg_free(msg);
		if (r < 0)
			return -1;
	}
	return 0;
}

int netns_tcp_connections(struct netns *ns, const uint16_t *ports, size_t n_ports, unsigned *ret, struct error *err)
{
	_cleanup_free_ uint8_t *bits = xcalloc(1, PORTS / 8);
	struct count c = {.ports = bits};
	struct nlsock nl = {0};
	int back, r;

	for (size_t i = 0; i < n_ports; i++)
		set_port(bits, ports[i]);
	if (netns_enter(ns, &back, err) < 0)
		return -1;
	r = nlsock_open(&nl, NETLINK_SOCK_DIAG, err);
	netns_leave(back);
	if (r == 0 && n_ports == 0) {
		c.listening = true;
		r = read_sockets(&nl, 1u << TCP_LISTEN, &c, err);
		c.listening = false;
	}
	if (r == 0)
		r = read_sockets(&nl, LIVE, &c, err);
	nlsock_close(&nl);
	*ret = c.n;
	return r;
}
