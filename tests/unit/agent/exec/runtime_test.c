#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "agent/exec/runtime.h"
#include "common/mem.h"

#include <string.h>

static void messages(void **state)
{
	static const char *const rows[][2] = {
		{"{\"level\":\"error\",\"msg\":\"exec: \\\"x\\\": not found\",\"time\":\"t\"}\n",
		 "exec: \"x\": not found"},
		{"{\"level\":\"warning\",\"msg\":\"a\"}\n{\"level\":\"error\",\"msg\":\"b\"}\n\n",
		 "b"},
		{"time=\"2026\" level=error msg=\"no \\\"file\\\"\"\n", "no \"file\""},
		{"crun: cgroups in hybrid mode not supported\n",
		 "crun: cgroups in hybrid mode not supported"},
		{"", ""},
		{"\n\n", ""},
		{"{\"msg\":17}", "{\"msg\":17}"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_free_ char *got = runtime_message(rows[i][0]);

		assert_string_equal(got, rows[i][1]);
	}
}

static void sync_pipe(void **state)
{
	static const struct {
		const char *line;
		int64_t pid;
		const char *message;
	} rows[] = {{"{\"pid\": 17}\n", 17, NULL},
		    {"{\"pid\": -1, \"message\": \"no\"}\n", -1, "no"},
		    {"{\"pid\": 0}", -1, NULL},
		    {"{\"pid\": \"5\"}", -1, NULL},
		    {"", -1, NULL},
		    {"{\"pid\"", -1, NULL},
		    {"[1]", -1, NULL}};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_free_ char *message = NULL;

		assert_int_equal(runtime_parse_sync(rows[i].line, strlen(rows[i].line), &message),
				 rows[i].pid);
		if (rows[i].message)
			assert_string_equal(message, rows[i].message);
		else
			assert_null(message);
	}
}

static void versions_and_states(void **state)
{
	static const char state_text[] = "{\"id\":\"x\",\"status\":\"running\",\"pid\":4}";
	_cleanup_free_ char *runc = runtime_version("runc version 1.1.5+ds1\ncommit: 1.1.5\n");
	_cleanup_free_ char *crun = runtime_version("crun version 1.8.1\ncommit: f8a\n");
	_cleanup_free_ char *none = runtime_version("no number");
	_cleanup_free_ char *status = runtime_parse_state(state_text, strlen(state_text));

	assert_string_equal(runc, "1.1.5+ds1");
	assert_string_equal(crun, "1.8.1");
	assert_string_equal(none, "");
	assert_string_equal(status, "running");
	assert_null(runtime_parse_state("{}", 2));
}

static void conmon_line(void **state)
{
	const struct conmon_args args = {"/usr/bin/conmon", "/usr/sbin/runc", "/r", "id1",
					 "/s/tasks/id1",    "/run/id1",	      true};
	_cleanup_strv_ struct strv argv = {0};

	runtime_conmon_args(&argv, &args);
	assert_string_equal(argv.v[0], "/usr/bin/conmon");
	assert_true(strv_has(&argv, "--terminal"));
	assert_true(strv_has(&argv, "--runtime-arg=--root"));
	assert_true(strv_has(&argv, "--runtime-arg=/r"));
	assert_true(strv_has(&argv, "--container-pidfile=/run/id1/pid"));
	assert_true(strv_has(&argv, "k8s-file:logs/log"));
	assert_false(strv_has(&argv, "--restore"));
}

static void conmon_line_of_a_restore(void **state)
{
	const struct conmon_args args = {.conmon = "/usr/bin/conmon",
					 .runtime = "/usr/sbin/runc",
					 .root = "/r",
					 .id = "id1",
					 .bundle = "/s/tasks/id1",
					 .run_dir = "/run/id1",
					 .restore = "/s/images/3"};
	_cleanup_strv_ struct strv argv = {0};

	runtime_conmon_args(&argv, &args);
	assert_true(strv_has(&argv, "--restore"));
	assert_true(strv_has(&argv, "/s/images/3"));
	assert_true(strv_has(&argv, "--runtime-opt=--tcp-established"));
	assert_true(strv_has(&argv, "--runtime-opt=--file-locks"));
	assert_true(strv_has(&argv, "--runtime-arg=--root"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(messages),
		cmocka_unit_test(sync_pipe),
		cmocka_unit_test(versions_and_states),
		cmocka_unit_test(conmon_line),
		cmocka_unit_test(conmon_line_of_a_restore),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
