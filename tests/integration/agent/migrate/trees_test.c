/* Trees from directory to directory, by blocks: every kind of file on a real file system, twice, with changes between. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "agent/migrate/apply.h"
#include "agent/migrate/pack.h"
#include "agent/migrate/snapshot.h"
#include "common/error.h"
#include "common/file.h"
#include "common/mem.h"
#include "proto/pb.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/xattr.h>

struct fixture {
	char dir[64], from[96], to[96], outside[96];
	struct snapshot before; /* of the last pass */
	bool any;
	size_t blocks;
};

static int setup(void **state)
{
	struct fixture *f = xnew(struct fixture);

	strcpy(f->dir, "/var/tmp/trees-test-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->from, sizeof(f->from), "%s/from", f->dir);
	snprintf(f->to, sizeof(f->to), "%s/to", f->dir);
	snprintf(f->outside, sizeof(f->outside), "%s/outside", f->dir);
	assert_int_equal(mkdir(f->from, 0755), 0);
	assert_int_equal(mkdir(f->outside, 0755), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	snapshot_fini(&f->before);
	file_remove_tree(f->dir, NULL);
	free(f);
	return 0;
}

static const char *at(const char *dir, const char *name)
{
	static char buf[4][512];
	static unsigned next;
	char *p = buf[next++ % 4];

	snprintf(p, sizeof(buf[0]), "%s/%s", dir, name);
	return p;
}

static void put(struct fixture *f, const char *name, const char *text)
{
	int fd = open(at(f->from, name), O_WRONLY | O_CREAT | O_TRUNC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

static void expect_text(struct fixture *f, const char *name, const char *text)
{
	_cleanup_free_ char *data = NULL;
	struct error err = ERROR_INIT;

	if (file_read(at(f->to, name), 1 << 20, &data, NULL, &err) < 0)
		fail_msg("%s", err.msg);
	assert_string_equal(data, text);
}

static void pass(struct fixture *f, bool still)
{
	struct snapshot now;
	struct snapshot_changes changes;
	struct error err = ERROR_INIT;
	struct apply *a = apply_new(f->to, &err);
	struct pack *p;

	assert_int_equal(snapshot_take(f->from, &now, &err), 0);
	snapshot_compare(f->any ? &f->before : NULL, &now, &changes);
	p = pack_new(f->from, &f->before, &now, &changes, still, &err);
	if (!p || !a)
		fail_msg("%s", err.msg);
	for (f->blocks = 0;; f->blocks++) {
		const uint8_t *data;
		size_t len;

		if (pack_next(p, &data, &len, &err) < 0)
			fail_msg("%s", err.msg);
		if (!len)
			break;
		assert_true(len <= PACK_BLOCK_MAX);
		if (apply_block(a, data, len, &err) < 0)
			fail_msg("%s", err.msg);
	}
	if (apply_end(a, pack_digest(p), &err) < 0)
		fail_msg("%s", err.msg);
	apply_free(a);
	pack_free(p);
	snapshot_changes_fini(&changes);
	snapshot_fini(&f->before);
	f->before = now;
	f->any = true;
}

/* Both trees hold the same. */
static void expect_equal(struct fixture *f)
{
	struct snapshot a, b;
	struct error err = ERROR_INIT;

	assert_int_equal(snapshot_take(f->from, &a, &err), 0);
	assert_int_equal(snapshot_take(f->to, &b, &err), 0);
	assert_int_equal(a.n, b.n);
	for (size_t i = 0; i < a.n; i++) {
		const struct snapshot_entry *x = &a.entries[i], *y = &b.entries[i];

		assert_string_equal(x->path, y->path);
		if (x->mode != y->mode || x->uid != y->uid || x->gid != y->gid || x->size != y->size || x->rdev != y->rdev ||
		    x->nlink != y->nlink || x->mtime.tv_sec != y->mtime.tv_sec || x->mtime.tv_nsec != y->mtime.tv_nsec)
			fail_msg("%s differs: mode %o %o size %lu %lu mtime %ld.%09ld %ld.%09ld", x->path, x->mode, y->mode,
				 (unsigned long)x->size, (unsigned long)y->size, x->mtime.tv_sec, x->mtime.tv_nsec, y->mtime.tv_sec,
				 y->mtime.tv_nsec);
	}
	snapshot_fini(&a);
	snapshot_fini(&b);
}

static void make_socket(const char *path)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", path);
	assert_int_equal(bind(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
	close(fd);
}

static void every_kind_of_file(void **state)
{
	struct fixture *f = *state;
	char value[16];
	struct stat st;

	put(f, "text", "hello");
	put(f, "empty", "");
	put(f, "bad\xff\x01name", "any bytes");
	assert_int_equal(chmod(at(f->from, "text"), 04711), 0);
	assert_int_equal(lchown(at(f->from, "empty"), 1234, 4321), 0);
	assert_int_equal(mkdir(at(f->from, "d"), 01777), 0);
	assert_int_equal(chmod(at(f->from, "d"), 01777), 0);
	put(f, "d/inside", "x");
	assert_int_equal(symlink("../outside/nowhere", at(f->from, "d/link")), 0);
	assert_int_equal(lchown(at(f->from, "d/link"), 7, 8), 0);
	assert_int_equal(link(at(f->from, "text"), at(f->from, "d/second")), 0);
	assert_int_equal(mkfifo(at(f->from, "fifo"), 0620), 0);
	make_socket(at(f->from, "sock"));
	assert_int_equal(mknod(at(f->from, "whiteout"), S_IFCHR, makedev(0, 0)), 0);
	assert_int_equal(setxattr(at(f->from, "d"), "trusted.overlay.opaque", "y", 1, 0), 0);
	assert_int_equal(setxattr(at(f->from, "d"), "trusted.overlay.origin", "this host", 9, 0), 0);
	assert_int_equal(setxattr(at(f->from, "text"), "user.note", "n1", 2, 0), 0);

	pass(f, true);
	expect_equal(f);
	expect_text(f, "text", "hello");
	expect_text(f, "bad\xff\x01name", "any bytes");
	assert_int_equal(lstat(at(f->to, "whiteout"), &st), 0);
	assert_true(S_ISCHR(st.st_mode) && st.st_rdev == 0);
	assert_int_equal(getxattr(at(f->to, "d"), "trusted.overlay.opaque", value, sizeof(value)), 1);
	assert_int_equal(getxattr(at(f->to, "d"), "trusted.overlay.origin", value, sizeof(value)), -1);
	assert_int_equal(getxattr(at(f->to, "text"), "user.note", value, sizeof(value)), 2);
}

static void second_pass_sends_changes_only(void **state)
{
	struct fixture *f = *state;
	struct timespec old[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
	char value[16], *big = xcalloc(1, 3 << 20);

	memset(big, 'b', (3 << 20) - 1);
	put(f, "big", big);
	put(f, "keep", "kept");
	put(f, "change", "before");
	assert_int_equal(mkdir(at(f->from, "gone"), 0755), 0);
	put(f, "gone/x", "x");
	assert_int_equal(mkdir(at(f->from, "swap"), 0755), 0);
	put(f, "swap/x", "x");
	put(f, "other", "y");
	assert_int_equal(setxattr(at(f->from, "keep"), "user.a", "1", 1, 0), 0);
	usleep(2 * SNAPSHOT_CLOCK_NS / 1000); /* older than the clock's grain, so that it counts as settled */
	pass(f, false);
	assert_true(f->blocks > 10);
	expect_equal(f);

	put(f, "change", "behind");
	assert_int_equal(file_remove_tree(at(f->from, "gone"), NULL), 0);
	assert_int_equal(file_remove_tree(at(f->from, "swap"), NULL), 0);
	put(f, "swap", "a file now");
	assert_int_equal(unlink(at(f->from, "other")), 0);
	assert_int_equal(mkdir(at(f->from, "other"), 0755), 0);
	put(f, "other/z", "z");
	assert_int_equal(utimensat(AT_FDCWD, at(f->from, "other"), old, 0), 0);
	assert_int_equal(removexattr(at(f->from, "keep"), "user.a"), 0);
	pass(f, true);
	assert_int_equal(f->blocks, 1);
	expect_equal(f);
	expect_text(f, "change", "behind");
	expect_text(f, "swap", "a file now");
	expect_text(f, "other/z", "z");
	assert_int_equal(getxattr(at(f->to, "keep"), "user.a", value, sizeof(value)), -1);
	free(big);
}

static void holes_stay_holes(void **state)
{
	struct fixture *f = *state;
	int fd = open(at(f->from, "sparse"), O_WRONLY | O_CREAT, 0600);
	struct stat st;

	assert_int_equal(pwrite(fd, "x", 1, 100 << 20), 1);
	assert_int_equal(pwrite(fd, "y", 1, 300 << 20), 1);
	assert_int_equal(ftruncate(fd, 1ll << 30), 0);
	close(fd);
	pass(f, true);
	expect_equal(f);
	assert_int_equal(stat(at(f->to, "sparse"), &st), 0);
	assert_int_equal(st.st_size, 1ll << 30);
	assert_true(st.st_blocks < 2048);
	assert_true(f->blocks < 3);
}

static void nothing_there(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(rmdir(f->from), 0);
	pass(f, true);
	assert_int_equal(f->blocks, 0);
	assert_int_equal(rmdir(f->to), 0);
}

/* ---------------------------------------------------------------- what must not be taken */

struct bad {
	Skein__MoveEntry entries[3];
	size_t n;
	enum error_code code;
	const char *msg;
};

#define BYTES(text) {.data = (uint8_t *)(text), .len = sizeof(text) - 1}
#define ENTRY .base = PROTOBUF_C_MESSAGE_INIT(&skein__move_entry__descriptor)

static void refused(void **state)
{
	struct fixture *f = *state;
	struct bad cases[] = {
		{{{ENTRY, .path = BYTES("../outside/x")}}, 1, ERR_DATA_LOSS, ".."},
		{{{ENTRY, .path = BYTES("/etc/x")}}, 1, ERR_DATA_LOSS, "absolute"},
		{{{ENTRY, .path = BYTES("a\0b")}}, 1, ERR_INVALID, "without a zero"},
		{{{ENTRY, .path = BYTES("")}}, 1, ERR_INVALID, "has no path"},
		{{{ENTRY, .path = BYTES("l"), .type = SKEIN__MOVE_TYPE__MOVE_SYMLINK, .link = BYTES("../outside")},
		  {ENTRY, .path = BYTES("l/x")}}, 2, ERR_DATA_LOSS, "leads out"},
		{{{ENTRY, .path = BYTES("l"), .type = SKEIN__MOVE_TYPE__MOVE_HARDLINK, .link = BYTES("../outside/secret")}}, 1,
		 ERR_DATA_LOSS, ".."},
		{{{ENTRY, .path = BYTES("p"), .part = true}}, 1, ERR_INVALID, "has not begun"},
		{{{ENTRY, .path = BYTES("p"), .more = true}, {ENTRY, .path = BYTES("q"), .part = true}}, 2, ERR_INVALID, "not whole"},
		{{{ENTRY, .path = BYTES("p"), .type = 99}}, 1, ERR_INVALID, "type 99"},
		{{{ENTRY, .path = BYTES("p"), .offset = UINT64_MAX, .data = BYTES("x")}}, 1, ERR_INVALID, "beyond"},
		{{{ENTRY, .path = BYTES("p"), .type = SKEIN__MOVE_TYPE__MOVE_SYMLINK}}, 1, ERR_INVALID, "symbolic link of 0"},
	};
	_cleanup_free_ char *secret = NULL;

	assert_int_equal(file_write(at(f->outside, "secret"), "s", 1, 0600, NULL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		Skein__MoveEntry *list[3] = {&cases[i].entries[0], &cases[i].entries[1], &cases[i].entries[2]};
		Skein__MoveEntries block = SKEIN__MOVE_ENTRIES__INIT;
		struct error err = ERROR_INIT;
		struct apply *a = apply_new(f->to, &err);
		uint8_t buf[512];
		size_t len;

		block.entries = list;
		block.n_entries = cases[i].n;
		len = protobuf_c_message_pack(&block.base, buf);
		assert_int_equal(apply_block(a, buf, len, &err), -1);
		if (err.code != cases[i].code || !strstr(err.msg, cases[i].msg))
			fail_msg("case %zu: %d %s", i, err.code, err.msg);
		apply_free(a);
		file_remove_tree(f->to, NULL);
	}
	assert_int_equal(file_read(at(f->outside, "secret"), 10, &secret, NULL, NULL), 0);
	assert_int_equal(access(at(f->outside, "x"), F_OK), -1);
}

static void another_digest(void **state)
{
	struct fixture *f = *state;
	struct error err = ERROR_INIT;
	struct apply *a = apply_new(f->to, &err);

	assert_int_equal(apply_block(a, "", 0, &err), 0);
	assert_int_equal(apply_end(a, "sha256:0", &err), -1);
	assert_int_equal(err.code, ERR_DATA_LOSS);
	assert_int_equal(apply_block(a, "\xff\xff", 2, &err), -1);
	assert_int_equal(err.code, ERR_INVALID);
	apply_free(a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(every_kind_of_file, setup, teardown),
		cmocka_unit_test_setup_teardown(second_pass_sends_changes_only, setup, teardown),
		cmocka_unit_test_setup_teardown(holes_stay_holes, setup, teardown),
		cmocka_unit_test_setup_teardown(nothing_there, setup, teardown),
		cmocka_unit_test_setup_teardown(refused, setup, teardown),
		cmocka_unit_test_setup_teardown(another_digest, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
