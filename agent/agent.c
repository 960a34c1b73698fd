#include "agent_internal.h"

#include "agent/exec/exec.h"
#include "agent/image/image.h"
#include "agent/migrate/migrate.h"
#include "agent/net/net.h"
#include "common/clock.h"
#include "common/file.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/proc.h"
#include "common/str.h"
#include "manager_child.h"
#include "manager_conf.h"
#include "metrics/families.h"
#include "metrics/server.h"
#include "metrics/usage_feed.h"
#include "nodeinfo.h"
#include "reporter.h"
#include "rpc/rpc.h"
#include "session.h"
#include "task_stats.h"
#include "taskdb.h"
#include "worker.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PROBE_RETRY_NS (10 * NS_PER_SEC)
#define BEGIN_RETRY_NS (2 * NS_PER_SEC)

/* ---------------------------------------------------------------- description */

pb_node_description *agent_describe(void *data)
{
	struct agent *a = data;
	struct nodeinfo_options options = {
		.exec = a->exec_probed ? a->exec : NULL,
		.net = a->net_probed ? a->net : NULL,
		.images = a->images,
		.engine_labels = a->config->engine_labels.v,
		.reserved_mem_bytes = a->config->reserved_mem_bytes,
	};

	pb_node_description *d = nodeinfo_describe(&options);
	char where[MANAGER_CONF_WHERE_MAX];

	if (*manager_conf_http_where(a->config, where))
		pb_kv_set(&d->n_features, &d->features, "metrics.manager", where);
	if (*watch_where(a->config, where))
		pb_kv_set(&d->n_features, &d->features, "metrics.agent", where);
	return d;
}

static void describe_again(void *data)
{
	struct agent *a = data;

	if (a->session)
		session_send_description(a->session);
}

/* ---------------------------------------------------------------- the runtime */

static bool exec_ready(void *data, struct error *err)
{
	struct agent *a = data;

	if (a->exec_works)
		return true;
	*err = a->exec_error; /* none while it is still being probed */
	return false;
}

static void on_probed(void *data, const struct error *err);

static void on_probe_retry(uv_timer_t *timer)
{
	struct agent *a = timer->data;

	exec_probe(a->exec, on_probed, a);
}

static void begin_or_wait(struct agent *a);

static void on_begin_retry(uv_timer_t *timer)
{
	struct agent *a = timer->data;

	if (a->op)
		loop_timer_in(timer, BEGIN_RETRY_NS, on_begin_retry);
	else if (error_is_set(&a->unusable)) /* it has not left meanwhile */
		begin_or_wait(a);
}

static void on_half_begun_ended(void *data)
{
	struct agent *a = data;

	if (!a->closing)
		loop_timer_in(&a->begin_timer, BEGIN_RETRY_NS, on_begin_retry);
	closer_drop(&a->closer);
}

/* The node is in a cluster, but its port is taken, say. The containers run on meanwhile. */
static void begin_later(struct agent *a, const struct error *err)
{
	if (strcmp(a->unusable.msg, err->msg) != 0)
		log_error("identity", kv_err(err));
	a->unusable = *err;
	closer_hold(&a->closer);
	active_end(a, on_half_begun_ended, a);
}

static void begin_or_wait(struct agent *a)
{
	struct error err = ERROR_INIT;

	if (active_begin(a, &err) == 0) {
		a->unusable = ERROR_INIT;
		if (identity_get(a->identity)->role == PKI_MANAGER)
			active_start_manager(a, NULL, NULL);
	} else if (err.code != ERR_NOT_FOUND) {
		begin_later(a, &err);
	} else if (!str_empty(a->config->join)) {
		ops_auto_join(a);
	} else {
		log_info("inactive", kv_str("hint", "clusterctl init, or clusterctl join"));
	}
}

/* Without a session it is said with the next one. */
static void send_migration(void *data, const pb_migration_report *report)
{
	struct agent *a = data;

	if (a->session)
		session_send_migration(a->session, report);
}

static int open_local(struct agent *a, struct error *err);

static void on_probed(void *data, const struct error *err)
{
	struct agent *a = data;
	bool first = !a->exec_probed;
	bool changed = first || a->exec_works != (err == NULL);

	if (a->closing)
		return;
	a->exec_probed = true;
	a->exec_works = err == NULL;
	a->exec_error = err ? *err : ERROR_INIT;
	if (err && changed)
		log_error("runtime", kv_err(err));
	if (err)
		loop_timer_in(&a->probe_timer, PROBE_RETRY_NS, on_probe_retry);
	if (first)
		worker_kick(a->worker);
	if (changed)
		describe_again(a);
}

static bool net_ready(void *data, struct error *err)
{
	struct agent *a = data;

	if (a->net_works)
		return true;
	*err = a->net_error; /* none while it is still being probed */
	return false;
}

static void on_net_probed(void *data, const struct error *err)
{
	struct agent *a = data;

	if (a->closing)
		return;
	a->net_probed = true;
	a->net_works = err == NULL;
	a->net_error = err ? *err : ERROR_INIT;
	if (err)
		log_error("network", kv_err(err));
	worker_kick(a->worker);
	describe_again(a);
}

/*
 * Not behind the probe: a runtime that is slow, or hangs, must not keep a node whose containers run out of its
 * cluster. Tasks that are to begin wait for it.
 */
static void on_begin(uv_timer_t *timer)
{
	struct agent *a = timer->data;
	struct error err = ERROR_INIT;

	worker_adopt(a->worker);
	begin_or_wait(a);
	if (open_local(a, &err) < 0)
		log_error("local_socket", kv_err(&err));
}

/* ---------------------------------------------------------------- open */

static int send_batch(void *data, const Skein__StatusReports *batch)
{
	struct agent *a = data;

	return a->session ? session_send_statuses(a->session, batch) : -1;
}

static int open_local(struct agent *a, struct error *err)
{
	_cleanup_free_ char *path = xasprintf("%s/agent.sock", a->config->run_dir);

	return local_listen(a->local, path, err);
}

static int make_dirs(struct agent *a, struct error *err)
{
	const char *names[] = {"images", "tmp", "taskdb"};

	if (file_mkdirs(a->config->run_dir, 0755, err) < 0)
		return -1;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		_cleanup_free_ char *path = xasprintf("%s/%s", a->config->state_dir, names[i]);

		if (file_mkdirs(path, 0700, err) < 0)
			return -1;
	}
	return 0;
}

/* cluster-manager beside this program, unless it is named. */
static char *find_manager(const struct agent_config *config)
{
	char self[4096];
	ssize_t n;
	char *slash;

	if (!str_empty(config->manager_binary))
		return xstrdup(config->manager_binary);
	n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	if (n <= 0)
		return xstrdup("cluster-manager");
	self[n] = '\0';
	slash = strrchr(self, '/');
	return xasprintf("%.*s/cluster-manager", slash ? (int)(slash - self) : 0, self);
}

static int write_pid(struct agent *a, struct error *err)
{
	char text[64];
	int len = snprintf(text, sizeof(text), "%d %" PRIu64 "\n", (int)getpid(), proc_start_time(getpid()));

	return file_write(a->pid_path, text, (size_t)len, 0644, err);
}

static int open_parts(struct agent *a, struct error *err)
{
	const struct agent_config *c = a->config;
	_cleanup_free_ char *images = xasprintf("%s/images", c->state_dir);
	_cleanup_free_ char *tmp = xasprintf("%s/tmp", c->state_dir);
	_cleanup_free_ char *db = xasprintf("%s/taskdb", c->state_dir);
	char hostname[256] = "";
	struct image_store_options image_options = {
		.loop = a->loop, .dir = images, .tmp_dir = tmp, .auth_file = c->auth_file, .registries_dir = c->certs_dir,
	};
	struct exec_options exec_options = {
		.loop = a->loop, .state_dir = c->state_dir, .run_dir = c->run_dir, .cgroup_parent = c->cgroup_parent,
		.runtime = c->runtime, .init_path = str_empty(c->init_path) ? NULL : c->init_path,
		.log_max_bytes = c->log_max_bytes, .log_max_files = (unsigned)c->log_max_files, .node_hostname = hostname,
	};
	struct net_options net_options = {
		.loop = a->loop, .state_dir = c->state_dir, .run_dir = c->run_dir, .gateway_subnet = c->gateway_subnet,
		.vxlan_port = (uint16_t)c->vxlan_port, .balancer = c->balancer,
	};
	struct migrate_options migrate_options = {
		.loop = a->loop, .rpc = a->rpc, .state_dir = c->state_dir, .run_dir = c->run_dir, .report = send_migration, .data = a,
	};
	struct worker_options worker_options = {.loop = a->loop, .exec_ready = exec_ready, .net_ready = net_ready, .data = a};
	struct local_options local_options = {.loop = a->loop, .tmp_dir = tmp, .ops = &agent_ops, .data = a};
	struct usage_feed_options usage_options = {.loop = a->loop, .cgroup_parent = c->cgroup_parent};
	_cleanup_strv_ struct strv manager_flags = {0};
	struct manager_child_options manager_options = {
		.loop = a->loop, .binary = a->manager_binary, .config_path = a->manager_conf, .run_dir = c->run_dir,
		.log_level = c->log_level,
	};

	gethostname(hostname, sizeof(hostname) - 1);
	a->images = image_store_new(&image_options, err);
	a->db = a->images ? taskdb_new(a->loop, db, err) : NULL;
	if (!a->db)
		return -1;
	a->reporter = reporter_new(a->loop, send_batch, a);
	manager_conf_http_flags(c, &manager_flags);
	manager_options.flags = manager_flags.v;
	a->manager = manager_child_new(&manager_options);
	local_options.rpc = a->rpc;
	local_options.images = a->images;
	a->local = local_new(&local_options);
	a->net = net_new(&net_options, on_net_probed, a); /* both find out beside each other what works here */
	a->exec = exec_new(&exec_options, on_probed, a);
	migrate_options.exec = a->exec;
	migrate_options.net = a->net;
	a->migrate = migrate_new(&migrate_options);
	worker_options.migrate = a->migrate;
	worker_options.exec = a->exec;
	worker_options.net = a->net;
	worker_options.images = a->images;
	worker_options.db = a->db;
	worker_options.reporter = a->reporter;
	a->task_stats = task_stats_new(&work_families[W_START_DURATION]);
	worker_options.stats = a->task_stats;
	a->worker = worker_new(&worker_options);
	usage_options.worker = a->worker;
	usage_options.net = a->net;
	a->usage = usage_feed_new(&usage_options);
	a->metrics = c->metrics ? watch_open(a) : NULL;
	image_store_on_change(a->images, describe_again, a);
	return write_pid(a, err);
}

struct agent *agent_new(uv_loop_t *loop, const struct agent_config *config, struct error *err)
{
	struct agent *a = xnew(struct agent);

	a->loop = loop;
	a->config = config;
	a->manager_socket = xasprintf("%s/manager.sock", config->run_dir);
	a->manager_conf = xasprintf("%s/manager/manager.conf", config->state_dir);
	a->pid_path = xasprintf("%s/agent.pid", config->run_dir);
	a->manager_binary = find_manager(config);
	closer_init(&a->closer);
	uv_timer_init(loop, &a->probe_timer);
	uv_timer_init(loop, &a->auto_join);
	uv_timer_init(loop, &a->begin_timer);
	a->probe_timer.data = a;
	a->begin_timer.data = a;
	a->auto_join.data = NULL;
	if (make_dirs(a, err) < 0)
		return NULL;
	a->rpc = rpc_new(loop);
	if (open_parts(a, err) < 0)
		return NULL; /* the process ends: nothing that runs depends on it */
	loop_timer_in(&a->begin_timer, 0, on_begin);
	log_info("started", kv_str("version", SKEIN_VERSION), kv_str("state_dir", config->state_dir),
		 kv_str("run_dir", config->run_dir));
	return a;
}

void agent_renew(struct agent *a)
{
	log_info("renewal_asked", kv_bool("active", active_is(a)));
	if (active_is(a) && !a->closing)
		identity_renew_now(a->identity);
}

/* ---------------------------------------------------------------- close, in reverse order of use */

static void on_handles_closed(void *data)
{
	struct agent *a = data;
	void (*closed)(void *) = a->closed;
	void *closed_data = a->closed_data;

	unlink(a->pid_path);
	free(a->manager_socket);
	free(a->manager_conf);
	free(a->pid_path);
	free(a->manager_binary);
	free(a->advertise);
	free(a);
	closed(closed_data);
}

static void on_rpc_closed(void *data)
{
	struct agent *a = data;

	closer_begin(&a->closer, on_handles_closed, a);
	closer_add(&a->closer, (uv_handle_t *)&a->probe_timer);
	closer_add(&a->closer, (uv_handle_t *)&a->auto_join);
	closer_add(&a->closer, (uv_handle_t *)&a->begin_timer);
	closer_end(&a->closer);
}

static void on_migrate_closed(void *data)
{
	struct agent *a = data;

	task_stats_free(a->task_stats);
	reporter_free(a->reporter);
	rpc_close(a->rpc, on_rpc_closed, a);
}

static void on_db_closed(void *data)
{
	struct agent *a = data;

	worker_free(a->worker);
	migrate_close(a->migrate, on_migrate_closed, a);
}

static void on_images_closed(void *data)
{
	struct agent *a = data;

	taskdb_close(a->db, on_db_closed, a);
}

static void on_net_closed(void *data)
{
	struct agent *a = data;

	image_store_close(a->images, on_images_closed, a);
}

static void on_exec_closed(void *data)
{
	struct agent *a = data;

	net_close(a->net, on_net_closed, a);
}

static void on_manager_let_go(void *data)
{
	struct agent *a = data;

	worker_freeze(a->worker);
	exec_close(a->exec, on_exec_closed, a);
}

static void on_usage_closed(void *data)
{
	struct agent *a = data;

	manager_child_close(a->manager, on_manager_let_go, a);
}

static void on_inactive(void *data)
{
	struct agent *a = data;

	usage_feed_close(a->usage, on_usage_closed, a);
}

static void on_metrics_closed(void *data)
{
	active_end(data, on_inactive, data);
}

static void on_local_closed(void *data)
{
	struct agent *a = data;

	metrics_server_close(a->metrics, on_metrics_closed, a);
}

static void on_ops_closed(void *data)
{
	struct agent *a = data;

	local_close(a->local, on_local_closed, a);
}

void agent_close(struct agent *a, void (*closed)(void *data), void *data)
{
	a->closing = true;
	a->closed = closed;
	a->closed_data = data;
	uv_timer_stop(&a->probe_timer);
	uv_timer_stop(&a->auto_join);
	uv_timer_stop(&a->begin_timer);
	ops_close(a, on_ops_closed);
}
