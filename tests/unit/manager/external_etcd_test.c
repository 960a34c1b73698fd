#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/error.h"
#include "common/file.h"
#include "common/mem.h"
#include "manager/config.h"
#include "manager/external_etcd.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static int make_dir(void **state)
{
	char dir[] = "/tmp/external-etcd-XXXXXX";

	*state = xstrdup(mkdtemp(dir));
	return 0;
}

static int remove_dir(void **state)
{
	file_remove_tree(*state, NULL);
	free(*state);
	return 0;
}

static Skein__AddMemberResponse *answer_of(const char *endpoint)
{
	Skein__AddMemberResponse *r = pb_new(&skein__add_member_response__descriptor);

	r->external = true;
	pb_strs_add(&r->n_etcd_endpoints, &r->etcd_endpoints, endpoint);
	pb_strs_add(&r->n_etcd_endpoints, &r->etcd_endpoints, "https://10.0.0.9:2379");
	pb_set_str(&r->etcd_ca_pem, "CA");
	pb_set_str(&r->etcd_cert_pem, "CERT");
	pb_set_str(&r->etcd_key_pem, "KEY");
	return r;
}

static void what_was_told_is_found_again_and_passed_on(void **state)
{
	_cleanup_pb_ Skein__AddMemberResponse *told = answer_of("https://10.0.0.8:2379");
	_cleanup_pb_ Skein__AddMemberResponse *passed = pb_new(&skein__add_member_response__descriptor);
	struct manager_config config = {.state_dir = *state};
	struct external_etcd e = {0};
	struct error err = ERROR_INIT;
	struct stat st;

	assert_int_equal(external_etcd_save(*state, told, &err), 0);
	assert_int_equal(external_etcd_load(&config, &e, &err), 0);
	assert_int_equal(e.endpoints.n, 2);
	assert_string_equal(e.endpoints.v[0], "https://10.0.0.8:2379");
	assert_int_equal(stat(e.key, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(external_etcd_answer(&e, passed, &err), 0);
	assert_true(pb_equal(told, passed));
	external_etcd_fini(&e);
}

static void configuration_comes_before_what_was_told(void **state)
{
	_cleanup_pb_ Skein__AddMemberResponse *told = answer_of("https://10.0.0.8:2379");
	struct manager_config config = {.state_dir = *state};
	struct external_etcd e = {0};
	struct error err = ERROR_INIT;

	strv_add(&config.etcd_endpoints, "http://127.0.0.1:1");
	assert_int_equal(external_etcd_save(*state, told, &err), 0);
	assert_int_equal(external_etcd_load(&config, &e, &err), 0);
	assert_int_equal(e.endpoints.n, 1);
	assert_string_equal(e.endpoints.v[0], "http://127.0.0.1:1");
	assert_null(e.key);
	external_etcd_fini(&e);
	strv_fini(&config.etcd_endpoints);
}

static void nothing_told_is_not_found(void **state)
{
	struct manager_config config = {.state_dir = *state};
	struct external_etcd e = {0};
	struct error err = ERROR_INIT;

	assert_int_equal(external_etcd_load(&config, &e, &err), -1);
	assert_int_equal(err.code, ERR_NOT_FOUND);
}

static void bad_endpoints_are_refused(void **state)
{
	static const char *const bad[] = {"10.0.0.8:2379", "ftp://10.0.0.8", "https://a\nexec = x", "https://a b", ""};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		_cleanup_pb_ Skein__AddMemberResponse *told = answer_of(bad[i]);
		struct manager_config config = {.state_dir = *state};
		struct external_etcd e = {0};
		struct error err = ERROR_INIT;

		assert_int_equal(external_etcd_save(*state, told, &err), -1);
		assert_int_equal(err.code, ERR_INVALID);
		assert_int_equal(external_etcd_load(&config, &e, NULL), -1);
	}
}

static void a_file_that_is_gone_is_named(void **state)
{
	_cleanup_pb_ Skein__AddMemberResponse *passed = pb_new(&skein__add_member_response__descriptor);
	struct external_etcd e = {.ca = (char *)"/no/such/ca.crt"};
	struct error err = ERROR_INIT;

	assert_int_equal(external_etcd_answer(&e, passed, &err), -1);
	assert_non_null(strstr(err.msg, "/no/such/ca.crt"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_was_told_is_found_again_and_passed_on, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(configuration_comes_before_what_was_told, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(nothing_told_is_not_found, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(bad_endpoints_are_refused, make_dir, remove_dir),
		cmocka_unit_test(a_file_that_is_gone_is_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
