#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "manager/web/attempts.h"

#include "common/clock.h"
#include "common/mem.h"

#include <stdio.h>

#define NOW (INT64_C(1700000000) * NS_PER_SEC)

static int begin(void **state)
{
	*state = attempts_new();
	return 0;
}

static int end(void **state)
{
	attempts_free(*state);
	return 0;
}

static void fail_at(struct attempts *a, const char *address, unsigned times)
{
	for (unsigned i = 0; i < times; i++)
		attempts_failed(a, address, NOW);
}

static void five_and_then_a_minute(void **state)
{
	fail_at(*state, "10.0.0.1", ATTEMPTS_MAX - 1);
	assert_int_equal(attempts_wait_ns(*state, "10.0.0.1", NOW), 0);
	fail_at(*state, "10.0.0.1", 1);
	assert_int_equal(attempts_wait_ns(*state, "10.0.0.1", NOW + 1), ATTEMPTS_WINDOW_NS - 1);
	assert_int_equal(attempts_wait_ns(*state, "10.0.0.2", NOW), 0);
	assert_int_equal(attempts_wait_ns(*state, "10.0.0.1", NOW + ATTEMPTS_WINDOW_NS), 0);
	/* A new window counts anew. */
	attempts_failed(*state, "10.0.0.1", NOW + ATTEMPTS_WINDOW_NS);
	assert_int_equal(attempts_wait_ns(*state, "10.0.0.1", NOW + ATTEMPTS_WINDOW_NS), 0);
}

static void a_network_of_ipv6_is_one(void **state)
{
	fail_at(*state, "2001:db8:1:2::1", 3);
	fail_at(*state, "2001:db8:1:2:ffff::9", 2);
	assert_true(attempts_wait_ns(*state, "2001:db8:1:2:7::", NOW) > 0);
	assert_int_equal(attempts_wait_ns(*state, "2001:db8:1:3::1", NOW), 0);
}

static void what_is_no_address_is_one_source(void **state)
{
	fail_at(*state, "", 3);
	fail_at(*state, "nonsense", 2);
	assert_true(attempts_wait_ns(*state, "other", NOW) > 0);
	assert_int_equal(attempts_wait_ns(*state, "10.0.0.1", NOW), 0);
}

static void many_addresses_take_no_more_room(void **state)
{
	char address[32];

	fail_at(*state, "10.9.9.9", ATTEMPTS_MAX);
	for (unsigned i = 0; i < 2 * ATTEMPTS_ADDRESSES_MAX; i++) {
		snprintf(address, sizeof(address), "10.1.%u.%u", i / 250, i % 250 + 1);
		attempts_failed(*state, address, NOW + 1 + i);
		assert_int_equal(attempts_wait_ns(*state, address, NOW + 1 + i), 0);
	}
	/* The oldest made room. */
	assert_int_equal(attempts_wait_ns(*state, "10.9.9.9", NOW + 2), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(five_and_then_a_minute, begin, end),
		cmocka_unit_test_setup_teardown(a_network_of_ipv6_is_one, begin, end),
		cmocka_unit_test_setup_teardown(what_is_no_address_is_one_source, begin, end),
		cmocka_unit_test_setup_teardown(many_addresses_take_no_more_room, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
