#include "etcd_child.h"
#include "etcd_gate.h"

#include "manager/store/etcd.h"

#include "common/clock.h"
#include "common/file.h"
#include "common/log.h"
#include "common/loop.h"
#include "common/mem.h"
#include "common/pki.h"
#include "common/proc.h"
#include "common/str.h"

#include <jansson.h>
#include <signal.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

/* etcd wants "host:port" behind unix://, so the file's name ends so, and is relative to its directory. */
#define SOCKET_NAME "etcd.sock:1"
#define QUOTA_BYTES "8589934592"
#define BACKOFF_MIN_MS 100
#define BACKOFF_MAX_MS 5000
#define READY_RETRY_MS 20
#define KILL_AFTER_MS 5000
#define SAME_LINE_NS (5 * NS_PER_SEC)
#define REMOVED_TEXT "permanently removed"

struct etcd_child {
	struct etcd_child_options opt;
	char *program, *data_dir, *run_dir, *name, *token, *address, *ca_file, *cert_file, *key_file, *cluster;
	char *endpoint;
	struct closer closer;
	struct proc *proc;
	struct etcd_gate *gate;
	struct etcd *client;          /* asks whether it is ready */
	struct etcd_request *question;
	bool ready, removed, restarting;
	bool quick;                   /* runs with the timeouts of a single member */
	uint64_t backoff_ms;
	uv_timer_t start_timer, ready_timer, kill_timer;
	char last_error[256];
	char last_line[256];          /* logged last */
	int64_t last_line_ns;
};

static void ask(struct etcd_child *c);
static void on_start_timer(uv_timer_t *timer);

/* ---- its words */

static void note_error(struct etcd_child *c, const char *text)
{
	snprintf(c->last_error, sizeof(c->last_error), "%.*s", (int)sizeof(c->last_error) - 1, text);
}

/* etcd repeats itself: the same line again within some seconds says nothing new. */
static bool is_repeated(struct etcd_child *c, const char *text)
{
	int64_t now_ns = clock_mono_ns();

	if (strncmp(c->last_line, text, sizeof(c->last_line) - 1) == 0 &&
	    now_ns - c->last_line_ns < SAME_LINE_NS)
		return true;
	snprintf(c->last_line, sizeof(c->last_line), "%s", text);
	c->last_line_ns = now_ns;
	return false;
}

static void take_entry(struct etcd_child *c, const char *level, const char *msg, const char *error)
{
	bool warn = str_eq(level, "warn");

	if ((error && strstr(error, REMOVED_TEXT)) || strstr(msg, REMOVED_TEXT))
		c->removed = true;
	if (!warn)
		note_error(c, error ? error : msg);
	if (is_repeated(c, msg))
		return;
	if (!warn)
		log_error("etcd", kv_str("msg", msg), kv_str("error", error ? error : ""));
	else if (error && *error)
		log_warn("etcd", kv_str("msg", msg), kv_str("error", error));
	else
		log_info("etcd", kv_str("msg", msg)); /* "established connection" and the like */
}

/* A line of zap's JSON; anything else (usage, a panic) is passed on as it is. */
static void on_line(void *data, const char *line, bool is_stderr)
{
	struct etcd_child *c = data;
	json_t *entry = json_loads(line, 0, NULL);
	const char *level = json_string_value(json_object_get(entry, "level"));
	const char *msg = json_string_value(json_object_get(entry, "msg"));

	if (level && msg) {
		if (!str_eq(level, "info") && !str_eq(level, "debug"))
			take_entry(c, level, msg, json_string_value(json_object_get(entry, "error")));
	} else if (*line) {
		note_error(c, line);
		log_warn("etcd", kv_str("msg", line));
	}
	json_decref(entry);
}

/* ---- is it ready */

static void on_ready_timer(uv_timer_t *timer)
{
	ask(container_of(timer, struct etcd_child, ready_timer));
}

static void on_answer(void *data, const struct etcd_range_result *result, const struct error *err)
{
	struct etcd_child *c = data;

	c->question = NULL;
	if (c->closer.closing || !c->proc)
		return;
	if (err) {
		uv_timer_start(&c->ready_timer, on_ready_timer, READY_RETRY_MS, 0);
		return;
	}
	c->ready = true;
	c->backoff_ms = 0;
	c->opt.force_new_cluster = false;
	c->last_error[0] = '\0';
	log_info("etcd_ready", kv_i64("pid", proc_pid(c->proc)));
	if (c->opt.on_ready)
		c->opt.on_ready(c->opt.data);
}

static void ask(struct etcd_child *c)
{
	if (!c->question)
		c->question = etcd_range(c->client, "ready", NULL, 0, 0, on_answer, c);
}

static void stop_asking(struct etcd_child *c)
{
	uv_timer_stop(&c->ready_timer);
	if (c->question)
		etcd_request_cancel(TAKE_PTR(c->question));
}

/* ---- the process */

static void add_urls(const struct etcd_child *c, struct strv *argv)
{
	bool v6 = strchr(c->address, ':');
	_cleanup_free_ char *host = xasprintf(v6 ? "[%s]" : "%s", c->address);
	_cleanup_free_ char *client = xasprintf("https://%s:%u", host, c->opt.client_port);
	_cleanup_free_ char *peer = xasprintf("https://%s:%u", host, c->opt.peer_port);

	strv_add(argv, "--listen-client-urls=unix://" SOCKET_NAME);
	strv_addf(argv, "--advertise-client-urls=%s", client);
	strv_addf(argv, "--listen-peer-urls=%s", peer);
	strv_addf(argv, "--initial-advertise-peer-urls=%s", peer);
	if (c->cluster)
		strv_addf(argv, "--initial-cluster=%s", c->cluster);
	else
		strv_addf(argv, "--initial-cluster=%s=%s", c->name, peer);
}

static void add_peer_tls(const struct etcd_child *c, struct strv *argv)
{
	strv_addf(argv, "--peer-trusted-ca-file=%s", c->ca_file);
	strv_addf(argv, "--peer-cert-file=%s", c->cert_file);
	strv_addf(argv, "--peer-key-file=%s", c->key_file);
	strv_add(argv, "--peer-client-cert-auth");
	strv_addf(argv, "--peer-cert-allowed-hostname=%s", PKI_MANAGER_NAME);
}

static void build_argv(const struct etcd_child *c, struct strv *argv)
{
	strv_add(argv, c->program);
	strv_addf(argv, "--name=%s", c->name);
	strv_addf(argv, "--data-dir=%s", c->data_dir);
	add_urls(c, argv);
	strv_addf(argv, "--initial-cluster-state=%s", c->opt.existing ? "existing" : "new");
	strv_addf(argv, "--initial-cluster-token=%s", c->token);
	add_peer_tls(c, argv);
	strv_addf(argv, "--heartbeat-interval=%u", c->quick ? 20 : 50);
	strv_addf(argv, "--election-timeout=%u", c->quick ? 200 : 500);
	strv_add(argv, "--experimental-watch-progress-notify-interval=5s");
	strv_add(argv, "--auto-compaction-mode=revision");
	strv_add(argv, "--auto-compaction-retention=10000");
	strv_add(argv, "--quota-backend-bytes=" QUOTA_BYTES);
	strv_add(argv, "--snapshot-count=10000");
	/* Its check refuses a member for 5 s after the last one; ours join as learners, which cost no quorum. */
	strv_add(argv, "--strict-reconfig-check=false");
	strv_add(argv, "--logger=zap");
	strv_add(argv, "--log-outputs=stderr");
	if (c->opt.force_new_cluster)
		strv_add(argv, "--force-new-cluster");
}

static void why_it_ended(const struct etcd_child *c, const struct proc_exit *exit, struct error *ret)
{
	char how[64];

	if (exit->signal)
		snprintf(how, sizeof(how), "killed by signal %d", exit->signal);
	else
		snprintf(how, sizeof(how), "exit code %d", exit->exit_code);
	error_set(ret, ERR_UNAVAILABLE, "etcd ended (%s)%s%s", how, c->last_error[0] ? ": " : "", c->last_error);
}

/* What comes next after the process is gone; tells the owner last. */
static void ended(struct etcd_child *c, const struct error *why, bool on_purpose)
{
	if (c->removed) {
		log_warn("etcd_removed", kv_err(why));
		if (c->opt.on_removed)
			c->opt.on_removed(c->opt.data);
		return;
	}
	c->backoff_ms = on_purpose ? 0 : MIN(MAX(c->backoff_ms * 2, BACKOFF_MIN_MS), BACKOFF_MAX_MS);
	uv_timer_start(&c->start_timer, on_start_timer, c->backoff_ms, 0);
	if (!on_purpose)
		log_warn("etcd_ended", kv_err(why), kv_u64("restart_ms", c->backoff_ms));
	if (c->opt.on_down)
		c->opt.on_down(c->opt.data, why);
}

static void on_exit_(void *data, struct proc *proc, const struct proc_exit *exit)
{
	struct etcd_child *c = data;
	bool on_purpose = c->restarting;
	struct error why;

	c->proc = NULL;
	c->ready = c->restarting = false;
	uv_timer_stop(&c->kill_timer);
	if (c->closer.closing) {
		closer_add(&c->closer, (uv_handle_t *)&c->kill_timer);
		closer_drop(&c->closer);
		return;
	}
	closer_drop(&c->closer);
	stop_asking(c);
	why_it_ended(c, exit, &why);
	ended(c, &why, on_purpose);
}

static int start(struct etcd_child *c, struct error *err)
{
	_cleanup_strv_ struct strv argv = {0};
	struct proc_options options = {
		.cwd = c->run_dir,
		.on_line = on_line,
		.die_signal = SIGTERM,
		.on_exit = on_exit_,
		.data = c,
	};

	/* etcd 3.4 does not take over the socket of one that was killed. */
	unlink(c->endpoint + strlen("unix:"));
	c->quick = c->opt.members <= 1;
	build_argv(c, &argv);
	options.argv = (const char *const *)argv.v;
	c->proc = proc_spawn(c->opt.loop, &options, err);
	if (!c->proc)
		return error_wrap(err, "start %s", c->program);
	closer_hold(&c->closer);
	log_info("etcd_start", kv_i64("pid", proc_pid(c->proc)), kv_u64("members", c->opt.members));
	uv_timer_start(&c->ready_timer, on_ready_timer, READY_RETRY_MS, 0);
	return 0;
}

static void on_start_timer(uv_timer_t *timer)
{
	struct etcd_child *c = container_of(timer, struct etcd_child, start_timer);
	struct error err;

	if (start(c, &err) == 0)
		return;
	note_error(c, err.msg);
	ended(c, &err, false);
}

static void on_kill_timer(uv_timer_t *timer)
{
	struct etcd_child *c = container_of(timer, struct etcd_child, kill_timer);

	if (c->proc)
		proc_kill(c->proc, SIGKILL);
}

static void terminate(struct etcd_child *c)
{
	proc_kill(c->proc, SIGTERM);
	uv_timer_start(&c->kill_timer, on_kill_timer, KILL_AFTER_MS, 0);
}

bool etcd_child_set_members(struct etcd_child *c, unsigned members)
{
	c->opt.members = members;
	if (members <= 1 || !c->quick || !c->proc || c->restarting || c->closer.closing)
		return false;
	c->restarting = true;
	c->ready = false;
	terminate(c);
	return true;
}

/* ---- the object */

static void child_free(struct etcd_child *c)
{
	free(c->program);
	free(c->data_dir);
	free(c->run_dir);
	free(c->name);
	free(c->token);
	free(c->address);
	free(c->ca_file);
	free(c->cert_file);
	free(c->key_file);
	free(c->cluster);
	free(c->endpoint);
	free(c);
}

static struct etcd_child *child_new(const struct etcd_child_options *o)
{
	struct etcd_child *c = xnew(struct etcd_child);

	c->opt = *o;
	c->program = xstrdup(o->program ? o->program : "etcd");
	c->data_dir = xasprintf("%s/etcd", o->state_dir);
	c->run_dir = xstrdup(o->run_dir);
	c->name = xstrdup(o->name);
	c->token = xstrdup(o->cluster_token);
	c->address = xstrdup(o->address);
	c->ca_file = xstrdup(o->ca_file);
	c->cert_file = xstrdup(o->cert_file);
	c->key_file = xstrdup(o->key_file);
	c->cluster = xstrdup(o->initial_cluster);
	c->endpoint = xasprintf("unix:%s/%s", c->run_dir, SOCKET_NAME);
	closer_init(&c->closer);
	return c;
}

static int prepare(struct etcd_child *c, struct error *err)
{
	size_t path_len = strlen(c->run_dir) + sizeof("/" SOCKET_NAME);

	if (path_len > sizeof(((struct sockaddr_un *)NULL)->sun_path))
		return error_set(err, ERR_INVALID, "run directory %s: too long for a unix socket in it", c->run_dir);
	if (file_mkdirs(c->run_dir, 0700, err) < 0 || file_mkdirs(c->data_dir, 0700, err) < 0)
		return error_wrap(err, "prepare etcd");
	return 0;
}

static int open_gate(struct etcd_child *c, struct error *err)
{
	struct etcd_gate_options options = {
		.loop = c->opt.loop,
		.address = c->address,
		.port = c->opt.client_port,
		.socket = c->endpoint + strlen("unix:"),
		.ca_file = c->ca_file,
		.cert_file = c->cert_file,
		.key_file = c->key_file,
	};

	c->gate = etcd_gate_open(&options, err);
	return c->gate ? 0 : -1;
}

struct etcd_child *etcd_child_start(const struct etcd_child_options *options, struct error *err)
{
	struct etcd_child *c = child_new(options);
	struct etcd_options client = {.endpoints = (const char *const[]){c->endpoint, NULL},
				      .timeout_ms = 2000};

	if (prepare(c, err) < 0) {
		child_free(c);
		return NULL;
	}
	c->client = etcd_new(options->loop, &client, err);
	if (!c->client) {
		child_free(c);
		return NULL;
	}
	uv_timer_init(options->loop, &c->start_timer);
	uv_timer_init(options->loop, &c->ready_timer);
	uv_timer_init(options->loop, &c->kill_timer);
	if (open_gate(c, err) < 0 || start(c, err) < 0) {
		etcd_child_close(c, NULL, NULL);
		return NULL;
	}
	return c;
}

const char *etcd_child_endpoint(const struct etcd_child *c)
{
	return c->endpoint;
}

bool etcd_child_ready(const struct etcd_child *c)
{
	return c->ready;
}

const char *etcd_child_last_error(const struct etcd_child *c)
{
	return c->last_error;
}

pid_t etcd_child_pid(const struct etcd_child *c)
{
	return c->proc ? proc_pid(c->proc) : 0;
}

struct closing {
	void (*closed)(void *data);
	void *data;
	struct etcd_child *child;
};

static void on_closed(void *data)
{
	struct closing c = *(struct closing *)data;

	free(data);
	child_free(c.child);
	if (c.closed)
		c.closed(c.data);
}

static void on_part_closed(void *data)
{
	struct etcd_child *c = data;

	closer_drop(&c->closer);
}

void etcd_child_close(struct etcd_child *c, void (*closed)(void *data), void *data)
{
	struct closing *closing;

	if (c->closer.closing)
		return;
	closing = xmalloc(sizeof(*closing));
	*closing = (struct closing){closed, data, c};
	closer_begin(&c->closer, on_closed, closing);
	c->ready = false;
	stop_asking(c);
	closer_hold(&c->closer);
	etcd_close(c->client, on_part_closed, c);
	if (c->gate) {
		closer_hold(&c->closer);
		etcd_gate_close(c->gate, on_part_closed, c);
	}
	closer_add(&c->closer, (uv_handle_t *)&c->start_timer);
	closer_add(&c->closer, (uv_handle_t *)&c->ready_timer);
	if (c->proc)
		terminate(c);
	else
		closer_add(&c->closer, (uv_handle_t *)&c->kill_timer);
	closer_end(&c->closer);
}
