/* The Local service over its unix socket: a made-up agent behind it, a real image store. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "agent/image/image.h"
#include "agent/local.h"
#include "rpc/rpc.h"
#include "common/digest.h"
#include "support/etcd_fixture.h"
#include "support/tarmaker.h"

#include <dirent.h>

#define TIMEOUT_MS 20000
#define CHUNK 65536

struct bed {
	uv_loop_t loop;
	struct rpc *rpc;
	struct rpc_channel *channel;
	struct local *local;
	struct image_store *images;
	char top[40], dir[64], tmp[64], socket[64];
	/* the agent: what it was asked, and the answer it still owes */
	char token[64], manager[64];
	bool force;
	local_init_cb init_cb;
	local_join_cb join_cb;
	local_leave_cb leave_cb;
	void *cb_data;
	/* of a call */
	bool done;
	struct error err;
	ProtobufCMessage *reply; /* of a stream: the last message */
	unsigned messages;
};

/* ---- the agent */

static void get_info(void *data, Skein__LocalInfo *info)
{
	pb_set_str(&info->state, "active");
	pb_set_str(&info->node_id, "n1");
	pb_strs_add(&info->n_managers, &info->managers, "10.0.0.1:2377");
}

static void op_init(void *data, const Skein__InitRequest *request, local_init_cb cb, void *cb_data)
{
	struct bed *b = data;

	b->init_cb = cb;
	b->cb_data = cb_data;
}

static void op_join(void *data, const Skein__JoinRequest *request, local_join_cb cb, void *cb_data)
{
	struct bed *b = data;

	snprintf(b->token, sizeof(b->token), "%s", request->token);
	snprintf(b->manager, sizeof(b->manager), "%s", request->n_managers ? request->managers[0] : "");
	b->join_cb = cb;
	b->cb_data = cb_data;
}

static void op_leave(void *data, bool force, local_leave_cb cb, void *cb_data)
{
	struct bed *b = data;

	b->force = force;
	b->leave_cb = cb;
	b->cb_data = cb_data;
}

static const struct local_ops ops = {get_info, op_init, op_join, op_leave};

static bool asked(void *data)
{
	return ((struct bed *)data)->cb_data != NULL;
}

/* ---- the bed */

static void start_local(struct bed *b)
{
	struct local_options options = {
		.loop = &b->loop,
		.rpc = b->rpc,
		.images = b->images,
		.tmp_dir = b->tmp,
		.ops = &ops,
		.data = b,
	};

	b->local = local_new(&options);
	assert_int_equal(local_listen(b->local, b->socket, NULL), 0);
}

static int setup(void **state)
{
	struct bed *b = xnew(struct bed);
	struct image_store_options images = {.loop = &b->loop};
	struct rpc_channel_options channel = {0};
	char target[80];

	*state = b;
	strcpy(b->top, "/tmp/skein-local.XXXXXX");
	assert_non_null(mkdtemp(b->top));
	snprintf(b->dir, sizeof(b->dir), "%s/images", b->top);
	snprintf(b->tmp, sizeof(b->tmp), "%s/tmp", b->top);
	snprintf(b->socket, sizeof(b->socket), "%s/agent.sock", b->top);
	assert_int_equal(mkdir(b->tmp, 0700), 0);
	uv_loop_init(&b->loop);
	images.dir = b->dir;
	images.tmp_dir = b->tmp;
	b->images = image_store_new(&images, NULL);
	assert_non_null(b->images);
	b->rpc = rpc_new(&b->loop);
	start_local(b);
	snprintf(target, sizeof(target), "unix:%s", b->socket);
	channel.target = target;
	b->channel = rpc_channel_new(b->rpc, &channel);
	return 0;
}

static void on_closed(void *data)
{
	*(bool *)data = true;
}

static void stop_local(struct bed *b)
{
	bool closed = false;

	local_close(b->local, on_closed, &closed);
	assert_true(loop_until_set(&b->loop, &closed));
	b->local = NULL;
}

static int teardown(void **state)
{
	struct bed *b = *state;
	bool images = false, rpc = false;

	if (b->local)
		stop_local(b);
	image_store_close(b->images, on_closed, &images);
	assert_true(loop_until_set(&b->loop, &images));
	rpc_channel_close(b->channel);
	rpc_close(b->rpc, on_closed, &rpc);
	assert_true(loop_until_set(&b->loop, &rpc));
	uv_run(&b->loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&b->loop), 0);
	file_remove_tree(b->top, NULL);
	pb_free(b->reply);
	free(b);
	return 0;
}

static void on_reply(void *data, const ProtobufCMessage *reply, const struct error *err)
{
	struct bed *b = data;

	b->done = true;
	b->err = err ? *err : ERROR_INIT;
	b->reply = reply ? pb_dup(reply) : NULL;
}

static void start_call(struct bed *b, const char *method, const ProtobufCMessage *request)
{
	pb_free(TAKE_PTR(b->reply));
	b->done = false;
	rpc_unary(b->channel, &skein__local__descriptor, method, request, TIMEOUT_MS, on_reply, b);
}

static void *call(struct bed *b, const char *method, const ProtobufCMessage *request)
{
	start_call(b, method, request);
	assert_true(loop_until_set(&b->loop, &b->done));
	return b->reply;
}

static unsigned files_in(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *entry;
	unsigned n = 0;

	while ((entry = readdir(dir)))
		n += entry->d_name[0] != '.';
	closedir(dir);
	return n;
}

/* ---- cluster methods */

static void info(void **state)
{
	struct bed *b = *state;
	Skein__Empty request = SKEIN__EMPTY__INIT;
	const Skein__LocalInfo *got = call(b, "GetInfo", &request.base);
	struct stat st;

	assert_non_null(got);
	assert_string_equal(got->state, "active");
	assert_string_equal(got->managers[0], "10.0.0.1:2377");
	assert_int_equal(stat(b->socket, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0660);
}

static void join_is_answered_later(void **state)
{
	struct bed *b = *state;
	Skein__JoinRequest request = SKEIN__JOIN_REQUEST__INIT;
	Skein__JoinResponse response = SKEIN__JOIN_RESPONSE__INIT;
	char *managers[] = {(char *)"10.0.0.1:2377"};

	request.token = (char *)"secret";
	request.managers = managers;
	request.n_managers = 1;
	start_call(b, "Join", &request.base);
	assert_true(loop_until(&b->loop, asked, b));
	assert_string_equal(b->token, "secret");
	assert_string_equal(b->manager, "10.0.0.1:2377");
	assert_false(b->done);
	response.node_id = (char *)"n7";
	b->join_cb(b->cb_data, &response, NULL);
	assert_true(loop_until_set(&b->loop, &b->done));
	assert_string_equal(((Skein__JoinResponse *)b->reply)->node_id, "n7");
}

static void init_fails_with_its_reason(void **state)
{
	struct bed *b = *state;
	Skein__InitRequest request = SKEIN__INIT_REQUEST__INIT;
	struct error err;

	start_call(b, "InitCluster", &request.base);
	assert_true(loop_until(&b->loop, asked, b));
	error_set(&err, ERR_PRECONDITION, "no such luck");
	b->init_cb(b->cb_data, NULL, &err);
	assert_true(loop_until_set(&b->loop, &b->done));
	assert_int_equal(b->err.code, ERR_PRECONDITION);
	assert_string_equal(b->err.msg, "no such luck");
}

static bool reply_is_cancelled(void *data)
{
	struct bed *b = data;

	return b->done;
}

/* The caller goes before the answer: closing waits for the operation, and nobody is answered. */
static void caller_goes_first(void **state)
{
	struct bed *b = *state;
	Skein__LeaveRequest request = SKEIN__LEAVE_REQUEST__INIT;
	bool closed = false;
	struct rpc_call *c;

	request.force = true;
	pb_free(TAKE_PTR(b->reply));
	b->done = false;
	c = rpc_unary(b->channel, &skein__local__descriptor, "Leave", &request.base, TIMEOUT_MS, on_reply, b);
	assert_true(loop_until(&b->loop, asked, b));
	assert_true(b->force);
	rpc_call_cancel(c);
	assert_true(loop_until(&b->loop, reply_is_cancelled, b));
	assert_int_equal(b->err.code, ERR_CANCELLED);
	local_close(b->local, on_closed, &closed);
	b->local = NULL;
	uv_run(&b->loop, UV_RUN_NOWAIT);
	assert_false(closed);
	b->leave_cb(b->cb_data, NULL);
	assert_true(loop_until_set(&b->loop, &closed));
}

/* ---- images */

static void on_progress(struct rpc_call *c, const ProtobufCMessage *msg, void *data)
{
	struct bed *b = data;

	b->messages++;
	pb_free(b->reply);
	b->reply = pb_dup(msg);
}

static void on_stream_done(struct rpc_call *c, const struct error *err, void *data)
{
	struct bed *b = data;

	b->done = true;
	b->err = err ? *err : ERROR_INIT;
}

static const struct rpc_handlers handlers = {.on_message = on_progress, .on_done = on_stream_done};

static struct rpc_call *stream(struct bed *b, const char *method)
{
	b->done = false;
	return rpc_stream(b->channel, &skein__local__descriptor, method, TIMEOUT_MS, &handlers, b);
}

static bool nothing_left(void *data)
{
	return files_in(((struct bed *)data)->tmp) == 0;
}

static void send_chunks(struct rpc_call *c, unsigned n)
{
	Skein__LoadImageChunk chunk = SKEIN__LOAD_IMAGE_CHUNK__INIT;
	static uint8_t bytes[CHUNK];

	chunk.data.data = bytes;
	chunk.data.len = sizeof(bytes);
	for (unsigned i = 0; i < n; i++)
		assert_int_equal(rpc_call_send(c, &chunk.base, NULL), 0);
}

/* As `docker save` writes it: one layer with one file. The path is the caller's to free. */
static char *docker_archive(struct bed *b)
{
	char *path = xasprintf("%s/image.tar", b->top);
	_cleanup_free_ char *layer_path = xasprintf("%s/layer.tar", b->top), *layer = NULL, *config = NULL;
	char digest[DIGEST_MAX];
	struct tarmaker t;
	size_t len;

	tarmaker_open(&t, layer_path, ARCHIVE_FILTER_NONE);
	tarmaker_add(&t, &(struct tar_entry){.name = "hello", .data = "world"});
	tarmaker_close(&t);
	assert_int_equal(file_read(layer_path, 1 << 20, &layer, &len, NULL), 0);
	digest_of(layer, len, digest);
	config = xasprintf("{\"architecture\":\"amd64\",\"os\":\"linux\",\"config\":{\"Cmd\":[\"/hello\"]},"
			   "\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"%s\"]},\"history\":[]}", digest);
	tarmaker_open(&t, path, ARCHIVE_FILTER_NONE);
	tarmaker_add(&t, &(struct tar_entry){.name = "layer.tar", .data = layer, .len = len});
	tarmaker_add(&t, &(struct tar_entry){.name = "config.json", .data = config});
	tarmaker_add(&t, &(struct tar_entry){.name = "manifest.json", .data =
		"[{\"Config\":\"config.json\",\"RepoTags\":[\"hello:1\"],\"Layers\":[\"layer.tar\"]}]"});
	tarmaker_close(&t);
	return path;
}

/* Loaded in pieces, listed, removed. */
static void archive_becomes_an_image(void **state)
{
	struct bed *b = *state;
	_cleanup_free_ char *path = docker_archive(b), *bytes = NULL;
	Skein__LoadImageChunk chunk = SKEIN__LOAD_IMAGE_CHUNK__INIT;
	Skein__ListRequest list = SKEIN__LIST_REQUEST__INIT;
	Skein__RemoveImageRequest remove = SKEIN__REMOVE_IMAGE_REQUEST__INIT;
	pb_kv kv = SKEIN__KEY_VALUE__INIT, *kvs[] = {&kv};
	const Skein__ImageProgress *last;
	struct rpc_call *c;
	size_t len;

	assert_int_equal(file_read(path, 1 << 20, &bytes, &len, NULL), 0);
	c = stream(b, "LoadImage");
	for (size_t at = 0; at < len; at += chunk.data.len) {
		chunk.data.data = (uint8_t *)bytes + at;
		chunk.data.len = MIN(len - at, (size_t)1000);
		assert_int_equal(rpc_call_send(c, &chunk.base, NULL), 0);
	}
	rpc_call_half_close(c);
	assert_true(loop_until_set(&b->loop, &b->done));
	assert_string_equal(b->err.msg, "");
	last = (const Skein__ImageProgress *)b->reply;
	assert_non_null(last->image);
	assert_true(last->image->loaded);
	assert_string_equal(last->image->names[0], "docker.io/library/hello:1");
	assert_true(loop_until(&b->loop, nothing_left, b));

	kv.key = (char *)"reference";
	kv.value = (char *)"hello:1";
	list.filters = kvs;
	list.n_filters = 1;
	assert_non_null(call(b, "ListImages", &list.base));
	assert_int_equal(((Skein__ListImagesResponse *)b->reply)->n_images, 1);
	kv.value = (char *)"hello:2";
	assert_non_null(call(b, "ListImages", &list.base));
	assert_int_equal(((Skein__ListImagesResponse *)b->reply)->n_images, 0);
	remove.ref = (char *)"hello:1";
	assert_non_null(call(b, "RemoveImage", &remove.base));
	assert_int_equal(((Skein__RemoveImageResponse *)b->reply)->n_deleted, 1);
}

/* What is no archive is refused, and the file is gone. */
static void garbage_is_not_an_archive(void **state)
{
	struct bed *b = *state;
	struct rpc_call *c = stream(b, "LoadImage");

	send_chunks(c, 40);
	rpc_call_half_close(c);
	assert_true(loop_until_set(&b->loop, &b->done));
	assert_int_not_equal(b->err.code, ERR_OK);
	assert_int_not_equal(b->err.code, ERR_CANCELLED);
	stop_local(b);
	assert_true(loop_until(&b->loop, nothing_left, b)); /* the pool removes files */
}

static void empty_archive(void **state)
{
	struct bed *b = *state;

	rpc_call_half_close(stream(b, "LoadImage"));
	assert_true(loop_until_set(&b->loop, &b->done));
	assert_int_equal(b->err.code, ERR_INVALID);
	assert_string_equal(b->err.msg, "the archive is empty");
}

static bool has_file(void *data)
{
	return files_in(((struct bed *)data)->tmp) > 0;
}

/* The caller hangs up in the middle: nothing stays behind. */
static void caller_goes_while_loading(void **state)
{
	struct bed *b = *state;
	struct rpc_call *c = stream(b, "LoadImage");

	send_chunks(c, 20);
	assert_true(loop_until(&b->loop, has_file, b));
	rpc_call_cancel(c);
	assert_true(loop_until_set(&b->loop, &b->done));
	stop_local(b);
	assert_true(loop_until(&b->loop, nothing_left, b)); /* the pool removes files */
}

static void big_chunks_are_refused(void **state)
{
	struct bed *b = *state;
	Skein__LoadImageChunk chunk = SKEIN__LOAD_IMAGE_CHUNK__INIT;
	_cleanup_free_ uint8_t *bytes = xcalloc(1, 1 << 20);
	struct rpc_call *c = stream(b, "LoadImage");

	chunk.data.data = bytes;
	chunk.data.len = (256 << 10) + 1;
	assert_int_equal(rpc_call_send(c, &chunk.base, NULL), 0);
	assert_true(loop_until_set(&b->loop, &b->done));
	assert_int_equal(b->err.code, ERR_INVALID);
	c = stream(b, "LoadImage");
	chunk.data.len = 1 << 20;
	assert_int_equal(rpc_call_send(c, &chunk.base, NULL), 0);
	assert_true(loop_until_set(&b->loop, &b->done));
	assert_int_not_equal(b->err.code, ERR_OK);
	stop_local(b);
	assert_true(loop_until(&b->loop, nothing_left, b)); /* the pool removes files */
}

static void bad_references(void **state)
{
	struct bed *b = *state;
	Skein__PullImageRequest pull = SKEIN__PULL_IMAGE_REQUEST__INIT;
	Skein__RemoveImageRequest remove = SKEIN__REMOVE_IMAGE_REQUEST__INIT;
	struct rpc_call *c = stream(b, "PullImage");

	pull.ref = (char *)"No Such/Image";
	assert_int_equal(rpc_call_send(c, &pull.base, NULL), 0);
	rpc_call_half_close(c);
	assert_true(loop_until_set(&b->loop, &b->done));
	assert_int_equal(b->err.code, ERR_INVALID);
	assert_non_null(strstr(b->err.msg, "No Such/Image"));

	remove.ref = (char *)"nothing:here";
	assert_null(call(b, "RemoveImage", &remove.base));
	assert_int_equal(b->err.code, ERR_NOT_FOUND);
}

static void list_takes_one_filter(void **state)
{
	struct bed *b = *state;
	Skein__ListRequest request = SKEIN__LIST_REQUEST__INIT;
	pb_kv kv = SKEIN__KEY_VALUE__INIT, *kvs[] = {&kv};

	assert_non_null(call(b, "ListImages", &request.base));
	assert_int_equal(((Skein__ListImagesResponse *)b->reply)->n_images, 0);
	kv.key = (char *)"color";
	request.filters = kvs;
	request.n_filters = 1;
	assert_null(call(b, "ListImages", &request.base));
	assert_int_equal(b->err.code, ERR_INVALID);
	kv.key = (char *)"reference";
	kv.value = (char *)"web";
	assert_non_null(call(b, "ListImages", &request.base));
}

#define test(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(info),
		test(join_is_answered_later),
		test(init_fails_with_its_reason),
		test(caller_goes_first),
		test(archive_becomes_an_image),
		test(garbage_is_not_an_archive),
		test(empty_archive),
		test(caller_goes_while_loading),
		test(big_chunks_are_refused),
		test(bad_references),
		test(list_takes_one_filter),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
