// What is said of sockets and of tracked connections in a namespace: between two that are joined by a cable.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "integration/netoverlay/place.h"
#include "netoverlay/conntrack.h"

#include <netinet/in.h>

static struct place server, client;

/* A socket that lives in a namespace. */
static int socket_in(const struct place *p, int type)
{
	int back = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC), there = open(p->path, O_RDONLY | O_CLOEXEC), fd;

	assert_int_equal(setns(there, CLONE_NEWNET), 0);
	fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
	assert_int_equal(setns(back, CLONE_NEWNET), 0);
	close(there);
	close(back);
	assert_true(fd >= 0);
	return fd;
}

static int listen_on(const struct place *p, const char *address, uint16_t port)
{
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons(port)};
	int fd = socket_in(p, SOCK_STREAM), on = 1;

	inet_pton(AF_INET, address, &sa.sin_addr);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	assert_int_equal(bind(fd, (void *)&sa, sizeof(sa)), 0);
	assert_int_equal(listen(fd, 5), 0);
	return fd;
}

/* *ret_r -1: it failed, or is still on its way after so long. */
static int connect_from(const struct place *p, const char *address, uint16_t port, int ms, int *ret_r)
{
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons(port)};
	int fd = socket_in(p, SOCK_STREAM | SOCK_NONBLOCK);
	struct pollfd pfd = {fd, POLLOUT, 0};

	inet_pton(AF_INET, address, &sa.sin_addr);
	*ret_r = connect(fd, (void *)&sa, sizeof(sa));
	if (*ret_r < 0 && errno == EINPROGRESS && poll(&pfd, 1, ms) == 1) {
		int e = 0;
		socklen_t len = sizeof(e);

		getsockopt(fd, SOL_SOCKET, SO_ERROR, &e, &len);
		*ret_r = e ? -1 : 0;
	}
	return fd;
}

static unsigned connections(const uint16_t *ports, size_t n)
{
	struct error err = ERROR_INIT;
	unsigned found = 99;

	ok(netns_tcp_connections(server.ns, ports, n, &found, &err), &err);
	return found;
}

static uint64_t accepted(void)
{
	struct error err = ERROR_INIT;
	uint64_t n;

	ok(netns_tcp_accepted(server.ns, &n, &err), &err);
	return n;
}

static int setup(void **state)
{
	struct netstate_link l = {.kind = LINK_VETH, .mtu = 1500, .up = true, .name = "c0", .peer = "s0"};

	place_open(&server, "server", NULL);
	place_open(&client, "client", NULL);
	snprintf(l.peer_ns, sizeof(l.peer_ns), "%s", server.path);
	link_(&client, l);
	addr(&client, "c0", "10.9.0.1/24");
	apply(&client);
	link_(&server, (struct netstate_link){.kind = LINK_VETH, .mtu = 1500, .up = true, .name = "s0"});
	addr(&server, "s0", "10.9.0.2/24");
	apply(&server);
	return 0;
}

static int teardown(void **state)
{
	place_close(&client);
	place_close(&server);
	return 0;
}

static void connections_are_counted(void **state)
{
	int listener, one, r;
	uint64_t before;

	(void)state;
	assert_int_equal(connections(NULL, 0), 0);
	listener = listen_on(&server, "0.0.0.0", 80);
	before = accepted();
	one = connect_from(&client, "10.9.0.2", 80, 10000, &r);
	assert_int_equal(r, 0);
	/* nobody has accepted it yet: it counts all the same */
	assert_int_equal(connections(NULL, 0), 1);
	assert_int_equal(accepted(), before + 1);
	assert_int_equal(connections((uint16_t[]){9}, 1), 0);
	assert_int_equal(connections((uint16_t[]){9, 80}, 2), 1);
	close(one); /* its server has not noticed: it may still have something to say */
	for (int i = 0; i < 5; i++)
		poll(NULL, 0, 10);
	assert_int_equal(connections(NULL, 0), 1);
	close(listener); /* with what it had not accepted */
	assert_int_equal(connections(NULL, 0), 0);
}

static void what_is_said_inside_does_not_count(void **state)
{
	int listener = listen_on(&server, "0.0.0.0", 80), one, two, r;

	(void)state;
	one = connect_from(&server, "127.0.0.1", 80, 10000, &r);
	assert_int_equal(r, 0);
	two = connect_from(&server, "10.9.0.2", 80, 10000, &r);
	assert_int_equal(r, 0);
	assert_int_equal(connections(NULL, 0), 0);
	close(one);
	close(two);
	close(listener);
}

static void listeners_are_found(void **state)
{
	const uint16_t ports[] = {80, 81, 82};
	struct error err = ERROR_INIT;
	bool each[3] = {true, true, true};
	int a, b;

	(void)state;
	ok(netns_tcp_listening(server.ns, ports, 3, each, &err), &err);
	assert_false(each[0] || each[1] || each[2]);
	a = listen_on(&server, "10.9.0.2", 80);
	b = listen_on(&server, "127.0.0.1", 81); /* nobody outside can reach it */
	ok(netns_tcp_listening(server.ns, ports, 3, each, &err), &err);
	assert_true(each[0]);
	assert_false(each[1]);
	assert_false(each[2]);
	close(a);
	close(b);
}

/*
 * A client's translation leads to a server that does not answer. Where it is forgotten, and the ruleset leads elsewhere by then,
 * the repetition of the first packet arrives there; a connection that was answered goes on.
 */
static void what_nobody_answers_is_forgotten(void **state)
{
	static const char first[] = "table ip t {\n chain o {\n type nat hook output priority -100; policy accept;\n"
				    " ip daddr 10.9.9.9 dnat to 10.9.0.2\n}\n}\n";
	static const char closed[] = "table inet d {\n chain i {\n type filter hook input priority 0; policy accept;\n"
				     " tcp dport 80 tcp flags & (syn | ack) == syn drop\n}\n}\n";
	static const char second[] = "flush chain ip t o\nadd rule ip t o ip daddr 10.9.9.9 dnat to 10.9.0.3\n";
	struct conntrack_flow flow = {.address = ip("10.9.0.2"), .protocol = IPPROTO_TCP, .unanswered = true};
	struct netstate_route to_vip = {.dst = ip("10.9.9.9"), .link = "c0"};
	struct error err = ERROR_INIT;
	int listener = listen_on(&server, "0.0.0.0", 80), held, late, r;
	struct pollfd pfd;

	(void)state;
	addr(&server, "s0", "10.9.0.3/24");
	apply(&server);
	route(&client, to_vip);
	apply(&client);
	ok(netns_nft(client.ns, first, NULL, &err), &err);
	held = connect_from(&client, "10.9.9.9", 80, 10000, &r);
	assert_int_equal(r, 0);
	ok(netns_nft(server.ns, closed, NULL, &err), &err);
	late = connect_from(&client, "10.9.9.9", 80, 300, &r);
	assert_int_equal(r, -1);
	ok(netns_nft(client.ns, second, NULL, &err), &err);
	ok(conntrack_forget(client.ns, &flow, 1, &err), &err);
	ok(netns_nft(server.ns, "delete table inet d\nadd table inet d\nadd chain inet d i { type filter hook input priority 0; }\n"
				"add rule inet d i ip daddr 10.9.0.2 tcp flags & (syn | ack) == syn drop\n", NULL, &err), &err);
	pfd = (struct pollfd){late, POLLOUT, 0};
	assert_int_equal(poll(&pfd, 1, 10000), 1); /* the kernel asks again after a second */
	assert_false(pfd.revents & POLLERR);
	assert_int_equal(write(held, "x", 1), 1);
	assert_int_equal(connections((uint16_t[]){80}, 1), 2);
	close(held);
	close(late);
	close(listener);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(connections_are_counted, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_said_inside_does_not_count, setup, teardown),
		cmocka_unit_test_setup_teardown(listeners_are_found, setup, teardown),
		cmocka_unit_test_setup_teardown(what_nobody_answers_is_forgotten, setup, teardown),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
