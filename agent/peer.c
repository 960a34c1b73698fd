#include "agent/peer.h"

#include "agent/exec/exec.h"
#include "agent/image/image.h"
#include "agent/metrics/usage_feed.h"
#include "agent/migrate/frames.h"
#include "agent/migrate/migrate.h"
#include "agent/net/net.h"
#include "common/digest.h"
#include "common/id.h"
#include "common/loop.h"
#include "common/mem.h"
#include "proto/pb.h"
#include "rpc/rpc.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/queue.h>
#include <sys/stat.h>

#define CHUNK_BYTES (256u << 10)
#define UNSENT_HIGH_BYTES (1u << 20) /* wait for the other end beyond this */
#define MAX_TRANSFERS 16
#define MAX_WAITING 1024
#define MAX_USAGES 64 /* streams; a manager opens one */
#define MAX_CHECKS 4 /* of the networks at once: each reads all of the kernel's state */

/* One blob on its way out. */
struct transfer {
	struct peer *peer;
	struct rpc_call *call; /* NULL: it is over, only the read on the pool is waited for */
	char *path;
	int fd;
	int64_t total_bytes, sent_bytes;
	bool active, reading, first_sent;
	char *buf;
	size_t len; /* of what was read; 0 = end */
	struct error err;
	TAILQ_ENTRY(transfer) link;
};
TAILQ_HEAD(transfer_list, transfer);

struct peer {
	uv_loop_t *loop;
	struct image_store *images;
	struct exec *exec;
	struct net *net;
	struct usage_feed *usage;
	struct migrate *migrate;
	unsigned max_transfers, active, waiting, checks, usages;
	struct transfer_list queue;
	struct closer closer;
};

/* ---------------------------------------------------------------- blobs */

static void start_waiting(struct peer *p);

static void transfer_free(struct transfer *t)
{
	struct peer *p = t->peer;

	if (t->active)
		p->active--;
	mem_closep(&t->fd);
	free(t->path);
	free(t->buf);
	free(t);
	start_waiting(p);
	closer_drop(&p->closer);
}

/* On the pool. The file may have gone since it was asked for: then it is not found. */
static void read_chunk(void *data)
{
	struct transfer *t = data;
	struct stat st;
	ssize_t n;

	if (t->fd < 0) {
		t->fd = open(t->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
		if (t->fd < 0 || fstat(t->fd, &st) < 0) {
			error_set_errno(&t->err, errno, "read blob");
			return;
		}
		t->total_bytes = st.st_size;
		t->buf = xmalloc(CHUNK_BYTES);
	}
	do
		n = pread(t->fd, t->buf, CHUNK_BYTES, t->sent_bytes);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		error_set_errno(&t->err, errno, "read blob");
	t->len = n > 0 ? (size_t)n : 0;
}

static void on_chunk_read(void *data);

static void read_next(struct transfer *t)
{
	t->reading = true;
	loop_work(t->peer->loop, read_chunk, on_chunk_read, t);
}

static int send_chunk(struct transfer *t, struct error *err)
{
	Skein__BlobChunk chunk = SKEIN__BLOB_CHUNK__INIT;

	chunk.data.data = (uint8_t *)t->buf;
	chunk.data.len = t->len;
	chunk.total_bytes = t->first_sent ? 0 : t->total_bytes;
	t->first_sent = true;
	t->sent_bytes += (int64_t)t->len;
	return rpc_call_send(t->call, &chunk.base, err);
}

static void on_chunk_read(void *data)
{
	struct transfer *t = data;

	t->reading = false;
	if (!t->call) {
		transfer_free(t);
		return;
	}
	if (!error_is_set(&t->err) && (t->len || !t->first_sent))
		send_chunk(t, &t->err);
	if (error_is_set(&t->err)) {
		rpc_call_fail(t->call, &t->err);
		return;
	}
	if (t->sent_bytes >= t->total_bytes || !t->len)
		rpc_call_finish(t->call);
	else if (rpc_call_unsent(t->call) <= UNSENT_HIGH_BYTES)
		read_next(t);
}

static void on_blob_drain(struct rpc_call *call, void *data)
{
	struct transfer *t = rpc_call_data(call);

	if (t && t->active && !t->reading && !error_is_set(&t->err) &&
	    t->sent_bytes < t->total_bytes)
		read_next(t);
}

static void on_blob_done(struct rpc_call *call, void *data)
{
	struct transfer *t = rpc_call_data(call);

	if (!t)
		return;
	t->call = NULL;
	if (!t->active) {
		TAILQ_REMOVE(&t->peer->queue, t, link);
		t->peer->waiting--;
	}
	if (!t->reading)
		transfer_free(t);
}

static void start_waiting(struct peer *p)
{
	while (p->active < p->max_transfers && !TAILQ_EMPTY(&p->queue)) {
		struct transfer *t = TAILQ_FIRST(&p->queue);

		TAILQ_REMOVE(&p->queue, t, link);
		p->waiting--;
		p->active++;
		t->active = true;
		read_next(t);
	}
}

static void on_get_blob(struct rpc_call *call, const ProtobufCMessage *msg, void *data)
{
	const Skein__BlobRequest *request = (const Skein__BlobRequest *)msg;
	_cleanup_free_ char *path = NULL;
	struct peer *p = data;
	struct error err = ERROR_INIT;
	struct transfer *t;

	if (rpc_call_data(call)) /* a second message: the first one is being answered */
		return;
	path = digest_valid(request->digest) ? image_blob_path(p->images, request->digest) : NULL;
	if (!digest_valid(request->digest))
		error_set(&err, ERR_INVALID, "digest \"%.100s\", accepted is sha256:<64 hex>",
			  request->digest);
	else if (!path)
		error_set(&err, ERR_NOT_FOUND, "blob %s is not on this node", request->digest);
	else if (p->closer.closing || p->waiting >= MAX_WAITING)
		error_set(&err, ERR_UNAVAILABLE, "%u transfers wait already", p->waiting);
	if (error_is_set(&err)) {
		rpc_call_fail(call, &err);
		return;
	}
	t = xnew(struct transfer);
	t->peer = p;
	t->call = call;
	t->path = TAKE_PTR(path);
	t->fd = -1;
	rpc_call_set_data(call, t);
	closer_hold(&p->closer);
	TAILQ_INSERT_TAIL(&p->queue, t, link);
	p->waiting++;
	start_waiting(p);
}

/* ---------------------------------------------------------------- logs */

/* One reader of logs. */
struct log_call {
	struct rpc_call *call;
	struct log_reader *reader;
	bool paused, failed;
};

static bool on_log_lines(void *data, pb_log_line *const *lines, size_t n)
{
	Skein__TaskLogsResponse response = SKEIN__TASK_LOGS_RESPONSE__INIT;
	struct log_call *l = data;
	struct error err = ERROR_INIT;

	response.n_lines = n;
	response.lines = (pb_log_line **)lines;
	if (rpc_call_send(l->call, &response.base, &err) < 0) {
		rpc_call_fail(l->call, &err);
		l->failed = true;
		return false;
	}
	l->paused = rpc_call_unsent(l->call) > UNSENT_HIGH_BYTES;
	return !l->paused;
}

static void on_log_end(void *data, const struct error *err)
{
	struct log_call *l = data;

	l->reader = NULL;
	if (l->failed)
		return;
	if (err)
		rpc_call_fail(l->call, err);
	else
		rpc_call_finish(l->call);
}

static void on_logs_drain(struct rpc_call *call, void *data)
{
	struct log_call *l = rpc_call_data(call);

	if (!l || !l->paused || !l->reader)
		return;
	l->paused = false;
	log_reader_resume(l->reader);
}

static void on_logs_done(struct rpc_call *call, void *data)
{
	struct log_call *l = rpc_call_data(call);

	if (!l)
		return;
	if (l->reader)
		log_reader_close(l->reader);
	free(l);
}

static void on_task_logs(struct rpc_call *call, const ProtobufCMessage *msg, void *data)
{
	const Skein__TaskLogsRequest *request = (const Skein__TaskLogsRequest *)msg;
	struct log_query query = {
		.follow = request->follow,
		.tail = request->tail,
		.since = request->since,
		.until = request->until,
		.skip = request->skip,
	};
	struct peer *p = data;
	struct error err = ERROR_INIT;
	struct log_call *l;

	if (rpc_call_data(call))
		return;
	if (!id_valid(request->task_id))
		error_set(&err, ERR_INVALID,
			  "task id \"%.64s\", accepted are %d characters of 0-9 and a-z",
			  request->task_id, ID_LEN);
	else if (!p->exec)
		error_set(&err, ERR_UNAVAILABLE, "no containers run on this node");
	if (error_is_set(&err)) {
		rpc_call_fail(call, &err);
		return;
	}
	l = xnew(struct log_call);
	l->call = call;
	rpc_call_set_data(call, l);
	l->reader = log_reader_open(p->exec, request->task_id, &query, on_log_lines, on_log_end, l);
}

/* ---------------------------------------------------------------- networks */

struct check_call {
	struct peer *peer;
	struct rpc_call *call; /* NULL: nobody waits for the answer any more */
	bool checked;
};

static void on_checked(void *data, const Skein__CheckNetResponse *result, const struct error *err)
{
	struct check_call *c = data;
	struct peer *p = c->peer;
	struct error failed = ERROR_INIT;

	c->checked = true;
	if (c->call && !err && rpc_call_send(c->call, &result->base, &failed) < 0)
		err = &failed;
	if (!c->call)
		free(c);
	else if (err)
		rpc_call_fail(c->call, err);
	else
		rpc_call_finish(c->call);
	p->checks--;
	closer_drop(&p->closer);
}

static void on_check_gone(struct rpc_call *call, void *data)
{
	struct check_call *c = rpc_call_data(call);

	if (!c)
		return;
	c->call = NULL;
	if (c->checked)
		free(c);
}

static void on_check_net(struct rpc_call *call, const ProtobufCMessage *msg, void *data)
{
	const Skein__CheckNetRequest *request = (const Skein__CheckNetRequest *)msg;
	struct peer *p = data;
	struct error err = ERROR_INIT;
	struct check_call *c;

	if (rpc_call_data(call))
		return;
	if (!p->net || p->closer.closing)
		error_set(&err, ERR_UNAVAILABLE, "no networks are kept on this node");
	else if (p->checks >= MAX_CHECKS)
		error_set(&err, ERR_UNAVAILABLE, "%u checks are under way already", p->checks);
	if (error_is_set(&err)) {
		rpc_call_fail(call, &err);
		return;
	}
	c = xnew(struct check_call);
	*c = (struct check_call){.peer = p, .call = call};
	rpc_call_set_data(call, c);
	p->checks++;
	closer_hold(&p->closer);
	net_check(p->net, request->network_id, request->repair, on_checked, c);
}

/* ---------------------------------------------------------------- usage */

struct usage_call {
	struct peer *peer;
	struct rpc_call *call;
	struct usage_feed_sub *sub;
	bool failed;
};

/* Who does not keep up misses some. */
static void on_sample(void *data, const pb_node_usage *sample)
{
	struct usage_call *u = data;
	struct error err = ERROR_INIT;

	if (u->failed || rpc_call_unsent(u->call) > UNSENT_HIGH_BYTES)
		return;
	if (rpc_call_send(u->call, &sample->base, &err) < 0) {
		u->failed = true;
		rpc_call_fail(u->call, &err);
	}
}

static void on_usage_done(struct rpc_call *call, void *data)
{
	struct usage_call *u = rpc_call_data(call);

	if (!u)
		return;
	usage_feed_unsubscribe(u->sub);
	u->peer->usages--;
	free(u);
}

static void on_usage(struct rpc_call *call, const ProtobufCMessage *msg, void *data)
{
	struct peer *p = data;
	struct error err = ERROR_INIT;
	struct usage_call *u;

	if (rpc_call_data(call))
		return;
	if (!p->usage || p->closer.closing)
		error_set(&err, ERR_UNAVAILABLE, "nothing is measured on this node");
	else if (p->usages >= MAX_USAGES)
		error_set(&err, ERR_EXHAUSTED, "%u managers look at this node's usage already", p->usages);
	if (error_is_set(&err)) {
		rpc_call_fail(call, &err);
		return;
	}
	u = xnew(struct usage_call);
	*u = (struct usage_call){.peer = p, .call = call};
	p->usages++;
	rpc_call_set_data(call, u);
	u->sub = usage_feed_subscribe(p->usage, on_sample, u);
}

/* ---------------------------------------------------------------- containers that come */

static void on_move(struct rpc_call *call, const ProtobufCMessage *msg, void *data)
{
	struct peer *p = data;
	struct error err;

	if (p->migrate && !p->closer.closing) {
		migrate_on_chunk(p->migrate, call, (const Skein__MoveChunk *)msg);
		return;
	}
	error_set(&err, ERR_UNAVAILABLE, "no containers come to this node");
	rpc_call_fail(call, &err);
}

static void on_move_half_close(struct rpc_call *call, void *data)
{
	migrate_on_half_close(call);
}

static void on_move_done(struct rpc_call *call, void *data)
{
	migrate_on_done(call);
}

/* ---------------------------------------------------------------- service */

static const struct rpc_method methods[] = {
	{"TaskLogs", .on_message = on_task_logs, .on_drain = on_logs_drain, .on_done = on_logs_done,
	 .allow = RPC_ROLE_MANAGER, .max_request_bytes = 4096},
	{"GetBlob", .on_message = on_get_blob, .on_drain = on_blob_drain, .on_done = on_blob_done,
	 .allow = RPC_ROLE_WORKER | RPC_ROLE_MANAGER, .max_request_bytes = 4096},
	{"Usage", .on_message = on_usage, .on_done = on_usage_done, .allow = RPC_ROLE_MANAGER, .max_request_bytes = 4096},
	{"Move", .on_message = on_move, .on_half_close = on_move_half_close, .on_done = on_move_done,
	 .allow = RPC_ROLE_WORKER | RPC_ROLE_MANAGER, .max_request_bytes = FRAMES_MESSAGE_MAX},
	{"CheckNet", .on_message = on_check_net, .on_done = on_check_gone, .allow = RPC_ROLE_MANAGER, .max_request_bytes = 4096},
};

struct peer *peer_new(const struct peer_options *options)
{
	struct peer *p = xnew(struct peer);

	p->loop = options->loop;
	p->images = options->images;
	p->exec = options->exec;
	p->net = options->net;
	p->usage = options->usage;
	p->migrate = options->migrate;
	p->max_transfers = options->max_transfers ? options->max_transfers : MAX_TRANSFERS;
	TAILQ_INIT(&p->queue);
	closer_init(&p->closer);
	return p;
}

void peer_add_service(struct peer *p, struct rpc_server *server)
{
	rpc_server_add_service(server, &skein__peer__descriptor, methods, ARRAY_SIZE(methods), p);
}

struct close_call {
	struct peer *peer;
	void (*closed)(void *data);
	void *data;
};

static void on_closed(void *data)
{
	struct close_call call = *(struct close_call *)data;

	free(data);
	free(call.peer);
	if (call.closed)
		call.closed(call.data);
}

void peer_close(struct peer *p, void (*closed)(void *data), void *data)
{
	struct close_call *call = xnew(struct close_call);

	*call = (struct close_call){.peer = p, .closed = closed, .data = data};
	if (!closer_begin(&p->closer, on_closed, call)) {
		free(call);
		return;
	}
	closer_end(&p->closer);
}
