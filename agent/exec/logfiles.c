#include "agent/exec/logfiles.h"

#include "common/error.h"
#include "common/mem.h"
#include "common/str.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* conmon's control fifo: type 2 reopens the log, the two numbers are of another type. */
#define REOPEN_LOGS "2 0 0\n"

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

void logfiles_list(const char *dir, struct logfiles *ret)
{
	DIR *d = opendir(dir);
	struct dirent *entry;
	uint64_t number;

	*ret = (struct logfiles){0};
	while (d && (entry = readdir(d))) {
		if (!str_starts(entry->d_name, "log.") ||
		    str_parse_u64(entry->d_name + 4, &number, NULL) < 0)
			continue; /* "log.tmp" is conmon's for a moment */
		ret->numbers = xreallocarray(ret->numbers, ret->n + 1, sizeof(*ret->numbers));
		ret->numbers[ret->n++] = number;
	}
	if (d)
		closedir(d);
	if (ret->n)
		qsort(ret->numbers, ret->n, sizeof(*ret->numbers), compare);
}

void logfiles_fini(struct logfiles *f)
{
	free(f->numbers);
	*f = (struct logfiles){0};
}

static void reopen(const char *bundle)
{
	_cleanup_free_ char *path = xasprintf("%s/ctl", bundle);
	_cleanup_close_ int fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);

	/* ENXIO: conmon has ended, nothing will be written any more. */
	if (fd >= 0 && write(fd, REOPEN_LOGS, strlen(REOPEN_LOGS)) < 0)
		return;
}

int logfiles_rotate(const char *bundle, unsigned max_files, struct error *err)
{
	_cleanup_free_ char *dir = xasprintf("%s/logs", bundle), *from = xasprintf("%s/log", dir),
			    *to = NULL;
	_cleanup_(logfiles_fini) struct logfiles files = {0};

	logfiles_list(dir, &files);
	to = xasprintf("%s/log.%" PRIu64, dir, files.n ? files.numbers[files.n - 1] + 1 : 1);
	if (rename(from, to) < 0)
		return errno == ENOENT ? 0 : error_set_errno(err, errno, "rotate %s", from);
	reopen(bundle);

	/* There are n + 1 rotated ones now, and one more file is being written. */
	for (size_t i = 0; files.n + 2 > max_files + i && i < files.n; i++) {
		_cleanup_free_ char *old = xasprintf("%s/log.%" PRIu64, dir, files.numbers[i]);

		unlink(old);
	}
	return 0;
}
