#include "validate.h"

#include "common/error.h"
#include "common/mem.h"
#include "common/str.h"

#include <ctype.h>
#include <inttypes.h>
#include <string.h>

#define MOUNTS_MAX 128
#define PATH_MAX_BYTES 4095
#define VOLUME_NAME_MAX 255
#define TMPFS_SIZE_MAX (INT64_C(1) << 50)

/* Absolute, no "..": what a path means must not depend on what is mounted. */
static bool path_ok(const char *path)
{
	if (path[0] != '/' || strlen(path) > PATH_MAX_BYTES)
		return false;
	for (const char *p = path; (p = strstr(p, "/..")); p += 3)
		if (!p[3] || p[3] == '/')
			return false;
	return true;
}

static const char *skip_slashes(const char *p)
{
	while (*p == '/' || (*p == '.' && (p[1] == '/' || !p[1])))
		p++;
	return p;
}

/* The same place, whatever slashes and single dots are in it. */
static bool same_path(const char *a, const char *b)
{
	for (;;) {
		size_t len;

		a = skip_slashes(a);
		b = skip_slashes(b);
		len = strcspn(a, "/");
		if (len != strcspn(b, "/") || strncmp(a, b, len))
			return false;
		if (!*a)
			return true;
		a += len;
		b += len;
	}
}

static bool volume_name_ok(const char *name)
{
	if (!isalnum((unsigned char)name[0]) || strlen(name) > VOLUME_NAME_MAX)
		return false;
	for (const char *p = name; *p; p++)
		if (!isalnum((unsigned char)*p) && !strchr("_.-", *p))
			return false;
	return true;
}

static bool has_template(const char *s)
{
	return strstr(s, "{{") != NULL;
}

static int check_source(const pb_mount *m, size_t i, struct error *err)
{
	switch ((int)m->type) {
	case MOUNT_BIND:
		if (!path_ok(m->source) && !has_template(m->source))
			return validate_refuse(
				err, m->source,
				"of a bind mount must be an absolute path without ..",
				"task.container.mounts[%zu].source", i);
		return 0;
	case MOUNT_VOLUME:
		if (!str_empty(m->source) && !volume_name_ok(m->source) && !has_template(m->source))
			return validate_refuse(
				err, m->source,
				"of a volume must be a name of letters, digits and _ . - "
				"(a path needs type bind)",
				"task.container.mounts[%zu].source", i);
		return 0;
	case MOUNT_TMPFS:
		if (!str_empty(m->source))
			return validate_refuse(err, m->source, "must be empty for tmpfs",
					       "task.container.mounts[%zu].source", i);
		return 0;
	default:
		return error_set(
			err, ERR_INVALID,
			"task.container.mounts[%zu].type %d: must be bind, volume or tmpfs", i,
			(int)m->type);
	}
}

static int check_options(const pb_mount *m, size_t i, struct error *err)
{
	static const char *const propagation[] = {"private", "rprivate", "shared",
						  "rshared", "slave",	 "rslave"};
	bool known = str_empty(m->propagation);

	for (size_t k = 0; k < ARRAY_SIZE(propagation); k++)
		known |= str_eq(m->propagation, propagation[k]);
	if (!known || (!str_empty(m->propagation) && (int)m->type != MOUNT_BIND))
		return validate_refuse(err, m->propagation,
				       "must be private, rprivate, shared, rshared, slave or "
				       "rslave, and only for bind",
				       "task.container.mounts[%zu].propagation", i);
	if ((m->tmpfs_size_bytes || m->tmpfs_mode) && (int)m->type != MOUNT_TMPFS)
		return error_set(
			err, ERR_INVALID,
			"task.container.mounts[%zu]: tmpfs size and mode are only for tmpfs", i);
	if (m->tmpfs_size_bytes < 0 || m->tmpfs_size_bytes > TMPFS_SIZE_MAX)
		return error_set(err, ERR_INVALID,
				 "task.container.mounts[%zu].tmpfs_size_bytes %" PRId64
				 ": must be 0 (kernel's default) to 1 PiB",
				 i, m->tmpfs_size_bytes);
	if (m->tmpfs_mode > 07777)
		return error_set(err, ERR_INVALID,
				 "task.container.mounts[%zu].tmpfs_mode 0%o: must be 0 to 07777", i,
				 (unsigned)m->tmpfs_mode);
	if (m->volume_nocopy && (int)m->type != MOUNT_VOLUME)
		return error_set(err, ERR_INVALID,
				 "task.container.mounts[%zu].volume_nocopy: only for volumes", i);
	return validate_labels("task.container.mounts.labels", m->labels, m->n_labels, err);
}

int validate_mounts(const pb_container_spec *c, struct error *err)
{
	if (c->n_mounts > MOUNTS_MAX)
		return error_set(err, ERR_EXHAUSTED,
				 "task.container.mounts: %zu of them: at most %d", c->n_mounts,
				 MOUNTS_MAX);
	for (size_t i = 0; i < c->n_mounts; i++) {
		const pb_mount *m = c->mounts[i];

		if (!path_ok(m->target) || same_path(m->target, "/"))
			return validate_refuse(err, m->target,
					       "must be an absolute path other than / without ..",
					       "task.container.mounts[%zu].target", i);
		for (size_t k = 0; k < i; k++)
			if (same_path(m->target, c->mounts[k]->target))
				return validate_refuse(err, m->target, "is there twice",
						       "task.container.mounts[%zu].target", i);
		if (check_source(m, i, err) < 0 || check_options(m, i, err) < 0)
			return -1;
	}
	return 0;
}
