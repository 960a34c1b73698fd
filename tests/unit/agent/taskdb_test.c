/* What an agent saves is what the next one finds. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "agent/taskdb.h"
#include "common/file.h"
#include "common/id.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[] = "/tmp/skein-taskdb-XXXXXX";

static pb_task *make_task(const char *id, Skein__TaskState state)
{
	pb_task *t = pb_new(&skein__task__descriptor);

	pb_set_str(&t->id, id);
	t->spec = pb_new(&skein__task_spec__descriptor);
	t->spec->container = pb_new(&skein__container_spec__descriptor);
	pb_set_str(&t->spec->container->image, "docker.io/library/web:1");
	t->status = pb_new(&skein__task_status__descriptor);
	t->status->state = state;
	return t;
}

struct found {
	unsigned n;
	char id[ID_LEN + 1];
	int state;
};

static void on_task(void *data, const pb_task *task)
{
	struct found *f = data;

	f->n++;
	strncpy(f->id, task->id, ID_LEN);
	f->state = (int)task->status->state;
}

static void on_saved(void *data, const struct error *err)
{
	assert_null(err);
	(*(unsigned *)data)++;
}

static void on_closed(void *data)
{
	*(bool *)data = true;
}

static void close_db(uv_loop_t *loop, struct taskdb *db)
{
	bool closed = false;

	taskdb_close(db, on_closed, &closed);
	while (!closed)
		uv_run(loop, UV_RUN_ONCE);
}

static void newest_state_survives(void **state)
{
	struct error err = ERROR_INIT;
	char id[ID_LEN + 1], gone[ID_LEN + 1], path[128];
	unsigned saved = 0;
	struct found found = {0};
	struct stat st;
	uv_loop_t loop;
	struct taskdb *db;

	(void)state;
	id_new(id);
	id_new(gone);
	uv_loop_init(&loop);
	db = taskdb_new(&loop, dir, &err);
	assert_non_null(db);
	for (Skein__TaskState s = TASK_ACCEPTED; s <= TASK_RUNNING; s += 64) {
		pb_task *t = make_task(id, s);

		taskdb_put(db, t, on_saved, &saved);
		pb_free(t);
	}
	pb_task *other = make_task(gone, TASK_RUNNING);
	taskdb_put(db, other, on_saved, &saved);
	taskdb_del(db, gone);
	pb_free(other);
	close_db(&loop, db);
	assert_int_equal(saved, 6); /* every put is answered, also merged ones */

	snprintf(path, sizeof(path), "%s/%s", dir, id);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	snprintf(path, sizeof(path), "%s/%s", dir, gone);
	assert_int_equal(stat(path, &st), -1);

	db = taskdb_new(&loop, dir, &err);
	taskdb_load(db, on_task, &found);
	assert_int_equal(found.n, 1);
	assert_string_equal(found.id, id);
	assert_int_equal(found.state, TASK_RUNNING);
	close_db(&loop, db);
	uv_loop_close(&loop);
}

/* A check of health prints what it likes, and is cut in the middle of a character: no reason to lose the task. */
static void what_a_container_printed_is_no_damage(void **state)
{
	struct error err = ERROR_INIT;
	char id[ID_LEN + 1], path[128];
	struct found found = {0};
	uv_loop_t loop;
	struct taskdb *db;
	pb_task *t;

	(void)state;
	id_new(id);
	uv_loop_init(&loop);
	db = taskdb_new(&loop, dir, &err);
	t = make_task(id, TASK_RUNNING);
	t->status->health = pb_new(&skein__task_health__descriptor);
	pb_set_str(&t->status->health->output, "10%\r\x1b[31m100%\xff\xe2\x82");
	taskdb_put(db, t, NULL, NULL);
	pb_free(t);
	close_db(&loop, db);
	db = taskdb_new(&loop, dir, &err);
	snprintf(path, sizeof(path), "%s/%s", dir, id);
	assert_int_equal(access(path, F_OK), 0);
	taskdb_load(db, on_task, &found);
	assert_int_equal(access(path, F_OK), 0); /* not moved aside */
	assert_true(found.n >= 1);
	taskdb_del(db, id);
	close_db(&loop, db);
	uv_loop_close(&loop);
}

static void damaged_files_are_moved_aside(void **state)
{
	struct error err = ERROR_INIT;
	char id[ID_LEN + 1], path[128], aside[160];
	struct found found = {0};
	struct stat st;
	uv_loop_t loop;
	struct taskdb *db;

	(void)state;
	id_new(id);
	snprintf(path, sizeof(path), "%s/%s", dir, id);
	snprintf(aside, sizeof(aside), "%s.damaged", path);
	assert_int_equal(file_write(path, "\xff\xff nonsense", 11, 0600, &err), 0);
	uv_loop_init(&loop);
	db = taskdb_new(&loop, dir, &err);
	taskdb_load(db, on_task, &found);
	assert_string_not_equal(found.id, id);
	assert_int_equal(stat(path, &st), -1);
	assert_int_equal(stat(aside, &st), 0);
	close_db(&loop, db);
	uv_loop_close(&loop);
}

static void half_written_files_are_removed(void **state)
{
	struct error err = ERROR_INIT;
	char id[ID_LEN + 1], path[128];
	struct found found = {0}, before = {0};
	struct stat st;
	uv_loop_t loop;
	struct taskdb *db;

	(void)state;
	id_new(id);
	snprintf(path, sizeof(path), "%s/%s.tmp.a1B2c3", dir, id);
	uv_loop_init(&loop);
	db = taskdb_new(&loop, dir, &err);
	taskdb_load(db, on_task, &before);
	assert_int_equal(file_write(path, "half", 4, 0600, &err), 0);
	taskdb_load(db, on_task, &found);
	assert_int_equal(found.n, before.n);
	assert_int_equal(stat(path, &st), -1);
	close_db(&loop, db);
	uv_loop_close(&loop);
}

static int make_dir(void **state)
{
	(void)state;
	return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
	(void)state;
	return file_remove_tree(dir, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(newest_state_survives),
		cmocka_unit_test(what_a_container_printed_is_no_damage),
		cmocka_unit_test(damaged_files_are_moved_aside),
		cmocka_unit_test(half_written_files_are_removed),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
