#include "common/loop.h"

#include "common/log.h"
#include "common/mem.h"

#include <assert.h>
#include <signal.h>

#define LOOP_NS_PER_MS UINT64_C(1000000)

/* ---------------------------------------------------------------- closer */

void closer_init(struct closer *c)
{
	*c = (struct closer){0};
}

bool closer_begin(struct closer *c, closed_cb cb, void *data)
{
	if (c->closing)
		return false;

	c->closing = true;
	c->cb = cb;
	c->data = data;
	c->pending++; /* dropped by closer_end: nothing may finish while the owner still adds */
	return true;
}

void closer_hold(struct closer *c)
{
	assert(!c->done);
	c->pending++;
}

void closer_drop(struct closer *c)
{
	assert(c->pending > 0);
	if (--c->pending > 0 || !c->closing)
		return;

	c->done = true;
	if (c->cb)
		c->cb(c->data); /* the owner's memory may be gone behind this */
}

void closer_end(struct closer *c)
{
	closer_drop(c);
}

static void on_handle_closed(uv_handle_t *handle)
{
	closer_drop(handle->data);
}

void closer_add(struct closer *c, uv_handle_t *handle)
{
	if (!handle || uv_is_closing(handle))
		return;

	closer_hold(c);
	handle->data = c;
	uv_close(handle, on_handle_closed);
}

/* ---------------------------------------------------------------- timers */

void loop_timer_in(uv_timer_t *timer, int64_t delay_ns, uv_timer_cb cb)
{
	uint64_t due_ms, now_ms = uv_now(timer->loop);

	/* uv_now() is the start of this turn: a long turn must not shorten the interval. */
	due_ms = (uv_hrtime() + (delay_ns > 0 ? (uint64_t)delay_ns : 0) + LOOP_NS_PER_MS - 1) /
		 LOOP_NS_PER_MS;
	if (delay_ns <= 0)
		due_ms = now_ms;
	uv_timer_start(timer, cb, due_ms > now_ms ? due_ms - now_ms : 0, 0);
}

/* ---------------------------------------------------------------- signals */

static struct {
	uv_signal_t term, intr;
	loop_signal_cb cb;
	void *data;
	bool open;
} stop_signals;

static void on_stop_signal(uv_signal_t *handle, int signum)
{
	stop_signals.cb(stop_signals.data, signum);
}

void loop_on_stop_signals(uv_loop_t *loop, loop_signal_cb cb, void *data)
{
	assert(!stop_signals.open);
	stop_signals.cb = cb;
	stop_signals.data = data;
	stop_signals.open = true;

	uv_signal_init(loop, &stop_signals.term);
	uv_signal_init(loop, &stop_signals.intr);
	uv_signal_start(&stop_signals.term, on_stop_signal, SIGTERM);
	uv_signal_start(&stop_signals.intr, on_stop_signal, SIGINT);
	/* Waiting for a signal is no work that keeps a loop alive. */
	uv_unref((uv_handle_t *)&stop_signals.term);
	uv_unref((uv_handle_t *)&stop_signals.intr);
}

void loop_stop_signals_close(void)
{
	if (!stop_signals.open)
		return;

	stop_signals.open = false;
	uv_close((uv_handle_t *)&stop_signals.term, NULL);
	uv_close((uv_handle_t *)&stop_signals.intr, NULL);
}

/* ---------------------------------------------------------------- stall watch */

static struct {
	uv_prepare_t prepare;
	uint64_t limit_ns;
	uint64_t last_ns, last_idle_ns;
	uint64_t worst_ns;
	bool open;
} watch;

/*
 * libuv runs descriptor callbacks inside its poll phase, so prepare..check would count waiting.
 * From one prepare to the next, less the time spent in epoll_wait, is what callbacks took.
 */
static void on_prepare(uv_prepare_t *handle)
{
	uint64_t now_ns = uv_hrtime();
	uint64_t idle_ns = uv_metrics_idle_time(handle->loop);
	uint64_t turn_ns = now_ns - watch.last_ns;
	uint64_t waited_ns = idle_ns - watch.last_idle_ns;

	turn_ns = turn_ns > waited_ns ? turn_ns - waited_ns : 0;
	watch.last_ns = now_ns;
	watch.last_idle_ns = idle_ns;

	if (turn_ns > watch.worst_ns)
		watch.worst_ns = turn_ns;
	if (turn_ns > watch.limit_ns)
		log_warn("loop_stall", kv_u64("took_ms", turn_ns / LOOP_NS_PER_MS),
			 kv_u64("limit_ms", watch.limit_ns / LOOP_NS_PER_MS));
}

void loop_watch_start(uv_loop_t *loop, uint64_t limit_ms)
{
	assert(!watch.open);
	uv_loop_configure(loop, UV_METRICS_IDLE_TIME);
	watch.open = true;
	watch.limit_ns = limit_ms * LOOP_NS_PER_MS;
	watch.worst_ns = 0;
	watch.last_ns = uv_hrtime();
	watch.last_idle_ns = uv_metrics_idle_time(loop);

	uv_prepare_init(loop, &watch.prepare);
	uv_prepare_start(&watch.prepare, on_prepare);
	uv_unref((uv_handle_t *)&watch.prepare);
}

int64_t loop_watch_lag_ns(void)
{
	uint64_t worst_ns = watch.worst_ns;

	watch.worst_ns = 0;
	return (int64_t)worst_ns;
}

void loop_watch_stop(void)
{
	if (!watch.open)
		return;

	watch.open = false;
	uv_close((uv_handle_t *)&watch.prepare, NULL);
}

/* ---------------------------------------------------------------- work on the pool */

struct work {
	uv_work_t req;
	loop_work_fn work, done;
	void *data;
};

static void on_pool_thread(uv_work_t *req)
{
	struct work *w = container_of(req, struct work, req);

	w->work(w->data);
}

static void on_worked(uv_work_t *req, int status)
{
	struct work *w = container_of(req, struct work, req);
	loop_work_fn done = w->done;
	void *data = w->data;

	assert(status == 0); /* the request is ours alone: nobody can cancel it */
	free(w);
	if (done)
		done(data);
}

void loop_work(uv_loop_t *loop, loop_work_fn work, loop_work_fn done, void *data)
{
	struct work *w = xnew(struct work);

	w->work = work;
	w->done = done;
	w->data = data;
	uv_queue_work(loop, &w->req, on_pool_thread, on_worked);
}
