/*
 * control_forms - short forms of what is asked of Control.
 */
#pragma once
#include "support/serve_fixture.h"

#define DIGEST "sha256:0000000000000000000000000000000000000000000000000000000000000001"
#define DIGEST2 "sha256:0000000000000000000000000000000000000000000000000000000000000002"

static inline pb_service_spec *new_spec(const char *name, const char *image)
{
	pb_service_spec *spec = pb_new(&skein__service_spec__descriptor);

	pb_set_str(&spec->name, name);
	spec->task = pb_new(&skein__task_spec__descriptor);
	spec->task->container = pb_new(&skein__container_spec__descriptor);
	pb_set_str(&spec->task->container->image, image);
	spec->task->container->stop_grace_period = 10 * NS_PER_SEC;
	return spec;
}

static inline Skein__ServiceResponse *create(struct serve *s, const pb_service_spec *spec,
				      struct error *err)
{
	Skein__CreateServiceRequest request = SKEIN__CREATE_SERVICE_REQUEST__INIT;

	request.spec = (pb_service_spec *)spec;
	return ask(s, "CreateService", &request, err);
}

/* A service that exists, as the API shows it. */
static inline Skein__ServiceResponse *created(struct serve *s, const char *name)
{
	_cleanup_pb_ pb_service_spec *spec = new_spec(name, "web@" DIGEST);
	struct error err;
	Skein__ServiceResponse *r = create(s, spec, &err);

	if (!r)
		fail_msg("create %s: %s", name, err.msg);
	return r;
}

static inline Skein__ServiceResponse *update(struct serve *s, const char *ref, uint64_t revision,
				      const pb_service_spec *spec, bool rollback, struct error *err)
{
	Skein__UpdateServiceRequest request = SKEIN__UPDATE_SERVICE_REQUEST__INIT;

	request.ref = (char *)ref;
	request.revision = revision;
	request.spec = (pb_service_spec *)spec;
	request.rollback = rollback;
	return ask(s, "UpdateService", &request, err);
}

static inline void put_manager(struct serve *s, const char *id)
{
	pb_node *n = new_node(id);

	n->spec->role = (Skein__NodeRole)NODE_ROLE_MANAGER;
	n->manager = pb_new(&skein__manager_status__descriptor);
	pb_set_str(&n->manager->address, "127.0.0.1:2377");
	put(s, KIND_NODE, n);
}
