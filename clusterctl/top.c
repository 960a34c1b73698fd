/* top - what nodes, services and tasks use: live on a terminal, one table otherwise. */
#include "top_model.h"

#include "conn.h"
#include "ctl.h"

#include "common/clock.h"
#include "common/error.h"
#include "common/loop.h"
#include "common/mem.h"
#include "proto/pb.h"

#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define DRAW_NS NS_PER_SEC
#define FIRST_NS (5 * NS_PER_SEC) /* a node that has said nothing until then is shown without numbers */
#define LISTS_EVERY 3		  /* pictures: tasks come and go less often than their numbers change */

struct top_flags {
	bool help, no_stream;
	char *sort, *format;
};

#define T(kind, field) OPT_##kind(struct top_flags, field)
static const struct option_def top_options[] = {
	HELP_OPTION,
	{"format", 0, T(STR, format), .arg = "FORMAT", .help = "table, json (an object per line) or a template such as '{{.Name}} {{.CPUPerc}}'; once"},
	{"no-stream", 0, T(BOOL, no_stream), .help = "print once and end, as when the output is no terminal"},
	{"sort", 0, T(ENUM, sort), .def = "cpu", .choices = "cpu|memory|network|restarts|name", .help = "what stands first"},
	{0},
};

struct top_run {
	struct ctl *ctl;
	const struct verb *verb;
	const struct top_flags *flags;
	enum top_kind kind;
	enum top_sort sort;
	struct conn *conn;
	struct rpc_call *call;
	pb_node_usage **samples;
	size_t n_samples;
	Skein__ListNodesResponse *nodes;
	Skein__ListServicesResponse *services;
	Skein__ListTasksResponse *tasks;
	uv_timer_t timer;
	uv_signal_t sigint;
	struct closer closer;
	bool wake, interrupted, ended, closed, live;
	struct error err; /* why the stream ended */
};

/* ---------------------------------------------------------------- samples */

static struct top_state state_of(const struct top_run *run)
{
	return (struct top_state){
		.samples = run->samples,
		.n_samples = run->n_samples,
		.nodes = run->nodes,
		.services = run->services,
		.tasks = run->tasks,
	};
}

static void on_message(struct rpc_call *call, const ProtobufCMessage *raw, void *data)
{
	const pb_node_usage *sample = ((const Skein__UsageResponse *)raw)->usage;
	struct top_run *run = data;
	size_t i = 0;

	if (!sample)
		return;
	while (i < run->n_samples && !str_eq(run->samples[i]->node_id, sample->node_id))
		i++;
	if (i == run->n_samples) {
		run->samples = xreallocarray(run->samples, i + 1, sizeof(*run->samples));
		run->n_samples++;
	} else {
		pb_free(run->samples[i]);
	}
	run->samples[i] = pb_dup(sample);
	run->wake |= !run->live;
}

static void on_done(struct rpc_call *call, const struct error *err, void *data)
{
	struct top_run *run = data;

	run->call = NULL;
	run->ended = run->wake = true;
	if (err)
		run->err = *err;
	else
		error_set(&run->err, ERR_UNAVAILABLE, "the manager ended the stream");
}

static int open_stream(struct top_run *run, struct error *err)
{
	static const struct rpc_handlers handlers = {.on_message = on_message, .on_done = on_done};
	Skein__UsageRequest request = SKEIN__USAGE_REQUEST__INIT;

	run->call = conn_stream(run->conn, CONN_MANAGER, "Usage", &handlers, run, err);
	if (!run->call)
		return -1;
	if (rpc_call_send(run->call, &request.base, NULL) == 0)
		rpc_call_half_close(run->call);
	return 0;
}

/* ---------------------------------------------------------------- lists */

static int get(struct top_run *run, const char *method, void *request, void *reply, struct error *err)
{
	void **place = reply, *fresh = NULL;

	if (conn_call(run->conn, CONN_MANAGER, method, request, CONN_TIMEOUT_MS, &fresh, err) < 0)
		return -1;
	pb_free(*place);
	*place = fresh;
	return 0;
}

static int get_lists(struct top_run *run, struct error *err)
{
	Skein__ListTasksRequest tasks = SKEIN__LIST_TASKS_REQUEST__INIT;
	Skein__ListRequest all = SKEIN__LIST_REQUEST__INIT;

	if (run->kind == TOP_NODES && get(run, "ListNodes", &all, &run->nodes, err) < 0)
		return -1;
	if (run->kind == TOP_SERVICES && get(run, "ListServices", &all, &run->services, err) < 0)
		return -1;
	return get(run, "ListTasks", &tasks, &run->tasks, err);
}

/* ---------------------------------------------------------------- pictures */

/* Lines as long as the terminal is wide, and as many as it is high. */
static void print_screen(const char *text)
{
	struct winsize size = {0};
	unsigned lines = 0;

	ioctl(STDOUT_FILENO, TIOCGWINSZ, &size);
	size.ws_col = size.ws_col ?: 80;
	size.ws_row = size.ws_row ?: 24;
	fputs("\033[H", stdout);
	for (const char *p = text; *p && lines + 1 < size.ws_row; lines++) {
		size_t len = strcspn(p, "\n");
		_cleanup_free_ char *line = xstrndup(p, len);
		_cleanup_strbuf_ struct strbuf cut = {0};

		text_cut(&cut, line, size.ws_col);
		printf("%s\033[K\n", cut.p ?: "");
		p += len + (p[len] == '\n');
	}
	fputs("\033[J", stdout);
}

static int draw(struct top_run *run, struct error *err)
{
	_cleanup_listing_ struct listing l = {0};
	_cleanup_free_ char *text = NULL;
	const struct top_state state = state_of(run);
	struct top_rows rows;
	size_t len;
	FILE *out;

	if (listing_init(&l, run->verb->fields, run->flags->format, false, err) < 0)
		return -1;
	top_rows_make(&state, run->kind, run->sort, &rows);
	top_fill(&l, run->kind, &rows);
	top_rows_fini(&rows);
	if (!run->live) {
		listing_print(&l, stdout);
		return 0;
	}
	out = open_memstream(&text, &len);
	if (!out)
		abort();
	listing_print(&l, out);
	fclose(out);
	print_screen(text);
	fflush(stdout);
	return 0;
}

static void warn_of_missing(const struct top_run *run)
{
	for (size_t i = 0; i < run->n_samples; i++)
		if (*run->samples[i]->error)
			ctl_warn("node %s: %s", pb_kv_get(run->tasks->node_names, run->tasks->n_node_names, run->samples[i]->node_id)
							?: run->samples[i]->node_id,
				 run->samples[i]->error);
}

/* ---------------------------------------------------------------- the course of it */

static void on_timer(uv_timer_t *timer)
{
	container_of(timer, struct top_run, timer)->wake = true;
}

static void on_interrupt(uv_signal_t *handle, int signum)
{
	struct top_run *run = container_of(handle, struct top_run, sigint);

	run->interrupted = run->wake = true;
}

static void wait_wake(struct top_run *run, int64_t ns)
{
	run->wake = run->interrupted || run->ended;
	loop_timer_in(&run->timer, ns, on_timer);
	conn_run(run->conn, &run->wake);
}

/* A rate needs two samples, about a second apart. */
static int once(struct top_run *run, struct error *err)
{
	int64_t until = clock_mono_ns() + FIRST_NS;

	for (;;) {
		const struct top_state state = state_of(run);
		int64_t left = until - clock_mono_ns();

		if (run->ended || run->interrupted || left <= 0)
			break;
		/* Nodes that run nothing are known by the list of nodes alone. */
		if (run->n_samples >= run->tasks->n_node_names && top_complete(&state))
			break;
		wait_wake(run, left);
	}
	if (run->ended)
		return -1;
	warn_of_missing(run);
	return draw(run, err);
}

static int live(struct top_run *run, struct error *err)
{
	int r = 0;

	fputs("\033[2J", stdout);
	for (unsigned i = 1; r == 0 && !run->interrupted && !run->ended; i++) {
		if (i % LISTS_EVERY == 0)
			r = get_lists(run, err);
		if (r == 0)
			r = draw(run, err);
		if (r == 0)
			wait_wake(run, DRAW_NS);
	}
	return run->ended ? -1 : r;
}

static void on_closed(void *data)
{
	((struct top_run *)data)->closed = true;
}

static int run_stream(struct top_run *run, struct error *err)
{
	int r;

	uv_timer_init(conn_loop(run->conn), &run->timer);
	uv_signal_init(conn_loop(run->conn), &run->sigint);
	uv_signal_start(&run->sigint, on_interrupt, SIGINT);
	closer_init(&run->closer);
	r = get_lists(run, err) < 0 || open_stream(run, err) < 0 ? -1 : run->live ? live(run, err) : once(run, err);
	if (r < 0 && run->ended) {
		*err = run->err;
		conn_explain(run->conn, CONN_MANAGER, err);
	}
	if (run->call)
		rpc_call_cancel(run->call);
	while (run->call) {
		run->wake = false;
		conn_run(run->conn, &run->wake);
	}
	closer_begin(&run->closer, on_closed, run);
	closer_add(&run->closer, (uv_handle_t *)&run->timer);
	closer_add(&run->closer, (uv_handle_t *)&run->sigint);
	closer_end(&run->closer);
	conn_run(run->conn, &run->closed);
	return r;
}

/* ---------------------------------------------------------------- the verbs */

static enum top_sort sort_of(const char *name)
{
	static const char *const names[] = {[TOP_BY_NAME] = "name", [TOP_BY_CPU] = "cpu", [TOP_BY_MEMORY] = "memory",
					    [TOP_BY_NETWORK] = "network", [TOP_BY_RESTARTS] = "restarts"};
	unsigned i = 0;

	while (i + 1 < ARRAY_SIZE(names) && !str_eq(names[i], name))
		i++;
	return (enum top_sort)i;
}

static enum ctl_exit run_top(struct ctl *ctl, const struct verb *verb, const struct top_flags *flags, enum top_kind kind,
			     struct error *err)
{
	_cleanup_listing_ struct listing check = {0};
	struct top_run run = {.ctl = ctl, .verb = verb, .flags = flags, .kind = kind, .sort = sort_of(flags->sort)};
	int r;

	if (listing_init(&check, verb->fields, flags->format, false, err) < 0)
		return CTL_USAGE;
	run.live = isatty(STDOUT_FILENO) && !flags->no_stream && str_empty(flags->format);
	run.conn = ctl_conn(ctl);
	r = run_stream(&run, err);
	for (size_t i = 0; i < run.n_samples; i++)
		pb_free(run.samples[i]);
	free(run.samples);
	pb_free(run.nodes);
	pb_free(run.services);
	pb_free(run.tasks);
	return r < 0 ? CTL_FAILED : CTL_OK;
}

#define RUN(name, kind)                                                                                                 \
	static enum ctl_exit run_##name(struct ctl *ctl, const struct verb *verb, void *flags, const struct option_seen *seen, \
					const struct strv *args, struct error *err)                                     \
	{                                                                                                               \
		return run_top(ctl, verb, flags, kind, err);                                                            \
	}
RUN(nodes, TOP_NODES)
RUN(services, TOP_SERVICES)
RUN(tasks, TOP_TASKS)

#define ABOUT                                                                                                           \
	"On a terminal the picture is drawn anew every second until Ctrl-C; otherwise (or with --no-stream, --format) it is printed "  \
	"once, after a second of measuring. 100 % of CPU is one core; memory is the working set; network rates are per second. "         \
	"The nodes are asked while this runs; nothing is stored."

const struct verb top_verbs[] = {
	{
		.noun = "top", .name = "nodes", .synopsis = "[OPTIONS]", .help = "CPU, memory and network that nodes use", .about = ABOUT,
		.example = "clusterctl top nodes --sort memory", .options = top_options, .flags_size = sizeof(struct top_flags),
		.fields = top_node_fields, .run = run_nodes,
	},
	{
		.noun = "top", .name = "services", .synopsis = "[OPTIONS]", .help = "CPU, memory and network that services use",
		.about = ABOUT "\n\nRestarts are counted as far as the task history goes.", .example = "clusterctl top services",
		.options = top_options, .flags_size = sizeof(struct top_flags), .fields = top_service_fields, .run = run_services,
	},
	{
		.noun = "top", .name = "tasks", .synopsis = "[OPTIONS]", .help = "CPU, memory and network that tasks use",
		.about = ABOUT "\n\nRestarts are counted as far as the task history goes.",
		.example = "clusterctl top tasks --sort network\nclusterctl top tasks --format '{{.Name}} {{.CPUPerc}}'",
		.options = top_options, .flags_size = sizeof(struct top_flags), .fields = top_task_fields, .run = run_tasks,
	},
	{0},
};
