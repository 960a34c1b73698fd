#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "manager/web/model.h"
#include "manager/web/text.h"

#include "support/build.h"

static void assert_json(json_t *got, const char *want)
{
	char *text = json_dumps(got, JSON_COMPACT);

	assert_string_equal(text, want);
	free(text);
	json_decref(got);
}

static void nodes(void **state)
{
	struct built b = node("n1", .hostname = "host", .address = "10.0.0.1", .role = NODE_ROLE_MANAGER, .availability = AVAILABILITY_DRAIN,
			      .labels = "secret=x");

	assert_json(model_node(b.obj, 7, true),
		    "{\"n\":7,\"id\":\"n1\",\"name\":\"host\",\"role\":1,\"leads\":true,\"state\":2,\"availability\":2,\"address\":\"10.0.0.1\","
		    "\"since\":1700000000000,\"cpu\":4000000000,\"mem\":8589934592}");
	pb_free(b.obj);
	b = (struct built){KIND_NODE, pb_new(&skein__node__descriptor)};
	assert_json(model_node(b.obj, 1, false), "{\"n\":1}");
	pb_free(b.obj);
}

static void services(void **state)
{
	struct built b = service("web", .image = "docker.io/library/web:1", .env = "PASSWORD=hidden", .update_state = 1,
				 .update_started_at = NOW);

	assert_json(model_service(b.obj, 3, 5),
		    "{\"n\":3,\"id\":\"web\",\"name\":\"web\",\"image\":\"docker.io/library/web:1\",\"want\":5,"
		    "\"update\":{\"state\":1,\"since\":1700000000000}}");
	pb_free(b.obj);
	b = service("each", .global = true, .image = "x");
	assert_json(model_service(b.obj, 3, 0), "{\"n\":3,\"id\":\"each\",\"name\":\"each\",\"image\":\"x\",\"global\":true}");
	pb_free(b.obj);
}

static void tasks(void **state)
{
	struct built b = task("t1", .slot = 4, .at = NOW);

	assert_json(model_task(b.obj, 2, 1), "[\"t1\",2,1,4,512,512,1700000000000]");
	pb_free(b.obj);
	b = task("t1", .slot = 4, .at = NOW, .state = TASK_PENDING, .err = "no \"suitable\" node\n<script>alert(1)</script>");
	assert_json(model_task(b.obj, 2, 0),
		    "[\"t1\",2,0,4,64,512,1700000000000,\"no \\\"suitable\\\" node\\n<script>alert(1)</script>\"]");
	pb_free(b.obj);
}

static void differences(void **state)
{
	struct built a = task("t1", .slot = 1, .node = "n1"), b = task("t1", .slot = 1, .node = "n1");

	assert_false(model_task_differs(a.obj, b.obj));
	((pb_task *)b.obj)->status->pid = 17;
	assert_false(model_task_differs(a.obj, b.obj));
	pb_set_str(&((pb_task *)b.obj)->node_id, "n2");
	assert_true(model_task_differs(a.obj, b.obj));
	pb_free(a.obj);
	pb_free(b.obj);
	a = service("web", .replicas = 1);
	b = service("web", .replicas = 2);
	assert_true(model_service_differs(a.obj, b.obj));
	pb_free(a.obj);
	pb_free(b.obj);
}

static void texts_are_utf8(void **state)
{
	assert_json(json_pack("[o]", text_json("a\xff\xc3(b")), "[\"a\xef\xbf\xbd\xef\xbf\xbd(b\"]");
	assert_json(json_pack("[o]", text_json(NULL)), "[\"\"]");
	assert_json(json_pack("[o]", text_json_n("\xe2\x82\xac\xe2\x82", 5)), "[\"\xe2\x82\xac\xef\xbf\xbd\xef\xbf\xbd\"]");
	assert_json(json_pack("[o]", text_json_n("a\0b\x1b[31m", 8)), "[\"a\\u0000b\\u001B[31m\"]");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nodes), cmocka_unit_test(services), cmocka_unit_test(tasks),
		cmocka_unit_test(differences), cmocka_unit_test(texts_are_utf8),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
