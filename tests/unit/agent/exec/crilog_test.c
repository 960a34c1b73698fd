#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "agent/exec/crilog.h"
#include "common/mem.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

static void table(void **state)
{
	static const struct {
		const char *record;
		int64_t at;
		bool is_stderr, partial;
		const char *data;
	} rows[] = {
		{"1970-01-01T00:00:01.000000002+00:00 stdout F a b", 1000000002, false, false,
		 "a b"},
		{"1970-01-01T00:00:00Z stderr P x", 0, true, true, "x"},
		{"2016-10-06T00:17:09.669794202Z stdout F ", 1475713029669794202, false, false, ""},
		{"2026-11-23T18:29:42.097320825+02:00 stdout F hi", 1795451382097320825, false,
		 false, "hi"},
		{"2024-02-29T23:59:59.5-00:30 stderr F leap", 1709252999500000000, true, false,
		 "leap"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct crilog_line line;

		assert_int_equal(crilog_parse(rows[i].record, strlen(rows[i].record), &line), 0);
		assert_int_equal(line.at, rows[i].at);
		assert_int_equal(line.is_stderr, rows[i].is_stderr);
		assert_int_equal(line.partial, rows[i].partial);
		assert_int_equal(line.len, strlen(rows[i].data));
		assert_memory_equal(line.data, rows[i].data, line.len);
	}
}

static void not_a_record(void **state)
{
	static const char *const bad[] = {
		"",
		" ",
		"hello",
		"2016-10-06T00:17:09.6697Z",
		"2016-10-06T00:17:09Z stdout",
		"2016-10-06T00:17:09Z stdout F",
		"2016-10-06T00:17:09Z stdin F x",
		"2016-10-06T00:17:09Z stdout X x",
		"2016-13-06T00:17:09Z stdout F x",
		"2016-10-06T00:17:09.Z stdout F x",
		"2016-10-06T00:17:09.1234567890Z stdout F x",
		"2016-10-06T00:17:09+1 stdout F x",
		"2016-10-06 00:17:09Z stdout F x",
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct crilog_line line;

		assert_int_equal(crilog_parse(bad[i], strlen(bad[i]), &line), -1);
	}
}

#define HEAD_TEXT "2016-10-06T00:17:09.669794202+00:00 stdout "

static int file_of(const char *text)
{
	int fd = memfd_create("log", 0);

	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	return fd;
}

static void tail_counts_full_lines(void **state)
{
	/* Three lines, the second in three records; then one that is not complete. */
	static const char text[] =
		HEAD_TEXT "F one\n" HEAD_TEXT "P two\n" HEAD_TEXT "P more\n" HEAD_TEXT
			  "F end\n" HEAD_TEXT "F three\n" HEAD_TEXT "F unfin";
	const size_t record = strlen(HEAD_TEXT "F one\n");
	static const struct {
		uint64_t lines, found;
		off_t back; /* records from the start */
	} rows[] = {{1, 1, 4}, {2, 2, 1}, {3, 3, 0}, {9, 3, 0}};
	int fd = file_of(text);
	uint64_t found;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		off_t at = crilog_tail(fd, sizeof(text) - 1, rows[i].lines, &found);
		off_t want = rows[i].back == 0	 ? 0
			     : rows[i].back == 1 ? (off_t)record
						 : (off_t)(strstr(text, "F three") - text) -
							   (off_t)strlen(HEAD_TEXT);

		assert_int_equal(found, rows[i].found);
		assert_int_equal(at, want);
	}
	assert_int_equal(crilog_tail(fd, sizeof(text) - 1, 0, &found), sizeof(text) - 1);
	assert_int_equal(found, 0);
	close(fd);
}

static void tail_over_many_blocks(void **state)
{
	enum { N = 6000 };
	int fd = memfd_create("log", 0);
	off_t starts[N + 1];
	uint64_t found;

	starts[0] = 0;
	for (int i = 0; i < N; i++) {
		char line[128];
		int n = snprintf(line, sizeof(line), HEAD_TEXT "F %0*d\n", 1 + i % 60, i);

		assert_int_equal(write(fd, line, (size_t)n), n);
		starts[i + 1] = starts[i] + n;
	}
	for (int lines = 1; lines <= N; lines += 97) {
		assert_int_equal(crilog_tail(fd, starts[N], (uint64_t)lines, &found),
				 starts[N - lines]);
		assert_int_equal(found, lines);
	}
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(table),
		cmocka_unit_test(not_a_record),
		cmocka_unit_test(tail_counts_full_lines),
		cmocka_unit_test(tail_over_many_blocks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
