/*
 * etcd_fixture - a real etcd of a test's own: temporary directory, unix sockets, no fsync.
 * And loop_until(): run a loop until a condition holds.
 */
#pragma once
#include "common/error.h"
#include "common/file.h"
#include "common/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#define ETCD_FIXTURE_WAIT_MS 30000

struct etcd_fixture {
	char dir[32];
	char socket[64];   /* path of the client socket */
	char endpoint[80]; /* "unix:<socket>" */
	pid_t pid;         /* 0 = not running */
};

static inline void etcd_fixture_child(const struct etcd_fixture *f)
{
	char data[64], log[64];
	int fd;

	snprintf(data, sizeof(data), "%s/data", f->dir);
	snprintf(log, sizeof(log), "%s/log", f->dir);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (chdir(f->dir) < 0 || fd < 0 || dup2(fd, 1) < 0 || dup2(fd, 2) < 0)
		_exit(126);
	execlp("etcd", "etcd", "--name", "t", "--data-dir", data, "--listen-client-urls", "unix://etcd.sock:1",
	       "--advertise-client-urls", "unix://etcd.sock:1", "--listen-peer-urls", "unix://peer.sock:1",
	       "--initial-advertise-peer-urls", "http://127.0.0.1:1", "--initial-cluster",
	       "t=http://127.0.0.1:1", "--unsafe-no-fsync", "--heartbeat-interval=20",
	       "--election-timeout=200", "--experimental-watch-progress-notify-interval=1s", "--logger=zap",
	       "--log-outputs=stderr", (char *)NULL);
	_exit(127);
}

static inline bool etcd_fixture_connects(const struct etcd_fixture *f)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool ok;

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", f->socket);
	ok = connect(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0;
	close(fd);
	return ok;
}

/* Start, or start again with the same data; the caller's requests wait until it serves. */
static inline void etcd_fixture_run(struct etcd_fixture *f)
{
	f->pid = fork();
	if (f->pid == 0)
		etcd_fixture_child(f);
}

static inline void etcd_fixture_start(struct etcd_fixture *f)
{
	memset(f, 0, sizeof(*f));
	strcpy(f->dir, "/tmp/skein-etcd.XXXXXX");
	if (!mkdtemp(f->dir))
		abort();
	snprintf(f->socket, sizeof(f->socket), "%s/etcd.sock:1", f->dir);
	snprintf(f->endpoint, sizeof(f->endpoint), "unix:%s", f->socket);
	etcd_fixture_run(f);
	for (int i = 0; i < ETCD_FIXTURE_WAIT_MS / 10 && !etcd_fixture_connects(f); i++)
		nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
}

static inline void etcd_fixture_kill(struct etcd_fixture *f)
{
	if (f->pid <= 0)
		return;
	kill(f->pid, SIGKILL);
	waitpid(f->pid, NULL, 0);
	f->pid = 0;
	unlink(f->socket);
}

static inline void etcd_fixture_stop(struct etcd_fixture *f)
{
	etcd_fixture_kill(f);
	file_remove_tree(f->dir, NULL);
}

/* ---- conditions */

struct loop_wait {
	bool (*cond)(void *data);
	void *data;
	bool late;
};

static inline void loop_wait_late(uv_timer_t *timer)
{
	((struct loop_wait *)timer->data)->late = true;
}

/* Just before the loop would sleep. */
static inline void loop_wait_check(uv_prepare_t *prepare)
{
	struct loop_wait *w = prepare->data;

	if (w->late || w->cond(w->data))
		uv_stop(prepare->loop);
}

/* Run the loop until cond(data) holds; false after ETCD_FIXTURE_WAIT_MS. */
static inline bool loop_until(uv_loop_t *loop, bool (*cond)(void *data), void *data)
{
	struct loop_wait w = {cond, data, false};
	uv_prepare_t prepare;
	uv_timer_t timer;

	/* The loop did not run while the test did other things. */
	uv_update_time(loop);
	uv_timer_init(loop, &timer);
	uv_prepare_init(loop, &prepare);
	timer.data = prepare.data = &w;
	uv_timer_start(&timer, loop_wait_late, ETCD_FIXTURE_WAIT_MS, 0);
	uv_prepare_start(&prepare, loop_wait_check);
	uv_run(loop, UV_RUN_DEFAULT);
	uv_close((uv_handle_t *)&timer, NULL);
	uv_close((uv_handle_t *)&prepare, NULL);
	uv_run(loop, UV_RUN_NOWAIT);
	return !w.late;
}

static inline bool loop_flag_is_set(void *data)
{
	return *(bool *)data;
}

static inline bool loop_until_set(uv_loop_t *loop, bool *flag)
{
	return loop_until(loop, loop_flag_is_set, flag);
}
