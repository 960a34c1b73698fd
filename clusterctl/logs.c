#include "logs.h"

#include "conn.h"
#include "ctl.h"
#include "values.h"

#include "common/clock.h"
#include "common/error.h"
#include "common/mem.h"
#include "proto/pb.h"

#include <signal.h>
#include <string.h>
#include <sys/queue.h>
#include <unistd.h>

#define L(kind, field) OPT_##kind(struct logs_flags, field)
#define LONG_LINE_MAX (256u << 10) /* of one line whose end has not come yet */
#define PREFIX_GAP 4

const struct option_def logs_options[] = {
	HELP_OPTION,
	{"details", 0, L(BOOL, details), .help = "show the node and task ids of each line"},
	{"follow", 'f', L(BOOL, follow), .help = "go on with what comes later"},
	{"no-resolve", 0, L(BOOL, no_resolve), .help = "show node ids instead of names"},
	{"no-task-ids", 0, L(BOOL, no_task_ids), .help = "leave out the task ids"},
	{"no-trunc", 0, L(BOOL, no_trunc), .help = "do not shorten ids"},
	{"raw", 0, L(BOOL, raw), .help = "only what was written, without a prefix"},
	{"since", 0, L(STR, since), .arg = "TIME",
	 .help = "only what is newer: 2026-01-31T12:00:00Z, or 10m for the last ten minutes"},
	{"until", 0, L(STR, until), .arg = "TIME", .help = "only what is older"},
	{"tail", 'n', L(STR, tail), .arg = "LINES", .def = "all",
	 .help = "last lines of each task"},
	{"timestamps", 't', L(BOOL, timestamps), .help = "show when each line was written"},
	{0},
};

int logs_tail(const char *text, int64_t *ret, struct error *err)
{
	if (str_eq(text, "all")) {
		*ret = -1;
		return 0;
	}
	if (str_parse_i64(text, ret, NULL) < 0 || *ret < 0)
		return error_set(
			err, ERR_INVALID,
			"--tail: invalid value \"%.100s\": expected a number of lines, or all",
			text);
	return 0;
}

/* ---------------------------------------------------------------- lines */

/* The beginning of a line whose end has not come yet. */
struct open_line {
	LIST_ENTRY(open_line) entry;
	char *task_id;
	int stream;
	int64_t at;
	char *prefix;
	struct strbuf text;
};

struct logs_writer {
	const struct logs_flags *flags;
	size_t widest; /* prefix so far: lines stay aligned */
	LIST_HEAD(, open_line) open;
};

struct logs_writer *logs_writer_new(const struct logs_flags *flags)
{
	struct logs_writer *w = xnew(struct logs_writer);

	w->flags = flags;
	LIST_INIT(&w->open);
	return w;
}

static void open_line_free(struct open_line *line)
{
	LIST_REMOVE(line, entry);
	free(line->task_id);
	free(line->prefix);
	strbuf_fini(&line->text);
	free(line);
}

void logs_writer_free(struct logs_writer *w)
{
	while (!LIST_EMPTY(&w->open))
		open_line_free(LIST_FIRST(&w->open));
	free(w);
}

static void put_id(struct strbuf *out, const char *id, bool no_trunc)
{
	strbuf_add(out, id, no_trunc ? strlen(id) : strnlen(id, TEXT_ID_SHOWN));
}

/* "web.1.k3x9w2@node1" */
static char *make_prefix(const struct logs_flags *f, const Skein__LogsResponse *msg)
{
	struct strbuf out = {0};

	strbuf_puts(&out, msg->task_name);
	if (!f->no_task_ids) {
		strbuf_putc(&out, '.');
		put_id(&out, msg->task_id, f->no_trunc);
	}
	strbuf_putc(&out, '@');
	if (f->no_resolve || !*msg->node_name)
		put_id(&out, msg->node_id, f->no_trunc);
	else
		strbuf_puts(&out, msg->node_name);
	if (f->details)
		strbuf_printf(&out, " task=%s node=%s", msg->task_id, msg->node_id);
	return strbuf_take(&out);
}

static void put_line(struct logs_writer *w, struct strbuf *out, const char *prefix, int64_t at,
		     const char *text, size_t len)
{
	char when[CLOCK_RFC3339_MAX];

	if (w->flags->timestamps)
		strbuf_printf(out, "%s ", clock_rfc3339(at, when));
	if (!w->flags->raw) {
		w->widest = MAX(w->widest, text_width(prefix));
		strbuf_printf(out, "%s%*s| ", prefix,
			      (int)(w->widest - text_width(prefix) + PREFIX_GAP), "");
	}
	strbuf_add(out, text, len);
	strbuf_putc(out, '\n');
}

static struct open_line *find_open(struct logs_writer *w, const char *task_id, int stream)
{
	struct open_line *line;

	LIST_FOREACH(line, &w->open, entry)
	if (line->stream == stream && str_eq(line->task_id, task_id))
		return line;
	return NULL;
}

static struct open_line *start_open(struct logs_writer *w, const char *task_id, const char *prefix,
				    const pb_log_line *from)
{
	struct open_line *line = xnew(struct open_line);

	line->task_id = xstrdup(task_id);
	line->stream = (int)from->stream;
	line->at = from->at;
	line->prefix = xstrdup(prefix);
	LIST_INSERT_HEAD(&w->open, line, entry);
	return line;
}

static void feed_line(struct logs_writer *w, const char *task_id, const char *prefix,
		      const pb_log_line *from, struct strbuf *out)
{
	struct open_line *line = find_open(w, task_id, (int)from->stream);

	if (!line && !from->partial) {
		put_line(w, out, prefix, from->at, (const char *)from->data.data, from->data.len);
		return;
	}
	if (!line)
		line = start_open(w, task_id, prefix, from);
	strbuf_add(&line->text, (const char *)from->data.data, from->data.len);
	if (from->partial && line->text.len < LONG_LINE_MAX)
		return;
	put_line(w, out, line->prefix, line->at, line->text.p ?: "", line->text.len);
	open_line_free(line);
}

void logs_writer_feed(struct logs_writer *w, const Skein__LogsResponse *msg, struct strbuf *out,
		      struct strbuf *errout)
{
	_cleanup_free_ char *prefix = make_prefix(w->flags, msg);

	for (size_t i = 0; i < msg->n_lines; i++) {
		bool is_err = msg->lines[i]->stream == SKEIN__LOG_STREAM__STDERR;

		feed_line(w, msg->task_id, prefix, msg->lines[i], is_err ? errout : out);
	}
}

void logs_writer_end(struct logs_writer *w, struct strbuf *out, struct strbuf *errout)
{
	while (!LIST_EMPTY(&w->open)) {
		struct open_line *line = LIST_FIRST(&w->open);
		struct strbuf *to = line->stream == SKEIN__LOG_STREAM__STDERR ? errout : out;

		put_line(w, to, line->prefix, line->at, line->text.p ?: "", line->text.len);
		open_line_free(line);
	}
}

/* ---------------------------------------------------------------- the request */

struct logs_run {
	struct conn *conn;
	struct logs_writer *writer;
	struct rpc_call *call;
	bool done, failed, output_gone;
	struct error err;
};

static bool write_all(FILE *to, const struct strbuf *text)
{
	if (text->len > 0)
		fwrite(text->p, 1, text->len, to);
	return fflush(to) == 0;
}

/* The reader of a pipe may be gone (`| head`): then there is nothing more to do. */
static void write_out(struct logs_run *run, const struct strbuf *out, const struct strbuf *errout)
{
	if (!write_all(stdout, out) || !write_all(stderr, errout)) {
		run->output_gone = true;
		if (run->call)
			rpc_call_cancel(run->call);
	}
}

static void on_message(struct rpc_call *call, const ProtobufCMessage *msg, void *data)
{
	_cleanup_strbuf_ struct strbuf out = {0}, errout = {0};
	const Skein__LogsResponse *logs = (const Skein__LogsResponse *)msg;
	struct logs_run *run = data;

	if (run->output_gone)
		return;
	logs_writer_feed(run->writer, logs, &out, &errout);
	write_out(run, &out, &errout);
	if (*logs->warning)
		ctl_warn("%s", logs->warning);
}

static void on_done(struct rpc_call *call, const struct error *err, void *data)
{
	struct logs_run *run = data;

	run->done = true;
	run->call = NULL;
	run->failed = err && !run->output_gone;
	if (run->failed)
		run->err = *err;
}

static const struct rpc_handlers handlers = {.on_message = on_message, .on_done = on_done};

static int make_request(Skein__LogsRequest *request, const struct logs_flags *f, const char *ref,
			struct error *err)
{
	int64_t now = clock_wall_ns();

	request->ref = (char *)ref;
	request->follow = f->follow;
	if (logs_tail(f->tail, &request->tail, err) < 0)
		return -1;
	if (f->since && value_time(f->since, now, &request->since, err) < 0)
		return error_wrap(err, "--since");
	if (f->until && value_time(f->until, now, &request->until, err) < 0)
		return error_wrap(err, "--until");
	return 0;
}

enum ctl_exit logs_run(struct ctl *ctl, const struct verb *verb, void *flags,
		       const struct option_seen *seen, const struct strv *args, struct error *err)
{
	const struct logs_flags *f = flags;
	_cleanup_strbuf_ struct strbuf out = {0}, errout = {0};
	Skein__LogsRequest request = SKEIN__LOGS_REQUEST__INIT;
	struct logs_run run = {.conn = ctl_conn(ctl)};

	if (make_request(&request, f, args->v[0], err) < 0)
		return CTL_USAGE;
	run.call = conn_stream(run.conn, CONN_MANAGER, "Logs", &handlers, &run, err);
	if (!run.call)
		return CTL_FAILED;
	run.writer = logs_writer_new(f);
	if (rpc_call_send(run.call, &request.base, &run.err) == 0)
		rpc_call_half_close(run.call);
	else
		rpc_call_cancel(run.call);
	conn_run(run.conn, &run.done);
	logs_writer_end(run.writer, &out, &errout);
	if (!run.output_gone)
		write_out(&run, &out, &errout);
	logs_writer_free(run.writer);
	if (run.failed) {
		*err = run.err;
		conn_explain(run.conn, CONN_MANAGER, err);
	}
	return run.failed ? CTL_FAILED : CTL_OK;
}
