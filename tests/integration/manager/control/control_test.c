/* The Control service over TLS and the unix socket, on a real etcd. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "support/serve_fixture.h"

#define DIGEST "sha256:0000000000000000000000000000000000000000000000000000000000000001"
#define DIGEST2 "sha256:0000000000000000000000000000000000000000000000000000000000000002"

/* ---------------------------------------------------------------- short forms */

static pb_service_spec *new_spec(const char *name, const char *image)
{
	pb_service_spec *spec = pb_new(&skein__service_spec__descriptor);

	pb_set_str(&spec->name, name);
	spec->task = pb_new(&skein__task_spec__descriptor);
	spec->task->container = pb_new(&skein__container_spec__descriptor);
	pb_set_str(&spec->task->container->image, image);
	spec->task->container->stop_grace_period = 10 * NS_PER_SEC;
	return spec;
}

static Skein__ServiceResponse *create(struct serve *s, const pb_service_spec *spec,
				      struct error *err)
{
	Skein__CreateServiceRequest request = SKEIN__CREATE_SERVICE_REQUEST__INIT;

	request.spec = (pb_service_spec *)spec;
	return ask(s, "CreateService", &request, err);
}

/* A service that exists, as the API shows it. */
static Skein__ServiceResponse *created(struct serve *s, const char *name)
{
	_cleanup_pb_ pb_service_spec *spec = new_spec(name, "web@" DIGEST);
	struct error err;
	Skein__ServiceResponse *r = create(s, spec, &err);

	if (!r)
		fail_msg("create %s: %s", name, err.msg);
	return r;
}

static Skein__ServiceResponse *update(struct serve *s, const char *ref, uint64_t revision,
				      const pb_service_spec *spec, bool rollback, struct error *err)
{
	Skein__UpdateServiceRequest request = SKEIN__UPDATE_SERVICE_REQUEST__INIT;

	request.ref = (char *)ref;
	request.revision = revision;
	request.spec = (pb_service_spec *)spec;
	request.rollback = rollback;
	return ask(s, "UpdateService", &request, err);
}

static void *ask_ref(struct serve *s, const char *method, const char *ref, struct error *err)
{
	Skein__RefRequest request = SKEIN__REF_REQUEST__INIT;

	request.ref = (char *)ref;
	return ask(s, method, &request, err);
}

/* ---------------------------------------------------------------- who may call */

static void workers_are_refused(void **state)
{
	static const struct {
		const char *role;
		enum error_code code;
	} cases[] = {{"worker", ERR_DENIED}, {NULL, ERR_UNAUTHENTICATED}, {"manager", ERR_OK}};
	struct serve *s = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct rpc_channel *channel = channel_as(s, "n1", cases[i].role);
		Skein__GetInfoRequest request = SKEIN__GET_INFO_REQUEST__INIT;
		struct error err;
		_cleanup_pb_ Skein__Info *info = ask_on(s, channel, "GetInfo", &request, &err);

		assert_int_equal(err.code, cases[i].code);
		assert_int_equal(info != NULL, cases[i].code == ERR_OK);
		rpc_channel_close(channel);
	}
}

static void every_method_refuses_workers(void **state)
{
	struct serve *s = *state;
	struct rpc_channel *channel = channel_as(s, "n1", "worker");
	const ProtobufCServiceDescriptor *d = &skein__control__descriptor;

	for (unsigned i = 0; i < d->n_methods; i++) {
		_cleanup_pb_ void *request = pb_new(d->methods[i].input);
		struct error err;
		_cleanup_pb_ void *reply = ask_on(s, channel, d->methods[i].name, request, &err);

		if (reply || err.code != ERR_DENIED)
			fail_msg("%s: %s", d->methods[i].name, error_code_name(err.code));
	}
	rpc_channel_close(channel);
}

/* ---------------------------------------------------------------- services */

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

/* ---------------------------------------------------------------- watch */

struct watcher {
	struct rpc_channel *channel;
	struct rpc_call *call;
	unsigned messages, tasks;
	uint64_t replicas, desired;
	bool gone, done;
	struct error err;
};

static void watcher_on_message(struct rpc_call *call, const ProtobufCMessage *raw, void *data)
{
	const Skein__WatchServiceResponse *msg = (const Skein__WatchServiceResponse *)raw;
	struct watcher *w = data;

	w->messages++;
	w->gone = !msg->service;
	w->tasks = (unsigned)msg->n_tasks;
	w->desired = msg->desired;
	if (msg->service)
		w->replicas = msg->service->spec->replicated->replicas;
}

static void watcher_on_done(struct rpc_call *call, const struct error *err, void *data)
{
	struct watcher *w = data;

	w->done = true;
	w->call = NULL;
	w->err = err ? *err : ERROR_INIT;
}

static void watch(struct serve *s, const char *ref, struct watcher *w)
{
	static const struct rpc_handlers handlers = {.on_message = watcher_on_message,
						     .on_done = watcher_on_done};
	Skein__RefRequest request = SKEIN__REF_REQUEST__INIT;

	*w = (struct watcher){.channel = channel_as(s, NULL, NULL)};
	w->call = rpc_stream(w->channel, &skein__control__descriptor, "WatchService", 0, &handlers,
			     w);
	request.ref = (char *)ref;
	rpc_call_send(w->call, &request.base, NULL);
	rpc_call_half_close(w->call);
}

static void unwatch(struct serve *s, struct watcher *w)
{
	if (w->call)
		rpc_call_cancel(w->call);
	wait_for(s, w->done);
	rpc_channel_close(w->channel);
}

static void watch_shows_the_present_and_changes(void **state)
{
	struct serve *s = *state;
	_cleanup_pb_ Skein__ServiceResponse *r = created(s, "web"), *scaled = NULL;
	_cleanup_pb_ void *removed = NULL;
	struct watcher w, none;

	watch(s, "nothing", &none);
	wait_for(s, none.done);
	assert_int_equal(none.err.code, ERR_NOT_FOUND);
	unwatch(s, &none);
	watch(s, "web", &w);
	wait_for(s, w.messages == 1);
	assert_int_equal(w.desired, 1);
	r->service->spec->replicated->replicas = 4;
	scaled = update(s, "web", 0, r->service->spec, false, NULL);
	wait_for(s, w.desired == 4);
	/* What other services do is not told. */
	pb_free(created(s, "other"));
	pass_ms(s, 100);
	assert_int_equal(w.messages, 2);
	removed = ask_ref(s, "RemoveService", "web", NULL);
	wait_for(s, w.done);
	assert_true(w.gone);
	assert_int_equal(w.err.code, ERR_OK);
	unwatch(s, &w);
}

/* A client that does not read costs nothing: of 200 states of 100 KiB each it gets a few, the
 * newest last. */
static void slow_watchers_get_the_newest_state(void **state)
{
	struct serve *s = *state;
	_cleanup_free_ char *big = xcalloc(1, (100u << 10) + 1);
	_cleanup_pb_ pb_service_spec *spec = new_spec("web", "web@" DIGEST);
	_cleanup_pb_ Skein__ServiceResponse *r = NULL;
	struct watcher w;
	char id[64];

	memset(big, 'x', 100u << 10);
	pb_strs_add(&spec->task->container->n_args, &spec->task->container->args, big);
	r = create(s, spec, NULL);
	snprintf(id, sizeof(id), "%s", r->service->id);
	watch(s, "web", &w);
	wait_for(s, w.messages == 1);
	rpc_call_pause(w.call);
	for (uint64_t i = 1; i <= 200; i++) {
		pb_service *service = pb_dup(view_service(store_view(s->store), id));

		service->spec->replicated->replicas = i;
		put(s, KIND_SERVICE, service);
	}
	rpc_call_resume(w.call);
	wait_for(s, w.replicas == 200);
	assert_in_range(w.messages, 2, 120);
	unwatch(s, &w);
}

/* ---------------------------------------------------------------- nodes */

static void *update_node(struct serve *s, const char *ref, int role, int availability,
			 struct error *err)
{
	Skein__UpdateNodeRequest request = SKEIN__UPDATE_NODE_REQUEST__INIT;
	pb_node_spec spec = SKEIN__NODE_SPEC__INIT;

	spec.role = (Skein__NodeRole)role;
	spec.availability = (Skein__Availability)availability;
	request.ref = (char *)ref;
	request.spec = &spec;
	return ask(s, "UpdateNode", &request, err);
}

static void put_manager(struct serve *s, const char *id)
{
	pb_node *n = new_node(id);

	n->spec->role = (Skein__NodeRole)NODE_ROLE_MANAGER;
	n->manager = pb_new(&skein__manager_status__descriptor);
	pb_set_str(&n->manager->address, "127.0.0.1:2377");
	put(s, KIND_NODE, n);
}

static void demotion_leaves_etcd_first(void **state)
{
	struct serve *s = *state;
	_cleanup_pb_ Skein__NodeResponse *demoted = NULL, *drained = NULL, *promoted = NULL;
	struct error err;

	put_manager(s, "m1");
	put_manager(s, "m2");
	put_node(s, "w1");
	s->remove_error = "the quorum would be lost";
	assert_null(update_node(s, "m2", NODE_ROLE_WORKER, 0, &err));
	assert_int_equal(err.code, ERR_PRECONDITION);
	assert_string_equal(err.msg, "the quorum would be lost");
	assert_int_equal(view_node(store_view(s->store), "m2")->spec->role, NODE_ROLE_MANAGER);
	s->remove_error = NULL;
	demoted = update_node(s, "m2", NODE_ROLE_WORKER, 0, &err);
	assert_string_equal(s->removed, "m2");
	assert_int_equal(demoted->node->spec->role, NODE_ROLE_WORKER);
	assert_null(demoted->node->manager);
	assert_string_equal(demoted->leader_id, "m1");
	assert_null(update_node(s, "m1", NODE_ROLE_WORKER, 0, &err));
	assert_string_equal(err.msg, "node m1 is the last manager: it cannot be demoted");
	assert_int_equal(s->remove_calls, 2);
	drained = update_node(s, "w1", NODE_ROLE_WORKER, AVAILABILITY_DRAIN, &err);
	assert_int_equal(drained->node->spec->availability, AVAILABILITY_DRAIN);
	promoted = update_node(s, "w1", NODE_ROLE_MANAGER, 0, &err);
	assert_int_equal(promoted->node->spec->role, NODE_ROLE_MANAGER);
}

static void *remove_node(struct serve *s, const char *ref, bool force, struct error *err)
{
	Skein__RemoveNodeRequest request = SKEIN__REMOVE_NODE_REQUEST__INIT;

	request.ref = (char *)ref;
	request.force = force;
	return ask(s, "RemoveNode", &request, err);
}

static void only_dead_workers_are_removed(void **state)
{
	struct serve *s = *state;
	_cleanup_pb_ void *removed = NULL;
	struct error err;

	put_manager(s, "m1");
	put_node(s, "w1");
	assert_null(remove_node(s, "m1", true, &err));
	assert_int_equal(err.code, ERR_PRECONDITION);
	assert_null(remove_node(s, "w1", false, &err));
	assert_int_equal(err.code, ERR_PRECONDITION);
	removed = remove_node(s, "w1", true, &err);
	assert_non_null(removed);
	assert_null(view_node(store_view(s->store), "w1"));
	assert_null(remove_node(s, "w1", true, &err));
	assert_int_equal(err.code, ERR_NOT_FOUND);
}

/* The dispatcher and users write the same object: without a revision the user need not know. */
static void updates_survive_conflicts(void **state)
{
	struct serve *s = *state;
	struct answer a = {0};
	Skein__UpdateNodeRequest request = SKEIN__UPDATE_NODE_REQUEST__INIT;
	pb_node_spec spec = SKEIN__NODE_SPEC__INIT;
	struct rpc_channel *channel = channel_as(s, NULL, NULL);
	struct agent *agent;

	put_node(s, "n1");
	agent = agent_start(s, "n1");
	request.ref = "n1";
	request.spec = &spec;
	for (int i = 0; i < 20; i++) {
		pb_node_description description = SKEIN__NODE_DESCRIPTION__INIT;
		char kernel[16];

		snprintf(kernel, sizeof(kernel), "6.%d", i);
		description.kernel = kernel;
		spec.availability = (Skein__Availability)(i % 3);
		agent_describe(agent, &description);
		a = (struct answer){0};
		rpc_unary(channel, &skein__control__descriptor, "UpdateNode", &request.base, 10000,
			  on_answer, &a);
		wait_for(s,
			 a.done &&
				 str_eq(view_node(store_view(s->store), "n1")->description->kernel,
					kernel));
		if (!a.msg)
			fail_msg("round %d: %s", i, a.err.msg);
		pb_free(a.msg);
		assert_int_equal(view_node(store_view(s->store), "n1")->spec->availability, i % 3);
	}
	rpc_channel_close(channel);
	agent_stop(agent);
}

/* ---------------------------------------------------------------- the rest */

static void tokens(void **state)
{
	struct serve *s = *state;
	Skein__TokenRequest request = SKEIN__TOKEN_REQUEST__INIT;
	Skein__CreateTokenRequest limited = SKEIN__CREATE_TOKEN_REQUEST__INIT;
	Skein__ListRequest all = SKEIN__LIST_REQUEST__INIT;
	_cleanup_pb_ Skein__TokenResponse *first = NULL, *same = NULL, *second = NULL, *made = NULL;
	_cleanup_pb_ Skein__ListTokensResponse *list = NULL;
	_cleanup_pb_ void *revoked = NULL;
	struct error err;

	put_manager(s, "m1");
	first = ask(s, "GetToken", &request, &err);
	assert_string_equal(first->token, "first");
	assert_int_equal(first->n_managers, 1);
	same = ask(s, "GetToken", &request, &err);
	assert_string_equal(same->token, "first");
	request.rotate = true;
	second = ask(s, "GetToken", &request, &err);
	assert_string_equal(second->token, "second");
	limited.max_uses = 2;
	made = ask(s, "CreateToken", &limited, &err);
	assert_string_equal(made->token, "shown once");
	list = ask(s, "ListTokens", &all, &err);
	assert_int_equal(list->n_tokens, 2);
	for (size_t i = 0; i < 2; i++)
		assert_string_equal(list->tokens[i]->secret, "");
	revoked = ask_ref(s, "RevokeToken", "0123", &err);
	assert_non_null(revoked);
	assert_null(view_token(store_view(s->store), "0123456789"));
	limited.ttl = -1;
	assert_null(ask(s, "CreateToken", &limited, &err));
	assert_int_equal(err.code, ERR_INVALID);
}

static void tokens_of_the_web_page(void **state)
{
	struct serve *s = *state;
	Skein__CreateUiTokenRequest request = SKEIN__CREATE_UI_TOKEN_REQUEST__INIT;
	Skein__ListRequest all = SKEIN__LIST_REQUEST__INIT;
	_cleanup_pb_ Skein__UiTokenResponse *made = NULL;
	_cleanup_pb_ Skein__ListUiTokensResponse *list = NULL;
	_cleanup_pb_ void *revoked = NULL;
	struct error err;

	assert_null(ask(s, "CreateUiToken", &request, &err));
	assert_int_equal(err.code, ERR_INVALID);
	request.ttl = 3600 * NS_PER_SEC;
	made = ask(s, "CreateUiToken", &request, &err);
	assert_string_equal(made->token, "shown once");
	assert_string_equal(made->url, "https://10.0.0.1:9641/ui/");
	assert_true(made->expires_at > clock_wall_ns());
	list = ask(s, "ListUiTokens", &all, &err);
	assert_int_equal(list->n_tokens, 1);
	assert_int_equal(list->tokens[0]->secret_sha256.len, 0);
	assert_null(ask_ref(s, "RevokeUiToken", "0", &err));
	assert_int_equal(err.code, ERR_NOT_FOUND);
	revoked = ask_ref(s, "RevokeUiToken", "9876", &err);
	assert_non_null(revoked);
	assert_int_equal(view_count(store_view(s->store), KIND_UI_TOKEN), 0);
}

static void lists_and_filters(void **state)
{
	struct serve *s = *state;
	pb_kv filter = SKEIN__KEY_VALUE__INIT;
	pb_kv *filters[] = {&filter};
	Skein__ListRequest request = SKEIN__LIST_REQUEST__INIT;
	_cleanup_pb_ Skein__ListNodesResponse *some = NULL, *bad = NULL;
	_cleanup_pb_ Skein__ListTasksResponse *no_service = NULL;
	Skein__ListTasksRequest tasks = SKEIN__LIST_TASKS_REQUEST__INIT;
	char *refs[] = {"nothing"};
	struct error err;

	put_manager(s, "m1");
	put_node(s, "w1");
	put_node(s, "w2");
	request.filters = filters;
	request.n_filters = 1;
	filter.key = "id";
	filter.value = "w";
	some = ask(s, "ListNodes", &request, &err);
	assert_int_equal(some->n_nodes, 2);
	filter.key = "role";
	bad = ask(s, "ListNodes", &request, &err);
	assert_null(bad);
	assert_string_equal(err.msg, "filter role=w: accepted values: worker|manager");
	tasks.services = refs;
	tasks.n_services = 1;
	no_service = ask(s, "ListTasks", &tasks, &err);
	assert_null(no_service);
	assert_int_equal(err.code, ERR_NOT_FOUND);
}

static void cluster_and_info(void **state)
{
	struct serve *s = *state;
	Skein__GetInfoRequest get = SKEIN__GET_INFO_REQUEST__INIT;
	Skein__UpdateClusterRequest change = SKEIN__UPDATE_CLUSTER_REQUEST__INIT;
	pb_cluster_spec spec = SKEIN__CLUSTER_SPEC__INIT;
	_cleanup_pb_ Skein__Info *info = NULL;
	_cleanup_pb_ void *done = NULL;
	struct error err;

	put_manager(s, "m1");
	put_manager(s, "m2");
	put_node(s, "w1");
	change.spec = &spec;
	spec.task_history_limit = 7;
	done = ask(s, "UpdateCluster", &change, &err);
	assert_non_null(done);
	assert_string_equal(view_cluster(store_view(s->store))->root_cert_pem, "the root");
	change.revision = 1;
	assert_null(ask(s, "UpdateCluster", &change, &err));
	assert_int_equal(err.code, ERR_CONFLICT);
	info = ask(s, "GetInfo", &get, &err);
	assert_string_equal(info->cluster_id, "c1");
	assert_int_equal(info->nodes, 3);
	assert_int_equal(info->managers, 2);
	assert_int_equal(info->spec->task_history_limit, 7);
	assert_true(info->etcd_embedded);
	assert_int_equal(info->n_etcd_endpoints, 1);
	assert_non_null(strstr(info->warnings[0], "losing either one loses the quorum"));
}

static void a_lost_quorum_is_warned_of_with_its_numbers(void **state)
{
	struct serve *s = *state;
	Skein__GetInfoRequest get = SKEIN__GET_INFO_REQUEST__INIT;
	_cleanup_pb_ Skein__Info *info = NULL;
	struct error err;

	put_manager(s, "m1");
	put_manager(s, "m2");
	s->dead_manager = "m2";
	info = ask(s, "GetInfo", &get, &err);
	assert_non_null(strstr(info->warnings[0], "lost their quorum: 1 of 2 are healthy, 2 are needed"));
}

static void explain_comes_from_the_scheduler(void **state)
{
	struct serve *s = *state;
	_cleanup_pb_ Skein__ServiceResponse *r = created(s, "web");
	_cleanup_pb_ Skein__ExplainServiceResponse *e = ask_ref(s, "ExplainService", "web", NULL);

	assert_string_equal(e->summary, "explained");
	assert_string_equal(e->service->id, r->service->id);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SERVE_TEST(workers_are_refused),
		SERVE_TEST(every_method_refuses_workers),
		SERVE_TEST(create_get_list_remove),
		SERVE_TEST(bad_specs_make_nothing),
		SERVE_TEST(images_are_pinned),
		SERVE_TEST(updates_count_versions),
		SERVE_TEST(names_and_modes_stay),
		SERVE_TEST(credentials_stay_inside),
		SERVE_TEST(unresolved_services_scale_without_update),
		SERVE_TEST(watch_shows_the_present_and_changes),
		SERVE_TEST(slow_watchers_get_the_newest_state),
		SERVE_TEST(demotion_leaves_etcd_first),
		SERVE_TEST(only_dead_workers_are_removed),
		SERVE_TEST(updates_survive_conflicts),
		SERVE_TEST(tokens),
		SERVE_TEST(tokens_of_the_web_page),
		SERVE_TEST(lists_and_filters),
		SERVE_TEST(cluster_and_info),
		SERVE_TEST(a_lost_quorum_is_warned_of_with_its_numbers),
		SERVE_TEST(explain_comes_from_the_scheduler),
	};

	return cmocka_run_group_tests(tests, serve_group_setup, serve_group_teardown);
}
