#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/mem.h"
#include "common/str.h"
#include "common/tcp.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

/* Two ends of a connection over the loopback; ours is v[0]. */
static uint16_t connect_pair(int family, int v[2])
{
	struct sockaddr_in6 a6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
	struct sockaddr_in a4 = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct sockaddr *address =
		family == AF_INET ? (struct sockaddr *)&a4 : (struct sockaddr *)&a6;
	socklen_t len = family == AF_INET ? sizeof(a4) : sizeof(a6);
	_cleanup_close_ int listener = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	v[0] = v[1] = -1;
	if (bind(listener, address, len) < 0 || listen(listener, 1) < 0)
		return 0; /* a machine without IPv6 */
	assert_int_equal(getsockname(listener, address, &len), 0);
	v[0] = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(v[0], address, len), 0);
	v[1] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	assert_true(v[1] >= 0);
	return ntohs(family == AF_INET ? a4.sin_port : a6.sin6_port);
}

static void finds_by_peer(int family, const char *const *forms, size_t n)
{
	int v[2];
	uint16_t port = connect_pair(family, v);
	struct tcp_table *t;

	if (!port)
		skip();
	assert_int_equal(write(v[0], "x", 1), 1);
	t = tcp_table_new();
	for (size_t i = 0; i < n; i++) {
		_cleanup_free_ char *peer = xasprintf("%s:%u", forms[i], port);
		struct tcp_facts facts = {-1, -1, -1};

		assert_int_equal(tcp_find(t, peer, &facts), 0);
		assert_in_range(facts.acked_ns, 0, INT64_C(10000000000));
		assert_in_range(facts.sent_ns, 0, INT64_C(10000000000));
	}
	close(v[0]);
	close(v[1]);
	for (size_t i = 0; i < n; i++) {
		_cleanup_free_ char *peer = xasprintf("%s:%u", forms[i], port);
		struct tcp_facts facts;

		assert_int_equal(tcp_find(t, peer, &facts),
				 -1); /* the table is old: the numbers are not believed */
	}
	tcp_table_free(t);
}

static void ipv4(void **state)
{
	static const char *const forms[] = {"ipv4:127.0.0.1", "ipv6:[::ffff:127.0.0.1]"};

	finds_by_peer(AF_INET, forms, ARRAY_SIZE(forms));
}

static void ipv6(void **state)
{
	static const char *const forms[] = {"ipv6:[::1]", "ipv6:%5B::1%5D"};

	finds_by_peer(AF_INET6, forms, ARRAY_SIZE(forms));
}

static void others_are_not_found(void **state)
{
	static const char *const peers[] = {"",
					    "unix:/run/x.sock",
					    "ipv4:127.0.0.1",
					    "ipv4:127.0.0.1:1",
					    "ipv4:nobody:80",
					    "ipv6:%5B::1",
					    "ipv6:[::1]",
					    "ipv4:127.0.0.1:99999"};
	struct tcp_table *t = tcp_table_new();
	struct tcp_facts facts;

	for (size_t i = 0; i < ARRAY_SIZE(peers); i++)
		assert_int_equal(tcp_find(t, peers[i], &facts), -1);
	tcp_table_free(t);
	tcp_table_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ipv4),
		cmocka_unit_test(ipv6),
		cmocka_unit_test(others_are_not_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
