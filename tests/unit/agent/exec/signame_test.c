#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "agent/exec/signame.h"
#include "common/error.h"
#include "common/mem.h"

#include <signal.h>
#include <string.h>

static void table(void **state)
{
	static const struct {
		const char *text;
		int want;
	} rows[] = {{"SIGTERM", 15},	{"TERM", 15},	 {"sigint", 2},	   {"9", 9},
		    {"64", 64},		{"SIGUSR2", 12}, {"SIGRTMIN", 34}, {"RTMIN+3", 37},
		    {"SIGRTMAX-1", 63}, {"SIGRTMAX", 64}};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		int got = 0;

		assert_int_equal(signame_parse(rows[i].text, &got, NULL), 0);
		assert_int_equal(got, rows[i].want);
	}
}

static void refused(void **state)
{
	static const char *const bad[] = {"",		"0",	    "65",	"-9", "SIG",
					  "SIGNOTHING", "RTMIN+99", "RTMAX-31", "15x"};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct error err = ERROR_INIT;
		int got;

		assert_int_equal(signame_parse(bad[i], &got, &err), -1);
		assert_int_equal(err.code, ERR_INVALID);
		assert_non_null(strstr(err.msg, "accepted"));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(table), cmocka_unit_test(refused)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
