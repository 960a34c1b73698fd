#include "file.h"

#include "error.h"
#include "mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/select.h>
#include <sys/stat.h>
#include <sys/syscall.h>

/* ---- read and write */

int file_read(const char *path, size_t max_bytes, char **ret_data, size_t *ret_len, struct error *err)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	_cleanup_free_ char *data = NULL;
	size_t len = 0, cap = 0;

	if (fd < 0)
		return error_set_errno(err, errno, "open %s", path);
	for (;;) {
		ssize_t n;

		if (cap - len < 2) {
			cap = cap ? cap * 2 : 4096;
			data = xrealloc(data, cap);
		}
		n = read(fd, data + len, cap - len - 1);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return error_set_errno(err, errno, "read %s", path);
		if (n == 0)
			break;
		len += (size_t)n;
		if (len > max_bytes)
			return error_set(err, ERR_EXHAUSTED, "%s is longer than %zu bytes", path,
					 max_bytes);
	}
	data[len] = '\0';
	*ret_data = TAKE_PTR(data);
	if (ret_len)
		*ret_len = len;
	return 0;
}

static int write_all(int fd, const char *data, size_t len)
{
	while (len) {
		ssize_t n = write(fd, data, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		data += n;
		len -= (size_t)n;
	}
	return 0;
}

int file_sync_dir(const char *dir, struct error *err)
{
	_cleanup_close_ int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 || fsync(fd) < 0)
		return error_set_errno(err, errno, "sync directory %s", dir);
	return 0;
}

int file_put(const char *path, const void *data, size_t len, mode_t mode, struct error *err)
{
	_cleanup_free_ char *tmp = xasprintf("%s.tmp.XXXXXX", path);
	_cleanup_close_ int fd = mkostemp(tmp, O_CLOEXEC);

	if (fd < 0)
		return error_set_errno(err, errno, "create %s", tmp);
	if (fchmod(fd, mode) < 0 || write_all(fd, data, len) < 0 || fsync(fd) < 0 ||
	    rename(tmp, path) < 0) {
		error_set_errno(err, errno, "write %s", path);
		unlink(tmp);
		return -1;
	}
	return 0;
}

int file_write(const char *path, const void *data, size_t len, mode_t mode, struct error *err)
{
	_cleanup_free_ char *copy = xstrdup(path);

	if (file_put(path, data, len, mode, err) < 0)
		return -1;
	return file_sync_dir(dirname(copy), err);
}

static int make_dir(const char *path, mode_t mode, struct error *err)
{
	struct stat st;

	if (mkdir(path, mode) == 0)
		return 0;
	if (errno == EEXIST && stat(path, &st) == 0 && !S_ISDIR(st.st_mode))
		return error_set(err, ERR_EXISTS, "%s exists and is not a directory", path);
	if (errno == EEXIST)
		return 0;
	return error_set_errno(err, errno, "make directory %s", path);
}

int file_fd_high(int fd)
{
	int high = fd < 0 || fd >= FD_SETSIZE ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, FD_SETSIZE);

	if (high < 0)
		return fd;
	close(fd);
	return high;
}

int file_mkdirs(const char *path, mode_t mode, struct error *err)
{
	_cleanup_free_ char *copy = xstrdup(path);

	for (char *p = copy; *p; p++) {
		if (*p != '/' || p == copy)
			continue;
		*p = '\0';
		if (make_dir(copy, mode, err) < 0)
			return -1;
		*p = '/';
	}
	return make_dir(copy, mode, err);
}

/* ---- remove a tree */

/*
 * The walk holds one descriptor at any depth, because who filled the tree may have nested it
 * deeper than there are descriptors. Going up it checks that ".." is still the directory it came from.
 */
struct level {
	char *name; /* of the directory below, in this one */
	dev_t dev;
	ino_t ino;
};

struct walk {
	int fd; /* of the directory that is being emptied */
	struct level *levels;
	size_t n;
};

static void walk_fini(struct walk *w)
{
	for (size_t i = 0; i < w->n; i++)
		free(w->levels[i].name);
	free(w->levels);
	mem_closep(&w->fd);
}

static int walk_down(struct walk *w, const char *name)
{
	/* NO_XDEV also stops at a bind mount of the same file system. */
	struct open_how how = {
		.flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC,
		.resolve = RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS | RESOLVE_BENEATH,
	};
	struct stat st;
	int fd;

	if (fstat(w->fd, &st) < 0)
		return -1;
	fd = (int)syscall(SYS_openat2, w->fd, name, &how, sizeof(how));
	if (fd < 0)
		return -1;
	if ((w->n & (w->n + 1)) == 0)
		w->levels = xreallocarray(w->levels, (w->n + 1) * 2, sizeof(*w->levels));
	w->levels[w->n++] = (struct level){.name = xstrdup(name), .dev = st.st_dev, .ino = st.st_ino};
	close(w->fd);
	w->fd = fd;
	return 0;
}

/* The present directory is empty: go up and remove it there. */
static int walk_up(struct walk *w)
{
	struct level *level = &w->levels[w->n - 1];
	_cleanup_close_ int fd = openat(w->fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -1;
	if (st.st_dev != level->dev || st.st_ino != level->ino) {
		errno = EBUSY; /* somebody moved it meanwhile */
		return -1;
	}
	if (unlinkat(fd, level->name, AT_REMOVEDIR) < 0)
		return -1;
	free(level->name);
	w->n--;
	close(w->fd);
	w->fd = TAKE_FD(fd);
	return 0;
}

/* Unlink what is no directory. Returns 1 and a name (yours) at the first directory, 0 when empty. */
static int unlink_files(int fd, char **ret_subdir)
{
	DIR *dir = fdopendir(fcntl(fd, F_DUPFD_CLOEXEC, 3));
	struct dirent *entry;
	int r = 0;

	if (!dir)
		return -1;
	rewinddir(dir); /* a dup shares its position */
	while (!r && (errno = 0, entry = readdir(dir))) {
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		if (entry->d_type != DT_DIR && unlinkat(fd, entry->d_name, 0) == 0)
			continue;
		if (entry->d_type != DT_DIR && errno == ENOENT)
			continue;
		if (entry->d_type != DT_DIR && errno != EISDIR) {
			r = -1;
			break;
		}
		*ret_subdir = xstrdup(entry->d_name);
		r = 1;
	}
	if (!r && errno)
		r = -1;
	{
		int saved = errno;

		closedir(dir);
		errno = saved;
	}
	return r;
}

static int empty_directory(int top_fd)
{
	_cleanup_(walk_fini) struct walk w = {.fd = top_fd};

	for (;;) {
		_cleanup_free_ char *subdir = NULL;
		int r = unlink_files(w.fd, &subdir);

		if (r < 0 || (r > 0 && walk_down(&w, subdir) < 0))
			return -1;
		if (r > 0)
			continue;
		if (w.n == 0)
			return 0;
		if (walk_up(&w) < 0)
			return -1;
	}
}

int file_remove_tree(const char *path, struct error *err)
{
	int fd;

	if (unlink(path) == 0 || errno == ENOENT || errno == ENOTDIR)
		return 0;
	if (errno != EISDIR)
		return error_set_errno(err, errno, "remove %s", path);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return error_set_errno(err, errno, "remove %s", path);
	if (empty_directory(fd) < 0)
		return error_set_errno(err, errno, "empty %s", path);
	if (rmdir(path) < 0 && errno != ENOENT)
		return error_set_errno(err, errno, "remove %s", path);
	return 0;
}
