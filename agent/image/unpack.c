#include "agent/image/unpack.h"

#include "agent/image/space.h"
#include "agent/image/tree.h"
#include "common/digest.h"
#include "common/error.h"
#include "common/mem.h"
#include "common/str.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#define READ_BYTES (128u << 10)
#define SPACE_CHECK_BYTES (8 << 20) /* look at the free space again after so much */
#define SPACE_CHECK_ENTRIES 256
#define OVERHEAD_BYTES (64ll << 20) /* of a tar beyond its files: headers, padding */
#define OVERHEAD_ENTRY_BYTES (64ll << 10)
#define MAX_DIR_BYTES                                                                              \
	(256ull << 20)	       /* names and times of directories that are kept until the end */
#define MAX_XATTR_BYTES 65536u /* the kernel's bound */

#define WHITEOUT ".wh."
#define WHITEOUT_META ".wh..wh."
#define WHITEOUT_OPAQUE ".wh..wh..opq"
#define OPAQUE_XATTR "trusted.overlay.opaque"

/* A directory whose times and mode are set when nothing will be made in it any more. */
struct late_dir {
	char *name;
	struct tree_meta meta;
};

struct unpack {
	const struct unpack_options *o;
	int blob_fd, root_fd;
	struct archive *outer; /* blob -> tar: decompresses */
	struct archive *inner; /* tar -> entries */
	struct digest_sum *blob_sum, *tar_sum;
	char *in, *out; /* buffers of the two stages */
	int64_t tar_bytes, file_bytes, unchecked_bytes;
	uint64_t entries;
	bool blob_end;
	struct late_dir *dirs;
	size_t n_dirs, cap_dirs;
	uint64_t dir_bytes;
	struct error err; /* first error of a stage; libarchive only tells that there was one */
};

/* ---------------------------------------------------------------- stages */

static int check_cancel(struct unpack *u)
{
	if (u->o->cancel && atomic_load_explicit(u->o->cancel, memory_order_relaxed))
		return error_set(&u->err, ERR_CANCELLED, "cancelled");
	return 0;
}

/* Stage 1: bytes of the blob. */
static la_ssize_t on_read_blob(struct archive *a, void *data, const void **ret)
{
	struct unpack *u = data;
	ssize_t n;

	if (check_cancel(u) < 0)
		return -1;
	do
		n = read(u->blob_fd, u->in, READ_BYTES);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return error_set_errno(&u->err, errno, "read %s", u->o->blob_path);
	u->blob_end = n == 0;
	digest_sum_add(u->blob_sum, u->in, (size_t)n);
	*ret = u->in;
	return n;
}

/* What the decompressor says; an error of stage 1 is told instead. */
static int outer_error(struct unpack *u)
{
	const char *text = archive_error_string(u->outer);

	if (!error_is_set(&u->err))
		error_set(&u->err, ERR_DATA_LOSS, "compressed data is damaged: %s",
			  text ? text : "?");
	return -1;
}

/* Stage 2: bytes of the tar. */
static la_ssize_t on_read_tar(struct archive *a, void *data, const void **ret)
{
	struct unpack *u = data;
	la_ssize_t n;

	if (check_cancel(u) < 0)
		return -1;
	n = archive_read_data(u->outer, u->out, READ_BYTES);
	if (n < 0)
		return outer_error(u);
	digest_sum_add(u->tar_sum, u->out, (size_t)n);
	u->tar_bytes += n;
	/* What is no content of files takes no disk, so nothing else would ever stop it. */
	if (u->o->root && u->tar_bytes - u->file_bytes >
				  OVERHEAD_BYTES + (int64_t)u->entries * OVERHEAD_ENTRY_BYTES)
		return error_set(&u->err, ERR_DATA_LOSS,
				 "tar has more than %lld bytes that belong to no file",
				 OVERHEAD_BYTES);
	*ret = u->out;
	return n;
}

static int open_outer(struct unpack *u)
{
	struct archive_entry *entry;

	u->outer = archive_read_new();
	if (!u->outer)
		abort();
	if (archive_read_support_filter_gzip(u->outer) != ARCHIVE_OK ||
	    archive_read_support_filter_zstd(u->outer) != ARCHIVE_OK ||
	    archive_read_support_format_raw(u->outer) != ARCHIVE_OK ||
	    archive_read_open(u->outer, u, NULL, on_read_blob, NULL) != ARCHIVE_OK ||
	    archive_read_next_header(u->outer, &entry) != ARCHIVE_OK)
		return outer_error(u);
	return 0;
}

static int inner_error(struct unpack *u)
{
	const char *text = archive_error_string(u->inner);

	if (!error_is_set(&u->err))
		error_set(&u->err, ERR_DATA_LOSS, "tar is damaged: %s", text ? text : "?");
	return -1;
}

static int open_inner(struct unpack *u)
{
	u->inner = archive_read_new();
	if (!u->inner)
		abort();
	if (archive_read_support_format_tar(u->inner) != ARCHIVE_OK ||
	    archive_read_open(u->inner, u, NULL, on_read_tar, NULL) != ARCHIVE_OK)
		return inner_error(u);
	return 0;
}

/* Behind the end of the archive: the digests cover these bytes as well. */
static int drain_tar(struct unpack *u)
{
	const void *p;
	la_ssize_t n;

	while ((n = on_read_tar(NULL, u, &p)) > 0)
		;
	return n < 0 ? -1 : 0;
}

static int drain_blob(struct unpack *u)
{
	const void *p;

	while (!u->blob_end)
		if (on_read_blob(NULL, u, &p) < 0)
			return -1;
	return 0;
}

/* ---------------------------------------------------------------- space */

static int account(struct unpack *u, int64_t bytes)
{
	u->file_bytes += bytes;
	u->unchecked_bytes += bytes;
	if (u->o->max_bytes && u->file_bytes > u->o->max_bytes)
		return error_set(&u->err, ERR_EXHAUSTED, "layer unpacks to more than %lld bytes",
				 (long long)u->o->max_bytes);
	if (u->unchecked_bytes < SPACE_CHECK_BYTES)
		return 0;
	u->unchecked_bytes = 0;
	return space_check(u->root_fd, SPACE_CHECK_BYTES, &u->err);
}

/* ---------------------------------------------------------------- attributes */

/* What a layer may set. Others describe the host that made it, or would steer our overlayfs. */
static bool xattr_wanted(const char *name)
{
	return str_eq(name, "security.capability") || str_starts(name, "user.") ||
	       str_eq(name, "system.posix_acl_access") || str_eq(name, "system.posix_acl_default");
}

static int set_xattrs(struct unpack *u, int fd, struct archive_entry *entry)
{
	const char *name;
	const void *value;
	size_t size;

	archive_entry_xattr_reset(entry);
	while (archive_entry_xattr_next(entry, &name, &value, &size) == ARCHIVE_OK) {
		if (!name || !xattr_wanted(name))
			continue;
		if (size > MAX_XATTR_BYTES)
			return error_set(&u->err, ERR_DATA_LOSS, "attribute %.64s has %zu bytes",
					 name, size);
		if (fsetxattr(fd, name, value, size, 0) < 0 && errno != ENOTSUP)
			return error_set_errno(&u->err, errno, "set attribute %.64s", name);
	}
	return 0;
}

static int get_meta(struct unpack *u, struct archive_entry *entry, struct tree_meta *ret)
{
	la_int64_t uid = archive_entry_uid(entry), gid = archive_entry_gid(entry);

	/* -1 would mean "leave it". */
	if (uid < 0 || uid >= UINT32_MAX || gid < 0 || gid >= UINT32_MAX)
		return error_set(&u->err, ERR_DATA_LOSS, "owner %lld:%lld is out of range",
				 (long long)uid, (long long)gid);
	*ret = (struct tree_meta){
		.mode = archive_entry_perm(entry) & 07777,
		.uid = (uid_t)uid,
		.gid = (gid_t)gid,
		.mtime = {.tv_sec = archive_entry_mtime(entry),
			  .tv_nsec = archive_entry_mtime_nsec(entry)},
	};
	return 0;
}

/* ---------------------------------------------------------------- whiteouts */

static int set_opaque(struct unpack *u, int dir_fd)
{
	if (fsetxattr(dir_fd, OPAQUE_XATTR, "y", 1, 0) < 0)
		return error_set_errno(&u->err, errno, "set %s", OPAQUE_XATTR);
	return 0;
}

static bool is_whiteout(int parent_fd, const char *last)
{
	struct stat st;

	return fstatat(parent_fd, last, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISCHR(st.st_mode) &&
	       st.st_rdev == makedev(0, 0);
}

/*
 * A whiteout hides what lower layers have. What this layer itself has at the name stays, wherever
 * in the archive it stands; a directory becomes opaque then.
 */
static int make_whiteout(struct unpack *u, int parent_fd, const char *hidden)
{
	_cleanup_close_ int dir_fd = -1;

	if (!*hidden || str_eq(hidden, ".") || str_eq(hidden, ".."))
		return error_set(&u->err, ERR_DATA_LOSS, "whiteout of \"%s\"", hidden);
	if (mknodat(parent_fd, hidden, S_IFCHR | 0600, makedev(0, 0)) == 0)
		return 0;
	if (errno == EPERM)
		return error_set(&u->err, ERR_PRECONDITION,
				 "cannot make a whiteout: images must lie on a file system that "
				 "holds device "
				 "nodes, and not on overlayfs");
	if (errno != EEXIST)
		return error_set_errno(&u->err, errno, "make whiteout of \"%.100s\"", hidden);
	dir_fd = openat(parent_fd, hidden, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return dir_fd < 0 ? 0 : set_opaque(u, dir_fd);
}

/* Returns 1 when the entry was a whiteout (or other aufs metadata) and is done. */
static int handle_whiteout(struct unpack *u, const char *name)
{
	_cleanup_close_ int fd = -1;
	const char *last = strrchr(name, '/');
	char dir[TREE_PATH_MAX];

	last = last ? last + 1 : name;
	if (str_eq(last, WHITEOUT_OPAQUE)) {
		if (tree_parent(u->root_fd, name, true, &fd, &last, &u->err) < 0)
			return -1;
		close(TAKE_FD(fd));
		snprintf(dir, sizeof(dir), "%.*s", last > name ? (int)(last - name - 1) : 0, name);
		if (tree_directory(u->root_fd, dir, &fd, &u->err) < 0)
			return -1;
		return set_opaque(u, fd) < 0 ? -1 : 1;
	}
	if (str_starts(name, WHITEOUT_META) || strstr(name, "/" WHITEOUT_META))
		return 1;
	if (!str_starts(last, WHITEOUT))
		return 0;
	if (tree_parent(u->root_fd, name, true, &fd, &last, &u->err) < 0)
		return -1;
	return make_whiteout(u, fd, last + strlen(WHITEOUT)) < 0 ? -1 : 1;
}

/* ---------------------------------------------------------------- entries */

static int remember_dir(struct unpack *u, const char *name, const struct tree_meta *meta)
{
	u->dir_bytes += sizeof(*u->dirs) + strlen(name) + 32;
	if (u->dir_bytes > MAX_DIR_BYTES)
		return error_set(&u->err, ERR_EXHAUSTED, "layer has too many directories");
	if (u->n_dirs == u->cap_dirs) {
		u->cap_dirs = u->cap_dirs ? u->cap_dirs * 2 : 64;
		u->dirs = xreallocarray(u->dirs, u->cap_dirs, sizeof(*u->dirs));
	}
	u->dirs[u->n_dirs++] = (struct late_dir){.name = xstrdup(name), .meta = *meta};
	return 0;
}

static int make_dir(struct unpack *u, const char *name, struct archive_entry *entry,
		    const struct tree_meta *meta)
{
	_cleanup_close_ int parent = -1, fd = -1;
	bool hides = false;
	struct stat st;
	const char *last;

	if (*name) {
		if (tree_parent(u->root_fd, name, true, &parent, &last, &u->err) < 0)
			return -1;
		hides = is_whiteout(parent, last);
		if (fstatat(parent, last, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISDIR(st.st_mode)) {
			if (tree_clear(parent, last, &u->err) < 0)
				return -1;
			if (mkdirat(parent, last, 0755) < 0)
				return error_set_errno(&u->err, errno, "make directory");
		}
	}
	if (tree_directory(u->root_fd, name, &fd, &u->err) < 0 || set_xattrs(u, fd, entry) < 0 ||
	    (hides && set_opaque(u, fd) < 0))
		return -1;
	return remember_dir(u, name, meta);
}

static int write_at(struct unpack *u, int fd, const char *data, size_t len, off_t off)
{
	if (account(u, (int64_t)len) < 0)
		return -1;
	while (len) {
		ssize_t n = pwrite(fd, data, len, off);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return error_set_errno(&u->err, errno, "write");
		data += n;
		off += n;
		len -= (size_t)n;
	}
	return 0;
}

/* Holes of a sparse file stay holes. */
static int write_content(struct unpack *u, int fd, struct archive_entry *entry)
{
	const void *data;
	size_t len;
	la_int64_t off;
	int r;

	while ((r = archive_read_data_block(u->inner, &data, &len, &off)) == ARCHIVE_OK) {
		if (off < 0 || (len && write_at(u, fd, data, len, off) < 0))
			return -1;
	}
	if (r != ARCHIVE_EOF)
		return inner_error(u);
	if (ftruncate(fd, archive_entry_size(entry)) < 0)
		return error_set(&u->err, ERR_DATA_LOSS, "file of %lld bytes: %s",
				 (long long)archive_entry_size(entry), strerrordesc_np(errno));
	return 0;
}

static int make_file(struct unpack *u, int parent, const char *last, struct archive_entry *entry,
		     const struct tree_meta *meta)
{
	_cleanup_close_ int fd =
		openat(parent, last, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);

	if (fd < 0)
		return error_set_errno(&u->err, errno, "create");
	if (write_content(u, fd, entry) < 0)
		return -1;
	/* Attributes last: a change of the owner drops security.capability. */
	if (tree_set_meta_fd(fd, last, meta, &u->err) < 0)
		return -1;
	return set_xattrs(u, fd, entry);
}

static int make_hardlink(struct unpack *u, int parent, const char *last, const char *target)
{
	_cleanup_close_ int fd = -1;
	char name[TREE_PATH_MAX];
	const char *target_last;

	if (tree_name(target, name, &u->err) < 0)
		return error_wrap(&u->err, "target of hard link");
	if (!*name)
		return error_set(&u->err, ERR_DATA_LOSS, "hard link to the root");
	if (tree_parent(u->root_fd, name, false, &fd, &target_last, &u->err) < 0)
		return error_wrap(&u->err, "target of hard link");
	if (linkat(fd, target_last, parent, last, 0) < 0)
		return error_set(&u->err, errno == ENOSPC ? ERR_EXHAUSTED : ERR_DATA_LOSS,
				 "hard link to \"%.200s\": %s", name, strerrordesc_np(errno));
	return 0;
}

static int make_other(struct unpack *u, int parent, const char *last, struct archive_entry *entry,
		      const struct tree_meta *meta)
{
	mode_t type = archive_entry_filetype(entry);
	const char *target = archive_entry_symlink(entry);

	switch (type) {
	case AE_IFLNK:
		if (!target || !*target)
			return error_set(&u->err, ERR_DATA_LOSS, "symbolic link without target");
		if (symlinkat(target, parent, last) < 0)
			return error_set_errno(&u->err, errno, "make symbolic link");
		break;
	case AE_IFCHR:
	case AE_IFBLK:
	case AE_IFIFO:
		if (mknodat(parent, last, type | 0600,
			    type == AE_IFIFO ? 0 : archive_entry_rdev(entry)) < 0)
			return error_set_errno(&u->err, errno, "make device node");
		break;
	default:
		return error_set(&u->err, ERR_DATA_LOSS, "has unknown type %o", (unsigned)type);
	}
	return tree_set_meta(parent, last, type == AE_IFLNK, meta, &u->err);
}

static int make_entry(struct unpack *u, const char *name, struct archive_entry *entry)
{
	_cleanup_close_ int parent = -1;
	const char *hardlink = archive_entry_hardlink(entry);
	struct tree_meta meta;
	const char *last;
	int r = handle_whiteout(u, name);

	if (r)
		return r < 0 ? -1 : 0;
	if (get_meta(u, entry, &meta) < 0)
		return -1;
	if (!hardlink && archive_entry_filetype(entry) == AE_IFDIR)
		return make_dir(u, name, entry, &meta);
	if (!*name)
		return error_set(&u->err, ERR_DATA_LOSS, "the root is no directory");
	if (tree_parent(u->root_fd, name, true, &parent, &last, &u->err) < 0)
		return -1;
	if (hardlink && str_eq(hardlink, archive_entry_pathname(entry)))
		return 0;
	if (tree_clear(parent, last, &u->err) < 0)
		return -1;
	if (hardlink)
		return make_hardlink(u, parent, last, hardlink);
	if (archive_entry_filetype(entry) == AE_IFREG)
		return make_file(u, parent, last, entry, &meta);
	return make_other(u, parent, last, entry, &meta);
}

/* In the C locale names in pax headers stay the bytes they are; libarchive then warns that it
 * cannot convert them. Every other warning means that something of the entry would be lost. */
static bool warning_is_harmless(struct unpack *u)
{
	const char *text = archive_error_string(u->inner);

	return text && strstr(text, "can't be converted from");
}

static int unpack_entries(struct unpack *u)
{
	uint64_t max = u->o->max_entries ? u->o->max_entries : UNPACK_MAX_ENTRIES;
	struct archive_entry *entry;
	int r;

	while ((r = archive_read_next_header(u->inner, &entry)) != ARCHIVE_EOF) {
		const char *raw;
		char name[TREE_PATH_MAX];

		if (r != ARCHIVE_OK && !(r == ARCHIVE_WARN && warning_is_harmless(u)))
			return inner_error(u);
		if (++u->entries > max)
			return error_set(&u->err, ERR_EXHAUSTED, "layer has more than %llu entries",
					 (unsigned long long)max);
		if (u->entries % SPACE_CHECK_ENTRIES == 0 &&
		    space_check(u->root_fd, 0, &u->err) < 0)
			return -1;
		raw = archive_entry_pathname(entry);
		if (!raw)
			return error_set(&u->err, ERR_DATA_LOSS, "entry without name");
		if (tree_name(raw, name, &u->err) < 0)
			return -1;
		if (make_entry(u, name, entry) < 0)
			return error_wrap(&u->err, "entry \"%.200s\"", name);
	}
	return 0;
}

/* In the archive's order: of a directory that is listed twice the last one counts. */
static int finish_dirs(struct unpack *u)
{
	for (size_t i = 0; i < u->n_dirs; i++) {
		_cleanup_close_ int fd = -1;
		struct error gone = ERROR_INIT;

		/* A later entry may have replaced it. */
		if (tree_directory(u->root_fd, u->dirs[i].name, &fd, &gone) < 0)
			continue;
		if (tree_set_meta_fd(fd, u->dirs[i].name, &u->dirs[i].meta, &u->err) < 0)
			return -1;
	}
	return 0;
}

/* ---------------------------------------------------------------- the whole */

static int check_digests(struct unpack *u)
{
	char blob[DIGEST_MAX], tar[DIGEST_MAX];

	digest_sum_end(u->blob_sum, blob);
	digest_sum_end(u->tar_sum, tar);
	/* Whatever else is wrong follows from damaged bytes. */
	if (u->o->blob_digest && !str_eq(blob, u->o->blob_digest))
		return error_set(&u->err, ERR_DATA_LOSS, "content is corrupt: its digest is %s",
				 blob);
	if (error_is_set(&u->err))
		return -1;
	if (u->o->diff_id && !str_eq(tar, u->o->diff_id))
		return error_set(&u->err, ERR_DATA_LOSS,
				 "unpacked content has digest %s, the config says %s", tar,
				 u->o->diff_id);
	return 0;
}

static int run(struct unpack *u)
{
	int r = open_outer(u);

	if (r == 0 && u->o->root)
		r = open_inner(u);
	if (r == 0 && u->o->root)
		r = unpack_entries(u);
	if (r == 0)
		r = drain_tar(u);
	if (r == 0 && u->o->root)
		r = finish_dirs(u);
	/* Damage shall be told as damage: see the rest of the bytes, unless it is something else
	 * that failed. */
	if (r == 0 || u->err.code == ERR_DATA_LOSS) {
		if (drain_blob(u) < 0)
			return -1;
		return check_digests(u);
	}
	return -1;
}

static void unpack_fini(struct unpack *u)
{
	if (u->inner)
		archive_read_free(u->inner);
	if (u->outer)
		archive_read_free(u->outer);
	for (size_t i = 0; i < u->n_dirs; i++)
		free(u->dirs[i].name);
	free(u->dirs);
	free(u->in);
	free(u->out);
	digest_sum_free(u->blob_sum);
	digest_sum_free(u->tar_sum);
	mem_closep(&u->blob_fd);
	mem_closep(&u->root_fd);
}

int unpack_layer(const struct unpack_options *o, struct error *err)
{
	struct unpack u = {.o = o, .blob_fd = -1, .root_fd = -1};
	locale_t c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
	locale_t before = uselocale(c_locale);
	int r = -1;

	u.blob_sum = digest_sum_new();
	u.tar_sum = digest_sum_new();
	u.in = xmalloc(READ_BYTES);
	u.out = xmalloc(READ_BYTES);
	u.blob_fd = open(o->blob_path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (o->root)
		u.root_fd = open(o->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (u.blob_fd < 0)
		error_set_errno(&u.err, errno, "open %s", o->blob_path);
	else if (o->root && u.root_fd < 0)
		error_set_errno(&u.err, errno, "open %s", o->root);
	else
		r = run(&u);
	if (r < 0 && err)
		*err = u.err;
	unpack_fini(&u);
	uselocale(before);
	freelocale(c_locale);
	return r;
}
