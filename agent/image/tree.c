#include "agent/image/tree.h"

#include "common/error.h"
#include "common/file.h"
#include "common/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

/* Names in messages: bounded, and without what would garble a terminal. */
#define SHOW_MAX 200

static const char *show(const char *name, char buf[static SHOW_MAX + 4])
{
	size_t i = 0;

	for (; name[i] && i < SHOW_MAX; i++)
		buf[i] = (unsigned char)name[i] < 0x20 || (unsigned char)name[i] >= 0x7f ? '?'
											 : name[i];
	strcpy(buf + i, name[i] ? "..." : "");
	return buf;
}

/* What the kernel says of a name from outside is the fault of that name, unless the disk is the
 * cause. */
static int name_error(struct error *err, int errno_value, const char *doing, const char *name)
{
	char shown[SHOW_MAX + 4];

	show(name, shown);
	switch (errno_value) {
	case EXDEV:
	case ELOOP:
		return error_set(err, ERR_DATA_LOSS, "\"%s\" leads out of the root of the layer",
				 shown);
	case ENOTDIR:
		return error_set(err, ERR_DATA_LOSS,
				 "\"%s\" goes through something that is no directory", shown);
	case ENOENT:
	case ENAMETOOLONG:
	case EISDIR:
	case EINVAL:
	case EFBIG:
		return error_set(err, ERR_DATA_LOSS, "%s \"%s\": %s", doing, shown,
				 strerrordesc_np(errno_value));
	default:
		return error_set_errno(err, errno_value, "%s \"%s\"", doing, shown);
	}
}

int tree_name(const char *name, char ret[static TREE_PATH_MAX], struct error *err)
{
	char shown[SHOW_MAX + 4];
	size_t len = 0;

	if (name[0] == '/')
		return error_set(err, ERR_DATA_LOSS, "name \"%s\" is absolute", show(name, shown));
	while (*name) {
		size_t part = strcspn(name, "/");

		if (part == 2 && name[0] == '.' && name[1] == '.')
			return error_set(err, ERR_DATA_LOSS, "name has \"..\" in it, at \"%s\"",
					 show(name, shown));
		if (part > 0 && !(part == 1 && name[0] == '.')) {
			if (len + part + 2 > TREE_PATH_MAX)
				return error_set(err, ERR_DATA_LOSS, "name is longer than %d bytes",
						 TREE_PATH_MAX - 2);
			if (len)
				ret[len++] = '/';
			memcpy(ret + len, name, part);
			len += part;
		}
		name += part;
		name += *name == '/';
	}
	ret[len] = '\0';
	return 0;
}

static int open_beneath(int root_fd, const char *name, uint64_t flags)
{
	struct open_how how = {
		.flags = flags | O_CLOEXEC,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV,
	};

	return (int)syscall(SYS_openat2, root_fd, *name ? name : ".", &how, sizeof(how));
}

/* One level below an existing directory: `path` is the whole name from the root to it. */
static int make_directory(int root_fd, char *path, struct error *err)
{
	char *slash = strrchr(path, '/');
	const char *last = slash ? slash + 1 : path;
	_cleanup_close_ int fd = -1;
	int r;

	if (slash)
		*slash = '\0';
	fd = open_beneath(root_fd, slash ? path : "", O_PATH | O_DIRECTORY);
	if (slash)
		*slash = '/';
	if (fd < 0)
		return name_error(err, errno, "open the directory of", path);
	r = mkdirat(fd, last, 0755);
	if (r < 0 && errno == EEXIST) /* a link that leads nowhere */
		return name_error(err, ENOTDIR, "make directory", path);
	if (r < 0)
		return name_error(err, errno, "make directory", path);
	if (fchmodat(fd, last, 0755, 0) < 0)
		return name_error(err, errno, "set mode of", path);
	return 0;
}

int tree_parent(int root_fd, const char *name, bool make, int *ret_fd, const char **ret_last,
		struct error *err)
{
	char path[TREE_PATH_MAX];
	const char *slash = strrchr(name, '/');
	size_t len = slash ? (size_t)(slash - name) : 0;
	int fd;

	*ret_last = slash ? slash + 1 : name;
	memcpy(path, name, len);
	path[len] = '\0';
	fd = open_beneath(root_fd, path, O_PATH | O_DIRECTORY);
	if (fd < 0 && errno == ENOENT && make) {
		for (size_t i = 1; i <= len; i++) {
			char c = path[i];
			int probe;

			if (c != '/' && c != '\0')
				continue;
			path[i] = '\0';
			probe = open_beneath(root_fd, path, O_PATH | O_DIRECTORY);
			if (probe >= 0)
				close(probe);
			else if (errno != ENOENT)
				return name_error(err, errno, "open", path);
			else if (make_directory(root_fd, path, err) < 0)
				return -1;
			path[i] = c;
		}
		fd = open_beneath(root_fd, path, O_PATH | O_DIRECTORY);
	}
	if (fd < 0)
		return name_error(err, errno, "open the directory of", name);
	*ret_fd = fd;
	return 0;
}

int tree_directory(int root_fd, const char *name, int *ret_fd, struct error *err)
{
	_cleanup_close_ int parent = -1;
	const char *last;
	int fd;

	if (!*name) {
		fd = open_beneath(root_fd, "", O_RDONLY | O_DIRECTORY);
	} else {
		if (tree_parent(root_fd, name, false, &parent, &last, err) < 0)
			return -1;
		fd = open_beneath(parent, last, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
	}
	if (fd < 0)
		return name_error(err, errno, "open directory", name);
	*ret_fd = fd;
	return 0;
}

int tree_clear(int parent_fd, const char *last, struct error *err)
{
	_cleanup_free_ char *path = NULL;

	if (unlinkat(parent_fd, last, 0) == 0 || errno == ENOENT)
		return 0;
	if (errno != EISDIR)
		return name_error(err, errno, "replace", last);
	path = xasprintf("/proc/self/fd/%d/%s", parent_fd, last);
	return file_remove_tree(path, err);
}

int tree_set_meta(int parent_fd, const char *last, bool is_link, const struct tree_meta *meta,
		  struct error *err)
{
	const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, meta->mtime};

	if (fchownat(parent_fd, last, meta->uid, meta->gid, AT_SYMLINK_NOFOLLOW) < 0)
		return name_error(err, errno, "set owner of", last);
	/* Nobody else sees this tree yet: what stands there is what was just made, and no link. */
	if (!is_link && fchmodat(parent_fd, last, meta->mode & 07777, 0) < 0)
		return name_error(err, errno, "set mode of", last);
	if (utimensat(parent_fd, last, times, AT_SYMLINK_NOFOLLOW) < 0)
		return name_error(err, errno, "set time of", last);
	return 0;
}

int tree_set_meta_fd(int fd, const char *name, const struct tree_meta *meta, struct error *err)
{
	const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, meta->mtime};

	if (fchown(fd, meta->uid, meta->gid) < 0)
		return name_error(err, errno, "set owner of", name);
	if (fchmod(fd, meta->mode & 07777) < 0)
		return name_error(err, errno, "set mode of", name);
	if (futimens(fd, times) < 0)
		return name_error(err, errno, "set time of", name);
	return 0;
}
