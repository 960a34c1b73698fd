#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/http/http.h"

static void token_is_accepted(void **state)
{
	assert_true(http_accepts("gzip", "gzip"));
	assert_true(http_accepts("deflate, gzip", "gzip"));
	assert_true(http_accepts("deflate,GZIP;q=0.1", "gzip"));
	assert_true(http_accepts("*", "gzip"));
	assert_true(http_accepts("br;q=1.0, *;q=0.5", "gzip"));
	assert_true(http_accepts(" \tgzip ; q = 1", "gzip"));
}

static void token_is_refused(void **state)
{
	assert_false(http_accepts(NULL, "gzip"));
	assert_false(http_accepts("", "gzip"));
	assert_false(http_accepts("gzip;q=0", "gzip"));
	assert_false(http_accepts("gzip;q=0.0, *", "gzip"));
	assert_false(http_accepts("*;q=0", "gzip"));
	assert_false(http_accepts("gzipx, xgzip", "gzip"));
	assert_false(http_accepts(",,;;,", "gzip"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(token_is_accepted),
		cmocka_unit_test(token_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
