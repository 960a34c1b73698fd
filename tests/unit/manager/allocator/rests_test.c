#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "manager/allocator/rests.h"

#include "common/str.h"

#include <sys/socket.h>

static void on_each(void *data, const struct ipaddr *address, int64_t since)
{
	char text[IPADDR_TEXT_MAX];

	strbuf_printf(data, "%s@%lld ", ipaddr_format(address, text), (long long)since);
}

static void assert_rests(struct rests *r, const char *network, int64_t now, const char *want)
{
	struct strbuf out = {0};

	rests_each(r, network, now, on_each, &out);
	assert_string_equal(out.p ? out.p : "", want);
	strbuf_fini(&out);
}

static void a_minute_of_rest(void **state)
{
	struct rests *r = rests_new();

	rests_add(r, "a", "10.0.0.2/24", 1);
	rests_add(r, "a", "fd00::2", 2);
	rests_add(r, "b", "10.0.0.3", 3);
	rests_add(r, "a", "", 4);
	rests_add(r, "a", "none", 4);
	assert_rests(r, "a", 5, "10.0.0.2@1 fd00::2@2 ");
	assert_rests(r, "b", 5, "10.0.0.3@3 ");
	assert_rests(r, "c", 5, "");
	assert_rests(r, "a", RESTS_NS + 1, "fd00::2@2 ");
	assert_rests(r, "a", RESTS_NS + 2, "");
	assert_rests(r, "b", RESTS_NS + 2, "10.0.0.3@3 ");
	rests_free(r);
	rests_free(NULL);
}

static void the_last_one(void **state)
{
	struct rests *r = rests_new();
	struct ipaddr a = {.family = AF_INET, .prefix = 24, .bytes = {10, 0, 0, 7}}, got;

	assert_int_equal(rests_last(r, "a", AF_INET).family, 0);
	rests_set_last(r, "a", &a);
	got = rests_last(r, "a", AF_INET);
	assert_true(ipaddr_same_host(&got, &a));
	assert_int_equal(rests_last(r, "a", AF_INET6).family, 0);
	assert_int_equal(rests_last(r, "b", AF_INET).family, 0);
	rests_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_minute_of_rest),
		cmocka_unit_test(the_last_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
