/* Compression, and when it is left alone. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "agent/migrate/squeeze.h"
#include "common/error.h"
#include "common/mem.h"

#include <string.h>
#include <sys/random.h>

#define LEN 65536

static void there_and_back(void **state)
{
	struct squeeze *s = squeeze_new();
	_cleanup_free_ uint8_t *in = xcalloc(1, LEN), *packed = xmalloc(squeeze_bound(LEN)), *out = xmalloc(LEN);
	struct error err = ERROR_INIT;
	size_t n;

	for (size_t i = 0; i < LEN; i++)
		in[i] = (uint8_t)(i / 100);
	n = squeeze_block(s, in, LEN, packed, squeeze_bound(LEN));
	assert_true(n > 0 && n < LEN / 10);
	assert_int_equal(squeeze_expand(packed, n, out, LEN, &err), 0);
	assert_memory_equal(in, out, LEN);
	assert_int_equal(squeeze_expand(packed, n, out, LEN - 1, &err), -1);
	assert_int_equal(err.code, ERR_DATA_LOSS);
	assert_int_equal(squeeze_expand(packed, n / 2, out, LEN, &err), -1);
	assert_int_equal(squeeze_expand((uint8_t *)"nonsense", 8, out, LEN, &err), -1);
	squeeze_free(s);
}

static void random_bytes_are_left_alone(void **state)
{
	struct squeeze *s = squeeze_new();
	_cleanup_free_ uint8_t *in = xmalloc(LEN), *packed = xmalloc(squeeze_bound(LEN));

	for (size_t i = 0; i < LEN; i += 256)
		assert_int_equal(getrandom(in + i, 256, 0), 256);
	for (int i = 0; i < 10; i++)
		assert_int_equal(squeeze_block(s, in, LEN, packed, squeeze_bound(LEN)), 0);
	/* What would shrink is not looked at for a while either, but then again. */
	memset(in, 0, LEN);
	assert_int_equal(squeeze_block(s, in, LEN, packed, squeeze_bound(LEN)), 0);
	for (int i = 0; i < 100; i++) {
		if (squeeze_block(s, in, LEN, packed, squeeze_bound(LEN)) > 0) {
			squeeze_free(s);
			return;
		}
	}
	fail_msg("compression was never tried again");
}

static void sight(void **state)
{
	struct squeeze_sight s = {0};

	for (int i = 0; i < 3; i++) {
		assert_true(squeeze_try(&s));
		squeeze_saw(&s, 1000, 950);
	}
	assert_true(squeeze_try(&s));
	squeeze_saw(&s, 1000, 500);
	assert_int_equal(s.poor, 0);
	for (int i = 0; i < 4; i++)
		squeeze_saw(&s, 1000, 1000);
	assert_false(squeeze_try(&s));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(there_and_back),
		cmocka_unit_test(random_bytes_are_left_alone),
		cmocka_unit_test(sight),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
