/* bundle_fixture - a task, an image and resolved values to build a bundle from. */
#pragma once
#include "agent/exec/bundle.h"
#include "common/error.h"
#include "common/mem.h"
#include "common/str.h"

#include <string.h>

static char *fixture_entrypoint[] = {"/entry", NULL}, *fixture_cmd[] = {"cmd", NULL},
	    *fixture_env[] = {"A=image", "B=image", NULL};

struct fixture {
	pb_task *task;
	pb_container_spec *spec;
	struct image image;
	struct user user;
	struct mount_plan plan;
	struct template_values values;
	struct bundle_input in;
	json_t *config;
	struct error err;
};

static void fixture_init(struct fixture *f)
{
	*f = (struct fixture){.task = pb_new(&skein__task__descriptor)};
	pb_set_str(&f->task->id, "abcdefghijklmnopqrstuvwxy");
	pb_set_str(&f->task->service_name, "web");
	f->task->slot = 2;
	f->task->spec = pb_new(&skein__task_spec__descriptor);
	f->task->spec->container = f->spec = pb_new(&skein__container_spec__descriptor);
	pb_set_str(&f->task->spec->network, "none");
	f->image = (struct image){
		.entrypoint = fixture_entrypoint, .cmd = fixture_cmd, .env = fixture_env};
	strcpy(f->user.home, "/root");
	f->values = (struct template_values){f->task, "n1", "host-a", "x86_64"};
	f->in = (struct bundle_input){.task = f->task,
				      .image = &f->image,
				      .user = &f->user,
				      .mounts = &f->plan,
				      .values = &f->values,
				      .rootfs = "/run/rootfs",
				      .etc_dir = "/state/etc",
				      .hostname = "h",
				      .init_path = "/usr/bin/tini-static",
				      .cgroup_path = "/skein/abc",
				      .caps_available = UINT64_MAX,
				      .seccomp = true};
}

static json_t *fixture_build(struct fixture *f)
{
	json_decref(f->config);
	f->err = ERROR_INIT;
	f->config = bundle_build(&f->in, &f->err);
	return f->config;
}

static void fixture_fini(struct fixture *f)
{
	json_decref(f->config);
	mount_plan_fini(&f->plan);
	pb_free(f->task);
}

/* "process.args.0" */
static json_t *at(json_t *value, const char *path)
{
	_cleanup_free_ char *copy = xstrdup(path);
	char *save = NULL;

	for (char *w = strtok_r(copy, ".", &save); w && value; w = strtok_r(NULL, ".", &save))
		value = json_is_array(value) ? json_array_get(value, strtoul(w, NULL, 10))
					     : json_object_get(value, w);
	return value;
}

static bool list_has(json_t *list, const char *text)
{
	size_t i;
	json_t *v;

	json_array_foreach(list, i, v) if (str_eq(json_string_value(v), text)) return true;
	return false;
}

static json_t *mount_at(json_t *config, const char *target)
{
	size_t i;
	json_t *m;

	json_array_foreach(at(config, "mounts"), i,
			   m) if (str_eq(json_string_value(json_object_get(m, "destination")),
					 target)) return m;
	return NULL;
}
