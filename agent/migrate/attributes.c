#include "agent/migrate/attributes.h"

#include "common/error.h"
#include "common/mem.h"
#include "common/str.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>

#define NAMES_MAX 65536
#define VALUE_MAX 65536
#define NAME_MAX_LEN 255
#define COUNT_MAX 64

/* A file by descriptor, or (fd < 0) by path, whose last part is not followed when it is a link. */
struct file {
	int fd;
	const char *path;
	bool follow;
};

bool attributes_wanted(const char *name)
{
	static const char *const names[] = {
		"security.capability",
		"system.posix_acl_access",
		"system.posix_acl_default",
		"trusted.overlay.opaque",
		"trusted.overlay.redirect",
		"trusted.overlay.metacopy",
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (strcmp(name, names[i]) == 0)
			return true;
	}
	return str_starts(name, "user.");
}

static ssize_t list_names(const struct file *f, char *names)
{
	if (f->fd >= 0)
		return flistxattr(f->fd, names, NAMES_MAX);
	return f->follow ? listxattr(f->path, names, NAMES_MAX) : llistxattr(f->path, names, NAMES_MAX);
}

static ssize_t get_value(const struct file *f, const char *name, void *value)
{
	if (f->fd >= 0)
		return fgetxattr(f->fd, name, value, VALUE_MAX);
	return f->follow ? getxattr(f->path, name, value, VALUE_MAX) : lgetxattr(f->path, name, value, VALUE_MAX);
}

static int read_all(const struct file *f, Skein__MoveEntry *e, size_t *bytes, struct error *err)
{
	_cleanup_free_ char *names = xmalloc(NAMES_MAX), *value = xmalloc(VALUE_MAX);
	ssize_t len = list_names(f, names);

	if (len < 0)
		return errno == EOPNOTSUPP ? 0 : error_set_errno(err, errno, "list attributes");
	for (const char *name = names; name < names + len; name += strlen(name) + 1) {
		Skein__MoveXattr *x;
		ssize_t n;

		if (!attributes_wanted(name))
			continue;
		n = get_value(f, name, value);
		if (n < 0 && errno == ENODATA)
			continue;
		if (n < 0)
			return error_set_errno(err, errno, "read attribute %.100s", name);
		if (e->n_xattrs >= COUNT_MAX)
			return error_set(err, ERR_EXHAUSTED, "more than %d attributes", COUNT_MAX);
		x = pb_new(&skein__move_xattr__descriptor);
		x->name.len = strlen(name);
		x->name.data = xmemdup(name, x->name.len);
		x->value.len = (size_t)n;
		x->value.data = n ? xmemdup(value, (size_t)n) : NULL;
		pb_msgs_add(&e->n_xattrs, &e->xattrs, x);
		*bytes += x->name.len + x->value.len;
	}
	return 0;
}

int attributes_read(int fd, Skein__MoveEntry *e, size_t *bytes, struct error *err)
{
	return read_all(&(struct file){.fd = fd}, e, bytes, err);
}

int attributes_read_path(int fd, Skein__MoveEntry *e, size_t *bytes, struct error *err)
{
	char path[64];

	/* The link in /proc leads to the very inode, also when that is a symbolic link. */
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return read_all(&(struct file){.fd = -1, .path = path, .follow = true}, e, bytes, err);
}

/* ---------------------------------------------------------------- write */

static bool has(const Skein__MoveEntry *e, const char *name)
{
	for (size_t i = 0; i < e->n_xattrs; i++) {
		if (e->xattrs[i]->name.len == strlen(name) && memcmp(e->xattrs[i]->name.data, name, strlen(name)) == 0)
			return true;
	}
	return false;
}

static void remove_others(const struct file *f, const Skein__MoveEntry *e)
{
	_cleanup_free_ char *names = xmalloc(NAMES_MAX);
	ssize_t len = list_names(f, names);

	for (const char *name = names; len > 0 && name < names + len; name += strlen(name) + 1) {
		if (!attributes_wanted(name) || has(e, name))
			continue;
		if (f->fd >= 0)
			fremovexattr(f->fd, name);
		else
			lremovexattr(f->path, name);
	}
}

static int write_one(const struct file *f, const Skein__MoveXattr *x, struct error *err)
{
	char name[NAME_MAX_LEN + 1];
	int r;

	if (x->name.len == 0 || x->name.len > NAME_MAX_LEN || x->value.len > VALUE_MAX)
		return error_set(err, ERR_INVALID, "attribute with a name of %zu and a value of %zu bytes, accepted are %d and %d",
				 x->name.len, x->value.len, NAME_MAX_LEN, VALUE_MAX);
	memcpy(name, x->name.data, x->name.len);
	name[x->name.len] = '\0';
	if (strlen(name) != x->name.len || !attributes_wanted(name))
		return error_set(err, ERR_INVALID, "an attribute of a kind that is not accepted");
	r = f->fd >= 0 ? fsetxattr(f->fd, name, x->value.data, x->value.len, 0)
		       : lsetxattr(f->path, name, x->value.data, x->value.len, 0);
	return r < 0 ? error_set_errno(err, errno, "set attribute %s", name) : 0;
}

static int write_all(const struct file *f, const Skein__MoveEntry *e, struct error *err)
{
	if (e->n_xattrs > COUNT_MAX)
		return error_set(err, ERR_INVALID, "%zu attributes, accepted are %d", e->n_xattrs, COUNT_MAX);
	remove_others(f, e);
	for (size_t i = 0; i < e->n_xattrs; i++) {
		if (write_one(f, e->xattrs[i], err) < 0)
			return -1;
	}
	return 0;
}

int attributes_write(int fd, const Skein__MoveEntry *e, struct error *err)
{
	return write_all(&(struct file){.fd = fd}, e, err);
}

int attributes_write_path(const char *path, const Skein__MoveEntry *e, struct error *err)
{
	return write_all(&(struct file){.fd = -1, .path = path}, e, err);
}
