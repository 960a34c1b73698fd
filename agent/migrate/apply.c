#include "agent/migrate/apply.h"

#include "agent/image/space.h"
#include "agent/image/tree.h"
#include "agent/migrate/attributes.h"
#include "agent/migrate/snapshot.h"
#include "common/clock.h"
#include "common/digest.h"
#include "common/error.h"
#include "common/file.h"
#include "common/mem.h"
#include "proto/pb.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#define SPACE_CHECK_BYTES (8u << 20)
#define SPACE_CHECK_ENTRIES 256

struct apply {
	int root_fd;
	uint64_t entries, bytes, unchecked_bytes;
	struct digest_sum *sum;
	/* the file that is not whole yet */
	int fd;
	char path[TREE_PATH_MAX];
	Skein__MoveEntry *first; /* its attributes; without data */
};

struct apply *apply_new(const char *dir, struct error *err)
{
	struct apply *a;
	int root_fd;

	if (file_mkdirs(dir, 0700, err) < 0)
		return NULL;
	root_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (root_fd < 0) {
		error_set_errno(err, errno, "open %s", dir);
		return NULL;
	}
	a = xnew(struct apply);
	*a = (struct apply){.root_fd = root_fd, .fd = -1, .sum = digest_sum_new()};
	return a;
}

/* ---------------------------------------------------------------- paths */

static int path_of(const ProtobufCBinaryData *raw, char ret[static TREE_PATH_MAX], struct error *err)
{
	char text[TREE_PATH_MAX];

	if (raw->len >= sizeof(text) || (raw->len && memchr(raw->data, '\0', raw->len)))
		return error_set(err, ERR_INVALID, "a path of %zu bytes, accepted are %zu without a zero", raw->len,
				 sizeof(text) - 1);
	if (raw->len)
		memcpy(text, raw->data, raw->len);
	text[raw->len] = '\0';
	return tree_name(text, ret, err);
}

static struct tree_meta meta_of(const Skein__MoveEntry *e)
{
	return (struct tree_meta){
		.mode = e->mode & 07777,
		.uid = e->uid,
		.gid = e->gid,
		.mtime = {.tv_sec = e->mtime / NS_PER_SEC, .tv_nsec = e->mtime % NS_PER_SEC},
	};
}

/* ---------------------------------------------------------------- regular files */

static int check_space(struct apply *a, struct error *err)
{
	if (a->unchecked_bytes < SPACE_CHECK_BYTES && a->entries % SPACE_CHECK_ENTRIES != 1)
		return 0;
	a->unchecked_bytes = 0;
	return space_check(a->root_fd, SPACE_CHECK_BYTES, err);
}

static int write_part(struct apply *a, const Skein__MoveEntry *e, struct error *err)
{
	uint64_t done = 0;

	if (e->offset > INT64_MAX - PTRDIFF_MAX / 2 || e->size > INT64_MAX)
		return error_set(err, ERR_INVALID, "a part of a file lies beyond what a file can have");
	while (done < e->data.len) {
		ssize_t n = pwrite(a->fd, e->data.data + done, e->data.len - done, (off_t)(e->offset + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return error_set_errno(err, errno, "write \"%.200s\"", a->path);
		done += (uint64_t)n;
	}
	a->bytes += done;
	a->unchecked_bytes += done;
	return 0;
}

static int finish_file(struct apply *a, const Skein__MoveEntry *last, struct error *err)
{
	struct tree_meta meta = meta_of(a->first);
	int r = 0;

	if (ftruncate(a->fd, (off_t)last->size) < 0)
		r = error_set_errno(err, errno, "set the size of \"%.200s\"", a->path);
	/* The owner first: a change of it takes capabilities away. */
	if (r == 0 && (tree_set_meta_fd(a->fd, a->path, &meta, err) < 0 || attributes_write(a->fd, a->first, err) < 0))
		r = -1;
	mem_closep(&a->fd);
	pb_free(a->first);
	a->first = NULL;
	return r;
}

static int begin_file(struct apply *a, const Skein__MoveEntry *e, const char *path, int parent, const char *last,
		      struct error *err)
{
	if (tree_clear(parent, last, err) < 0)
		return -1;
	a->fd = openat(parent, last, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (a->fd < 0)
		return error_set_errno(err, errno, "create \"%.200s\"", path);
	strcpy(a->path, path);
	a->first = pb_dup(e);
	free(a->first->data.data);
	a->first->data = (ProtobufCBinaryData){0};
	return 0;
}

static int take_content(struct apply *a, const Skein__MoveEntry *e, struct error *err)
{
	if (write_part(a, e, err) < 0 || check_space(a, err) < 0)
		return -1;
	return e->more ? 0 : finish_file(a, e, err);
}

/* ---------------------------------------------------------------- others */

static int make_directory(struct apply *a, const Skein__MoveEntry *e, const char *path, struct error *err)
{
	_cleanup_close_ int parent = -1, fd = -1;
	struct tree_meta meta = meta_of(e);
	const char *last;
	struct stat st;

	if (*path) {
		if (tree_parent(a->root_fd, path, true, &parent, &last, err) < 0)
			return -1;
		if (fstatat(parent, last, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISDIR(st.st_mode)) {
			if (tree_clear(parent, last, err) < 0)
				return -1;
			if (mkdirat(parent, last, 0700) < 0)
				return error_set_errno(err, errno, "make directory \"%.200s\"", path);
		}
	}
	if (tree_directory(a->root_fd, path, &fd, err) < 0 || attributes_write(fd, e, err) < 0)
		return -1;
	return tree_set_meta_fd(fd, path, &meta, err);
}

static int make_hardlink(struct apply *a, const Skein__MoveEntry *e, int parent, const char *last, struct error *err)
{
	_cleanup_close_ int to = -1;
	char link[TREE_PATH_MAX];
	const char *link_last;

	if (path_of(&e->link, link, err) < 0)
		return -1;
	if (!*link)
		return error_set(err, ERR_INVALID, "a hard link to the directory itself");
	if (tree_parent(a->root_fd, link, false, &to, &link_last, err) < 0)
		return -1;
	if (linkat(to, link_last, parent, last, 0) < 0)
		return error_set_errno(err, errno, "link \"%.200s\"", link);
	return 0;
}

static mode_t node_type(Skein__MoveType type)
{
	switch (type) {
	case SKEIN__MOVE_TYPE__MOVE_FIFO:
		return S_IFIFO;
	case SKEIN__MOVE_TYPE__MOVE_SOCKET:
		return S_IFSOCK;
	case SKEIN__MOVE_TYPE__MOVE_CHARACTER:
		return S_IFCHR;
	case SKEIN__MOVE_TYPE__MOVE_BLOCK_DEVICE:
		return S_IFBLK;
	default:
		return 0;
	}
}

static int make_link(const Skein__MoveEntry *e, int parent, const char *last, struct error *err)
{
	char link[PATH_MAX];

	if (e->link.len == 0 || e->link.len >= sizeof(link) || memchr(e->link.data, '\0', e->link.len))
		return error_set(err, ERR_INVALID, "a symbolic link of %zu bytes, accepted are 1 to %zu without a zero", e->link.len,
				 sizeof(link) - 1);
	memcpy(link, e->link.data, e->link.len);
	link[e->link.len] = '\0';
	return symlinkat(link, parent, last) < 0 ? error_set_errno(err, errno, "make a symbolic link") : 0;
}

static int make_special(const Skein__MoveEntry *e, int parent, const char *last, struct error *err)
{
	bool is_link = e->type == SKEIN__MOVE_TYPE__MOVE_SYMLINK;
	struct tree_meta meta = meta_of(e);
	_cleanup_free_ char *path = NULL;
	mode_t type = node_type(e->type);

	if (!is_link && !type)
		return error_set(err, ERR_INVALID, "an entry of type %d, accepted are %d to %d", (int)e->type,
				 (int)SKEIN__MOVE_TYPE__MOVE_REGULAR, (int)SKEIN__MOVE_TYPE__MOVE_GONE);
	if (tree_clear(parent, last, err) < 0)
		return -1;
	if (is_link && make_link(e, parent, last, err) < 0)
		return -1;
	if (!is_link && mknodat(parent, last, type | 0600, (dev_t)e->rdev) < 0)
		return error_set_errno(err, errno, "make a special file");
	if (tree_set_meta(parent, last, is_link, &meta, err) < 0)
		return -1;
	path = xasprintf("/proc/self/fd/%d/%s", parent, last);
	return attributes_write_path(path, e, err);
}

/* ---------------------------------------------------------------- entries */

static int remove_entry(struct apply *a, const char *path, struct error *err)
{
	_cleanup_close_ int parent = -1, there = snapshot_open(a->root_fd, path, O_PATH);
	const char *last;

	if (there < 0 && errno == ENOENT)
		return 0;
	if (tree_parent(a->root_fd, path, false, &parent, &last, err) < 0)
		return -1;
	return tree_clear(parent, last, err);
}

static int apply_entry(struct apply *a, const Skein__MoveEntry *e, struct error *err)
{
	_cleanup_close_ int parent = -1;
	char path[TREE_PATH_MAX];
	const char *last;

	if (++a->entries > APPLY_MAX_ENTRIES)
		return error_set(err, ERR_EXHAUSTED, "more than %llu entries", (unsigned long long)APPLY_MAX_ENTRIES);
	if (path_of(&e->path, path, err) < 0)
		return -1;
	if (a->fd >= 0) {
		if (!e->part || strcmp(path, a->path) != 0)
			return error_set(err, ERR_INVALID, "\"%.200s\" is not whole, and another entry comes", a->path);
		return take_content(a, e, err);
	}
	if (e->part)
		return error_set(err, ERR_INVALID, "a part of a file that has not begun");
	if (e->type == SKEIN__MOVE_TYPE__MOVE_DIRECTORY)
		return make_directory(a, e, path, err);
	if (!*path)
		return error_set(err, ERR_INVALID, "an entry that is no directory has no path");
	if (e->type == SKEIN__MOVE_TYPE__MOVE_GONE)
		return remove_entry(a, path, err);
	if (tree_parent(a->root_fd, path, true, &parent, &last, err) < 0)
		return -1;
	switch (e->type) {
	case SKEIN__MOVE_TYPE__MOVE_REGULAR:
		return begin_file(a, e, path, parent, last, err) < 0 ? -1 : take_content(a, e, err);
	case SKEIN__MOVE_TYPE__MOVE_HARDLINK:
		return tree_clear(parent, last, err) < 0 ? -1 : make_hardlink(a, e, parent, last, err);
	default:
		return make_special(e, parent, last, err);
	}
}

int apply_block(struct apply *a, const void *data, size_t len, struct error *err)
{
	Skein__MoveEntries *block;
	int r = 0;

	block = (Skein__MoveEntries *)protobuf_c_message_unpack(&skein__move_entries__descriptor, NULL, len, data);
	if (!block)
		return error_set(err, ERR_INVALID, "a block of %zu bytes is no list of entries", len);
	digest_sum_add(a->sum, data, len);
	for (size_t i = 0; i < block->n_entries && r == 0; i++)
		r = apply_entry(a, block->entries[i], err);
	pb_free(block);
	return r;
}

int apply_end(struct apply *a, const char *digest, struct error *err)
{
	char mine[DIGEST_MAX];

	if (a->fd >= 0)
		return error_set(err, ERR_DATA_LOSS, "\"%.200s\" is not whole", a->path);
	digest_sum_end(a->sum, mine);
	if (strcmp(mine, digest) != 0)
		return error_set(err, ERR_DATA_LOSS, "what came has the digest %s, what was sent %.100s", mine, digest);
	return 0;
}

uint64_t apply_bytes(const struct apply *a)
{
	return a->bytes;
}

void apply_free(struct apply *a)
{
	if (!a)
		return;
	mem_closep(&a->fd);
	mem_closep(&a->root_fd);
	pb_free(a->first);
	digest_sum_free(a->sum);
	free(a);
}
