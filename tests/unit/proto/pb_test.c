#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/clock.h"
#include "common/mem.h"
#include "proto/pb.h"

#include <string.h>

static void names_have_no_prefix(void **state)
{
	assert_string_equal(pb_task_state_name(TASK_RUNNING), "RUNNING");
	assert_string_equal(pb_task_state_name(TASK_ORPHANED), "ORPHANED");
	assert_string_equal(pb_task_state_name(7), "UNKNOWN");
	assert_string_equal(pb_node_state_name(NODE_DISCONNECTED), "DISCONNECTED");
	assert_string_equal(pb_role_name(NODE_ROLE_MANAGER), "manager");
	assert_string_equal(pb_availability_name(AVAILABILITY_DRAIN), "drain");
	assert_string_equal(pb_availability_name(9), "unknown");
}

static pb_task *some_task(void)
{
	pb_task *task = pb_new(&skein__task__descriptor);

	pb_set_str(&task->id, "t1");
	task->slot = 3;
	task->spec = pb_new(&skein__task_spec__descriptor);
	task->spec->container = pb_new(&skein__container_spec__descriptor);
	pb_strs_add(&task->spec->container->n_env, &task->spec->container->env, "A=1");
	pb_strs_add(&task->spec->container->n_env, &task->spec->container->env, "");
	pb_kv_set(&task->n_service_labels, &task->service_labels, "tier", "front");
	return task;
}

static void dup_is_deep_and_equal(void **state)
{
	_cleanup_pb_ pb_task *a = some_task();
	_cleanup_pb_ pb_task *b = pb_dup(a);

	assert_true(pb_equal(a, b));
	assert_ptr_not_equal(a->spec, b->spec);
	pb_set_str(&b->spec->container->env[0], "A=2");
	assert_string_equal(a->spec->container->env[0], "A=1");
	assert_false(pb_equal(a, b));
	assert_null(pb_dup(NULL));
	assert_true(pb_equal(NULL, NULL));
	assert_false(pb_equal(a, NULL));
}

static void types_differ_even_if_bytes_do_not(void **state)
{
	_cleanup_pb_ pb_task *task = pb_new(&skein__task__descriptor);
	_cleanup_pb_ pb_node *node = pb_new(&skein__node__descriptor);

	assert_false(pb_equal(task, node));
}

static void set_str_takes_a_part_of_the_old_value(void **state)
{
	_cleanup_pb_ pb_task *task = some_task();

	pb_set_str(&task->service_name, "stack_web");
	pb_set_str(&task->service_name, task->service_name + 6);
	assert_string_equal(task->service_name, "web");
	pb_set_str(&task->service_name, NULL);
	assert_string_equal(task->service_name, "");
	pb_set_str(&task->service_name, "x");
	assert_string_equal(task->service_name, "x");
}

static void set_msg_replaces_by_a_copy(void **state)
{
	_cleanup_pb_ pb_task *task = some_task();
	_cleanup_pb_ pb_task_status *status = pb_new(&skein__task_status__descriptor);

	status->exit_code = 7;
	pb_set_msg(&task->status, status);
	status->exit_code = 8;
	assert_int_equal(task->status->exit_code, 7);
	pb_set_msg(&task->status, task->status);
	assert_int_equal(task->status->exit_code, 7);
	pb_set_msg(&task->status, NULL);
	assert_null(task->status);
}

static void lists_keep_their_order(void **state)
{
	_cleanup_pb_ pb_container_spec *c = pb_new(&skein__container_spec__descriptor);

	for (char s[] = "a"; s[0] <= 'e'; s[0]++)
		pb_strs_add(&c->n_args, &c->args, s);
	pb_strs_del(&c->n_args, &c->args, 1);
	pb_strs_del(&c->n_args, &c->args, 3);
	pb_strs_del(&c->n_args, &c->args, 99);
	assert_int_equal(c->n_args, 3);
	assert_string_equal(c->args[0], "a");
	assert_string_equal(c->args[1], "c");
	assert_string_equal(c->args[2], "d");
}

static void empty_strings_off_the_wire_can_be_deleted(void **state)
{
	_cleanup_pb_ pb_task *a = some_task();
	_cleanup_pb_ pb_task *b = pb_dup(a);

	pb_strs_del(&b->spec->container->n_env, &b->spec->container->env, 1);
	pb_strs_del(&b->spec->container->n_env, &b->spec->container->env, 0);
	assert_int_equal(b->spec->container->n_env, 0);
}

static void labels(void **state)
{
	_cleanup_pb_ pb_task *task = some_task();

	pb_kv_set(&task->n_service_labels, &task->service_labels, "zone", "");
	pb_kv_set(&task->n_service_labels, &task->service_labels, "tier", "back");
	assert_int_equal(task->n_service_labels, 2);
	assert_string_equal(pb_kv_get(task->service_labels, task->n_service_labels, "tier"), "back");
	assert_string_equal(pb_kv_get(task->service_labels, task->n_service_labels, "zone"), "");
	assert_null(pb_kv_get(task->service_labels, task->n_service_labels, "none"));
	assert_true(pb_kv_del(&task->n_service_labels, &task->service_labels, "tier"));
	assert_false(pb_kv_del(&task->n_service_labels, &task->service_labels, "tier"));
	assert_int_equal(task->n_service_labels, 1);
}

/* ---- checks */

/* KeyValue{key = the bytes} on the wire. */
static pb_kv *kv_of(const char *bytes, size_t len)
{
	uint8_t wire[64] = {0x0a, (uint8_t)len};

	memcpy(wire + 2, bytes, len);
	return pb_unpack(&skein__key_value__descriptor, wire, len + 2);
}

static void strings_are_checked(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
		bool ok;
	} cases[] = {
		{"web", 3, true},
		{"", 0, true},
		{"a\tb\n", 4, true},
		{"caf\xc3\xa9", 5, true},
		{"\xf0\x9f\x90\x8b", 4, true},
		{"\xf4\x8f\xbf\xbf", 4, true},
		{"\xc2\xa0", 2, true},
		{"a\0b", 3, false},
		{"\x1b[31m", 5, false},
		{"a\r", 2, false},
		{"\x7f", 1, false},
		{"\xc2\x9b", 2, false},         /* C1: CSI */
		{"\xc0\x80", 2, false},         /* overlong */
		{"\xe0\x80\x80", 3, false},
		{"\xed\xa0\x80", 3, false},     /* surrogate */
		{"\xf4\x90\x80\x80", 4, false}, /* beyond U+10FFFF */
		{"\xff", 1, false},
		{"\xe2\x82", 2, false},         /* cut off */
		{"\x80", 1, false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_pb_ pb_kv *kv = kv_of(cases[i].bytes, cases[i].len);

		if (cases[i].ok != (kv != NULL))
			fail_msg("case %zu", i);
		if (kv)
			assert_memory_equal(kv->key, cases[i].bytes, cases[i].len);
	}
}

static void nested_strings_are_checked(void **state)
{
	/* Task.service_labels[0].value = "\x01" */
	static const uint8_t bad[] = {0x62, 3, 0x12, 1, 1}, good[] = {0x62, 3, 0x12, 1, 'x'};
	_cleanup_pb_ pb_task *task = pb_unpack(&skein__task__descriptor, good, sizeof(good));

	assert_non_null(task);
	assert_string_equal(task->service_labels[0]->value, "x");
	assert_null(pb_unpack(&skein__task__descriptor, bad, sizeof(bad)));
}

static void broken_wire_is_refused(void **state)
{
	static const uint8_t trailing[] = {0x0a, 1, 'a', 0x0a}, zero_tag[] = {0x00},
			     group[] = {0x0b}, longer[] = {0x0a, 200, 1, 'a'},
			     varint[] = {0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
	_cleanup_pb_ pb_kv *empty = pb_unpack(&skein__key_value__descriptor, NULL, 0);

	assert_non_null(empty);
	assert_null(pb_unpack(&skein__key_value__descriptor, trailing, sizeof(trailing)));
	assert_null(pb_unpack(&skein__key_value__descriptor, zero_tag, sizeof(zero_tag)));
	assert_null(pb_unpack(&skein__key_value__descriptor, group, sizeof(group)));
	assert_null(pb_unpack(&skein__key_value__descriptor, longer, sizeof(longer)));
	assert_null(pb_unpack(&skein__key_value__descriptor, varint, sizeof(varint)));
}

static void what_is_dupped_unpacks(void **state)
{
	_cleanup_pb_ pb_task *task = some_task();
	uint8_t wire[256];
	size_t len = protobuf_c_message_pack(&task->base, wire);
	_cleanup_pb_ pb_task *copy = pb_unpack(&skein__task__descriptor, wire, len);

	assert_true(pb_equal(task, copy));
}

static void defaults_are_swarms(void **state)
{
	_cleanup_pb_ pb_service_spec *spec = pb_new(&skein__service_spec__descriptor);

	pb_service_spec_defaults(spec);
	assert_int_equal(spec->replicated->replicas, 1);
	assert_int_equal(spec->task->container->stop_grace_period, 10 * NS_PER_SEC);
	assert_int_equal(spec->task->restart->condition, RESTART_ANY);
	assert_int_equal(spec->task->restart->delay, 5 * NS_PER_SEC);
	assert_int_equal(spec->update->parallelism, 1);
	assert_int_equal(spec->rollback->monitor, 5 * NS_PER_SEC);
	assert_non_null(spec->task->resources->limits);
	assert_non_null(spec->task->placement);
}

static void defaults_leave_what_is_there(void **state)
{
	_cleanup_pb_ pb_service_spec *spec = pb_new(&skein__service_spec__descriptor);

	spec->mode_case = SKEIN__SERVICE_SPEC__MODE_GLOBAL;
	spec->global = pb_new(&skein__global_mode__descriptor);
	spec->task = pb_new(&skein__task_spec__descriptor);
	spec->task->restart = pb_new(&skein__restart_policy__descriptor);
	pb_service_spec_defaults(spec);
	assert_int_equal(spec->mode_case, SKEIN__SERVICE_SPEC__MODE_GLOBAL);
	assert_int_equal(spec->task->restart->condition, RESTART_NONE);
	assert_int_equal(spec->task->restart->delay, 0);
	assert_int_equal(spec->task->container->stop_grace_period, 10 * NS_PER_SEC);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_have_no_prefix),
		cmocka_unit_test(dup_is_deep_and_equal),
		cmocka_unit_test(types_differ_even_if_bytes_do_not),
		cmocka_unit_test(set_str_takes_a_part_of_the_old_value),
		cmocka_unit_test(set_msg_replaces_by_a_copy),
		cmocka_unit_test(lists_keep_their_order),
		cmocka_unit_test(empty_strings_off_the_wire_can_be_deleted),
		cmocka_unit_test(labels),
		cmocka_unit_test(strings_are_checked),
		cmocka_unit_test(nested_strings_are_checked),
		cmocka_unit_test(broken_wire_is_refused),
		cmocka_unit_test(what_is_dupped_unpacks),
		cmocka_unit_test(defaults_are_swarms),
		cmocka_unit_test(defaults_leave_what_is_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
