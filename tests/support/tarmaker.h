/* tarmaker - layers and archives for tests, written with libarchive. Failures abort the test. */
#pragma once
#include "common/digest.h"

#include <archive.h>
#include <archive_entry.h>
#include <assert.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct tarmaker {
	struct archive *a;
};

/* filter: ARCHIVE_FILTER_NONE, _GZIP, _ZSTD */
static inline void tarmaker_open(struct tarmaker *t, const char *path, int filter)
{
	t->a = archive_write_new();
	assert(archive_write_set_format_pax_restricted(t->a) == ARCHIVE_OK);
	assert(archive_write_add_filter(t->a, filter) == ARCHIVE_OK);
	/* The same content shall be the same bytes a second later. */
	if (filter == ARCHIVE_FILTER_GZIP)
		assert(archive_write_set_filter_option(t->a, "gzip", "timestamp", NULL) == ARCHIVE_OK);
	assert(archive_write_open_filename(t->a, path) == ARCHIVE_OK);
}

static inline void tarmaker_close(struct tarmaker *t)
{
	assert(archive_write_close(t->a) == ARCHIVE_OK);
	archive_write_free(t->a);
}

struct tar_entry {
	const char *name;
	unsigned type;           /* AE_IF...; 0 = regular file */
	unsigned mode;           /* 0 = 0644 */
	int64_t uid, gid, mtime;
	const void *data;        /* of a file */
	size_t len;              /* 0 = strlen(data) */
	const char *symlink, *hardlink;
	unsigned major, minor;
	const char *xattr;       /* name, value, length */
	const void *xattr_value;
	size_t xattr_len;
	int64_t sparse_size;     /* data stands at the end of a hole */
};

static inline void tarmaker_add(struct tarmaker *t, const struct tar_entry *e)
{
	struct archive_entry *ae = archive_entry_new();
	size_t len = e->len ? e->len : e->data ? strlen(e->data) : 0;

	archive_entry_set_pathname(ae, e->name);
	archive_entry_set_filetype(ae, e->type ? e->type : AE_IFREG);
	archive_entry_set_perm(ae, e->mode ? e->mode : 0644);
	archive_entry_set_uid(ae, e->uid);
	archive_entry_set_gid(ae, e->gid);
	archive_entry_set_mtime(ae, e->mtime, 0);
	archive_entry_set_size(ae, e->sparse_size ? e->sparse_size : (int64_t)len);
	if (e->symlink)
		archive_entry_set_symlink(ae, e->symlink);
	if (e->hardlink)
		archive_entry_set_hardlink(ae, e->hardlink);
	if (e->type == AE_IFCHR || e->type == AE_IFBLK) {
		archive_entry_set_rdevmajor(ae, e->major);
		archive_entry_set_rdevminor(ae, e->minor);
	}
	if (e->xattr)
		archive_entry_xattr_add_entry(ae, e->xattr, e->xattr_value, e->xattr_len);
	if (e->sparse_size)
		archive_entry_sparse_add_entry(ae, e->sparse_size - (int64_t)len, (int64_t)len);
	assert(archive_write_header(t->a, ae) == ARCHIVE_OK);
	if (e->sparse_size) {
		static const char zeros[65536];
		int64_t hole = e->sparse_size - (int64_t)len;

		for (int64_t at = 0; at < hole;) {
			size_t n = hole - at > (int64_t)sizeof(zeros) ? sizeof(zeros) : (size_t)(hole - at);

			assert(archive_write_data(t->a, zeros, n) == (la_ssize_t)n);
			at += (int64_t)n;
		}
	}
	if (len && !e->hardlink)
		assert(archive_write_data(t->a, e->data, len) == (la_ssize_t)len);
	archive_entry_free(ae);
}

#define tar_add(t, ...) tarmaker_add(t, &(struct tar_entry){__VA_ARGS__})

static inline void tar_add_file(struct tarmaker *t, const char *name, const char *path, unsigned mode)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	char *data;

	assert(fd >= 0 && fstat(fd, &st) == 0);
	data = malloc((size_t)st.st_size + 1);
	assert(data && read(fd, data, (size_t)st.st_size) == st.st_size);
	close(fd);
	tar_add(t, .name = name, .mode = mode, .data = data, .len = (size_t)st.st_size);
	free(data);
}

/* Digest of a file. */
static inline void file_digest(const char *path, char ret[static DIGEST_MAX])
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	assert(fd >= 0 && digest_of_fd(fd, ret, NULL, NULL) == 0);
	close(fd);
}
