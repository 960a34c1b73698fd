/* Lines of /proc/net/ip_vs_conn. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "netoverlay/ipvs_connections.h"

#include <netinet/in.h>

static void each_line_is_a_connection(void **state)
{
	struct ipvs_connection c;
	char text[IPADDR_TEXT_MAX];

	assert_true(ipvs_connection_parse("TCP 0A00010B D431 0A000103 0050 0A00011F 0000 ESTABLISHED     899\n", &c));
	assert_int_equal(c.protocol, IPPROTO_TCP);
	assert_string_equal(ipaddr_format_host(&c.client, text), "10.0.1.11");
	assert_int_equal(c.client_port, 0xd431);
	assert_string_equal(ipaddr_format_host(&c.service, text), "10.0.1.3");
	assert_int_equal(c.service_port, 80);
	assert_string_equal(ipaddr_format_host(&c.endpoint, text), "10.0.1.31");
	assert_true(c.established);
	assert_int_equal(c.timeout_s, 899);
	assert_true(ipvs_connection_parse("TCP 0A00010B D431 0A000103 0050 0A00011F 0050 FIN_WAIT         99 \n", &c));
	assert_false(c.established);
	assert_true(ipvs_connection_parse("UDP fd00:0001:0000:0000:0000:0000:0000:000b 1388 "
					  "fd00:0001:0000:0000:0000:0000:0000:0003 14B4 "
					  "fd00:0001:0000:0000:0000:0000:0000:001f 14B4 UDP             299\n",
					  &c));
	assert_int_equal(c.protocol, IPPROTO_UDP);
	assert_true(c.established);
	assert_string_equal(ipaddr_format_host(&c.endpoint, text), "fd00:1::1f");
}

static void other_lines_are_none(void **state)
{
	static const char *const lines[] = {
		"",
		"Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData\n",
		"IP  0A00010B 0000 0A000103 0000 0A00011F 0000 NONE              9\n",
		"TCP 0A00010B D431 0A000103 0050 0A00011F\n",
		"TCP 0A0001 D431 0A000103 0050 0A00011F 0050 ESTABLISHED     899\n",
		"TCP 0A00010B 1D431 0A000103 0050 0A00011F 0050 ESTABLISHED     899\n",
		"TCP zz00010B D431 0A000103 0050 0A00011F 0050 ESTABLISHED     899\n",
	};
	struct ipvs_connection c;

	for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++)
		assert_false(ipvs_connection_parse(lines[i], &c));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_line_is_a_connection),
		cmocka_unit_test(other_lines_are_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
