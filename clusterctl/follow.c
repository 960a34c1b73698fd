#include "follow.h"

#include "conn.h"
#include "ctl.h"

#include "common/clock.h"
#include "common/error.h"
#include "common/loop.h"
#include "common/mem.h"
#include "proto/pb.h"

#include <signal.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define REDRAW_MS 1000 /* while seconds are counted down */
#define LOST_FOR_NS (30 * NS_PER_SEC) /* without a word from any manager */
#define LOST_PAUSE_MS 200

struct follow {
	const struct follow_ops *ops;
	void *data;
	struct conn *conn;
	struct rpc_call *call;
	uv_timer_t timer;
	uv_signal_t sigint;
	struct closer closer;
	bool quiet, terminal, interrupted, done, closed;
	bool pause_over, told_lost;
	int64_t heard_ns; /* when a manager last said something */
	unsigned drawn;	  /* lines of the last picture */
	struct error err;
	bool failed;
};

bool follow_draws(void)
{
	return isatty(STDOUT_FILENO);
}

/* ---------------------------------------------------------------- drawing */

static struct winsize terminal_size(void)
{
	struct winsize size = {0};

	ioctl(STDOUT_FILENO, TIOCGWINSZ, &size);
	size.ws_col = size.ws_col ?: 80;
	size.ws_row = size.ws_row ?: 24;
	return size;
}

/* Each line is cleared to its end, and so is what was longer before. */
void follow_redraw(const struct strv *lines, unsigned *drawn)
{
	if (lines->n == 0)
		return;
	if (*drawn > 0)
		printf("\033[%uA\r", *drawn);
	for (size_t i = 0; i < lines->n; i++)
		printf("%s\033[K\n", lines->v[i]);
	fputs("\033[J", stdout);
	fflush(stdout);
	*drawn = (unsigned)lines->n;
}

static void draw_screen(struct follow *f)
{
	_cleanup_strv_ struct strv lines = {0};
	struct winsize size = terminal_size();

	f->ops->screen(f->data, size.ws_col, size.ws_row, clock_mono_ns(), &lines);
	follow_redraw(&lines, &f->drawn);
}

static void draw(struct follow *f)
{
	_cleanup_strbuf_ struct strbuf text = {0};

	if (f->quiet)
		return;
	if (f->terminal) {
		draw_screen(f);
	} else {
		f->ops->plain(f->data, &text);
		fputs(text.p ?: "", stdout);
	}
	fflush(stdout);
}

/* ---------------------------------------------------------------- events */

static void on_timer(uv_timer_t *timer);

static void step(struct follow *f)
{
	int64_t now = clock_mono_ns(), wake = f->ops->wake_at ? f->ops->wake_at(f->data) : 0;

	draw(f);
	uv_timer_stop(&f->timer);
	if (f->ops->over(f->data)) {
		rpc_call_cancel(f->call);
		return;
	}
	if (wake) {
		uint64_t ms = (uint64_t)MAX((wake - now + NS_PER_MS - 1) / NS_PER_MS, 1);

		uv_timer_start(&f->timer, on_timer, f->terminal ? MIN(ms, REDRAW_MS) : ms, 0);
	}
}

static void on_timer(uv_timer_t *timer)
{
	struct follow *f = container_of(timer, struct follow, timer);

	if (f->call) {
		f->ops->tick(f->data, clock_mono_ns());
		step(f);
	}
}

static void on_message(struct rpc_call *call, const ProtobufCMessage *msg, void *data)
{
	struct follow *f = data;

	if (f->ops->over(f->data) || f->interrupted)
		return;
	f->heard_ns = clock_mono_ns();
	f->ops->feed(f->data, msg, f->heard_ns);
	step(f);
}

static void on_done(struct rpc_call *call, const struct error *err, void *data)
{
	struct follow *f = data;

	f->call = NULL;
	f->done = true;
	if (f->ops->over(f->data) || f->interrupted)
		return;
	f->failed = true;
	if (err)
		f->err = *err;
	else
		error_set(&f->err, ERR_UNAVAILABLE, "the manager ended the watch");
}

static void on_interrupt(uv_signal_t *handle, int signum)
{
	struct follow *f = container_of(handle, struct follow, sigint);

	f->interrupted = true;
	f->pause_over = true;
	if (f->call)
		rpc_call_cancel(f->call);
}

static const struct rpc_handlers handlers = {.on_message = on_message, .on_done = on_done};

/* ---------------------------------------------------------------- the wait */

static void on_closed(void *data)
{
	((struct follow *)data)->closed = true;
}

static void open_handles(struct follow *f)
{
	uv_timer_init(conn_loop(f->conn), &f->timer);
	uv_signal_init(conn_loop(f->conn), &f->sigint);
	uv_signal_start(&f->sigint, on_interrupt, SIGINT);
	closer_init(&f->closer);
}

static void close_handles(struct follow *f)
{
	closer_begin(&f->closer, on_closed, f);
	closer_add(&f->closer, (uv_handle_t *)&f->timer);
	closer_add(&f->closer, (uv_handle_t *)&f->sigint);
	closer_end(&f->closer);
	conn_run(f->conn, &f->closed);
}

/* -1: the watch broke before it was over. */
static int watch_once(struct follow *f, const char *ref, struct error *err)
{
	Skein__RefRequest request = SKEIN__REF_REQUEST__INIT;
	struct error sent = ERROR_INIT;

	f->done = f->failed = false;
	f->err = ERROR_INIT;
	request.ref = (char *)ref;
	f->call = conn_stream(f->conn, CONN_MANAGER, f->ops->method, &handlers, f, err);
	if (!f->call)
		return -1;
	if (rpc_call_send(f->call, &request.base, &sent) == 0)
		rpc_call_half_close(f->call);
	else
		rpc_call_cancel(f->call);
	conn_run(f->conn, &f->done);
	if (!f->failed)
		return 0;
	*err = f->err;
	conn_explain(f->conn, CONN_MANAGER, err);
	return -1;
}

static void on_pause_over(uv_timer_t *timer)
{
	container_of(timer, struct follow, timer)->pause_over = true;
}

/* NOT_FOUND: another manager may not know yet what its neighbour has written. */
static bool may_pass(const struct error *err)
{
	return err->code == ERR_UNAVAILABLE || err->code == ERR_CANCELLED || err->code == ERR_TIMEOUT ||
	       err->code == ERR_NOT_FOUND;
}

static int watch(struct follow *f, const char *ref, struct error *err)
{
	f->heard_ns = clock_mono_ns();
	while (watch_once(f, ref, err) < 0) {
		if (!may_pass(err) || clock_mono_ns() - f->heard_ns >= LOST_FOR_NS)
			return -1;
		if (!f->quiet && !f->terminal && !f->told_lost)
			ctl_warn("the manager that was watched is lost (%s), asking again", err->msg);
		f->told_lost = true;
		f->pause_over = false;
		uv_timer_start(&f->timer, on_pause_over, LOST_PAUSE_MS, 0);
		conn_run(f->conn, &f->pause_over);
		if (f->interrupted)
			return 0;
		conn_next_manager(f->conn);
		*err = ERROR_INIT;
	}
	return 0;
}

enum follow_end follow_run(struct ctl *ctl, const struct follow_ops *ops, void *data, const char *ref, bool quiet,
			   struct error *err)
{
	struct follow f = {.ops = ops, .data = data, .conn = ctl_conn(ctl), .quiet = quiet, .terminal = follow_draws()};
	enum follow_end end;

	open_handles(&f);
	end = watch(&f, ref, err) < 0 ? FOLLOW_BROKEN : f.interrupted ? FOLLOW_INTERRUPTED : FOLLOW_OVER;
	close_handles(&f);
	return end;
}
