#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/mem.h"
#include "manager/store/txn.h"

#include <string.h>

DEFINE_CLEANUP(struct view *, view_free)
DEFINE_CLEANUP(struct txn *, txn_free)

static pb_task *task(const char *id, uint64_t slot, uint64_t revision)
{
	pb_task *t = pb_new(&skein__task__descriptor);

	pb_set_str(&t->id, id);
	pb_set_str(&t->service_id, "s");
	t->slot = slot;
	t->meta = pb_new(&skein__meta__descriptor);
	t->meta->revision = revision;
	return t;
}

static struct view *view_of_two(void)
{
	struct view *v = view_new();

	view_put(v, KIND_TASK, task("t1", 1, 11));
	view_put(v, KIND_TASK, task("t2", 2, 12));
	return v;
}

static void staged_changes_show_and_are_undone(void **state)
{
	_cleanup_(view_freep) struct view *v = view_of_two();
	const pb_task *before = view_task(v, "t1");
	_cleanup_(txn_freep) struct txn *t = txn_begin(v);
	pb_task *edit = txn_edit(t, KIND_TASK, "t1");
	const struct txn_change *changes;
	size_t n;

	assert_null(txn_edit(t, KIND_TASK, "t9"));
	assert_true(txn_empty(t));
	edit->slot = 7;
	txn_put(t, KIND_TASK, edit);
	txn_put(t, KIND_TASK, task("t3", 3, 0));
	txn_del(t, KIND_TASK, "t2");
	assert_int_equal(view_task(v, "t1")->slot, 7);
	assert_non_null(view_task(v, "t3"));
	assert_null(view_task(v, "t2"));
	assert_int_equal(before->slot, 1); /* the replaced one stays readable */
	assert_false(txn_empty(t));

	txn_end(t);
	assert_ptr_equal(view_task(v, "t1"), before);
	assert_non_null(view_task(v, "t2"));
	assert_null(view_task(v, "t3"));
	assert_int_equal(view_count(v, KIND_TASK), 2);

	changes = txn_changes(t, &n);
	assert_int_equal(n, 3);
	assert_string_equal(changes[0].id, "t1");
	assert_int_equal(changes[0].revision, 11);
	assert_int_equal(((const pb_task *)changes[0].obj)->slot, 7);
	assert_string_equal(changes[1].id, "t3");
	assert_int_equal(changes[1].revision, 0);
	assert_string_equal(changes[2].id, "t2");
	assert_null(changes[2].obj);
	assert_int_equal(changes[2].revision, 12);
}

static void one_change_per_object(void **state)
{
	_cleanup_(view_freep) struct view *v = view_of_two();
	_cleanup_(txn_freep) struct txn *t = txn_begin(v);
	const struct txn_change *changes;
	size_t n;

	txn_require(t, KIND_TASK, "t1");
	txn_del(t, KIND_TASK, "t1");
	txn_put(t, KIND_TASK, task("t1", 5, 0));
	txn_put(t, KIND_TASK, task("t1", 6, 0));
	changes = txn_changes(t, &n);
	assert_int_equal(n, 1);
	assert_false(changes[0].check_only);
	assert_int_equal(changes[0].revision, 11);
	assert_int_equal(((const pb_task *)changes[0].old)->slot, 1);
	assert_int_equal(((const pb_task *)changes[0].obj)->slot, 6);
}

static void made_and_deleted_is_nothing(void **state)
{
	_cleanup_(view_freep) struct view *v = view_of_two();
	_cleanup_(txn_freep) struct txn *t = txn_begin(v);
	const pb_task *staged;
	size_t n;

	txn_put(t, KIND_TASK, task("t3", 3, 0));
	staged = view_task(v, "t3");
	txn_del(t, KIND_TASK, staged->id);
	txn_del(t, KIND_TASK, "never");
	assert_int_equal(staged->slot, 3);
	txn_changes(t, &n);
	assert_int_equal(n, 0);
	assert_true(txn_empty(t));
	txn_end(t);
	assert_int_equal(view_count(v, KIND_TASK), 2);
}

static void require_only_compares(void **state)
{
	_cleanup_(view_freep) struct view *v = view_of_two();
	_cleanup_(txn_freep) struct txn *t = txn_begin(v);
	const struct txn_change *changes;
	size_t n;

	txn_require(t, KIND_TASK, "t2");
	txn_require(t, KIND_TASK, "absent");
	changes = txn_changes(t, &n);
	assert_int_equal(n, 2);
	assert_true(changes[0].check_only);
	assert_int_equal(changes[0].revision, 12);
	assert_int_equal(changes[1].revision, 0);
	assert_true(txn_empty(t));
}

static void same_id_of_two_kinds_is_two_objects(void **state)
{
	_cleanup_(view_freep) struct view *v = view_of_two();
	_cleanup_(txn_freep) struct txn *t = txn_begin(v);
	pb_node *node = pb_new(&skein__node__descriptor);
	size_t n;

	pb_set_str(&node->id, "t1");
	txn_put(t, KIND_NODE, node);
	txn_del(t, KIND_TASK, "t1");
	txn_changes(t, &n);
	assert_int_equal(n, 2);
	assert_non_null(view_node(v, "t1"));
}

static void indexes_are_undone_too(void **state)
{
	_cleanup_(view_freep) struct view *v = view_of_two();
	struct txn *t = txn_begin(v);
	pb_task *edit = txn_edit(t, KIND_TASK, "t1");
	size_t n;

	pb_set_str(&edit->node_id, "n1");
	txn_put(t, KIND_TASK, edit);
	free(view_tasks_of_node(v, "n1", &n));
	assert_int_equal(n, 1);
	txn_free(t);
	free(view_tasks_of_node(v, "n1", &n));
	assert_int_equal(n, 0);
	free(view_tasks_of_service(v, "s", &n));
	assert_int_equal(n, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(staged_changes_show_and_are_undone),
		cmocka_unit_test(one_change_per_object),
		cmocka_unit_test(made_and_deleted_is_nothing),
		cmocka_unit_test(require_only_compares),
		cmocka_unit_test(same_id_of_two_kinds_is_two_objects),
		cmocka_unit_test(indexes_are_undone_too),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
