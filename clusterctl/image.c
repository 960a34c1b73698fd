/* image pull, load, ls, rm: on this host, through its agent. */
#include "auth.h"
#include "conn.h"
#include "ctl.h"

#include "common/clock.h"
#include "common/error.h"
#include "common/imageref.h"
#include "common/mem.h"
#include "proto/pb.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define CHUNK_BYTES (256u << 10)
#define DIGEST_SHOWN 12

struct image_flags {
	bool help, quiet, force, with_auth;
	char *input;
};
#define I(kind, field) OPT_##kind(struct image_flags, field)

static const struct option_def pull_options[] = {
	HELP_OPTION,
	{"quiet", 'q', I(BOOL, quiet), .help = "no progress"},
	{"with-registry-auth", 0, I(BOOL, with_auth),
	 .help = "use this user's login for the image's registry"},
	{0},
};
static const struct option_def load_options[] = {
	HELP_OPTION,
	{"input", 'i', I(STR, input), .arg = "FILE",
	 .help = "archive to read ('-' or nothing: standard input)"},
	{"quiet", 'q', I(BOOL, quiet), .help = "no progress"},
	{0},
};
static const struct option_def rm_options[] = {
	HELP_OPTION,
	{"force", 'f', I(BOOL, force), .help = "remove it even if a container uses it"},
	{0},
};

/* ---------------------------------------------------------------- streams with progress */

struct transfer {
	struct conn *conn;
	struct rpc_call *call;
	bool quiet, done, failed;
	struct error err;
	char *result; /* what the last message named */

	int fd; /* load: the archive; -1 otherwise */
	uv_fs_t read;
	bool reading;
	struct error read_err;
	char *chunk;
};

static void on_message(struct rpc_call *call, const ProtobufCMessage *msg, void *data)
{
	const Skein__ImageProgress *progress = (const Skein__ImageProgress *)msg;
	struct transfer *t = data;

	if (!t->quiet && *progress->message) {
		printf("%s\n", progress->message);
		fflush(stdout);
	}
	if (!progress->image)
		return;
	free(t->result);
	t->result = xstrdup(progress->image->n_names > 0 ? progress->image->names[0]
							 : progress->image->digest);
}

static void on_done(struct rpc_call *call, const struct error *err, void *data)
{
	struct transfer *t = data;

	t->call = NULL;
	t->failed = err != NULL;
	if (err)
		t->err = *err;
	t->done = !t->reading;
}

static enum ctl_exit finish(struct transfer *t, const char *verb, struct error *err)
{
	enum ctl_exit status = CTL_OK;

	if (error_is_set(&t->read_err)) {
		*err = t->read_err;
		status = CTL_FAILED;
	} else if (t->failed) {
		*err = t->err;
		conn_explain(t->conn, CONN_AGENT, err);
		status = CTL_FAILED;
	} else if (t->result) {
		printf("%s: %s\n", verb, t->result);
	}
	free(t->result);
	return status;
}

static enum ctl_exit run_pull(struct ctl *ctl, const struct verb *verb, void *flags,
			      const struct option_seen *seen, const struct strv *args,
			      struct error *err)
{
	static const struct rpc_handlers handlers = {.on_message = on_message, .on_done = on_done};
	const struct image_flags *f = flags;
	struct transfer t = {.conn = ctl_conn(ctl), .quiet = f->quiet, .fd = -1};
	Skein__PullImageRequest request = SKEIN__PULL_IMAGE_REQUEST__INIT;
	_cleanup_free_ char *auth = NULL;
	struct imageref ref;

	if (imageref_parse(args->v[0], &ref, err) < 0)
		return CTL_USAGE;
	if (f->with_auth && !(auth = auth_for_image(args->v[0], err))) {
		error_wrap(err, "--with-registry-auth");
		return CTL_USAGE;
	}
	request.ref = args->v[0];
	request.registry_auth = auth ?: (char *)"";
	t.call = conn_stream(t.conn, CONN_AGENT, "PullImage", &handlers, &t, err);
	if (!t.call)
		return CTL_FAILED;
	if (rpc_call_send(t.call, &request.base, &t.err) == 0)
		rpc_call_half_close(t.call);
	else
		rpc_call_cancel(t.call);
	if (auth)
		mem_wipe(auth, strlen(auth));
	conn_run(t.conn, &t.done);
	return finish(&t, "Pulled", err);
}

/* ---------------------------------------------------------------- load */

static void read_next(struct transfer *t);

/* The read ends on the loop; the archive may be a pipe that is slow, or never says anything. */
static void on_read(uv_fs_t *read)
{
	struct transfer *t = container_of(read, struct transfer, read);
	Skein__LoadImageChunk chunk = SKEIN__LOAD_IMAGE_CHUNK__INIT;
	ssize_t n = read->result;

	uv_fs_req_cleanup(read);
	t->reading = false;
	if (!t->call) {
		t->done = true;
		return;
	}
	if (n < 0) {
		error_set_errno(&t->read_err, (int)-n, "read the archive");
		rpc_call_cancel(t->call);
		return;
	}
	if (n == 0) {
		rpc_call_half_close(t->call);
		return;
	}
	chunk.data.data = (uint8_t *)t->chunk;
	chunk.data.len = (size_t)n;
	if (rpc_call_send(t->call, &chunk.base, &t->read_err) < 0) {
		/* the call has ended: its own error says why */
		t->read_err = ERROR_INIT;
		rpc_call_cancel(t->call);
	} else if (rpc_call_unsent(t->call) == 0) {
		read_next(t);
	}
}

static void read_next(struct transfer *t)
{
	uv_buf_t buf = uv_buf_init(t->chunk, CHUNK_BYTES);

	if (t->reading || !t->call)
		return;
	t->reading = true;
	uv_fs_read(conn_loop(t->conn), &t->read, t->fd, &buf, 1, -1, on_read);
}

/* Only what the agent has taken is followed by more: nothing piles up here. */
static void on_drain(struct rpc_call *call, void *data)
{
	read_next(data);
}

static int open_archive(const char *path, struct error *err)
{
	int fd;

	if (!path || str_eq(path, "-")) {
		if (isatty(STDIN_FILENO))
			return error_set(
				err, ERR_INVALID,
				"standard input is a terminal: give the archive with --input FILE");
		return dup(STDIN_FILENO);
	}
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		error_set_errno(err, errno, "--input %s", path);
	return fd;
}

static enum ctl_exit run_load(struct ctl *ctl, const struct verb *verb, void *flags,
			      const struct option_seen *seen, const struct strv *args,
			      struct error *err)
{
	static const struct rpc_handlers handlers = {
		.on_message = on_message, .on_drain = on_drain, .on_done = on_done};
	const struct image_flags *f = flags;
	_cleanup_close_ int fd = open_archive(f->input, err);
	_cleanup_free_ char *chunk = NULL;
	struct transfer t = {.conn = ctl_conn(ctl), .quiet = f->quiet, .fd = fd};

	if (fd < 0)
		return CTL_USAGE;
	t.call = conn_stream(t.conn, CONN_AGENT, "LoadImage", &handlers, &t, err);
	if (!t.call)
		return CTL_FAILED;
	t.chunk = chunk = xmalloc(CHUNK_BYTES);
	read_next(&t);
	conn_run(t.conn, &t.done);
	return finish(&t, "Loaded", err);
}

/* ---------------------------------------------------------------- ls, rm */

static const struct list_field image_fields[] = {
	{"ID", NULL},
	{"Repository", "REPOSITORY"},
	{"Tag", "TAG"},
	{"Digest", "DIGEST"},
	{"CreatedAt", "CREATED"},
	{"Size", "SIZE"},
	{"Loaded", "LOADED"},
	{0},
};
#define IMAGE_FILTERS "reference|digest"

static void add_image(struct listing *l, const pb_image_info *image, const char *name,
		      const struct list_flags *f, int64_t now)
{
	const char *colon = strchr(image->digest, ':'), *hex = colon ? colon + 1 : image->digest;
	_cleanup_free_ char *created = text_ago(image->created_at, now);
	char size[STR_HUMAN_MAX], familiar[IMAGEREF_MAX];
	struct imageref ref;
	bool parsed = name && imageref_parse(name, &ref, NULL) == 0;
	char *tag_colon;

	if (f->no_trunc)
		listing_cell(l, image->digest);
	else
		listing_cellf(l, "%.*s", DIGEST_SHOWN, hex);
	if (parsed) {
		ref.digest[0] = '\0';
		imageref_familiar(&ref, familiar);
		tag_colon = strrchr(familiar, ':');
		if (tag_colon && ref.tag[0])
			*tag_colon = '\0';
	}
	listing_cell(l, parsed ? familiar : "<none>");
	listing_cell(l, parsed && ref.tag[0] ? ref.tag : "<none>");
	if (f->no_trunc)
		listing_cell(l, image->digest);
	else
		listing_cellf(l, "%.*s", DIGEST_SHOWN, hex);
	listing_cell(l, created);
	listing_cell(l, str_bytes_human(image->size_bytes, size));
	listing_cell(l, image->loaded ? "yes" : "no");
}

static enum ctl_exit run_ls(struct ctl *ctl, const struct verb *verb, void *flags,
			    const struct option_seen *seen, const struct strv *args,
			    struct error *err)
{
	const struct list_flags *f = flags;
	_cleanup_listing_ struct listing l = {0};
	_cleanup_pb_ Skein__ListImagesResponse *reply = NULL;
	int64_t now = clock_wall_ns();
	enum ctl_exit asked = ctl_list(ctl, CONN_AGENT, "ListImages", verb, f, &l, &reply, err);

	if (asked != CTL_OK)
		return asked;
	for (size_t i = 0; i < reply->n_images; i++) {
		const pb_image_info *image = reply->images[i];

		add_image(&l, image, image->n_names > 0 ? image->names[0] : NULL, f, now);
		/* an image is one id, however many names it has */
		for (size_t k = 1; k < image->n_names && l.kind != LISTING_QUIET; k++)
			add_image(&l, image, image->names[k], f, now);
	}
	listing_print(&l, stdout);
	return CTL_OK;
}

static enum ctl_exit run_rm(struct ctl *ctl, const struct verb *verb, void *flags,
			    const struct option_seen *seen, const struct strv *args,
			    struct error *err)
{
	for (size_t i = 0; i < args->n; i++) {
		Skein__RemoveImageRequest request = SKEIN__REMOVE_IMAGE_REQUEST__INIT;
		_cleanup_pb_ Skein__RemoveImageResponse *reply = NULL;

		request.ref = args->v[i];
		request.force = ((struct image_flags *)flags)->force;
		if (conn_call(ctl_conn(ctl), CONN_AGENT, "RemoveImage", &request, CONN_TIMEOUT_MS,
			      &reply, err) < 0)
			return CTL_FAILED;
		for (size_t k = 0; k < reply->n_untagged; k++)
			printf("Untagged: %s\n", reply->untagged[k]);
		for (size_t k = 0; k < reply->n_deleted; k++)
			printf("Deleted: %s\n", reply->deleted[k]);
	}
	return CTL_OK;
}

const struct verb image_verbs[] = {
	{
		.noun = "image",
		.name = "pull",
		.synopsis = "[OPTIONS] IMAGE",
		.help = "Fetch an image from its registry to this host",
		.example = "clusterctl image pull nginx:1.25",
		.options = pull_options,
		.flags_size = sizeof(struct image_flags),
		.min_args = 1,
		.max_args = 1,
		.run = run_pull,
	},
	{
		.noun = "image",
		.name = "load",
		.synopsis = "[OPTIONS]",
		.help = "Load images from an archive to this host",
		.about = "Takes what 'docker save' writes, and OCI archives, plain or compressed. "
			 "Other nodes fetch a loaded image\n"
			 "from this one when a task needs it.",
		.example =
			"clusterctl image load -i web.tar\nzcat web.tar.gz | clusterctl image load",
		.options = load_options,
		.flags_size = sizeof(struct image_flags),
		.run = run_load,
	},
	{
		.noun = "image",
		.name = "ls",
		.aliases = "list",
		.synopsis = "[OPTIONS]",
		.help = "List the images on this host",
		.example = "clusterctl image ls --filter reference=web:1",
		.options = list_options,
		.flags_size = sizeof(struct list_flags),
		.fields = image_fields,
		.filters = IMAGE_FILTERS,
		.run = run_ls,
	},
	{
		.noun = "image",
		.name = "rm",
		.aliases = "remove",
		.synopsis = "[OPTIONS] IMAGE...",
		.help = "Remove images from this host, by name or digest",
		.example = "clusterctl image rm web:1",
		.options = rm_options,
		.flags_size = sizeof(struct image_flags),
		.min_args = 1,
		.max_args = ANY_NUMBER,
		.object = OBJECT_IMAGE,
		.run = run_rm,
	},
	{0},
};
