#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/error.h"
#include "common/file.h"
#include "common/identity_dir.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define HOUR INT64_C(3600000000000)
#define NOW (INT64_C(1795450000) * 1000000000)

static char top[] = "/tmp/identity_dir_test.XXXXXX";
static char dir[64];
static char *root, *root_key;

static int setup_all(void **state)
{
	if (!mkdtemp(top))
		return -1;
	return pki_root_new("c1", NOW, &root, &root_key, NULL);
}

static int teardown_all(void **state)
{
	free(root);
	pki_secret_free(root_key);
	return file_remove_tree(top, NULL);
}

static int setup(void **state)
{
	snprintf(dir, sizeof(dir), "%s/a/identity", top);
	return file_remove_tree(dir, NULL);
}

/* With a new key. */
static struct identity_data make(enum pki_role role)
{
	struct identity_data data = {
		.node_id = xstrdup("n1"),
		.cluster_id = xstrdup("c1"),
		.role = role,
		.root_pem = xstrdup(root),
		.address = xstrdup("10.0.0.1"),
		.listen = xstrdup("0.0.0.0:2377"),
		.peer_port = 7946,
	};
	_cleanup_free_ char *csr = NULL, *leaf = NULL;
	struct pki_issue issue = {
		.root_cert_pem = root,
		.root_key_pem = root_key,
		.node_id = "n1",
		.cluster_id = "c1",
		.role = role,
		.now_ns = NOW,
		.life_ns = HOUR,
	};

	assert_int_equal(pki_key_new(&data.key_pem, NULL), 0);
	assert_int_equal(pki_csr_new(data.key_pem, &csr, NULL), 0);
	issue.csr_pem = csr;
	assert_int_equal(pki_issue(&issue, &leaf, NULL), 0);
	data.cert_pem = pki_chain(leaf, root);
	strv_add(&data.managers, "10.0.0.1:2377");
	strv_add(&data.managers, "[fd00::1]:2377");
	return data;
}

static const char *in_dir(const char *name)
{
	static char path[2][128];
	static unsigned n;

	n ^= 1;
	snprintf(path[n], sizeof(path[n]), "%s/%s", dir, name);
	return path[n];
}

static void save_then_load(void **state)
{
	static const char *const files[] = {"node.key", "node.crt", "root.crt", "node.json"};
	_cleanup_identity_ struct identity_data data = make(PKI_MANAGER), back = {0};
	struct stat st;

	assert_int_equal(identity_dir_save(dir, &data, NULL), 0);
	assert_int_equal(identity_dir_load(dir, &back, NULL), 0);
	assert_string_equal(back.node_id, "n1");
	assert_string_equal(back.cluster_id, "c1");
	assert_int_equal(back.role, PKI_MANAGER);
	assert_string_equal(back.key_pem, data.key_pem);
	assert_string_equal(back.cert_pem, data.cert_pem);
	assert_string_equal(back.root_pem, root);
	assert_string_equal(back.address, "10.0.0.1");
	assert_string_equal(back.listen, "0.0.0.0:2377");
	assert_int_equal(back.peer_port, 7946);
	assert_int_equal(back.managers.n, 2);
	assert_string_equal(back.managers.v[1], "[fd00::1]:2377");
	assert_true(back.not_after_ns == NOW + HOUR);

	assert_int_equal(stat(dir, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		assert_int_equal(stat(in_dir(files[i]), &st), 0);
		assert_int_equal(st.st_mode & 07777, 0600);
	}
	assert_int_equal(access(in_dir("node.key.new"), F_OK), -1);
}

static void nothing_there(void **state)
{
	struct identity_data back = {0};
	struct error err = ERROR_INIT;

	assert_int_equal(identity_dir_load(dir, &back, &err), -1);
	assert_int_equal(err.code, ERR_NOT_FOUND);
	assert_string_equal(err.msg, "this node is not part of a cluster");
	assert_int_equal(identity_dir_load(dir, &back, NULL), -1);
}

/* A renewal that died after the certificate was replaced: the key beside it is taken. */
static void crash_before_the_key_was_renamed(void **state)
{
	_cleanup_identity_ struct identity_data old = make(PKI_WORKER), new = make(PKI_MANAGER), back = {0};

	assert_int_equal(identity_dir_save(dir, &old, NULL), 0);
	assert_int_equal(file_write(in_dir("node.key.new"), new.key_pem, strlen(new.key_pem), 0600, NULL), 0);
	assert_int_equal(identity_dir_load(dir, &back, NULL), 0);
	assert_string_equal(back.key_pem, old.key_pem);
	identity_data_fini(&back);

	assert_int_equal(file_write(in_dir("node.crt"), new.cert_pem, strlen(new.cert_pem), 0600, NULL), 0);
	assert_int_equal(identity_dir_load(dir, &back, NULL), 0);
	assert_string_equal(back.key_pem, new.key_pem);
	assert_int_equal(back.role, PKI_MANAGER); /* the certificate's, though node.json is older */
	identity_data_fini(&back);
	assert_int_equal(identity_dir_load(dir, &back, NULL), 0);
	assert_string_equal(back.key_pem, new.key_pem);
}

static void damage_is_noticed(void **state)
{
	_cleanup_identity_ struct identity_data data = make(PKI_WORKER), other = make(PKI_WORKER), back = {0};
	const struct {
		const char *file, *text;
	} cases[] = {
		{"node.json", "{"},
		{"node.json", "{}"},
		{"node.json", "[]"},
		{"node.json", "{\"node_id\":\"n2\",\"cluster_id\":\"c1\"}"},
		{"node.json", "{\"node_id\":\"n1\",\"cluster_id\":\"c1\",\"peer_port\":65536}"},
		{"node.key", other.key_pem},
		{"node.key", ""},
		{"node.crt", "x"},
		{"node.crt", other.cert_pem},
		{"root.crt", data.cert_pem},
	};
	struct error err;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		err = ERROR_INIT;
		assert_int_equal(identity_dir_save(dir, &data, NULL), 0);
		assert_int_equal(file_write(in_dir(cases[i].file), cases[i].text, strlen(cases[i].text), 0600, NULL), 0);
		assert_int_equal(identity_dir_load(dir, &back, &err), -1);
		assert_int_equal(err.code, ERR_DATA_LOSS);
		assert_null(back.node_id);
	}
}

static void info_alone(void **state)
{
	_cleanup_identity_ struct identity_data data = make(PKI_WORKER), back = {0};

	assert_int_equal(identity_dir_save(dir, &data, NULL), 0);
	strv_add(&data.managers, "10.0.0.9:2377");
	assert_int_equal(identity_dir_save_info(dir, &data, NULL), 0);
	assert_int_equal(identity_dir_load(dir, &back, NULL), 0);
	assert_int_equal(back.managers.n, 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(save_then_load, setup),
		cmocka_unit_test_setup(nothing_there, setup),
		cmocka_unit_test_setup(crash_before_the_key_was_renamed, setup),
		cmocka_unit_test_setup(damage_is_noticed, setup),
		cmocka_unit_test_setup(info_alone, setup),
	};

	return cmocka_run_group_tests(tests, setup_all, teardown_all);
}
