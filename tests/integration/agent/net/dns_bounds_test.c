/* Names over real sockets: what a task may not do, and the end. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "support/dns_world.h"

/* ---------------------------------------------------------------- bounds */

static struct sockaddr_in ours(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(53)};

	inet_pton(AF_INET, DNS_CONF_OURS, &a.sin_addr);
	return a;
}

static void open_client(void *data)
{
	struct sockaddr_in a = ours();
	int type = *(int *)data, fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);

	assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	fcntl(fd, F_SETFL, O_NONBLOCK);
	*(int *)data = fd;
}

/* A connected socket inside the task's namespace. */
static int client(int type)
{
	inside(open_client, &type);
	return type;
}

static void only_so_many_are_under_way(void **state)
{
	uint8_t query[600], in[600];
	size_t len = dns_question(query, "www.example.com", 1, 0);
	unsigned refused = 0;
	int fd = client(SOCK_DGRAM);

	w.upstreams[0].behaviour = w.upstreams[1].behaviour = SILENT;
	for (unsigned i = 0; i < IN_FLIGHT_MAX + 20; i++) {
		query[1] = (uint8_t)i;
		assert_int_equal(send(fd, query, len, 0), len);
	}
	while (refused < 20) {
		ssize_t n;

		until((n = recv(fd, in, sizeof(in), 0)) > 0);
		assert_int_equal(dns_rcode(in), DNS_REFUSED);
		refused++;
	}
	/* a task that floods does not keep others, nor itself, from names of the cluster */
	says("+short web", "10.0.1.2\n");
	close(fd);
}

static void packets_that_are_none_do_no_harm(void **state)
{
	static const char *const junk[] = {"", "x", "xxxxxxxxxxx", "\x12\x34\x01\0\0\1\0\0\0\0\0\0\xc0\x0c"};
	int fd = client(SOCK_DGRAM);

	for (size_t i = 0; i < ARRAY_SIZE(junk); i++)
		assert_true(send(fd, junk[i], i == 3 ? 14 : strlen(junk[i]), 0) >= 0);
	says("+short web", "10.0.1.2\n");
	close(fd);
}

static void questions_by_tcp_come_in_pieces_and_together(void **state)
{
	uint8_t query[600], in[600];
	size_t len = dns_question(query + 2, "web", 1, 0), have = 0;
	int fd = client(SOCK_STREAM);

	query[0] = 0;
	query[1] = (uint8_t)len;
	for (size_t i = 0; i < len + 2; i++) {
		assert_int_equal(send(fd, query + i, 1, 0), 1);
		uv_run(&w.loop, UV_RUN_NOWAIT);
	}
	until((have = (size_t)MAX(recv(fd, in, sizeof(in), MSG_PEEK), 0)) == 2 + len + 16);
	assert_int_equal(in[1], len + 16);
	assert_int_equal(recv(fd, in, sizeof(in), 0), have);
	/* two at once, the first of them empty */
	memmove(query + 2, query, len + 2);
	query[0] = query[1] = 0;
	assert_int_equal(send(fd, query, len + 4, 0), len + 4);
	until(recv(fd, in, sizeof(in), 0) == (ssize_t)(2 + len + 16));
	close(fd);
}

static bool is_closed(int fd)
{
	char byte;

	return recv(fd, &byte, 1, 0) == 0;
}

static void connections_are_bounded(void **state)
{
	int fds[40];
	unsigned open = 0;

	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		fds[i] = client(SOCK_STREAM);
		uv_run(&w.loop, UV_RUN_NOWAIT);
	}
	until(is_closed(fds[ARRAY_SIZE(fds) - 1]));
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		open += !is_closed(fds[i]);
	assert_int_equal(open, 32);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		close(fds[i]);
	says("+short +tcp web", "10.0.1.2\n");
}

/* ---------------------------------------------------------------- the end */

static void detaching_frees_the_namespace(void **state)
{
	struct opening o = {.err = ERROR_INIT};
	uint8_t query[600];
	size_t len = dns_question(query, "www.example.com", 1, 0);
	int udp = client(SOCK_DGRAM), tcp = client(SOCK_STREAM);

	assert_true(dns_serves(w.dns, w.task->id));
	inside(open_sockets, &o);
	assert_int_equal(o.r, -1);
	assert_int_equal(o.err.code, ERR_EXISTS);
	/* with a question under way */
	w.upstreams[0].behaviour = w.upstreams[1].behaviour = SILENT;
	assert_int_equal(send(udp, query, len, 0), len);
	until(w.upstreams[0].by_udp == 1);
	dns_detach(w.dns, w.task->id);
	assert_false(dns_serves(w.dns, w.task->id));
	until(is_closed(tcp));
	close(udp);
	close(tcp);
	o.err = ERROR_INIT;
	inside(open_sockets, &o);
	assert_int_equal(o.r, 0);
	dns_sockets_close(&o.sockets);
	dns_detach(w.dns, "unknown");
}

static void the_file_that_containers_get(void **state)
{
	_cleanup_free_ char *text = dns_resolv_conf(w.dns, w.task);

	assert_string_equal(text, "nameserver 127.0.0.11\nsearch corp.example\noptions ndots:0\n");
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(only_so_many_are_under_way),
		T(packets_that_are_none_do_no_harm),
		T(questions_by_tcp_come_in_pieces_and_together),
		T(connections_are_bounded),
		T(detaching_frees_the_namespace),
		T(the_file_that_containers_get),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
