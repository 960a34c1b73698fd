#include "config.h"

#include "common/error.h"
#include "common/hostport.h"


const struct option_def manager_options[] = {
	{"config", 'c', OPT_STR(struct manager_config, config_file), .arg = "FILE",
	 .help = "configuration file: \"key = value\" with these flags' names as keys (the agent writes one)"},
	{"state-dir", 0, OPT_STR(struct manager_config, state_dir), .def = "/var/lib/skein", .arg = "DIR", .help = "state of the node: identity, etcd's data"},
	{"run-dir", 0, OPT_STR(struct manager_config, run_dir), .def = "/run/skein", .arg = "DIR", .help = "sockets and pid file"},
	{"listen", 0, OPT_STR(struct manager_config, listen), .def = "0.0.0.0:2377", .arg = "HOST:PORT",
	 .help = "where agents, other managers and clusterctl connect"},
	{"advertise-address", 0, OPT_STR(struct manager_config, advertise_address), .arg = "HOST:PORT", .help = "address of this manager for others (required)"},
	{"join", 0, OPT_LIST(struct manager_config, join), .arg = "HOST:PORT",
	 .help = "manager to become a member of etcd through, if this one has no data yet; may be repeated"},
	{"etcd-endpoint", 0, OPT_LIST(struct manager_config, etcd_endpoints), .arg = "URL",
	 .help = "use this etcd instead of an embedded one; may be repeated"},
	{"etcd-ca", 0, OPT_STR(struct manager_config, etcd_ca), .arg = "FILE", .help = "CA certificate of the external etcd"},
	{"etcd-cert", 0, OPT_STR(struct manager_config, etcd_cert), .arg = "FILE", .help = "client certificate for the external etcd"},
	{"etcd-key", 0, OPT_STR(struct manager_config, etcd_key), .arg = "FILE", .help = "key of that certificate"},
	{"etcd-client-port", 0, OPT_U64(struct manager_config, etcd_client_port), .def = "2379", .arg = "PORT", .min = 1, .max = 65535,
	 .help = "client port of the embedded etcd"},
	{"etcd-peer-port", 0, OPT_U64(struct manager_config, etcd_peer_port), .def = "2380", .arg = "PORT", .min = 1, .max = 65535,
	 .help = "peer port of the embedded etcd"},
	{"etcd-binary", 0, OPT_STR(struct manager_config, etcd_binary), .def = "etcd", .arg = "PATH", .help = "program of the embedded etcd"},
	{"auth-file", 0, OPT_STR(struct manager_config, auth_file), .def = "/etc/skein/auth.json", .arg = "FILE",
	 .help = "registry credentials for looking up digests of images (containers-auth.json(5))"},
	{"certs-dir", 0, OPT_STR(struct manager_config, certs_dir), .def = "/etc/containers/certs.d", .arg = "DIR",
	 .help = "certificates of registries (containers-certs.d(5))"},
	{"http-listen", 0, OPT_STR(struct manager_config, http_listen), .def = "0.0.0.0:9641", .arg = "ADDRESS:PORT|off",
	 .help = "where metrics, health, Prometheus' service discovery and the web page are served"},
	{"http-tls", 0, OPT_BOOL(struct manager_config, http_tls), .def = "true", .help = "serve them by https only; --no-http-tls: plain"},
	{"http-cert", 0, OPT_STR(struct manager_config, http_cert), .arg = "FILE",
	 .help = "certificate (chain) for https (default: the node's own, which the cluster's root certificate proves)"},
	{"http-key", 0, OPT_STR(struct manager_config, http_key), .arg = "FILE", .help = "key of that certificate"},
	{"http-client-ca", 0, OPT_STR(struct manager_config, http_client_ca), .arg = "FILE",
	 .help = "https clients need a certificate of these (default: none is asked for)"},
	{"leader-ttl", 0, OPT_DURATION(struct manager_config, leader_ttl_ns), .def = "3s", .arg = "DURATION",
	 .help = "a silent leader is replaced after this long (a killed one at once)"},
	{"force-new-cluster", 0, OPT_BOOL(struct manager_config, force_new_cluster),
	 .help = "make a cluster of this one manager out of the data it has (after quorum was lost for good)"},
	{"bootstrap", 0, OPT_BOOL(struct manager_config, bootstrap),
	 .help = "make a new cluster's root certificate and this node's identity, then end"},
	{"availability", 0, OPT_ENUM(struct manager_config, availability), .def = "active", .choices = "active|pause|drain",
	 .help = "with --bootstrap: availability of this node"},
	{"cert-expiry", 0, OPT_DURATION(struct manager_config, cert_expiry_ns), .def = "2160h", .arg = "DURATION",
	 .help = "with --bootstrap: life of node certificates (at least 1h)"},
	{"task-history-limit", 0, OPT_U64(struct manager_config, task_history_limit), .def = "5", .arg = "N", .min = 0, .max = 1000,
	 .help = "with --bootstrap: tasks kept per slot, the running one included"},
	{"heartbeat-period", 0, OPT_DURATION(struct manager_config, heartbeat_period_ns), .def = "0", .arg = "DURATION",
	 .help = "with --bootstrap: how often agents beat; 0 chooses by the number of nodes"},
	{"address-pool", 0, OPT_LIST(struct manager_config, address_pools), .arg = "SUBNET",
	 .help = "with --bootstrap: subnets of networks are cut from it, 10.0.0.0/8 unless given; may be repeated"},
	{"address-pool-prefix", 0, OPT_U64(struct manager_config, address_pool_prefix), .def = "0", .arg = "LENGTH", .min = 0, .max = 32,
	 .help = "with --bootstrap: prefix length of the subnets that are cut; 0 is 24"},
	{"peer-port", 0, OPT_U64(struct manager_config, peer_port), .def = "7946", .arg = "PORT", .min = 1, .max = 65535,
	 .help = "with --bootstrap: port of this node's agent for other nodes"},
	{"ready-fd", 0, OPT_I64(struct manager_config, ready_fd), .def = "-1", .arg = "FD", .hidden = true,
	 .help = "write \"ready\" or \"error: ...\" to this descriptor once"},
	{"log-level", 0, OPT_ENUM(struct manager_config, log_level), .def = "info", .choices = "debug|info|warn|error", .help = "least level that is logged"},
	{"help", 'h', OPT_BOOL(struct manager_config, help), .help = "show this help"},
	{"version", 'v', OPT_BOOL(struct manager_config, version), .help = "show the version"},
	{"metrics-doc", 0, OPT_BOOL(struct manager_config, metrics_doc), .help = "write the list of metrics to standard output", .hidden = true},
	{"man", 0, OPT_BOOL(struct manager_config, man), .help = "write the manual page to standard output", .hidden = true},
	{0},
};

static int check_http(const struct manager_config *config, struct error *err)
{
	struct hostport at;

	if (str_empty(config->http_cert) != str_empty(config->http_key))
		return error_set(err, ERR_INVALID, "--http-cert and --http-key belong together: give both or none");
	if (!config->http_tls && (!str_empty(config->http_cert) || !str_empty(config->http_client_ca)))
		return error_set(err, ERR_INVALID, "--http-cert and --http-client-ca are for https, which --no-http-tls turns off");
	if (!str_eq(config->http_listen, "off") && hostport_parse(config->http_listen, 9641, &at, err) < 0)
		return error_wrap(err, "--http-listen");
	return 0;
}

int manager_config_load(struct manager_config *config, int argc, char **argv, struct error *err)
{
	_cleanup_strv_ struct strv args = {0};
	struct option_seen seen = {0};

	options_defaults(manager_options, config);
	if (options_parse_args(manager_options, config, argc - 1, argv + 1, false, &args, &seen, err) < 0)
		return -1;
	if (args.n > 0)
		return error_set(err, ERR_INVALID, "unexpected argument \"%s\": cluster-manager takes only flags", args.v[0]);
	if (!str_empty(config->config_file) &&
	    options_parse_file(manager_options, config, config->config_file, &seen, err) < 0)
		return -1;
	if (check_http(config, err) < 0)
		return -1;
	if (!config->help && !config->version && !config->man && !config->metrics_doc && str_empty(config->advertise_address))
		return error_set(err, ERR_INVALID, "--advertise-address HOST:PORT is required");
	return 0;
}

void manager_config_fini(struct manager_config *config)
{
	options_fini(manager_options, config);
}
