/* A port that somebody listens on is found before others come to rely on it. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/error.h"
#include "common/mem.h"
#include "manager/port_check.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

static int listen_somewhere(char *ret_address, size_t size)
{
	struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(addr);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(listen(fd, 1), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&addr, &len), 0);
	snprintf(ret_address, size, "127.0.0.1:%d", ntohs(addr.sin_port));
	return fd;
}

static void a_taken_port_is_named(void **state)
{
	struct error err = ERROR_INIT;
	char address[64], any[64];
	int fd = listen_somewhere(address, sizeof(address));

	(void)state;
	assert_int_equal(port_check(address, &err), -1);
	assert_int_equal(err.code, ERR_UNAVAILABLE);
	assert_non_null(strstr(err.msg, address));
	assert_non_null(strstr(err.msg, "taken"));
	/* on all addresses it is taken, too */
	snprintf(any, sizeof(any), "0.0.0.0%s", strchr(address, ':'));
	assert_int_equal(port_check(any, &err), -1);
	close(fd);
	assert_int_equal(port_check(address, &err), 0);
	assert_int_equal(port_check(any, &err), 0);
}

static void other_addresses(void **state)
{
	struct error err = ERROR_INIT;

	(void)state;
	/* TEST-NET-1 is nobody's */
	assert_int_equal(port_check("192.0.2.1:1", &err), -1);
	assert_int_equal(err.code, ERR_UNAVAILABLE);
	assert_int_equal(port_check("some-name:2377", &err), 0);
	assert_int_equal(port_check("no port", &err), -1);
	assert_int_equal(err.code, ERR_INVALID);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_taken_port_is_named),
		cmocka_unit_test(other_addresses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
