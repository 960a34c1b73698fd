/*
 * exec_fixture - a container engine with directories and a cgroup parent of its own, and an image
 * made of the machine's static busybox. Needs root. Everything is below one temporary directory.
 */
#pragma once
#include "agent/exec/exec.h"
#include "agent/image/store.h"
#include "common/clock.h"
#include "common/file.h"
#include "common/id.h"
#include "common/mem.h"
#include "common/str.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BED_TIMEOUT_MS 60000

struct bed {
	uv_loop_t loop;
	uv_timer_t watchdog;
	char dir[64], parent[64];
	char *state, *run;
	struct exec *e;
	bool ready, closed;
	struct error err;
	char *layers[2];
	struct entry entry; /* the image, held by us: what containers take they must give back */
	const char *runtime;
	int64_t log_max_bytes;
	unsigned log_max_files;
};

/* One container of a test and what was called back about it. */
struct box {
	struct bed *bed;
	struct container *c;
	pb_task *task;
	const struct net_attachment *network; /* of its own; NULL = as the task says */
	bool created, started, exited, removed, adopted;
	unsigned exits;
	enum container_found found;
	struct error err;
	struct container_exit exit;
};

/* ---------------------------------------------------------------- waiting */

static inline void bed_on_watchdog(uv_timer_t *timer)
{
	fail_msg("waited %d s for something that did not come", BED_TIMEOUT_MS / 1000);
}

/* Run the loop until a condition holds, which may itself wait (read a log): the outermost one is timed. */
#define bed_wait(bed, condition)                                                                   \
	do {                                                                                       \
		bool timed_ = uv_is_active((uv_handle_t *)&(bed)->watchdog);                       \
		if (!timed_)                                                                       \
			uv_timer_start(&(bed)->watchdog, bed_on_watchdog, BED_TIMEOUT_MS, 0);      \
		while (!(condition))                                                               \
			uv_run(&(bed)->loop, UV_RUN_ONCE);                                         \
		if (!timed_)                                                                       \
			uv_timer_stop(&(bed)->watchdog);                                           \
	} while (0)

/* Like bed_wait for a condition that no event announces (a file of another process): looks every 5
 * ms. */
static inline void bed_on_tick(uv_timer_t *timer) {}

#define bed_poll(bed, condition)                                                                   \
	do {                                                                                       \
		uv_timer_t tick_;                                                                  \
		uv_timer_init(&(bed)->loop, &tick_);                                               \
		uv_timer_start(&tick_, bed_on_tick, 5, 5);                                         \
		bed_wait(bed, condition);                                                          \
		uv_close((uv_handle_t *)&tick_, NULL);                                             \
		uv_run(&(bed)->loop, UV_RUN_NOWAIT);                                               \
	} while (0)

/* ---------------------------------------------------------------- image */

static inline void bed_write(const char *dir, const char *name, const char *text)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", dir, name);
	struct error err = ERROR_INIT;

	if (file_write(path, text, strlen(text), 0644, &err) < 0)
		fail_msg("%s", err.msg);
}

static inline void bed_mkdir(const char *dir, const char *name, mode_t mode)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", dir, name);
	struct error err = ERROR_INIT;

	if (file_mkdirs(path, 0755, &err) < 0)
		fail_msg("%s", err.msg);
	assert_int_equal(chmod(path, mode), 0);
}

static inline void bed_copy_program(const char *from, const char *to)
{
	_cleanup_free_ char *data = NULL;
	struct error err = ERROR_INIT;
	size_t len;

	if (file_read(from, 16 << 20, &data, &len, &err) < 0 ||
	    file_write(to, data, len, 0755, &err) < 0)
		fail_msg("%s", err.msg);
}

/* Two layers: programs below; accounts, a volume's content and a link that leads out above. */
static inline void bed_make_image(struct bed *b)
{
	static const char *const applets[] = {
		"sh",	    "cat",  "sleep", "ls",	 "id",	 "env",	   "dd",   "touch",
		"stat",	    "kill", "seq",   "hostname", "ip",	 "mount",  "true", "pwd",
		"readlink", "tail", "grep",  "head",	 "test", "chroot", "echo", "tty",
		"mkdir",    "wc",   "yes",   "ps",	 "tr"};
	_cleanup_free_ char *busybox = NULL;

	b->layers[0] = xasprintf("%s/layers/base", b->dir);
	b->layers[1] = xasprintf("%s/layers/top", b->dir);
	for (size_t i = 0; i < 2; i++)
		bed_mkdir(b->layers[i], "", 0755);
	bed_mkdir(b->layers[0], "bin", 0755);
	bed_mkdir(b->layers[0], "tmp", 01777);
	busybox = xasprintf("%s/bin/busybox", b->layers[0]);
	bed_copy_program("/bin/busybox", busybox);
	for (size_t i = 0; i < ARRAY_SIZE(applets); i++) {
		_cleanup_free_ char *link = xasprintf("%s/bin/%s", b->layers[0], applets[i]);

		assert_int_equal(symlink("busybox", link), 0);
	}
	bed_mkdir(b->layers[1], "etc", 0755);
	bed_write(b->layers[1], "etc/passwd",
		  "root:x:0:0:root:/root:/bin/sh\nweb:x:33:34:web:/srv/web:/bin/sh\n");
	bed_write(b->layers[1], "etc/group", "root:x:0:\nwww:x:34:\nlogs:x:50:web,root\n");
	bed_mkdir(b->layers[1], "data", 0750);
	bed_write(b->layers[1], "data/seed", "from the image\n");

	b->entry = (struct entry){.refs = 1, .image = {.layers = b->layers, .n_layers = 2}};
	snprintf(b->entry.image.digest, sizeof(b->entry.image.digest), "sha256:%064d", 0);
}

/* ---------------------------------------------------------------- engine */

static inline void bed_on_ready(void *data, const struct error *err)
{
	struct bed *b = data;

	b->ready = true;
	b->err = err ? *err : ERROR_INIT;
}

static inline void bed_on_closed(void *data)
{
	((struct bed *)data)->closed = true;
}

static inline void bed_start_engine(struct bed *b)
{
	struct exec_options options = {
		.loop = &b->loop,
		.state_dir = b->state,
		.run_dir = b->run,
		.cgroup_parent = b->parent,
		.runtime = b->runtime,
		.log_max_bytes = b->log_max_bytes,
		.log_max_files = b->log_max_files,
		.node_id = "nodenodenodenodenodenode1",
		.node_hostname = "host-a",
	};

	b->ready = b->closed = false;
	b->e = exec_new(&options, bed_on_ready, b);
	bed_wait(b, b->ready);
}

/* As when an agent stops: containers go on. */
static inline void bed_stop_engine(struct bed *b)
{
	exec_close(b->e, bed_on_closed, b);
	bed_wait(b, b->closed);
	b->e = NULL;
}

static inline void bed_open(struct bed *b)
{
	/* SKEIN_TEST_RUNTIME: run all of it with a runtime other than the one that is found. */
	*b = (struct bed){.runtime = b->runtime ? b->runtime : getenv("SKEIN_TEST_RUNTIME"),
			  .log_max_bytes = b->log_max_bytes,
			  .log_max_files = b->log_max_files};
	strcpy(b->dir, "/tmp/skein-exec-XXXXXX");
	assert_non_null(mkdtemp(b->dir));
	snprintf(b->parent, sizeof(b->parent), "skein-test-%s", strrchr(b->dir, '-') + 1);
	b->state = xasprintf("%s/state", b->dir);
	b->run = xasprintf("%s/run", b->dir);
	uv_loop_init(&b->loop);
	uv_timer_init(&b->loop, &b->watchdog);
	bed_make_image(b);
	bed_start_engine(b);
}

static inline void bed_close(struct bed *b)
{
	struct error err = ERROR_INIT;

	if (b->e)
		bed_stop_engine(b);
	uv_close((uv_handle_t *)&b->watchdog, NULL);
	uv_run(&b->loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&b->loop), 0);
	assert_int_equal(b->entry.refs, 1);
	if (file_remove_tree(b->dir, &err) < 0)
		fail_msg("%s", err.msg);
	free(b->layers[0]);
	free(b->layers[1]);
	free(b->state);
	free(b->run);
}

/* ---------------------------------------------------------------- containers */

static inline void box_init(struct box *x, struct bed *b, const char *script)
{
	pb_container_spec *spec;
	char id[ID_LEN + 1];

	id_new(id);
	*x = (struct box){.bed = b, .task = pb_new(&skein__task__descriptor)};
	pb_set_str(&x->task->id, id);
	pb_set_str(&x->task->service_id, "serviceserviceserviceserv");
	pb_set_str(&x->task->service_name, "web");
	x->task->slot = 1;
	x->task->spec = pb_new(&skein__task_spec__descriptor);
	pb_set_str(&x->task->spec->network, "none");
	x->task->spec->container = spec = pb_new(&skein__container_spec__descriptor);
	pb_strs_add(&spec->n_command, &spec->command, "/bin/sh");
	pb_strs_add(&spec->n_args, &spec->args, "-c");
	pb_strs_add(&spec->n_args, &spec->args, script);
}

static inline void box_fini(struct box *x)
{
	pb_free(x->task);
}

static inline void box_take(struct box *x, const struct error *err)
{
	x->err = err ? *err : ERROR_INIT;
}

static inline void box_on_exit(void *data, struct container *c, const struct container_exit *exit)
{
	struct box *x = data;

	x->exited = true;
	x->exits++;
	x->exit = *exit;
}

static inline void box_on_created(void *data, struct container *c, const struct error *err)
{
	struct box *x = data;

	x->created = true;
	box_take(x, err);
	if (err)
		x->c = NULL;
}

static inline void box_on_started(void *data, struct container *c, const struct error *err)
{
	struct box *x = data;

	x->started = true;
	box_take(x, err);
}

static inline void box_on_removed(void *data, struct container *c, const struct error *err)
{
	struct box *x = data;

	x->removed = true;
	x->c = NULL;
	box_take(x, err);
}

static inline void box_on_adopted(void *data, struct container *c, enum container_found found,
				  const struct container_exit *exit)
{
	struct box *x = data;

	x->adopted = true;
	x->found = found;
	if (exit)
		x->exit = *exit;
}

/* Each waits for its callback; the error is in x->err. */
static inline void box_create(struct box *x)
{
	x->created = false;
	x->c = container_create(x->bed->e, x->task, &x->bed->entry.image, x->network, box_on_exit,
				box_on_created, x);
	bed_wait(x->bed, x->created);
}

static inline void box_start(struct box *x)
{
	x->started = false;
	container_start(x->c, box_on_started);
	bed_wait(x->bed, x->started);
}

static inline void box_remove(struct box *x)
{
	x->removed = false;
	container_remove(x->c, box_on_removed);
	bed_wait(x->bed, x->removed);
	assert_string_equal(x->err.msg, "");
}

static inline void box_up(struct box *x)
{
	box_create(x);
	assert_string_equal(x->err.msg, "");
	box_start(x);
	assert_string_equal(x->err.msg, "");
}

static inline void box_adopt(struct box *x)
{
	x->adopted = false;
	x->c = container_adopt(x->bed->e, x->task, box_on_exit, box_on_adopted, x);
	bed_wait(x->bed, x->adopted);
}

/* ---------------------------------------------------------------- logs */

struct reading {
	struct strbuf text; /* lines with their newlines; "E:" before those of stderr */
	bool done, paused, pause_each;
	struct error err;
	size_t lines, parts; /* full lines, and pieces before their last one */
	int64_t at;          /* of the last one */
};

static inline bool reading_on_lines(void *data, pb_log_line *const *lines, size_t n)
{
	struct reading *r = data;

	for (size_t i = 0; i < n; i++) {
		r->at = lines[i]->at;
		if (lines[i]->stream == SKEIN__LOG_STREAM__STDERR)
			strbuf_puts(&r->text, "E:");
		strbuf_add(&r->text, (const char *)lines[i]->data.data, lines[i]->data.len);
		if (!lines[i]->partial) {
			strbuf_putc(&r->text, '\n');
			r->lines++;
		} else {
			r->parts++;
		}
	}
	r->paused = r->pause_each;
	return !r->pause_each;
}

static inline void reading_on_done(void *data, const struct error *err)
{
	struct reading *r = data;

	r->done = true;
	r->err = err ? *err : ERROR_INIT;
}

/* Read to the end; the text is the caller's to free with strbuf_fini. */
static inline void box_logs(struct box *x, const struct log_query *query, struct reading *ret)
{
	struct log_reader *r;

	*ret = (struct reading){0};
	r = log_reader_open(x->bed->e, x->task->id, query, reading_on_lines, reading_on_done, ret);
	bed_wait(x->bed, ret->done);
	log_reader_close(r);
	strbuf_puts(&ret->text, "");
}

/* Run a script to its end and compare its output. */
static inline void box_expect(struct box *x, const char *output)
{
	struct log_query all = {.tail = -1};
	struct reading r;

	box_up(x);
	bed_wait(x->bed, x->exited);
	box_logs(x, &all, &r);
	assert_string_equal(r.text.p, output);
	strbuf_fini(&r.text);
	box_remove(x);
}
