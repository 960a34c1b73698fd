#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/clock.h"
#include "common/silence.h"
#include "common/tcp.h"

#define MS NS_PER_MS

/* Looks every 50 ms from `from` to `to`; at `acked` something was acknowledged last. When it was called silent; 0 = not. */
static int64_t look(struct silence_look *l, int64_t from, int64_t to, int64_t acked, int64_t rtt, bool unacked)
{
	for (int64_t now = from; now <= to; now += 50 * MS) {
		struct tcp_facts facts = {.acked_ns = now - acked, .rtt_ns = rtt, .unacked = unacked};

		if (silence_judge(l, &facts, now))
			return now;
	}
	return 0;
}

static void host_that_acknowledges_nothing_is_silent(void **state)
{
	struct silence_look l = {0};

	assert_int_equal(look(&l, 1100 * MS, 5000 * MS, 1000 * MS, MS, true), 1550 * MS);
	/* Long trips give it more time. */
	l = (struct silence_look){0};
	assert_int_equal(look(&l, 1100 * MS, 5000 * MS, 1000 * MS, 200 * MS, true), 1900 * MS);
}

static void host_that_has_nothing_to_acknowledge_is_not(void **state)
{
	struct silence_look l = {0};

	assert_int_equal(look(&l, 1100 * MS, 60000 * MS, 1000 * MS, MS, false), 0);
	assert_false(silence_judge(&l, NULL, 60000 * MS));
	/* Nor when we were late to send: the silence begins with what waits. */
	assert_int_equal(look(&l, 60100 * MS, 60400 * MS, 1000 * MS, MS, true), 0);
	assert_int_equal(look(&l, 60400 * MS, 61000 * MS, 1000 * MS, MS, true), 60450 * MS);
}

static void acknowledgement_begins_anew(void **state)
{
	struct silence_look l = {0};

	for (int64_t acked = 1000 * MS; acked < 9000 * MS; acked += 450 * MS)
		assert_int_equal(look(&l, acked + 50 * MS, acked + 450 * MS, acked, MS, true), 0);
}

/* A program that does not get to run, ours or theirs, leaves nothing unacknowledged: the kernels go on. */
static void late_looks_are_no_silence(void **state)
{
	const struct tcp_facts waits = {.acked_ns = 900 * MS, .rtt_ns = MS, .unacked = true};
	struct silence_look l = {0};

	assert_false(silence_judge(&l, &waits, 1000 * MS));
	assert_false(silence_judge(&l, &(struct tcp_facts){.acked_ns = 2000 * MS}, 3000 * MS));
	assert_false(silence_judge(&l, &waits, 9000 * MS));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(host_that_acknowledges_nothing_is_silent),
		cmocka_unit_test(host_that_has_nothing_to_acknowledge_is_not),
		cmocka_unit_test(acknowledgement_begins_anew),
		cmocka_unit_test(late_looks_are_no_silence),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
