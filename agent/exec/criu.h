/*
 * criu - its command lines, and the one image of it that is changed on the way. Pure.
 *
 * Dumps call criu itself (no runtime in between: that costs a tenth of a second and three more starts of criu); what it
 * is told is what runc 1.1.5 tells it (libcontainer/container_linux.go there), because runc restores.
 */
#pragma once
#include "common/str.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;

#define CRIU_FD 3 /* the socket for pages, in the child */
#define CRIU_LOG "dump.log"

struct criu_dump {
	const char *criu;
	int64_t pid;              /* of the container's first process */
	const char *cgroup_dir;   /* "/sys/fs/cgroup/skein/<id>" */
	const char *images, *parent, *work_dir; /* parent: beside images, or NULL; work_dir gets log and statistics */
	bool pages;               /* pages go to CRIU_FD */
	bool pre;                 /* memory only, it goes on */
	bool track;               /* a later round follows */
	const json_t *config;     /* the bundle's; NULL with `pre` */
	const struct strv *masked_files, *masked_dirs; /* of its masked paths: those that are in the container */
	const char *rootfs;
	uint64_t netns_inode;     /* of the namespace that is given by path; 0 = none is */
};
void criu_dump_args(struct strv *argv, const struct criu_dump *dump);

/* criu page-server on CRIU_FD. */
void criu_page_server_args(struct strv *argv, const char *criu, const char *images, const char *parent, const char *work_dir);

/* The path of the network namespace in a config; NULL = of its own, or the host's. Borrowed. */
const char *criu_netns_path(const json_t *config);

/*
 * cgroup.img names the container's group at the source; criu would put the restored processes there. *ret (yours): the image
 * with `group` ("/skein/<id>") instead.
 *   Errors  ERR_DATA_LOSS it is no such image, or names no container's group
 *   Source  criu 3.17.1: images/cgroup.proto, criu/cgroup.c (cgns_prefix)
 */
int criu_cgroup_image(const void *data, size_t len, const char *group, void **ret, size_t *ret_len, struct error *err);

/* In the bundle of a task with live_migrate: */
#define CRIU_CONF "criu.conf" /* what runc has no option for, read by criu at restore (annotation org.criu.config) */
#define CRIU_EMPTY "empty"    /* an empty directory: what masked directories are at the target */
/* Text of CRIU_CONF. Yours. */
char *criu_conf(const char *task_dir);
