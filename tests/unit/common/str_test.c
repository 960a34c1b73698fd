#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/error.h"
#include "common/mem.h"
#include "common/str.h"

#include <string.h>

#define NS(seconds) ((int64_t)(seconds)*INT64_C(1000000000))

static void starts_and_ends(void **state)
{
	assert_true(str_starts("abc", "ab"));
	assert_false(str_starts("a", "ab"));
	assert_false(str_starts(NULL, "a"));
	assert_true(str_ends("abc", "bc"));
	assert_false(str_ends("c", "bc"));
	assert_true(str_eq(NULL, NULL));
	assert_false(str_eq("", NULL));
}

static void strbuf_grows(void **state)
{
	_cleanup_strbuf_ struct strbuf b = {0};
	_cleanup_free_ char *taken = NULL, *empty = NULL;

	for (int i = 0; i < 1000; i++)
		strbuf_printf(&b, "%d,", i);
	strbuf_putc(&b, 'x');
	strbuf_puts(&b, "yz");
	assert_int_equal(b.len, 10 * 2 + 90 * 3 + 900 * 4 + 3);
	assert_string_equal(b.p + b.len - 7, "999,xyz");
	taken = strbuf_take(&b);
	assert_null(b.p);
	assert_int_equal(b.len, 0);
	empty = strbuf_take(&b);
	assert_string_equal(empty, "");
}

static void strv_stays_null_terminated(void **state)
{
	_cleanup_strv_ struct strv v = {0};

	for (int i = 0; i < 100; i++) {
		strv_addf(&v, "%d", i);
		assert_int_equal(v.n, i + 1);
		assert_null(v.v[v.n]);
	}
	strv_add(&v, "last");
	assert_string_equal(v.v[99], "99");
	assert_true(strv_has(&v, "last"));
	assert_false(strv_has(&v, "100"));
}

static void integers(void **state)
{
	static const char *const bad_u64[] = {"", "-1", "+1", " 1", "1 ", "0x1", "18446744073709551616", "1a"};
	static const char *const bad_i64[] = {"", "-", "--1", "9223372036854775808", "-9223372036854775809"};
	struct error err = ERROR_INIT;
	uint64_t u = 0;
	int64_t i = 0;

	assert_int_equal(str_parse_u64("18446744073709551615", &u, NULL), 0);
	assert_true(u == UINT64_MAX);
	assert_int_equal(str_parse_i64("-9223372036854775808", &i, NULL), 0);
	assert_true(i == INT64_MIN);
	assert_int_equal(str_parse_i64("9223372036854775807", &i, NULL), 0);
	assert_true(i == INT64_MAX);
	for (size_t n = 0; n < ARRAY_SIZE(bad_u64); n++)
		assert_int_equal(str_parse_u64(bad_u64[n], &u, &err), -1);
	for (size_t n = 0; n < ARRAY_SIZE(bad_i64); n++)
		assert_int_equal(str_parse_i64(bad_i64[n], &i, &err), -1);
	assert_int_equal(err.code, ERR_INVALID);
	assert_non_null(strstr(err.msg, "\"-9223372036854775809\""));
	assert_true(i == INT64_MAX);
}

static void bytes(void **state)
{
	static const struct {
		const char *text;
		int64_t want;
	} good[] = {
		{"0", 0}, {"512", 512}, {"512b", 512}, {"64k", 65536}, {"64K", 65536}, {"64KB", 65536},
		{"64KiB", 65536}, {"1.5g", 1610612736}, {"2 GB", INT64_C(2) << 30}, {".5m", 524288},
		{"1t", INT64_C(1) << 40}, {"8191p", INT64_C(8191) << 50}, {"9223372036854775807", INT64_MAX},
		{"0.1k", 102},
	};
	static const char *const bad[] = {"", ".", "k", "-1", "1x", "1kk", "1ki", "1  k", "8192p",
					  "9223372036854775808", "1e3", "1.2.3"};
	struct error err = ERROR_INIT;
	int64_t v = -7;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(str_parse_bytes(bad[i], &v, &err), -1);
	assert_int_equal(v, -7);
	assert_non_null(strstr(err.msg, "\"1.2.3\""));
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		assert_int_equal(str_parse_bytes(good[i].text, &v, &err), 0);
		assert_true(v == good[i].want);
	}
}

static void durations(void **state)
{
	static const struct {
		const char *text;
		int64_t want;
	} good[] = {
		{"0", 0}, {"0s", 0}, {"-0", 0}, {"10s", 10 * INT64_C(1000000000)},
		{"1h30m", 5400 * INT64_C(1000000000)}, {"500ms", 500000000}, {"1.5s", 1500000000},
		{"100us", 100000}, {"100\u00b5s", 100000}, {"-2m", -120 * INT64_C(1000000000)},
		{"1.000000000000000000009s", 1000000000}, {"2160h", 7776000 * INT64_C(1000000000)},
		{"9223372036854775807ns", INT64_MAX},
	};
	static const char *const bad[] = {"", "-", "1", "s", "1.s.", "1d", "10 s", "1h 30m", "--1s",
					  "9223372036854775808ns", "2562048h", "1h9223372036854775807ns"};
	int64_t v = 42;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(str_parse_duration(bad[i], &v, NULL), -1);
	assert_int_equal(v, 42);
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		assert_int_equal(str_parse_duration(good[i].text, &v, NULL), 0);
		assert_true(v == good[i].want);
	}
}

static void cpus(void **state)
{
	static const char *const bad[] = {"", ".", "-1", "1.0000000001", "1c", "9223372037"};
	int64_t v = 0;

	assert_int_equal(str_parse_cpus("0.5", &v, NULL), 0);
	assert_int_equal(v, 500000000);
	assert_int_equal(str_parse_cpus(".25", &v, NULL), 0);
	assert_int_equal(v, 250000000);
	assert_int_equal(str_parse_cpus("2.", &v, NULL), 0);
	assert_int_equal(v, 2000000000);
	assert_int_equal(str_parse_cpus("0.000000001", &v, NULL), 0);
	assert_int_equal(v, 1);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(str_parse_cpus(bad[i], &v, NULL), -1);
}

static void human_forms(void **state)
{
	char buf[STR_HUMAN_MAX];

	assert_string_equal(str_bytes_human(0, buf), "0B");
	assert_string_equal(str_bytes_human(1023, buf), "1023B");
	assert_string_equal(str_bytes_human(1024, buf), "1KiB");
	assert_string_equal(str_bytes_human(64 << 20, buf), "64MiB");
	assert_string_equal(str_bytes_human(1288490188, buf), "1.2GiB");
	assert_string_equal(str_bytes_human((1 << 20) - 1, buf), "1MiB");
	assert_string_equal(str_bytes_human(INT64_MAX, buf), "8EiB");
	assert_string_equal(str_bytes_human(-2048, buf), "-2KiB");
	assert_string_equal(str_duration_human(0, buf), "less than a second");
	assert_string_equal(str_duration_human(NS(1), buf), "1 second");
	assert_string_equal(str_duration_human(NS(59), buf), "59 seconds");
	assert_string_equal(str_duration_human(NS(60), buf), "about a minute");
	assert_string_equal(str_duration_human(NS(180), buf), "3 minutes");
	assert_string_equal(str_duration_human(NS(3600), buf), "about an hour");
	assert_string_equal(str_duration_human(NS(7200), buf), "2 hours");
	assert_string_equal(str_duration_human(NS(86400 * 3), buf), "3 days");
	assert_string_equal(str_duration_human(NS(86400 * 21), buf), "3 weeks");
	assert_string_equal(str_duration_human(NS(86400 * 90), buf), "3 months");
	assert_string_equal(str_duration_human(NS(86400 * 365 * INT64_C(2)), buf), "2 years");
}

static void durations_print_what_parses_back(void **state)
{
	static const struct {
		int64_t ns;
		const char *want;
	} cases[] = {
		{0, "0s"}, {1, "1ns"}, {1500, "1.5\u00b5s"}, {500000000, "500ms"}, {1500000000, "1.5s"},
		{5400 * INT64_C(1000000000), "1h30m0s"}, {90000000001, "1m30.000000001s"},
		{-60 * INT64_C(1000000000), "-1m0s"}, {INT64_MAX, "2562047h47m16.854775807s"},
		{-999999, "-999.999\u00b5s"},
	};
	char buf[STR_HUMAN_MAX];
	int64_t back;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_string_equal(str_duration(cases[i].ns, buf), cases[i].want);
		assert_int_equal(str_parse_duration(buf, &back, NULL), 0);
		assert_true(back == cases[i].ns);
	}
	assert_string_equal(str_duration(INT64_MIN, buf), "-2562047h47m16.854775808s");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(starts_and_ends),
		cmocka_unit_test(strbuf_grows),
		cmocka_unit_test(strv_stays_null_terminated),
		cmocka_unit_test(integers),
		cmocka_unit_test(bytes),
		cmocka_unit_test(durations),
		cmocka_unit_test(cpus),
		cmocka_unit_test(human_forms),
		cmocka_unit_test(durations_print_what_parses_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
