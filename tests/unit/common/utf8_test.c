#include "common/utf8.h"

#include "common/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void sequences(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
		uint32_t cp;
	} rows[] = {
		{"A", 1, 'A'},
		{"\xc3\xa4", 2, 0xe4},
		{"\xe2\x82\xac", 3, 0x20ac},
		{"\xf0\x9f\x98\x80", 4, 0x1f600},
		{"\xf4\x8f\xbf\xbf", 4, 0x10ffff},
		{"\x80", 0, 0},             /* goes on, but nothing began */
		{"\xc0\xaf", 0, 0},         /* overlong */
		{"\xe0\x80\xaf", 0, 0},
		{"\xf0\x80\x80\xaf", 0, 0},
		{"\xed\xa0\x80", 0, 0},     /* surrogate */
		{"\xf4\x90\x80\x80", 0, 0}, /* beyond the last */
		{"\xff", 0, 0},
		{"\xe2\x82", 0, 0},         /* cut off */
		{"\xe2\x28\xac", 0, 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const uint8_t *p = (const uint8_t *)rows[i].bytes;
		uint32_t cp = 0;

		assert_int_equal(utf8_sequence(p, p + strlen(rows[i].bytes), &cp), rows[i].len);
		if (rows[i].len)
			assert_int_equal(cp, rows[i].cp);
	}
}

static void nul_is_a_code_point(void **state)
{
	const uint8_t nul = 0;
	uint32_t cp = 1;

	assert_int_equal(utf8_sequence(&nul, &nul + 1, &cp), 1);
	assert_int_equal(cp, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sequences),
		cmocka_unit_test(nul_is_a_code_point),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
