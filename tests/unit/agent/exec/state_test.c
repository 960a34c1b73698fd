#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "agent/exec/internal.h"
#include "common/error.h"
#include "common/mem.h"

#include <string.h>

static void exit_file(void **state)
{
	static const struct {
		const char *text;
		int want; /* -1: not valid */
	} rows[] = {{"0", 0},	 {"7", 7},   {"137", 137},  {"255", 255}, {"3\n", 3},	  {"", -1},
		    {"256", -1}, {"-1", -1}, {"seven", -1}, {"1 2", -1},  {"0000001", -1}};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		int code = -1, r = exit_file_parse(rows[i].text, strlen(rows[i].text), &code);

		assert_int_equal(r, rows[i].want < 0 ? -1 : 0);
		assert_int_equal(code, rows[i].want);
	}
}

#define GOOD                                                                                       \
	"{\"boot_id\":\"b\",\"runtime\":\"/usr/sbin/"                                              \
	"runc\",\"stop_signal\":15,\"started\":true,\"pid\":5,"                                    \
	"\"pid_start\":6,\"conmon_pid\":7,\"conmon_start\":8}"

static void container_json(void **state)
{
	struct container_state s;

	assert_int_equal(container_state_parse(GOOD, strlen(GOOD), "b", &s, NULL), 0);
	assert_true(s.same_boot);
	assert_true(s.started);
	assert_string_equal(s.runtime, "/usr/sbin/runc");
	assert_int_equal(s.pid, 5);
	assert_int_equal(s.pid_start, 6);
	assert_int_equal(s.conmon_pid, 7);
	assert_int_equal(s.conmon_start, 8);
	free(s.runtime);
	assert_int_equal(container_state_parse(GOOD, strlen(GOOD), "other", &s, NULL), 0);
	assert_false(s.same_boot);
	free(s.runtime);
}

static void damaged_container_json(void **state)
{
	static const char *const edits[][2] = {
		{"\"pid\":5", "\"pid\":-5"},	       {"\"pid\":5", "\"pid\":99999999999"},
		{"\"pid\":5", "\"pid\":\"5\""},	       {"\"stop_signal\":15", "\"stop_signal\":99"},
		{"\"started\":true", "\"started\":1"}, {"}", ""},
	};

	for (size_t i = 0; i < ARRAY_SIZE(edits); i++) {
		const char *at = strstr(GOOD, edits[i][0]);
		_cleanup_free_ char *text = xasprintf("%.*s%s%s", (int)(at - GOOD), GOOD,
						      edits[i][1], at + strlen(edits[i][0]));
		struct error err = ERROR_INIT;
		struct container_state s;

		assert_int_equal(container_state_parse(text, strlen(text), "b", &s, &err), -1);
		assert_int_equal(err.code, ERR_DATA_LOSS);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(exit_file),
		cmocka_unit_test(container_json),
		cmocka_unit_test(damaged_container_json),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
