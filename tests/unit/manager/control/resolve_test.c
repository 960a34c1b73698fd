#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/error.h"
#include "manager/control/filters.h"
#include "manager/control/image.h"
#include "manager/control/internal.h"
#include "manager/control/redact.h"
#include "manager/control/resolve.h"
#include "manager/control/text.h"
#include "support/build.h"

static struct view *sample(void)
{
	struct view *v = view_of(node("aa1", .hostname = "alpha"), node("aa2", .hostname = "beta"),
				 node("bb1", .hostname = "beta"), service("web"), service("abc1"),
				 service("abc2"), task("t1", .slot = 1, .created_at = NOW),
				 task("t2", .slot = 1, .created_at = NOW + SEC),
				 task("u1", .slot = 2, .node = "aa1"));
	pb_node *n = pb_dup(view_node(v, "bb1"));

	pb_set_str(&n->spec->name, "gamma");
	pb_free(view_put(v, KIND_NODE, n));
	return v;
}

static void services(void **state)
{
	struct view *v = sample();
	struct error err = ERROR_INIT;

	assert_string_equal(resolve_service(v, "web", &err)->id, "web");
	assert_string_equal(resolve_service(v, "we", &err)->id, "web");
	assert_string_equal(resolve_service(v, "abc2", &err)->id, "abc2");
	assert_null(resolve_service(v, "abc", &err));
	assert_string_equal(err.msg, "service id prefix abc is ambiguous (2 matches)");
	assert_int_equal(err.code, ERR_PRECONDITION);
	assert_null(resolve_service(v, "nginx", &err));
	assert_string_equal(err.msg, "no such service: nginx");
	assert_int_equal(err.code, ERR_NOT_FOUND);
	assert_null(resolve_service(v, "", &err));
	assert_int_equal(err.code, ERR_INVALID);
	view_free(v);
}

static void nodes(void **state)
{
	struct view *v = sample();
	struct error err = ERROR_INIT;

	assert_string_equal(resolve_node(v, "alpha", &err)->id, "aa1");
	assert_string_equal(resolve_node(v, "gamma", &err)->id, "bb1");
	assert_string_equal(resolve_node(v, "bb", &err)->id, "bb1");
	assert_null(resolve_node(v, "beta", &err));
	assert_string_equal(err.msg, "node name beta is ambiguous (2 matches): use an id");
	assert_null(resolve_node(v, "aa", &err));
	assert_non_null(strstr(err.msg, "ambiguous (2 matches)"));
	view_free(v);
}

static void tasks(void **state)
{
	struct view *v = sample();
	struct error err = ERROR_INIT;

	assert_string_equal(resolve_task(v, "t1", &err)->id, "t1");
	assert_string_equal(resolve_task(v, "web.1", &err)->id, "t2");
	assert_string_equal(resolve_task(v, "web.1.t1", &err)->id, "t1");
	assert_string_equal(resolve_task(v, "u", &err)->id, "u1");
	assert_null(resolve_task(v, "web.3", &err));
	assert_null(resolve_task(v, "web.1.u1", &err));
	assert_string_equal(err.msg, "no such task: web.1.u1");
	view_free(v);
}

static bool match_name(const struct view *v, const void *obj, const char *value)
{
	return str_eq(obj, value);
}

static bool match_first(const struct view *v, const void *obj, const char *value)
{
	return ((const char *)obj)[0] == value[0];
}

static void filters(void **state)
{
	static const struct filter_key keys[] = {
		{"name", match_name, NULL}, {"first", match_first, "a|b"}, {0}};
	pb_kv a = SKEIN__KEY_VALUE__INIT, b = SKEIN__KEY_VALUE__INIT;
	pb_kv *list[] = {&a, &b};
	struct error err = ERROR_INIT;

	a.key = b.key = "name";
	a.value = "ab";
	b.value = "cd";
	assert_int_equal(filters_check(keys, list, 2, &err), 0);
	assert_true(filters_pass(keys, list, 2, NULL, "cd"));
	assert_false(filters_pass(keys, list, 2, NULL, "xy"));
	b.key = "first";
	b.value = "b";
	assert_int_equal(filters_check(keys, list, 2, &err), 0);
	assert_false(filters_pass(keys, list, 2, NULL, "ab"));
	b.value = "a";
	assert_true(filters_pass(keys, list, 2, NULL, "ab"));
	b.value = "a|b";
	assert_int_equal(filters_check(keys, list, 2, &err), -1);
	assert_string_equal(err.msg, "filter first=a|b: accepted values: a|b");
	b.key = "size";
	assert_int_equal(filters_check(keys, list, 2, &err), -1);
	assert_string_equal(err.msg, "filter \"size\": unknown; accepted: name, first");
	assert_int_equal(filters_check(keys, list, FILTERS_MAX + 1, &err), -1);
}

static void label_filters(void **state)
{
	pb_kv a = SKEIN__KEY_VALUE__INIT;
	pb_kv *list[] = {&a};

	a.key = "rack";
	a.value = "a";
	assert_true(filters_label(list, 1, "rack"));
	assert_true(filters_label(list, 1, "rack=a"));
	assert_false(filters_label(list, 1, "rack=b"));
	assert_false(filters_label(list, 1, "rac"));
}

static void add_image(struct view *v, const char *node_id, const char *digest, const char *name,
		      bool loaded, int64_t created_at)
{
	pb_node *n = pb_dup(view_node(v, node_id));
	pb_image_info *image = pb_new(&skein__image_info__descriptor);

	pb_set_str(&image->digest, digest);
	pb_strs_add(&image->n_names, &image->names, name);
	image->loaded = loaded;
	image->created_at = created_at;
	pb_msgs_add(&n->description->n_images, &n->description->images, image);
	pb_free(view_put(v, KIND_NODE, n));
}

static void known_images(void **state)
{
	struct view *v = sample();

	add_image(v, "aa1", "sha256:1", "docker.io/library/web:latest", true, 10);
	add_image(v, "aa2", "sha256:2", "docker.io/library/web:latest", true, 20);
	add_image(v, "bb1", "sha256:3", "docker.io/library/web:latest", false, 30);
	assert_string_equal(image_known_digest(v, "docker.io/library/web:latest", true),
			    "sha256:2");
	assert_string_equal(image_known_digest(v, "docker.io/library/web:latest", false),
			    "sha256:3");
	assert_string_equal(image_known_digest(v, "docker.io/library/other@sha256:1", true),
			    "sha256:1");
	assert_null(image_known_digest(v, "docker.io/library/other@sha256:3", true));
	assert_null(image_known_digest(v, "docker.io/library/web:2", false));
	view_free(v);
}

static void credentials_are_not_shown(void **state)
{
	struct view *v = sample();
	_cleanup_redact_ struct redact redact = {0};
	pb_task *t = pb_dup(view_task(v, "t1"));
	pb_service *s = pb_dup(view_service(v, "web"));
	pb_token token = SKEIN__JOIN_TOKEN__INIT;

	pb_set_str(&t->spec->container->registry_auth, "geheim");
	pb_set_str(&s->spec->task->container->registry_auth, "geheim");
	s->previous_spec = pb_dup(s->spec);
	assert_string_equal(redact_task(&redact, t)->spec->container->registry_auth, "");
	assert_string_equal(redact_task(&redact, t)->spec->container->image,
			    t->spec->container->image);
	assert_string_equal(redact_service(&redact, s)->spec->task->container->registry_auth, "");
	assert_string_equal(
		redact_service(&redact, s)->previous_spec->task->container->registry_auth, "");
	assert_string_equal(t->spec->container->registry_auth, "geheim");
	assert_string_equal(s->spec->task->container->registry_auth, "geheim");
	token.secret = "geheim";
	token.secret_sha256 = (ProtobufCBinaryData){3, (uint8_t *)"abc"};
	assert_string_equal(redact_token(&redact, &token)->secret, "");
	assert_int_equal(redact_token(&redact, &token)->secret_sha256.len, 0);
	pb_free(t);
	pb_free(s);
	view_free(v);
}

static void dirty_text_names_its_field(void **state)
{
	struct view *v = sample();
	_cleanup_pb_ Skein__CreateServiceRequest *request =
		pb_new(&skein__create_service_request__descriptor);
	_cleanup_pb_ void *copy = NULL;
	struct error err = ERROR_INIT;

	request->spec = pb_dup(view_service(v, "web")->spec);
	copy = text_checked_dup(&request->base, &err);
	assert_true(pb_equal(copy, request));
	pb_strs_add(&request->spec->task->container->n_env, &request->spec->task->container->env,
		    "A=b");
	pb_strs_add(&request->spec->task->container->n_env, &request->spec->task->container->env,
		    "A=\x1b[0m");
	assert_null(text_checked_dup(&request->base, &err));
	assert_non_null(strstr(err.msg, "spec.task.container.env[1]: must be UTF-8"));
	view_free(v);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(services),
		cmocka_unit_test(nodes),
		cmocka_unit_test(tasks),
		cmocka_unit_test(filters),
		cmocka_unit_test(label_filters),
		cmocka_unit_test(known_images),
		cmocka_unit_test(credentials_are_not_shown),
		cmocka_unit_test(dirty_text_names_its_field),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
