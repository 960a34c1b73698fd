/* config - the options of cluster-agent: flags, configuration file, --help and manual page from one table. */
#pragma once
#include "common/options.h"

struct agent_config {
	char *config_file, *state_dir, *run_dir, *cgroup_parent, *runtime, *log_level;
	char *listen, *advertise_address, *manager_binary, *auth_file, *certs_dir, *init_path;
	char *join, *token_file;
	char *gateway_subnet, *balancer;
	char *manager_http_listen, *manager_http_cert, *manager_http_key, *manager_http_client_ca;
	bool manager_http_tls;
	char *metrics_address, *metrics_cert, *metrics_key, *metrics_client_ca;
	struct strv engine_labels, metrics_labels;
	uint64_t peer_port, manager_port, etcd_client_port, etcd_peer_port, vxlan_port, log_max_files, metrics_port;
	int64_t log_max_bytes, reserved_mem_bytes;
	bool metrics, help, version, man, metrics_doc;
};

extern const struct option_def agent_options[];

/*
 * Read the command line and the file that it (or the default) names; a default file that is missing is no error.
 * Returns 0; -1 with err for a usage error.
 */
int agent_config_load(struct agent_config *config, int argc, char **argv, struct error *err);
void agent_config_fini(struct agent_config *config);
