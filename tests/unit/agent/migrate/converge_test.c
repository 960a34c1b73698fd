/* When to freeze. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "agent/migrate/converge.h"
#include "common/clock.h"
#include "common/mem.h"

#define MB 1000000ull
#define MS NS_PER_MS

static const struct row {
	const char *name;
	struct converge_round rounds[5];
	size_t n;
	int64_t budget;
	uint32_t max;
	enum converge want;
} rows[] = {
	{"nothing is known behind the first round", {{200 * MB, 0, 2000 * MS}}, 1, 0, 0, CONVERGE_AGAIN},
	{"one round was all that was allowed", {{200 * MB, 0, 2000 * MS}}, 1, 0, 1, CONVERGE_ENOUGH},
	/* 10 MB/s dirty, 100 MB/s: 20 MB took 200 ms, 2 MB are left: 20 ms */
	{"little is left", {{200 * MB, 0, 2000 * MS}, {20 * MB, 2000 * MS, 200 * MS}}, 2, 0, 0, CONVERGE_FITS},
	{"but not little enough", {{200 * MB, 0, 2000 * MS}, {20 * MB, 2000 * MS, 200 * MS}}, 2, 10 * MS, 0, CONVERGE_AGAIN},
	{"an idle container", {{200 * MB, 0, 2000 * MS}, {0, 2000 * MS, 5 * MS}}, 2, 1 * MS, 0, CONVERGE_FITS},
	{"it writes as fast as it is copied",
	 {{200 * MB, 0, 2000 * MS}, {200 * MB, 2000 * MS, 2000 * MS}}, 2, 0, 0, CONVERGE_AGAIN},
	{"and goes on doing so",
	 {{200 * MB, 0, 2000 * MS}, {200 * MB, 2000 * MS, 2000 * MS}, {199 * MB, 4000 * MS, 2000 * MS}}, 3, 0, 0, CONVERGE_ENOUGH},
	{"rounds get smaller",
	 {{200 * MB, 0, 2000 * MS}, {150 * MB, 2000 * MS, 1500 * MS}, {110 * MB, 3500 * MS, 1100 * MS}}, 3, 1 * MS, 0, CONVERGE_AGAIN},
	{"the rounds are used up",
	 {{200 * MB, 0, 2000 * MS}, {150 * MB, 2000 * MS, 1500 * MS}, {110 * MB, 3500 * MS, 1100 * MS}}, 3, 1 * MS, 3, CONVERGE_ENOUGH},
};

static void table(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		enum converge got = converge_decide(rows[i].rounds, rows[i].n, rows[i].budget, rows[i].max);

		if (got != rows[i].want)
			fail_msg("%s: %d, wanted %d", rows[i].name, (int)got, (int)rows[i].want);
	}
}

static void dirty_rate(void **state)
{
	struct converge_round rounds[] = {{200 * MB, 5 * NS_PER_SEC, 2 * NS_PER_SEC}, {30 * MB, 8 * NS_PER_SEC, NS_PER_SEC / 2}};

	assert_int_equal(converge_dirty_rate(rounds, 1), 0);
	assert_int_equal(converge_dirty_rate(rounds, 2), 10 * MB);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(table), cmocka_unit_test(dirty_rate)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
