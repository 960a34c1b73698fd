/* What operators ask of services, over TLS and the unix socket, on a real etcd. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "support/control_forms.h"

static void create_get_list_remove(void **state)
{
	struct serve *s = *state;
	_cleanup_pb_ Skein__ServiceResponse *r = created(s, "web"), *got = NULL, *again = NULL,
					    *none = NULL;
	_cleanup_pb_ Skein__ListServicesResponse *list = NULL;
	_cleanup_pb_ Skein__RemoveServiceResponse *gone = NULL;
	_cleanup_pb_ pb_service_spec *spec = new_spec("web", "web@" DIGEST);
	Skein__ListRequest all = SKEIN__LIST_REQUEST__INIT;
	struct error err;

	assert_int_equal(strlen(r->service->id), 25);
	assert_int_equal(r->service->spec_version, 1);
	assert_true(r->service->meta->revision > 0 && r->service->meta->created_at > 0);
	assert_string_equal(r->service->spec->task->container->image_digest, DIGEST);
	assert_int_equal(s->resolve_calls, 0);
	got = ask_ref(s, "GetService", "web", &err);
	assert_string_equal(got->service->id, r->service->id);
	again = create(s, spec, &err);
	assert_null(again);
	assert_int_equal(err.code, ERR_EXISTS);
	assert_non_null(strstr(err.msg, "\"web\" is in use"));
	list = ask(s, "ListServices", &all, &err);
	assert_int_equal(list->n_services, 1);
	assert_int_equal(list->services[0]->desired, 1);
	gone = ask_ref(s, "RemoveService", "web", &err);
	assert_string_equal(gone->id, r->service->id);
	none = ask_ref(s, "GetService", "web", &err);
	assert_null(none);
	assert_int_equal(err.code, ERR_NOT_FOUND);
	assert_string_equal(err.msg, "no such service: web");
}

static void bad_specs_make_nothing(void **state)
{
	struct serve *s = *state;
	_cleanup_pb_ pb_service_spec *spec = new_spec("web", "web");
	Skein__CreateServiceRequest empty = SKEIN__CREATE_SERVICE_REQUEST__INIT;
	_cleanup_free_ char *big = xcalloc(1, (600u << 10) + 1);
	struct error err;

	assert_null(ask(s, "CreateService", &empty, &err));
	assert_int_equal(err.code, ERR_INVALID);
	pb_set_str(&spec->task->container->dir, "relative");
	assert_null(create(s, spec, &err));
	assert_int_equal(err.code, ERR_INVALID);
	assert_string_equal(err.msg, "task.container.dir \"relative\": must be an absolute path");
	pb_set_str(&spec->task->container->dir, "/\x1b[2J");
	assert_null(create(s, spec, &err));
	assert_int_equal(err.code, ERR_INVALID);
	assert_non_null(strstr(err.msg, "spec.task.container.dir"));
	memset(big, 'x', 300u << 10);
	pb_set_str(&spec->task->container->dir, "/");
	pb_strs_add(&spec->task->container->n_args, &spec->task->container->args, big);
	assert_null(create(s, spec, &err));
	assert_int_equal(err.code, ERR_EXHAUSTED);
	memset(big, 'x', 600u << 10);
	pb_strs_add(&spec->task->container->n_args, &spec->task->container->args, big);
	assert_null(create(s, spec, &err));
	assert_int_equal(err.code, ERR_EXHAUSTED);
	assert_int_equal(view_count(store_view(s->store), KIND_SERVICE), 0);
	assert_int_equal(s->resolve_calls, 0);
}

static void put_image(struct serve *s, const char *node_id, const char *digest, bool loaded)
{
	pb_node *n = new_node(node_id);
	pb_image_info *image = pb_new(&skein__image_info__descriptor);

	pb_set_str(&image->digest, digest);
	pb_strs_add(&image->n_names, &image->names, "docker.io/library/web:latest");
	image->loaded = loaded;
	n->description = pb_new(&skein__node_description__descriptor);
	pb_msgs_add(&n->description->n_images, &n->description->images, image);
	put(s, KIND_NODE, n);
}

static void images_are_pinned(void **state)
{
	struct serve *s = *state;
	_cleanup_pb_ pb_service_spec *spec = new_spec("web", "web");
	_cleanup_pb_ Skein__ServiceResponse *unknown = create(s, spec, NULL), *known = NULL,
					    *asked = NULL, *loaded = NULL;

	/* Neither registry nor node: by tag, with a warning. */
	assert_string_equal(unknown->service->spec->task->container->image,
			    "docker.io/library/web:latest");
	assert_string_equal(unknown->service->spec->task->container->image_digest, "");
	assert_int_equal(unknown->n_warnings, 1);
	assert_non_null(strstr(unknown->warnings[0],
			       "could not be accessed on a registry to record its digest"));
	assert_int_equal(s->resolve_calls, 1);
	/* No registry, but a node has it. */
	put_image(s, "n1", DIGEST, false);
	pb_set_str(&spec->name, "web2");
	known = create(s, spec, NULL);
	assert_string_equal(known->service->spec->task->container->image_digest, DIGEST);
	assert_int_equal(known->n_warnings, 0);
	/* The registry's word is better. */
	s->resolved_digest = DIGEST2;
	pb_set_str(&spec->name, "web3");
	asked = create(s, spec, NULL);
	assert_string_equal(asked->service->spec->task->container->image_digest, DIGEST2);
	assert_int_equal(asked->service->spec->task->container->image_origin, IMAGE_FROM_REGISTRY);
	assert_int_equal(s->resolve_calls, 3);
	/* A loaded image: no registry is asked. */
	put_image(s, "n2", DIGEST, true);
	pb_set_str(&spec->name, "web4");
	loaded = create(s, spec, NULL);
	assert_string_equal(loaded->service->spec->task->container->image_digest, DIGEST);
	assert_int_equal(loaded->service->spec->task->container->image_origin, IMAGE_LOADED);
	assert_int_equal(s->resolve_calls, 3);
}

static void updates_count_versions(void **state)
{
	struct serve *s = *state;
	_cleanup_pb_ Skein__ServiceResponse *r = created(s, "web"), *scaled = NULL, *changed = NULL,
					    *back = NULL, *next = NULL;
	pb_container_spec *c;
	struct error err;

	r->service->spec->replicated->replicas = 5;
	scaled = update(s, "web", r->service->meta->revision, r->service->spec, false, &err);
	assert_int_equal(scaled->service->spec_version, 1);
	assert_null(scaled->service->update);
	assert_int_equal(scaled->service->previous_spec->replicated->replicas, 1);
	/* Made from what is not current any more. */
	assert_null(update(s, "web", r->service->meta->revision, r->service->spec, false, &err));
	assert_int_equal(err.code, ERR_CONFLICT);
	assert_non_null(strstr(err.msg, "out of sequence"));

	c = scaled->service->spec->task->container;
	pb_strs_add(&c->n_env, &c->env, "A=b");
	changed = update(s, "web", scaled->service->meta->revision, scaled->service->spec, false,
			 &err);
	assert_int_equal(changed->service->spec_version, 2);
	assert_int_equal(changed->service->previous_spec_version, 1);
	assert_int_equal(changed->service->update->state, SKEIN__UPDATE_STATE__UPDATE_UPDATING);
	/* The leader's clock decides when. */
	assert_int_equal(changed->service->update->started_at, 0);
	assert_string_equal(changed->service->spec->task->container->image_digest, DIGEST);
	assert_int_equal(s->resolve_calls, 0);

	back = update(s, "web", 0, NULL, true, &err);
	assert_int_equal(back->service->spec_version, 1);
	assert_int_equal(back->service->previous_spec_version, 2);
	assert_int_equal(back->service->spec->task->container->n_env, 0);
	assert_int_equal(back->service->update->state,
			 SKEIN__UPDATE_STATE__UPDATE_ROLLBACK_STARTED);
	assert_string_equal(back->service->update->message, "manually requested rollback");

	c = back->service->spec->task->container;
	pb_strs_add(&c->n_env, &c->env, "A=c");
	next = update(s, "web", 0, back->service->spec, false, &err);
	/* 2 was the other spec: the number is not used again. */
	assert_int_equal(next->service->spec_version, 3);
}

static void names_and_modes_stay(void **state)
{
	struct serve *s = *state;
	_cleanup_pb_ Skein__ServiceResponse *r = created(s, "web");
	_cleanup_pb_ pb_service_spec *spec = pb_dup(r->service->spec);
	struct error err;

	pb_set_str(&spec->name, "other");
	assert_null(update(s, "web", 0, spec, false, &err));
	assert_int_equal(err.code, ERR_UNIMPLEMENTED);
	pb_set_str(&spec->name, "web");
	pb_free(spec->replicated);
	spec->mode_case = SKEIN__SERVICE_SPEC__MODE_GLOBAL;
	spec->global = pb_new(&skein__global_mode__descriptor);
	assert_null(update(s, "web", 0, spec, false, &err));
	assert_int_equal(err.code, ERR_UNIMPLEMENTED);
	assert_null(update(s, "web", 0, NULL, true, &err));
	assert_int_equal(err.code, ERR_PRECONDITION);
	assert_non_null(strstr(err.msg, "no previous spec"));
}

static void credentials_stay_inside(void **state)
{
	struct serve *s = *state;
	_cleanup_pb_ pb_service_spec *spec = new_spec("web", "web@" DIGEST);
	_cleanup_pb_ Skein__ServiceResponse *r = NULL, *scaled = NULL;
	const pb_service *kept;

	pb_set_str(&spec->task->container->registry_auth, "geheim");
	r = create(s, spec, NULL);
	assert_string_equal(r->service->spec->task->container->registry_auth, "");
	/* What inspect shows can be sent back without losing them, and without starting an update.
	 */
	r->service->spec->replicated->replicas = 2;
	scaled = update(s, "web", 0, r->service->spec, false, NULL);
	assert_int_equal(scaled->service->spec_version, 1);
	kept = view_service(store_view(s->store), r->service->id);
	assert_string_equal(kept->spec->task->container->registry_auth, "geheim");
}

static void unresolved_services_scale_without_update(void **state)
{
	struct serve *s = *state;
	_cleanup_pb_ pb_service_spec *spec = new_spec("web", "web");
	_cleanup_pb_ Skein__ServiceResponse *r = create(s, spec, NULL), *scaled = NULL;

	s->resolved_digest = DIGEST;
	r->service->spec->replicated->replicas = 2;
	scaled = update(s, "web", 0, r->service->spec, false, NULL);
	assert_int_equal(scaled->service->spec_version, 1);
	assert_int_equal(s->resolve_calls, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SERVE_TEST(create_get_list_remove),
		SERVE_TEST(bad_specs_make_nothing),
		SERVE_TEST(images_are_pinned),
		SERVE_TEST(updates_count_versions),
		SERVE_TEST(names_and_modes_stay),
		SERVE_TEST(credentials_stay_inside),
		SERVE_TEST(unresolved_services_scale_without_update),
	};

	return cmocka_run_group_tests(tests, serve_group_setup, serve_group_teardown);
}
