#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "agent/exec/caps.h"
#include "common/error.h"
#include "common/mem.h"

#include <linux/capability.h>
#include <string.h>

#define BIT(cap) (UINT64_C(1) << (cap))
#define ALL_CAPS (BIT(CAP_LAST_CAP + 1) - 1)

static void table(void **state)
{
	static const struct {
		char *add[3], *drop[3];
		uint64_t want;
	} rows[] = {
		{{NULL}, {NULL}, 0xa80425fb}, /* Docker's default, as its containers show it */
		{{"CAP_NET_ADMIN"}, {NULL}, 0xa80425fb | BIT(CAP_NET_ADMIN)},
		{{"net_admin", "Cap_Sys_Time"},
		 {NULL},
		 0xa80425fb | BIT(CAP_NET_ADMIN) | BIT(CAP_SYS_TIME)},
		{{NULL}, {"CHOWN"}, 0xa80425fb & ~BIT(CAP_CHOWN)},
		{{"CHOWN"}, {"CHOWN"}, 0xa80425fb},
		{{NULL}, {"ALL"}, 0},
		{{"KILL"}, {"all"}, BIT(CAP_KILL)},
		{{"ALL"}, {NULL}, ALL_CAPS},
		{{"CAP_ALL"},
		 {"SYS_ADMIN", "MKNOD"},
		 ALL_CAPS & ~BIT(CAP_SYS_ADMIN) & ~BIT(CAP_MKNOD)},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		size_t n_add = 0, n_drop = 0;
		uint64_t got;

		while (n_add < 3 && rows[i].add[n_add])
			n_add++;
		while (n_drop < 3 && rows[i].drop[n_drop])
			n_drop++;
		assert_int_equal(
			caps_build(rows[i].add, n_add, rows[i].drop, n_drop, ALL_CAPS, &got, NULL),
			0);
		assert_int_equal(got, rows[i].want);
	}
}

static void only_what_is_available(void **state)
{
	char *all[] = {"ALL"}, *admin[] = {"SYS_ADMIN"};
	struct error err = ERROR_INIT;
	uint64_t got, available = ALL_CAPS & ~BIT(CAP_SYS_ADMIN) & ~BIT(CAP_CHOWN);

	assert_int_equal(caps_build(all, 1, NULL, 0, available, &got, NULL), 0);
	assert_int_equal(got, available);
	assert_int_equal(caps_build(NULL, 0, NULL, 0, available, &got, NULL), 0);
	assert_int_equal(got, caps_default() & available);
	assert_int_equal(caps_build(admin, 1, NULL, 0, available, &got, &err), -1);
	assert_int_equal(err.code, ERR_INVALID);
	assert_non_null(strstr(err.msg, "CAP_SYS_ADMIN"));
}

static void unknown_name(void **state)
{
	char *bad[] = {"CAP_FLY"};
	struct error err = ERROR_INIT;
	uint64_t got;

	assert_int_equal(caps_build(NULL, 0, bad, 1, ALL_CAPS, &got, &err), -1);
	assert_int_equal(err.code, ERR_INVALID);
	assert_non_null(strstr(err.msg, "CAP_FLY"));
	assert_non_null(strstr(err.msg, "cap-drop"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(table),
		cmocka_unit_test(only_what_is_available),
		cmocka_unit_test(unknown_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
