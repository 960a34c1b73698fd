#include "config.h"

#include "common/error.h"
#include "common/ipaddr.h"
#include "common/mem.h"
#include "common/metrics/metrics.h"

#include <sys/socket.h>

#define DEFAULT_CONFIG "/etc/skein/agent.conf"
/* A subnet for at least a dozen containers, and not the whole Internet. */
#define GATEWAY_PREFIX_MIN 8
#define GATEWAY_PREFIX_MAX 28

const struct option_def agent_options[] = {
	{"config", 'c', OPT_STR(struct agent_config, config_file), .arg = "FILE",
	 .help = "configuration file: \"key = value\" with these flags' names as keys (default " DEFAULT_CONFIG
		 ", if it exists)"},
	{"state-dir", 0, OPT_STR(struct agent_config, state_dir), .def = "/var/lib/skein", .arg = "DIR",
	 .help = "what must survive a reboot: identity, images, volumes, containers"},
	{"run-dir", 0, OPT_STR(struct agent_config, run_dir), .def = "/run/skein", .arg = "DIR", .help = "sockets, pid files, mount points"},
	{"join", 0, OPT_STR(struct agent_config, join), .arg = "HOST:PORT",
	 .help = "join the cluster of this manager, if the node is not in a cluster yet"},
	{"token-file", 0, OPT_STR(struct agent_config, token_file), .arg = "FILE", .help = "file with the join token for --join"},
	{"advertise-address", 0, OPT_STR(struct agent_config, advertise_address), .arg = "ADDRESS|INTERFACE",
	 .help = "where other nodes reach this one (default: the only address, or that of the default route)"},
	{"listen", 0, OPT_STR(struct agent_config, listen), .def = "0.0.0.0", .arg = "ADDRESS", .help = "address to listen at for other nodes"},
	{"peer-port", 0, OPT_U64(struct agent_config, peer_port), .def = "7946", .arg = "PORT", .min = 1, .max = 65535,
	 .help = "port for other agents and for managers (logs, images)"},
	{"manager-port", 0, OPT_U64(struct agent_config, manager_port), .def = "2377", .arg = "PORT", .min = 1, .max = 65535,
	 .help = "port of the manager, when this node is one"},
	{"etcd-client-port", 0, OPT_U64(struct agent_config, etcd_client_port), .def = "2379", .arg = "PORT", .min = 1, .max = 65535,
	 .help = "client port of the embedded etcd, when this node is a manager"},
	{"etcd-peer-port", 0, OPT_U64(struct agent_config, etcd_peer_port), .def = "2380", .arg = "PORT", .min = 1, .max = 65535,
	 .help = "peer port of the embedded etcd, when this node is a manager"},
	{"manager-http-listen", 0, OPT_STR(struct agent_config, manager_http_listen), .def = "0.0.0.0:9641", .arg = "ADDRESS:PORT|off",
	 .help = "where the manager serves metrics, health, service discovery and the web page, when this node is one"},
	{"manager-http-tls", 0, OPT_BOOL(struct agent_config, manager_http_tls), .def = "true",
	 .help = "they are served by https only; --no-manager-http-tls: plain"},
	{"manager-http-cert", 0, OPT_STR(struct agent_config, manager_http_cert), .arg = "FILE",
	 .help = "certificate for that (default: the node's own, which the cluster's root certificate proves)"},
	{"manager-http-key", 0, OPT_STR(struct agent_config, manager_http_key), .arg = "FILE", .help = "key of that certificate"},
	{"manager-http-client-ca", 0, OPT_STR(struct agent_config, manager_http_client_ca), .arg = "FILE",
	 .help = "clients of it need a certificate of these (default: none is asked for)"},
	{"gateway-subnet", 0, OPT_STR(struct agent_config, gateway_subnet), .def = "172.30.0.0/16", .arg = "SUBNET",
	 .help = "IPv4 subnet of this node's own bridge (skein0), by which its containers reach the outside; no other node sees it"},
	{"vxlan-port", 0, OPT_U64(struct agent_config, vxlan_port), .def = "4789", .arg = "PORT", .min = 1, .max = 65535,
	 .help = "UDP port of overlay networks; the same on every node"},
	{"balancer", 0, OPT_ENUM(struct agent_config, balancer), .def = "auto", .choices = "auto|ipvs|nftables",
	 .help = "what spreads connections to services; auto takes ipvs where the kernel has it"},
	{"runtime", 0, OPT_STR(struct agent_config, runtime), .def = "auto", .arg = "auto|crun|runc|PATH",
	 .help = "OCI runtime; auto takes the fastest that runs a container here"},
	{"cgroup-parent", 0, OPT_STR(struct agent_config, cgroup_parent), .def = "skein", .arg = "PATH", .help = "cgroup above all containers"},
	{"init-path", 0, OPT_STR(struct agent_config, init_path), .arg = "PATH",
	 .help = "init program for services with --init (default: tini or catatonit, whichever is installed)"},
	{"engine-label", 0, OPT_LIST(struct agent_config, engine_labels), .arg = "KEY=VALUE",
	 .help = "label of this node's engine, for constraints on engine.labels.KEY; may be repeated"},
	{"reserve-memory", 0, OPT_BYTES(struct agent_config, reserved_mem_bytes), .def = "0", .arg = "BYTES",
	 .help = "memory kept for the host: not offered to the scheduler"},
	{"log-max-size", 0, OPT_BYTES(struct agent_config, log_max_bytes), .def = "16m", .arg = "BYTES",
	 .help = "size at which a container's log file is rotated"},
	{"log-max-files", 0, OPT_U64(struct agent_config, log_max_files), .def = "3", .arg = "N", .min = 1, .max = 100,
	 .help = "log files kept per container"},
	{"auth-file", 0, OPT_STR(struct agent_config, auth_file), .def = "/etc/skein/auth.json", .arg = "FILE",
	 .help = "registry credentials of this node (containers-auth.json(5))"},
	{"certs-dir", 0, OPT_STR(struct agent_config, certs_dir), .def = "/etc/containers/certs.d", .arg = "DIR",
	 .help = "certificates of registries (containers-certs.d(5))"},
	{"manager-binary", 0, OPT_STR(struct agent_config, manager_binary), .arg = "PATH",
	 .help = "cluster-manager (default: beside this program)"},
	{"metrics", 0, OPT_BOOL(struct agent_config, metrics), .def = "true",
	 .help = "serve /metrics, /healthz and /readyz over HTTP; --no-metrics turns it off"},
	{"metrics-address", 0, OPT_STR(struct agent_config, metrics_address), .arg = "ADDRESS",
	 .help = "address to serve metrics at (default: that of --listen)"},
	{"metrics-port", 0, OPT_U64(struct agent_config, metrics_port), .def = "9640", .arg = "PORT", .min = 1, .max = 65535,
	 .help = "port to serve metrics at"},
	{"metrics-cert", 0, OPT_STR(struct agent_config, metrics_cert), .arg = "FILE",
	 .help = "certificate (PEM, with its chain) to serve metrics by TLS; read again when it changes"},
	{"metrics-key", 0, OPT_STR(struct agent_config, metrics_key), .arg = "FILE", .help = "key of --metrics-cert (PEM)"},
	{"metrics-client-ca", 0, OPT_STR(struct agent_config, metrics_client_ca), .arg = "FILE",
	 .help = "scrapers need a certificate of this CA (PEM)"},
	{"metrics-label", 0, OPT_LIST(struct agent_config, metrics_labels), .arg = "KEY",
	 .help = "service label that becomes a label of its containers' metrics; may be repeated"},
	{"log-level", 0, OPT_ENUM(struct agent_config, log_level), .def = "info", .choices = "debug|info|warn|error", .help = "least level that is logged"},
	{"help", 'h', OPT_BOOL(struct agent_config, help), .help = "show this help"},
	{"version", 'v', OPT_BOOL(struct agent_config, version), .help = "show the version"},
	{"metrics-doc", 0, OPT_BOOL(struct agent_config, metrics_doc), .help = "write the list of metrics to standard output", .hidden = true},
	{"man", 0, OPT_BOOL(struct agent_config, man), .help = "write the manual page to standard output", .hidden = true},
	{0},
};

/* Prometheus refuses a whole scrape in which a series has a label twice. */
static int check_metrics_labels(const struct strv *keys, struct error *err)
{
	for (size_t i = 0; i < keys->n; i++) {
		_cleanup_free_ char *name = metrics_label_name("label_", keys->v[i]);

		for (size_t j = 0; j < i; j++) {
			_cleanup_free_ char *other = metrics_label_name("label_", keys->v[j]);

			if (str_eq(name, other))
				return error_set(err, ERR_INVALID, "--metrics-label %s and --metrics-label %s are both the label %s: "
						 "accepted is one of them", keys->v[j], keys->v[i], name);
		}
	}
	return 0;
}

static int check_metrics(const struct agent_config *c, struct error *err)
{
	if (str_empty(c->metrics_cert) != str_empty(c->metrics_key))
		return error_set(err, ERR_INVALID, "--metrics-cert and --metrics-key go together");
	if (!str_empty(c->metrics_client_ca) && str_empty(c->metrics_cert))
		return error_set(err, ERR_INVALID, "--metrics-client-ca needs --metrics-cert and --metrics-key");
	return check_metrics_labels(&c->metrics_labels, err);
}

int agent_config_load(struct agent_config *config, int argc, char **argv, struct error *err)
{
	_cleanup_strv_ struct strv args = {0};
	struct option_seen seen = {0};
	struct ipaddr subnet;
	bool named;

	options_defaults(agent_options, config);
	if (options_parse_args(agent_options, config, argc - 1, argv + 1, false, &args, &seen, err) < 0)
		return -1;
	if (args.n > 0)
		return error_set(err, ERR_INVALID, "unexpected argument \"%s\": cluster-agent takes only flags", args.v[0]);
	named = !str_empty(config->config_file);
	if (options_parse_file(agent_options, config, named ? config->config_file : DEFAULT_CONFIG, &seen, err) < 0 &&
	    (named || err->code != ERR_NOT_FOUND))
		return -1;
	if (!str_empty(config->join) && str_empty(config->token_file))
		return error_set(err, ERR_INVALID, "--join %s needs --token-file FILE", config->join);
	if (ipaddr_parse_subnet(config->gateway_subnet, &subnet, err) < 0)
		return error_wrap(err, "--gateway-subnet");
	if (subnet.family != AF_INET || subnet.prefix < GATEWAY_PREFIX_MIN || subnet.prefix > GATEWAY_PREFIX_MAX)
		return error_set(err, ERR_INVALID, "--gateway-subnet %s: accepted is an IPv4 subnet with a prefix length of %d to %d",
				 config->gateway_subnet, GATEWAY_PREFIX_MIN, GATEWAY_PREFIX_MAX);
	return check_metrics(config, err);
}

void agent_config_fini(struct agent_config *config)
{
	options_fini(agent_options, config);
}
