#include "netns_internal.h"

#include "common/error.h"
#include "common/file.h"
#include "common/mem.h"

#include <arpa/inet.h>
#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netlink/msg.h>
#include <stdlib.h>
#include <string.h>

/* Source: sock_diag(7). */

#define PORTS 65536
#define LIVE                                                                                                            \
	(1u << TCP_ESTABLISHED | 1u << TCP_SYN_RECV | 1u << TCP_FIN_WAIT1 | 1u << TCP_FIN_WAIT2 |                       \
	 1u << TCP_CLOSE_WAIT | 1u << TCP_CLOSING | 1u << TCP_LAST_ACK)
#define SNMP_MAX_BYTES 65536

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

/* The kernel writes an address without a family's worth of bytes behind it as zeroes. */
static bool is_loopback(const struct inet_diag_msg *m, const __be32 address[4])
{
	struct in6_addr six;

	if (m->idiag_family == AF_INET)
		return ntohl(address[0]) >> 24 == IN_LOOPBACKNET;
	memcpy(&six, address, sizeof(six));
	return IN6_IS_ADDR_LOOPBACK(&six) || (IN6_IS_ADDR_V4MAPPED(&six) && six.s6_addr[12] == IN_LOOPBACKNET);
}

/* Between programs of the namespace: over loopback, or by one of its own addresses. */
static bool is_inside(const struct inet_diag_msg *m)
{
	return is_loopback(m, m->id.idiag_dst) || memcmp(m->id.idiag_src, m->id.idiag_dst, sizeof(m->id.idiag_src)) == 0;
}

static bool on_socket(void *data, const struct nlmsghdr *nlh, struct error *err)
{
	const struct inet_diag_msg *m = nlsock_header(nlh, sizeof(*m));
	struct count *c = data;

	if (!m)
		return true;
	if (!c->listening)
		c->n += !is_inside(m) && has_port(c->ports, ntohs(m->id.idiag_sport));
	else if (!is_loopback(m, m->id.idiag_src))
		set_port(c->ports, ntohs(m->id.idiag_sport));
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

static int open_diag(struct netns *ns, struct nlsock *nl, struct error *err)
{
	int back, r;

	if (netns_enter(ns, &back, err) < 0)
		return -1;
	r = nlsock_open(nl, NETLINK_SOCK_DIAG, err);
	netns_leave(back);
	return r;
}

static int read_listeners(struct nlsock *nl, struct count *c, struct error *err)
{
	int r;

	c->listening = true;
	r = read_sockets(nl, 1u << TCP_LISTEN, c, err);
	c->listening = false;
	return r;
}

int netns_tcp_connections(struct netns *ns, const uint16_t *ports, size_t n_ports, unsigned *ret, struct error *err)
{
	_cleanup_free_ uint8_t *bits = xcalloc(1, PORTS / 8);
	struct count c = {.ports = bits};
	struct nlsock nl = {0};
	int r;

	for (size_t i = 0; i < n_ports; i++)
		set_port(bits, ports[i]);
	if (open_diag(ns, &nl, err) < 0)
		return -1;
	r = n_ports ? 0 : read_listeners(&nl, &c, err);
	if (r == 0)
		r = read_sockets(&nl, LIVE, &c, err);
	nlsock_close(&nl);
	*ret = c.n;
	return r;
}

int netns_tcp_listening(struct netns *ns, const uint16_t *ports, size_t n_ports, bool *ret_each, struct error *err)
{
	_cleanup_free_ uint8_t *bits = xcalloc(1, PORTS / 8);
	struct count c = {.ports = bits};
	struct nlsock nl = {0};
	int r;

	if (open_diag(ns, &nl, err) < 0)
		return -1;
	r = read_listeners(&nl, &c, err);
	nlsock_close(&nl);
	for (size_t i = 0; i < n_ports; i++)
		ret_each[i] = has_port(bits, ports[i]);
	return r;
}

/* ---- counters */

struct snmp {
	char *text;
	struct error err;
};

static void read_snmp(void *data)
{
	struct snmp *s = data;

	file_read("/proc/thread-self/net/snmp", SNMP_MAX_BYTES, &s->text, NULL, &s->err);
}

/* Two lines "Tcp: ..." in the order of the same columns: names, then values. Source: proc(5), net/snmp. */
static bool snmp_value(const char *text, const char *name, uint64_t *ret)
{
	const char *names = strstr(text, "\nTcp: "), *values = names ? strstr(names + 1, "\nTcp: ") : NULL;

	if (!values)
		return false;
	names += 6;
	values += 6;
	for (size_t len = strlen(name);;) {
		names += strspn(names, " ");
		values += strspn(values, " ");
		if (!*names || *names == '\n' || !*values || *values == '\n')
			return false;
		if (strncmp(names, name, len) == 0 && strchr(" \n", names[len])) {
			*ret = strtoull(values, NULL, 10);
			return true;
		}
		names += strcspn(names, " \n");
		values += strcspn(values, " \n");
	}
}

int netns_tcp_accepted(struct netns *ns, uint64_t *ret, struct error *err)
{
	struct snmp s = {.err = ERROR_INIT};
	int r = 0;

	*ret = 0;
	if (netns_run(ns, read_snmp, &s, err) < 0)
		return -1;
	if (error_is_set(&s.err))
		r = error_set(err, s.err.code, "%s", s.err.msg);
	else if (!snmp_value(s.text, "PassiveOpens", ret))
		r = error_set(err, ERR_INTERNAL, "net/snmp has no Tcp PassiveOpens");
	free(s.text);
	return r;
}
