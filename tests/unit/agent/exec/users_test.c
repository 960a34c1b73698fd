#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "agent/exec/users.h"
#include "common/error.h"
#include "common/mem.h"

#include <string.h>

static const char passwd[] = "root:x:0:0:root:/root:/bin/sh\n"
			     "# a comment\n"
			     "\n"
			     "broken\n"
			     "web:x:33:34:web server:/srv/web:/bin/false\n"
			     "1000:x:7:8::/seven:\n"
			     "bad:x:minus:3::/:\n"
			     "last:x:99:100::/last:/bin/sh"; /* no newline */
static const char group[] = "root:x:0:\n"
			    "www:x:34:other\n"
			    "logs:x:50:root,web\n"
			    "more:x:51:webb,we,web\n"
			    "disk:x:6:webber\n";

static int look(const char *spec, char *const *groups, size_t n, struct user *ret,
		struct error *err)
{
	const struct users_files files = {passwd, group, sizeof(passwd) - 1, sizeof(group) - 1};

	return users_lookup(&files, spec, groups, n, ret, err);
}

static void table(void **state)
{
	static const struct {
		const char *spec;
		uid_t uid;
		gid_t gid;
		size_t n_groups;
		const char *home;
	} rows[] = {
		{"", 0, 0, 1, "/root"},
		{"root", 0, 0, 1, "/root"},
		{"web", 33, 34, 2, "/srv/web"},
		{"33", 33, 34, 2, "/srv/web"},
		{"1000", 7, 8, 0, "/seven"}, /* a name that looks like a number wins */
		{"4242", 4242, 0, 0, "/"},
		{"web:logs", 33, 50, 0, "/srv/web"},
		{"web:1234", 33, 1234, 0, "/srv/web"},
		{"5:6", 5, 6, 0, "/"},
		{":www", 0, 34, 0, "/root"},
		{"last", 99, 100, 0, "/last"},
		{"2147483647", 2147483647, 0, 0, "/"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct error err = ERROR_INIT;
		struct user u;

		assert_int_equal(look(rows[i].spec, NULL, 0, &u, &err), 0);
		assert_int_equal(u.uid, rows[i].uid);
		assert_int_equal(u.gid, rows[i].gid);
		assert_int_equal(u.n_groups, rows[i].n_groups);
		assert_string_equal(u.home, rows[i].home);
	}
}

static void further_groups(void **state)
{
	char *groups[] = {"disk", "77", "logs"};
	struct user u;

	assert_int_equal(look("web", groups, 3, &u, NULL), 0);
	assert_int_equal(u.n_groups, 4); /* 50 51, then 6 77; logs is there already */
	assert_int_equal(u.groups[0], 50);
	assert_int_equal(u.groups[1], 51);
	assert_int_equal(u.groups[2], 6);
	assert_int_equal(u.groups[3], 77);
}

static void refused(void **state)
{
	static const char *const specs[] = {
		"nobody", "web:nogroup", "-1",	  "2147483648", "99999999999999999999",
		"bad",	  "bro ken",	 "web:-5"};

	for (size_t i = 0; i < ARRAY_SIZE(specs); i++) {
		struct error err = ERROR_INIT;
		struct user u;

		assert_int_equal(look(specs[i], NULL, 0, &u, &err), -1);
		assert_int_equal(err.code, ERR_INVALID);
	}
}

static void no_files(void **state)
{
	const struct users_files none = {0};
	struct error err = ERROR_INIT;
	struct user u;

	assert_int_equal(users_lookup(&none, "", NULL, 0, &u, NULL), 0);
	assert_int_equal(u.uid, 0);
	assert_int_equal(users_lookup(&none, "12:13", NULL, 0, &u, NULL), 0);
	assert_int_equal(u.gid, 13);
	assert_int_equal(users_lookup(&none, "web", NULL, 0, &u, &err), -1);
	assert_non_null(strstr(err.msg, "\"web\""));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(table),
		cmocka_unit_test(further_groups),
		cmocka_unit_test(refused),
		cmocka_unit_test(no_files),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
