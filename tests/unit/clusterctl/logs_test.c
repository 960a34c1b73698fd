#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "clusterctl/auth.h"
#include "clusterctl/logs.h"

#include "common/clock.h"
#include "common/error.h"
#include "common/mem.h"

#include <string.h>

static void feed(struct logs_writer *w, const char *task, const char *node, const char *text, bool partial, bool is_err,
		 struct strbuf *out, struct strbuf *errout)
{
	_cleanup_pb_ Skein__LogsResponse *msg = pb_new(&skein__logs_response__descriptor);
	pb_log_line *line = pb_new(&skein__log_line__descriptor);

	pb_set_str(&msg->task_id, "abcdefghijklmnopqrstuvwxy");
	pb_set_str(&msg->task_name, task);
	pb_set_str(&msg->node_name, node);
	pb_set_str(&msg->node_id, "nodeidnodeidnodeidnodeid0");
	line->at = INT64_C(1700000000) * NS_PER_SEC;
	line->data.data = xmemdup(text, strlen(text) + 1);
	line->data.len = strlen(text);
	line->partial = partial;
	line->stream = is_err ? SKEIN__LOG_STREAM__STDERR : SKEIN__LOG_STREAM__STDOUT;
	pb_msgs_add(&msg->n_lines, &msg->lines, line);
	logs_writer_feed(w, msg, out, errout);
}

static void prefixes(void **state)
{
	static const struct {
		struct logs_flags flags;
		const char *want;
	} cases[] = {
		{{0}, "web.1.abcdefghijkl@h1    | hello\n"},
		{{.no_task_ids = true}, "web.1@h1    | hello\n"},
		{{.no_trunc = true}, "web.1.abcdefghijklmnopqrstuvwxy@h1    | hello\n"},
		{{.no_resolve = true, .no_task_ids = true}, "web.1@nodeidnodeid    | hello\n"},
		{{.raw = true}, "hello\n"},
		{{.raw = true, .timestamps = true}, "2023-11-14T22:13:20.000000000Z hello\n"},
		{{.timestamps = true, .no_task_ids = true}, "2023-11-14T22:13:20.000000000Z web.1@h1    | hello\n"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct logs_writer *w = logs_writer_new(&cases[i].flags);
		_cleanup_strbuf_ struct strbuf out = {0}, errout = {0};

		feed(w, "web.1", "h1", "hello", false, false, &out, &errout);
		assert_string_equal(out.p, cases[i].want);
		assert_int_equal(errout.len, 0);
		logs_writer_free(w);
	}
}

static void columns_stay_aligned_and_streams_apart(void **state)
{
	struct logs_flags flags = {.no_task_ids = true};
	struct logs_writer *w = logs_writer_new(&flags);
	_cleanup_strbuf_ struct strbuf out = {0}, errout = {0};

	feed(w, "web.10", "host10", "a", false, false, &out, &errout);
	feed(w, "web.1", "h1", "b", false, false, &out, &errout);
	feed(w, "web.1", "h1", "c", false, true, &out, &errout);
	assert_string_equal(out.p, "web.10@host10    | a\nweb.1@h1         | b\n");
	assert_string_equal(errout.p, "web.1@h1         | c\n");
	logs_writer_free(w);
}

static void parts_of_a_line_are_joined_per_task_and_stream(void **state)
{
	struct logs_flags flags = {.raw = true};
	struct logs_writer *w = logs_writer_new(&flags);
	_cleanup_strbuf_ struct strbuf out = {0}, errout = {0};

	feed(w, "web.1", "h1", "one ", true, false, &out, &errout);
	feed(w, "web.1", "h1", "err ", true, true, &out, &errout);
	assert_int_equal(out.len, 0);
	feed(w, "web.1", "h1", "line", false, false, &out, &errout);
	assert_string_equal(out.p, "one line\n");
	logs_writer_end(w, &out, &errout);
	assert_string_equal(errout.p, "err \n");
	logs_writer_free(w);
}

static void a_line_without_end_is_bounded(void **state)
{
	struct logs_flags flags = {.raw = true};
	struct logs_writer *w = logs_writer_new(&flags);
	_cleanup_strbuf_ struct strbuf out = {0}, errout = {0};
	_cleanup_free_ char *part = xcalloc(1, 16385);

	memset(part, 'x', 16384);
	for (unsigned i = 0; i < 100; i++)
		feed(w, "web.1", "h1", part, true, false, &out, &errout);
	assert_true(out.len >= 1 << 20);
	logs_writer_free(w);
}

static void tail_values(void **state)
{
	struct error err = ERROR_INIT;
	int64_t n;

	assert_int_equal(logs_tail("all", &n, &err), 0);
	assert_int_equal(n, -1);
	assert_int_equal(logs_tail("0", &n, &err), 0);
	assert_int_equal(n, 0);
	assert_int_equal(logs_tail("-1", &n, &err), -1);
	assert_int_equal(logs_tail("some", &n, &err), -1);
	assert_string_equal(err.msg, "--tail: invalid value \"some\": expected a number of lines, or all");
}

/* ---------------------------------------------------------------- registry logins */

static void logins_of_registries(void **state)
{
	static const char file[] = "{\"auths\":{\"https://index.docker.io/v1/\":{\"auth\":\"ZG9ja2Vy\"},"
				   "\"r.example:5000\":{\"auth\":\"cg==\"},\"empty.example\":{}},"
				   "\"credHelpers\":{\"helped.example\":\"x\"}}";
	struct error err = ERROR_INIT;
	_cleanup_free_ char *docker = auth_select(file, "docker.io", &err), *other = auth_select(file, "r.example:5000", &err);

	assert_string_equal(docker, "{\"auths\":{\"docker.io\":{\"auth\":\"ZG9ja2Vy\"}}}");
	assert_string_equal(other, "{\"auths\":{\"r.example:5000\":{\"auth\":\"cg==\"}}}");
	assert_null(auth_select(file, "r.example", &err));
	assert_int_equal(err.code, ERR_NOT_FOUND);
	assert_null(auth_select(file, "empty.example", &err));
	assert_int_equal(err.code, ERR_NOT_FOUND);
	assert_null(auth_select(file, "helped.example", &err));
	assert_int_equal(err.code, ERR_PRECONDITION);
	assert_null(auth_select("{\"auths\":[]", "docker.io", &err));
	assert_int_equal(err.code, ERR_INVALID);
	assert_null(auth_select("[]", "docker.io", &err));
	assert_int_equal(err.code, ERR_INVALID);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(prefixes),
		cmocka_unit_test(columns_stay_aligned_and_streams_apart),
		cmocka_unit_test(parts_of_a_line_are_joined_per_task_and_stream),
		cmocka_unit_test(a_line_without_end_is_bounded),
		cmocka_unit_test(tail_values),
		cmocka_unit_test(logins_of_registries),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
