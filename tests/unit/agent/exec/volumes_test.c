#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "agent/exec/rootfs.h"
#include "agent/exec/volumes.h"
#include "common/error.h"
#include "common/file.h"
#include "common/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>

static char dir[64];

static int setup(void **state)
{
	strcpy(dir, "/tmp/skein-volumes-XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state)
{
	return file_remove_tree(dir, NULL);
}

static char *path(const char *name)
{
	return xasprintf("%s/%s", dir, name);
}

static void make(const char *name, const char *text, mode_t mode)
{
	_cleanup_free_ char *p = path(name);

	if (text)
		assert_int_equal(file_write(p, text, strlen(text), mode, NULL), 0);
	else
		assert_int_equal(file_mkdirs(p, mode, NULL), 0);
}

static int open_root(void)
{
	_cleanup_free_ char *p = path("root");

	return open(p, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

static void assert_text(const char *name, const char *text)
{
	_cleanup_free_ char *p = path(name), *got = NULL;

	assert_int_equal(file_read(p, 1 << 20, &got, NULL, NULL), 0);
	assert_string_equal(got, text);
}

static void copy_keeps_what_it_finds(void **state)
{
	_cleanup_free_ char *data = path("vol/one/_data"), *link = path("root/d/link"),
			    *file = path("root/d/sub/f");
	_cleanup_free_ char *copy = path("vol/one/_data/sub/f"),
			    *copied_link = path("vol/one/_data/link");
	_cleanup_close_ int root = -1;
	char target[32] = "";
	struct stat a, b;

	make("root/d/sub", NULL, 0755);
	make("root/d/sub/f", "text", 0640);
	assert_int_equal(symlink("/etc/nowhere", link), 0);
	assert_int_equal(setxattr(file, "trusted.note", "hi", 2, 0), 0);
	root = open_root();
	assert_int_equal(volumes_prepare(data, root, "/d", true, NULL), 0);

	assert_text("vol/one/_data/sub/f", "text");
	assert_int_equal(stat(file, &a), 0);
	assert_int_equal(stat(copy, &b), 0);
	assert_int_equal(a.st_mode, b.st_mode);
	assert_int_equal(a.st_mtim.tv_nsec, b.st_mtim.tv_nsec);
	assert_int_equal(getxattr(copy, "trusted.note", target, sizeof(target)), 2);
	assert_int_equal(readlink(copied_link, target, sizeof(target)), strlen("/etc/nowhere"));
	assert_memory_equal(target, "/etc/nowhere", 12);

	/* A second time nothing is touched: the volume has content. */
	make("vol/one/_data/sub/f", "changed", 0600);
	assert_int_equal(volumes_prepare(data, root, "/d", true, NULL), 0);
	assert_text("vol/one/_data/sub/f", "changed");
}

static void an_interrupted_copy_begins_anew(void **state)
{
	_cleanup_free_ char *data = path("vol/two/_data"), *mark = path("vol/two/copying"),
			    *half = path("vol/two/_data/half");
	_cleanup_close_ int root = -1;

	make("root/e", NULL, 0755);
	make("root/e/f", "whole", 0644);
	make("vol/two/_data", NULL, 0755);
	make("vol/two/_data/half", "x", 0644);
	make("vol/two/copying", "", 0600);
	root = open_root();
	assert_int_equal(volumes_prepare(data, root, "/e", true, NULL), 0);
	assert_text("vol/two/_data/f", "whole");
	assert_int_equal(access(half, F_OK), -1);
	assert_int_equal(access(mark, F_OK), -1);
}

static void links_do_not_lead_out(void **state)
{
	_cleanup_free_ char *out = path("root/out"), *up = path("root/up"), *text = NULL,
			    *outside = path("made");
	_cleanup_close_ int root = -1;
	struct error err = ERROR_INIT;
	size_t len;

	make("root", NULL, 0755);
	make("secret", "host", 0644);
	assert_int_equal(symlink("/secret", out), 0);
	assert_int_equal(symlink("../..", up), 0);
	root = open_root();
	assert_int_equal(rootfs_read(root, "out", 100, &text, &len, NULL), 0);
	assert_null(text); /* /secret of the root, which it has not */

	assert_int_equal(rootfs_mkdirs(root, "/up/made/deep", &err), 0);
	assert_int_equal(access(outside, F_OK), -1);
	free(outside);
	outside = path("root/made/deep");
	assert_int_equal(access(outside, F_OK), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(copy_keeps_what_it_finds),
		cmocka_unit_test(an_interrupted_copy_begins_anew),
		cmocka_unit_test(links_do_not_lead_out),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
