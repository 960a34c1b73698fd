#include "agent/exec/mounts.h"

#include "common/error.h"
#include "common/mem.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mount.h>

/* mount(2) takes one page of options. */
#define OPTIONS_MAX 4095
#define VOLUME_NAME_MAX 255

/* ---------------------------------------------------------------- plan */

void mount_plan_fini(struct mount_plan *plan)
{
	for (size_t i = 0; i < plan->n; i++) {
		free(plan->items[i].source);
		free(plan->items[i].target);
		strv_fini(&plan->items[i].options);
	}
	free(plan->items);
	*plan = (struct mount_plan){0};
}

char *mounts_clean_path(const char *path)
{
	_cleanup_strbuf_ struct strbuf out = {0};

	if (!path || path[0] != '/')
		return NULL;
	strbuf_puts(&out, "");
	for (const char *p = path; *p;) {
		size_t len;

		p += strspn(p, "/");
		len = strcspn(p, "/");
		if (len == 2 && p[0] == '.' && p[1] == '.') {
			while (out.len && out.p[--out.len] != '/')
				;
			if (out.p)
				out.p[out.len] = '\0';
		} else if (len && !(len == 1 && p[0] == '.')) {
			strbuf_putc(&out, '/');
			strbuf_add(&out, p, len);
		}
		p += len;
	}
	if (out.len == 0)
		return xstrdup("/");
	return strbuf_take(&out);
}

static bool volume_name_ok(const char *name)
{
	size_t len = strlen(name);

	if (len == 0 || len > VOLUME_NAME_MAX || !isalnum((unsigned char)name[0]))
		return false;
	for (const char *p = name; *p; p++)
		if (!isalnum((unsigned char)*p) && !strchr("_.-", *p))
			return false;
	return true;
}

static int set_target(struct mount_item *item, const char *target, struct error *err)
{
	item->target = mounts_clean_path(target);
	if (!item->target || str_eq(item->target, "/"))
		return error_set(
			err, ERR_INVALID,
			"mount target \"%.200s\": accepted is an absolute path other than /",
			target);
	return 0;
}

static int set_propagation(struct mount_item *item, const char *propagation, struct error *err)
{
	static const char *const known[] = {"rprivate", "private", "rshared",
					    "shared",	"rslave",  "slave"};

	if (str_empty(propagation))
		propagation = "rprivate";
	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (str_eq(known[i], propagation)) {
			strv_add(&item->options, propagation);
			return 0;
		}
	return error_set(
		err, ERR_INVALID,
		"mount %s: propagation \"%.64s\" (accepted: private, rprivate, shared, rshared, "
		"slave, rslave)",
		item->target, propagation);
}

static int plan_bind(struct mount_item *item, const pb_mount *m, const char *source,
		     struct error *err)
{
	item->source = mounts_clean_path(source);
	if (!item->source)
		return error_set(err, ERR_INVALID,
				 "mount %s: bind source \"%.200s\" is not an absolute path",
				 item->target, source);
	strv_add(&item->options, "rbind");
	return set_propagation(item, m->propagation, err);
}

static int plan_volume(struct mount_item *item, const pb_mount *m, const char *name,
		       const char *volumes_dir, const char *anonymous_dir, size_t index,
		       struct error *err)
{
	if (str_empty(name))
		item->source = xasprintf("%s/%zu/_data", anonymous_dir, index);
	else if (volume_name_ok(name))
		item->source = xasprintf("%s/%s/_data", volumes_dir, name);
	else
		return error_set(
			err, ERR_INVALID,
			"mount %s: volume name \"%.64s\" (accepted: letters, digits, _ . - and at "
			"most %d characters, beginning with a letter or digit)",
			item->target, name, VOLUME_NAME_MAX);
	item->copy_up = !m || !m->volume_nocopy;
	strv_add(&item->options, "rbind");
	strv_add(&item->options, "rprivate");
	return 0;
}

static int plan_tmpfs(struct mount_item *item, const pb_mount *m, struct error *err)
{
	static const char *const options[] = {"nosuid", "nodev", "noexec", "rprivate"};

	if (m->tmpfs_size_bytes < 0 || m->tmpfs_mode > 07777)
		return error_set(err, ERR_INVALID,
				 "mount %s: tmpfs size %" PRId64
				 ", mode %o (accepted: a size of 0 or more, a "
				 "mode up to 7777)",
				 item->target, m->tmpfs_size_bytes, m->tmpfs_mode);
	for (size_t i = 0; i < ARRAY_SIZE(options); i++)
		strv_add(&item->options, options[i]);
	if (m->tmpfs_size_bytes)
		strv_addf(&item->options, "size=%" PRId64, m->tmpfs_size_bytes);
	strv_addf(&item->options, "mode=%o", m->tmpfs_mode ? m->tmpfs_mode : 01777);
	return 0;
}

static int plan_one(struct mount_plan *plan, const pb_mount *m,
		    const struct template_values *values, const char *volumes_dir,
		    const char *anonymous_dir, struct error *err)
{
	_cleanup_free_ char *source = template_expand(m->source, values, err);
	_cleanup_free_ char *target = source ? template_expand(m->target, values, err) : NULL;
	struct mount_item *item = &plan->items[plan->n++];
	int r;

	*item = (struct mount_item){.type = m->type};
	if (!target || set_target(item, target, err) < 0)
		return -1;
	switch (m->type) {
	case MOUNT_BIND:
		r = plan_bind(item, m, source, err);
		break;
	case MOUNT_VOLUME:
		r = plan_volume(item, m, source, volumes_dir, anonymous_dir, plan->n, err);
		break;
	case MOUNT_TMPFS:
		r = plan_tmpfs(item, m, err);
		break;
	default:
		r = error_set(err, ERR_INVALID, "mount %s: unknown type %d", item->target, m->type);
	}
	if (r == 0)
		strv_add(&item->options, m->read_only ? "ro" : "rw");
	return r;
}

static bool has_target(const struct mount_plan *plan, size_t n, const char *target)
{
	for (size_t i = 0; i < n; i++)
		if (str_eq(plan->items[i].target, target))
			return true;
	return false;
}

/* Paths that the image declares as volumes and the spec does not mount. */
static void plan_image_volumes(struct mount_plan *plan, char *const *volumes,
			       const char *anonymous_dir)
{
	for (; volumes && *volumes && plan->n < MOUNTS_MAX; volumes++) {
		struct mount_item item = {.type = MOUNT_VOLUME,
					  .target = mounts_clean_path(*volumes)};

		if (!item.target || str_eq(item.target, "/") ||
		    has_target(plan, plan->n, item.target)) {
			free(item.target);
			continue;
		}
		plan_volume(&item, NULL, "", NULL, anonymous_dir, plan->n + 1, NULL);
		strv_add(&item.options, "rw");
		plan->items[plan->n++] = item;
	}
}

static unsigned depth(const char *path)
{
	unsigned n = 0;

	for (; *path; path++)
		n += *path == '/';
	return n;
}

/* Stable: what is mounted in one directory keeps the order of the spec. */
static void sort_by_depth(struct mount_plan *plan)
{
	for (size_t i = 1; i < plan->n; i++) {
		struct mount_item item = plan->items[i];
		size_t j = i;

		for (; j > 0 && depth(plan->items[j - 1].target) > depth(item.target); j--)
			plan->items[j] = plan->items[j - 1];
		plan->items[j] = item;
	}
}

int mounts_plan(const pb_container_spec *spec, char *const *image_volumes,
		const struct template_values *values, const char *volumes_dir,
		const char *anonymous_dir, struct mount_plan *ret, struct error *err)
{
	_cleanup_(mount_plan_fini) struct mount_plan plan = {0};

	if (spec->n_mounts > MOUNTS_MAX)
		return error_set(err, ERR_INVALID, "%zu mounts (accepted: at most %d)",
				 spec->n_mounts, MOUNTS_MAX);
	plan.items = xcalloc(MOUNTS_MAX, sizeof(*plan.items));
	for (size_t i = 0; i < spec->n_mounts; i++) {
		if (plan_one(&plan, spec->mounts[i], values, volumes_dir, anonymous_dir, err) < 0)
			return -1;
		if (has_target(&plan, plan.n - 1, plan.items[plan.n - 1].target))
			return error_set(err, ERR_INVALID, "mount target %s is given twice",
					 plan.items[plan.n - 1].target);
	}
	plan_image_volumes(&plan, image_volumes, anonymous_dir);
	sort_by_depth(&plan);
	*ret = plan;
	plan = (struct mount_plan){0};
	return 0;
}

/* ---------------------------------------------------------------- overlay */

/* Open directories, so that mount(2) can be given "/proc/self/fd/N": short, and without special
 * characters. */
struct dir_fds {
	int *fds;
	size_t n;
};

static void dir_fds_fini(struct dir_fds *d)
{
	for (size_t i = 0; i < d->n; i++)
		close(d->fds[i]);
	free(d->fds);
}

static int dir_fds_add(struct dir_fds *d, const char *path, struct error *err)
{
	int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return error_set_errno(err, errno, "open layer %s", path);
	d->fds = xreallocarray(d->fds, d->n + 1, sizeof(int));
	d->fds[d->n++] = fd;
	return fd;
}

static char *plain_options(char *const *layers, size_t n, const char *upper, const char *work)
{
	_cleanup_strbuf_ struct strbuf b = {0};

	strbuf_puts(&b, "index=off,lowerdir=");
	for (size_t i = n; i-- > 0;)
		strbuf_printf(&b, "%s%s", layers[i], i ? ":" : "");
	strbuf_printf(&b, ",upperdir=%s,workdir=%s", upper, work);
	return strbuf_take(&b);
}

static char *fd_options(char *const *layers, size_t n, const char *upper, const char *work,
			struct dir_fds *fds, struct error *err)
{
	_cleanup_strbuf_ struct strbuf b = {0};
	int upper_fd, work_fd;

	strbuf_puts(&b, "index=off,lowerdir=");
	for (size_t i = n; i-- > 0;) {
		int fd = dir_fds_add(fds, layers[i], err);

		if (fd < 0)
			return NULL;
		strbuf_printf(&b, "/proc/self/fd/%d%s", fd, i ? ":" : "");
	}
	upper_fd = dir_fds_add(fds, upper, err);
	work_fd = upper_fd < 0 ? -1 : dir_fds_add(fds, work, err);
	if (work_fd < 0)
		return NULL;
	strbuf_printf(&b, ",upperdir=/proc/self/fd/%d,workdir=/proc/self/fd/%d", upper_fd, work_fd);
	return strbuf_take(&b);
}

static bool has_special(const char *path)
{
	return strpbrk(path, ",:\\") != NULL;
}

static int mount_overlay(const char *target, const char *options)
{
	/*
	 * volatile (Linux 5.10): no syncing. A container's own layer never outlives a crash of the
	 * host, and without it every unmount writes out the whole file system below.
	 */
	_cleanup_free_ char *fast = xasprintf("volatile,%s", options);

	if (strlen(fast) <= OPTIONS_MAX && mount("overlay", target, "overlay", 0, fast) == 0)
		return 0;
	return mount("overlay", target, "overlay", 0, options);
}

int mounts_overlay(char *const *layers, size_t n_layers, const char *upper, const char *work,
		   const char *target, struct error *err)
{
	_cleanup_(dir_fds_fini) struct dir_fds fds = {0};
	_cleanup_free_ char *options = NULL;
	bool special = has_special(upper) || has_special(work);

	if (n_layers == 0)
		return error_set(err, ERR_INVALID, "the image has no layers");
	for (size_t i = 0; i < n_layers; i++)
		special = special || has_special(layers[i]);

	options = plain_options(layers, n_layers, upper, work);
	if (special || strlen(options) > OPTIONS_MAX - strlen("volatile,")) {
		free(options);
		options = fd_options(layers, n_layers, upper, work, &fds, err);
		if (!options)
			return -1;
	}
	if (strlen(options) > OPTIONS_MAX)
		return error_set(err, ERR_EXHAUSTED,
				 "the image has %zu layers, more than the kernel can stack",
				 n_layers);
	if (mount_overlay(target, options) < 0)
		return error_set_errno(err, errno, "mount overlay of %zu layers at %s", n_layers,
				       target);
	return 0;
}

int mounts_unmount(const char *target, struct error *err)
{
	if (umount2(target, UMOUNT_NOFOLLOW) == 0 || errno == EINVAL || errno == ENOENT)
		return 0;
	if (errno == EBUSY && umount2(target, UMOUNT_NOFOLLOW | MNT_DETACH) == 0)
		return 0;
	return error_set_errno(err, errno, "unmount %s", target);
}
