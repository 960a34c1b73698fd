/* Pulls from a real registry with TLS and a password, and everything that can be wrong with one. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "agent/image/image.h"

#include "agent/image/manifest.h"
#include "common/log.h"
#include "common/registry.h"
#include "support/imagemaker.h"
#include "support/registry_server.h"

#include <dirent.h>

struct fixture {
	char dir[64], state[96], tmp[96], files[96], archive[96], source[128];
	char ref[128];               /* "127.0.0.1:port/web:1" */
	uv_loop_t loop;
	struct image_store *store;
	struct registry_server registry;
	struct image_files image;    /* what web:1 is */
};

static void store_open(struct fixture *f, const char *auth_file)
{
	struct error err = ERROR_INIT;

	f->store = image_store_new(&(struct image_store_options){.loop = &f->loop, .dir = f->state, .tmp_dir = f->tmp,
								 .auth_file = auth_file,
								 .registries_dir = f->registry.certs_dir}, &err);
	if (!f->store)
		fail_msg("%s", err.msg);
}

static int setup(void **state)
{
	struct fixture *f = xnew(struct fixture);
	char registry[96];

	strcpy(f->dir, "/tmp/registry-test-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	path_in(f->state, sizeof(f->state), f->dir, "images");
	path_in(f->tmp, sizeof(f->tmp), f->dir, "tmp");
	path_in(f->files, sizeof(f->files), f->dir, "files");
	path_in(f->archive, sizeof(f->archive), f->dir, "archive.tar");
	path_in(registry, sizeof(registry), f->dir, "registry");
	snprintf(f->source, sizeof(f->source), "oci-archive:%s", f->archive);
	assert_int_equal(mkdir(f->files, 0700), 0);
	uv_loop_init(&f->loop);
	registry_start(&f->registry, registry);
	f->image = (struct image_files){.dir = f->files, .file = {"base", "top"}, .text = {"1", "2"}, .filter = ARCHIVE_FILTER_GZIP};
	image_files_make(&f->image);
	make_oci_archive(&f->image, f->archive, "");
	registry_push(&f->registry, f->source, "web:1", "");
	snprintf(f->ref, sizeof(f->ref), "%s/web:1", f->registry.host);
	store_open(f, f->registry.auth_file);
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
	registry_stop(&f->registry);
	assert_int_equal(file_remove_tree(f->dir, NULL), 0);
	free(f);
	return 0;
}

static void ensure(struct fixture *f, struct outcome *o, const struct image_want *want)
{
	*o = (struct outcome){0};
	image_ensure(f->store, want, outcome_progress, outcome_done, o);
	loop_until(&f->loop, &o->done);
}

static void pull(struct fixture *f, struct outcome *o, const char *ref, const char *auth)
{
	*o = (struct outcome){0};
	image_pull(f->store, ref, auth, outcome_progress, outcome_done, o);
	loop_until(&f->loop, &o->done);
}

static void expect_error(struct outcome *o, enum error_code code, const char *part)
{
	if (o->image || o->err.code != code || !strstr(o->err.msg, part))
		fail_msg("%s: %s, wanted %s \"%s\"", error_code_name(o->err.code), o->err.msg, error_code_name(code), part);
}

static void expect_image(struct outcome *o, const char *digest)
{
	if (!o->image)
		fail_msg("%s", o->err.msg);
	assert_string_equal(o->image->digest, digest);
}

static void expect_nothing_stored(struct fixture *f)
{
	uint64_t until = uv_hrtime() + 10 * UINT64_C(1000000000);

	while (rmdir(f->tmp) < 0) { /* what was under way goes on the pool */
		assert_true(uv_hrtime() < until);
		uv_run(&f->loop, UV_RUN_NOWAIT);
	}
	assert_int_equal(mkdir(f->tmp, 0700), 0);
	assert_int_equal(sh("test -z \"$(ls %s/layers %s/blobs/sha256 | grep -v :)\"", f->state, f->state), 0);
}

/* ---------------------------------------------------------------- */

static void pulls_by_tag_and_digest(void **state)
{
	struct fixture *f = *state;
	char path[256], *text = NULL, pinned[256];
	struct outcome o;
	size_t n;

	ensure(f, &o, &(struct image_want){.ref = f->ref});
	expect_image(&o, f->image.manifest); /* the registry's manifest, byte for byte */
	path_in(path, sizeof(path), o.image->layers[1], "top");
	assert_int_equal(file_read(path, 100, &text, NULL, NULL), 0);
	assert_string_equal(text, "2");
	free(text);
	assert_string_equal(image_list(f->store, &n)[0]->names[0], f->ref);
	assert_false(image_list(f->store, &n)[0]->loaded);
	outcome_fini(&o);
	/* Now it is here: nobody is asked. */
	registry_stop(&f->registry);
	ensure(f, &o, &(struct image_want){.ref = f->ref, .digest = f->image.manifest});
	expect_image(&o, f->image.manifest);
	assert_int_equal(o.progress, 0);
	outcome_fini(&o);
	assert_true(registry_run(&f->registry));
	/* A name with a digest in it, and no tag: no name is given. */
	snprintf(pinned, sizeof(pinned), "%s/web@%s", f->registry.host, f->image.manifest);
	pull(f, &o, pinned, NULL);
	expect_image(&o, f->image.manifest);
	outcome_fini(&o);
	assert_int_equal(image_list(f->store, &n)[0]->n_names, 1);
	assert_int_equal(n, 1);
}

static void keeps_dockers_manifests(void **state)
{
	struct fixture *f = *state;
	char ref[128], docker_digest[80];
	struct outcome o;

	registry_push(&f->registry, f->source, "docker:1", "--format v2s2");
	snprintf(ref, sizeof(ref), "%s/docker:1", f->registry.host);
	pull(f, &o, ref, NULL);
	if (!o.image)
		fail_msg("%s", o.err.msg);
	snprintf(docker_digest, sizeof(docker_digest), "%s", o.image->digest);
	assert_string_not_equal(docker_digest, f->image.manifest);
	outcome_fini(&o);
	ensure(f, &o, &(struct image_want){.ref = ref, .digest = docker_digest});
	expect_image(&o, docker_digest);
	assert_int_equal(o.progress, 0);
	outcome_fini(&o);
}

static void tells_wrong_credentials(void **state)
{
	struct fixture *f = *state;
	_cleanup_free_ char *wrong = registry_auth_json(&f->registry, "wrong");
	_cleanup_free_ char *right = registry_auth_json(&f->registry, "right");
	struct outcome o;

	pull(f, &o, f->ref, wrong);
	expect_error(&o, ERR_DENIED, f->ref);
	assert_null(strstr(o.err.msg, "wrong"));
	store_close_wait(&f->loop, f->store);
	store_open(f, NULL);
	ensure(f, &o, &(struct image_want){.ref = f->ref, .digest = f->image.manifest});
	expect_error(&o, ERR_DENIED, "");
	expect_nothing_stored(f);
	ensure(f, &o, &(struct image_want){.ref = f->ref, .digest = f->image.manifest, .registry_auth = right});
	expect_image(&o, f->image.manifest);
	outcome_fini(&o);
}

static void tells_unknown_names(void **state)
{
	struct fixture *f = *state;
	char ref[128], digest[DIGEST_MAX];
	struct outcome o;

	snprintf(ref, sizeof(ref), "%s/nothing:1", f->registry.host);
	pull(f, &o, ref, NULL);
	expect_error(&o, ERR_NOT_FOUND, ref);
	snprintf(ref, sizeof(ref), "%s/web:2", f->registry.host);
	pull(f, &o, ref, NULL);
	expect_error(&o, ERR_NOT_FOUND, ref);
	digest_of("other", 5, digest);
	ensure(f, &o, &(struct image_want){.ref = f->ref, .digest = digest});
	expect_error(&o, ERR_NOT_FOUND, digest);
	expect_nothing_stored(f);
}

static void refuses_a_corrupt_layer(void **state)
{
	struct fixture *f = *state;
	char path[256], *data = NULL;
	struct outcome o;
	size_t len;

	registry_blob_file(&f->registry, digest_hex(f->image.blob[1]), path, sizeof(path));
	assert_int_equal(file_read(path, 1 << 20, &data, &len, NULL), 0);
	data[len / 2] ^= 1;
	assert_int_equal(file_write(path, data, len, 0600, NULL), 0);
	free(data);
	pull(f, &o, f->ref, NULL);
	expect_error(&o, ERR_DATA_LOSS, digest_hex(f->image.blob[1]));
	expect_nothing_stored(f);
}

static void tells_a_registry_that_is_down(void **state)
{
	struct fixture *f = *state;
	struct outcome o;

	registry_stop(&f->registry);
	pull(f, &o, f->ref, NULL);
	expect_error(&o, ERR_UNAVAILABLE, "connection refused");
	assert_non_null(strstr(o.err.msg, f->ref));
	/* A certificate that nobody vouches for. */
	assert_true(registry_run(&f->registry));
	assert_int_equal(file_remove_tree(f->registry.certs_dir, NULL), 0);
	pull(f, &o, f->ref, NULL);
	expect_error(&o, ERR_UNAVAILABLE, "x509");
	expect_nothing_stored(f);
}

/* What another image has brought is not copied again: the registry has lost it meanwhile. */
static void copies_only_what_is_missing(void **state)
{
	struct fixture *f = *state;
	struct image_files other = {.dir = f->files, .file = {"base", "more"}, .text = {"1", "3"}, .filter = ARCHIVE_FILTER_GZIP};
	char ref[128], path[256];
	struct outcome o;

	image_files_make(&other);
	make_oci_archive(&other, f->archive, "");
	registry_push(&f->registry, f->source, "other:1", "");
	pull(f, &o, f->ref, NULL);
	expect_image(&o, f->image.manifest);
	outcome_fini(&o);
	assert_string_equal(other.blob[0], f->image.blob[0]);
	registry_blob_file(&f->registry, digest_hex(other.blob[0]), path, sizeof(path));
	assert_int_equal(unlink(path), 0);
	snprintf(ref, sizeof(ref), "%s/other:1", f->registry.host);
	pull(f, &o, ref, NULL);
	expect_image(&o, other.manifest);
	outcome_fini(&o);
}

struct resolved {
	bool done;
	char digest[DIGEST_MAX];
	struct error err;
};

static void on_resolved(void *data, const char *digest, const struct error *err)
{
	struct resolved *r = data;

	assert_false(r->done);
	r->done = true;
	snprintf(r->digest, sizeof(r->digest), "%s", digest ? digest : "");
	r->err = err ? *err : ERROR_INIT;
}

static struct resolved resolve(struct fixture *f, const char *ref, const char *auth_json)
{
	struct resolved r = {0};

	registry_resolve(&f->loop, &(struct registry_access){.auth_json = auth_json, .auth_file = f->registry.auth_file,
							     .certs_dir = f->registry.certs_dir}, ref, 20000, on_resolved, &r);
	assert_false(r.done);
	loop_until(&f->loop, &r.done);
	return r;
}

static void resolves_digests(void **state)
{
	struct fixture *f = *state;
	_cleanup_free_ char *wrong = registry_auth_json(&f->registry, "wrong");
	struct registry_request *request;
	struct resolved r;

	r = resolve(f, f->ref, NULL);
	assert_string_equal(r.digest, f->image.manifest);
	r = resolve(f, f->ref, wrong);
	assert_int_equal(r.err.code, ERR_DENIED);
	r = resolve(f, "Not A Name", NULL);
	assert_int_equal(r.err.code, ERR_INVALID);
	r = (struct resolved){0};
	request = registry_resolve(&f->loop, &(struct registry_access){0}, f->ref, 20000, on_resolved, &r);
	registry_cancel(request, NULL);
	loop_until(&f->loop, &r.done);
	assert_int_equal(r.err.code, ERR_CANCELLED);
}

/* A name for several platforms: pinned by the digest of the index, found by it ever after. */
static void pulls_from_an_index(void **state)
{
	struct fixture *f = *state;
	char index[1024], top[512], digest[DIGEST_MAX], name[128], ref[128], manifest[256];
	struct platform host;
	struct tarmaker t;
	struct outcome o;
	struct resolved r;
	struct stat st;

	platform_host(&host);
	path_in(manifest, sizeof(manifest), f->files, "manifest.json");
	assert_int_equal(stat(manifest, &st), 0);
	snprintf(index, sizeof(index),
		 "{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.index.v1+json\",\"manifests\":["
		 "{\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",\"digest\":\"%s\",\"size\":%lld,\"platform\":{\"os\":\"linux\",\"architecture\":\"%s\"}}]}",
		 f->image.manifest, (long long)st.st_size, host.arch);
	digest_of(index, strlen(index), digest);
	snprintf(top, sizeof(top), "{\"schemaVersion\":2,\"manifests\":[{\"mediaType\":\"application/vnd.oci.image.index.v1+json\",\"digest\":\"%s\",\"size\":%zu}]}",
		 digest, strlen(index));
	snprintf(name, sizeof(name), "blobs/sha256/%s", digest_hex(digest));
	tarmaker_open(&t, f->archive, ARCHIVE_FILTER_NONE);
	tar_add(&t, .name = "oci-layout", .data = "{\"imageLayoutVersion\":\"1.0.0\"}");
	tar_add(&t, .name = name, .data = index);
	add_image_blobs(&t, &f->image);
	tar_add(&t, .name = "index.json", .data = top);
	tarmaker_close(&t);
	registry_push(&f->registry, f->source, "multi:1", "--all");
	snprintf(ref, sizeof(ref), "%s/multi:1", f->registry.host);

	r = resolve(f, ref, NULL);
	assert_string_equal(r.digest, digest);
	ensure(f, &o, &(struct image_want){.ref = ref, .digest = digest});
	expect_image(&o, f->image.manifest);
	outcome_fini(&o);
	store_close_wait(&f->loop, f->store);
	store_open(f, f->registry.auth_file);
	registry_stop(&f->registry);
	ensure(f, &o, &(struct image_want){.ref = ref, .digest = digest});
	expect_image(&o, f->image.manifest);
	outcome_fini(&o);
	ensure(f, &o, &(struct image_want){.ref = ref, .digest = f->image.manifest});
	expect_image(&o, f->image.manifest);
	outcome_fini(&o);
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(pulls_by_tag_and_digest), T(keeps_dockers_manifests), T(tells_wrong_credentials), T(tells_unknown_names),
		T(refuses_a_corrupt_layer), T(tells_a_registry_that_is_down), T(copies_only_what_is_missing),
		T(resolves_digests), T(pulls_from_an_index),
	};

	log_init("test", LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
