#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "agent/exec/template.h"
#include "common/error.h"
#include "common/mem.h"
#include "common/str.h"

#include <string.h>

static pb_task *task_of(uint64_t slot)
{
	pb_task *task = pb_new(&skein__task__descriptor);

	pb_set_str(&task->id, "t1");
	pb_set_str(&task->service_id, "s1");
	pb_set_str(&task->service_name, "web");
	task->slot = slot;
	pb_kv_set(&task->n_service_labels, &task->service_labels, "tier", "front");
	return task;
}

static void table(void **state)
{
	static const char *const rows[][2] = {
		{"plain", "plain"},
		{"", ""},
		{"{{.Service.ID}}/{{.Service.Name}}", "s1/web"},
		{"{{ .Node.ID }}@{{.Node.Hostname}}", "n1@host"},
		{"{{.Node.Platform.OS}}-{{.Node.Platform.Architecture}}", "linux-x86_64"},
		{"{{.Task.ID}} {{.Task.Name}} {{.Task.Slot}}", "t1 web.3.t1 3"},
		{"{{.Service.Labels.tier}}{{index .Service.Labels "
		 "\"tier\"}}{{.Service.Labels.none}}",
		 "frontfront"},
		{"a}}b{c", "a}}b{c"},
	};
	_cleanup_pb_ pb_task *task = task_of(3);
	const struct template_values values = {task, "n1", "host", "x86_64"};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_free_ char *got = template_expand(rows[i][0], &values, NULL);

		assert_string_equal(got, rows[i][1]);
	}
}

static void global_slot_is_the_node(void **state)
{
	_cleanup_pb_ pb_task *task = task_of(0);
	const struct template_values values = {task, "n1", "host", "x86_64"};
	_cleanup_free_ char *got = template_expand("{{.Task.Slot}} {{.Task.Name}}", &values, NULL);

	assert_string_equal(got, "n1 web.n1.t1");
}

static void refused(void **state)
{
	static const char *const bad[] = {"{{",
					  "{{.Task.ID",
					  "{{.Task.Secret}}",
					  "{{}}",
					  "{{index .Service.Labels \"x}}",
					  "{{printf \"%s\"}}"};
	_cleanup_pb_ pb_task *task = task_of(1);
	const struct template_values values = {task, "n1", "host", "x86_64"};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct error err = ERROR_INIT;

		assert_null(template_expand(bad[i], &values, &err));
		assert_int_equal(err.code, ERR_INVALID);
	}
}

static void bounded(void **state)
{
	_cleanup_pb_ pb_task *task = task_of(1);
	const struct template_values values = {task, "n1", "host", "x86_64"};
	struct strbuf text = {0};
	struct error err = ERROR_INIT;
	_cleanup_free_ char *label = xcalloc(1, 2001);

	memset(label, 'x', 2000);
	pb_kv_set(&task->n_service_labels, &task->service_labels, "tier", label);
	for (int i = 0; i < 100; i++)
		strbuf_puts(&text, "{{.Service.Labels.tier}}");
	assert_null(template_expand(text.p, &values, &err));
	assert_int_equal(err.code, ERR_EXHAUSTED);
	strbuf_fini(&text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(table),
		cmocka_unit_test(global_slot_is_the_node),
		cmocka_unit_test(refused),
		cmocka_unit_test(bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
