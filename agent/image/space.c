#include "agent/image/space.h"

#include "common/error.h"
#include "common/mem.h"
#include "common/str.h"

#include <errno.h>
#include <sys/statvfs.h>

#define MARGIN_MAX_BYTES (INT64_C(256) << 20)

static int check(const struct statvfs *v, int64_t bytes, struct error *err)
{
	int64_t free_bytes = (int64_t)(v->f_bavail * v->f_frsize);
	int64_t margin = MIN((int64_t)(v->f_blocks * v->f_frsize) / 20, MARGIN_MAX_BYTES);
	char has[STR_HUMAN_MAX], needs[STR_HUMAN_MAX], keeps[STR_HUMAN_MAX];

	if (bytes > free_bytes - margin)
		return error_set(err, ERR_EXHAUSTED,
				 "disk full: %s free, %s needed and %s kept free",
				 str_bytes_human(free_bytes, has), str_bytes_human(bytes, needs),
				 str_bytes_human(margin, keeps));
	/* Some file systems have no fixed number of inodes and report none. */
	if (v->f_files && v->f_favail < v->f_files / 100)
		return error_set(err, ERR_EXHAUSTED, "disk full: %llu of %llu inodes free",
				 (unsigned long long)v->f_favail, (unsigned long long)v->f_files);
	return 0;
}

int space_check(int dir_fd, int64_t bytes, struct error *err)
{
	struct statvfs v;

	if (fstatvfs(dir_fd, &v) < 0)
		return error_set_errno(err, errno, "ask for free space");
	return check(&v, bytes, err);
}

int space_check_path(const char *path, int64_t bytes, struct error *err)
{
	struct statvfs v;

	if (statvfs(path, &v) < 0)
		return error_set_errno(err, errno, "ask for free space of %s", path);
	return check(&v, bytes, err);
}
