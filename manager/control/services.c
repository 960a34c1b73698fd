#include "filters.h"
#include "image.h"
#include "internal.h"
#include "redact.h"
#include "resolve.h"
#include "service_networks.h"
#include "validate.h"

#include "common/clock.h"
#include "common/id.h"
#include "common/imageref.h"
#include "common/log.h"
#include "common/mem.h"
#include "manager/store/store.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define RESOLVE_TIMEOUT_MS 10000
#define NAME_MADE_UP_MAX 50

/* ---------------------------------------------------------------- answers */

static void reply_service(struct req *r)
{
	Skein__ServiceResponse response = SKEIN__SERVICE_RESPONSE__INIT;
	_cleanup_redact_ struct redact redact = {0};
	const pb_service *service = view_service(control_view(r->c), r->id);

	if (!service) {
		req_fail_with(r, ERR_CONFLICT, "service %s was removed meanwhile", r->id);
		return;
	}
	response.service = redact_service(&redact, service);
	response.warnings = r->warnings.v;
	response.n_warnings = r->warnings.n;
	req_reply(r, &response);
}

/* ---------------------------------------------------------------- the image's digest */

static void set_digest(pb_container_spec *c, const char *digest, bool loaded)
{
	pb_set_str(&c->image_digest, digest);
	c->image_origin = (Skein__ImageOrigin)(loaded ? IMAGE_LOADED : IMAGE_FROM_REGISTRY);
}

static pb_service_spec *spec_of(struct req *r)
{
	const ProtobufCMessage *msg = r->msg;

	if (msg->descriptor == &skein__create_service_request__descriptor)
		return ((Skein__CreateServiceRequest *)r->msg)->spec;
	return ((Skein__UpdateServiceRequest *)r->msg)->spec;
}

static void on_resolved(void *data, const char *digest, const struct error *err)
{
	struct req *r = data;
	pb_container_spec *c = spec_of(r)->task->container;

	if (!err) {
		set_digest(c, digest, false);
	} else {
		const char *known = image_known_digest(control_view(r->c), c->image, false);

		log_info("image_unresolved", kv_str("image", c->image), kv_err(err));
		set_digest(c, known, false);
		if (!known)
			req_warn(r,
				 "image %s could not be accessed on a registry to record its "
				 "digest. Each node "
				 "will access %s independently, possibly leading to different "
				 "nodes running "
				 "different versions of the image.",
				 c->image, c->image);
	}
	r->image_done = true;
	r->step(r);
}

/* True when the digest is settled; else the step runs again once it is. */
static bool find_digest(struct req *r, pb_container_spec *c)
{
	const char *at = strchr(c->image, '@');
	const char *loaded = image_known_digest(control_view(r->c), c->image, true);

	r->image_done = true;
	if (loaded) {
		set_digest(c, loaded, true);
		return true;
	}
	if (at) {
		set_digest(c, at + 1, false);
		return true;
	}
	r->image_done = false;
	r->c->ops.resolve_image(r->c->ops.data, c->image, c->registry_auth, RESOLVE_TIMEOUT_MS,
				on_resolved, r);
	return false;
}

/* ---------------------------------------------------------------- create */

/* "web-k3x9w" for ".../web:1": a service needs a name, its maker need not think of one. */
static void make_up_name(pb_service_spec *spec)
{
	const char *image = spec->task && spec->task->container ? spec->task->container->image : "";
	char id[ID_LEN + 1], name[NAME_MADE_UP_MAX + 1] = "service";
	_cleanup_free_ char *full = NULL;
	struct imageref ref;

	if (imageref_parse(image, &ref, NULL) == 0) {
		const char *slash = strrchr(ref.path, '/');

		snprintf(name, sizeof(name), "%.*s", NAME_MADE_UP_MAX,
			 slash ? slash + 1 : ref.path);
	}
	for (char *p = name; *p; p++)
		*p = *p == '.' ? '-' : *p;
	id_new(id);
	full = xasprintf("%s-%.5s", name, id);
	pb_set_str(&spec->name, full);
}

static int prepare_spec(struct req *r, pb_service_spec *spec, struct error *err)
{
	struct validate_ops ops = {r->c->ops.data, r->c->ops.constraint_check};

	if (!spec)
		return error_set(err, ERR_INVALID, "spec is missing");
	validate_normalise_service(spec);
	if (service_networks_resolve(control_view(r->c), spec, err) < 0)
		return -1;
	return validate_service(spec, &ops, err);
}

/* Looked at before each write: other services come and go. */
static int check_networks(struct req *r, const pb_service_spec *spec, struct error *err)
{
	static const struct own_port own[] = {{"udp", 4789, "networks between nodes"},
					      {"tcp", 2379, "etcd"},
					      {"tcp", 2380, "etcd"},
					      {0}};
	static const struct own_port without_etcd[] = {{"udp", 4789, "networks between nodes"}, {0}};
	_cleanup_strv_ struct strv endpoints = {0};
	bool embedded = false;

	r->c->ops.etcd_info(r->c->ops.data, &embedded, &endpoints);
	return service_networks_check(control_view(r->c), spec, r->id, embedded ? own : without_etcd,
				      err);
}

static void warn_networks(struct req *r, const pb_service_spec *spec)
{
	_cleanup_free_ char *warning = service_networks_warning(control_view(r->c), spec);

	if (warning)
		req_warn(r, "%s", warning);
}

static int check_name_free(const struct view *v, const char *name, struct error *err)
{
	const pb_service *other = view_service_by_name(v, name);

	if (!other)
		return 0;
	return error_set(err, ERR_EXISTS, "name \"%s\" is in use by service %s", name, other->id);
}

void step_create_service(struct req *r)
{
	Skein__CreateServiceRequest *request = r->msg;
	struct view *v = control_view(r->c);
	struct error err = ERROR_INIT;
	pb_service *service;
	struct txn *t;

	if (request->spec && str_empty(request->spec->name))
		make_up_name(request->spec);
	if ((!r->image_done && prepare_spec(r, request->spec, &err) < 0) ||
	    check_name_free(v, request->spec->name, &err) < 0 ||
	    check_networks(r, request->spec, &err) < 0) {
		req_fail(r, &err);
		return;
	}
	if (!r->image_done && !find_digest(r, request->spec->task->container))
		return;
	if (!r->id[0])
		id_new(r->id);
	warn_networks(r, request->spec);
	service = pb_new(&skein__service__descriptor);
	pb_set_str(&service->id, r->id);
	service->spec = pb_dup(request->spec);
	service->spec_version = 1;
	t = txn_begin(v);
	txn_put(t, KIND_SERVICE, service);
	service_networks_require(t, v, request->spec);
	req_commit(r, t, reply_service);
}

/* ---------------------------------------------------------------- update */

/* What only the manager knows or keeps: taken from the present spec when the request says nothing
 * else. */
static void inherit(struct req *r, const pb_service *old, pb_service_spec *spec)
{
	const pb_container_spec *had = old->spec->task->container;
	pb_container_spec *c = spec->task->container;

	if (str_empty(c->registry_auth))
		pb_set_str(&c->registry_auth, had->registry_auth);
	/* The digest was sent back as it was read: the image is not to be looked for again. */
	if (str_eq(c->image, had->image) && str_eq(c->image_digest, had->image_digest)) {
		c->image_origin = had->image_origin;
		if (!str_empty(had->image_digest) || pb_equal(spec->task, old->spec->task))
			r->image_done = true;
	}
}

static int check_update(const pb_service *old, const Skein__UpdateServiceRequest *request,
			struct error *err)
{
	uint64_t revision = old->meta ? old->meta->revision : 0;

	if (request->revision && request->revision != revision)
		return error_set(err, ERR_CONFLICT,
				 "update out of sequence: service %s is at revision %" PRIu64
				 ", the update was made "
				 "from %" PRIu64 ": read it again",
				 old->spec->name, revision, request->revision);
	if (request->rollback)
		return 0;
	if (!str_eq(old->spec->name, request->spec->name))
		return error_set(err, ERR_UNIMPLEMENTED,
				 "name \"%s\": renaming service %s is not supported",
				 request->spec->name, old->spec->name);
	if (old->spec->mode_case != request->spec->mode_case)
		return error_set(err, ERR_UNIMPLEMENTED,
				 "mode: changing it is not supported (service %s)",
				 old->spec->name);
	return 0;
}

/* Above every version that the service or any of its tasks ever had: a number never means two
 * specs. */
static uint64_t next_spec_version(const struct view *v, const pb_service *service)
{
	uint64_t highest = MAX(service->spec_version, service->previous_spec_version);
	_cleanup_free_ const pb_task **tasks = NULL;
	size_t n;

	tasks = view_tasks_of_service(v, service->id, &n);
	for (size_t i = 0; i < n; i++)
		highest = MAX(highest, tasks[i]->spec_version);
	return highest + 1;
}

/* When it began is for the leader to say, which compares it with the times of tasks: one clock for
 * both. */
static void set_update(pb_service *service, int state, const char *message)
{
	pb_free(service->update);
	service->update = pb_new(&skein__update_status__descriptor);
	service->update->state = (Skein__UpdateState)state;
	pb_set_str(&service->update->message, message);
}

static bool update_is(const pb_service *service, int state)
{
	return service->update && (int)service->update->state == state;
}

static void apply_update(struct view *v, pb_service *service, const pb_service_spec *spec)
{
	bool task_changed = !pb_equal(service->spec->task, spec->task);
	uint64_t next = next_spec_version(v, service);

	pb_free(service->previous_spec);
	service->previous_spec = service->spec;
	service->previous_spec_version = service->spec_version;
	service->spec = pb_dup(spec);
	if (task_changed) {
		service->spec_version = next;
		set_update(service, SKEIN__UPDATE_STATE__UPDATE_UPDATING, "update in progress");
	} else if (update_is(service, SKEIN__UPDATE_STATE__UPDATE_PAUSED)) {
		/* A new request of the user lets a paused update go on. */
		set_update(service, SKEIN__UPDATE_STATE__UPDATE_UPDATING, "update in progress");
	} else if (!update_is(service, SKEIN__UPDATE_STATE__UPDATE_UPDATING) &&
		   !update_is(service, SKEIN__UPDATE_STATE__UPDATE_ROLLBACK_STARTED)) {
		pb_free(service->update);
		service->update = NULL;
	}
}

static void apply_rollback(pb_service *service)
{
	pb_service_spec *spec = service->previous_spec;
	uint64_t version = service->previous_spec_version;

	service->previous_spec = service->spec;
	service->previous_spec_version = service->spec_version;
	service->spec = spec;
	service->spec_version = version;
	set_update(service, SKEIN__UPDATE_STATE__UPDATE_ROLLBACK_STARTED,
		   "manually requested rollback");
}

static void commit_update(struct req *r, const pb_service *old,
			  const Skein__UpdateServiceRequest *request)
{
	struct view *v = control_view(r->c);
	struct txn *t = txn_begin(v);
	pb_service *service = txn_edit(t, KIND_SERVICE, old->id);

	if (request->rollback)
		apply_rollback(service);
	else
		apply_update(v, service, request->spec);
	warn_networks(r, service->spec);
	service_networks_require(t, v, service->spec);
	txn_put(t, KIND_SERVICE, service);
	req_commit(r, t, reply_service);
}

void step_update_service(struct req *r)
{
	Skein__UpdateServiceRequest *request = r->msg;
	struct error err = ERROR_INIT;
	const pb_service *old =
		resolve_service(control_view(r->c), r->id[0] ? r->id : request->ref, &err);
	bool first = !r->id[0];

	if (!old) {
		req_fail(r, &err);
		return;
	}
	snprintf(r->id, sizeof(r->id), "%s", old->id);
	if ((first && !request->rollback && prepare_spec(r, request->spec, &err) < 0) ||
	    check_update(old, request, &err) < 0) {
		req_fail(r, &err);
		return;
	}
	if (request->rollback && !old->previous_spec) {
		req_fail_with(r, ERR_PRECONDITION,
			      "service %s has no previous spec to roll back to", old->spec->name);
		return;
	}
	if (check_networks(r, request->rollback ? old->previous_spec : request->spec, &err) < 0) {
		req_fail(r, &err);
		return;
	}
	if (request->rollback) {
		commit_update(r, old, request);
		return;
	}
	if (first)
		inherit(r, old, request->spec);
	if (!r->image_done && !find_digest(r, request->spec->task->container))
		return;
	commit_update(r, old, request);
}

/* ---------------------------------------------------------------- remove */

static void reply_removed(struct req *r)
{
	Skein__RemoveServiceResponse response = SKEIN__REMOVE_SERVICE_RESPONSE__INIT;

	response.id = r->id;
	req_reply(r, &response);
}

/* The orchestrator then takes its tasks down. */
void step_remove_service(struct req *r)
{
	const Skein__RefRequest *request = r->msg;
	struct view *v = control_view(r->c);
	struct error err = ERROR_INIT;
	const pb_service *service = resolve_service(v, request->ref, &err);
	struct txn *t;

	if (!service) {
		req_fail(r, &err);
		return;
	}
	snprintf(r->id, sizeof(r->id), "%s", service->id);
	t = txn_begin(v);
	txn_del(t, KIND_SERVICE, r->id);
	req_commit(r, t, reply_removed);
}

/* ---------------------------------------------------------------- read */

void step_get_service(struct req *r)
{
	const Skein__RefRequest *request = r->msg;
	struct error err = ERROR_INIT;
	const pb_service *service = resolve_service(control_view(r->c), request->ref, &err);

	if (!service) {
		req_fail(r, &err);
		return;
	}
	snprintf(r->id, sizeof(r->id), "%s", service->id);
	reply_service(r);
}

static bool match_id(const struct view *v, const void *obj, const char *value)
{
	return str_starts(((const pb_service *)obj)->id, value);
}

static bool match_name(const struct view *v, const void *obj, const char *value)
{
	return str_starts(((const pb_service *)obj)->spec->name, value);
}

static bool match_label(const struct view *v, const void *obj, const char *value)
{
	const pb_service *service = obj;

	return filters_label(service->spec->labels, service->spec->n_labels, value);
}

static bool match_mode(const struct view *v, const void *obj, const char *value)
{
	bool global =
		((const pb_service *)obj)->spec->mode_case == SKEIN__SERVICE_SPEC__MODE_GLOBAL;

	return str_eq(value, global ? "global" : "replicated");
}

static const struct filter_key service_filters[] = {
	{"id", match_id, NULL},
	{"name", match_name, NULL},
	{"label", match_label, NULL},
	{"mode", match_mode, "replicated|global"},
	{0},
};

static Skein__ServiceSummary *summary_of(struct req *r, struct redact *redact,
					 const pb_service *service)
{
	Skein__ServiceSummary *summary = redact_alloc(redact, sizeof(*summary));
	struct view *v = control_view(r->c);
	_cleanup_free_ const pb_task **tasks = NULL;
	size_t n;

	*summary = (Skein__ServiceSummary)SKEIN__SERVICE_SUMMARY__INIT;
	summary->service = redact_service(redact, service);
	tasks = view_tasks_of_service(v, service->id, &n);
	for (size_t i = 0; i < n; i++) {
		const pb_node *node = view_node(v, tasks[i]->node_id);
		bool down = !node || !node->status || (int)node->status->state == NODE_DOWN;

		if (tasks[i]->status && (int)tasks[i]->status->state == TASK_RUNNING && !down &&
		    (int)tasks[i]->desired <= TASK_RUNNING)
			summary->running++;
	}
	if (service->spec->mode_case == SKEIN__SERVICE_SPEC__MODE_REPLICATED)
		summary->desired = service->spec->replicated->replicas;
	else
		summary->desired = r->c->ops.global_wanted(r->c->ops.data, v, service);
	return summary;
}

void step_list_services(struct req *r)
{
	const Skein__ListRequest *request = r->msg;
	Skein__ListServicesResponse response = SKEIN__LIST_SERVICES_RESPONSE__INIT;
	_cleanup_redact_ struct redact redact = {0};
	_cleanup_free_ const void **services = NULL;
	struct view *v = control_view(r->c);
	struct error err = ERROR_INIT;
	size_t n;

	if (filters_check(service_filters, request->filters, request->n_filters, &err) < 0) {
		req_fail(r, &err);
		return;
	}
	services = view_list(v, KIND_SERVICE, &n);
	response.services = redact_alloc(&redact, n * sizeof(*response.services));
	for (size_t i = 0; i < n; i++)
		if (filters_pass(service_filters, request->filters, request->n_filters, v,
				 services[i]))
			response.services[response.n_services++] =
				summary_of(r, &redact, services[i]);
	req_reply_bounded(r, &response.base, "services");
}

/* ---------------------------------------------------------------- explain */

void step_explain_service(struct req *r)
{
	const Skein__RefRequest *request = r->msg;
	_cleanup_pb_ Skein__ExplainServiceResponse *response = NULL;
	struct view *v = control_view(r->c);
	struct error err = ERROR_INIT;
	const pb_service *service = resolve_service(v, request->ref, &err);

	if (!service) {
		req_fail(r, &err);
		return;
	}
	response = r->c->ops.explain(r->c->ops.data, v, service, clock_wall_ns());
	if (response->service && response->service->spec)
		redact_task_spec(response->service->spec->task);
	if (response->service && response->service->previous_spec)
		redact_task_spec(response->service->previous_spec->task);
	for (size_t i = 0; i < response->n_tasks; i++)
		if (response->tasks[i]->task)
			redact_task_spec(response->tasks[i]->task->spec);
	req_reply_bounded(r, &response->base, "tasks");
}
