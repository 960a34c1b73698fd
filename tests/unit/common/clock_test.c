#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/clock.h"

static void rfc3339(void **state)
{
	char buf[CLOCK_RFC3339_MAX];

	assert_string_equal(clock_rfc3339(0, buf), "1970-01-01T00:00:00.000000000Z");
	assert_string_equal(clock_rfc3339(INT64_C(1795450054123456789), buf),
			    "2026-11-23T16:07:34.123456789Z");
	assert_string_equal(clock_rfc3339(-1, buf), "1969-12-31T23:59:59.999999999Z");
	assert_string_equal(clock_rfc3339(INT64_MAX, buf), "2262-04-11T23:47:16.854775807Z");
	assert_string_equal(clock_rfc3339(INT64_MIN, buf), "1677-09-21T00:12:43.145224192Z");
}

static void clocks_run(void **state)
{
	int64_t mono = clock_mono_ns();

	assert_true(clock_mono_ns() >= mono);
	assert_true(clock_wall_ns() > INT64_C(1700000000) * NS_PER_SEC);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rfc3339),
		cmocka_unit_test(clocks_run),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
