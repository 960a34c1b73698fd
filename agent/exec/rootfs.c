#include "agent/exec/rootfs.h"

#include "common/error.h"
#include "common/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

int rootfs_open(int root_fd, const char *path, int flags)
{
	struct open_how how = {
		.flags = (unsigned)flags | O_CLOEXEC,
		.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
	};
	long fd;

	/* EAGAIN: something was renamed while the path was walked (openat2(2)). */
	for (int tries = 0; tries < 16; tries++) {
		fd = syscall(SYS_openat2, root_fd, path, &how, sizeof(how));
		if (fd >= 0 || (errno != EAGAIN && errno != EINTR))
			break;
	}
	return (int)fd;
}

static int read_all(int fd, size_t size, const char *path, char **ret_data, size_t *ret_len,
		    struct error *err)
{
	_cleanup_free_ char *data = xmalloc(size + 1);
	size_t len = 0;

	while (len < size) {
		ssize_t n = read(fd, data + len, size - len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return error_set_errno(err, errno, "read %s of the image", path);
		if (n == 0)
			break;
		len += (size_t)n;
	}
	data[len] = '\0';
	*ret_data = TAKE_PTR(data);
	*ret_len = len;
	return 0;
}

int rootfs_read(int root_fd, const char *path, size_t max_bytes, char **ret_data, size_t *ret_len,
		struct error *err)
{
	_cleanup_close_ int fd = rootfs_open(root_fd, path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
	struct stat st;

	*ret_data = NULL;
	*ret_len = 0;
	if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
		return 0;
	if (fd < 0 || fstat(fd, &st) < 0)
		return error_set_errno(err, errno, "open %s of the image", path);
	if (!S_ISREG(st.st_mode))
		return error_set(err, ERR_INVALID, "%s of the image is not a regular file", path);
	if ((uint64_t)st.st_size > max_bytes)
		return error_set(err, ERR_EXHAUSTED, "%s of the image is longer than %zu bytes",
				 path, max_bytes);
	return read_all(fd, (size_t)st.st_size, path, ret_data, ret_len, err);
}

/* Make one directory: its parent `path` up to `name` exists already. */
static int make_one(int root_fd, const char *parent, const char *name)
{
	_cleanup_close_ int dir_fd = rootfs_open(root_fd, parent, O_PATH | O_DIRECTORY);

	if (dir_fd < 0)
		return -1;
	return mkdirat(dir_fd, name, 0755) < 0 && errno != EEXIST ? -1 : 0;
}

int rootfs_mkdirs(int root_fd, const char *path, struct error *err)
{
	_cleanup_free_ char *done =
		xasprintf("/%s", path); /* the part that exists, then one name more */
	char *end = done + strlen(done);

	for (char *p = done; p < end;) {
		char *name = p + strspn(p, "/"), *stop = name + strcspn(name, "/");
		char keep = *stop;
		_cleanup_close_ int fd = -1;

		if (name == stop)
			break;
		*stop = '\0';
		fd = rootfs_open(root_fd, done, O_PATH | O_DIRECTORY);
		if (fd < 0 && errno == ENOENT) {
			_cleanup_free_ char *parent = xstrndup(done, (size_t)(name - done));

			if (make_one(root_fd, parent, name) < 0)
				return error_set_errno(err, errno,
						       "make directory %s in the container", done);
		} else if (fd < 0) {
			return error_set_errno(err, errno, "directory %s in the container", done);
		}
		*stop = keep;
		p = stop;
	}
	return 0;
}
