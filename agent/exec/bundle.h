/*
 * bundle - an OCI runtime config.json from a task, its image and what was found out about them.
 * Pure: no file is touched; users, volumes and mounts are resolved before.
 */
#pragma once
#include "agent/exec/mounts.h"
#include "agent/exec/users.h"
#include "agent/image/image.h"
#include "proto/pb.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct error;

struct bundle_input {
	const pb_task *task;
	const struct image *image;
	const struct user *user;
	const struct mount_plan *mounts;
	const struct template_values *values;
	const char *rootfs;	 /* mount point of the root file system */
	const char *etc_dir;	 /* holds hosts, hostname, resolv.conf for the container */
	const char *hostname;	 /* as bundle_hostname() gave it */
	const char *init_path;	 /* of the small init for spec.init; NULL = there is none */
	const char *cgroup_path; /* "/skein/<task id>" */
	const char *criu_conf;	 /* path of criu's configuration for a restore; NULL = it is never restored */
	const char *netns;	 /* path of a namespace to join; NULL or "": a new one, or the host's */
	uint64_t caps_available;
	bool cgroup_v2, seccomp, limit_swap;
};

/* Does the task share the host's network namespace? Errors: ERR_INVALID not one of "host", "none",
 * "bridge", "". */
int bundle_host_network(const pb_task *task, bool *ret, struct error *err);

/* The container's host name: the spec's (with placeholders), else the host's own with host network,
 * else the first 12 characters of the task's id. Yours; NULL on error. */
char *bundle_hostname(const pb_task *task, const struct template_values *values, const char *host,
		      struct error *err);

/* The user a container runs as: the spec's, else the image's. Borrowed. */
const char *bundle_user(const pb_task *task, const struct image *image);
/* The working directory, clean; "/" when neither says one. Yours; NULL on error. */
char *bundle_workdir(const pb_task *task, const struct image *image, struct error *err);
/* The stop signal: the spec's, else the image's, else SIGTERM. */
int bundle_stop_signal(const pb_task *task, const struct image *image, int *ret_signum,
		       struct error *err);

/* Returns NULL on error. Errors: ERR_INVALID names the field, its value and what is accepted. */
json_t *bundle_build(const struct bundle_input *in, struct error *err);
/* The process of a health check, after the container's own in its config; NULL when the task has none. A new reference. */
json_t *bundle_check(const json_t *config, const pb_health_check *check);
/* The text of config.json. Yours. */
char *bundle_text(const json_t *config);
