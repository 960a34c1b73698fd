/*
 * cgroup_reader - the files of one container's group, held open and read again with pread(2).
 *
 * Reading blocks: the kernel adds up per-CPU counters, and waits for its own locks. Any thread, one at a time (the uv
 * pool, while a scrape is collected). An open file keeps a removed group's memory: close it soon behind its container.
 */
#pragma once
#include "agent/exec/cgroup.h"
#include "cgroup_parse.h"

struct cgroup_reader {
	const struct usage_file *files;
	int fds[USAGE_FILES_MAX]; /* -1 = the kernel has no such file */
	bool open;
};

/*
 * Open what is there. root: where the file system is ("/sys/fs/cgroup"); path: "/skein/<task id>".
 * False: nothing is there (yet).
 */
bool cgroup_reader_open(struct cgroup_reader *r, enum cgroup_mode mode, const char *root, const char *path);
void cgroup_reader_close(struct cgroup_reader *r);
/* False: the group is gone. */
bool cgroup_reader_read(const struct cgroup_reader *r, struct usage *ret);
