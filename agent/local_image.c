#include "agent/local_internal.h"

#include "agent/image/image.h"
#include "agent/image/space.h"
#include "common/imageref.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/str.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#define AUTH_MAX_BYTES (64u << 10)
#define CHUNK_BYTES (256u << 10)

/* ---- progress and result of a job of the image store */

struct transfer {
	struct local *local;
	struct rpc_call *call;      /* NULL: the caller has gone */
	struct image_job *job;      /* runs; NULL before and after */

	/* Loading: chunks are written to a file by the uv pool, one at a time. */
	char *path;                 /* NULL once the image store owns the file */
	int fd;
	void *chunk;                /* being written */
	size_t chunk_len;
	bool writing, ended;        /* ended: no more chunks come */
	struct error err;           /* of the write */
};

static struct transfer *transfer_new(struct local *l, struct rpc_call *call)
{
	struct transfer *t = xnew(struct transfer);

	*t = (struct transfer){.local = l, .call = call, .fd = -1};
	rpc_call_set_data(call, t);
	closer_hold(&l->closer);
	return t;
}

/* Nothing runs any more. */
static void transfer_free(struct transfer *t)
{
	struct local *l = t->local;

	if (t->call)
		rpc_call_set_data(t->call, NULL);
	if (t->path)
		unlink(t->path);
	mem_closep(&t->fd);
	free(t->path);
	free(t->chunk);
	free(t);
	closer_drop(&l->closer);
}

static void transfer_fail(struct transfer *t, const struct error *err)
{
	struct rpc_call *call = TAKE_PTR(t->call);

	if (call) {
		rpc_call_set_data(call, NULL);
		rpc_call_fail(call, err);
	}
	transfer_free(t);
}

static void on_progress(void *data, const char *message)
{
	Skein__ImageProgress progress = SKEIN__IMAGE_PROGRESS__INIT;
	struct transfer *t = data;

	progress.message = (char *)message;
	if (t->call) /* a caller too slow for progress misses some of it */
		rpc_call_send(t->call, &progress.base, NULL);
}

static pb_image_info *find_info(const struct image_store *s, const char *digest)
{
	size_t n;
	pb_image_info *const *list = image_list(s, &n);

	for (size_t i = 0; i < n; i++) {
		if (str_eq(list[i]->digest, digest))
			return list[i];
	}
	return NULL;
}

static void on_image(void *data, struct image *image, const struct error *err)
{
	Skein__ImageProgress progress = SKEIN__IMAGE_PROGRESS__INIT;
	struct transfer *t = data;
	struct error local = ERROR_INIT;

	t->job = NULL;
	if (err) {
		transfer_fail(t, err);
		return;
	}
	progress.message = (char *)"done";
	progress.image = find_info(t->local->o.images, image->digest);
	if (t->call && rpc_call_send(t->call, &progress.base, &local) < 0) {
		transfer_fail(t, &local);
		return;
	}
	if (t->call)
		rpc_call_finish(t->call);
	transfer_free(t);
}

/* ---- pull */

void local_pull_image(struct rpc_call *call, const ProtobufCMessage *msg, void *data)
{
	const Skein__PullImageRequest *request = (const Skein__PullImageRequest *)msg;
	struct local *l = data;
	struct error err = ERROR_INIT;
	char name[IMAGEREF_MAX];
	struct imageref ref;
	struct transfer *t;

	if (strlen(request->registry_auth) > AUTH_MAX_BYTES)
		error_set(&err, ERR_INVALID, "the credentials are longer than %u bytes", AUTH_MAX_BYTES);
	else
		imageref_parse(request->ref, &ref, &err);
	if (error_is_set(&err)) {
		rpc_call_fail(call, &err);
		return;
	}
	t = transfer_new(l, call);
	t->job = image_pull(l->o.images, imageref_format(&ref, name),
			    *request->registry_auth ? request->registry_auth : NULL, on_progress, on_image, t);
}

void local_pull_done(struct rpc_call *call, void *data)
{
	struct transfer *t = rpc_call_data(call);

	if (!t)
		return;
	t->call = NULL;
	if (t->job)
		image_job_cancel(t->job);
}

/* ---- load: chunks into a file, then the image store reads it */

static void start_loading(struct transfer *t)
{
	_cleanup_free_ char *path = NULL;

	mem_closep(&t->fd);
	if (!t->path) {
		error_set(&t->err, ERR_INVALID, "the archive is empty");
		transfer_fail(t, &t->err);
		return;
	}
	path = TAKE_PTR(t->path);
	t->job = image_load(t->local->o.images, path, true, on_progress, on_image, t);
}

static void write_work(void *data)
{
	struct transfer *t = data;
	const char *p = t->chunk;
	size_t left = t->chunk_len;

	if (space_check_path(t->local->tmp_dir, (int64_t)left, &t->err) < 0) {
		error_wrap(&t->err, "keep the archive");
		return;
	}
	while (left) {
		ssize_t n = write(t->fd, p, left);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			error_set_errno(&t->err, errno, "write %s", t->path);
			return;
		}
		p += n;
		left -= (size_t)n;
	}
}

static void write_done(void *data)
{
	struct transfer *t = data;

	t->writing = false;
	free(TAKE_PTR(t->chunk));
	if (!t->call) {
		transfer_free(t);
	} else if (error_is_set(&t->err)) {
		transfer_fail(t, &t->err);
	} else if (t->ended) {
		start_loading(t);
	} else {
		rpc_call_resume(t->call);
	}
}

static int open_archive(struct transfer *t, struct error *err)
{
	_cleanup_free_ char *path = xasprintf("%s/load.XXXXXX", t->local->tmp_dir);

	t->fd = mkostemp(path, O_CLOEXEC);
	if (t->fd < 0)
		return error_set_errno(err, errno, "create %s", path);
	t->path = TAKE_PTR(path);
	return 0;
}

void local_load_image(struct rpc_call *call, const ProtobufCMessage *msg, void *data)
{
	const Skein__LoadImageChunk *chunk = (const Skein__LoadImageChunk *)msg;
	struct transfer *t = rpc_call_data(call);
	struct error err = ERROR_INIT;

	if (!t)
		t = transfer_new(data, call);
	if (chunk->data.len == 0)
		return;
	if (chunk->data.len > CHUNK_BYTES)
		error_set(&err, ERR_INVALID, "a chunk of %zu bytes: accepted are at most %u", chunk->data.len,
			  CHUNK_BYTES);
	else if (t->writing || t->ended || t->job) /* delivery is paused meanwhile */
		error_set(&err, ERR_INTERNAL, "chunks overlap");
	else if (!t->path)
		open_archive(t, &err);
	if (error_is_set(&err)) {
		if (!t->writing) {
			transfer_fail(t, &err);
		} else { /* the writer still uses it */
			rpc_call_fail(TAKE_PTR(t->call), &err);
			rpc_call_set_data(call, NULL);
		}
		return;
	}
	rpc_call_pause(call);
	t->chunk = xmemdup(chunk->data.data, chunk->data.len);
	t->chunk_len = chunk->data.len;
	t->writing = true;
	loop_work(t->local->o.loop, write_work, write_done, t);
}

void local_load_half_close(struct rpc_call *call, void *data)
{
	struct transfer *t = rpc_call_data(call);

	if (!t)
		t = transfer_new(data, call);
	t->ended = true;
	if (!t->writing && !t->job)
		start_loading(t);
}

void local_load_done(struct rpc_call *call, void *data)
{
	struct transfer *t = rpc_call_data(call);

	if (!t)
		return;
	t->call = NULL;
	if (t->job)
		image_job_cancel(t->job);
	else if (!t->writing)
		transfer_free(t);
}

/* ---- list and remove */

static bool has_digest(const pb_image_info *info, const char *start)
{
	return str_starts(info->digest, start) ||
	       (str_starts(info->digest, "sha256:") && str_starts(info->digest + 7, start));
}

/* By name, or by a digest or the beginning of one. */
static bool has_reference(const pb_image_info *info, const char *reference)
{
	char name[IMAGEREF_MAX];
	struct imageref ref;

	if (has_digest(info, reference))
		return true;
	if (imageref_parse(reference, &ref, NULL) < 0)
		return false;
	imageref_format(&ref, name);
	for (size_t i = 0; i < info->n_names; i++) {
		if (str_eq(info->names[i], name))
			return true;
	}
	return false;
}

static const struct image_filter {
	const char *key;
	bool (*match)(const pb_image_info *info, const char *value);
} image_filters[] = {
	{"reference", has_reference},
	{"digest", has_digest},
};

/* The same key twice: or; different keys: and. */
static bool wanted(const pb_image_info *info, const Skein__ListRequest *request)
{
	for (size_t k = 0; k < ARRAY_SIZE(image_filters); k++) {
		bool asked = false, matched = false;

		for (size_t i = 0; i < request->n_filters && !matched; i++) {
			if (!str_eq(request->filters[i]->key, image_filters[k].key))
				continue;
			asked = true;
			matched = image_filters[k].match(info, request->filters[i]->value);
		}
		if (asked && !matched)
			return false;
	}
	return true;
}

static int check_filter(const pb_kv *filter, struct error *err)
{
	if (!str_eq(filter->key, "reference") && !str_eq(filter->key, "digest"))
		return error_set(err, ERR_INVALID, "\"%.64s\" is not a filter of images: accepted are reference and digest",
				 filter->key);
	if (!*filter->value)
		return error_set(err, ERR_INVALID, "filter %s: value is missing", filter->key);
	return 0;
}

void local_list_images(struct rpc_call *call, const ProtobufCMessage *msg, void *data)
{
	const Skein__ListRequest *request = (const Skein__ListRequest *)msg;
	_cleanup_pb_ Skein__ListImagesResponse *response = pb_new(&skein__list_images_response__descriptor);
	struct local *l = data;
	pb_image_info *const *list;
	struct error err;
	size_t n;

	for (size_t i = 0; i < request->n_filters; i++) {
		if (check_filter(request->filters[i], &err) < 0) {
			rpc_call_fail(call, &err);
			return;
		}
	}
	list = image_list(l->o.images, &n);
	for (size_t i = 0; i < n; i++) {
		if (wanted(list[i], request))
			pb_msgs_add(&response->n_images, &response->images, pb_dup(list[i]));
	}
	rpc_call_reply(call, &response->base);
}

void local_remove_image(struct rpc_call *call, const ProtobufCMessage *msg, void *data)
{
	const Skein__RemoveImageRequest *request = (const Skein__RemoveImageRequest *)msg;
	_cleanup_pb_ Skein__RemoveImageResponse *response = pb_new(&skein__remove_image_response__descriptor);
	struct local *l = data;
	struct error err = ERROR_INIT;

	if (image_remove(l->o.images, request->ref, request->force, response, &err) < 0)
		rpc_call_fail(call, &err);
	else
		rpc_call_reply(call, &response->base);
}
