#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "agent/image/image.h"

#include "common/log.h"
#include "support/imagemaker.h"

#include <dirent.h>
#include <errno.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>

struct fixture {
	char dir[64], state[96], tmp[96], files[96], archive[96];
	uv_loop_t loop;
	struct image_store *store;
	unsigned changes;
};

static void on_change(void *data)
{
	((struct fixture *)data)->changes++;
}

static void store_open(struct fixture *f)
{
	struct error err = ERROR_INIT;

	f->store = image_store_new(&(struct image_store_options){.loop = &f->loop, .dir = f->state, .tmp_dir = f->tmp},
				   &err);
	if (!f->store)
		fail_msg("%s", err.msg);
	image_store_on_change(f->store, on_change, f);
}

static void store_reopen(struct fixture *f)
{
	store_close_wait(&f->loop, f->store);
	store_open(f);
}

static int setup(void **state)
{
	struct fixture *f = xnew(struct fixture);

	strcpy(f->dir, "/tmp/store-test-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	path_in(f->state, sizeof(f->state), f->dir, "images");
	path_in(f->tmp, sizeof(f->tmp), f->dir, "tmp");
	path_in(f->files, sizeof(f->files), f->dir, "files");
	path_in(f->archive, sizeof(f->archive), f->dir, "archive.tar");
	assert_int_equal(mkdir(f->files, 0700), 0);
	uv_loop_init(&f->loop);
	store_open(f);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	if (f->store)
		store_close_wait(&f->loop, f->store);
	while (uv_run(&f->loop, UV_RUN_NOWAIT))
		;
	assert_int_equal(uv_loop_close(&f->loop), 0);
	assert_int_equal(file_remove_tree(f->dir, NULL), 0);
	free(f);
	return 0;
}

/* ---------------------------------------------------------------- helpers */

static void load(struct fixture *f, struct outcome *o)
{
	*o = (struct outcome){0};
	image_load(f->store, f->archive, false, outcome_progress, outcome_done, o);
	assert_false(o->done); /* never inside the call */
	loop_until(&f->loop, &o->done);
}

static void load_ok(struct fixture *f, struct outcome *o)
{
	load(f, o);
	if (!o->image)
		fail_msg("%s", o->err.msg);
}

static void ensure(struct fixture *f, struct outcome *o, const struct image_want *want)
{
	*o = (struct outcome){0};
	image_ensure(f->store, want, outcome_progress, outcome_done, o);
	loop_until(&f->loop, &o->done);
}

static struct image_files two_layers(struct fixture *f, int filter)
{
	struct image_files m = {.dir = f->files, .file = {"base", "top"}, .text = {"1", "2"}, .filter = filter};

	image_files_make(&m);
	return m;
}

static unsigned count(struct fixture *f, const char *dir, const char *sub)
{
	char path[256];
	unsigned n = 0;
	DIR *d;

	path_in(path, sizeof(path), dir, sub);
	d = opendir(path);
	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n - 2;
}

static void expect_stored(struct fixture *f, unsigned blobs, unsigned layers)
{
	uint64_t until = uv_hrtime() + 10 * UINT64_C(1000000000);

	/* Removal goes on the pool. */
	while ((count(f, f->state, "blobs/sha256") != blobs || count(f, f->state, "layers") != layers ||
		count(f, f->tmp, ".") != 0) && uv_hrtime() < until)
		uv_run(&f->loop, UV_RUN_NOWAIT);
	assert_int_equal(count(f, f->state, "blobs/sha256"), blobs);
	assert_int_equal(count(f, f->state, "layers"), layers);
	assert_int_equal(count(f, f->tmp, "."), 0);
}

static const pb_image_info *only_image(struct fixture *f)
{
	size_t n;
	pb_image_info *const *list = image_list(f->store, &n);

	assert_int_equal(n, 1);
	return list[0];
}

static void expect_file(const char *layer, const char *name, const char *text)
{
	char path[512], *data = NULL;

	path_in(path, sizeof(path), layer, name);
	assert_int_equal(file_read(path, 1 << 20, &data, NULL, NULL), 0);
	assert_string_equal(data, text);
	free(data);
}

/* ---------------------------------------------------------------- archives */

static void loads_an_oci_archive(void **state)
{
	struct fixture *f = *state;
	struct image_files m = two_layers(f, ARCHIVE_FILTER_GZIP);
	_cleanup_free_ char *blob = NULL;
	struct outcome o;

	make_oci_archive(&m, f->archive, "\"org.opencontainers.image.ref.name\":\"web:1\"");
	load_ok(f, &o);
	/* The digest is the archive's own: the manifest was kept as it is. */
	assert_string_equal(o.image->digest, m.manifest);
	assert_int_equal(o.image->n_layers, 2);
	expect_file(o.image->layers[0], "base", "1");
	expect_file(o.image->layers[1], "top", "2");
	assert_string_equal(o.image->cmd[0], "/bin/true");
	assert_string_equal(o.image->env[0], "A=b");
	assert_string_equal(only_image(f)->names[0], "docker.io/library/web:1");
	assert_true(only_image(f)->loaded);
	assert_true(only_image(f)->size_bytes > m.size[0] + m.size[1]);
	assert_true(f->changes > 0);
	assert_true(o.progress > 2);
	blob = image_blob_path(f->store, m.blob[0]);
	assert_non_null(blob);
	assert_null(image_blob_path(f->store, m.diff_id[0]));
	assert_null(image_blob_path(f->store, "../../etc/passwd"));
	expect_stored(f, 4, 2);
	outcome_fini(&o);
}

static void loads_a_docker_archive(void **state)
{
	struct fixture *f = *state;
	struct image_files m = two_layers(f, ARCHIVE_FILTER_NONE);
	struct outcome o;
	char digest[80];

	make_docker_archive(&m, f->archive, "\"web:1\",\"example.com/a/web:2\"");
	load_ok(f, &o);
	assert_int_equal(o.image->n_layers, 2);
	expect_file(o.image->layers[1], "top", "2");
	assert_int_equal(only_image(f)->n_names, 2);
	assert_string_equal(only_image(f)->names[1], "example.com/a/web:2");
	strcpy(digest, o.image->digest);
	outcome_fini(&o);
	/* Once more: the same digest, nothing new. */
	load_ok(f, &o);
	assert_string_equal(o.image->digest, digest);
	only_image(f);
	expect_stored(f, 4, 2);
	outcome_fini(&o);
}

static void loads_a_nameless_archive(void **state)
{
	struct fixture *f = *state;
	struct image_files m = two_layers(f, ARCHIVE_FILTER_ZSTD);
	struct outcome o;

	make_oci_archive(&m, f->archive, "\"org.opencontainers.image.ref.name\":\"latest\"");
	load_ok(f, &o);
	assert_int_equal(only_image(f)->n_names, 0);
	outcome_fini(&o);
	ensure(f, &o, &(struct image_want){.ref = "web", .digest = m.manifest});
	assert_non_null(o.image);
	outcome_fini(&o);
}

/* An index for several platforms inside of the archive: found by its digest and by the manifest's. */
static void loads_a_nested_index(void **state)
{
	struct fixture *f = *state;
	struct image_files m = two_layers(f, ARCHIVE_FILTER_GZIP);
	char index[600], top[600], digest[DIGEST_MAX], name[128];
	struct platform_text {
		const char *os, *arch;
	} const host = {"linux",
#if defined(__x86_64__)
			"amd64"
#elif defined(__aarch64__)
			"arm64"
#else
			""
#endif
	};
	struct tarmaker t;
	struct outcome o;

	snprintf(index, sizeof(index),
		 "{\"schemaVersion\":2,\"manifests\":[{\"digest\":\"sha256:%064d\",\"size\":1,\"platform\":{\"os\":\"plan9\",\"architecture\":\"mips\"}},"
		 "{\"digest\":\"%s\",\"size\":1,\"platform\":{\"os\":\"%s\",\"architecture\":\"%s\"}}]}",
		 0, m.manifest, host.os, host.arch);
	digest_of(index, strlen(index), digest);
	snprintf(top, sizeof(top), "{\"manifests\":[{\"digest\":\"%s\",\"size\":%zu,\"annotations\":{\"io.containerd.image.name\":\"docker.io/library/multi:1\"}}]}",
		 digest, strlen(index));
	snprintf(name, sizeof(name), "blobs/sha256/%s", digest_hex(digest));
	tarmaker_open(&t, f->archive, ARCHIVE_FILTER_GZIP);
	tar_add(&t, .name = "oci-layout", .data = "{}");
	tar_add(&t, .name = name, .data = index);
	add_image_blobs(&t, &m);
	tar_add(&t, .name = "index.json", .data = top);
	tarmaker_close(&t);
	load_ok(f, &o);
	assert_string_equal(o.image->digest, m.manifest);
	outcome_fini(&o);
	for (int i = 0; i < 2; i++) {
		_cleanup_free_ char *served = image_blob_path(f->store, digest);

		assert_non_null(served);
		ensure(f, &o, &(struct image_want){.ref = "multi:1", .digest = digest});
		assert_string_equal(o.image->digest, m.manifest);
		outcome_fini(&o);
		store_reopen(f);
	}
	expect_stored(f, 5, 2);
}

static void expect_bad_archive(struct fixture *f, enum error_code code, const char *part)
{
	struct outcome o;

	load(f, &o);
	assert_null(o.image);
	if (o.err.code != code || !strstr(o.err.msg, part))
		fail_msg("%s: %s, wanted \"%s\"", error_code_name(o.err.code), o.err.msg, part);
	expect_stored(f, 0, 0);
}

static void refuses_bad_archives(void **state)
{
	struct fixture *f = *state;
	struct image_files m = two_layers(f, ARCHIVE_FILTER_GZIP), broken;
	struct tarmaker t;
	char path[256];

	assert_int_equal(file_write(f->archive, "no tar", 6, 0600, NULL), 0);
	expect_bad_archive(f, ERR_DATA_LOSS, "not a tar");
	tarmaker_open(&t, f->archive, ARCHIVE_FILTER_NONE);
	tar_add(&t, .name = "readme", .data = "x");
	tarmaker_close(&t);
	expect_bad_archive(f, ERR_DATA_LOSS, "neither a docker-archive");
	assert_int_equal(unlink(f->archive), 0);
	expect_bad_archive(f, ERR_NOT_FOUND, "archive.tar");

	/* A blob that is not what its name says. */
	path_in(path, sizeof(path), f->files, "layer1.tar");
	assert_int_equal(file_write(path, "other", 5, 0600, NULL), 0);
	make_oci_archive(&m, f->archive, "");
	expect_bad_archive(f, ERR_DATA_LOSS, "corrupt");

	/* A layer that is not what the config says. */
	broken = two_layers(f, ARCHIVE_FILTER_GZIP);
	memcpy(broken.diff_id[1], broken.diff_id[0], DIGEST_MAX);
	{
		struct image_files other = broken;
		char *config = NULL, *at;
		size_t len;

		path_in(path, sizeof(path), f->files, "config.json");
		assert_int_equal(file_read(path, 1 << 20, &config, &len, NULL), 0);
		at = strstr(config, digest_hex(two_layers(f, ARCHIVE_FILTER_GZIP).diff_id[1]));
		assert_non_null(at);
		memcpy(at, digest_hex(other.diff_id[0]), DIGEST_HEX_LEN);
		digest_of(config, len, other.config);
		assert_int_equal(file_write(path, config, len, 0600, NULL), 0);
		free(config);
		path_in(path, sizeof(path), f->files, "manifest.json");
		assert_int_equal(file_read(path, 1 << 20, &config, &len, NULL), 0);
		at = strstr(config, digest_hex(broken.config));
		assert_non_null(at);
		memcpy(at, digest_hex(other.config), DIGEST_HEX_LEN);
		digest_of(config, len, other.manifest);
		assert_int_equal(file_write(path, config, len, 0600, NULL), 0);
		free(config);
		make_oci_archive(&other, f->archive, "");
	}
	expect_bad_archive(f, ERR_DATA_LOSS, "layer 2/2");
}

static void removes_the_archive_when_asked(void **state)
{
	struct fixture *f = *state;
	struct image_files m = two_layers(f, ARCHIVE_FILTER_GZIP);
	struct outcome o = {0};

	make_oci_archive(&m, f->archive, "");
	image_load(f->store, f->archive, true, NULL, outcome_done, &o);
	loop_until(&f->loop, &o.done);
	assert_non_null(o.image);
	outcome_fini(&o);
	for (uint64_t until = uv_hrtime() + 10 * UINT64_C(1000000000); access(f->archive, F_OK) == 0;) {
		assert_true(uv_hrtime() < until);
		uv_run(&f->loop, UV_RUN_NOWAIT);
	}
}

/* ---------------------------------------------------------------- store */

static void survives_a_restart(void **state)
{
	struct fixture *f = *state;
	struct image_files m = two_layers(f, ARCHIVE_FILTER_GZIP);
	char path[256];
	struct outcome o;

	make_oci_archive(&m, f->archive, "\"org.opencontainers.image.ref.name\":\"web:1\"");
	load_ok(f, &o);
	outcome_fini(&o);
	/* Leftovers of a crash: not in the table. */
	path_in(path, sizeof(path), f->state, "layers/0000000000000000000000000000000000000000000000000000000000000000");
	assert_int_equal(mkdir(path, 0700), 0);
	path_in(path, sizeof(path), f->state, "blobs/sha256/junk");
	assert_int_equal(file_write(path, "x", 1, 0600, NULL), 0);
	path_in(path, sizeof(path), f->tmp, "image-old");
	assert_int_equal(mkdir(path, 0700), 0);
	store_reopen(f);
	expect_stored(f, 4, 2);
	assert_string_equal(only_image(f)->names[0], "docker.io/library/web:1");
	assert_true(only_image(f)->loaded);
	ensure(f, &o, &(struct image_want){.ref = "docker.io/library/web:1"});
	assert_non_null(o.image);
	assert_string_equal(o.image->cmd[0], "/bin/true");
	assert_int_equal(o.progress, 0);
	outcome_fini(&o);

	/* A layer has gone: the image is not there any more. */
	path_in(path, sizeof(path), f->state, "layers");
	assert_int_equal(file_remove_tree(path, NULL), 0);
	store_reopen(f);
	expect_stored(f, 0, 0);
	{
		size_t n;

		image_list(f->store, &n);
		assert_int_equal(n, 0);
	}
}

static void refuses_a_broken_table(void **state)
{
	struct fixture *f = *state;
	struct error err = ERROR_INIT;
	char path[256];

	store_close_wait(&f->loop, f->store);
	f->store = NULL;
	path_in(path, sizeof(path), f->state, "images.json");
	assert_int_equal(file_write(path, "{", 1, 0600, NULL), 0);
	assert_null(image_store_new(&(struct image_store_options){.loop = &f->loop, .dir = f->state, .tmp_dir = f->tmp}, &err));
	assert_int_equal(err.code, ERR_DATA_LOSS);
	assert_non_null(strstr(err.msg, "images.json"));
}

static int remove_ref(struct fixture *f, const char *ref, bool force, Skein__RemoveImageResponse **ret, struct error *err)
{
	*err = ERROR_INIT;
	*ret = pb_new(&skein__remove_image_response__descriptor);
	return image_remove(f->store, ref, force, *ret, err);
}

static void removes_by_reference_counts(void **state)
{
	struct fixture *f = *state;
	struct image_files a = {.dir = f->files, .file = {"base", "a"}, .text = {"1", "2"}, .filter = ARCHIVE_FILTER_GZIP};
	struct image_files b = {.dir = f->files, .file = {"base", "b"}, .text = {"1", "3"}, .filter = ARCHIVE_FILTER_GZIP};
	Skein__RemoveImageResponse *resp;
	struct error err;
	struct outcome o;
	char hex[8];

	image_files_make(&a);
	make_oci_archive(&a, f->archive, "\"org.opencontainers.image.ref.name\":\"a:1\"");
	load_ok(f, &o);
	outcome_fini(&o);
	image_files_make(&b);
	make_oci_archive(&b, f->archive, "\"org.opencontainers.image.ref.name\":\"b:1\"");
	load_ok(f, &o);
	expect_stored(f, 7, 3); /* the base is there once */

	/* In use. */
	assert_int_equal(remove_ref(f, "b:1", false, &resp, &err), -1);
	assert_int_equal(err.code, ERR_PRECONDITION);
	pb_free(resp);
	outcome_fini(&o);
	assert_int_equal(remove_ref(f, "b:1", false, &resp, &err), 0);
	assert_int_equal(resp->n_untagged, 1);
	assert_string_equal(resp->untagged[0], "docker.io/library/b:1");
	assert_string_equal(resp->deleted[0], b.manifest);
	pb_free(resp);
	expect_stored(f, 4, 2);

	assert_int_equal(remove_ref(f, "nothing", false, &resp, &err), -1);
	assert_int_equal(err.code, ERR_NOT_FOUND);
	pb_free(resp);
	snprintf(hex, sizeof(hex), "%.3s", digest_hex(a.manifest));
	assert_int_equal(remove_ref(f, hex, false, &resp, &err), -1);
	pb_free(resp);
	snprintf(hex, sizeof(hex), "%.6s", digest_hex(a.manifest));
	assert_int_equal(remove_ref(f, hex, false, &resp, &err), 0);
	pb_free(resp);
	expect_stored(f, 0, 0);
	store_reopen(f);
	expect_stored(f, 0, 0);
}

static void untags_before_it_deletes(void **state)
{
	struct fixture *f = *state;
	struct image_files m = two_layers(f, ARCHIVE_FILTER_NONE);
	Skein__RemoveImageResponse *resp;
	struct error err;
	struct outcome o;

	make_docker_archive(&m, f->archive, "\"web:1\",\"web:2\"");
	load_ok(f, &o);
	assert_int_equal(remove_ref(f, o.image->digest, false, &resp, &err), -1);
	assert_int_equal(err.code, ERR_PRECONDITION);
	pb_free(resp);
	assert_int_equal(remove_ref(f, "web:1", false, &resp, &err), 0);
	assert_int_equal(resp->n_deleted, 0);
	pb_free(resp);
	assert_int_equal(only_image(f)->n_names, 1);
	/* By force while in use: gone from the list, its files stay until the last one lets go. */
	assert_int_equal(remove_ref(f, "web:2", true, &resp, &err), 0);
	pb_free(resp);
	{
		size_t n;

		image_list(f->store, &n);
		assert_int_equal(n, 0);
	}
	expect_stored(f, 4, 2);
	expect_file(o.image->layers[1], "top", "2");
	outcome_fini(&o);
	expect_stored(f, 0, 0);
}

static void a_name_moves(void **state)
{
	struct fixture *f = *state;
	struct image_files a = {.dir = f->files, .file = {"a"}, .text = {"1"}}, b = {.dir = f->files, .file = {"b"}, .text = {"2"}};
	struct outcome o;
	size_t n;

	image_files_make(&a);
	make_oci_archive(&a, f->archive, "\"org.opencontainers.image.ref.name\":\"web:1\"");
	load_ok(f, &o);
	outcome_fini(&o);
	image_files_make(&b);
	make_oci_archive(&b, f->archive, "\"org.opencontainers.image.ref.name\":\"web:1\"");
	load_ok(f, &o);
	outcome_fini(&o);
	ensure(f, &o, &(struct image_want){.ref = "web:1"});
	assert_string_equal(o.image->digest, b.manifest);
	outcome_fini(&o);
	assert_int_equal(image_list(f->store, &n)[0]->n_names, 0);
	assert_int_equal(n, 2);
}

static void equal_layers_are_mounted_once(void **state)
{
	struct fixture *f = *state;
	struct image_files m = {.dir = f->files, .file = {"x", "y", "x"}, .text = {"1", "2", "1"}, .filter = ARCHIVE_FILTER_GZIP};
	struct outcome o;

	image_files_make(&m);
	make_oci_archive(&m, f->archive, "");
	load_ok(f, &o);
	assert_int_equal(o.image->n_layers, 2);
	expect_file(o.image->layers[0], "y", "2");
	expect_file(o.image->layers[1], "x", "1");
	outcome_fini(&o);
}

/* ---------------------------------------------------------------- jobs */

static void shares_the_work(void **state)
{
	struct fixture *f = *state;
	struct image_want want = {.ref = "127.0.0.1:1/web:1"};
	struct outcome a = {0}, b = {0};

	image_ensure(f->store, &want, outcome_progress, outcome_done, &a);
	image_ensure(f->store, &want, outcome_progress, outcome_done, &b);
	loop_until(&f->loop, &a.done);
	loop_until(&f->loop, &b.done);
	assert_int_equal(a.err.code, ERR_UNAVAILABLE);
	assert_non_null(strstr(a.err.msg, "127.0.0.1:1/web:1"));
	assert_string_equal(a.err.msg, b.err.msg);
	assert_int_equal(a.progress, b.progress);
	expect_stored(f, 0, 0);
}

static void cancels(void **state)
{
	struct fixture *f = *state;
	struct image_files m = two_layers(f, ARCHIVE_FILTER_GZIP);
	struct image_want want = {.ref = "127.0.0.1:1/web:1"};
	struct outcome a = {0}, b = {0};
	struct image_job *job;

	job = image_ensure(f->store, &want, NULL, outcome_done, &a);
	image_ensure(f->store, &want, NULL, outcome_done, &b);
	image_job_cancel(job); /* the other one goes on */
	loop_until(&f->loop, &a.done);
	loop_until(&f->loop, &b.done);
	assert_int_equal(a.err.code, ERR_CANCELLED);
	assert_int_equal(b.err.code, ERR_UNAVAILABLE);

	make_oci_archive(&m, f->archive, "");
	a = (struct outcome){0};
	image_job_cancel(image_load(f->store, f->archive, false, NULL, outcome_done, &a));
	loop_until(&f->loop, &a.done);
	assert_int_equal(a.err.code, ERR_CANCELLED);
	expect_stored(f, 0, 0);

	/* The store closes first. */
	a = b = (struct outcome){0};
	image_load(f->store, f->archive, false, NULL, outcome_done, &a);
	image_ensure(f->store, &want, NULL, outcome_done, &b);
	store_close_wait(&f->loop, f->store);
	f->store = NULL;
	assert_true(a.done && b.done);
	assert_int_equal(a.err.code, ERR_CANCELLED);
	assert_int_equal(b.err.code, ERR_CANCELLED);
}

static void refuses_bad_wants(void **state)
{
	struct fixture *f = *state;
	struct outcome o;

	ensure(f, &o, &(struct image_want){.ref = "Not A Name"});
	assert_int_equal(o.err.code, ERR_INVALID);
	ensure(f, &o, &(struct image_want){.ref = "web", .digest = "sha256:12"});
	assert_int_equal(o.err.code, ERR_INVALID);
	assert_non_null(strstr(o.err.msg, "sha256:12"));
}

/* ---------------------------------------------------------------- full disk */

/* A process of its own, for its mounts are: 0 = as expected. */
static int full_disk_main(const char *dir, const char *size, const char *archive)
{
	struct fixture own = {0};
	struct outcome o = {0};
	struct error err = ERROR_INIT;

	log_init("test", LOG_LEVEL_ERROR);
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("disk", dir, "tmpfs", 0, size) < 0)
		return 10;
	path_in(own.state, sizeof(own.state), dir, "images");
	path_in(own.tmp, sizeof(own.tmp), dir, "tmp");
	uv_loop_init(&own.loop);
	own.store = image_store_new(&(struct image_store_options){.loop = &own.loop, .dir = own.state, .tmp_dir = own.tmp}, &err);
	if (!own.store)
		return 11;
	image_load(own.store, archive, false, NULL, outcome_done, &o);
	loop_until(&own.loop, &o.done);
	if (o.image || o.err.code != ERR_EXHAUSTED) {
		fprintf(stderr, "%s: %s\n", error_code_name(o.err.code), o.err.msg);
		return 12;
	}
	expect_stored(&own, 0, 0);
	store_close_wait(&own.loop, own.store);
	while (uv_run(&own.loop, UV_RUN_NOWAIT))
		;
	return uv_loop_close(&own.loop) == 0 ? 0 : 13;
}

static void says_when_the_disk_is_full(void **state)
{
	/* Too small for the blobs; enough for them, but not for what they unpack to. */
	static const char *const sizes[] = {"size=4m", "size=11m", "size=64m,nr_inodes=12"};
	struct fixture *f = *state;
	struct image_files m = {.dir = f->dir, .file = {"big"}, .filter = ARCHIVE_FILTER_NONE};
	char *text = xcalloc(1, 8 << 20);

	memset(text, 'x', (8 << 20) - 1);
	m.text[0] = text;
	image_files_make(&m);
	for (int docker = 0; docker < 2; docker++) {
		if (docker)
			make_docker_archive(&m, f->archive, "\"big:1\"");
		else
			make_oci_archive(&m, f->archive, "");
		for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
			pid_t pid = fork();
			int status;

			if (pid == 0) {
				execl("/proc/self/exe", "store_test", "full-disk", f->files, sizes[i], f->archive, NULL);
				_exit(127);
			}
			assert_int_equal(waitpid(pid, &status, 0), pid);
			if (status)
				fail_msg("%s, docker %d: status %x", sizes[i], docker, status);
		}
	}
	free(text);
}

int main(int argc, char **argv)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(loads_an_oci_archive), T(loads_a_docker_archive), T(loads_a_nameless_archive), T(loads_a_nested_index),
		T(refuses_bad_archives), T(removes_the_archive_when_asked), T(survives_a_restart),
		T(refuses_a_broken_table), T(removes_by_reference_counts), T(untags_before_it_deletes), T(a_name_moves),
		T(equal_layers_are_mounted_once), T(shares_the_work), T(cancels), T(refuses_bad_wants),
		T(says_when_the_disk_is_full),
	};

	if (argc == 5 && str_eq(argv[1], "full-disk"))
		return full_disk_main(argv[2], argv[3], argv[4]);
	log_init("test", LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
