/*
 * netecho - both ends of the connections that the network suites look at; a static program without libraries.
 *
 *   netecho serve PORT...             answer on TCP and UDP, IPv4 and IPv6: "<host name> <peer's address> <words>"
 *                                     per line or datagram; "GET ..." is answered as HTTP/1.1 with that line.
 *                                     After SIGTERM answers go on with "Connection: close"; ends with the last connection.
 *   netecho ask [-u] ADDRESS PORT [COUNT]     COUNT questions (default 1), each on a connection of its own; prints the answers
 *   netecho hold ADDRESS PORT FILE    one TCP connection, a question every 50 ms until FILE exists; prints how many were
 *                                     answered and by how many host names; fails when one was not answered
 *   netecho load ADDRESS PORT FILE N  N at a time, each a new connection with one question, until FILE exists; prints
 *                                     "ok=<n> failed=<n>" and the first failures; fails when one failed
 *   netecho reach ADDRESS PORT        a new connection with one question about each millisecond until one is answered; prints
 *                                     when that was, in microseconds of the wall clock
 *
 * NETECHO_PORT in the environment: the port that ask and hold connect from.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_PORTS 16
#define MAX_CLIENTS 1000
#define LINE 512
#define TIMEOUT_MS 5000

static char host[65];
static volatile sig_atomic_t stopping;

static void on_term(int sig)
{
	(void)sig;
	stopping = 1;
}

static void die(const char *what)
{
	fprintf(stderr, "netecho: %s: %s\n", what, strerror(errno));
	exit(1);
}

static long now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Address as text; one that is IPv4 in an IPv6 socket as IPv4. */
static const char *name_of(const struct sockaddr_storage *a, char text[INET6_ADDRSTRLEN])
{
	const struct sockaddr_in6 *six = (const void *)a;
	const struct sockaddr_in *four = (const void *)a;

	if (a->ss_family == AF_INET)
		inet_ntop(AF_INET, &four->sin_addr, text, INET6_ADDRSTRLEN);
	else if (IN6_IS_ADDR_V4MAPPED(&six->sin6_addr))
		inet_ntop(AF_INET, six->sin6_addr.s6_addr + 12, text, INET6_ADDRSTRLEN);
	else
		inet_ntop(AF_INET6, &six->sin6_addr, text, INET6_ADDRSTRLEN);
	return text;
}

/* ---------------------------------------------------------------- serve */

struct client {
	int fd;
	char peer[INET6_ADDRSTRLEN], in[LINE + 1];
	size_t len;
};
static struct client clients[MAX_CLIENTS];
static size_t n_clients;

static int listen_on(int type, int port)
{
	struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
	struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	int fd = socket(AF_INET6, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), on = 1, off = 0;

	if (fd >= 0) {
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
		if (bind(fd, (void *)&six, sizeof(six)) < 0) {
			close(fd);
			fd = -1;
		}
	}
	if (fd < 0) { /* a host without IPv6 */
		fd = socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
		if (fd < 0 || bind(fd, (void *)&four, sizeof(four)) < 0)
			die("bind");
	}
	if (type == SOCK_STREAM && listen(fd, 1024) < 0)
		die("listen");
	return fd;
}

static void drop_client(size_t i)
{
	close(clients[i].fd);
	clients[i] = clients[--n_clients];
}

static void accept_clients(int fd)
{
	struct sockaddr_storage peer;
	socklen_t len = sizeof(peer);
	int one;

	while (n_clients < MAX_CLIENTS && (one = accept4(fd, (void *)&peer, &len, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0) {
		int on = 1;

		setsockopt(one, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		clients[n_clients] = (struct client){.fd = one};
		name_of(&peer, clients[n_clients++].peer);
		len = sizeof(peer);
	}
}

/* Answers are short: a send buffer that has no room is a peer that does not read. */
static bool answer(struct client *c, const char *line)
{
	char body[LINE + 200], out[LINE + 500];
	int n = snprintf(body, sizeof(body), "%s %s %s\n", host, c->peer, line);

	return send(c->fd, out, (size_t)snprintf(out, sizeof(out), "%.*s", n, body), MSG_NOSIGNAL) == n;
}

static bool answer_http(struct client *c, bool last)
{
	char body[200], out[500];
	int n = snprintf(body, sizeof(body), "%s %s\n", host, c->peer);
	int len = snprintf(out, sizeof(out), "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n%s\r\n%s", n,
			   last ? "Connection: close\r\n" : "", body);

	return send(c->fd, out, (size_t)len, MSG_NOSIGNAL) == len && !last;
}

/* One question from the front of the buffer. 1: answered, 0: not whole yet, -1: drop the client. */
static int take_question(struct client *c)
{
	bool http = strncmp(c->in, "GET ", 4) == 0;
	char *end = http ? strstr(c->in, "\r\n\r\n") : strchr(c->in, '\n');
	size_t used;
	bool keep;

	if (!end)
		return c->len >= LINE ? -1 : 0;
	used = (size_t)(end - c->in) + (http ? 4 : 1);
	*end = '\0';
	keep = http ? answer_http(c, stopping || strstr(c->in, "onnection: close")) : answer(c, c->in);
	memmove(c->in, c->in + used, c->len - used + 1);
	c->len -= used;
	return keep ? 1 : -1;
}

static bool read_client(struct client *c)
{
	ssize_t n = read(c->fd, c->in + c->len, LINE - c->len);
	int r;

	if (n <= 0)
		return n < 0 && errno == EAGAIN;
	c->len += (size_t)n;
	c->in[c->len] = '\0';
	while ((r = take_question(c)) > 0)
		;
	return r == 0;
}

static void answer_datagram(int fd)
{
	struct sockaddr_storage peer;
	socklen_t len = sizeof(peer);
	char in[LINE + 1], out[LINE + 200], text[INET6_ADDRSTRLEN];
	ssize_t n = recvfrom(fd, in, LINE, 0, (void *)&peer, &len);

	if (n < 0)
		return;
	in[n] = '\0';
	in[strcspn(in, "\n")] = '\0';
	n = snprintf(out, sizeof(out), "%s %s %s\n", host, name_of(&peer, text), in);
	sendto(fd, out, (size_t)n, 0, (void *)&peer, len);
}

static int serve(int argc, char **argv)
{
	static struct pollfd fds[2 * MAX_PORTS + MAX_CLIENTS];
	int n = argc < MAX_PORTS ? argc : MAX_PORTS;

	signal(SIGTERM, on_term);
	signal(SIGINT, on_term);
	for (int i = 0; i < n; i++) {
		fds[2 * i] = (struct pollfd){listen_on(SOCK_STREAM, atoi(argv[i])), POLLIN, 0};
		fds[2 * i + 1] = (struct pollfd){listen_on(SOCK_DGRAM, atoi(argv[i])), POLLIN, 0};
	}
	printf("serving as %s\n", host);
	fflush(stdout);
	while (!stopping || n_clients > 0) {
		size_t had = n_clients;

		for (size_t i = 0; i < n_clients; i++)
			fds[2 * n + (int)i] = (struct pollfd){clients[i].fd, POLLIN, 0};
		poll(fds, (nfds_t)((size_t)(2 * n) + n_clients), 100);
		for (size_t i = had; i > 0; i--)
			if (fds[2 * n + (int)i - 1].revents && !read_client(&clients[i - 1]))
				drop_client(i - 1);
		for (int i = 0; i < n; i++) {
			if (fds[2 * i].revents)
				accept_clients(fds[2 * i].fd);
			if (fds[2 * i + 1].revents)
				answer_datagram(fds[2 * i + 1].fd);
		}
	}
	return 0;
}

/* ---------------------------------------------------------------- the other end */

static int own_port; /* 0 = any */

static void bind_port(int fd, int family)
{
	struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)own_port)};
	struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons((uint16_t)own_port)};
	int on = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (own_port && bind(fd, family == AF_INET ? (void *)&four : (void *)&six,
			     family == AF_INET ? sizeof(four) : sizeof(six)) < 0)
		die("bind");
}

static int open_to(int type, const char *address, const char *port)
{
	struct sockaddr_storage to = {0};
	struct sockaddr_in6 *six = (void *)&to;
	struct sockaddr_in *four = (void *)&to;
	socklen_t len = sizeof(*four);
	int fd, on = 1;

	if (strchr(address, ':')) {
		six->sin6_family = AF_INET6;
		six->sin6_port = htons((uint16_t)atoi(port));
		len = sizeof(*six);
		if (inet_pton(AF_INET6, address, &six->sin6_addr) != 1)
			return errno = EINVAL, -1;
	} else {
		four->sin_family = AF_INET;
		four->sin_port = htons((uint16_t)atoi(port));
		if (inet_pton(AF_INET, address, &four->sin_addr) != 1)
			return errno = EINVAL, -1;
	}
	fd = socket(to.ss_family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (type == SOCK_STREAM)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	bind_port(fd, to.ss_family);
	if (connect(fd, (void *)&to, len) < 0 && errno != EINPROGRESS) {
		close(fd);
		return -1;
	}
	return fd;
}

static bool await(int fd, short what, int ms)
{
	struct pollfd p = {fd, what, 0};

	if (poll(&p, 1, ms) == 0)
		return errno = ETIMEDOUT, false;
	return true;
}

/* One question and its answer; the answer without its newline. */
static bool exchange(int fd, const char *question, char *in, size_t size)
{
	size_t len = 0;

	if (!await(fd, POLLOUT, TIMEOUT_MS) || send(fd, question, strlen(question), MSG_NOSIGNAL) < 0)
		return false;
	for (;;) {
		ssize_t n;

		if (!await(fd, POLLIN, TIMEOUT_MS))
			return false;
		n = recv(fd, in + len, size - 1 - len, 0);
		if (n == 0)
			errno = ECONNABORTED;
		if (n <= 0)
			return false;
		len += (size_t)n;
		in[len] = '\0';
		if (strchr(in, '\n')) {
			*strchr(in, '\n') = '\0';
			return true;
		}
	}
}

static int ask(int argc, char **argv)
{
	bool udp = argc > 0 && strcmp(argv[0], "-u") == 0;
	int count, failed = 0;

	argc -= udp, argv += udp;
	if (argc < 2)
		return 2;
	count = argc > 2 ? atoi(argv[2]) : 1;
	for (int i = 0; i < count; i++) {
		int fd = open_to(udp ? SOCK_DGRAM : SOCK_STREAM, argv[0], argv[1]);
		char in[1024];

		if (fd >= 0 && exchange(fd, "question\n", in, sizeof(in))) {
			puts(in);
		} else {
			fprintf(stderr, "netecho: %s: %s\n", argv[0], strerror(errno));
			failed = 1;
		}
		if (fd >= 0)
			close(fd);
	}
	return failed;
}

static int hold(int argc, char **argv)
{
	char in[1024], first[1024] = "";
	long answered = 0;
	int fd;

	if (argc < 3)
		return 2;
	fd = open_to(SOCK_STREAM, argv[0], argv[1]);
	if (fd < 0)
		die("connect");
	while (access(argv[2], F_OK) < 0) {
		if (!exchange(fd, "still there?\n", in, sizeof(in))) {
			printf("answered=%ld then %s\n", answered, strerror(errno));
			return 1;
		}
		if (!answered)
			memcpy(first, in, sizeof(first));
		if (strcmp(in, first) != 0) {
			printf("answered=%ld then '%s' after '%s'\n", answered, in, first);
			return 1;
		}
		if (!answered++) {
			printf("connected to %s\n", first);
			fflush(stdout);
		}
		poll(NULL, 0, 50);
	}
	printf("answered=%ld\n", answered);
	return 0;
}

static int port_of(int fd)
{
	struct sockaddr_in6 own = {0};
	socklen_t len = sizeof(own);

	return fd >= 0 && getsockname(fd, (void *)&own, &len) == 0 ? ntohs(own.sin6_port) : 0; /* in one place in both families */
}

/* One worker of `load`: counts go to the parent through a pipe. */
static void load_one(char **argv, int out)
{
	long ok = 0, failed = 0;
	char text[LINE];

	while (access(argv[2], F_OK) < 0) {
		long began = now_ms();
		int fd = open_to(SOCK_STREAM, argv[0], argv[1]);
		char in[1024];

		if (fd >= 0 && exchange(fd, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", in, sizeof(in)) &&
		    strstr(in, "200 OK")) {
			ok++;
		} else if (failed++ < 5) {
			char when[32];
			time_t t = time(NULL);
			int error = errno;

			strftime(when, sizeof(when), "%H:%M:%S", localtime(&t));
			dprintf(out, "failed at %s after %ld ms, from port %d: %s\n", when, now_ms() - began, port_of(fd),
				strerror(error));
		}
		if (fd >= 0)
			close(fd);
		poll(NULL, 0, 5);
	}
	snprintf(text, sizeof(text), "=%ld %ld\n", ok, failed);
	dprintf(out, "%s", text);
	exit(0);
}

static int load(int argc, char **argv)
{
	long ok = 0, failed = 0, one_ok, one_failed;
	char line[LINE];
	int pipes[2];
	FILE *in;

	if (argc < 4 || pipe(pipes) < 0)
		return 2;
	for (int i = 0; i < atoi(argv[3]); i++)
		if (fork() == 0)
			load_one(argv, pipes[1]);
	close(pipes[1]);
	in = fdopen(pipes[0], "r");
	while (in && fgets(line, sizeof(line), in)) {
		if (sscanf(line, "=%ld %ld", &one_ok, &one_failed) == 2)
			ok += one_ok, failed += one_failed;
		else
			fputs(line, stdout);
	}
	printf("ok=%ld failed=%ld\n", ok, failed);
	return failed > 0 || ok == 0;
}

/* A try that hears nothing is given up after 20 ms: what drops packets now may be gone by then. */
static bool reached(const char *address, const char *port)
{
	int fd = open_to(SOCK_STREAM, address, port);
	char in[1024];
	bool is = fd >= 0 && await(fd, POLLOUT, 20) && exchange(fd, "there?\n", in, sizeof(in));

	if (fd >= 0)
		close(fd);
	return is;
}

static int reach(int argc, char **argv)
{
	struct timespec t;

	if (argc < 2)
		return 2;
	while (!reached(argv[0], argv[1]))
		poll(NULL, 0, 1);
	clock_gettime(CLOCK_REALTIME, &t);
	printf("%ld%06ld\n", (long)t.tv_sec, t.tv_nsec / 1000);
	return 0;
}

int main(int argc, char **argv)
{
	int r = 2;

	own_port = getenv("NETECHO_PORT") ? atoi(getenv("NETECHO_PORT")) : 0;
	gethostname(host, sizeof(host) - 1);
	if (argc > 2 && strcmp(argv[1], "serve") == 0)
		r = serve(argc - 2, argv + 2);
	else if (argc > 2 && strcmp(argv[1], "ask") == 0)
		r = ask(argc - 2, argv + 2);
	else if (argc > 2 && strcmp(argv[1], "hold") == 0)
		r = hold(argc - 2, argv + 2);
	else if (argc > 2 && strcmp(argv[1], "load") == 0)
		r = load(argc - 2, argv + 2);
	else if (argc > 2 && strcmp(argv[1], "reach") == 0)
		r = reach(argc - 2, argv + 2);
	if (r == 2)
		fputs("usage: netecho serve PORT... | ask [-u] ADDRESS PORT [COUNT] | hold ADDRESS PORT FILE | "
		      "load ADDRESS PORT FILE N | reach ADDRESS PORT\n", stderr);
	return r;
}
