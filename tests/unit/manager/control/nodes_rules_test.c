#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/error.h"
#include "manager/control/nodes_rules.h"
#include "manager/store/txn.h"
#include "support/build.h"

static void make_manager(struct view *v, const char *id)
{
	pb_node *n = pb_dup(view_node(v, id));

	n->spec->role = (Skein__NodeRole)NODE_ROLE_MANAGER;
	n->role = (Skein__NodeRole)NODE_ROLE_MANAGER;
	n->manager = pb_new(&skein__manager_status__descriptor);
	pb_free(view_put(v, KIND_NODE, n));
}

static struct view *sample(void)
{
	struct view *v =
		view_of(node("m1"), node("m2"), node("w1"), node("d1", .state = NODE_DOWN));

	make_manager(v, "m1");
	make_manager(v, "m2");
	return v;
}

static int update(struct view *v, const char *id, int role, struct error *err)
{
	Skein__UpdateNodeRequest request = SKEIN__UPDATE_NODE_REQUEST__INIT;
	pb_node_spec spec = SKEIN__NODE_SPEC__INIT;

	spec.role = (Skein__NodeRole)role;
	request.spec = &spec;
	return node_rules_update(v, view_node(v, id), &request, false, err);
}

static void the_last_manager_stays(void **state)
{
	struct view *v = sample();
	struct error err = ERROR_INIT;

	assert_int_equal(update(v, "m1", NODE_ROLE_WORKER, &err), 0);
	assert_int_equal(update(v, "w1", NODE_ROLE_MANAGER, &err), 0);
	pb_free(view_del(v, KIND_NODE, "m2"));
	assert_int_equal(update(v, "m1", NODE_ROLE_WORKER, &err), -1);
	assert_string_equal(err.msg, "node m1 is the last manager: it cannot be demoted");
	assert_int_equal(err.code, ERR_PRECONDITION);
	assert_int_equal(update(v, "m1", NODE_ROLE_MANAGER, &err), 0);
	view_free(v);
}

static void names_are_unique(void **state)
{
	struct view *v = sample();
	struct error err = ERROR_INIT;
	Skein__UpdateNodeRequest request = SKEIN__UPDATE_NODE_REQUEST__INIT;
	pb_node_spec spec = SKEIN__NODE_SPEC__INIT;
	pb_node *named = pb_dup(view_node(v, "w1"));

	pb_set_str(&named->spec->name, "gamma");
	pb_free(view_put(v, KIND_NODE, named));
	request.spec = &spec;
	spec.name = "gamma";
	assert_int_equal(node_rules_update(v, view_node(v, "w1"), &request, false, &err), 0);
	assert_int_equal(node_rules_update(v, view_node(v, "d1"), &request, false, &err), -1);
	assert_int_equal(err.code, ERR_EXISTS);
	spec.name = "no spaces";
	assert_int_equal(node_rules_update(v, view_node(v, "d1"), &request, false, &err), -1);
	assert_int_equal(err.code, ERR_INVALID);
	view_free(v);
}

static void a_stale_update_is_refused(void **state)
{
	struct view *v = sample();
	struct error err = ERROR_INIT;
	Skein__UpdateNodeRequest request = SKEIN__UPDATE_NODE_REQUEST__INIT;
	pb_node_spec spec = SKEIN__NODE_SPEC__INIT;

	request.spec = &spec;
	request.revision = 7;
	assert_int_equal(node_rules_update(v, view_node(v, "w1"), &request, false, &err), -1);
	assert_non_null(strstr(err.msg, "out of sequence"));
	/* what makes clusterctl read again and repeat its change */
	assert_int_equal(err.code, ERR_CONFLICT);
	assert_int_equal(node_rules_update(v, view_node(v, "w1"), &request, true, &err), 0);
	view_free(v);
}

static void removal(void **state)
{
	struct view *v = sample();
	struct error err = ERROR_INIT;
	pb_node *lost;

	assert_int_equal(node_rules_remove(view_node(v, "d1"), false, &err), 0);
	assert_int_equal(node_rules_remove(view_node(v, "w1"), true, &err), 0);
	assert_int_equal(node_rules_remove(view_node(v, "w1"), false, &err), -1);
	assert_string_equal(err.msg,
			    "node w1 is not down (READY): stop its agent, or remove it by force");
	assert_int_equal(node_rules_remove(view_node(v, "m1"), true, &err), -1);
	assert_string_equal(err.msg, "node m1 is a manager: demote it before it is removed");
	/* Lost and demoted: its certificate still says manager, and always will. */
	lost = pb_dup(view_node(v, "d1"));
	lost->role = (Skein__NodeRole)NODE_ROLE_MANAGER;
	pb_free(view_put(v, KIND_NODE, lost));
	assert_int_equal(node_rules_remove(view_node(v, "d1"), false, &err), 0);
	view_free(v);
}

static void demotion_depends_on_the_other_managers(void **state)
{
	struct view *v = sample();
	struct txn *t = txn_begin(v);
	const struct txn_change *changes;
	size_t n;

	node_rules_require_managers(t, v, "m1");
	changes = txn_changes(t, &n);
	assert_int_equal(n, 1);
	assert_string_equal(changes[0].id, "m2");
	assert_true(changes[0].check_only);
	txn_free(t);
	view_free(v);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_last_manager_stays),
		cmocka_unit_test(names_are_unique),
		cmocka_unit_test(a_stale_update_is_refused),
		cmocka_unit_test(removal),
		cmocka_unit_test(demotion_depends_on_the_other_managers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
