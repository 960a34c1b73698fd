#include "work_internal.h"

#include "common/mem.h"
#include "common/serial.h"

#include <fcntl.h>
#include <string.h>

static void watch_freed(uv_handle_t *handle)
{
	struct watch *watch = handle->data;

	close(watch->fd);
	free(watch);
}

/* Its descriptor may be read on the thread right now: it goes when that is over. */
static void watch_end(struct watch *watch)
{
	if (watch->polling)
		uv_poll_stop(&watch->poll);
	watch->polling = false;
	if (watch->reading)
		return;
	if (watch->fd >= 0) {
		watch->poll.data = watch;
		uv_close((uv_handle_t *)&watch->poll, watch_freed);
	} else {
		free(watch);
	}
}

static const char *watch_path(const struct watch *watch)
{
	return *watch->path ? watch->path : NULL;
}

static void on_readable(uv_poll_t *poll, int status, int events);

static void watch_opened(void *data)
{
	struct watch *watch = data;

	watch->reading = false;
	if (watch->fd >= 0 && uv_poll_init(watch->work->loop, &watch->poll, watch->fd) != 0) {
		close(watch->fd);
		watch->fd = -1;
	}
	if (watch->gone) {
		watch_end(watch);
		return;
	}
	if (watch->fd < 0)
		return; /* the slow check remains */
	watch->poll.data = watch;
	watch->polling = true;
	uv_poll_start(&watch->poll, UV_READABLE, on_readable);
}

static void watch_open(void *data)
{
	struct watch *watch = data;
	struct work *w = watch->work;
	struct netns *ns = work_open(w, watch_path(watch), NULL);
	struct handle *h = watch_path(watch) ? work_find(w, watch->path) : NULL;

	watch->fd = ns ? netns_watch_open(ns, NULL) : -1;
	if (watch->fd >= 0) /* our own: the namespace may close before the loop has let go of it */
		watch->fd = fcntl(watch->fd, F_DUPFD_CLOEXEC, 0);
	if (h)
		h->watched = true;
}

static void watch_read(void *data)
{
	struct watch *watch = data;
	struct handle *h = watch_path(watch) ? work_find(watch->work, watch->path) : NULL;
	struct netns *ns = watch_path(watch) ? (h ? h->ns : NULL) : watch->work->host;

	watch->changed = ns && netns_watch_read(ns);
}

static void watch_was_read(void *data)
{
	struct watch *watch = data;

	watch->reading = false;
	if (watch->gone) {
		watch_end(watch);
		return;
	}
	watch->polling = true;
	uv_poll_start(&watch->poll, UV_READABLE, on_readable);
	if (watch->changed)
		watch->cb(watch->data);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct watch *watch = poll->data;

	uv_poll_stop(poll);
	watch->polling = false;
	if (status < 0)
		return;
	watch->reading = true;
	serial_run(watch->work->serial, watch_read, watch_was_read, watch);
}

void work_watch(struct work *w, const char *path, void (*cb)(void *data), void *data)
{
	struct watch *watch = xcalloc(1, sizeof(*watch) + (path ? strlen(path) : 0) + 1);

	strcpy(watch->path, path ? path : "");
	watch->work = w;
	watch->cb = cb;
	watch->data = data;
	watch->fd = -1;
	watch->reading = true;
	HASH_ADD_STR(w->watches, path, watch);
	serial_run(w->serial, watch_open, watch_opened, watch);
}

void work_unwatch(struct work *w, const char *path)
{
	struct watch *watch;

	HASH_FIND_STR(w->watches, path ? path : "", watch);
	if (!watch)
		return;
	HASH_DEL(w->watches, watch);
	watch->gone = true;
	watch_end(watch);
}
