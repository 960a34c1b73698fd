#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/id.h"

#include <string.h>

static void ids_are_valid_and_differ(void **state)
{
	char a[ID_LEN + 1], b[ID_LEN + 1];

	id_new(a);
	id_new(b);
	assert_int_equal(strlen(a), ID_LEN);
	assert_true(id_valid(a));
	assert_string_not_equal(a, b);
}

static void other_strings_are_no_ids(void **state)
{
	assert_false(id_valid(NULL));
	assert_false(id_valid(""));
	assert_false(id_valid("abc"));
	assert_false(id_valid("0123456789012345678901234A"));
	assert_false(id_valid("012345678901234567890123A"));
	assert_false(id_valid("012345678901234567890123/"));
	assert_false(id_valid("01234567890123456789012345"));
	assert_true(id_valid("0123456789012345678901234"));
}

static void base36_round_trip(void **state)
{
	unsigned char in[32], out[32];
	char text[51];

	for (int round = 0; round < 100; round++) {
		for (size_t i = 0; i < sizeof(in); i++)
			in[i] = (unsigned char)(i * 37 + (size_t)round * 101);
		base36_encode(in, sizeof(in), text, 50);
		assert_int_equal(strlen(text), 50);
		assert_int_equal(base36_decode(text, 50, out, sizeof(out)), 0);
		assert_memory_equal(in, out, sizeof(in));
	}
}

static void base36_known_values(void **state)
{
	static const unsigned char small[] = {0, 0, 36};
	unsigned char max[16], out[16];
	char text[26];

	base36_encode(small, sizeof(small), text, 5);
	assert_string_equal(text, "00010");
	memset(max, 0xff, sizeof(max));
	base36_encode(max, sizeof(max), text, 25);
	assert_string_equal(text, "f5lxx1zz5pnorynqglhzmsp33");
	assert_int_equal(base36_decode(text, 25, out, sizeof(out)), 0);
	assert_memory_equal(out, max, sizeof(max));
}

static void base36_refuses(void **state)
{
	unsigned char out[16];

	assert_int_equal(base36_decode("f5lxx1zz5pnorynqglhzmsp34", 25, out, sizeof(out)), -1);
	assert_int_equal(base36_decode("A", 1, out, sizeof(out)), -1);
	assert_int_equal(base36_decode("-1", 2, out, sizeof(out)), -1);
	assert_int_equal(base36_decode("74", 2, out, 1), -1); /* 256 */
	assert_int_equal(base36_decode("73", 2, out, 1), 0);
	assert_int_equal(out[0], 255);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ids_are_valid_and_differ),
		cmocka_unit_test(other_strings_are_no_ids),
		cmocka_unit_test(base36_round_trip),
		cmocka_unit_test(base36_known_values),
		cmocka_unit_test(base36_refuses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
