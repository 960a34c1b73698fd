#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/error.h"
#include "common/file.h"
#include "common/mem.h"

#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

static char dir[] = "/tmp/file_test.XXXXXX";

static int make_dir(void **state)
{
	return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
	int r = file_remove_tree(dir, NULL);

	return r || access(dir, F_OK) == 0 ? -1 : 0;
}

static const char *in_dir(const char *name)
{
	static char path[4][256];
	static unsigned next;
	char *buf = path[next++ % 4];

	snprintf(buf, sizeof(path[0]), "%s/%s", dir, name);
	return buf;
}

static void write_then_read(void **state)
{
	_cleanup_free_ char *data = NULL;
	struct stat st;
	size_t len;

	assert_int_equal(file_write(in_dir("a"), "one", 3, 0644, NULL), 0);
	assert_int_equal(file_write(in_dir("a"), "two\0x", 5, 0600, NULL), 0);
	assert_int_equal(file_read(in_dir("a"), 5, &data, &len, NULL), 0);
	assert_int_equal(len, 5);
	assert_memory_equal(data, "two\0x\0", 6);
	assert_int_equal(stat(in_dir("a"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
}

static void no_temporary_file_stays(void **state)
{
	struct error err = ERROR_INIT;
	unsigned n = 0;
	DIR *d;

	assert_int_equal(file_mkdirs(in_dir("w/target/x"), 0755, NULL), 0);
	assert_int_equal(file_write(in_dir("w/target"), "x", 1, 0600, &err), -1); /* a directory */
	assert_int_equal(file_write(in_dir("w/file"), "x", 1, 0600, NULL), 0);
	d = opendir(in_dir("w"));
	while (readdir(d))
		n++;
	closedir(d);
	assert_int_equal(n, 4); /* . .. target file */
}

static void read_is_bounded(void **state)
{
	_cleanup_free_ char *big = xcalloc(1, 10000);
	_cleanup_free_ char *data = NULL;
	struct error err = ERROR_INIT;
	size_t len;

	assert_int_equal(file_write(in_dir("big"), big, 10000, 0600, NULL), 0);
	assert_int_equal(file_read(in_dir("big"), 9999, &data, &len, &err), -1);
	assert_int_equal(err.code, ERR_EXHAUSTED);
	assert_null(data);
	assert_int_equal(file_read(in_dir("big"), 10000, &data, &len, &err), 0);
	assert_int_equal(len, 10000);
	assert_int_equal(file_read(in_dir("missing"), 1, &data, &len, &err), -1);
	assert_int_equal(err.code, ERR_NOT_FOUND);
	assert_non_null(strstr(err.msg, "missing"));
}

static void mkdirs_keeps_what_is_there(void **state)
{
	struct error err = ERROR_INIT;
	struct stat st;

	assert_int_equal(mkdir(in_dir("m"), 0711), 0);
	assert_int_equal(file_mkdirs(in_dir("m/n/o/"), 0700, NULL), 0);
	assert_int_equal(file_mkdirs(in_dir("m/n/o"), 0700, NULL), 0);
	assert_int_equal(stat(in_dir("m"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0711);
	assert_int_equal(stat(in_dir("m/n/o"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	assert_int_equal(file_write(in_dir("m/file"), "", 0, 0600, NULL), 0);
	assert_int_equal(file_mkdirs(in_dir("m/file/x"), 0700, &err), -1);
	assert_int_equal(err.code, ERR_EXISTS);
}

static void remove_does_not_follow_links(void **state)
{
	assert_int_equal(file_mkdirs(in_dir("keep"), 0700, NULL), 0);
	assert_int_equal(file_write(in_dir("keep/me"), "x", 1, 0600, NULL), 0);
	assert_int_equal(file_mkdirs(in_dir("tree/sub"), 0700, NULL), 0);
	assert_int_equal(symlink("../../keep", in_dir("tree/sub/link")), 0);
	assert_int_equal(symlink("keep", in_dir("top")), 0);
	assert_int_equal(mkfifo(in_dir("tree/fifo"), 0600), 0);
	assert_int_equal(file_remove_tree(in_dir("tree"), NULL), 0);
	assert_int_equal(file_remove_tree(in_dir("top"), NULL), 0);
	assert_int_equal(access(in_dir("tree"), F_OK), -1);
	assert_int_equal(access(in_dir("keep/me"), F_OK), 0);
	assert_int_equal(file_remove_tree(in_dir("never/was"), NULL), 0);
}

/* Deeper than any limit of descriptors, and longer than PATH_MAX. */
static void remove_goes_deep(void **state)
{
	int fd;

	assert_int_equal(mkdir(in_dir("deep"), 0700), 0);
	fd = open(in_dir("deep"), O_RDONLY | O_DIRECTORY);
	for (int i = 0; i < 3000; i++) {
		int next;

		assert_int_equal(mkdirat(fd, "directory", 0700), 0);
		next = openat(fd, "directory", O_RDONLY | O_DIRECTORY);
		assert_true(next >= 0);
		close(fd);
		fd = next;
	}
	close(fd);
	for (int i = 0; i < 300; i++) {
		char name[64];

		snprintf(name, sizeof(name), "deep/d%d/e", i);
		assert_int_equal(file_mkdirs(in_dir(name), 0700, NULL), 0);
	}
	assert_int_equal(file_remove_tree(in_dir("deep"), NULL), 0);
	assert_int_equal(access(in_dir("deep"), F_OK), -1);
}

/* A bind mount of the same file system: only a check of mounts, not of devices, sees it. */
static void remove_stops_at_mounts(void **state)
{
	int status;
	pid_t pid;

	if (geteuid() != 0)
		skip();
	assert_int_equal(file_mkdirs(in_dir("precious/data"), 0700, NULL), 0);
	assert_int_equal(file_mkdirs(in_dir("box/mnt"), 0700, NULL), 0);
	pid = fork();
	if (pid == 0) {
		if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
		    mount(in_dir("precious"), in_dir("box/mnt"), NULL, MS_BIND, NULL) < 0)
			_exit(2);
		_exit(file_remove_tree(in_dir("box"), NULL) == -1 ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 2)
		skip();
	assert_int_equal(WEXITSTATUS(status), 0);
	assert_int_equal(access(in_dir("precious/data"), F_OK), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(write_then_read),
		cmocka_unit_test(no_temporary_file_stays),
		cmocka_unit_test(read_is_bounded),
		cmocka_unit_test(mkdirs_keeps_what_is_there),
		cmocka_unit_test(remove_does_not_follow_links),
		cmocka_unit_test(remove_goes_deep),
		cmocka_unit_test(remove_stops_at_mounts),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
