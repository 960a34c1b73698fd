/* A certificate lives on after a removal or a demotion: the view has the last word. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/error.h"
#include "manager/guard.h"
#include "support/build.h"

static struct view *a_cluster(void)
{
	struct built manager = node("m1"), demoted = node("w1");

	((pb_node *)manager.obj)->spec->role = NODE_ROLE_MANAGER;
	((pb_node *)demoted.obj)->spec->role = NODE_ROLE_WORKER;
	return view_of(manager, demoted);
}

static int check(unsigned role, const char *node_id, const char *cluster, unsigned *ret_role, struct error *err)
{
	struct rpc_peer peer = {.role = role};
	struct view *v = a_cluster();
	int r;

	snprintf(peer.node_id, sizeof(peer.node_id), "%s", node_id);
	snprintf(peer.cluster_id, sizeof(peer.cluster_id), "%s", cluster);
	*err = ERROR_INIT;
	r = guard_check(v, "c1", &peer, err);
	*ret_role = peer.role;
	view_free(v);
	return r;
}

static void members_pass_with_their_role(void **state)
{
	struct error err;
	unsigned role;

	(void)state;
	assert_int_equal(check(RPC_ROLE_MANAGER, "m1", "c1", &role, &err), 0);
	assert_int_equal(role, RPC_ROLE_MANAGER);
	assert_int_equal(check(RPC_ROLE_WORKER, "w1", "c1", &role, &err), 0);
	assert_int_equal(role, RPC_ROLE_WORKER);
	/* promoted, with the old certificate still: no more than that says */
	assert_int_equal(check(RPC_ROLE_WORKER, "m1", "c1", &role, &err), 0);
	assert_int_equal(role, RPC_ROLE_WORKER);
}

static void a_demoted_manager_counts_as_a_worker(void **state)
{
	struct error err;
	unsigned role;

	(void)state;
	assert_int_equal(check(RPC_ROLE_MANAGER, "w1", "c1", &role, &err), 0);
	assert_int_equal(role, RPC_ROLE_WORKER);
}

static void the_removed_are_refused(void **state)
{
	struct error err;
	unsigned role;

	(void)state;
	assert_int_equal(check(RPC_ROLE_WORKER, "gone", "c1", &role, &err), -1);
	assert_int_equal(err.code, ERR_DENIED);
	/* the agent knows its removal by this word: agent/session.c */
	assert_non_null(strstr(err.msg, "removed"));
	assert_int_equal(check(RPC_ROLE_MANAGER, "gone", "c1", &role, &err), -1);
	assert_int_equal(err.code, ERR_DENIED);
}

static void other_clusters_are_refused(void **state)
{
	struct error err;
	unsigned role;

	(void)state;
	assert_int_equal(check(RPC_ROLE_MANAGER, "m1", "c2", &role, &err), -1);
	assert_int_equal(err.code, ERR_DENIED);
	assert_null(strstr(err.msg, "removed"));
	assert_int_equal(check(RPC_ROLE_WORKER, "m1", "", &role, &err), -1);
}

static void callers_without_certificate_are_not_its_business(void **state)
{
	struct error err;
	unsigned role;

	(void)state;
	assert_int_equal(check(RPC_ROLE_ANONYMOUS, "", "", &role, &err), 0);
	assert_int_equal(role, RPC_ROLE_ANONYMOUS);
	assert_int_equal(check(RPC_ROLE_LOCAL, "", "", &role, &err), 0);
	assert_int_equal(role, RPC_ROLE_LOCAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(members_pass_with_their_role),
		cmocka_unit_test(a_demoted_manager_counts_as_a_worker),
		cmocka_unit_test(the_removed_are_refused),
		cmocka_unit_test(other_clusters_are_refused),
		cmocka_unit_test(callers_without_certificate_are_not_its_business),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
