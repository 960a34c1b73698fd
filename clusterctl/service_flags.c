#include "service_flags.h"

#include "common/mem.h"
#include "verbs.h"

#define F(kind, field) OPT_##kind(struct service_flags, field)
#define LABEL "KEY=VALUE"
#define CONDITIONS "none|on-failure|any"
#define NETWORK "NETWORK"
#define PUBLISH "[[HOSTIP:]PORT:]TARGET"

/* A flag per line reads as a table. */
/* clang-format off */

/* The flags that create and update share; DEF(x) keeps the default for create only. */
#define SHARED_SCALARS(DEF)                                                                        \
	{"hostname", 0, F(STR, hostname),                                                          \
	 .help = "host name of the containers"},                                                   \
	{"user", 'u', F(STR, user), .arg = "USER[:GROUP]",                                         \
	 .help = "user name or id in the container"},                                              \
	{"workdir", 'w', F(STR, workdir), .arg = "PATH",                                           \
	 .help = "working directory in the container"},                                            \
	{"entrypoint", 0, F(STR, entrypoint), .arg = "COMMAND",                                    \
	 .help = "replaces the image's entrypoint; split like shell words"},                       \
	{"tty", 't', F(BOOL, tty),                                                                 \
	 .help = "give the container a terminal"},                                                 \
	{"init", 0, F(BOOL, init),                                                                 \
	 .help = "run a small init that reaps processes and forwards signals"},                    \
	{"read-only", 0, F(BOOL, read_only),                                                       \
	 .help = "mount the container's root read-only"},                                          \
	{"stop-signal", 0, F(STR, stop_signal), .arg = "SIGNAL",                                   \
	 .help = "signal that stops a container (the image's, else SIGTERM)"},                     \
	{"stop-grace-period", 0, F(DURATION, stop_grace_period), .def = DEF("10s"),                \
	 .help = "wait before SIGKILL"},                                                           \
	{"health-cmd", 0, F(STR, health_cmd), .arg = "COMMAND",                                    \
	 .help = "command that the container's shell runs to find out whether it serves (the image's)"}, \
	{"health-interval", 0, F(DURATION, health_interval),                                       \
	 .help = "time between health checks (the image's, else 30s)"},                            \
	{"health-timeout", 0, F(DURATION, health_timeout),                                         \
	 .help = "longest time of one health check (the image's, else 30s)"},                      \
	{"health-retries", 0, F(U64, health_retries), .max = 1000000,                              \
	 .help = "failures in a row that make a container unhealthy (the image's, else 3)"},       \
	{"health-start-period", 0, F(DURATION, health_start_period),                               \
	 .help = "time in which failures do not count, until one check has succeeded (the image's, else 0s)"}, \
	{"health-start-interval", 0, F(DURATION, health_start_interval),                           \
	 .help = "longest time between checks until one has succeeded (the image's, else 5s)"},    \
	{"no-healthcheck", 0, F(BOOL, no_healthcheck),                                             \
	 .help = "no health check, whatever the image says"},                                      \
	{"ready-wait", 0, F(DURATION, ready_wait), .def = DEF("10s"),                              \
	 .help = "without a health check: wait at most so long until the container listens on its ports (0s = do not wait)"}, \
	{"oom-score-adj", 0, F(I64, oom_score_adj), .min = (uint64_t)-1000, .max = 1000,           \
	 .help = "preference of the kernel's OOM killer"},                                         \
	{"limit-cpu", 0, F(CPUS, limit_cpu),                                                       \
	 .help = "limit of CPU, in cores (0 = none)"},                                             \
	{"limit-memory", 0, F(BYTES, limit_memory),                                                \
	 .help = "limit of memory (0 = none)"},                                                    \
	{"limit-pids", 0, F(I64, limit_pids), .min = 0, .max = 1 << 22,                            \
	 .help = "limit of processes (0 = none)"},                                                 \
	{"reserve-cpu", 0, F(CPUS, reserve_cpu),                                                   \
	 .help = "CPU that must be free on the node"},                                             \
	{"reserve-memory", 0, F(BYTES, reserve_memory),                                            \
	 .help = "memory that must be free on the node"},                                          \
	{"replicas-max-per-node", 0, F(U64, replicas_max_per_node),                                \
	 .help = "most tasks of the service on one node (0 = no limit)"},                          \
	{"restart-condition", 0, F(ENUM, restart_condition), .choices = CONDITIONS, .def = DEF("any"), \
	 .help = "when an ended task is replaced"},                                                \
	{"restart-delay", 0, F(DURATION, restart_delay), .def = DEF("5s"),                         \
	 .help = "wait before a task is replaced"},                                                \
	{"restart-max-attempts", 0, F(U64, restart_max_attempts),                                  \
	 .help = "most replacements of one task (0 = no limit)"},                                  \
	{"restart-window", 0, F(DURATION, restart_window),                                         \
	 .help = "time in which attempts are counted (0 = all)"},                                  \
	{"live-migrate", 0, F(BOOL, live_migrate),                                                 \
	 .help = "run the tasks so that they can be moved to other nodes while they run, and only where that is possible"}, \
	{"endpoint-mode", 0, F(ENUM, endpoint_mode), .choices = "vip|dnsrr", .def = DEF("vip"),    \
	 .help = "what the service's name leads to: a virtual address, or each task's"},           \
	UPDATE_SCALARS("update", update, DEF), UPDATE_SCALARS("rollback", rollback, DEF),          \
	{"with-registry-auth", 0, F(BOOL, with_registry_auth),                                     \
	 .help = "send this user's login for the image's registry to the nodes"}

#define UPDATE_SCALARS(prefix, field, DEF)                                                         \
	{prefix "-parallelism", 0, F(U64, field.parallelism), .def = DEF("1"),                     \
	 .help = "tasks changed at the same time (0 = all)"},                                      \
	{prefix "-delay", 0, F(DURATION, field.delay), .def = DEF("0s"),                           \
	 .help = "wait between tasks"},                                                            \
	{prefix "-order", 0, F(ENUM, field.order), .choices = "stop-first|start-first", .def = DEF("stop-first"), \
	 .help = "whether the old task stops before the new one starts"},                          \
	{prefix "-monitor", 0, F(DURATION, field.monitor), .def = DEF("5s"),                       \
	 .help = "time after a task's start in which its failure counts"},                         \
	{prefix "-max-failure-ratio", 0, F(FLOAT, field.max_failure_ratio), .min = 0, .max = 1,    \
	 .help = "share of failed tasks that is tolerated"}

#define PLAIN(x) x
#define NO_DEFAULT(x) NULL

const struct option_def service_create_options[] = {
	HELP_OPTION,
	{"name", 0, F(STR, name),
	 .help = "name of the service; made up from the image when left out"},
	{"mode", 0, F(ENUM, mode), .choices = "replicated|global", .def = "replicated",
	 .help = "a number of tasks, or one on every node"},
	{"replicas", 0, F(U64, replicas), .def = "1", .help = "number of tasks"},
	{"env", 'e', F(LIST, env), .arg = "NAME[=VALUE]",
	 .help = "environment variable; without a value it is taken from here"},
	{"env-file", 0, F(LIST, env_file), .arg = "FILE",
	 .help = "file with environment variables"},
	{"label", 'l', F(LIST, labels), .arg = LABEL, .help = "label of the service"},
	{"container-label", 0, F(LIST, container_labels), .arg = LABEL,
	 .help = "label of the containers"},
	{"group", 0, F(LIST, groups), .arg = "GROUP",
	 .help = "supplementary group of the container's user"},
	{"mount", 0, F(LIST, mounts), .arg = "MOUNT",
	 .help = "type=bind|volume|tmpfs,source=...,target=...[,readonly]..."},
	{"ulimit", 0, F(LIST, ulimits), .arg = "NAME=SOFT[:HARD]",
	 .help = "resource limit of processes"},
	{"sysctl", 0, F(LIST, sysctls), .arg = LABEL,
	 .help = "kernel parameter of the container's namespaces"},
	{"cap-add", 0, F(LIST, cap_add), .arg = "CAP", .help = "capability to add"},
	{"cap-drop", 0, F(LIST, cap_drop), .arg = "CAP", .help = "capability to drop"},
	{"constraint", 0, F(LIST, constraints), .arg = "EXPR",
	 .help = "condition on nodes, such as node.labels.rack==a"},
	{"placement-pref", 0, F(LIST, placement_prefs), .arg = "spread=LABEL",
	 .help = "spread tasks over the values of a label"},
	{"network", 0, F(LIST, networks), .arg = NETWORK,
	 .help = "network of the containers: NAME, or name=NAME,alias=...,ip=...,ip6=...; host and none "
		 "stand alone"},
	{"publish", 'p', F(LIST, publish), .arg = PUBLISH,
	 .help = "make a port of the containers reachable on all nodes: 8080:80, 8000-8010:80-90/udp, or "
		 "published=,target=,protocol=tcp|udp|sctp,mode=ingress|host,host-ip="},
	{"dns", 0, F(LIST, dns), .arg = "IP", .help = "name server for names outside the cluster"},
	{"dns-search", 0, F(LIST, dns_search), .arg = "DOMAIN",
	 .help = "domain that short names are looked up in (. = none)"},
	{"dns-option", 0, F(LIST, dns_options), .arg = "OPTION",
	 .help = "option of resolv.conf, such as ndots:2"},
	{"host", 0, F(LIST, hosts), .arg = "NAME:IP", .help = "line of the containers' /etc/hosts"},
	SHARED_SCALARS(PLAIN),
	{"update-failure-action", 0, F(ENUM, update.failure_action), .choices = "pause|continue|rollback", .def = "pause",
	 .help = "what to do when an update fails"},
	{"rollback-failure-action", 0, F(ENUM, rollback.failure_action), .choices = "pause|continue", .def = "pause",
	 .help = "what to do when a rollback fails"},
	{"detach", 'd', F(BOOL, detach),
	 .help = "return at once instead of waiting until the service runs"},
	{"quiet", 'q', F(BOOL, quiet), .help = "no progress"},
	{"verify", 0, F(DURATION, verify), .def = "0s",
	 .help = "once it has converged, watch it for so long: a task that ends meanwhile is a failure"},
	{0},
};

const struct option_def service_update_options[] = {
	HELP_OPTION,
	{"image", 0, F(STR, image), .arg = "IMAGE", .help = "new image"},
	{"args", 0, F(STR, args), .arg = "COMMAND",
	 .help = "new arguments, split like shell words"},
	{"replicas", 0, F(U64, replicas), .help = "number of tasks"},
	{"force", 0, F(BOOL, force), .help = "replace all tasks even if nothing changed"},
	{"rollback", 0, F(BOOL, rollback_now),
	 .help = "go back to the specification before the last update"},
	{"env-add", 0, F(LIST, env), .arg = "NAME[=VALUE]",
	 .help = "add or change an environment variable"},
	{"env", 'e', F(LIST, env), .hidden = true}, /* what one types by habit from create */
	{"env-rm", 0, F(LIST, env_rm), .arg = "NAME", .help = "remove an environment variable"},
	{"label-add", 0, F(LIST, labels), .arg = LABEL,
	 .help = "add or change a label of the service"},
	{"label-rm", 0, F(LIST, labels_rm), .arg = "KEY", .help = "remove a label of the service"},
	{"container-label-add", 0, F(LIST, container_labels), .arg = LABEL,
	 .help = "add or change a label of the containers"},
	{"container-label-rm", 0, F(LIST, container_labels_rm), .arg = "KEY",
	 .help = "remove a label of the containers"},
	{"group-add", 0, F(LIST, groups), .arg = "GROUP", .help = "add a supplementary group"},
	{"group-rm", 0, F(LIST, groups_rm), .arg = "GROUP", .help = "remove a supplementary group"},
	{"mount-add", 0, F(LIST, mounts), .arg = "MOUNT", .help = "add or change a mount"},
	{"mount-rm", 0, F(LIST, mounts_rm), .arg = "TARGET",
	 .help = "remove a mount by its target"},
	{"ulimit-add", 0, F(LIST, ulimits), .arg = "NAME=SOFT[:HARD]",
	 .help = "add or change a resource limit"},
	{"ulimit-rm", 0, F(LIST, ulimits_rm), .arg = "NAME", .help = "remove a resource limit"},
	{"sysctl-add", 0, F(LIST, sysctls), .arg = LABEL,
	 .help = "add or change a kernel parameter"},
	{"sysctl-rm", 0, F(LIST, sysctls_rm), .arg = "KEY", .help = "remove a kernel parameter"},
	{"cap-add", 0, F(LIST, cap_add), .arg = "CAP", .help = "capability to add"},
	{"cap-drop", 0, F(LIST, cap_drop), .arg = "CAP", .help = "capability to drop"},
	{"constraint-add", 0, F(LIST, constraints), .arg = "EXPR",
	 .help = "add a condition on nodes"},
	{"constraint-rm", 0, F(LIST, constraints_rm), .arg = "EXPR",
	 .help = "remove a condition on nodes"},
	{"placement-pref-add", 0, F(LIST, placement_prefs), .arg = "spread=LABEL",
	 .help = "add a placement preference"},
	{"placement-pref-rm", 0, F(LIST, placement_prefs_rm), .arg = "spread=LABEL",
	 .help = "remove a placement preference"},
	{"network-add", 0, F(LIST, networks), .arg = NETWORK, .help = "add or change a network"},
	{"network-rm", 0, F(LIST, networks_rm), .arg = NETWORK, .help = "remove a network"},
	{"publish-add", 0, F(LIST, publish), .arg = PUBLISH, .help = "add a published port"},
	{"publish-rm", 0, F(LIST, publish_rm), .arg = "TARGET[/PROTOCOL]",
	 .help = "remove a published port by the container's port"},
	{"dns-add", 0, F(LIST, dns), .arg = "IP", .help = "add a name server"},
	{"dns-rm", 0, F(LIST, dns_rm), .arg = "IP", .help = "remove a name server"},
	{"dns-search-add", 0, F(LIST, dns_search), .arg = "DOMAIN", .help = "add a search domain"},
	{"dns-search-rm", 0, F(LIST, dns_search_rm), .arg = "DOMAIN",
	 .help = "remove a search domain"},
	{"dns-option-add", 0, F(LIST, dns_options), .arg = "OPTION",
	 .help = "add an option of resolv.conf"},
	{"dns-option-rm", 0, F(LIST, dns_options_rm), .arg = "OPTION",
	 .help = "remove an option of resolv.conf"},
	{"host-add", 0, F(LIST, hosts), .arg = "NAME:IP", .help = "add a line to /etc/hosts"},
	{"host-rm", 0, F(LIST, hosts_rm), .arg = "NAME[:IP]",
	 .help = "remove lines from /etc/hosts"},
	SHARED_SCALARS(NO_DEFAULT),
	{"update-failure-action", 0, F(ENUM, update.failure_action), .choices = "pause|continue|rollback",
	 .help = "what to do when an update fails"},
	{"rollback-failure-action", 0, F(ENUM, rollback.failure_action), .choices = "pause|continue",
	 .help = "what to do when a rollback fails"},
	{"detach", 'd', F(BOOL, detach),
	 .help = "return at once instead of waiting until the service runs"},
	{"quiet", 'q', F(BOOL, quiet), .help = "no progress"},
	{"verify", 0, F(DURATION, verify), .def = "0s",
	 .help = "once it has converged, watch it for so long: a task that ends meanwhile is a failure"},
	{0},
};
