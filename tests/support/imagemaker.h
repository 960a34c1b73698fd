/* imagemaker - small images for tests: OCI layouts, docker-archives, and a loop to wait in. */
#pragma once
#include "agent/image/image.h"
#include "common/digest.h"
#include "common/error.h"
#include "common/file.h"
#include "common/mem.h"
#include "common/str.h"
#include "support/tarmaker.h"

#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

/*
 * ThreadSanitizer takes proc_fork()'s clone(CLONE_VM) for a fork, and what it then switches off in the child it has
 * switched off in the parent as well: they share memory. So it must not see it.
 */
#ifdef __SANITIZE_THREAD__
int __clone(int (*fn)(void *), void *stack, int flags, void *arg, ...);
int clone(int (*fn)(void *), void *stack, int flags, void *arg, ...)
{
	return __clone(fn, stack, flags, arg);
}
#endif

/* It cannot see that libuv closes the descriptor of a loop only behind its last wake-up. */
const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void)
{
	return "race:uv_async_send\n";
}

/* One image: up to 4 layers, each with one file. Fill name[] and text[], then image_files_make(). */
struct image_files {
	const char *dir;               /* existing; gets layer<i>.tar, config.json, manifest.json */
	const char *file[4], *text[4]; /* content of each layer; NULL ends */
	int filter;                    /* of the layers */
	const char *cmd;
	char blob[4][DIGEST_MAX], diff_id[4][DIGEST_MAX], config[DIGEST_MAX], manifest[DIGEST_MAX];
	int64_t size[4];
	size_t n;
};

static inline void path_in(char *buf, size_t size, const char *dir, const char *name)
{
	int n = snprintf(buf, size, "%s/%s", dir, name);

	assert(n > 0 && (size_t)n < size);
}

static inline void make_layer_file(struct image_files *m, size_t i, int filter, const char *path)
{
	struct tarmaker t;

	tarmaker_open(&t, path, filter);
	tar_add(&t, .name = m->file[i], .data = m->text[i], .mtime = 77);
	tarmaker_close(&t);
}

static inline void image_files_make(struct image_files *m)
{
	struct strbuf config = {0}, manifest = {0};
	char path[256], name[32];
	struct stat st;

	strbuf_printf(&config, "{\"architecture\":\"amd64\",\"os\":\"linux\",\"config\":{\"Cmd\":[\"%s\"],\"Env\":[\"A=b\"]},"
		      "\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[", m->cmd ? m->cmd : "/bin/true");
	for (m->n = 0; m->n < 4 && m->file[m->n]; m->n++) {
		snprintf(name, sizeof(name), "layer%zu.tar", m->n);
		path_in(path, sizeof(path), m->dir, name);
		make_layer_file(m, m->n, ARCHIVE_FILTER_NONE, path);
		file_digest(path, m->diff_id[m->n]);
		make_layer_file(m, m->n, m->filter, path);
		file_digest(path, m->blob[m->n]);
		assert(stat(path, &st) == 0);
		m->size[m->n] = st.st_size;
		strbuf_printf(&config, "%s\"%s\"", m->n ? "," : "", m->diff_id[m->n]);
	}
	strbuf_puts(&config, "]}}");
	path_in(path, sizeof(path), m->dir, "config.json");
	assert(file_write(path, config.p, config.len, 0600, NULL) == 0);
	digest_of(config.p, config.len, m->config);
	strbuf_printf(&manifest, "{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\","
		      "\"config\":{\"mediaType\":\"application/vnd.oci.image.config.v1+json\",\"digest\":\"%s\",\"size\":%zu},"
		      "\"layers\":[", m->config, config.len);
	for (size_t i = 0; i < m->n; i++)
		strbuf_printf(&manifest, "%s{\"mediaType\":\"application/vnd.oci.image.layer.v1.tar%s\",\"digest\":\"%s\",\"size\":%lld}",
			      i ? "," : "", m->filter == ARCHIVE_FILTER_GZIP ? "+gzip" : "", m->blob[i],
			      (long long)m->size[i]);
	strbuf_puts(&manifest, "]}");
	path_in(path, sizeof(path), m->dir, "manifest.json");
	assert(file_write(path, manifest.p, manifest.len, 0600, NULL) == 0);
	digest_of(manifest.p, manifest.len, m->manifest);
	strbuf_fini(&config);
	strbuf_fini(&manifest);
}

static inline void add_blob(struct tarmaker *t, const struct image_files *m, const char *file, const char *digest)
{
	char path[256], name[128];

	path_in(path, sizeof(path), m->dir, file);
	snprintf(name, sizeof(name), "blobs/sha256/%s", digest_hex(digest));
	tar_add_file(t, name, path, 0644);
}

/* The blobs of an image, as an OCI archive has them. */
static inline void add_image_blobs(struct tarmaker *t, const struct image_files *m)
{
	char name[32];

	for (size_t i = 0; i < m->n; i++) {
		snprintf(name, sizeof(name), "layer%zu.tar", i);
		add_blob(t, m, name, m->blob[i]);
	}
	add_blob(t, m, "config.json", m->config);
	add_blob(t, m, "manifest.json", m->manifest);
}

/* An OCI archive with one image; annotations: '"key":"value",...' or "". */
static inline void make_oci_archive(const struct image_files *m, const char *path, const char *annotations)
{
	struct tarmaker t;
	char json[1024], from[256];
	struct stat st;

	path_in(from, sizeof(from), m->dir, "manifest.json");
	assert(stat(from, &st) == 0);
	snprintf(json, sizeof(json), "{\"schemaVersion\":2,\"manifests\":[{\"digest\":\"%s\",\"size\":%lld,\"annotations\":{%s}}]}",
		 m->manifest, (long long)st.st_size, annotations);
	tarmaker_open(&t, path, ARCHIVE_FILTER_NONE);
	tar_add(&t, .name = "oci-layout", .data = "{\"imageLayoutVersion\":\"1.0.0\"}");
	tar_add(&t, .name = "index.json", .data = json);
	add_image_blobs(&t, m);
	tarmaker_close(&t);
}

/* A docker-archive with one image; the layers must be plain tars. tags: '"web:1","web:2"' */
static inline void make_docker_archive(const struct image_files *m, const char *path, const char *tags)
{
	struct strbuf json = {0};
	char from[256], name[32];
	struct tarmaker t;

	tarmaker_open(&t, path, ARCHIVE_FILTER_NONE);
	path_in(from, sizeof(from), m->dir, "config.json");
	tar_add_file(&t, "config.json", from, 0644);
	strbuf_printf(&json, "[{\"Config\":\"config.json\",\"RepoTags\":[%s],\"Layers\":[", tags);
	for (size_t i = 0; i < m->n; i++) {
		snprintf(name, sizeof(name), "layer%zu.tar", i);
		path_in(from, sizeof(from), m->dir, name);
		tar_add_file(&t, name, from, 0644);
		strbuf_printf(&json, "%s\"%s\"", i ? "," : "", name);
	}
	strbuf_puts(&json, "]}]");
	tar_add(&t, .name = "manifest.json", .data = json.p);
	tarmaker_close(&t);
	strbuf_fini(&json);
}

/* ---- waiting */

static inline void timed_out(uv_timer_t *timer)
{
	*(bool *)timer->data = true;
}

/* What a timer does is done before the loop waits: it must not wait for anything more then. */
static inline void stop_when_set(uv_prepare_t *prepare)
{
	if (*(const bool *)prepare->data)
		uv_stop(prepare->loop);
}

/* Run the loop until *flag, at most 30 s. */
static inline void loop_until(uv_loop_t *loop, const bool *flag)
{
	uv_timer_t timer;
	uv_prepare_t prepare;
	bool late = false;

	uv_timer_init(loop, &timer);
	timer.data = &late;
	uv_timer_start(&timer, timed_out, 30000, 0);
	uv_prepare_init(loop, &prepare);
	prepare.data = (void *)flag;
	uv_prepare_start(&prepare, stop_when_set);
	while (!*flag && !late)
		uv_run(loop, UV_RUN_ONCE);
	uv_close((uv_handle_t *)&timer, NULL);
	uv_close((uv_handle_t *)&prepare, NULL);
	uv_run(loop, UV_RUN_NOWAIT);
	assert(*flag);
}

/* What a job said. */
struct outcome {
	bool done;
	struct image *image; /* a reference, to be given back */
	struct error err;
	unsigned progress;
	char last_progress[256];
};

static inline void outcome_progress(void *data, const char *message)
{
	struct outcome *o = data;

	o->progress++;
	snprintf(o->last_progress, sizeof(o->last_progress), "%s", message);
}

static inline void outcome_done(void *data, struct image *image, const struct error *err)
{
	struct outcome *o = data;

	assert(!o->done);
	o->done = true;
	o->image = image ? image_ref(image) : NULL;
	o->err = err ? *err : ERROR_INIT;
}

static inline void outcome_fini(struct outcome *o)
{
	image_unref(o->image);
	*o = (struct outcome){0};
}

static inline void flag_set(void *data)
{
	*(bool *)data = true;
}

static inline void store_close_wait(uv_loop_t *loop, struct image_store *s)
{
	bool closed = false;

	image_store_close(s, flag_set, &closed);
	loop_until(loop, &closed);
}
