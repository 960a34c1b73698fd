#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/mem.h"
#include "manager/store/store_codec.h"

#include <string.h>

static void keys(void **state)
{
	_cleanup_free_ char *task = store_key("/skein/v1", KIND_TASK, "t1");
	_cleanup_free_ char *name = store_name_key("/skein/v1", KIND_SERVICE, "web");
	enum kind kind;
	const char *id;

	assert_string_equal(task, "/skein/v1/task/t1");
	assert_string_equal(name, "/skein/v1/name/service/web");
	assert_true(store_key_parse("/skein/v1", task, strlen(task), &kind, &id));
	assert_int_equal(kind, KIND_TASK);
	assert_string_equal(id, "t1");
	assert_false(store_key_parse("/skein/v1", name, strlen(name), &kind, &id));
	for (unsigned i = 0; i < KIND_COUNT; i++) {
		_cleanup_free_ char *key = store_key("/skein/v1", i, "x1");

		assert_true(store_key_parse("/skein/v1", key, strlen(key), &kind, &id));
		assert_int_equal(kind, i);
	}
}

static void other_keys_are_none_of_ours(void **state)
{
	static const char *const others[] = {"/skein/v1/leader", "/skein/v1/task/", "/skein/v1/task",
					     "/skein/v10/task/t", "/skein/v1/taskx/t", "/other", "/skein/v1", ""};
	enum kind kind;
	const char *id;

	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		assert_false(store_key_parse("/skein/v1", others[i], strlen(others[i]), &kind, &id));
	assert_false(store_key_parse("/skein/v1", "/skein/v1/task/a\0b", 18, &kind, &id));
}

static void values(void **state)
{
	_cleanup_pb_ pb_task *task = pb_new(&skein__task__descriptor), *back = NULL;
	_cleanup_free_ void *bytes = NULL, *again = NULL;
	size_t len, len_again;

	pb_set_str(&task->id, "t1");
	bytes = store_value_pack(KIND_TASK, task, 100, &len);
	assert_int_equal(task->meta->created_at, 100);
	back = store_value_unpack(KIND_TASK, "t1", bytes, len, 42);
	assert_int_equal(back->meta->revision, 42);
	assert_int_equal(back->meta->updated_at, 100);
	/* The revision is etcd's: it is not stored. */
	again = store_value_pack(KIND_TASK, back, 100, &len_again);
	assert_int_equal(len, len_again);
	assert_memory_equal(bytes, again, len);
	assert_int_equal(back->meta->revision, 42);

	assert_null(store_value_unpack(KIND_TASK, "t2", bytes, len, 42));
	assert_null(store_value_unpack(KIND_TASK, "t1", "\xff\xff", 2, 42));
}

static void creation_time_stays(void **state)
{
	_cleanup_pb_ pb_task *task = pb_new(&skein__task__descriptor);
	size_t len;

	free(store_value_pack(KIND_TASK, task, 100, &len));
	free(store_value_pack(KIND_TASK, task, 200, &len));
	assert_int_equal(task->meta->created_at, 100);
	assert_int_equal(task->meta->updated_at, 200);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keys),
		cmocka_unit_test(other_keys_are_none_of_ours),
		cmocka_unit_test(values),
		cmocka_unit_test(creation_time_stays),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
