#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/error.h"
#include "common/hostport.h"
#include "common/mem.h"

#include <string.h>

static void accepted(void **state)
{
	static const struct {
		const char *text, *host;
		unsigned port;
		const char *back;
	} cases[] = {
		{"10.0.0.1:2377", "10.0.0.1", 2377, "10.0.0.1:2377"},
		{"10.0.0.1", "10.0.0.1", 99, "10.0.0.1:99"},
		{"a-b.example:1", "a-b.example", 1, "a-b.example:1"},
		{"[fd00::1]:65535", "fd00::1", 65535, "[fd00::1]:65535"},
		{"[fd00::1]", "fd00::1", 99, "[fd00::1]:99"},
		{"fd00::1", "fd00::1", 99, "[fd00::1]:99"},
		{"::", "::", 99, "[::]:99"},
	};
	char buf[HOSTPORT_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct hostport hp;

		assert_int_equal(hostport_parse(cases[i].text, 99, &hp, NULL), 0);
		assert_string_equal(hp.host, cases[i].host);
		assert_int_equal(hp.port, cases[i].port);
		assert_string_equal(hostport_format(&hp, buf), cases[i].back);
	}
}

static void refused(void **state)
{
	static const char *const bad[] = {"", ":", ":1", "a:", "a:0", "a:65536", "a:-1", "a:b", "a b:1", "[a]:1",
					  "[fd00::1]x", "[fd00::1", "fd00:::1", "a/b:1", "a:1:2", "[]:1", "é:1"};
	char big[400];
	struct hostport hp;
	struct error err = ERROR_INIT;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		if (hostport_parse(bad[i], 99, &hp, &err) == 0)
			fail_msg("accepted \"%s\"", bad[i]);
		assert_int_equal(err.code, ERR_INVALID);
		assert_non_null(strstr(err.msg, bad[i]));
	}
	memset(big, 'a', sizeof(big));
	big[256] = '\0';
	assert_int_equal(hostport_parse(big, 99, &hp, &err), -1);
	big[255] = '\0';
	assert_int_equal(hostport_parse(big, 99, &hp, &err), 0);
	assert_int_equal(hostport_parse("a", 0, &hp, &err), -1);
	assert_int_equal(hostport_parse("a:5", 0, &hp, &err), 0);
	assert_int_equal(hostport_parse(NULL, 99, &hp, &err), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(accepted),
		cmocka_unit_test(refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
