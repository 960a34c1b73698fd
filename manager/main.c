#include "config.h"
#include "manager.h"

#include "common/clock.h"
#include "common/error.h"
#include "common/file.h"
#include "common/hostport.h"
#include "common/log.h"
#include "common/loop.h"
#include "common/mem.h"
#include "common/proc.h"
#include "manager/ca/bootstrap.h"
#include "manager/control/validate.h"
#include "manager/metrics/families.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define STALL_LIMIT_MS 200

struct run {
	uv_loop_t loop;
	struct manager *manager;
	struct manager_config config;
	uv_signal_t hup;
	int exit_code;
};

static void print_help(void)
{
	printf("Usage: cluster-manager [OPTIONS]\n\n"
	       "A manager of a Skein cluster: API, certificates, deciding, dispatching; state in etcd.\n"
	       "cluster-agent starts it; there is no need to do so by hand.\n\n");
	options_print_help(manager_options, stdout, 100);
	printf("\nSIGHUP reads the certificate again. Exit status: 0 stopped, 1 failed, 2 usage.\n"
	       "\nExample:\n  cluster-manager --config /var/lib/skein/manager/manager.conf\n");
}

static void print_man(void)
{
	printf(".TH CLUSTER-MANAGER 8 \"\" \"skein " SKEIN_VERSION "\"\n.SH NAME\ncluster-manager \\- manager of a Skein cluster\n"
	       ".SH SYNOPSIS\n.B cluster-manager\n[OPTIONS]\n.SH DESCRIPTION\nServes the API, issues certificates, decides where tasks run. "
	       "All state is in etcd, which it starts itself unless --etcd-endpoint is given. Started by cluster-agent(8).\n.SH OPTIONS\n");
	options_print_man(manager_options, stdout);
	printf(".SH SIGNALS\nSIGHUP: read the certificate again. SIGTERM: stop.\n.SH EXIT STATUS\n0 stopped, 1 failed, 2 usage.\n"
	       ".SH SEE ALSO\ncluster-agent(8), clusterctl(1)\n");
}

/* ---------------------------------------------------------------- bootstrap */

static int bootstrap(const struct manager_config *config)
{
	pb_cluster_spec spec = SKEIN__CLUSTER_SPEC__INIT;
	struct ca_bootstrap_result result = {0};
	struct error err = ERROR_INIT;
	struct hostport hp = {0};
	char hostname[256] = "";
	struct ca_bootstrap_options options = {
		.state_dir = config->state_dir,
		.listen = config->listen,
		.api_address = config->advertise_address,
		.hostname = hostname,
		.peer_port = (unsigned)config->peer_port,
		.spec = &spec,
		.now = clock_wall_ns(),
	};

	gethostname(hostname, sizeof(hostname) - 1);
	spec.cert_expiry = config->cert_expiry_ns;
	spec.heartbeat_period = config->heartbeat_period_ns;
	spec.task_history_limit = (uint32_t)config->task_history_limit;
	spec.address_pools = config->address_pools.v;
	spec.n_address_pools = config->address_pools.n;
	spec.address_pool_prefix = (uint32_t)config->address_pool_prefix;
	options.availability = str_eq(config->availability, "pause")   ? AVAILABILITY_PAUSE
			       : str_eq(config->availability, "drain") ? AVAILABILITY_DRAIN
								       : AVAILABILITY_ACTIVE;
	if (validate_cluster_spec(&spec, &err) == 0 &&
	    hostport_parse(config->advertise_address, 2377, &hp, &err) == 0) {
		options.address = hp.host;
		if (ca_bootstrap_write(&options, &result, &err) == 0) {
			printf("node %s\ncluster %s\n", result.node_id, result.cluster_id);
			mem_wipe(&result, sizeof(result));
			return 0;
		}
	}
	fprintf(stderr, "%s\n", err.msg);
	return 1;
}

/* ---------------------------------------------------------------- serve */

static void on_closed(void *data)
{
	struct run *run = data;

	uv_close((uv_handle_t *)&run->hup, NULL);
	uv_stop(&run->loop);
}

static void stop(struct run *run)
{
	struct manager *manager = run->manager;

	run->manager = NULL;
	if (manager)
		manager_close(manager, on_closed, run);
}

static void on_stop(void *data, int signum)
{
	log_info("stopping", kv_i64("signal", signum));
	stop(data);
}

static void on_hup(uv_signal_t *signal, int signum)
{
	struct run *run = signal->data;

	if (run->manager)
		manager_reload(run->manager);
}

/* Tell the agent that started us, through the pipe it gave. */
static void write_ready(struct run *run, const struct error *err)
{
	char text[ERROR_MSG_MAX + 16];
	int len, fd = (int)run->config.ready_fd;

	if (fd < 0)
		return;
	len = err ? snprintf(text, sizeof(text), "error: %.1000s\n", err->msg) : snprintf(text, sizeof(text), "ready\n");
	if (write(fd, text, (size_t)len) < 0)
		log_warn("ready_fd");
	close(fd);
	run->config.ready_fd = -1;
}

static void on_ready(void *data, const struct error *err)
{
	struct run *run = data;

	write_ready(run, err);
	if (err) {
		log_error("start", kv_err(err));
		run->exit_code = 1;
		stop(run);
	}
}

static int serve(struct run *run)
{
	struct error err = ERROR_INIT;

	uv_loop_init(&run->loop);
	loop_on_stop_signals(&run->loop, on_stop, run);
	uv_signal_init(&run->loop, &run->hup);
	run->hup.data = run;
	uv_signal_start(&run->hup, on_hup, SIGHUP);
	run->manager = manager_new(&run->loop, &run->config, on_ready, run, &err);
	if (!run->manager) {
		log_error("start", kv_err(&err));
		write_ready(run, &err);
		return 1;
	}
	loop_watch_start(&run->loop, STALL_LIMIT_MS);
	uv_run(&run->loop, UV_RUN_DEFAULT);
	loop_stop_signals_close();
	loop_watch_stop();
	uv_run(&run->loop, UV_RUN_NOWAIT);
	return run->exit_code;
}

int main(int argc, char **argv)
{
	static struct run run;
	struct error err = ERROR_INIT;
	enum log_level level = LOG_LEVEL_INFO;
	int result;

	umask(0077);
	signal(SIGPIPE, SIG_IGN);
	if (manager_config_load(&run.config, argc, argv, &err) < 0) {
		fprintf(stderr, "cluster-manager: %s\nSee 'cluster-manager --help'.\n", err.msg);
		return 2;
	}
	if (run.config.help)
		return print_help(), 0;
	if (run.config.man)
		return print_man(), 0;
	if (run.config.metrics_doc)
		return metrics_doc(stdout, manager_tables, manager_tables_n), 0;
	if (run.config.version)
		return puts("cluster-manager " SKEIN_VERSION), 0;
	log_level_parse(run.config.log_level, &level);
	log_init("manager", level);
	result = run.config.bootstrap ? bootstrap(&run.config) : serve(&run);
	manager_config_fini(&run.config);
	return result;
}
