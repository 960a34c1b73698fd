#include "agent/migrate/incoming.h"

#include "agent/migrate/apply.h"
#include "agent/migrate/frames.h"
#include "agent/migrate/pack.h"
#include "agent/migrate/squeeze.h"
#include "common/error.h"
#include "common/loop.h"
#include "common/mem.h"
#include "common/serial.h"
#include "common/str.h"
#include "rpc/rpc.h"

#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <sys/socket.h>

#define ANSWER_BYTES 4096
#define STUCK_MS 1000 /* look again whether it is still wanted */

struct incoming {
	uv_loop_t *loop;
	struct rpc_call *call;       /* NULL: gone */
	struct incoming_handlers h;
	void *data;
	struct frames frames;
	struct serial *serial;
	size_t waiting;              /* bytes */
	bool paused, failed, ended;
	struct error err;
	atomic_bool cancel;
	/* the thread's */
	struct apply *apply;
	uint64_t file_bytes;
	/* the round under way: our end of the page server's socket */
	struct pipe {
		uv_poll_t poll;
		int fd;
		unsigned holds;      /* jobs that write to it, and the loop */
		bool server_over, end_came; /* the round is over when both are */
		struct incoming *in;
	} *pipe;
	struct closer closer;
};

/* Something for the thread. */
struct job {
	struct incoming *in;
	enum { JOB_OPEN, JOB_BLOCK, JOB_END, JOB_PAGES, JOB_SENT } kind;
	char *text;                  /* directory, digest */
	uint8_t *bytes;
	size_t len;
	uint32_t plain_len, id;
	bool last;                   /* of a round */
	struct pipe *pipe;
	struct error err;
};

/* ---------------------------------------------------------------- the thread */

/* What came, as it was before it was compressed; into *ret_free when that needed memory. On failure err is set. */
static const uint8_t *plain_of(struct job *j, size_t *ret_len, uint8_t **ret_free, struct error *err)
{
	*ret_len = j->len;
	if (!j->plain_len)
		return j->bytes;
	*ret_len = j->plain_len;
	*ret_free = xmalloc(j->plain_len);
	return squeeze_expand(j->bytes, j->len, *ret_free, j->plain_len, err) < 0 ? NULL : *ret_free;
}

static int write_pages(struct job *j)
{
	_cleanup_free_ uint8_t *expanded = NULL;
	size_t len, done = 0;
	const uint8_t *data = plain_of(j, &len, &expanded, &j->err);

	if (error_is_set(&j->err))
		return -1;
	while (done < len) {
		ssize_t n = send(j->pipe->fd, data + done, len - done, MSG_NOSIGNAL | MSG_DONTWAIT);
		struct pollfd p = {.fd = j->pipe->fd, .events = POLLOUT};

		if (n >= 0) {
			done += (size_t)n;
			continue;
		}
		if (errno != EAGAIN && errno != EINTR)
			return error_set_errno(&j->err, errno, "hand pages to the page server");
		if (atomic_load(&j->in->cancel))
			return error_set(&j->err, ERR_CANCELLED, "cancelled");
		poll(&p, 1, STUCK_MS);
	}
	if (j->last)
		shutdown(j->pipe->fd, SHUT_WR);
	return 0;
}

static int write_block(struct job *j)
{
	_cleanup_free_ uint8_t *expanded = NULL;
	size_t len;
	const uint8_t *data = plain_of(j, &len, &expanded, &j->err);

	return error_is_set(&j->err) ? -1 : apply_block(j->in->apply, data, len, &j->err);
}

static void end_item(struct incoming *in)
{
	if (in->apply)
		in->file_bytes += apply_bytes(in->apply);
	apply_free(in->apply);
	in->apply = NULL;
}

static void job_work(void *data)
{
	struct job *j = data;
	struct incoming *in = j->in;

	if (atomic_load(&in->cancel))
		return;
	switch (j->kind) {
	case JOB_OPEN:
		in->apply = apply_new(j->text, &j->err);
		break;
	case JOB_BLOCK:
		write_block(j);
		break;
	case JOB_END:
		apply_end(in->apply, j->text, &j->err);
		end_item(in);
		break;
	case JOB_PAGES:
		write_pages(j);
		break;
	case JOB_SENT:
		break;
	}
	if (error_is_set(&j->err)) /* what is behind it is worth nothing */
		atomic_store(&in->cancel, true);
}

/* ---------------------------------------------------------------- its answers */

static void on_pipe_closed(uv_handle_t *handle)
{
	struct pipe *p = container_of((uv_poll_t *)handle, struct pipe, poll);
	struct incoming *in = p->in;

	close(p->fd);
	free(p);
	closer_drop(&in->closer);
}

static void pipe_drop(struct pipe *p)
{
	if (--p->holds == 0)
		uv_close((uv_handle_t *)&p->poll, on_pipe_closed);
}

static void let_pipe_go(struct incoming *in)
{
	struct pipe *p = in->pipe;

	if (!p)
		return;
	in->pipe = NULL;
	uv_poll_stop(&p->poll);
	shutdown(p->fd, SHUT_RDWR);
	pipe_drop(p);
}

static void fail(struct incoming *in, const struct error *err)
{
	if (in->failed)
		return;
	in->failed = true;
	in->err = *err;
	atomic_store(&in->cancel, true);
	let_pipe_go(in);
	if (in->call)
		rpc_call_fail(in->call, err);
}

void incoming_ack(struct incoming *in, const Skein__MoveAck *ack)
{
	struct error err = ERROR_INIT;

	if (in->call && !in->failed && rpc_call_send(in->call, &ack->base, &err) < 0)
		fail(in, &err);
}

static void ack_done(struct incoming *in, Skein__MoveAck__BodyCase what, uint32_t id)
{
	Skein__MoveAck ack = SKEIN__MOVE_ACK__INIT;
	Skein__MoveDone done = SKEIN__MOVE_DONE__INIT;

	done.id = id;
	ack.body_case = what;
	if (what == SKEIN__MOVE_ACK__BODY_ITEM_DONE)
		ack.item_done = &done;
	else
		ack.round_done = &done;
	incoming_ack(in, &ack);
}

static void job_free(struct job *j)
{
	if (j->pipe)
		pipe_drop(j->pipe);
	free(j->text);
	free(j->bytes);
	free(j);
}

static void job_done(void *data)
{
	struct job *j = data;
	struct incoming *in = j->in;

	in->waiting -= j->len;
	if (in->paused && in->waiting < INCOMING_HIGH_BYTES / 2 && in->call) {
		in->paused = false;
		rpc_call_resume(in->call);
	}
	if (error_is_set(&j->err))
		fail(in, &j->err);
	else if (in->failed || !in->call)
		; /* nobody waits for it any more */
	else if (j->kind == JOB_END)
		ack_done(in, SKEIN__MOVE_ACK__BODY_ITEM_DONE, j->id);
	else if (j->kind == JOB_SENT)
		in->h.sent(in->data, j->id);
	job_free(j);
	closer_drop(&in->closer);
}

static struct job *job_new(struct incoming *in, int kind)
{
	struct job *j = xnew(struct job);

	j->in = in;
	j->kind = kind;
	return j;
}

static void queue(struct job *j, const ProtobufCBinaryData *bytes)
{
	struct incoming *in = j->in;

	if (bytes && bytes->len) {
		j->len = bytes->len;
		j->bytes = xmemdup(bytes->data, bytes->len);
	}
	in->waiting += j->len;
	if (!in->paused && in->waiting > INCOMING_HIGH_BYTES) {
		in->paused = true;
		rpc_call_pause(in->call);
	}
	closer_hold(&in->closer);
	serial_run(in->serial, job_work, job_done, j);
}

/* ---------------------------------------------------------------- frames */

/* One answer goes back to the source. False: there is none (now, or any more: *ret_end). */
static bool pass_answer(struct pipe *p, bool *ret_end)
{
	Skein__MoveAck ack = SKEIN__MOVE_ACK__INIT;
	uint8_t buf[ANSWER_BYTES];
	ssize_t n = recv(p->fd, buf, sizeof(buf), MSG_DONTWAIT);

	*ret_end = n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
	if (n <= 0)
		return false;
	ack.body_case = SKEIN__MOVE_ACK__BODY_PAGE_BYTES;
	ack.page_bytes.data = buf;
	ack.page_bytes.len = (size_t)n;
	incoming_ack(p->in, &ack);
	return true;
}

static void on_answer(uv_poll_t *poll, int status, int events)
{
	bool end;

	/* When the server has ended it says itself how. */
	if (!pass_answer(container_of(poll, struct pipe, poll), &end) && end)
		uv_poll_stop(poll);
}

static void round_over(struct incoming *in)
{
	ack_done(in, SKEIN__MOVE_ACK__BODY_ROUND_DONE, in->frames.round);
	frames_round_over(&in->frames);
	let_pipe_go(in);
}

static int begin_round(struct incoming *in, const Skein__MovePages *pages, struct error *err)
{
	struct pipe *p;
	int fd = in->h.pages(in->data, pages->round, pages->parent, err);

	if (fd < 0)
		return -1;
	p = xnew(struct pipe);
	*p = (struct pipe){.fd = fd, .in = in, .holds = 1};
	uv_poll_init(in->loop, &p->poll, p->fd);
	uv_poll_start(&p->poll, UV_READABLE, on_answer);
	closer_hold(&in->closer);
	in->pipe = p;
	return 0;
}

void incoming_round_done(struct incoming *in, const struct error *err)
{
	bool end;

	if (in->failed || !in->pipe)
		return;
	if (err) {
		fail(in, err);
		return;
	}
	/* Its last words may not have been heard yet. */
	while (!in->failed && pass_answer(in->pipe, &end))
		;
	if (in->failed)
		return;
	in->pipe->server_over = true;
	uv_poll_stop(&in->pipe->poll);
	if (in->pipe->end_came)
		round_over(in);
}

static int take_page_bytes(struct incoming *in, const Skein__MovePageBytes *bytes, struct error *err)
{
	struct job *j;

	if (!in->pipe)
		return error_set(err, ERR_INVALID, "pages of a round that is over");
	if (bytes->end && in->pipe->server_over && !bytes->data.len) {
		round_over(in);
		return 0;
	}
	in->pipe->end_came = in->pipe->end_came || bytes->end;
	j = job_new(in, JOB_PAGES);
	j->pipe = in->pipe;
	j->pipe->holds++;
	j->plain_len = bytes->plain_bytes;
	j->last = bytes->end;
	queue(j, &bytes->data);
	return 0;
}

static int take_item(struct incoming *in, const Skein__MoveItem *item, struct error *err)
{
	char *dir = in->h.dir(in->data, item->name, err);
	struct job *j;

	if (!dir)
		return -1;
	j = job_new(in, JOB_OPEN);
	j->text = dir;
	queue(j, NULL);
	return 0;
}

static int take(struct incoming *in, const Skein__MoveChunk *chunk, struct error *err)
{
	struct job *j;

	if (frames_take(&in->frames, chunk, err) < 0)
		return -1;
	switch (chunk->body_case) {
	case SKEIN__MOVE_CHUNK__BODY_ITEM:
		return take_item(in, chunk->item, err);
	case SKEIN__MOVE_CHUNK__BODY_BLOCK:
		j = job_new(in, JOB_BLOCK);
		j->plain_len = chunk->block->plain_bytes;
		queue(j, &chunk->block->data);
		return 0;
	case SKEIN__MOVE_CHUNK__BODY_END:
		j = job_new(in, JOB_END);
		j->id = chunk->end->item;
		j->text = xstrdup(chunk->end->digest);
		queue(j, NULL);
		return 0;
	case SKEIN__MOVE_CHUNK__BODY_PAGES:
		return begin_round(in, chunk->pages, err);
	case SKEIN__MOVE_CHUNK__BODY_PAGE_BYTES:
		return take_page_bytes(in, chunk->page_bytes, err);
	case SKEIN__MOVE_CHUNK__BODY_SENT:
		j = job_new(in, JOB_SENT);
		j->id = chunk->sent->round;
		queue(j, NULL);
		return 0;
	default:
		return 0;
	}
}

void incoming_take(struct incoming *in, const Skein__MoveChunk *chunk)
{
	struct error err = ERROR_INIT;

	if (in->failed || !in->call)
		return;
	if (take(in, chunk, &err) < 0)
		fail(in, &err);
}

/* ---------------------------------------------------------------- life */

struct incoming *incoming_new(uv_loop_t *loop, struct rpc_call *call, const Skein__MoveHello *hello,
			      const struct incoming_handlers *handlers, void *data)
{
	struct incoming *in = xnew(struct incoming);

	in->loop = loop;
	in->call = call;
	in->h = *handlers;
	in->data = data;
	in->frames.greeted = true;
	in->frames.asks = hello->ask;
	in->serial = serial_new(loop, "move");
	closer_init(&in->closer);
	return in;
}

void incoming_finish(struct incoming *in, const struct error *err)
{
	if (err) {
		fail(in, err);
		return;
	}
	in->failed = true;
	atomic_store(&in->cancel, true);
	let_pipe_go(in);
	if (in->call)
		rpc_call_finish(in->call);
}

static void on_serial_closed(void *data)
{
	struct incoming *in = data;

	end_item(in);
	in->h.end(in->data, error_is_set(&in->err) ? &in->err : NULL);
	free(in);
}

static void on_idle(void *data)
{
	struct incoming *in = data;

	serial_close(in->serial, on_serial_closed, in);
}

void incoming_gone(struct incoming *in)
{
	in->call = NULL;
	if (!in->failed)
		error_set(&in->err, ERR_UNAVAILABLE, "the connection to the source was lost");
	in->failed = true;
	atomic_store(&in->cancel, true);
	let_pipe_go(in);
	if (closer_begin(&in->closer, on_idle, in))
		closer_end(&in->closer);
}

uint64_t incoming_file_bytes(const struct incoming *in)
{
	return in->file_bytes;
}
