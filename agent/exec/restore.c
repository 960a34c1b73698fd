#include "agent/exec/checkpoint_int.h"

#include "agent/exec/criu.h"
#include "agent/exec/crstats.h"
#include "agent/exec/mounts.h"
#include "common/clock.h"
#include "common/error.h"
#include "common/file.h"
#include "common/log.h"
#include "common/mem.h"

#include <inttypes.h>
#include <string.h>

#define IMAGE_MAX (1u << 20)

struct restore {
	container_restored_cb cb;
	void *data;
	int64_t began;
};

/* ---------------------------------------------------------------- before (pool) */

/*
 * The upper directory was filled while the overlay was mounted: what it has cached of it is wrong. The kernel mounts no overlay
 * "volatile" a second time with the same work directory.
 */
static int mount_anew(const struct container *c, struct error *err)
{
	_cleanup_free_ char *work = xasprintf("%s/work", c->paths.task_dir);

	if (mounts_unmount(c->paths.rootfs, err) < 0 || file_remove_tree(work, err) < 0 || file_mkdirs(work, 0700, err) < 0)
		return -1;
	return mounts_overlay(c->image->layers, c->image->n_layers, c->upper_dir, work, c->paths.rootfs, err);
}

static int fit_cgroup(const struct container *c, const char *images, struct error *err)
{
	_cleanup_free_ char *path = xasprintf("%s/cgroup.img", images), *data = NULL;
	_cleanup_free_ void *fitted = NULL;
	size_t len, fitted_len;

	if (file_read(path, IMAGE_MAX, &data, &len, err) < 0 ||
	    criu_cgroup_image(data, len, c->paths.cgroup, &fitted, &fitted_len, err) < 0)
		return -1;
	return container_file_replace(images, "cgroup.img", fitted, fitted_len, err);
}

int restore_prepare(struct container *c, const char *images, struct error *err)
{
	if (mount_anew(c, err) < 0 || fit_cgroup(c, images, err) < 0)
		return error_wrap(err, "restore the container");
	return 0;
}

/* ---------------------------------------------------------------- behind */

/* A few lines of a log, a few bytes of statistics: short reads of files just written. */
void restore_explain(const struct container *c, struct error *err)
{
	_cleanup_free_ char *path = xasprintf("%s/restore.log", c->paths.task_dir), *text = NULL, *reason = NULL;
	size_t len;

	if (file_read(path, CRSTATS_LOG_MAX, &text, &len, NULL) == 0)
		reason = crstats_reason(text, len);
	if (reason)
		error_set(err, ERR_PRECONDITION, "restore the container: %s", reason);
}

static void read_stats(const struct container *c, struct restore_stats *stats)
{
	_cleanup_free_ char *path = xasprintf("%s/stats-restore", c->paths.task_dir), *text = NULL;
	struct error err = ERROR_INIT;
	size_t len;

	if (file_read(path, CRSTATS_MAX_BYTES, &text, &len, &err) < 0 || crstats_restore(text, len, stats, &err) < 0)
		log_debug("restore_stats", kv_str("task", c->id), kv_err(&err));
}

static void on_restored(void *data, struct container *c, const struct error *err)
{
	struct restore *r = c->restore;
	struct restore_stats stats = {.took_ns = clock_mono_ns() - r->began};

	c->restore = NULL;
	if (!err)
		read_stats(c, &stats);
	r->cb(r->data, c, err ? NULL : &stats, err);
	free(r);
}

void container_restore(struct container *c, const char *images, container_restored_cb cb, void *data)
{
	struct restore *r = xnew(struct restore);

	*r = (struct restore){cb, data, clock_mono_ns()};
	c->restore = r;
	start_begin(c, images, on_restored);
}

const char *container_upper_dir(const struct container *c)
{
	return c->upper_dir;
}

const char *container_volumes_dir(const struct container *c)
{
	return c->anonymous_dir;
}
