#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "agent/exec/logfiles.h"
#include "common/file.h"
#include "common/mem.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[64];

static int setup(void **state)
{
	strcpy(dir, "/tmp/skein-logfiles-XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state)
{
	return file_remove_tree(dir, NULL);
}

static void put(const char *name)
{
	_cleanup_free_ char *path = xasprintf("%s/logs/%s", dir, name);

	assert_int_equal(file_write(path, "x", 1, 0600, NULL), 0);
}

static void rotates_prunes_and_tells_conmon(void **state)
{
	_cleanup_free_ char *logs = xasprintf("%s/logs", dir), *fifo = xasprintf("%s/ctl", dir);
	_cleanup_free_ char *log = xasprintf("%s/log", logs);
	_cleanup_close_ int fd = -1;
	struct logfiles files;
	char told[16];

	assert_int_equal(mkdir(logs, 0700), 0);
	assert_int_equal(mkfifo(fifo, 0600), 0);
	fd = open(fifo, O_RDONLY | O_NONBLOCK);
	put("log.tmp");
	put("log.x");
	for (int i = 0; i < 4; i++) {
		put("log");
		assert_int_equal(logfiles_rotate(dir, 3, NULL), 0);
		assert_int_equal(access(log, F_OK), -1);
		assert_int_equal(read(fd, told, sizeof(told)), 6);
		assert_memory_equal(told, "2 0 0\n", 6);
	}
	logfiles_list(logs, &files);
	assert_int_equal(files.n, 2); /* and "log", which conmon makes anew */
	assert_int_equal(files.numbers[0], 3);
	assert_int_equal(files.numbers[1], 4);
	logfiles_fini(&files);
	assert_int_equal(logfiles_rotate(dir, 3, NULL), 0); /* there is none to rotate */
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(rotates_prunes_and_tells_conmon)};

	return cmocka_run_group_tests(tests, setup, teardown);
}
