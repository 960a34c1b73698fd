#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "agent/image/unpack.h"

#include "common/error.h"
#include "common/file.h"
#include "common/mem.h"
#include "common/str.h"
#include "support/tarmaker.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

struct fixture {
	char dir[64];
	char tar[96], root[96];
	struct tarmaker t;
	struct error err;
};

static int setup(void **state)
{
	struct fixture *f = xnew(struct fixture);

	strcpy(f->dir, "/tmp/unpack-test-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->tar, sizeof(f->tar), "%s/layer.tar", f->dir);
	snprintf(f->root, sizeof(f->root), "%s/root", f->dir);
	assert_int_equal(mkdir(f->root, 0755), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(file_remove_tree(f->dir, NULL), 0);
	free(f);
	return 0;
}

/* Unpack what was written, checked against the digest that the file has. */
static int unpack(struct fixture *f)
{
	char digest[DIGEST_MAX];

	file_digest(f->tar, digest);
	f->err = ERROR_INIT;
	return unpack_layer(&(struct unpack_options){.blob_path = f->tar, .blob_digest = digest, .root = f->root},
			    &f->err);
}

static void expect_ok(struct fixture *f)
{
	if (unpack(f) < 0)
		fail_msg("%s", f->err.msg);
}

static void expect_refused(struct fixture *f, enum error_code code, const char *part)
{
	assert_int_equal(unpack(f), -1);
	if (f->err.code != code || !strstr(f->err.msg, part))
		fail_msg("%s: %s, wanted \"%s\"", error_code_name(f->err.code), f->err.msg, part);
}

static struct stat stat_of(struct fixture *f, const char *name)
{
	struct stat st;
	char path[4400];

	snprintf(path, sizeof(path), "%s/%s", f->root, name);
	if (lstat(path, &st) < 0)
		fail_msg("%s: %s", path, strerror(errno));
	return st;
}

static bool missing(struct fixture *f, const char *name)
{
	struct stat st;
	char path[4400];

	snprintf(path, sizeof(path), "%s/%s", f->root, name);
	return lstat(path, &st) < 0 && errno == ENOENT;
}

static void expect_content(struct fixture *f, const char *name, const char *content)
{
	char path[4400];
	char *data = NULL;

	snprintf(path, sizeof(path), "%s/%s", f->root, name);
	assert_int_equal(file_read(path, 1 << 20, &data, NULL, NULL), 0);
	assert_string_equal(data, content);
	free(data);
}

static ssize_t xattr_of(struct fixture *f, const char *name, const char *attr, char *buf, size_t size)
{
	char path[4400];

	snprintf(path, sizeof(path), "%s/%s", f->root, name);
	return lgetxattr(path, attr, buf, size);
}

/* ---------------------------------------------------------------- what must be kept */

static void keeps_files(void **state)
{
	struct fixture *f = *state;
	struct stat st;

	tarmaker_open(&f->t, f->tar, ARCHIVE_FILTER_GZIP);
	tar_add(&f->t, .name = "./", .type = AE_IFDIR, .mode = 0711, .mtime = 1000);
	tar_add(&f->t, .name = "etc/", .type = AE_IFDIR, .mode = 0550, .uid = 7, .gid = 8, .mtime = 2000);
	tar_add(&f->t, .name = "./etc/passwd", .mode = 0640, .uid = 1, .gid = 2, .mtime = 3000, .data = "root");
	tar_add(&f->t, .name = "bin/su", .mode = 04755, .uid = 5, .gid = 6, .data = "x");
	tar_add(&f->t, .name = "tmp", .type = AE_IFDIR, .mode = 01777);
	tar_add(&f->t, .name = "lib", .type = AE_IFLNK, .symlink = "usr/lib", .uid = 3, .gid = 4);
	tar_add(&f->t, .name = "pipe", .type = AE_IFIFO, .mode = 0600);
	tarmaker_close(&f->t);
	expect_ok(f);

	st = stat_of(f, "");
	assert_int_equal(st.st_mode, S_IFDIR | 0711);
	assert_int_equal(st.st_mtime, 1000);
	st = stat_of(f, "etc");
	assert_int_equal(st.st_mode, S_IFDIR | 0550);
	assert_int_equal(st.st_uid, 7);
	assert_int_equal(st.st_gid, 8);
	assert_int_equal(st.st_mtime, 2000);
	st = stat_of(f, "etc/passwd");
	assert_int_equal(st.st_mode, S_IFREG | 0640);
	assert_int_equal(st.st_uid, 1);
	assert_int_equal(st.st_gid, 2);
	assert_int_equal(st.st_mtime, 3000);
	expect_content(f, "etc/passwd", "root");
	assert_int_equal(stat_of(f, "bin/su").st_mode, S_IFREG | 04755);
	assert_int_equal(stat_of(f, "bin/su").st_uid, 5);
	assert_int_equal(stat_of(f, "bin").st_mode, S_IFDIR | 0755);
	assert_int_equal(stat_of(f, "tmp").st_mode, S_IFDIR | 01777);
	assert_int_equal(stat_of(f, "lib").st_mode & S_IFMT, S_IFLNK);
	assert_int_equal(stat_of(f, "lib").st_uid, 3);
	assert_int_equal(stat_of(f, "pipe").st_mode, S_IFIFO | 0600);
}

static void takes_each_compression(void **state)
{
	static const int filters[] = {ARCHIVE_FILTER_NONE, ARCHIVE_FILTER_GZIP, ARCHIVE_FILTER_ZSTD};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(filters); i++) {
		tarmaker_open(&f->t, f->tar, filters[i]);
		tar_add(&f->t, .name = "file", .data = i ? "again" : "once");
		tarmaker_close(&f->t);
		expect_ok(f);
		expect_content(f, "file", i ? "again" : "once");
	}
}

static void checks_both_digests(void **state)
{
	struct fixture *f = *state;
	char plain[DIGEST_MAX], packed[DIGEST_MAX], gz[128];

	snprintf(gz, sizeof(gz), "%s.gz", f->tar);
	for (int i = 0; i < 2; i++) {
		tarmaker_open(&f->t, i ? gz : f->tar, i ? ARCHIVE_FILTER_GZIP : ARCHIVE_FILTER_NONE);
		tar_add(&f->t, .name = "file", .data = "content", .mtime = 5);
		tarmaker_close(&f->t);
	}
	file_digest(f->tar, plain);
	file_digest(gz, packed);
	assert_int_equal(unpack_layer(&(struct unpack_options){.blob_path = gz, .blob_digest = packed,
							       .diff_id = plain, .root = f->root}, &f->err), 0);
	expect_content(f, "file", "content");
	/* Without a root only the digests are looked at. */
	assert_int_equal(unpack_layer(&(struct unpack_options){.blob_path = gz, .blob_digest = packed,
							       .diff_id = plain}, &f->err), 0);
	assert_int_equal(unpack_layer(&(struct unpack_options){.blob_path = gz, .blob_digest = packed,
							       .diff_id = packed}, &f->err), -1);
	assert_int_equal(f->err.code, ERR_DATA_LOSS);
	assert_non_null(strstr(f->err.msg, plain));
	assert_int_equal(unpack_layer(&(struct unpack_options){.blob_path = gz, .blob_digest = plain,
							       .diff_id = plain, .root = f->root}, &f->err), -1);
	assert_int_equal(f->err.code, ERR_DATA_LOSS);
	assert_non_null(strstr(f->err.msg, packed));
}

static void makes_whiteouts(void **state)
{
	struct fixture *f = *state;
	char value[8] = "";

	tarmaker_open(&f->t, f->tar, ARCHIVE_FILTER_GZIP);
	tar_add(&f->t, .name = "etc/.wh.gone", .data = "");
	tar_add(&f->t, .name = ".wh.top", .data = "");
	tar_add(&f->t, .name = "var/.wh..wh..opq", .data = "");
	tar_add(&f->t, .name = "var/new", .data = "n");
	tar_add(&f->t, .name = ".wh..wh.plnk/1.2", .data = "aufs");
	tarmaker_close(&f->t);
	expect_ok(f);

	assert_int_equal(stat_of(f, "etc/gone").st_mode & S_IFMT, S_IFCHR);
	assert_int_equal(stat_of(f, "etc/gone").st_rdev, makedev(0, 0));
	assert_int_equal(stat_of(f, "top").st_mode & S_IFMT, S_IFCHR);
	assert_int_equal(xattr_of(f, "var", "trusted.overlay.opaque", value, sizeof(value)), 1);
	assert_int_equal(value[0], 'y');
	expect_content(f, "var/new", "n");
	assert_true(missing(f, ".wh..wh.plnk"));
	assert_true(missing(f, "var/.wh..wh..opq"));
}

/* A whiteout is about lower layers: what the layer itself brings stays, in either order. */
static void whiteout_beside_entry(void **state)
{
	struct fixture *f = *state;
	char value[8];

	tarmaker_open(&f->t, f->tar, ARCHIVE_FILTER_GZIP);
	tar_add(&f->t, .name = ".wh.a", .data = "");
	tar_add(&f->t, .name = "a", .type = AE_IFDIR, .mode = 0755);
	tar_add(&f->t, .name = "b/file", .data = "1");
	tar_add(&f->t, .name = ".wh.b", .data = "");
	tar_add(&f->t, .name = "c", .data = "2");
	tar_add(&f->t, .name = ".wh.c", .data = "");
	tarmaker_close(&f->t);
	expect_ok(f);
	assert_int_equal(xattr_of(f, "a", "trusted.overlay.opaque", value, sizeof(value)), 1);
	assert_int_equal(xattr_of(f, "b", "trusted.overlay.opaque", value, sizeof(value)), 1);
	expect_content(f, "b/file", "1");
	expect_content(f, "c", "2");
}

static void keeps_hard_links_and_devices(void **state)
{
	struct fixture *f = *state;

	tarmaker_open(&f->t, f->tar, ARCHIVE_FILTER_GZIP);
	tar_add(&f->t, .name = "a/one", .data = "same");
	tar_add(&f->t, .name = "b/two", .hardlink = "./a/one");
	tar_add(&f->t, .name = "link", .type = AE_IFLNK, .symlink = "/nowhere");
	tar_add(&f->t, .name = "link2", .hardlink = "link");
	tar_add(&f->t, .name = "dev/null", .type = AE_IFCHR, .mode = 0666, .major = 1, .minor = 3);
	tar_add(&f->t, .name = "dev/sda", .type = AE_IFBLK, .mode = 0660, .gid = 6, .major = 8, .minor = 0);
	tarmaker_close(&f->t);
	expect_ok(f);
	assert_int_equal(stat_of(f, "a/one").st_ino, stat_of(f, "b/two").st_ino);
	assert_int_equal(stat_of(f, "link").st_ino, stat_of(f, "link2").st_ino);
	assert_int_equal(stat_of(f, "dev/null").st_rdev, makedev(1, 3));
	assert_int_equal(stat_of(f, "dev/null").st_mode, S_IFCHR | 0666);
	assert_int_equal(stat_of(f, "dev/sda").st_rdev, makedev(8, 0));
	assert_int_equal(stat_of(f, "dev/sda").st_gid, 6);
}

static void keeps_attributes(void **state)
{
	/* VFS_CAP_REVISION_2, effective; CAP_NET_RAW permitted */
	static const uint8_t cap[20] = {1, 0, 0, 2, 0, 0x20};
	struct fixture *f = *state;
	char buf[64];

	tarmaker_open(&f->t, f->tar, ARCHIVE_FILTER_GZIP);
	tar_add(&f->t, .name = "ping", .mode = 0755, .uid = 9, .data = "x", .xattr = "security.capability",
		.xattr_value = cap, .xattr_len = sizeof(cap));
	tar_add(&f->t, .name = "evil", .type = AE_IFDIR, .mode = 0755, .xattr = "trusted.overlay.redirect",
		.xattr_value = "/etc", .xattr_len = 4);
	tarmaker_close(&f->t);
	expect_ok(f);
	assert_int_equal(xattr_of(f, "ping", "security.capability", buf, sizeof(buf)), sizeof(cap));
	assert_memory_equal(buf, cap, sizeof(cap));
	assert_int_equal(stat_of(f, "ping").st_uid, 9);
	/* It would steer overlayfs. */
	assert_int_equal(xattr_of(f, "evil", "trusted.overlay.redirect", buf, sizeof(buf)), -1);
}

static void later_entries_replace(void **state)
{
	struct fixture *f = *state;

	tarmaker_open(&f->t, f->tar, ARCHIVE_FILTER_GZIP);
	tar_add(&f->t, .name = "a/b/c", .data = "1");
	tar_add(&f->t, .name = "a", .type = AE_IFDIR, .mode = 0700);
	tar_add(&f->t, .name = "a", .data = "file");
	tar_add(&f->t, .name = "l", .type = AE_IFLNK, .symlink = "a");
	tar_add(&f->t, .name = "l", .data = "not through the link");
	tar_add(&f->t, .name = "d", .data = "x");
	tar_add(&f->t, .name = "d", .type = AE_IFDIR, .mode = 0751);
	tarmaker_close(&f->t);
	expect_ok(f);
	expect_content(f, "a", "file");
	expect_content(f, "l", "not through the link");
	assert_int_equal(stat_of(f, "l").st_mode & S_IFMT, S_IFREG);
	assert_int_equal(stat_of(f, "d").st_mode, S_IFDIR | 0751);
}

static void keeps_holes_and_long_names(void **state)
{
	struct fixture *f = *state;
	char name[1200];
	struct stat st;

	for (size_t i = 0; i < 1000; i++)
		name[i] = i % 100 == 99 ? '/' : 'n';
	strcpy(name + 1000, "end");
	tarmaker_open(&f->t, f->tar, ARCHIVE_FILTER_GZIP);
	tar_add(&f->t, .name = name, .data = "deep");
	tar_add(&f->t, .name = "sparse", .data = "tail", .sparse_size = 8 << 20);
	tarmaker_close(&f->t);
	expect_ok(f);
	expect_content(f, name, "deep");
	st = stat_of(f, "sparse");
	assert_int_equal(st.st_size, 8 << 20);
	assert_true(st.st_blocks * 512 < 1 << 20);
}

/* Two ustar blocks by hand: libarchive would convert the name while it writes. */
static void add_block(FILE *out, const char *name, char type, size_t size)
{
	char block[512] = "";
	unsigned sum = 0;

	snprintf(block, 100, "%s", name);
	strcpy(block + 100, "0000644");
	strcpy(block + 108, "0000000");
	strcpy(block + 116, "0000000");
	snprintf(block + 124, 12, "%011zo", size);
	strcpy(block + 136, "00000000000");
	memset(block + 148, ' ', 8);
	block[156] = type;
	memcpy(block + 257, "ustar\00000", 8);
	for (size_t i = 0; i < sizeof(block); i++)
		sum += (unsigned char)block[i];
	snprintf(block + 148, 8, "%06o", sum);
	fwrite(block, 1, sizeof(block), out);
}

static void add_padded(FILE *out, const char *data, size_t len)
{
	static const char zeros[512];

	fwrite(data, 1, len, out);
	fwrite(zeros, 1, (512 - len % 512) % 512, out);
}

/* Names are bytes: neither composed to another form of the same letters nor required to be UTF-8. */
static void keeps_bytes_of_names(void **state)
{
	static const char *const names[] = {"e\xcc\x81", "\xc3\xa9", "x\xff"};
	static const char zeros[1024];
	struct fixture *f = *state;
	FILE *out = fopen(f->tar, "w");

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		char record[64];
		int len = (int)strlen(names[i]) + 9; /* "NN path=\n" */

		snprintf(record, sizeof(record), "%d path=%s\n", len, names[i]);
		assert_int_equal(strlen(record), len);
		add_block(out, "PaxHeader", 'x', (size_t)len);
		add_padded(out, record, (size_t)len);
		add_block(out, "short", '0', 1);
		add_padded(out, "1", 1);
	}
	fwrite(zeros, 1, sizeof(zeros), out);
	fclose(out);
	expect_ok(f);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		expect_content(f, names[i], "1");
}

/* ---------------------------------------------------------------- what must be refused */

static void refuses_escapes(void **state)
{
	struct fixture *f = *state;
	static const struct {
		const char *what;
		struct tar_entry e[2];
		const char *part;
	} cases[] = {
		{"absolute", {{.name = "/etc/escape", .data = "x"}}, "absolute"},
		{"dotdot", {{.name = "../escape", .data = "x"}}, "\"..\""},
		{"dotdot inside", {{.name = "a/../../escape", .data = "x"}}, "\"..\""},
		{"relative link", {{.name = "up", .type = AE_IFLNK, .symlink = ".."}, {.name = "up/escape", .data = "x"}},
		 "leads out"},
		{"absolute link", {{.name = "abs", .type = AE_IFLNK, .symlink = "/tmp"}, {.name = "abs/escape", .data = "x"}},
		 "leads out"},
		{"hard link out", {{.name = "up", .type = AE_IFLNK, .symlink = "../.."}, {.name = "h", .hardlink = "up/layer.tar"}},
		 "leads out"},
		{"hard link dotdot", {{.name = "h", .hardlink = "../layer.tar"}}, "\"..\""},
		{"hard link absolute", {{.name = "h", .hardlink = "/etc/passwd"}}, "absolute"},
		{"hard link to nothing", {{.name = "h", .hardlink = "nothing"}}, "hard link"},
		{"whiteout out", {{.name = "up", .type = AE_IFLNK, .symlink = ".."}, {.name = "up/.wh.layer.tar", .data = ""}},
		 "leads out"},
		{"opaque out", {{.name = "up", .type = AE_IFLNK, .symlink = ".."}, {.name = "up/.wh..wh..opq", .data = ""}},
		 "leads out"},
		{"whiteout of parent", {{.name = "a/.wh...", .data = ""}}, "whiteout"},
		{"whiteout of nothing", {{.name = "a/.wh.", .data = ""}}, "whiteout"},
		{"proc magic", {{.name = "m", .type = AE_IFLNK, .symlink = "/proc/self/root"}, {.name = "m/tmp/escape", .data = "x"}},
		 "leads out"},
		{"through a file", {{.name = "a", .data = "x"}, {.name = "a/b", .data = "x"}}, "no directory"},
		{"through a dangling link", {{.name = "a", .type = AE_IFLNK, .symlink = "gone"}, {.name = "a/b", .data = "x"}},
		 "no directory"},
		{"root as a file", {{.name = "./", .data = "x"}}, ""},
		{"owner", {{.name = "a", .data = "x", .uid = UINT32_MAX}}, "owner"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char path[128];

		assert_int_equal(file_remove_tree(f->root, NULL), 0);
		assert_int_equal(mkdir(f->root, 0755), 0);
		tarmaker_open(&f->t, f->tar, ARCHIVE_FILTER_GZIP);
		tarmaker_add(&f->t, &cases[i].e[0]);
		if (cases[i].e[1].name)
			tarmaker_add(&f->t, &cases[i].e[1]);
		tarmaker_close(&f->t);
		if (unpack(f) == 0)
			fail_msg("%s: accepted", cases[i].what);
		if (f->err.code != ERR_DATA_LOSS || !strstr(f->err.msg, cases[i].part))
			fail_msg("%s: %s", cases[i].what, f->err.msg);
		snprintf(path, sizeof(path), "%s/escape", f->dir);
		assert_int_equal(access(path, F_OK), -1);
		assert_int_equal(access("/tmp/escape", F_OK), -1);
		assert_int_equal(access(f->tar, F_OK), 0);
		assert_int_equal(lgetxattr(f->dir, "trusted.overlay.opaque", NULL, 0), -1);
	}
}

/* Links that stay inside are fine. */
static void follows_links_inside(void **state)
{
	struct fixture *f = *state;

	tarmaker_open(&f->t, f->tar, ARCHIVE_FILTER_GZIP);
	tar_add(&f->t, .name = "usr/lib", .type = AE_IFDIR, .mode = 0755);
	tar_add(&f->t, .name = "lib", .type = AE_IFLNK, .symlink = "usr/lib");
	tar_add(&f->t, .name = "lib/libc.so", .data = "c");
	tar_add(&f->t, .name = "a/up", .type = AE_IFLNK, .symlink = "../usr");
	tar_add(&f->t, .name = "a/up/new/file", .data = "d");
	tarmaker_close(&f->t);
	expect_ok(f);
	expect_content(f, "usr/lib/libc.so", "c");
	expect_content(f, "usr/new/file", "d");
	assert_int_equal(stat_of(f, "lib").st_mode & S_IFMT, S_IFLNK);
}

static void refuses_damage(void **state)
{
	struct fixture *f = *state;
	char digest[DIGEST_MAX], noise[40000];
	struct stat st;
	int fd;

	for (size_t i = 0; i < sizeof(noise); i++)
		noise[i] = (char)(i * 2654435761u >> 13);
	tarmaker_open(&f->t, f->tar, ARCHIVE_FILTER_GZIP);
	tar_add(&f->t, .name = "file", .data = noise, .len = sizeof(noise));
	tarmaker_close(&f->t);
	file_digest(f->tar, digest);
	assert_int_equal(stat(f->tar, &st), 0);

	/* Cut short: told as what it is, when the digest says so. */
	assert_int_equal(truncate(f->tar, st.st_size / 2), 0);
	assert_int_equal(unpack_layer(&(struct unpack_options){.blob_path = f->tar, .blob_digest = digest,
							       .root = f->root}, &f->err), -1);
	assert_int_equal(f->err.code, ERR_DATA_LOSS);
	assert_non_null(strstr(f->err.msg, "corrupt"));
	/* Made like this: the digest is right, the content is not. */
	expect_refused(f, ERR_DATA_LOSS, "");

	fd = open(f->tar, O_WRONLY | O_TRUNC);
	assert_int_equal(write(fd, noise, sizeof(noise)), sizeof(noise));
	close(fd);
	expect_refused(f, ERR_DATA_LOSS, "");
	assert_int_equal(truncate(f->tar, 0), 0);
	expect_refused(f, ERR_DATA_LOSS, "");
}

static void bounds_entries_and_bytes(void **state)
{
	struct fixture *f = *state;
	struct unpack_options o = {.blob_path = f->tar, .root = f->root, .max_entries = 3};
	char name[16], *big = xcalloc(1, 1 << 20);

	tarmaker_open(&f->t, f->tar, ARCHIVE_FILTER_GZIP);
	for (int i = 0; i < 4; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		tar_add(&f->t, .name = name, .data = big, .len = 1 << 20);
	}
	tarmaker_close(&f->t);
	free(big);
	assert_int_equal(unpack_layer(&o, &f->err), -1);
	assert_int_equal(f->err.code, ERR_EXHAUSTED);
	o.max_entries = 0;
	o.max_bytes = 2 << 20;
	assert_int_equal(unpack_layer(&o, &f->err), -1);
	assert_int_equal(f->err.code, ERR_EXHAUSTED);
	o.max_bytes = 4 << 20;
	assert_int_equal(unpack_layer(&o, &f->err), 0);
}

/* Gigabytes of nothing behind the end of the archive. */
static void bounds_padding(void **state)
{
	struct fixture *f = *state;
	struct archive *a = archive_write_new();
	struct archive_entry *e = archive_entry_new();
	char *zeros = xcalloc(1, 1 << 20);

	assert_int_equal(archive_write_set_format_raw(a), ARCHIVE_OK);
	assert_int_equal(archive_write_add_filter_zstd(a), ARCHIVE_OK);
	assert_int_equal(archive_write_open_filename(a, f->tar), ARCHIVE_OK);
	archive_entry_set_filetype(e, AE_IFREG);
	assert_int_equal(archive_write_header(a, e), ARCHIVE_OK);
	for (int i = 0; i < 100; i++)
		assert_int_equal(archive_write_data(a, zeros, 1 << 20), 1 << 20);
	archive_write_close(a);
	archive_write_free(a);
	archive_entry_free(e);
	free(zeros);
	expect_refused(f, ERR_DATA_LOSS, "belong to no file");
}

static void stops_when_cancelled(void **state)
{
	struct fixture *f = *state;
	atomic_bool cancel = true;

	tarmaker_open(&f->t, f->tar, ARCHIVE_FILTER_GZIP);
	tar_add(&f->t, .name = "file", .data = "x");
	tarmaker_close(&f->t);
	assert_int_equal(unpack_layer(&(struct unpack_options){.blob_path = f->tar, .root = f->root, .cancel = &cancel},
				      &f->err), -1);
	assert_int_equal(f->err.code, ERR_CANCELLED);
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(keeps_files), T(takes_each_compression), T(checks_both_digests), T(makes_whiteouts),
		T(whiteout_beside_entry), T(keeps_hard_links_and_devices), T(keeps_attributes),
		T(later_entries_replace), T(keeps_holes_and_long_names), T(keeps_bytes_of_names),
		T(refuses_escapes), T(follows_links_inside), T(refuses_damage), T(bounds_entries_and_bytes),
		T(bounds_padding), T(stops_when_cancelled),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
