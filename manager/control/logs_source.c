#include "logs_source.h"
#include "internal.h"

#include "common/clock.h"
#include "common/error.h"
#include "common/mem.h"
#include "rpc/rpc.h"

#include <stdio.h>
#include <string.h>

#define BATCH_MAX_BYTES (1u << 20)

struct logs_source *logs_source_new(struct logs *logs, const pb_task *task)
{
	struct logs_source *s = xnew(struct logs_source);
	char name[PB_TASK_NAME_MAX];

	s->logs = logs;
	snprintf(s->task_id, sizeof(s->task_id), "%s", task->id);
	snprintf(s->task_name, sizeof(s->task_name), "%s", pb_task_name(task, name));
	snprintf(s->node_id, sizeof(s->node_id), "%s", task->node_id);
	STAILQ_INIT(&s->batches);
	return s;
}

static void drop_batch(struct logs_source *s)
{
	struct log_batch *b = STAILQ_FIRST(&s->batches);

	STAILQ_REMOVE_HEAD(&s->batches, entry);
	pb_free(b->msg);
	free(b);
}

void logs_source_free(struct logs_source *s)
{
	while (!STAILQ_EMPTY(&s->batches))
		drop_batch(s);
	free(s);
}

/* Where a repeated stream goes on. */
static void remember_end(struct logs_source *s, const Skein__TaskLogsResponse *msg)
{
	int64_t at = msg->lines[msg->n_lines - 1]->at;
	size_t n = 0;

	while (n < msg->n_lines && msg->lines[msg->n_lines - 1 - n]->at == at)
		n++;
	s->n_last = at == s->last_at ? s->n_last + n : n;
	s->last_at = at;
}

static void on_message(struct rpc_call *call, const ProtobufCMessage *raw, void *data)
{
	const Skein__TaskLogsResponse *msg = (const Skein__TaskLogsResponse *)raw;
	struct logs_source *s = data;
	struct log_batch *b;

	if (msg->n_lines == 0 || s->ended)
		return;
	/* Lines are at most 16 KiB and batches small: more is not what an agent of ours sends. */
	if (protobuf_c_message_get_packed_size(raw) > BATCH_MAX_BYTES) {
		rpc_call_cancel(call);
		return;
	}
	b = xnew(struct log_batch);
	b->msg = pb_dup(msg);
	STAILQ_INSERT_TAIL(&s->batches, b, entry);
	remember_end(s, msg);
	s->opened_at = clock_mono_ns();
	s->failures = 0;
	if (!s->paused) {
		s->paused = true;
		rpc_call_pause(call);
	}
	logs_source_changed(s);
}

static void on_done(struct rpc_call *call, const struct error *err, void *data)
{
	struct logs_source *s = data;
	struct logs *logs = s->logs;

	s->call = NULL;
	s->paused = false;
	if (err) {
		logs_source_failed(s, err);
	} else {
		s->ended = true;
		logs_source_changed(s);
	}
	logs_source_drop(logs);
}

void logs_source_open(struct logs_source *s, struct rpc_channel *channel,
		      const Skein__LogsRequest *request)
{
	static const struct rpc_handlers handlers = {.on_message = on_message, .on_done = on_done};
	Skein__TaskLogsRequest msg = SKEIN__TASK_LOGS_REQUEST__INIT;

	msg.task_id = s->task_id;
	msg.follow = request->follow;
	msg.tail = s->last_at ? -1 : request->tail;
	msg.since = s->last_at ? s->last_at : request->since;
	msg.skip = s->n_last;
	msg.until = request->until;
	s->retry_at = 0;
	s->opened_at = clock_mono_ns();
	logs_source_hold(s->logs);
	s->call = rpc_stream(channel, &skein__peer__descriptor, "TaskLogs", 0, &handlers, s);
	rpc_call_send(s->call, &msg.base, NULL);
	rpc_call_half_close(s->call);
}

void logs_source_stop(struct logs_source *s)
{
	s->ended = true;
	s->retry_at = 0;
	if (s->call)
		rpc_call_cancel(s->call);
}

const pb_log_line *logs_source_head(const struct logs_source *s)
{
	const struct log_batch *b = STAILQ_FIRST(&s->batches);

	return b ? b->msg->lines[b->next] : NULL;
}

size_t logs_source_run(const struct logs_source *s, int64_t limit, pb_log_line ***ret_lines)
{
	const struct log_batch *b = STAILQ_FIRST(&s->batches);
	size_t n = 1;

	*ret_lines = b->msg->lines + b->next;
	while (b->next + n < b->msg->n_lines && b->msg->lines[b->next + n]->at <= limit)
		n++;
	return n;
}

void logs_source_consume(struct logs_source *s, size_t lines)
{
	struct log_batch *b = STAILQ_FIRST(&s->batches);

	b->next += lines;
	if (b->next < b->msg->n_lines)
		return;
	drop_batch(s);
	if (s->paused && s->call && STAILQ_EMPTY(&s->batches)) {
		s->paused = false;
		s->opened_at = clock_mono_ns();
		rpc_call_resume(s->call);
	}
}
