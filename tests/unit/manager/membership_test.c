#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/mem.h"
#include "manager/membership.h"
#include "manager/store/etcd.h"

#include <stdio.h>
#include <string.h>

/* "+" healthy, "-" not; the member with index `target` is to go. */
static enum error_code may_remove(const char *health, size_t target, struct error *err)
{
	static const char *const names[] = {"m0", "m1", "m2", "m3", "m4", "m5", "m6"};
	struct membership_node nodes[7];
	size_t n = strlen(health);

	*err = ERROR_INIT;
	for (size_t i = 0; i < n; i++)
		nodes[i] = (struct membership_node){i + 1, names[i], health[i] == '+'};
	membership_may_remove(nodes, n, target + 1, err);
	return err->code;
}

static void quorum_decides_who_may_go(void **state)
{
	static const struct {
		const char *health;
		size_t target;
		enum error_code want;
	} cases[] = {
		{"+", 0, ERR_PRECONDITION},     /* the last one */
		{"++", 0, ERR_OK},              /* 1 of 1 stays */
		{"+-", 1, ERR_UNAVAILABLE},     /* 1 of 2 is no quorum: etcd cannot commit */
		{"+++", 0, ERR_OK},             /* 2 of 2 */
		{"++-", 2, ERR_OK},             /* the dead one goes */
		{"++-", 0, ERR_PRECONDITION},   /* 1 of 2 would stay */
		{"+--", 1, ERR_UNAVAILABLE},
		{"++++", 0, ERR_OK},
		{"+++-", 0, ERR_OK},            /* 2 of 3 */
		{"+++-", 3, ERR_OK},
		{"+++++", 2, ERR_OK},
		{"+++--", 0, ERR_PRECONDITION}, /* 2 of 4, 3 are needed */
		{"+++--", 4, ERR_OK},           /* 3 of 4 */
		{"++---", 4, ERR_UNAVAILABLE},
		{"++", 5, ERR_NOT_FOUND},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct error err;
		enum error_code got = may_remove(cases[i].health, cases[i].target, &err);

		if (got != cases[i].want)
			fail_msg("%s without %zu: %s %s", cases[i].health, cases[i].target, error_code_name(got), err.msg);
	}
}

static void refusals_name_numbers(void **state)
{
	struct error err;

	may_remove("++-", 0, &err);
	assert_string_equal(err.msg, "without m0 only 1 of 2 managers would be healthy, 2 are needed for a quorum: "
				     "bring another one back or promote a node first");
	may_remove("+", 0, &err);
	assert_non_null(strstr(err.msg, "m0 is the last manager"));
	may_remove("+--", 1, &err);
	assert_non_null(strstr(err.msg, "1 of 3 are healthy, 2 are needed"));
}

static const char *const url_a[] = {"https://a:2380"}, *const url_b[] = {"https://b:2380"},
		  *const url_c[] = {"https://c:2380"};

static void joins(void **state)
{
	const struct etcd_member members[] = {
		{.id = 1, .name = "na", .peer_urls = url_a, .n_peer_urls = 1},
		{.id = 2, .name = "", .is_learner = true, .peer_urls = url_b, .n_peer_urls = 1},
	};
	struct error err = ERROR_INIT;
	uint64_t id = 0;

	assert_int_equal(membership_plan_add(members, 1, "nc", url_c[0], &id, &err), MEMBERSHIP_ADD);
	/* an interrupted join finds its own entry, whatever its name was */
	assert_int_equal(membership_plan_add(members, 2, "nb", url_b[0], &id, &err), MEMBERSHIP_REUSE);
	assert_int_equal(id, 2);
	/* one that has started and asks again has lost its data */
	assert_int_equal(membership_plan_add(members, 2, "na", url_a[0], &id, &err), MEMBERSHIP_REPLACE);
	assert_int_equal(id, 1);
	/* a third one waits for the learner */
	assert_int_equal(membership_plan_add(members, 2, "nc", url_c[0], &id, &err), MEMBERSHIP_WAIT);
	assert_int_equal(id, 2);
	/* an address of somebody else; a name with another address */
	assert_int_equal(membership_plan_add(members, 2, "nx", url_a[0], &id, &err), MEMBERSHIP_REFUSE);
	assert_int_equal(err.code, ERR_EXISTS);
	assert_non_null(strstr(err.msg, "https://a:2380 belongs to manager na"));
	assert_int_equal(membership_plan_add(members, 2, "na", url_c[0], &id, &err), MEMBERSHIP_REFUSE);
	assert_non_null(strstr(err.msg, "manager na is a member already"));
}

static void initial_cluster_names_all(void **state)
{
	const struct etcd_member members[] = {
		{.id = 1, .name = "na", .peer_urls = url_a, .n_peer_urls = 1},
		{.id = 2, .name = "", .peer_urls = url_b, .n_peer_urls = 1},
		{.id = 0xff, .name = "", .peer_urls = url_c, .n_peer_urls = 1},
	};
	_cleanup_free_ char *text = membership_initial_cluster(members, 3, "nb", url_b[0]);

	assert_string_equal(text, "na=https://a:2380,nb=https://b:2380,member-ff=https://c:2380");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(quorum_decides_who_may_go),
		cmocka_unit_test(refusals_name_numbers),
		cmocka_unit_test(joins),
		cmocka_unit_test(initial_cluster_names_all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
