#include "agent/image/imagefile.h"

#include "agent/image/space.h"
#include "agent/image/tree.h"
#include "common/error.h"
#include "common/mem.h"
#include "common/str.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define READ_BYTES (128u << 10)
#define MAX_ENTRIES 100000u
#define SPACE_CHECK_BYTES (8 << 20)
#define BLOB_PREFIX "blobs/sha256/"

struct reader {
	struct archive *a;
	const atomic_bool *cancel;
	unsigned entries;
};

static void reader_fini(struct reader *r)
{
	if (r->a)
		archive_read_free(r->a);
}

static int reader_error(struct reader *r, struct error *err)
{
	const char *text = archive_error_string(r->a);

	return error_set(err, ERR_DATA_LOSS, "archive is damaged or not a tar: %s",
			 text ? text : "?");
}

static int reader_open(struct reader *r, const char *path, const atomic_bool *cancel,
		       struct error *err)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return error_set_errno(err, errno, "open %s", path);
	r->cancel = cancel;
	r->a = archive_read_new();
	if (!r->a)
		abort();
	if (archive_read_support_filter_gzip(r->a) != ARCHIVE_OK ||
	    archive_read_support_filter_zstd(r->a) != ARCHIVE_OK ||
	    archive_read_support_filter_bzip2(r->a) != ARCHIVE_OK ||
	    archive_read_support_filter_xz(r->a) != ARCHIVE_OK ||
	    archive_read_support_format_tar(r->a) != ARCHIVE_OK ||
	    archive_read_open_filename(r->a, path, READ_BYTES) != ARCHIVE_OK)
		return reader_error(r, err);
	return 0;
}

/* The next regular file, by its tidied name. 1 = there is one, 0 = end. */
static int reader_next(struct reader *r, char name[static TREE_PATH_MAX], struct error *err)
{
	struct archive_entry *entry;
	int rc;

	while ((rc = archive_read_next_header(r->a, &entry)) != ARCHIVE_EOF) {
		const char *raw;

		if (rc != ARCHIVE_OK && rc != ARCHIVE_WARN)
			return reader_error(r, err);
		if (r->cancel && atomic_load(r->cancel))
			return error_set(err, ERR_CANCELLED, "cancelled");
		if (++r->entries > MAX_ENTRIES)
			return error_set(err, ERR_EXHAUSTED, "archive has more than %u entries",
					 MAX_ENTRIES);
		raw = archive_entry_pathname(entry);
		if (!raw || archive_entry_hardlink(entry) ||
		    archive_entry_filetype(entry) != AE_IFREG)
			continue;
		if (tree_name(raw, name, err) < 0)
			return -1;
		return 1;
	}
	return 0;
}

/* A JSON document of the archive. */
static int read_document(struct reader *r, const char *name, char **ret, size_t *ret_len,
			 struct error *err)
{
	_cleanup_strbuf_ struct strbuf b = {0};
	_cleanup_free_ char *buf = xmalloc(READ_BYTES);
	la_ssize_t n;

	while ((n = archive_read_data(r->a, buf, READ_BYTES)) > 0) {
		strbuf_add(&b, buf, (size_t)n);
		if (b.len > MANIFEST_MAX_BYTES)
			return error_set(err, ERR_EXHAUSTED, "%s is longer than %u bytes", name,
					 MANIFEST_MAX_BYTES);
	}
	if (n < 0)
		return reader_error(r, err);
	*ret_len = b.len;
	*ret = strbuf_take(&b);
	return 0;
}

int imagefile_inspect(const char *path, const atomic_bool *cancel, enum imagefile_kind *ret_kind,
		      struct repo_tags **ret_tags, struct error *err)
{
	_cleanup_(reader_fini) struct reader r = {0};
	_cleanup_free_ char *tags = NULL;
	bool layout = false, oci_index = false;
	char name[TREE_PATH_MAX];
	size_t tags_len = 0;
	int rc;

	if (reader_open(&r, path, cancel, err) < 0)
		return -1;
	while ((rc = reader_next(&r, name, err)) > 0) {
		layout |= str_eq(name, "oci-layout");
		oci_index |= str_eq(name, "index.json");
		if (!str_eq(name, "manifest.json") || tags)
			continue;
		if (read_document(&r, name, &tags, &tags_len, err) < 0)
			return -1;
	}
	if (rc < 0)
		return -1;
	if (layout && oci_index) {
		*ret_kind = IMAGEFILE_OCI;
		return 0;
	}
	if (!tags)
		return error_set(err, ERR_DATA_LOSS,
				 "neither a docker-archive (no manifest.json) nor an OCI archive "
				 "(no oci-layout "
				 "and index.json)");
	*ret_kind = IMAGEFILE_DOCKER;
	*ret_tags = repo_tags_parse(tags, tags_len, err);
	return *ret_tags ? 0 : -1;
}

int imagefile_document(const char *path, const char *name, const atomic_bool *cancel, char **ret, size_t *ret_len,
		       struct error *err)
{
	_cleanup_(reader_fini) struct reader r = {0};
	char found[TREE_PATH_MAX];
	int rc;

	if (reader_open(&r, path, cancel, err) < 0)
		return -1;
	while ((rc = reader_next(&r, found, err)) > 0)
		if (str_eq(found, name))
			return read_document(&r, name, ret, ret_len, err);
	return rc < 0 ? -1 : error_set(err, ERR_NOT_FOUND, "the archive has no %.200s", name);
}

static int write_all(int fd, const char *data, size_t len, struct error *err)
{
	while (len) {
		ssize_t n = write(fd, data, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return error_set_errno(err, errno, "write");
		data += n;
		len -= (size_t)n;
	}
	return 0;
}

static int copy_blob(struct reader *r, int fd, const char *hex, struct error *err)
{
	_cleanup_(digest_sum_freep) struct digest_sum *sum = digest_sum_new();
	_cleanup_free_ char *buf = xmalloc(READ_BYTES);
	int64_t unchecked_bytes = SPACE_CHECK_BYTES;
	char digest[DIGEST_MAX];
	la_ssize_t n;

	while ((n = archive_read_data(r->a, buf, READ_BYTES)) > 0) {
		if (r->cancel && atomic_load(r->cancel))
			return error_set(err, ERR_CANCELLED, "cancelled");
		unchecked_bytes += n;
		if (unchecked_bytes > SPACE_CHECK_BYTES &&
		    space_check(fd, SPACE_CHECK_BYTES, err) < 0)
			return -1;
		if (unchecked_bytes > SPACE_CHECK_BYTES)
			unchecked_bytes = 0;
		digest_sum_add(sum, buf, (size_t)n);
		if (write_all(fd, buf, (size_t)n, err) < 0)
			return -1;
	}
	if (n < 0)
		return reader_error(r, err);
	digest_sum_end(sum, digest);
	if (!str_eq(digest_hex(digest), hex))
		return error_set(err, ERR_DATA_LOSS, "blob is corrupt: its digest is %s", digest);
	return 0;
}

static int extract_one(struct reader *r, int dir_fd, const char *name, struct error *err)
{
	_cleanup_close_ int fd = -1;
	const char *hex = name + strlen(BLOB_PREFIX);
	_cleanup_free_ char *json = NULL;
	size_t len;

	if (str_eq(name, "index.json")) {
		fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC,
			    0600);
		if (fd < 0)
			return error_set_errno(err, errno, "create %s", name);
		if (read_document(r, name, &json, &len, err) < 0)
			return -1;
		return write_all(fd, json, len, err);
	}
	if (!str_starts(name, BLOB_PREFIX) || strlen(hex) != DIGEST_HEX_LEN ||
	    strspn(hex, "0123456789abcdef") != DIGEST_HEX_LEN)
		return 0;
	fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0 && errno == EEXIST)
		return 0; /* twice in the archive: the first one was right */
	if (fd < 0)
		return error_set_errno(err, errno, "create %s", name);
	return copy_blob(r, fd, hex, err);
}

int imagefile_extract(const char *path, const char *dir, const atomic_bool *cancel,
		      struct error *err)
{
	_cleanup_(reader_fini) struct reader r = {0};
	_cleanup_close_ int dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char name[TREE_PATH_MAX];
	int rc;

	if (dir_fd < 0)
		return error_set_errno(err, errno, "open %s", dir);
	if ((mkdirat(dir_fd, "blobs", 0700) < 0 || mkdirat(dir_fd, "blobs/sha256", 0700) < 0) &&
	    errno != EEXIST)
		return error_set_errno(err, errno, "make directories in %s", dir);
	if (reader_open(&r, path, cancel, err) < 0)
		return -1;
	while ((rc = reader_next(&r, name, err)) > 0) {
		if (extract_one(&r, dir_fd, name, err) < 0)
			return error_wrap(err, "archive's %.200s", name);
	}
	return rc;
}
