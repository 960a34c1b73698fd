/* node drain, node activate. */
#include "conn.h"
#include "ctl.h"
#include "drain_model.h"
#include "follow.h"
#include "node.h"

#include "common/clock.h"
#include "common/error.h"
#include "common/loop.h"
#include "common/mem.h"

#include <signal.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define LOST_FOR_NS (30 * NS_PER_SEC) /* without a word from any manager */
#define LOST_PAUSE_MS 200
#define LEFT_SHOWN 5

struct drain_flags {
	bool help, wait, quiet;
	int64_t timeout;
};
#define D(kind, field) OPT_##kind(struct drain_flags, field)

static const struct option_def drain_options[] = {
	HELP_OPTION,
	{"wait", 'w', D(BOOL, wait), .help = "return when no task is left there"},
	{"timeout", 0, D(DURATION, timeout), .def = "0s",
	 .help = "with --wait: give up waiting after so long (0s = never); the drain goes on"},
	{"quiet", 'q', D(BOOL, quiet), .help = "no progress"},
	{0},
};

/* ---------------------------------------------------------------- waiting */

struct drain_run {
	struct conn *conn;
	struct drain drain;
	const char *node_id;
	uint64_t after; /* revision of the node's change: what comes later may concern its tasks */
	struct rpc_call *call;
	uv_timer_t deadline, pause;
	uv_signal_t sigint;
	struct closer closer;
	bool quiet, terminal, wake, ended, late, interrupted, paused_enough, closed;
	int64_t heard_ns;
	unsigned drawn;
};

static void draw(struct drain_run *run)
{
	_cleanup_strv_ struct strv lines = {0};
	_cleanup_strbuf_ struct strbuf text = {0};
	struct winsize size = {0};

	if (run->quiet)
		return;
	if (!run->terminal) {
		drain_plain(&run->drain, &text);
		fputs(text.p ?: "", stdout);
		fflush(stdout);
		return;
	}
	ioctl(STDOUT_FILENO, TIOCGWINSZ, &size);
	drain_screen(&run->drain, size.ws_col ?: 80, size.ws_row ?: 24, &lines);
	follow_redraw(&lines, &run->drawn);
}

static void on_message(struct rpc_call *call, const ProtobufCMessage *msg, void *data)
{
	((struct drain_run *)data)->wake = true;
}

static void on_done(struct rpc_call *call, const struct error *err, void *data)
{
	struct drain_run *run = data;

	run->call = NULL;
	run->ended = run->wake = true;
}

static void on_deadline(uv_timer_t *timer)
{
	struct drain_run *run = container_of(timer, struct drain_run, deadline);

	run->late = run->wake = run->paused_enough = true;
}

static void on_pause(uv_timer_t *timer)
{
	container_of(timer, struct drain_run, pause)->paused_enough = true;
}

static void on_interrupt(uv_signal_t *handle, int signum)
{
	struct drain_run *run = container_of(handle, struct drain_run, sigint);

	run->interrupted = run->wake = run->paused_enough = true;
}

static const struct rpc_handlers handlers = {.on_message = on_message, .on_done = on_done};

/* What happens to tasks of the node wakes us; what there is now, lists tell. */
static int open_events(struct drain_run *run, struct error *err)
{
	_cleanup_pb_ Skein__EventsRequest *request = pb_new(&skein__events_request__descriptor);

	request->follow = true;
	request->after = run->after;
	pb_kv_set(&request->n_filters, &request->filters, "type", "task");
	pb_kv_set(&request->n_filters, &request->filters, "node", run->node_id);
	run->ended = false;
	run->call = conn_stream(run->conn, CONN_MANAGER, "Events", &handlers, run, err);
	if (!run->call)
		return -1;
	if (rpc_call_send(run->call, &request->base, err) < 0) {
		rpc_call_cancel(run->call);
		return -1;
	}
	rpc_call_half_close(run->call);
	return 0;
}

static int look(struct drain_run *run, struct error *err)
{
	_cleanup_pb_ Skein__ListTasksRequest *want = pb_new(&skein__list_tasks_request__descriptor);
	_cleanup_pb_ Skein__ListRequest *ways = pb_new(&skein__list_request__descriptor);
	_cleanup_pb_ Skein__ListTasksResponse *tasks = NULL;
	_cleanup_pb_ Skein__ListMigrationsResponse *migrations = NULL;

	pb_strs_add(&want->n_nodes, &want->nodes, run->node_id);
	pb_kv_set(&ways->n_filters, &ways->filters, "node", run->node_id);
	if (conn_call(run->conn, CONN_MANAGER, "ListTasks", want, CONN_TIMEOUT_MS, &tasks, err) < 0 ||
	    conn_call(run->conn, CONN_MANAGER, "ListMigrations", ways, CONN_TIMEOUT_MS, &migrations, err) < 0)
		return -1;
	run->heard_ns = clock_mono_ns();
	drain_feed(&run->drain, run->node_id, tasks, migrations);
	draw(run);
	return 0;
}

static void drop_call(struct drain_run *run)
{
	if (run->call)
		rpc_call_cancel(run->call);
	while (run->call) {
		run->wake = false;
		conn_run(run->conn, &run->wake);
	}
}

/* 1: the manager is lost, the next one is to be asked; -1: nobody answers, or it was refused. */
static int recover(struct drain_run *run, struct error *err)
{
	bool may_pass = err->code == ERR_UNAVAILABLE || err->code == ERR_CANCELLED || err->code == ERR_TIMEOUT ||
			err->code == ERR_NOT_FOUND || err->code == ERR_OK;

	drop_call(run);
	if (!may_pass || clock_mono_ns() - run->heard_ns >= LOST_FOR_NS)
		return -1;
	*err = ERROR_INIT;
	run->paused_enough = run->late || run->interrupted;
	uv_timer_start(&run->pause, on_pause, LOST_PAUSE_MS, 0);
	conn_run(run->conn, &run->paused_enough);
	conn_next_manager(run->conn);
	return 1;
}

static int wait_empty(struct drain_run *run, struct error *err)
{
	run->heard_ns = clock_mono_ns();
	while (!run->late && !run->interrupted) {
		run->wake = false;
		if ((!run->call && open_events(run, err) < 0) || look(run, err) < 0) {
			if (recover(run, err) < 0)
				return -1;
			continue;
		}
		if (drain_done(&run->drain))
			break;
		conn_run(run->conn, &run->wake);
		if (run->ended && !run->late && !run->interrupted && recover(run, err) < 0)
			return -1;
	}
	drop_call(run);
	return 0;
}

static void on_closed(void *data)
{
	((struct drain_run *)data)->closed = true;
}

static int with_handles(struct drain_run *run, int64_t timeout, struct error *err)
{
	int r;

	uv_timer_init(conn_loop(run->conn), &run->deadline);
	uv_timer_init(conn_loop(run->conn), &run->pause);
	uv_signal_init(conn_loop(run->conn), &run->sigint);
	uv_signal_start(&run->sigint, on_interrupt, SIGINT);
	if (timeout > 0)
		loop_timer_in(&run->deadline, timeout, on_deadline);
	closer_init(&run->closer);
	r = wait_empty(run, err);
	closer_begin(&run->closer, on_closed, run);
	closer_add(&run->closer, (uv_handle_t *)&run->deadline);
	closer_add(&run->closer, (uv_handle_t *)&run->pause);
	closer_add(&run->closer, (uv_handle_t *)&run->sigint);
	closer_end(&run->closer);
	conn_run(run->conn, &run->closed);
	return r;
}

static enum ctl_exit too_late(const struct drain_run *run, int64_t timeout, struct error *err)
{
	_cleanup_strbuf_ struct strbuf text = {0};
	char took[STR_HUMAN_MAX];

	strbuf_printf(&text, "node %s: %zu task%s still there after %s; the drain goes on", run->drain.node, run->drain.left,
		      run->drain.left == 1 ? " is" : "s are", str_duration(timeout, took));
	for (size_t i = 0; i < run->drain.waiting.n && i < LEFT_SHOWN; i++)
		strbuf_printf(&text, "\n  %s", run->drain.waiting.v[i]);
	error_set(err, ERR_TIMEOUT, "%s", text.p);
	return CTL_FAILED;
}

static enum ctl_exit conclude(const struct drain_run *run, int64_t timeout, struct error *err)
{
	_cleanup_strbuf_ struct strbuf text = {0};

	if (drain_done(&run->drain)) {
		drain_summary(&run->drain, &text);
		fputs(text.p, stdout);
		return CTL_OK;
	}
	if (run->late)
		return too_late(run, timeout, err);
	fflush(stdout);
	fprintf(stderr, "%sThe drain goes on in the background; see: clusterctl node ps %s\n", run->terminal ? "\n" : "",
		run->drain.node);
	return CTL_INTERRUPTED;
}

static enum ctl_exit wait_drained(struct ctl *ctl, const pb_node *node, const struct drain_flags *f, struct error *err)
{
	struct drain_run run = {.conn = ctl_conn(ctl), .node_id = node->id, .quiet = f->quiet, .terminal = follow_draws()};
	enum ctl_exit status = CTL_FAILED;

	run.after = node->meta ? node->meta->revision : 0;
	drain_init(&run.drain, pb_node_name(node));
	if (with_handles(&run, f->timeout, err) < 0)
		error_wrap(err, "node %s is being drained, but how it goes on cannot be seen", run.drain.node);
	else
		status = conclude(&run, f->timeout, err);
	drain_fini(&run.drain);
	return status;
}

/* ---------------------------------------------------------------- verbs */

static int set_availability(pb_node_spec *spec, const void *data, struct error *err)
{
	spec->availability = *(const Skein__Availability *)data;
	return 0;
}

static enum ctl_exit run_drain(struct ctl *ctl, const struct verb *verb, void *flags, const struct option_seen *seen,
			       const struct strv *args, struct error *err)
{
	const struct drain_flags *f = flags;
	const Skein__Availability drain = (Skein__Availability)AVAILABILITY_DRAIN;
	_cleanup_pb_ Skein__NodeResponse *reply = NULL;

	if (f->timeout > 0 && !f->wait)
		return ctl_usage(err, "--timeout: only with --wait");
	if (node_change(ctl, args->v[0], set_availability, &drain, &reply, err) < 0)
		return CTL_FAILED;
	if (!f->wait) {
		puts(args->v[0]);
		return CTL_OK;
	}
	if (!reply->node) {
		error_set(err, ERR_INTERNAL, "the manager's answer holds no node");
		return CTL_FAILED;
	}
	return wait_drained(ctl, reply->node, f, err);
}

static enum ctl_exit run_activate(struct ctl *ctl, const struct verb *verb, void *flags, const struct option_seen *seen,
				  const struct strv *args, struct error *err)
{
	const Skein__Availability active = (Skein__Availability)AVAILABILITY_ACTIVE;
	enum ctl_exit status = CTL_OK;

	for (size_t i = 0; i < args->n; i++) {
		if (status != CTL_OK)
			ctl_warn("%s", err->msg);
		if (node_change(ctl, args->v[i], set_availability, &active, NULL, err) < 0)
			status = CTL_FAILED;
		else
			puts(args->v[i]);
	}
	return status;
}

const struct verb drain_verbs[] = {
	{
		.noun = "node",
		.name = "drain",
		.synopsis = "[OPTIONS] NODE|self",
		.help = "Empty a node: its tasks move to others",
		.about = "Tasks of services made with --live-migrate are moved with their memory and connections; the others are\n"
			 "stopped there and begin anew elsewhere. The node gets no new tasks until 'node activate'.\n\n"
			 "With --wait the status is 0 when no task is left, 1 when some are after --timeout. Ctrl-C ends the "
			 "waiting,\n"
			 "not the drain.",
		.example = "clusterctl node drain --wait --timeout 10m h2",
		.options = drain_options,
		.flags_size = sizeof(struct drain_flags),
		.min_args = 1,
		.max_args = 1,
		.object = OBJECT_NODE,
		.run = run_drain,
	},
	{
		.noun = "node",
		.name = "activate",
		.synopsis = "NODE|self...",
		.help = "Let nodes have tasks again, after a drain or a pause",
		.about = "Running tasks stay where they are; 'service rebalance' spreads those that can be moved.",
		.example = "clusterctl node activate h2",
		.options = no_options,
		.flags_size = sizeof(struct no_flags),
		.min_args = 1,
		.max_args = ANY_NUMBER,
		.object = OBJECT_NODE,
		.run = run_activate,
	},
	{0},
};
