/*
 * mounts - what a service mounts into its containers, and the overlay that is their root.
 */
#pragma once
#include "agent/exec/template.h"
#include "common/str.h"
#include "proto/pb.h"

#include <stdbool.h>
#include <stddef.h>

struct error;

#define MOUNTS_MAX 256

struct mount_item {
	int type;	     /* MOUNT_BIND, MOUNT_VOLUME, MOUNT_TMPFS */
	char *source;	     /* on the host; NULL for tmpfs */
	char *target;	     /* in the container, absolute and clean */
	struct strv options; /* for the OCI mount */
	bool copy_up;	     /* a volume that takes the image's content when it is empty */
};

struct mount_plan {
	struct mount_item *items;
	size_t n;
};
void mount_plan_fini(struct mount_plan *plan);

/*
 * The mounts of a spec plus anonymous volumes for the paths that the image declares, parents
 * before children, placeholders filled in. Pure.
 *   volumes_dir    named volumes: <volumes_dir>/<name>/_data
 *   anonymous_dir  the others: <anonymous_dir>/<n>/_data; they go with the container
 *   Errors         ERR_INVALID bad path, name, propagation, or a target that is mounted twice
 */
int mounts_plan(const pb_container_spec *spec, char *const *image_volumes,
		const struct template_values *values, const char *volumes_dir,
		const char *anonymous_dir, struct mount_plan *ret, struct error *err);

/* "/a//b/../c/" -> "/a/c"; lexical. Yours; NULL when it is not absolute. */
char *mounts_clean_path(const char *path);

/*
 * Mount an overlay at `target` (an existing directory). layers: lowest first. Blocking; any thread.
 *   Errors  ERR_EXHAUSTED too many layers for the kernel
 */
int mounts_overlay(char *const *layers, size_t n_layers, const char *upper, const char *work,
		   const char *target, struct error *err);

/* Unmount; not mounted is fine. Falls back to a lazy unmount when it is busy. */
int mounts_unmount(const char *target, struct error *err);
