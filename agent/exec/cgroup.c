#include "agent/exec/cgroup.h"

#include "common/error.h"
#include "common/file.h"
#include "common/mem.h"
#include "common/str.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <linux/magic.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/vfs.h>

#define CGROUP_ROOT "/sys/fs/cgroup"
#define KERNEL_FILE_MAX (256 * 1024)
#define PROC_STAT_MAX 4096
#define KILL_TRIES 50
#define KILL_WAIT_US 2000
#define DEPTH_MAX 8 /* of groups in groups */

static bool is_v2(const char *path)
{
	struct statfs fs;

	return statfs(path, &fs) == 0 && fs.f_type == CGROUP2_SUPER_MAGIC;
}

enum cgroup_mode cgroup_mode(void)
{
	if (is_v2(CGROUP_ROOT))
		return CGROUP_V2;
	return is_v2(CGROUP_ROOT "/unified") ? CGROUP_HYBRID : CGROUP_V1;
}

const char *cgroup_mode_name(enum cgroup_mode mode)
{
	return mode == CGROUP_V2 ? "v2" : mode == CGROUP_V1 ? "v1" : "hybrid";
}

static bool has_word(const char *text, const char *word)
{
	size_t len = strlen(word);

	for (const char *p = text; (p = strstr(p, word)); p += len)
		if ((p == text || strchr(" \n", p[-1])) && strchr(" \n", p[len]))
			return true;
	return false;
}

bool cgroup_has(enum cgroup_mode mode, const char *controller)
{
	_cleanup_free_ char *text = NULL, *dir = NULL;

	if (mode != CGROUP_V2) {
		dir = xasprintf(CGROUP_ROOT "/%s", controller);
		return access(dir, F_OK) == 0;
	}
	return file_read(CGROUP_ROOT "/cgroup.controllers", KERNEL_FILE_MAX, &text, NULL, NULL) ==
		       0 &&
	       has_word(text, controller);
}

bool cgroup_limits_swap(enum cgroup_mode mode)
{
	_cleanup_free_ char *text = NULL;
	const char *first;

	/* The first line of /proc/swaps is a heading. */
	if (file_read("/proc/swaps", KERNEL_FILE_MAX, &text, NULL, NULL) < 0)
		return false;
	first = strchr(text, '\n');
	if (!first || !first[1])
		return false;
	return mode == CGROUP_V2 ||
	       access(CGROUP_ROOT "/memory/memory.memsw.limit_in_bytes", F_OK) == 0;
}

/* A line "oom_kill N" with N > 0. */
static bool counted_oom_kill(const char *file)
{
	_cleanup_free_ char *text = NULL;
	unsigned long long n;

	if (file_read(file, KERNEL_FILE_MAX, &text, NULL, NULL) < 0)
		return false;
	for (const char *line = text; line && *line; line = strchr(line, '\n'), line += !!line)
		if (sscanf(line, "oom_kill %llu", &n) == 1)
			return n > 0;
	return false;
}

bool cgroup_oom_killed(enum cgroup_mode mode, const char *path)
{
	_cleanup_free_ char *file =
		mode == CGROUP_V2 ? xasprintf(CGROUP_ROOT "%s/memory.events", path)
				  : xasprintf(CGROUP_ROOT "/memory%s/memory.oom_control", path);

	return counted_oom_kill(file);
}

/* proc(5): pgrp and session stand behind the name, which may hold anything, and three more fields. */
static bool belongs_to(pid_t pid, int64_t leader)
{
	_cleanup_free_ char *file = xasprintf("/proc/%d/stat", pid), *text = NULL;
	const char *name_end;
	int pgrp, session;

	if (pid == leader)
		return true;
	if (file_read(file, PROC_STAT_MAX, &text, NULL, NULL) < 0)
		return false;
	name_end = strrchr(text, ')');
	return name_end && sscanf(name_end, ") %*c %*d %d %d", &pgrp, &session) == 2 &&
	       (pgrp == leader || session == leader);
}

/* leader 0: the group is of one container, whoever is in it is to go. False: there is no such group. */
static bool kill_members(const char *dir, int64_t leader)
{
	_cleanup_free_ char *file = xasprintf("%s/cgroup.procs", dir), *text = NULL;
	char *save = NULL;

	if (file_read(file, KERNEL_FILE_MAX, &text, NULL, NULL) < 0)
		return false;
	for (char *word = strtok_r(text, "\n", &save); word; word = strtok_r(NULL, "\n", &save)) {
		uint64_t pid;

		if (str_parse_u64(word, &pid, NULL) == 0 && pid > 1 &&
		    (!leader || belongs_to((pid_t)pid, leader)))
			kill((pid_t)pid, SIGKILL);
	}
	return true;
}

static void remove_dir(const char *hierarchy, const char *path, bool with_members, unsigned depth);

/* Groups below it: that of its health checks, and what a container may have made. */
static void remove_below(const char *dir, unsigned depth)
{
	DIR *d = depth < DEPTH_MAX ? opendir(dir) : NULL;
	struct dirent *entry;

	while (d && (entry = readdir(d))) {
		_cleanup_free_ char *name = xasprintf("/%s", entry->d_name);

		if (entry->d_type == DT_DIR && entry->d_name[0] != '.')
			remove_dir(dir, name, true, depth + 1);
	}
	if (d)
		closedir(d);
}

static void remove_dir(const char *hierarchy, const char *path, bool with_members, unsigned depth)
{
	_cleanup_free_ char *dir = xasprintf("%s%s", hierarchy, path);

	if (with_members)
		remove_below(dir, depth);
	if (rmdir(dir) == 0 || !with_members || access(dir, F_OK) < 0)
		return;
	/* A killed process leaves its group a moment later; nothing tells when (v1 has no events
	 * for it). */
	for (int tries = 0; tries < KILL_TRIES; tries++) {
		kill_members(dir, 0);
		if (rmdir(dir) == 0 || errno != EBUSY)
			return;
		usleep(KILL_WAIT_US);
	}
}

static void remove_all(enum cgroup_mode mode, const char *path, bool with_members)
{
	DIR *root;
	struct dirent *entry;

	assert(path[0] == '/' && path[1]); /* never the root, where everybody is a member */
	if (mode == CGROUP_V2) {
		remove_dir(CGROUP_ROOT, path, with_members, 0);
		return;
	}
	root = opendir(CGROUP_ROOT);
	if (!root)
		return;
	while ((entry = readdir(root))) {
		_cleanup_free_ char *hierarchy = xasprintf(CGROUP_ROOT "/%s", entry->d_name);

		if (entry->d_name[0] != '.')
			remove_dir(hierarchy, path, with_members, 0);
	}
	closedir(root);
}

void cgroup_remove(enum cgroup_mode mode, const char *path)
{
	remove_all(mode, path, true);
}

void cgroup_remove_empty(enum cgroup_mode mode, const char *path)
{
	remove_all(mode, path, false);
}

void cgroup_kill_session(enum cgroup_mode mode, const char *path, int64_t pid)
{
	/* Every hierarchy has the same members. */
	static const char *const hierarchies[] = {"/pids", "/memory", "/cpu", "/freezer", "/devices", "/unified"};

	assert(pid > 1);
	if (mode == CGROUP_V2) {
		_cleanup_free_ char *dir = xasprintf(CGROUP_ROOT "%s", path);

		kill_members(dir, pid);
		return;
	}
	for (size_t i = 0; i < ARRAY_SIZE(hierarchies); i++) {
		_cleanup_free_ char *dir = xasprintf(CGROUP_ROOT "%s%s", hierarchies[i], path);

		if (kill_members(dir, pid))
			return;
	}
}
