#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/error.h"
#include "netoverlay/addr.h"

#include <stdlib.h>
#include <string.h>

static const struct addr_entry host[] = {
	{"lo", "127.0.0.1", false, false},
	{"eth0", "10.0.0.1", false, true},
	{"eth0", "fd00::1", true, true},
	{"eth1", "192.168.7.2", false, true},
};

static void the_only_address_is_taken(void **state)
{
	struct error err = ERROR_INIT;
	char got[ADDR_TEXT_MAX];

	(void)state;
	assert_int_equal(addr_choose_from(host, 3, NULL, NULL, got, &err), 0);
	assert_string_equal(got, "10.0.0.1");
}

static void several_need_a_word(void **state)
{
	struct error err = ERROR_INIT;
	char got[ADDR_TEXT_MAX];

	(void)state;
	assert_int_equal(addr_choose_from(host, 4, "", NULL, got, &err), -1);
	assert_int_equal(err.code, ERR_INVALID);
	assert_non_null(strstr(err.msg, "10.0.0.1 on eth0"));
	assert_non_null(strstr(err.msg, "192.168.7.2 on eth1"));
	assert_int_equal(addr_choose_from(host, 4, "", "192.168.7.2", got, &err), 0);
	assert_string_equal(got, "192.168.7.2");
	assert_int_equal(addr_choose_from(host, 4, "eth1", NULL, got, &err), 0);
	assert_string_equal(got, "192.168.7.2");
	assert_int_equal(addr_choose_from(host, 4, "fd00::1", NULL, got, &err), 0);
	assert_string_equal(got, "fd00::1");
}

static void foreign_addresses_are_refused(void **state)
{
	struct error err = ERROR_INIT;
	char got[ADDR_TEXT_MAX] = "untouched";

	(void)state;
	assert_int_equal(addr_choose_from(host, 4, "10.9.9.9", NULL, got, &err), -1);
	assert_non_null(strstr(err.msg, "10.9.9.9"));
	assert_int_equal(addr_choose_from(host, 4, "wlan7", NULL, got, &err), -1);
	assert_non_null(strstr(err.msg, "wlan7"));
	assert_string_equal(got, "untouched");
}

static void this_host_has_a_loopback(void **state)
{
	struct addr_entry *entries;
	struct error err = ERROR_INIT;
	size_t n;

	(void)state;
	assert_int_equal(addr_list(&entries, &n, &err), 0);
	for (size_t i = 0; i < n; i++) {
		if (strcmp(entries[i].address, "127.0.0.1") == 0)
			assert_false(entries[i].usable);
	}
	free(entries);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_only_address_is_taken),
		cmocka_unit_test(several_need_a_word),
		cmocka_unit_test(foreign_addresses_are_refused),
		cmocka_unit_test(this_host_has_a_loopback),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
