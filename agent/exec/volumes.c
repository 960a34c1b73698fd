#include "agent/exec/volumes.h"

#include "agent/exec/rootfs.h"
#include "common/error.h"
#include "common/file.h"
#include "common/mem.h"
#include "common/str.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#define DEPTH_MAX 128
#define XATTR_NAMES_MAX 65536
#define XATTR_VALUE_MAX 65536

/* ---------------------------------------------------------------- copy */

static int copy_data(int src_fd, int dst_fd)
{
	char buf[65536];

	for (;;) {
		ssize_t n = copy_file_range(src_fd, NULL, dst_fd, NULL, 1 << 30, 0);

		if (n == 0)
			return 0;
		if (n < 0 && errno != EINTR)
			break;
	}
	if (errno != EXDEV && errno != EINVAL && errno != EOPNOTSUPP && errno != ENOSYS)
		return -1;

	/* Between file systems that cannot do it; nothing was copied so far, or the offsets stand
	 * behind it. */
	for (;;) {
		ssize_t n = read(src_fd, buf, sizeof(buf));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return (int)n;
		for (ssize_t done = 0, w; done < n; done += w) {
			w = write(dst_fd, buf + done, (size_t)(n - done));
			if (w < 0 && errno == EINTR)
				w = 0;
			if (w < 0)
				return -1;
		}
	}
}

static int copy_xattrs(int src_fd, int dst_fd)
{
	_cleanup_free_ char *names = xmalloc(XATTR_NAMES_MAX), *value = xmalloc(XATTR_VALUE_MAX);
	ssize_t len = flistxattr(src_fd, names, XATTR_NAMES_MAX);

	if (len < 0)
		return errno == EOPNOTSUPP ? 0 : -1;
	for (const char *name = names; name < names + len; name += strlen(name) + 1) {
		ssize_t n;

		if (str_starts(name, "trusted.overlay.") || str_starts(name, "security.selinux"))
			continue;
		n = fgetxattr(src_fd, name, value, XATTR_VALUE_MAX);
		if (n < 0 ||
		    (fsetxattr(dst_fd, name, value, (size_t)n, 0) < 0 && errno != EOPNOTSUPP))
			return -1;
	}
	return 0;
}

/* Last of all for a directory: filling it changes its times. chown first, because it drops the
 * set-id bits. */
static int copy_attributes(int src_fd, int dst_fd)
{
	struct stat st;

	if (fstat(src_fd, &st) < 0 || fchown(dst_fd, st.st_uid, st.st_gid) < 0 ||
	    fchmod(dst_fd, st.st_mode & 07777) < 0 || copy_xattrs(src_fd, dst_fd) < 0)
		return -1;
	return futimens(dst_fd, (struct timespec[2]){st.st_atim, st.st_mtim});
}

static int copy_file(int src_dir, int dst_dir, const char *name)
{
	_cleanup_close_ int src =
		openat(src_dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	_cleanup_close_ int dst = -1;

	if (src < 0)
		return -1;
	dst = openat(dst_dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (dst < 0 || copy_data(src, dst) < 0)
		return -1;
	return copy_attributes(src, dst);
}

static int copy_link(int src_dir, int dst_dir, const char *name, const struct stat *st)
{
	char target[PATH_MAX];
	ssize_t n = readlinkat(src_dir, name, target, sizeof(target) - 1);

	if (n < 0)
		return -1;
	target[n] = '\0';
	if (symlinkat(target, dst_dir, name) < 0)
		return -1;
	return fchownat(dst_dir, name, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW);
}

static int copy_node(int src_dir, int dst_dir, const char *name, const struct stat *st)
{
	if (mknodat(dst_dir, name, st->st_mode, st->st_rdev) < 0)
		return -1;
	if (fchownat(dst_dir, name, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW) < 0)
		return -1;
	return fchmodat(dst_dir, name, st->st_mode & 07777, 0);
}

static int copy_tree(int src_fd, int dst_fd, unsigned depth, struct error *err);

static int copy_dir(int src_dir, int dst_dir, const char *name, unsigned depth, struct error *err)
{
	_cleanup_close_ int src =
		openat(src_dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	_cleanup_close_ int dst = -1;

	if (src < 0 || mkdirat(dst_dir, name, 0700) < 0)
		return error_set_errno(err, errno, "copy directory %s into the volume", name);
	dst = openat(dst_dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (dst < 0)
		return error_set_errno(err, errno, "copy directory %s into the volume", name);
	return copy_tree(src, dst, depth + 1, err);
}

static int copy_entry(int src_dir, int dst_dir, const char *name, unsigned depth, struct error *err)
{
	struct stat st;
	int r;

	if (fstatat(src_dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return error_set_errno(err, errno, "copy %s into the volume", name);
	if (S_ISDIR(st.st_mode))
		return copy_dir(src_dir, dst_dir, name, depth, err);
	if (S_ISREG(st.st_mode))
		r = copy_file(src_dir, dst_dir, name);
	else if (S_ISLNK(st.st_mode))
		r = copy_link(src_dir, dst_dir, name, &st);
	else
		r = copy_node(src_dir, dst_dir, name, &st);
	return r < 0 ? error_set_errno(err, errno, "copy %s into the volume", name) : 0;
}

static int copy_tree(int src_fd, int dst_fd, unsigned depth, struct error *err)
{
	int list_fd = openat(src_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = list_fd < 0 ? NULL : fdopendir(list_fd);
	struct dirent *entry;
	int r = 0;

	if (!dir) {
		error_set_errno(err, errno, "list a directory of the image");
		mem_closep(&list_fd);
		return -1;
	}
	if (depth > DEPTH_MAX)
		r = error_set(err, ERR_EXHAUSTED,
			      "more than %d directories in one another in a volume's content",
			      DEPTH_MAX);
	while (r == 0 && (entry = readdir(dir)))
		if (!str_eq(entry->d_name, ".") && !str_eq(entry->d_name, ".."))
			r = copy_entry(src_fd, dst_fd, entry->d_name, depth, err);
	closedir(dir);
	if (r == 0 && copy_attributes(src_fd, dst_fd) < 0)
		r = error_set_errno(err, errno, "copy attributes of a directory into the volume");
	return r;
}

int volumes_copy_tree(int src_fd, int dst_fd, struct error *err)
{
	return copy_tree(src_fd, dst_fd, 0, err);
}

/* ---------------------------------------------------------------- volume */

static bool is_empty(int fd)
{
	int list_fd = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = list_fd < 0 ? NULL : fdopendir(list_fd);
	struct dirent *entry;
	bool empty = true;

	if (!dir) {
		mem_closep(&list_fd);
		return false;
	}
	while (empty && (entry = readdir(dir)))
		empty = str_eq(entry->d_name, ".") || str_eq(entry->d_name, "..");
	closedir(dir);
	return empty;
}

/* A mark stands as long as the copy goes on, so that a crash does not leave half of it for good. */
static int fill(const char *data, const char *mark, int src_fd, struct error *err)
{
	_cleanup_close_ int mark_fd = open(mark, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	_cleanup_close_ int dst_fd = open(data, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (mark_fd < 0 || dst_fd < 0)
		return error_set_errno(err, errno, "open volume %s", data);
	if (copy_tree(src_fd, dst_fd, 0, err) < 0)
		return -1;
	if (unlink(mark) < 0)
		return error_set_errno(err, errno, "remove %s", mark);
	return 0;
}

static int make_data(const char *data, const char *mark, struct error *err)
{
	if (access(mark, F_OK) == 0 && file_remove_tree(data, err) < 0)
		return -1;
	if (mkdir(data, 0755) < 0 && errno != EEXIST)
		return error_set_errno(err, errno, "make volume %s", data);
	return 0;
}

int volumes_prepare(const char *data, int root_fd, const char *target, bool copy_up,
		    struct error *err)
{
	_cleanup_free_ char *copy = xstrdup(data), *mark = NULL, *lock = NULL;
	const char *dir = dirname(copy);
	_cleanup_close_ int lock_fd = -1, src_fd = -1, data_fd = -1;

	if (file_mkdirs(dir, 0700, err) < 0)
		return -1;
	mark = xasprintf("%s/copying", dir);
	lock = xasprintf("%s/lock", dir);
	lock_fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (lock_fd < 0 || flock(lock_fd, LOCK_EX) < 0)
		return error_set_errno(err, errno, "lock volume %s", dir);
	if (make_data(data, mark, err) < 0)
		return -1;
	if (!copy_up)
		return 0;

	data_fd = open(data, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	src_fd = rootfs_open(root_fd, target, O_RDONLY | O_DIRECTORY);
	if (data_fd < 0 || src_fd < 0 || !is_empty(data_fd))
		return 0; /* in use already, or the image has nothing there */
	return fill(data, mark, src_fd, err);
}
