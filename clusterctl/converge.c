#include "converge.h"

#include "conn.h"
#include "ctl.h"
#include "progress_draw.h"

#include "common/clock.h"
#include "common/error.h"
#include "common/loop.h"
#include "common/mem.h"

#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define REDRAW_MS 1000 /* while the seconds of the monitor period are counted down */
#define REASONS_SHOWN 5
#define LOST_FOR_NS (30 * NS_PER_SEC) /* without a word from any manager */
#define LOST_PAUSE_MS 200

struct converge {
	struct conn *conn;
	struct rpc_call *call;
	struct progress progress;
	struct progress_plain plain;
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

/* ---------------------------------------------------------------- drawing */

static struct winsize terminal_size(void)
{
	struct winsize size = {0};

	ioctl(STDOUT_FILENO, TIOCGWINSZ, &size);
	size.ws_col = size.ws_col ?: 80;
	size.ws_row = size.ws_row ?: 24;
	return size;
}

/* Over the last picture: each line is cleared to its end, and so is what was longer before. */
static void draw_screen(struct converge *c)
{
	_cleanup_strv_ struct strv lines = {0};
	struct winsize size = terminal_size();

	progress_screen(&c->progress, size.ws_col, size.ws_row, clock_mono_ns(), &lines);
	if (c->drawn > 0)
		printf("\033[%uA\r", c->drawn);
	for (size_t i = 0; i < lines.n; i++)
		printf("%s\033[K\n", lines.v[i]);
	fputs("\033[J", stdout);
	c->drawn = (unsigned)lines.n;
}

static void draw(struct converge *c)
{
	_cleanup_strbuf_ struct strbuf text = {0};

	if (c->quiet || !c->progress.name)
		return;
	if (c->terminal) {
		draw_screen(c);
	} else {
		progress_plain(&c->plain, &c->progress, &text);
		fputs(text.p ?: "", stdout);
	}
	fflush(stdout);
}

/* ---------------------------------------------------------------- events */

static void on_timer(uv_timer_t *timer);

static void step(struct converge *c)
{
	int64_t now = clock_mono_ns(), wake = progress_wake_at(&c->progress);

	draw(c);
	uv_timer_stop(&c->timer);
	if (c->progress.verdict != PROGRESS_WAIT) {
		rpc_call_cancel(c->call);
		return;
	}
	if (wake) {
		uint64_t ms = (uint64_t)MAX((wake - now + NS_PER_MS - 1) / NS_PER_MS, 1);

		uv_timer_start(&c->timer, on_timer, c->terminal ? MIN(ms, REDRAW_MS) : ms, 0);
	}
}

static void on_timer(uv_timer_t *timer)
{
	struct converge *c = container_of(timer, struct converge, timer);

	if (c->call) {
		progress_tick(&c->progress, clock_mono_ns());
		step(c);
	}
}

static void on_message(struct rpc_call *call, const ProtobufCMessage *msg, void *data)
{
	struct converge *c = data;

	if (c->progress.verdict != PROGRESS_WAIT || c->interrupted)
		return;
	c->heard_ns = clock_mono_ns();
	progress_feed(&c->progress, (const Skein__WatchServiceResponse *)msg, clock_mono_ns());
	step(c);
}

static void on_done(struct rpc_call *call, const struct error *err, void *data)
{
	struct converge *c = data;

	c->call = NULL;
	c->done = true;
	if (c->progress.verdict != PROGRESS_WAIT || c->interrupted)
		return;
	c->failed = true;
	if (err)
		c->err = *err;
	else
		error_set(&c->err, ERR_UNAVAILABLE, "the manager ended the watch");
}

static void on_interrupt(uv_signal_t *handle, int signum)
{
	struct converge *c = container_of(handle, struct converge, sigint);

	c->interrupted = true;
	c->pause_over = true;
	if (c->call)
		rpc_call_cancel(c->call);
}

static const struct rpc_handlers handlers = {.on_message = on_message, .on_done = on_done};

/* ---------------------------------------------------------------- the wait */

static void on_closed(void *data)
{
	((struct converge *)data)->closed = true;
}

static void open_handles(struct converge *c)
{
	uv_timer_init(conn_loop(c->conn), &c->timer);
	uv_signal_init(conn_loop(c->conn), &c->sigint);
	uv_signal_start(&c->sigint, on_interrupt, SIGINT);
	closer_init(&c->closer);
}

static void close_handles(struct converge *c)
{
	closer_begin(&c->closer, on_closed, c);
	closer_add(&c->closer, (uv_handle_t *)&c->timer);
	closer_add(&c->closer, (uv_handle_t *)&c->sigint);
	closer_end(&c->closer);
	conn_run(c->conn, &c->closed);
}

/* -1: the watch broke before there was a verdict. */
static int watch_once(struct converge *c, const char *service_id, struct error *err)
{
	Skein__RefRequest request = SKEIN__REF_REQUEST__INIT;
	struct error sent = ERROR_INIT;

	c->done = c->failed = false;
	c->err = ERROR_INIT;
	request.ref = (char *)service_id;
	c->call = conn_stream(c->conn, CONN_MANAGER, "WatchService", &handlers, c, err);
	if (!c->call)
		return -1;
	if (rpc_call_send(c->call, &request.base, &sent) == 0)
		rpc_call_half_close(c->call);
	else
		rpc_call_cancel(c->call);
	conn_run(c->conn, &c->done);
	if (!c->failed)
		return 0;
	*err = c->err;
	conn_explain(c->conn, CONN_MANAGER, err);
	return -1;
}

static void on_pause_over(uv_timer_t *timer)
{
	container_of(timer, struct converge, timer)->pause_over = true;
}

/* NOT_FOUND: another manager may not know yet what its neighbour has written. */
static bool may_pass(const struct error *err)
{
	return err->code == ERR_UNAVAILABLE || err->code == ERR_CANCELLED || err->code == ERR_TIMEOUT ||
	       err->code == ERR_NOT_FOUND;
}

/* Each watch begins with the whole state: one that was lost is simply begun again, with another manager. */
static int watch(struct converge *c, const char *service_id, struct error *err)
{
	c->heard_ns = clock_mono_ns();
	while (watch_once(c, service_id, err) < 0) {
		if (!may_pass(err) || clock_mono_ns() - c->heard_ns >= LOST_FOR_NS)
			return -1;
		if (!c->quiet && !c->terminal && !c->told_lost)
			ctl_warn("the manager that was watched is lost (%s), asking again", err->msg);
		c->told_lost = true;
		c->pause_over = false;
		uv_timer_start(&c->timer, on_pause_over, LOST_PAUSE_MS, 0);
		conn_run(c->conn, &c->pause_over);
		if (c->interrupted)
			return 0;
		conn_next_manager(c->conn);
		*err = ERROR_INIT;
	}
	return 0;
}

static enum ctl_exit conclude(struct converge *c, const char *name, struct error *err)
{
	_cleanup_strv_ struct strv reasons = {0};
	_cleanup_strbuf_ struct strbuf text = {0};

	if (c->interrupted) {
		fflush(stdout);
		fprintf(stderr,
			"%sThe service keeps converging in the background; see: clusterctl service "
			"ps %s\n",
			c->terminal ? "\n" : "", name);
		return CTL_INTERRUPTED;
	}
	if (c->progress.verdict == PROGRESS_DONE) {
		if (!c->quiet && !c->terminal)
			printf("%s: converged\n", name);
		return CTL_OK;
	}
	progress_reasons(&c->progress, &reasons);
	strbuf_printf(&text, "service %s: %s", name, c->progress.message);
	for (size_t i = 0; i < reasons.n && i < REASONS_SHOWN; i++)
		strbuf_printf(&text, "\n  %s", reasons.v[i]);
	error_set(err, ERR_PRECONDITION, "%s", text.p);
	return CTL_FAILED;
}

enum ctl_exit converge_wait(struct ctl *ctl, const char *service_id, const char *name,
			    const struct progress_setup *setup, bool quiet, struct error *err)
{
	struct converge *c = xnew(struct converge);
	enum ctl_exit status = CTL_FAILED;

	c->conn = ctl_conn(ctl);
	c->quiet = quiet;
	c->terminal = isatty(STDOUT_FILENO);
	progress_init(&c->progress, setup);
	open_handles(c);
	if (watch(c, service_id, err) < 0)
		error_wrap(err, "service %s was changed, but how it goes on cannot be seen", name);
	else
		status = conclude(c, name, err);
	close_handles(c);
	progress_fini(&c->progress);
	progress_plain_fini(&c->plain);
	free(c);
	return status;
}
