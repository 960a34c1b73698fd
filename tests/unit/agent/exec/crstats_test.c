#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "agent/exec/crstats.h"
#include "common/error.h"
#include "common/mem.h"
#include "common/str.h"

#include <string.h>

static size_t put_varint(unsigned char *p, unsigned field, uint64_t value)
{
	size_t n = 0;

	p[n++] = (unsigned char)(field << 3);
	for (; value > 0x7f; value >>= 7)
		p[n++] = (unsigned char)(value | 0x80);
	p[n++] = (unsigned char)value;
	return n;
}

/* A file as criu writes it: part 1 dump, 2 restore; the fields by number. */
static size_t make_file(unsigned char *file, unsigned part, const uint64_t *fields, unsigned n)
{
	static const unsigned char magic[] = {0x40, 0x59, 0x10, 0x55, 0x06, 0x33, 0x09, 0x57};
	unsigned char inner[128];
	uint32_t len;
	size_t k = 0;

	for (unsigned i = 0; i < n; i++)
		k += put_varint(inner + k, i + 1, fields[i]);
	len = (uint32_t)k + 2;
	memcpy(file, magic, 8);
	memcpy(file + 8, &len, 4);
	file[12] = (unsigned char)(part << 3 | 2);
	file[13] = (unsigned char)k;
	memcpy(file + 14, inner, k);
	return 14 + k;
}

static void fields_and_units(void **state)
{
	static const uint64_t dump[] = {1000, 2000, 300, 42, 14336, 13746, 590}, restore[] = {0, 0, 900, 1800000, 14000};
	struct checkpoint_stats stats = {.took_ns = 7};
	struct restore_stats restored = {.took_ns = 8};
	struct error err = ERROR_INIT;
	unsigned char file[160];
	size_t len = make_file(file, 1, dump, ARRAY_SIZE(dump));

	assert_int_equal(crstats_dump(file, len, &stats, &err), 0);
	assert_int_equal(stats.freezing_ns, 1000000);
	assert_int_equal(stats.frozen_ns, 2000000);
	assert_int_equal(stats.memdump_ns, 300000);
	assert_int_equal(stats.memwrite_ns, 42000);
	assert_int_equal(stats.pages_scanned, 14336);
	assert_int_equal(stats.pages_unchanged, 13746);
	assert_int_equal(stats.pages_written, 590);
	assert_int_equal(stats.took_ns, 7);
	assert_int_equal(crstats_restore(file, len, &restored, &err), -1);
	assert_non_null(strstr(err.msg, "not of a restore"));

	len = make_file(file, 2, restore, ARRAY_SIZE(restore));
	assert_int_equal(crstats_restore(file, len, &restored, &err), 0);
	assert_int_equal(restored.forking_ns, 900000);
	assert_int_equal(restored.restore_ns, INT64_C(1800000000));
	assert_int_equal(restored.pages_restored, 14000);
	assert_int_equal(restored.took_ns, 8);
	assert_int_equal(crstats_dump(file, len, &stats, &err), -1);
	for (size_t cut = 0; cut < len; cut++)
		assert_int_equal(crstats_restore(file, cut, &restored, &err), -1);
}

static void reasons(void **state)
{
	static const char *const rows[][2] = {
		{"(00.01) Unlock network\n(00.02) Writing stats\n", NULL},
		{"", NULL},
		{"(00.1) Error (criu/sk-inet.c:200): inet: In-flight connection (l) for 7\n"
		 "(00.2) Error (criu/sk-inet.c:202): inet: In-flight connections can be ignored with the --skip-in-flight option.\n"
		 "(00.3) Error (criu/cr-dump.c:2053): Dumping FAILED.\n",
		 "a client's connection waits to be accepted; try again when it is (criu: inet: In-flight connection (l) for 7)"},
		/* The first of equal rank; consequences last. */
		{"(00.1) Error (criu/x.c:1): something odd\n(00.2) Error (criu/y.c:2): something else\n"
		 "(00.3) Error (criu/cr-dump.c:2053): Dumping FAILED.",
		 "criu: something odd"},
		{"(00.3) Error (criu/cr-dump.c:2053): Dumping FAILED.", "criu: Dumping FAILED."},
		/* As seen when the connection to the page server was cut. */
		{"(00.029610) Error (criu/util.c:1078): Unable to restore TCP_CORK (1): Operation not supported\n"
		 "(00.133145) Error (criu/page-xfer.c:970): page-xfer: The page server doesn't answer: Success\n"
		 "(00.133803) Error (criu/mem.c:625): Can't dump page with parasite\n"
		 "(00.246824) Error (criu/cr-dump.c:1853): Pre-dumping FAILED.\n",
		 "the connection to the other host was lost (criu: page-xfer: The page server doesn't answer: Success)"},
		/* Behind the number of a process at restore. */
		{"(00.806407)      1: Error (soccr/soccr.c:529): Can't connect inet socket back: Cannot assign requested address\n"
		 "(00.814569) Error (criu/cr-restore.c:2537): Restoring FAILED.\n",
		 "criu: Can't connect inet socket back: Cannot assign requested address"},
		/* criu check on a kernel that is too new. */
		{"Error (criu/vdso.c:381): vdso: Unexpected rt vDSO area bounds\n"
		 "Error (criu/crtools.c:260): Could not initialize kernel features detection.",
		 "this kernel is too new for this criu (criu: vdso: Unexpected rt vDSO area bounds)"},
		{"Error (", NULL},
		{"Error (x): ", NULL},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_free_ char *got = crstats_reason(rows[i][0], strlen(rows[i][0]));

		if (rows[i][1])
			assert_string_equal(got, rows[i][1]);
		else
			assert_null(got);
	}
}

static void long_lines_are_cut(void **state)
{
	char log[2000];
	_cleanup_free_ char *got = NULL;

	memset(log, 'x', sizeof(log));
	memcpy(log, "Error (a:1): ", 13);
	got = crstats_reason(log, sizeof(log));
	assert_int_equal(strlen(got), strlen("criu: ") + 300);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fields_and_units),
		cmocka_unit_test(reasons),
		cmocka_unit_test(long_lines_are_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
