#include "common/tcp.h"

#include "common/error.h"
#include "common/hostport.h"
#include "common/mem.h"
#include "common/str.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define DIR_FDS "/proc/self/fd"

/* IPv4 addresses in their IPv6 form, as a listener of both kinds sees them. */
struct remote {
	struct in6_addr address;
	in_port_t port; /* network byte order */
};

struct connection {
	struct remote remote;
	int fd;
};

struct tcp_table {
	struct connection *v;
	size_t n, cap;
};

static void map_v4(struct in_addr in, struct in6_addr *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->s6_addr[10] = ret->s6_addr[11] = 0xff;
	memcpy(&ret->s6_addr[12], &in, sizeof(in));
}

static bool remote_of_fd(int fd, struct remote *ret)
{
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
		struct sockaddr_storage room;
	} peer;
	socklen_t len = sizeof(peer);

	if (getpeername(fd, &peer.any, &len) < 0)
		return false;
	if (peer.any.sa_family == AF_INET) {
		map_v4(peer.v4.sin_addr, &ret->address);
		ret->port = peer.v4.sin_port;
	} else if (peer.any.sa_family == AF_INET6) {
		ret->address = peer.v6.sin6_addr;
		ret->port = peer.v6.sin6_port;
	} else {
		return false;
	}
	return true;
}

static bool remote_of_text(const char *text, struct remote *ret)
{
	_cleanup_free_ char *plain = NULL;
	struct hostport hp;
	struct in_addr v4;

	if (str_starts(text, "ipv6:%5B")) {
		const char *end = strstr(text, "%5D");

		if (!end)
			return false;
		plain = xasprintf("[%.*s]%s", (int)(end - text - 8), text + 8, end + 3);
	} else if (str_starts(text, "ipv4:") || str_starts(text, "ipv6:")) {
		plain = xstrdup(text + 5);
	} else {
		return false;
	}
	if (hostport_parse(plain, 0, &hp, NULL) < 0)
		return false;
	ret->port = htons(hp.port);
	hp.host[strcspn(hp.host, "%")] = '\0'; /* the zone of a link-local address */
	if (inet_pton(AF_INET, hp.host, &v4) == 1)
		map_v4(v4, &ret->address);
	else if (inet_pton(AF_INET6, hp.host, &ret->address) != 1)
		return false;
	return true;
}

struct tcp_table *tcp_table_new(void)
{
	struct tcp_table *t = xnew(struct tcp_table);
	DIR *dir = opendir(DIR_FDS);
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		struct connection c;
		uint64_t fd;

		if (str_parse_u64(entry->d_name, &fd, NULL) < 0)
			continue;
		c.fd = (int)fd;
		if (!remote_of_fd(c.fd, &c.remote))
			continue;
		if (t->n == t->cap) {
			t->cap = t->cap ? 2 * t->cap : 64;
			t->v = xreallocarray(t->v, t->cap, sizeof(*t->v));
		}
		t->v[t->n++] = c;
	}
	if (dir)
		closedir(dir);
	return t;
}

void tcp_table_free(struct tcp_table *t)
{
	if (!t)
		return;
	free(t->v);
	free(t);
}

static bool same(const struct remote *a, const struct remote *b)
{
	return a->port == b->port && memcmp(&a->address, &b->address, sizeof(a->address)) == 0;
}

static void join(struct tcp_facts *f, bool more, const struct tcp_info *info)
{
	struct tcp_facts one = {
		.acked_ns = info->tcpi_last_ack_recv * INT64_C(1000000),
		.sent_ns = info->tcpi_last_data_sent * INT64_C(1000000),
		.rtt_ns = info->tcpi_rtt * INT64_C(1000),
		.unacked = info->tcpi_unacked > 0,
	};

	if (more) {
		one.acked_ns = MIN(one.acked_ns, f->acked_ns);
		one.sent_ns = MIN(one.sent_ns, f->sent_ns);
		one.rtt_ns = MAX(one.rtt_ns, f->rtt_ns);
		one.unacked |= f->unacked;
	}
	*f = one;
}

int tcp_find(const struct tcp_table *t, const char *peer, struct tcp_facts *ret)
{
	struct remote wanted, now;
	bool found = false;

	if (!remote_of_text(peer, &wanted))
		return -1;
	for (size_t i = 0; i < t->n; i++) {
		const struct connection *c = &t->v[i];
		struct tcp_info info = {0};
		socklen_t len = sizeof(info);

		if (!same(&c->remote, &wanted))
			continue;
		/* The number may name something else by now: ask again behind the question. */
		if (getsockopt(c->fd, IPPROTO_TCP, TCP_INFO, &info, &len) < 0 ||
		    !remote_of_fd(c->fd, &now) || !same(&now, &wanted))
			continue;
		join(ret, found, &info);
		found = true;
	}
	return found ? 0 : -1;
}
