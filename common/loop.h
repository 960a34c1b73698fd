/*
 * loop - helpers around libuv: one close for several handles, timers, deferred calls, stall watch.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

/*
 * Closes a set of handles and calls back once, after the last one is closed and the last hold is
 * dropped. Embed in the owner; memory of the owner may go in cb. All on the loop thread.
 */
typedef void (*closed_cb)(void *data);
struct closer {
	closed_cb cb;
	void *data;
	unsigned pending;
	bool closing, done;
};

void closer_init(struct closer *c);
/* Begin; a second call is a no-op and returns false. cb may run inside closer_end(). */
bool closer_begin(struct closer *c, closed_cb cb, void *data);
/* Close a handle that was initialised (handle->data is overwritten). NULL or closing: ignored. */
void closer_add(struct closer *c, uv_handle_t *handle);
/* Something else that has to end first: hold now, drop later. Valid before begin as well. */
void closer_hold(struct closer *c);
void closer_drop(struct closer *c);
/* After the last add of the closing function: may call cb at once. */
void closer_end(struct closer *c);

/* Start (or move) a one-shot timer to an interval from now in ns, rounded up to ms. */
void loop_timer_in(uv_timer_t *timer, int64_t delay_ns, uv_timer_cb cb);

/* Set the stop flag on SIGTERM/SIGINT: cb runs on the loop thread. One per process. */
typedef void (*loop_signal_cb)(void *data, int signum);
void loop_on_stop_signals(uv_loop_t *loop, loop_signal_cb cb, void *data);
void loop_stop_signals_close(void);

/*
 * Log event=loop_stall with the time a turn of the loop took when it is longer than limit_ms
 * (prepare/check handles, unreferenced). loop_watch_lag_ns: the longest turn since the last call.
 */
void loop_watch_start(uv_loop_t *loop, uint64_t limit_ms);
int64_t loop_watch_lag_ns(void);
void loop_watch_stop(void);

/* Run work on the uv pool, then done on the loop thread. Copies nothing. */
typedef void (*loop_work_fn)(void *data);
void loop_work(uv_loop_t *loop, loop_work_fn work, loop_work_fn done, void *data);
