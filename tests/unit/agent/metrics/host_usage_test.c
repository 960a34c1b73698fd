/* What /proc says, as this kernel and others write it. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "agent/metrics/host_usage.h"

static void cpu(void **state)
{
	assert_int_equal(host_usage_busy_ns("cpu  100 20 30 4000 50 6 7 8 9 10\ncpu0 1 2 3 4\n", 100), 163 * UINT64_C(10000000));
	/* Kernels before 2.6 had four of them. */
	assert_int_equal(host_usage_busy_ns("cpu 1 2 3 4\n", 1000), 6000000);
	assert_int_equal(host_usage_busy_ns("", 100), 0);
	assert_int_equal(host_usage_busy_ns("cpu x", 100), 0);
	assert_int_equal(host_usage_busy_ns("cpu 1 2 3 4\n", 0), 0);
}

static void memory(void **state)
{
	struct host_usage u = {0};

	host_usage_memory("MemTotal:       1000 kB\nMemFree:        100 kB\nMemAvailable:    400 kB\n", &u);
	assert_int_equal(u.mem_total_bytes, 1000 << 10);
	assert_int_equal(u.mem_bytes, 600 << 10);
	host_usage_memory("nothing", &u);
	assert_int_equal(u.mem_bytes, 0);
}

static void traffic(void **state)
{
	struct host_usage u;

	host_usage_traffic("Inter-|   Receive                                                |  Transmit\n"
			   " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n"
			   "    lo: 999 1 0 0 0 0 0 0 999 1 0 0 0 0 0 0\n"
			   "  eth0: 1000 5 0 0 0 0 0 0 200 4 0 0 0 0 0 0\n"
			   "eth1:1 5 0 0 0 0 0 0 2 4 0 0 0 0 0 0\n"
			   "skein0: 77 5 0 0 0 0 0 0 77 4 0 0 0 0 0 0\n"
			   "veth12: 77 5 0 0 0 0 0 0 77 4 0 0 0 0 0 0\n",
			   &u);
	assert_int_equal(u.rx_bytes, 1001);
	assert_int_equal(u.tx_bytes, 202);
	host_usage_traffic("", &u);
	assert_int_equal(u.rx_bytes, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(cpu), cmocka_unit_test(memory), cmocka_unit_test(traffic)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
