#include "taskdb.h"

#include "common/file.h"
#include "common/id.h"
#include "common/log.h"
#include "common/loop.h"
#include "common/mem.h"
#include "common/str.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/queue.h>

#define TASK_FILE_MAX_BYTES (1u << 20)

/* One write or removal. Queued entries of one task are merged: only the newest counts. */
struct entry {
	TAILQ_ENTRY(entry) link;
	char id[64];
	uint8_t *bytes; /* NULL = remove */
	size_t len;
	struct waiter {
		taskdb_saved_cb cb;
		void *data;
	} *waiters;
	size_t n_waiters;
	struct error err;
};
TAILQ_HEAD(entries, entry);

struct taskdb {
	uv_loop_t *loop;
	char *dir;
	struct entries queued, writing;
	bool busy;
	void (*closed)(void *data);
	void *closed_data;
};

struct taskdb *taskdb_new(uv_loop_t *loop, const char *dir, struct error *err)
{
	struct taskdb *db;

	if (file_mkdirs(dir, 0700, err) < 0)
		return NULL;
	db = xnew(struct taskdb);
	db->loop = loop;
	db->dir = xstrdup(dir);
	TAILQ_INIT(&db->queued);
	TAILQ_INIT(&db->writing);
	return db;
}

static void taskdb_free(struct taskdb *db)
{
	free(db->dir);
	free(db);
}

static void entry_free(struct entry *e)
{
	free(e->bytes);
	free(e->waiters);
	free(e);
}

/* On the uv pool: `writing` belongs to this thread until written(). */
static void write_entries(void *data)
{
	struct taskdb *db = data;
	struct error err = ERROR_INIT;
	bool any = false;
	struct entry *e;

	TAILQ_FOREACH(e, &db->writing, link) {
		_cleanup_free_ char *path = xasprintf("%s/%s", db->dir, e->id);

		if (e->bytes)
			any |= file_put(path, e->bytes, e->len, 0600, &e->err) == 0;
		else if (unlink(path) < 0 && errno != ENOENT)
			error_set_errno(&e->err, errno, "remove %s", path);
	}
	if (!any || file_sync_dir(db->dir, &err) == 0)
		return;
	TAILQ_FOREACH(e, &db->writing, link)
		if (e->bytes && !error_is_set(&e->err))
			e->err = err;
}

static void flush(struct taskdb *db);

static void written(void *data)
{
	struct taskdb *db = data;
	struct entries done = TAILQ_HEAD_INITIALIZER(done);
	struct entry *e;

	TAILQ_CONCAT(&done, &db->writing, link);
	db->busy = false;
	flush(db);
	while ((e = TAILQ_FIRST(&done))) {
		TAILQ_REMOVE(&done, e, link);
		if (error_is_set(&e->err))
			log_error("taskdb_write", kv_str("task", e->id), kv_err(&e->err));
		for (size_t i = 0; i < e->n_waiters; i++)
			e->waiters[i].cb(e->waiters[i].data, error_is_set(&e->err) ? &e->err : NULL);
		entry_free(e);
	}
	if (db->closed && !db->busy && TAILQ_EMPTY(&db->queued)) {
		void (*closed)(void *) = db->closed;
		void *closed_data = db->closed_data;

		taskdb_free(db);
		closed(closed_data);
	}
}

static void flush(struct taskdb *db)
{
	if (db->busy || TAILQ_EMPTY(&db->queued))
		return;
	db->busy = true;
	TAILQ_CONCAT(&db->writing, &db->queued, link);
	loop_work(db->loop, write_entries, written, db);
}

static struct entry *queue_entry(struct taskdb *db, const char *id)
{
	struct entry *e;

	TAILQ_FOREACH(e, &db->queued, link) {
		if (strcmp(e->id, id) == 0) {
			free(e->bytes);
			e->bytes = NULL;
			return e;
		}
	}
	e = xnew(struct entry);
	strncpy(e->id, id, sizeof(e->id) - 1);
	TAILQ_INSERT_TAIL(&db->queued, e, link);
	return e;
}

void taskdb_put(struct taskdb *db, const pb_task *task, taskdb_saved_cb saved, void *data)
{
	struct entry *e = queue_entry(db, task->id);
	/* What a check printed may be anything; taskdb_parse() refuses text that a terminal would act on. */
	_cleanup_pb_ pb_task *clean = pb_dup_clean(task);

	e->len = protobuf_c_message_get_packed_size(&clean->base);
	e->bytes = xmalloc(e->len);
	protobuf_c_message_pack(&clean->base, e->bytes);
	if (saved) {
		e->waiters = xreallocarray(e->waiters, e->n_waiters + 1, sizeof(*e->waiters));
		e->waiters[e->n_waiters++] = (struct waiter){saved, data};
	}
	flush(db);
}

void taskdb_del(struct taskdb *db, const char *task_id)
{
	queue_entry(db, task_id);
	flush(db);
}

static void nothing(void *data)
{
	(void)data;
}

void taskdb_close(struct taskdb *db, void (*closed)(void *data), void *data)
{
	db->closed = closed;
	db->closed_data = data;
	if (db->busy)
		return;
	db->busy = true;
	loop_work(db->loop, nothing, written, db);
}

pb_task *taskdb_parse(const void *bytes, size_t len)
{
	pb_task *task = pb_unpack(&skein__task__descriptor, bytes, len);

	if (task && id_valid(task->id) && task->spec && task->spec->container && task->status)
		return task;
	pb_free(task);
	return NULL;
}

void taskdb_load(struct taskdb *db, void (*fn)(void *data, const pb_task *task), void *data)
{
	DIR *dir = opendir(db->dir);
	struct dirent *entry;

	if (!dir)
		return;
	while ((entry = readdir(dir))) {
		_cleanup_free_ char *path = NULL, *bytes = NULL;
		_cleanup_pb_ pb_task *task = NULL;
		struct error err = ERROR_INIT;
		size_t len = 0;

		path = xasprintf("%s/%s", db->dir, entry->d_name);
		if (strstr(entry->d_name, ".tmp.")) /* an agent was killed while it wrote */
			unlink(path);
		if (!id_valid(entry->d_name))
			continue;
		if (file_read(path, TASK_FILE_MAX_BYTES, &bytes, &len, &err) == 0)
			task = taskdb_parse(bytes, len);
		if (task && strcmp(task->id, entry->d_name) == 0) {
			fn(data, task);
		} else {
			_cleanup_free_ char *aside = xasprintf("%s.damaged", path);

			log_error("taskdb_damaged", kv_str("path", path), kv_err(&err));
			if (rename(path, aside) < 0)
				unlink(path);
		}
	}
	closedir(dir);
}
