/* events - what happened in the cluster, and with -f what happens. */
#include "conn.h"
#include "ctl.h"
#include "events_text.h"
#include "inspect.h"
#include "template.h"
#include "values.h"

#include "common/clock.h"
#include "common/error.h"
#include "common/loop.h"
#include "common/mem.h"
#include "proto/pb.h"

#include <signal.h>
#include <string.h>

#define FILTERS "type|event|id|name|node|service|task|network|image"
#define LOST_FOR_NS (30 * NS_PER_SEC) /* without a word from any manager */
#define LOST_PAUSE_NS (200 * NS_PER_MS)

struct events_flags {
	bool help, follow;
	char *since, *until, *format;
	struct strv filters;
};

#define E(kind, field) OPT_##kind(struct events_flags, field)
static const struct option_def events_options[] = {
	HELP_OPTION,
	{"filter", 0, E(LIST, filters), .arg = "KEY=VALUE", .help = "show only what matches; the same key twice means or"},
	{"follow", 'f', E(BOOL, follow), .help = "go on with what comes"},
	{"format", 0, E(STR, format), .arg = "FORMAT",
	 .help = "json (an object per line) or a template such as '{{.Type}} {{.Action}} {{.Actor.Attributes.name}}'"},
	{"since", 0, E(STR, since), .arg = "TIME", .help = "only what is newer: 2026-01-31T12:00:00Z, or 10m for the last ten minutes"},
	{"until", 0, E(STR, until), .arg = "TIME", .help = "only what is older; with -f it may be a time to come, and ends then"},
	{0},
};

struct events_run {
	struct conn *conn;
	Skein__EventsRequest *request;
	struct template template;
	bool json, output_gone, over, done, paused_enough, closed;
	struct rpc_call *call;
	struct error err;
	int64_t heard_ns;
	uv_timer_t until_timer, pause_timer;
	struct closer closer;
};

/* ---------------------------------------------------------------- printing */

static int print_event(struct events_run *run, const pb_event *e, struct error *err)
{
	_cleanup_strbuf_ struct strbuf line = {0};
	json_t *json;
	char *text;
	int r = 0;

	if (!run->json && !run->template.n) {
		events_line(e, &line);
		fputs(line.p, stdout);
		return 0;
	}
	json = events_json(e);
	if (run->template.n) {
		r = inspect_print_template(&run->template, json, stdout, err);
	} else {
		text = json_dumps(json, JSON_COMPACT);
		puts(text ?: "{}");
		free(text);
	}
	json_decref(json);
	return r;
}

static void stop(struct events_run *run)
{
	run->over = true;
	if (run->call)
		rpc_call_cancel(run->call);
}

static void on_message(struct rpc_call *call, const ProtobufCMessage *raw, void *data)
{
	const Skein__EventsResponse *msg = (const Skein__EventsResponse *)raw;
	struct events_run *run = data;

	run->heard_ns = clock_mono_ns();
	for (size_t i = 0; i < msg->n_events && !run->over; i++) {
		if (print_event(run, msg->events[i], &run->err) < 0)
			stop(run);
		run->request->after = MAX(run->request->after, msg->events[i]->revision);
	}
	/* The reader of a pipe may be gone (`| head`): then there is nothing more to do. */
	if (fflush(stdout) != 0) {
		run->output_gone = true;
		stop(run);
	}
}

static void on_done(struct rpc_call *call, const struct error *err, void *data)
{
	struct events_run *run = data;

	run->call = NULL;
	run->done = true;
	if (!run->over && err)
		run->err = *err;
}

/* ---------------------------------------------------------------- asking */

static void on_until(uv_timer_t *timer)
{
	stop(container_of(timer, struct events_run, until_timer));
}

static void on_pause(uv_timer_t *timer)
{
	container_of(timer, struct events_run, pause_timer)->paused_enough = true;
}

static int ask(struct events_run *run, struct error *err)
{
	static const struct rpc_handlers handlers = {.on_message = on_message, .on_done = on_done};

	run->done = false;
	run->err = ERROR_INIT;
	run->call = conn_stream(run->conn, CONN_MANAGER, "Events", &handlers, run, err);
	if (!run->call)
		return -1;
	if (rpc_call_send(run->call, &run->request->base, NULL) == 0)
		rpc_call_half_close(run->call);
	else
		rpc_call_cancel(run->call);
	conn_run(run->conn, &run->done);
	if (!error_is_set(&run->err))
		return 0;
	*err = run->err;
	conn_explain(run->conn, CONN_MANAGER, err);
	return -1;
}

/* A follower whose manager is lost goes on with the next one: all tell the same, and it knows how far it has come. */
static int follow(struct events_run *run, struct error *err)
{
	run->heard_ns = clock_mono_ns();
	while (ask(run, err) < 0) {
		bool lost = err->code == ERR_UNAVAILABLE || err->code == ERR_CANCELLED || err->code == ERR_TIMEOUT;

		if (!lost || run->over || !run->request->follow || clock_mono_ns() - run->heard_ns >= LOST_FOR_NS)
			return run->over && !error_is_set(&run->err) ? 0 : -1;
		run->paused_enough = false;
		loop_timer_in(&run->pause_timer, LOST_PAUSE_NS, on_pause);
		conn_run(run->conn, &run->paused_enough);
		conn_next_manager(run->conn);
		*err = ERROR_INIT;
	}
	return 0;
}

static void on_closed(void *data)
{
	((struct events_run *)data)->closed = true;
}

static int run_stream(struct events_run *run, struct error *err)
{
	int64_t left = run->request->until - clock_wall_ns();
	int r;

	uv_timer_init(conn_loop(run->conn), &run->until_timer);
	uv_timer_init(conn_loop(run->conn), &run->pause_timer);
	closer_init(&run->closer);
	if (run->request->follow && run->request->until)
		loop_timer_in(&run->until_timer, MAX(left, 0), on_until);
	r = follow(run, err);
	closer_begin(&run->closer, on_closed, run);
	closer_add(&run->closer, (uv_handle_t *)&run->until_timer);
	closer_add(&run->closer, (uv_handle_t *)&run->pause_timer);
	closer_end(&run->closer);
	conn_run(run->conn, &run->closed);
	return r;
}

/* ---------------------------------------------------------------- the verb */

static int prepare(struct events_run *run, const struct events_flags *f, struct error *err)
{
	Skein__EventsRequest *request = run->request;
	int64_t now = clock_wall_ns();

	request->follow = f->follow;
	for (size_t i = 0; i < f->filters.n; i++)
		if (value_filter(f->filters.v[i], FILTERS, &request->n_filters, &request->filters, err) < 0)
			return error_wrap(err, "--filter");
	if (f->since && value_time(f->since, now, &request->since, err) < 0)
		return error_wrap(err, "--since");
	if (f->until && value_time(f->until, now, &request->until, err) < 0)
		return error_wrap(err, "--until");
	run->json = str_eq(f->format, "json");
	if (run->json || str_empty(f->format))
		return 0;
	if (!strstr(f->format, "{{"))
		return error_set(err, ERR_INVALID, "--format: \"%.100s\": expected json or a template such as {{.Type}}", f->format);
	return template_parse(f->format, &run->template, err) < 0 ? error_wrap(err, "--format") : 0;
}

static enum ctl_exit run_events(struct ctl *ctl, const struct verb *verb, void *flags, const struct option_seen *seen,
				const struct strv *args, struct error *err)
{
	struct events_run *run = xnew(struct events_run);
	enum ctl_exit status = CTL_USAGE;

	run->request = pb_new(&skein__events_request__descriptor);
	if (prepare(run, flags, err) == 0) {
		run->conn = ctl_conn(ctl);
		status = run_stream(run, err) < 0 ? CTL_FAILED : CTL_OK;
	}
	template_fini(&run->template);
	pb_free(run->request);
	free(run);
	return status;
}

const struct verb events_verbs[] = {
	{
		.name = "events",
		.synopsis = "[OPTIONS]",
		.help = "What happened in the cluster lately",
		.about = "The last 5000 events, oldest first; all managers tell the same. Types and what can happen to them:\n"
			 "service create, update, remove; task create, pending, start, die, reject, orphan; node create, update, "
			 "remove; network create, update, remove; image pull, load, delete; token create, use, rotate, remove; "
			 "cluster create, update.\n\nAttributes say what changed (state.old, state.new, image.new, ...) and why "
			 "(error, exitCode).",
		.example = "clusterctl events --since 10m\nclusterctl events -f --filter type=task --filter service=web\n"
			   "clusterctl events --filter type=node --format json",
		.options = events_options,
		.flags_size = sizeof(struct events_flags),
		.filters = FILTERS,
		.run = run_events,
	},
	{0},
};
