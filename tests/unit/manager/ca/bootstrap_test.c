#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/error.h"
#include "common/file.h"
#include "common/identity_dir.h"
#include "manager/ca/admit.h"
#include "manager/ca/bootstrap.h"
#include "manager/store/txn.h"
#include "support/ca_view.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define NOW CA_VIEW_NOW

static char top[] = "/tmp/bootstrap_test.XXXXXX";
static char dir[64], identity_dir[96], file[96];

static int setup_all(void **state)
{
	return mkdtemp(top) ? 0 : -1;
}

static int teardown_all(void **state)
{
	return file_remove_tree(top, NULL);
}

static int setup(void **state)
{
	snprintf(dir, sizeof(dir), "%s/state", top);
	snprintf(identity_dir, sizeof(identity_dir), "%s/identity", dir);
	snprintf(file, sizeof(file), "%s/manager/bootstrap.pb", dir);
	return file_remove_tree(dir, NULL);
}

static struct ca_bootstrap_options options(void)
{
	return (struct ca_bootstrap_options){
		.state_dir = dir,
		.address = "10.0.0.1",
		.listen = "0.0.0.0:2377",
		.api_address = "10.0.0.1:2377",
		.hostname = "host1",
		.peer_port = 7946,
		.availability = AVAILABILITY_DRAIN,
		.now = NOW,
	};
}

static void files_and_result(void **state)
{
	struct ca_bootstrap_options o = options();
	_cleanup_identity_ struct identity_data identity = {0};
	_cleanup_pb_ Skein__Bootstrap *b = NULL;
	struct ca_bootstrap_result result;
	struct stat st;

	assert_int_equal(ca_bootstrap_write(&o, &result, NULL), 0);
	assert_int_equal(identity_dir_load(identity_dir, &identity, NULL), 0);
	assert_string_equal(identity.node_id, result.node_id);
	assert_string_equal(identity.cluster_id, result.cluster_id);
	assert_int_equal(identity.role, PKI_MANAGER);
	assert_string_equal(identity.managers.v[0], "10.0.0.1:2377");
	assert_int_equal(pki_verify(identity.root_pem, identity.cert_pem, PKI_MANAGER_NAME, NOW, NULL), 0);
	assert_int_equal(stat(file, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);

	assert_int_equal(ca_bootstrap_load(dir, &b, NULL), 0);
	assert_string_equal(b->cluster->id, result.cluster_id);
	assert_string_equal(b->cluster->root_cert_pem, identity.root_pem);
	assert_int_equal(pki_key_check(b->cluster->root_cert_pem, b->cluster->root_key_pem, NULL), 0);
	assert_string_equal(b->node->id, result.node_id);
	assert_string_equal(b->node->spec->name, "host1");
	assert_string_equal(b->node->manager->address, "10.0.0.1:2377");
	assert_int_equal(b->node->spec->role, NODE_ROLE_MANAGER);
	assert_int_equal(b->node->role, NODE_ROLE_MANAGER);
	assert_int_equal(b->node->spec->availability, AVAILABILITY_DRAIN);
	assert_int_equal(b->node->peer_port, 7946);
	assert_true(b->node->cert_expires_at == identity.not_after_ns);
}

static void stage_once(void **state)
{
	struct ca_bootstrap_options o = options();
	struct ca_bootstrap_result result;
	_cleanup_pb_ Skein__Bootstrap *b = NULL;
	struct view *v = view_new();
	struct txn *t = txn_begin(v);
	const struct txn_change *changes;
	size_t n;

	assert_int_equal(ca_bootstrap_write(&o, &result, NULL), 0);
	assert_int_equal(ca_bootstrap_load(dir, &b, NULL), 0);
	assert_int_equal(ca_bootstrap_stage(b, v, t, NULL), 1);
	changes = txn_changes(t, &n);
	assert_int_equal(n, 4);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(changes[i].revision, 0); /* must not exist */
	ca_view_commit(v, t);

	/* What init told the operator lets nodes join. */
	assert_string_equal(ca_token_check(v, result.worker_token, NOW, NULL)->id, "worker");
	assert_string_equal(ca_token_check(v, result.manager_token, NOW, NULL)->id, "manager");
	t = txn_begin(v);
	assert_int_equal(ca_bootstrap_stage(b, v, t, NULL), 0);
	assert_true(txn_empty(t));
	txn_free(t);
	view_free(v);
}

static void another_cluster_is_not_overwritten(void **state)
{
	struct ca_bootstrap_options o = options();
	struct ca_bootstrap_result result;
	_cleanup_pb_ Skein__Bootstrap *b = NULL;
	struct view *v = ca_view_new("cluster2");
	struct error err = ERROR_INIT;
	struct txn *t = txn_begin(v);

	assert_int_equal(ca_bootstrap_write(&o, &result, NULL), 0);
	assert_int_equal(ca_bootstrap_load(dir, &b, NULL), 0);
	assert_int_equal(ca_bootstrap_stage(b, v, t, &err), -1);
	assert_int_equal(err.code, ERR_PRECONDITION);
	assert_non_null(strstr(err.msg, "cluster2"));
	assert_true(txn_empty(t));
	txn_free(t);
	view_free(v);
}

static void second_time_is_refused(void **state)
{
	struct ca_bootstrap_options o = options();
	struct ca_bootstrap_result result;
	struct error err = ERROR_INIT;

	assert_int_equal(ca_bootstrap_write(&o, &result, NULL), 0);
	assert_int_equal(ca_bootstrap_write(&o, &result, &err), -1);
	assert_int_equal(err.code, ERR_EXISTS);
}

static void spec_is_kept_and_checked(void **state)
{
	struct ca_bootstrap_options o = options();
	pb_cluster_spec spec = SKEIN__CLUSTER_SPEC__INIT;
	_cleanup_identity_ struct identity_data identity = {0};
	_cleanup_pb_ Skein__Bootstrap *b = NULL;
	struct ca_bootstrap_result result;
	struct error err = ERROR_INIT;

	o.spec = &spec;
	spec.cert_expiry = CA_CERT_LIFE_MIN_NS - 1;
	assert_int_equal(ca_bootstrap_write(&o, &result, &err), -1);
	assert_int_equal(err.code, ERR_INVALID);
	assert_non_null(strstr(err.msg, "1h"));
	spec.cert_expiry = 2 * CA_CERT_LIFE_MIN_NS;
	spec.task_history_limit = 3;
	o.address = "not an address";
	assert_int_equal(ca_bootstrap_write(&o, &result, &err), -1);
	assert_non_null(strstr(err.msg, "not an address"));
	assert_int_equal(access(identity_dir, F_OK), -1);
	o.address = "10.0.0.1";
	assert_int_equal(ca_bootstrap_write(&o, &result, NULL), 0);
	assert_int_equal(ca_bootstrap_load(dir, &b, NULL), 0);
	assert_int_equal(b->cluster->spec->task_history_limit, 3);
	assert_int_equal(identity_dir_load(identity_dir, &identity, NULL), 0);
	assert_true(identity.not_after_ns == NOW + 2 * CA_CERT_LIFE_MIN_NS);
}

static void damaged_and_missing_file(void **state)
{
	_cleanup_pb_ Skein__Bootstrap *b = NULL;
	char parent[96];
	struct error err = ERROR_INIT;

	assert_int_equal(ca_bootstrap_load(dir, &b, &err), -1);
	assert_int_equal(err.code, ERR_NOT_FOUND);
	snprintf(parent, sizeof(parent), "%s/manager", dir);
	assert_int_equal(file_mkdirs(parent, 0700, NULL), 0);
	assert_int_equal(file_write(file, "", 0, 0600, NULL), 0);
	assert_int_equal(ca_bootstrap_load(dir, &b, &err), -1);
	assert_int_equal(err.code, ERR_DATA_LOSS);
	assert_int_equal(file_write(file, "\xff\xff", 2, 0600, NULL), 0);
	assert_int_equal(ca_bootstrap_load(dir, &b, &err), -1);
	assert_int_equal(err.code, ERR_DATA_LOSS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(files_and_result, setup),
		cmocka_unit_test_setup(stage_once, setup),
		cmocka_unit_test_setup(another_cluster_is_not_overwritten, setup),
		cmocka_unit_test_setup(second_time_is_refused, setup),
		cmocka_unit_test_setup(spec_is_kept_and_checked, setup),
		cmocka_unit_test_setup(damaged_and_missing_file, setup),
	};

	return cmocka_run_group_tests(tests, setup_all, teardown_all);
}
