/* config - the options of cluster-manager: flags, configuration file, --help and manual page from one table. */
#pragma once
#include "common/options.h"

struct manager_config {
	char *config_file, *state_dir, *run_dir, *listen, *advertise_address, *log_level;
	char *etcd_ca, *etcd_cert, *etcd_key, *etcd_binary;
	char *auth_file, *certs_dir;
	struct strv join, etcd_endpoints;
	uint64_t etcd_client_port, etcd_peer_port;
	char *http_listen, *http_cert, *http_key, *http_client_ca;
	bool http_tls;
	int64_t leader_ttl_ns;
	int64_t ready_fd;
	bool force_new_cluster, bootstrap;
	/* With --bootstrap: */
	char *availability;
	int64_t cert_expiry_ns, heartbeat_period_ns;
	uint64_t task_history_limit, peer_port;
	struct strv address_pools;
	uint64_t address_pool_prefix;
	bool help, version, man, metrics_doc;
};

extern const struct option_def manager_options[];

int manager_config_load(struct manager_config *config, int argc, char **argv, struct error *err);
void manager_config_fini(struct manager_config *config);
