#include "agent/exec/check_group.h"

#include "common/file.h"
#include "common/mem.h"
#include "common/str.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NAME "check"
#define PROCS_MAX_BYTES (256 * 1024)
#define KILL_TRIES 100
#define KILL_WAIT_US 2000
#define DEPTH_MAX 8

const char *check_group_option(enum cgroup_mode mode, const char *runtime)
{
	const char *name = strrchr(runtime, '/');

	if (mode == CGROUP_V2)
		return "--cgroup=" NAME;
	/* The other hierarchies are not needed, and one (cpuset) could not be used as it is made. */
	return str_eq(name ? name + 1 : runtime, "runc") ? "--cgroup=freezer:" NAME : NULL;
}

static char *dir_of(enum cgroup_mode mode, const char *path)
{
	return xasprintf("/sys/fs/cgroup%s%s/" NAME, mode == CGROUP_V2 ? "" : "/freezer", path);
}

void check_group_make(enum cgroup_mode mode, const char *path)
{
	_cleanup_free_ char *dir = dir_of(mode, path);

	mkdir(dir, 0755);
}

static bool put(const char *dir, const char *file, const char *text)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", dir, file);
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);

	return fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
}

static bool kill_members(const char *dir, unsigned depth);

/* A container that may make groups has moved some of its processes there. */
static bool kill_below(const char *dir, unsigned depth)
{
	DIR *d = depth < DEPTH_MAX ? opendir(dir) : NULL;
	struct dirent *entry;
	bool any = false;

	while (d && (entry = readdir(d))) {
		_cleanup_free_ char *below = NULL;

		if (entry->d_type != DT_DIR || entry->d_name[0] == '.')
			continue;
		below = xasprintf("%s/%s", dir, entry->d_name);
		any |= kill_members(below, depth + 1);
	}
	if (d)
		closedir(d);
	return any;
}

/* False: nobody is there. */
static bool kill_members(const char *dir, unsigned depth)
{
	_cleanup_free_ char *file = xasprintf("%s/cgroup.procs", dir), *text = NULL;
	char *save = NULL;
	bool any = false;

	if (file_read(file, PROCS_MAX_BYTES, &text, NULL, NULL) < 0)
		return false;
	for (char *word = strtok_r(text, "\n", &save); word; word = strtok_r(NULL, "\n", &save)) {
		uint64_t pid;

		/* 0: of a PID namespace that we do not see */
		if (str_parse_u64(word, &pid, NULL) == 0 && pid > 1) {
			any = true;
			kill((pid_t)pid, SIGKILL);
		}
	}
	return kill_below(dir, depth) || any;
}

/* What stands still makes no children behind our back; the signal is taken when it moves again. */
static bool kill_all(enum cgroup_mode mode, const char *dir)
{
	bool any;

	if (mode != CGROUP_V2)
		put(dir, "freezer.state", "FROZEN");
	any = kill_members(dir, 0);
	if (mode == CGROUP_V2)
		put(dir, "cgroup.kill", "1"); /* at once, where the kernel can (5.14) */
	else
		put(dir, "freezer.state", "THAWED");
	return any;
}

bool check_group_kill(enum cgroup_mode mode, const char *path)
{
	_cleanup_free_ char *dir = dir_of(mode, path);
	bool met = false;

	/* A killed process leaves its group a moment later, and nothing tells when on v1. */
	for (int tries = 0; tries < KILL_TRIES && kill_all(mode, dir); tries++) {
		met = true;
		usleep(KILL_WAIT_US);
	}
	return met;
}
