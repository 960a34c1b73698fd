/*
 * move_fixture - copying containers out and in again, on top of exec_fixture: waiting forms of checkpoint.h, and a network
 * namespace with a loopback interface.
 */
#pragma once
#include "support/exec_fixture.h"

#include "agent/exec/checkpoint.h"
#include "agent/net/net.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <pthread.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>

/* ---------------------------------------------------------------- a namespace */

struct space {
	char *path;
	struct net_attachment network;
	int fd; /* space_connect() */
	uint16_t port;
};

static inline void *space_make(void *data)
{
	struct space *s = data;
	struct ifreq lo = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
	int fd;

	assert_int_equal(unshare(CLONE_NEWNET), 0);
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_int_equal(ioctl(fd, SIOCSIFFLAGS, &lo), 0);
	close(fd);
	assert_int_equal(mount("/proc/thread-self/ns/net", s->path, NULL, MS_BIND, NULL), 0);
	return NULL;
}

static inline void space_run(struct space *s, void *(*fn)(void *))
{
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, fn, s), 0);
	pthread_join(thread, NULL);
}

static inline void space_open(struct space *s, struct bed *b, const char *name)
{
	*s = (struct space){.path = xasprintf("%s/%s", b->dir, name), .fd = -1};
	s->network = (struct net_attachment){.netns = s->path, .hosts = ""};
	bed_write(b->dir, name, "");
	space_run(s, space_make);
}

static inline void space_close(struct space *s)
{
	assert_int_equal(umount2(s->path, MNT_DETACH), 0);
	free(s->path);
}

static inline void *space_try(void *data)
{
	struct space *s = data;
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(s->port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int ns = open(s->path, O_RDONLY | O_CLOEXEC);

	assert_int_equal(setns(ns, CLONE_NEWNET), 0);
	close(ns);
	s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (connect(s->fd, (struct sockaddr *)&to, sizeof(to)) < 0)
		mem_closep(&s->fd);
	return NULL;
}

/* A connection to a port on the loopback interface in there; -1 = nobody listens. */
static inline int space_connect(struct space *s, uint16_t port)
{
	s->port = port;
	space_run(s, space_try);
	return s->fd;
}

/* ---------------------------------------------------------------- copies */

struct answer {
	bool done;
	struct error err;
	struct checkpoint_stats stats;
	struct restore_stats restored;
};

static inline void answer_take(struct answer *a, const struct error *err)
{
	a->done = true;
	a->err = err ? *err : ERROR_INIT;
}

static inline void on_frozen(void *data, struct container *c, const struct error *err)
{
	answer_take(data, err);
}

static inline void on_dumped(void *data, struct container *c, const struct checkpoint_stats *stats, const struct error *err)
{
	struct answer *a = data;

	answer_take(a, err);
	assert_int_equal(stats == NULL, err != NULL);
	if (stats)
		a->stats = *stats;
}

static inline void on_restored(void *data, struct container *c, const struct restore_stats *stats, const struct error *err)
{
	struct answer *a = data;

	answer_take(a, err);
	assert_int_equal(stats == NULL, err != NULL);
	if (stats)
		a->restored = *stats;
}

static inline void on_received(void *data, const struct error *err)
{
	answer_take(data, err);
}

static inline struct error box_freeze(struct box *x)
{
	struct answer a = {0};

	container_freeze(x->c, on_frozen, &a);
	bed_wait(x->bed, a.done);
	return a.err;
}

static inline struct error box_thaw(struct box *x)
{
	struct answer a = {0};

	container_thaw(x->c, on_frozen, &a);
	bed_wait(x->bed, a.done);
	return a.err;
}

/* Into <dir>/images/<n>, what has changed since `before`; 0 = everything. */
static inline struct answer box_copy(struct box *x, unsigned n, unsigned before, bool last)
{
	_cleanup_free_ char *images = xasprintf("%s/images/%u", x->bed->dir, n);
	_cleanup_free_ char *parent = before ? xasprintf("%s/images/%u", x->bed->dir, before) : NULL;
	struct checkpoint_options o = {.images = images, .parent = parent, .pages_fd = -1};
	struct answer a = {0};

	assert_int_equal(file_mkdirs(images, 0700, NULL), 0);
	(last ? container_dump : container_predump)(x->c, &o, on_dumped, &a);
	assert_false(a.done);
	bed_wait(x->bed, a.done);
	return a;
}

static inline struct answer box_round(struct box *x, unsigned n, bool last)
{
	return box_copy(x, n, n - 1, last);
}

static inline struct answer box_trial(struct box *x)
{
	struct answer a = {0};

	container_trial_dump(x->c, on_dumped, &a);
	assert_false(a.done);
	bed_wait(x->bed, a.done);
	return a;
}

static inline struct answer box_restore(struct box *x, unsigned n)
{
	_cleanup_free_ char *images = xasprintf("%s/images/%u", x->bed->dir, n);
	struct answer a = {0};

	container_restore(x->c, images, on_restored, &a);
	assert_false(a.done);
	bed_wait(x->bed, a.done);
	return a;
}

/* The files that are written besides memory follow it: here, by copying the writable layer. */
static inline void box_copy_upper(struct box *from, struct box *to)
{
	_cleanup_free_ char *command = xasprintf("cp -a '%s/.' '%s/'", container_upper_dir(from->c), container_upper_dir(to->c));

	assert_int_equal(system(command), 0);
}

static inline void box_movable(struct box *x, struct bed *b, const char *script, const struct space *space)
{
	box_init(x, b, script);
	x->task->spec->live_migrate = true;
	x->network = &space->network;
	pb_set_str(&x->task->spec->network, "");
}

/* The log so far. */
static inline char *box_log(struct box *x)
{
	struct log_query all = {.tail = -1};
	struct reading r;

	box_logs(x, &all, &r);
	return strbuf_take(&r.text);
}
