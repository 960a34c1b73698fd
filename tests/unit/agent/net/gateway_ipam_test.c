/* Addresses of tasks on the node's own subnet. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "agent/net/gateway_ipam.h"
#include "common/error.h"

#include <string.h>

static void init(struct gateway_ipam *ipam, const char *subnet)
{
	struct ipaddr subnet4, subnet6;

	assert_int_equal(ipaddr_parse_subnet(subnet, &subnet4, NULL), 0);
	assert_int_equal(ipaddr_parse_subnet("fd53:6b00::/64", &subnet6, NULL), 0);
	assert_int_equal(gateway_ipam_init(ipam, &subnet4, &subnet6, NULL), 0);
}

#define assert_address(a, text)                                                                    \
	do {                                                                                       \
		char buf_[IPADDR_TEXT_MAX];                                                        \
		assert_string_equal(ipaddr_format(&(a), buf_), text);                              \
	} while (0)

static void addresses_come_in_pairs(void **state)
{
	struct gateway_ipam ipam;
	struct ipaddr a4, a6, gw4, gw6;

	init(&ipam, "172.30.0.0/16");
	gw4 = gateway_ipam_gateway4(&ipam);
	gw6 = gateway_ipam_gateway6(&ipam);
	assert_address(gw4, "172.30.0.1/16");
	assert_address(gw6, "fd53:6b00::1/64");
	assert_int_equal(gateway_ipam_take(&ipam, &a4, &a6, NULL), 0);
	assert_address(a4, "172.30.0.2/16");
	assert_address(a6, "fd53:6b00::2/64");
	gateway_ipam_fini(&ipam);
}

static void one_that_was_given_back_rests(void **state)
{
	struct gateway_ipam ipam;
	struct ipaddr first, second, a6;

	init(&ipam, "172.30.0.0/16");
	gateway_ipam_take(&ipam, &first, &a6, NULL);
	gateway_ipam_give(&ipam, &first);
	gateway_ipam_take(&ipam, &second, &a6, NULL);
	assert_address(second, "172.30.0.3/16");
	gateway_ipam_fini(&ipam);
}

static void a_full_subnet_says_so(void **state)
{
	struct gateway_ipam ipam;
	struct ipaddr a4, a6, again;
	struct error err = ERROR_INIT;

	init(&ipam, "10.9.0.0/29");
	for (int i = 2; i <= 6; i++)
		assert_int_equal(gateway_ipam_take(&ipam, &a4, &a6, &err), 0);
	assert_address(a4, "10.9.0.6/29"); /* .7 is the broadcast address */
	assert_int_equal(gateway_ipam_take(&ipam, &again, &a6, &err), -1);
	assert_int_equal(err.code, ERR_EXHAUSTED);
	assert_non_null(strstr(err.msg, "10.9.0.0/29"));
	gateway_ipam_give(&ipam, &a4);
	assert_int_equal(gateway_ipam_take(&ipam, &again, &a6, &err), 0);
	assert_address(again, "10.9.0.6/29");
	gateway_ipam_fini(&ipam);
}

static void found_ones_are_taken_over(void **state)
{
	struct gateway_ipam ipam;
	struct ipaddr found, a4, a6, gateway = {.family = 0};

	init(&ipam, "172.30.0.0/16");
	assert_int_equal(ipaddr_parse("172.30.0.2/16", &found, NULL), 0);
	assert_true(gateway_ipam_reserve(&ipam, &found, &a6));
	assert_address(a6, "fd53:6b00::2/64");
	assert_false(gateway_ipam_reserve(&ipam, &found, &a6));
	gateway = gateway_ipam_gateway4(&ipam);
	assert_false(gateway_ipam_reserve(&ipam, &gateway, &a6));
	ipaddr_parse("10.1.1.1/16", &found, NULL);
	assert_false(gateway_ipam_reserve(&ipam, &found, &a6));
	gateway_ipam_take(&ipam, &a4, &a6, NULL);
	assert_address(a4, "172.30.0.3/16");
	gateway_ipam_fini(&ipam);
}

static void what_is_no_subnet_for_it(void **state)
{
	struct gateway_ipam ipam;
	struct ipaddr subnet, none = {.family = 0};
	struct error err = ERROR_INIT;

	ipaddr_parse_subnet("10.0.0.0/30", &subnet, NULL);
	assert_int_equal(gateway_ipam_init(&ipam, &subnet, &none, &err), -1);
	assert_non_null(strstr(err.msg, "10.0.0.0/30"));
	ipaddr_parse_subnet("fd00::/64", &subnet, NULL);
	assert_int_equal(gateway_ipam_init(&ipam, &subnet, &none, &err), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses_come_in_pairs), cmocka_unit_test(one_that_was_given_back_rests),
		cmocka_unit_test(a_full_subnet_says_so),   cmocka_unit_test(found_ones_are_taken_over),
		cmocka_unit_test(what_is_no_subnet_for_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
