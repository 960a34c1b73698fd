/* Logs of real containers: tail, since, follow, rotation. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "support/exec_fixture.h"

#define LOG_BYTES (256 * 1024)
#define LOG_FILES 4

static struct bed bed;

static int setup(void **state)
{
	bed.log_max_bytes = LOG_BYTES;
	bed.log_max_files = LOG_FILES;
	bed_open(&bed);
	assert_string_equal(bed.err.msg, "");
	return 0;
}

static int teardown(void **state)
{
	bed_close(&bed);
	return 0;
}

static void tail_and_all(void **state)
{
	struct log_query all = {.tail = -1}, three = {.tail = 3}, none = {.tail = 0},
			 many = {.tail = 5000};
	struct reading r;
	struct box x;

	box_init(&x, &bed, "seq 1 1000");
	box_up(&x);
	bed_wait(&bed, x.exited);
	box_logs(&x, &all, &r);
	assert_int_equal(r.lines, 1000);
	assert_true(str_starts(r.text.p, "1\n2\n3\n"));
	strbuf_fini(&r.text);
	box_logs(&x, &three, &r);
	assert_string_equal(r.text.p, "998\n999\n1000\n");
	strbuf_fini(&r.text);
	box_logs(&x, &none, &r);
	assert_string_equal(r.text.p, "");
	strbuf_fini(&r.text);
	box_logs(&x, &many, &r);
	assert_int_equal(r.lines, 1000);
	strbuf_fini(&r.text);
	box_remove(&x);
	box_fini(&x);
}

static void since_and_until(void **state)
{
	struct log_query after = {.tail = -1}, before = {.tail = -1};
	struct reading r;
	struct box x;

	box_init(&x, &bed, "echo early; sleep 0.3; echo late");
	box_up(&x);
	bed_wait(&bed, x.exited);
	after.since = before.until = x.exit.finished_at - 150 * NS_PER_MS;
	box_logs(&x, &after, &r);
	assert_string_equal(r.text.p, "late\n");
	strbuf_fini(&r.text);
	box_logs(&x, &before, &r);
	assert_string_equal(r.text.p, "early\n");
	strbuf_fini(&r.text);
	box_remove(&x);
	box_fini(&x);
}

/* What a program writes at once has one time: a reader goes on between two of its lines. */
static void skip_lines_of_one_time(void **state)
{
	struct log_query all = {.tail = -1}, rest = {.tail = -1, .skip = 2};
	struct reading r;
	struct box x;

	box_init(&x, &bed, "printf 'a\\nb\\nc\\nd\\n'");
	box_up(&x);
	bed_wait(&bed, x.exited);
	box_logs(&x, &all, &r);
	assert_string_equal(r.text.p, "a\nb\nc\nd\n");
	rest.since = r.at;
	strbuf_fini(&r.text);
	box_logs(&x, &rest, &r);
	assert_string_equal(r.text.p, "c\nd\n");
	strbuf_fini(&r.text);
	box_remove(&x);
	box_fini(&x);
}

static void long_lines_come_in_parts(void **state)
{
	struct log_query all = {.tail = -1}, one = {.tail = 1};
	struct reading r;
	struct box x;

	box_init(&x, &bed, "head -c 100000 /dev/zero | tr '\\0' x; echo; echo end");
	box_up(&x);
	bed_wait(&bed, x.exited);
	box_logs(&x, &all, &r);
	assert_int_equal(r.text.len, 100000 + 1 + 4);
	assert_int_equal(r.lines, 2);
	assert_true(r.parts > 1);
	assert_true(str_ends(r.text.p, "x\nend\n"));
	strbuf_fini(&r.text);
	box_logs(&x, &one, &r);
	assert_string_equal(r.text.p, "end\n");
	strbuf_fini(&r.text);
	box_remove(&x);
	box_fini(&x);
}

static void follow_until_the_end(void **state)
{
	struct log_query follow = {.tail = -1, .follow = true};
	struct reading r = {0};
	struct log_reader *reader;
	struct box x;

	box_init(&x, &bed, "echo one; read line < /ctl/fifo; echo two $line; exit 0");
	{
		pb_mount *m = pb_new(&skein__mount__descriptor);
		_cleanup_free_ char *dir = xasprintf("%s/ctl", bed.dir),
				    *fifo = xasprintf("%s/fifo", dir);
		int fd;

		bed_mkdir(bed.dir, "ctl", 0755);
		assert_int_equal(mkfifo(fifo, 0666), 0);
		pb_set_str(&m->source, dir);
		pb_set_str(&m->target, "/ctl");
		pb_msgs_add(&x.task->spec->container->n_mounts, &x.task->spec->container->mounts,
			    m);

		/* Before there is anything: the reader waits for the container. */
		box_create(&x);
		assert_string_equal(x.err.msg, "");
		reader = log_reader_open(bed.e, x.task->id, &follow, reading_on_lines,
					 reading_on_done, &r);
		box_start(&x);
		bed_wait(&bed, r.lines == 1);
		assert_string_equal(r.text.p, "one\n");
		assert_false(r.done);
		fd = open(fifo, O_WRONLY);
		assert_int_equal(write(fd, "go\n", 3), 3);
		close(fd);
	}
	bed_wait(&bed, r.done);
	assert_string_equal(r.err.msg, "");
	assert_string_equal(r.text.p, "one\ntwo go\n");
	assert_true(x.exited);
	log_reader_close(reader);
	strbuf_fini(&r.text);
	box_remove(&x);
	box_fini(&x);
}

static void reader_can_pause(void **state)
{
	struct log_query all = {.tail = -1};
	struct reading r = {.pause_each = true};
	struct log_reader *reader;
	unsigned pauses = 0;
	struct box x;

	box_init(&x, &bed, "seq 1 5000");
	box_up(&x);
	bed_wait(&bed, x.exited);
	reader = log_reader_open(bed.e, x.task->id, &all, reading_on_lines, reading_on_done, &r);
	while (!r.done) {
		bed_wait(&bed, r.paused || r.done);
		if (!r.paused)
			break;
		pauses++;
		r.paused = false;
		log_reader_resume(reader);
	}
	assert_int_equal(r.lines, 5000);
	assert_true(pauses >= 2);
	log_reader_close(reader);
	strbuf_fini(&r.text);
	box_remove(&x);
	box_fini(&x);
}

static void unknown_task(void **state)
{
	struct log_query all = {.tail = -1, .follow = true};
	struct reading r;
	struct box x;

	box_init(&x, &bed, "true");
	box_logs(&x, &all, &r);
	assert_int_equal(r.err.code, ERR_NOT_FOUND);
	strbuf_fini(&r.text);
	pb_set_str(&x.task->id, "../../etc");
	box_logs(&x, &all, &r);
	assert_int_equal(r.err.code, ERR_INVALID);
	strbuf_fini(&r.text);
	box_fini(&x);
}

/* Every number comes once and in order, over several rotations, to one who follows. */
struct counter {
	uint64_t next, number, lines;
	bool in_order, done;
};

static bool count_lines(void *data, pb_log_line *const *lines, size_t n)
{
	struct counter *c = data;

	for (size_t i = 0; i < n; i++) {
		/* A number may come in two parts. */
		for (size_t k = 0; k < lines[i]->data.len; k++)
			c->number = c->number * 10 + (uint64_t)(lines[i]->data.data[k] - '0');
		if (lines[i]->partial)
			continue;
		c->in_order = c->in_order && c->number == c->next;
		c->next = c->number + 1;
		c->number = 0;
		c->lines++;
	}
	return true;
}

static void count_done(void *data, const struct error *err)
{
	struct counter *c = data;

	assert_null(err);
	c->done = true;
}

static void rotation_keeps_order_and_bounds(void **state)
{
	_cleanup_free_ char *dir = NULL;
	struct log_query follow = {.tail = -1, .follow = true}, last = {.tail = 2000};
	struct counter c = {.next = 1, .in_order = true};
	struct log_reader *reader;
	struct reading r;
	struct dirent *entry;
	unsigned files = 0;
	DIR *d;
	struct box x;

	/* About 45 bytes of head and a number per line: 20000 lines are 1 MiB, so four files. */
	box_init(&x, &bed,
		 "for i in 0 1 2 3 4 5 6 7 8 9; do seq $((i*2000+1)) $((i*2000+2000)); sleep 0.15; "
		 "done");
	box_create(&x);
	reader = log_reader_open(bed.e, x.task->id, &follow, count_lines, count_done, &c);
	box_start(&x);
	bed_wait(&bed, c.done);
	assert_true(c.in_order);
	assert_int_equal(c.lines, 20000);
	log_reader_close(reader);

	dir = xasprintf("%s/tasks/%s/logs", bed.state, x.task->id);
	d = opendir(dir);
	while ((entry = readdir(d))) {
		_cleanup_free_ char *path = xasprintf("%s/%s", dir, entry->d_name);
		struct stat st;

		if (entry->d_name[0] == '.')
			continue;
		files++;
		assert_int_equal(stat(path, &st), 0);
		assert_true(st.st_size < 2 * LOG_BYTES);
		assert_int_equal(st.st_mode & 0777, 0600);
	}
	closedir(d);
	assert_true(files >= 3 && files <= LOG_FILES);

	box_logs(&x, &last, &r); /* over the border of a file */
	assert_int_equal(r.lines, 2000);
	assert_true(str_starts(r.text.p, "18001\n"));
	strbuf_fini(&r.text);
	box_remove(&x);
	box_fini(&x);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tail_and_all),
		cmocka_unit_test(since_and_until),
		cmocka_unit_test(skip_lines_of_one_time),
		cmocka_unit_test(long_lines_come_in_parts),
		cmocka_unit_test(follow_until_the_end),
		cmocka_unit_test(reader_can_pause),
		cmocka_unit_test(unknown_task),
		cmocka_unit_test(rotation_keeps_order_and_bounds),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
