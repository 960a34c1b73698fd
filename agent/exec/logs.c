#include "agent/exec/internal.h"

#include "agent/exec/crilog.h"
#include "agent/exec/logfiles.h"
#include "common/error.h"
#include "common/id.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/str.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#define BLOCK 65536
#define LINES_MAX 4096	 /* of one batch: a block full of empty lines stays small in memory */
#define FALLBACK_MS 1000 /* when the kernel has no inotify watches left */

/*
 * Reads one block at a time on the pool; `busy` says that the pool has the cursor. What the loop
 * learns meanwhile (new data, end, close) it notes in flags.
 */
struct log_reader {
	struct exec *exec; /* NULL once it is closed */
	struct closer closer;
	LIST_ENTRY(log_reader) link;
	char *task_id, *dir;
	struct log_query query;
	log_lines_cb on_lines;
	log_done_cb done;
	void *data;

	uv_fs_event_t watch;
	uv_timer_t fallback;
	bool watching, busy, again, paused, finished, closed;
	bool may_grow; /* as it was before the job began */

	/* The cursor: the pool's while busy. */
	int fd;
	off_t pos;
	bool located;
	pb_log_line **lines;
	size_t n_lines;
	bool past_until;
	struct error err;
};

/* ---------------------------------------------------------------- reading (pool) */

static char *file_path(const struct log_reader *r, uint64_t number)
{
	return number ? xasprintf("%s/log.%" PRIu64, r->dir, number) : xasprintf("%s/log", r->dir);
}

/* number 0 is "log" itself. False: there is none (any more). */
static bool open_file(struct log_reader *r, uint64_t number)
{
	_cleanup_free_ char *path = file_path(r, number);
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0)
		return false;
	mem_closep(&r->fd);
	r->fd = fd;
	r->pos = 0;
	return true;
}

static bool is_open_file(const struct log_reader *r, uint64_t number)
{
	_cleanup_free_ char *path = file_path(r, number);
	struct stat a, b;

	return stat(path, &a) == 0 && fstat(r->fd, &b) == 0 && a.st_ino == b.st_ino &&
	       a.st_dev == b.st_dev;
}

/* Is there a "log" that is not the open file? Then nobody writes to the open file any more. */
static bool is_rotated(const struct log_reader *r)
{
	_cleanup_free_ char *path = file_path(r, 0);

	return access(path, F_OK) == 0 && !is_open_file(r, 0);
}

/* The file behind the open one; when that was removed meanwhile, the oldest there is. */
static bool open_next(struct log_reader *r)
{
	_cleanup_(logfiles_fini) struct logfiles files = {0};

	logfiles_list(r->dir, &files);
	for (size_t i = 0; i < files.n; i++)
		if (is_open_file(r, files.numbers[i]))
			return open_file(r, i + 1 < files.n ? files.numbers[i + 1] : 0);
	return open_file(r, files.n ? files.numbers[0] : 0);
}

/* Open the file where the tail begins: from the newest back, as long as there are too few lines. */
static void locate_tail(struct log_reader *r, const struct logfiles *files)
{
	uint64_t wanted = (uint64_t)r->query.tail, found;

	for (size_t i = files->n + 1; i-- > 0;) {
		struct stat st;

		if (!open_file(r, i == files->n ? 0 : files->numbers[i]) || fstat(r->fd, &st) < 0)
			continue;
		r->pos = crilog_tail(r->fd, st.st_size, wanted, &found);
		if (found >= wanted)
			return;
		wanted -= found;
	}
}

static void locate(struct log_reader *r)
{
	_cleanup_(logfiles_fini) struct logfiles files = {0};

	logfiles_list(r->dir, &files);
	if (r->query.tail >= 0)
		locate_tail(r, &files);
	else
		open_file(r, files.n ? files.numbers[0] : 0);
	r->located = r->fd >= 0;
}

static void add_part(struct log_reader *r, const struct crilog_line *line, size_t from, size_t len,
		     bool partial)
{
	pb_log_line *msg;

	if (r->query.skip && line->at == r->query.since) {
		r->query.skip--;
		return;
	}
	msg = pb_new(&skein__log_line__descriptor);
	msg->at = line->at;
	msg->stream = line->is_stderr ? SKEIN__LOG_STREAM__STDERR : SKEIN__LOG_STREAM__STDOUT;
	msg->partial = partial;
	msg->data.data = xmemdup(line->data + from, MAX(len, (size_t)1));
	msg->data.len = len;
	r->lines[r->n_lines++] = msg;
}

static void add_record(struct log_reader *r, const char *record, size_t len)
{
	struct crilog_line line;
	size_t from = 0;

	if (crilog_parse(record, len, &line) < 0 || (r->query.since && line.at < r->query.since))
		return;
	if (r->query.until && line.at > r->query.until) {
		r->past_until = true;
		return;
	}
	for (; line.len - from > CRILOG_DATA_MAX; from += CRILOG_DATA_MAX)
		add_part(r, &line, from, CRILOG_DATA_MAX, true);
	add_part(r, &line, from, line.len - from, line.partial);
}

/* Parse the complete records of a block; returns how many bytes they take. */
static size_t take_records(struct log_reader *r, const char *block, size_t len)
{
	size_t pos = 0;

	/* A long record may become several lines. */
	while (pos < len && r->n_lines + BLOCK / CRILOG_DATA_MAX + 1 < LINES_MAX &&
	       !r->past_until) {
		const char *newline = memchr(block + pos, '\n', len - pos);
		size_t end = newline ? (size_t)(newline - block) : len;

		if (!newline &&
		    !(pos == 0 && len == BLOCK)) /* not complete; or longer than any record */
			break;
		add_record(r, block + pos, end - pos);
		pos = end + (newline ? 1 : 0);
	}
	return pos;
}

static ssize_t read_block(struct log_reader *r, char *block)
{
	ssize_t n;

	do
		n = pread(r->fd, block, BLOCK, r->pos);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		error_set_errno(&r->err, errno, "read logs of task %s", r->task_id);
	return n;
}

static void read_work(void *data)
{
	struct log_reader *r = data;
	_cleanup_free_ char *block = xmalloc(BLOCK);

	if (r->err.code != ERR_OK)
		return;
	if (!r->located)
		locate(r);
	if (!r->located) {
		if (!r->may_grow && access(r->dir, F_OK) < 0)
			error_set(&r->err, ERR_NOT_FOUND, "no logs of task %s on this node",
				  r->task_id);
		return;
	}
	if (!r->lines)
		r->lines = xcalloc(LINES_MAX, sizeof(*r->lines));
	while (r->n_lines == 0 && !r->past_until) {
		/* First whether it was rotated, then its end: so the end is the end. */
		bool rotated = is_rotated(r);
		ssize_t n = read_block(r, block);
		size_t taken = n > 0 ? take_records(r, block, (size_t)n) : 0;

		r->pos += (off_t)taken;
		if (n < 0 || (taken == 0 && (!rotated || !open_next(r))))
			return;
	}
}

/* ---------------------------------------------------------------- loop side */

static void read_next(struct log_reader *r);

/* Can there be more output of this task? */
static bool may_grow(const struct log_reader *r)
{
	struct container *c;

	HASH_FIND_STR(r->exec->containers, r->task_id, c);
	return c && c->phase != PHASE_EXITED && c->phase != PHASE_REMOVING;
}

static void on_fallback(uv_timer_t *timer)
{
	read_next(container_of(timer, struct log_reader, fallback));
}

static void on_change(uv_fs_event_t *handle, const char *name, int events, int status)
{
	read_next(container_of(handle, struct log_reader, watch));
}

/* The directory may not be there yet: tried again whenever something happens to the container. */
static void watch(struct log_reader *r)
{
	int status;

	if (r->watching || !r->query.follow || r->finished)
		return;
	status = uv_fs_event_start(&r->watch, on_change, r->dir, 0);
	if (status == 0)
		r->watching = true;
	else if (status != UV_ENOENT && !uv_is_active((uv_handle_t *)&r->fallback))
		uv_timer_start(&r->fallback, on_fallback, FALLBACK_MS, FALLBACK_MS);
}

static void finish(struct log_reader *r, const struct error *err)
{
	if (r->finished)
		return;
	r->finished = true;
	uv_fs_event_stop(&r->watch);
	uv_timer_stop(&r->fallback);
	r->done(r->data, err);
}

static void free_lines(struct log_reader *r)
{
	for (size_t i = 0; i < r->n_lines; i++)
		pb_free(r->lines[i]);
	r->n_lines = 0;
}

static void deliver(struct log_reader *r)
{
	size_t n = r->n_lines;

	if (n > 0 && !r->on_lines(r->data, r->lines, n))
		r->paused = true;
	free_lines(r);
	if (r->closed || r->finished)
		return;
	if (r->err.code != ERR_OK)
		finish(r, &r->err);
	else if (r->past_until)
		finish(r, NULL);
	else if (n > 0 || r->again)
		read_next(r);
	else if (!r->query.follow || !r->may_grow)
		finish(r, NULL);
}

static void read_done(void *data)
{
	struct log_reader *r = data;

	r->busy = false;
	if (r->closed || r->finished)
		free_lines(r);
	else
		deliver(r);
	closer_drop(&r->closer);
}

static void read_next(struct log_reader *r)
{
	if (r->busy || r->paused || r->closed || r->finished) {
		r->again = r->busy;
		return;
	}
	watch(r);
	r->again = false;
	r->busy = true;
	r->may_grow = may_grow(r);
	closer_hold(&r->closer);
	loop_work(r->exec->loop, read_work, read_done, r);
}

struct log_reader *log_reader_open(struct exec *e, const char *task_id,
				   const struct log_query *query, log_lines_cb on_lines,
				   log_done_cb done, void *data)
{
	struct log_reader *r = xnew(struct log_reader);

	r->exec = e;
	r->task_id = xstrdup(task_id);
	r->query = *query;
	r->on_lines = on_lines;
	r->done = done;
	r->data = data;
	r->fd = -1;
	closer_init(&r->closer);
	uv_fs_event_init(e->loop, &r->watch);
	uv_timer_init(e->loop, &r->fallback);
	LIST_INSERT_HEAD(&e->readers, r, link);
	/* It becomes part of a path. */
	if (!id_valid(task_id))
		error_set(&r->err, ERR_INVALID,
			  "task id \"%.64s\": accepted are %d characters of [0-9a-z]", task_id,
			  ID_LEN);
	r->dir = r->err.code == ERR_OK ? xasprintf("%s/%s/logs", e->tasks_dir, task_id)
				       : xstrdup("/nonexistent");
	read_next(r);
	return r;
}

void log_reader_resume(struct log_reader *r)
{
	r->paused = false;
	read_next(r);
}

static void on_reader_closed(void *data)
{
	struct log_reader *r = data;

	mem_closep(&r->fd);
	free(r->lines);
	free(r->task_id);
	free(r->dir);
	free(r);
}

void log_reader_close(struct log_reader *r)
{
	if (!closer_begin(&r->closer, on_reader_closed, r))
		return;
	r->closed = true;
	if (r->exec)
		LIST_REMOVE(r, link);
	closer_add(&r->closer, (uv_handle_t *)&r->watch);
	closer_add(&r->closer, (uv_handle_t *)&r->fallback);
	closer_end(&r->closer);
}

void log_readers_wake(struct exec *e, const char *task_id)
{
	struct log_reader *r, *next;

	for (r = LIST_FIRST(&e->readers); r; r = next) {
		next = LIST_NEXT(r, link);
		if (str_eq(r->task_id, task_id))
			read_next(r);
	}
}

void log_readers_close(struct exec *e)
{
	struct log_reader *r;
	struct error err = ERROR_INIT;

	error_set(&err, ERR_CANCELLED, "the agent stops");
	while ((r = LIST_FIRST(&e->readers))) {
		LIST_REMOVE(r, link);
		r->exec = NULL;
		finish(r, &err);
	}
}
