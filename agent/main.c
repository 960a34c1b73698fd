#include "agent.h"
#include "config.h"

#include "common/error.h"
#include "common/file.h"
#include "common/log.h"
#include "common/loop.h"
#include "metrics/families.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#define STALL_LIMIT_MS 200

static void print_help(void)
{
	printf("Usage: cluster-agent [OPTIONS]\n\n"
	       "The node daemon of a Skein cluster: runs containers, and cluster-manager on manager nodes.\n"
	       "Without a cluster it waits for `clusterctl init` or `clusterctl join`.\n\n");
	options_print_help(agent_options, stdout, 100);
	printf("\nSIGHUP renews the node's certificate at once; connections and containers go on.\n"
	       "\nExample:\n  cluster-agent --join 10.0.0.1:2377 --token-file /etc/skein/join-token\n"
	       "\nExit status: 0 stopped, 1 could not start, 2 usage.\n");
}

static void print_man(void)
{
	printf(".TH CLUSTER-AGENT 8 \"\" \"skein " SKEIN_VERSION "\"\n.SH NAME\ncluster-agent \\- node daemon of a Skein cluster\n"
	       ".SH SYNOPSIS\n.B cluster-agent\n[OPTIONS]\n.SH DESCRIPTION\nRuns the containers of a node, and cluster-manager on manager "
	       "nodes. Containers outlive it: a killed or upgraded agent finds them again.\n.SH OPTIONS\n");
	options_print_man(agent_options, stdout);
	printf(".SH SIGNALS\nSIGHUP: renew the node's certificate at once (it is renewed by itself between 50 and 80 %% of its life); "
	       "connections and containers go on. SIGTERM: stop; containers and the manager go on.\n"
	       ".SH EXIT STATUS\n0 stopped, 1 could not start, 2 usage.\n.SH SEE ALSO\nclusterctl(1), cluster-manager(8)\n");
}

static void on_closed(void *data)
{
	uv_stop(data);
}

struct run {
	uv_loop_t loop;
	struct agent *agent;
	uv_signal_t hup;
};

static void on_hup(uv_signal_t *signal, int signum)
{
	struct run *run = signal->data;

	if (run->agent)
		agent_renew(run->agent);
}

static void on_stop(void *data, int signum)
{
	struct run *run = data;
	struct agent *agent = run->agent;

	if (!agent)
		return;
	run->agent = NULL;
	uv_close((uv_handle_t *)&run->hup, NULL);
	log_info("stopping", kv_i64("signal", signum));
	agent_close(agent, on_closed, &run->loop);
}

/*
 * A state directory serves one agent: a second one would fight over the containers. So does a run directory: its sockets
 * and the manager that is found by its pid file. The locks last as long as we.
 */
static int lock_dir(const char *dir, unsigned mode, const char *name, struct error *err)
{
	char path[4096];
	int fd;

	if (file_mkdirs(dir, mode, err) < 0)
		return -1;
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return error_set_errno(err, errno, "open %s", path);
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return error_set(err, ERR_EXISTS, "another cluster-agent uses the directory %s", dir);
	return 0;
}

int main(int argc, char **argv)
{
	struct agent_config config = {0};
	struct error err = ERROR_INIT;
	enum log_level level = LOG_LEVEL_INFO;
	struct run run = {0};

	umask(0077);
	signal(SIGPIPE, SIG_IGN);
	/* Unpacking an image must not hold up the mounts of a container that starts. */
	setenv("UV_THREADPOOL_SIZE", "8", 0);
	if (agent_config_load(&config, argc, argv, &err) < 0) {
		fprintf(stderr, "cluster-agent: %s\nSee 'cluster-agent --help'.\n", err.msg);
		return 2;
	}
	if (config.help)
		return print_help(), 0;
	if (config.man)
		return print_man(), 0;
	if (config.metrics_doc)
		return metrics_doc(stdout, agent_tables, AGENT_TABLES), 0;
	if (config.version)
		return puts("cluster-agent " SKEIN_VERSION), 0;
	log_level_parse(config.log_level, &level);
	log_init("agent", level);

	uv_loop_init(&run.loop);
	/* From the start: the default would end us. */
	uv_signal_init(&run.loop, &run.hup);
	run.hup.data = &run;
	uv_signal_start(&run.hup, on_hup, SIGHUP);
	if (lock_dir(config.state_dir, 0700, "agent.lock", &err) == 0 && lock_dir(config.run_dir, 0755, "run.lock", &err) == 0)
		run.agent = agent_new(&run.loop, &config, &err);
	if (!run.agent) {
		log_error("start", kv_err(&err));
		return 1;
	}
	loop_on_stop_signals(&run.loop, on_stop, &run);
	loop_watch_start(&run.loop, STALL_LIMIT_MS);
	uv_run(&run.loop, UV_RUN_DEFAULT);
	loop_stop_signals_close();
	loop_watch_stop();
	uv_run(&run.loop, UV_RUN_NOWAIT);
	uv_loop_close(&run.loop);
	agent_config_fini(&config);
	return 0;
}
