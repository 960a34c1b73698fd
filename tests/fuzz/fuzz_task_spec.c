// links: agent_core
/* A task as it comes from a manager -> mounts, names, OCI bundle. */
#include "agent/exec/bundle.h"
#include "common/error.h"
#include "common/mem.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void build(const pb_task *task)
{
	static char *entrypoint[] = {"/entry", NULL}, *env[] = {"A=b", NULL},
		    *volumes[] = {"/v", NULL};
	const struct image image = {.entrypoint = entrypoint, .env = env, .volumes = volumes};
	const struct template_values values = {task, "node", "host", "x86_64"};
	_cleanup_(mount_plan_fini) struct mount_plan plan = {0};
	_cleanup_free_ struct user *user = xnew(struct user);
	_cleanup_free_ char *hostname = NULL, *text = NULL;
	struct error err = ERROR_INIT;
	json_t *config;
	int signum;

	bundle_stop_signal(task, &image, &signum, &err);
	users_lookup(&(struct users_files){0}, bundle_user(task, &image),
		     task->spec->container->groups, task->spec->container->n_groups, user, &err);
	hostname = bundle_hostname(task, &values, "host", &err);
	if (!hostname ||
	    mounts_plan(task->spec->container, volumes, &values, "/vol", "/anon", &plan, &err) < 0)
		return;

	struct bundle_input in = {.task = task,
				  .image = &image,
				  .user = user,
				  .mounts = &plan,
				  .values = &values,
				  .rootfs = "/r",
				  .etc_dir = "/e",
				  .hostname = hostname,
				  .init_path = "/init",
				  .cgroup_path = "/p/id",
				  .caps_available = UINT64_MAX,
				  .seccomp = true};

	config = bundle_build(&in, &err);
	if (!config && err.code == ERR_OK)
		abort(); /* refused without a reason */
	if (!config)
		return;
	text = bundle_text(config);
	if (!text)
		abort();
	json_decref(config);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_pb_ pb_task *task = pb_unpack(&skein__task__descriptor, data, size);

	if (task && task->spec && task->spec->container)
		build(task);
	return 0;
}
