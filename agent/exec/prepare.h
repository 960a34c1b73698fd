/*
 * prepare - everything a container needs before it can be started: directories, root file system,
 * user, volumes, /etc files, config.json. Blocking: runs on the uv pool, on copies.
 */
#pragma once
#include "agent/image/image.h"
#include "proto/pb.h"

#include <stdbool.h>

struct error;

/* Where things of one container are. */
struct container_paths {
	char *task_dir; /* <state>/tasks/<id>: bundle */
	char *run_dir;	/* <run>/exec/<id>: pid files */
	char *rootfs;	/* <run>/exec/<id>/rootfs: mount point */
	char *cgroup;	/* /<parent>/<id> */
};
void container_paths_fini(struct container_paths *p);

/* In task_dir: the process of its health check, for the runtime. */
#define CHECK_FILE "check.json"

struct prepare {
	const struct container_paths *paths;
	const pb_task *task;
	const struct image *image;
	const char *volumes_dir;
	char *node_id, *node_hostname, *init_path; /* copies: the loop thread may change its own */
	char *netns, *resolv_conf, *hosts;	   /* as struct net_attachment has them; NULL = none */
	bool cgroup_v2, seccomp, limit_swap;
	int ret_stop_signal;
};

/* On error nothing stays. Errors: as container_create(). */
int prepare_container(struct prepare *p, struct error *err);

/* Undo it: unmount, remove what was made; the rest of task_dir (task.pb) stays. */
int prepare_undo(const struct container_paths *paths, struct error *err);
