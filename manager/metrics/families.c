#include "families.h"

#include "common/mem.h"
#include "common/metrics/process.h"

/*
 * A family is a constant of its own, so that code names it, and stands in a table, which is copied of those constants: a
 * macro writes it down once for both.
 */
#define FAMILY(var, name_, type_, ...) const struct metric_family var = {.name = name_, .type = METRIC_##type_, __VA_ARGS__};
#define ROW(var, name_, type_, ...) {.name = name_, .type = METRIC_##type_, __VA_ARGS__},
#define TABLE(symbol, title_, FAMILIES)                                                                                 \
	FAMILIES(FAMILY)                                                                                                \
	static const struct metric_family symbol##_families[] = {FAMILIES(ROW)};                                        \
	static const struct metric_table symbol = {title_, symbol##_families, ARRAY_SIZE(symbol##_families)};

#define BOUNDS(array) .bounds = array, .n_bounds = ARRAY_SIZE(array)

/* From a warm image on an idle node to a cold pull. */
static const double start_bounds[] = {0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300};
static const double plan_bounds[] = {0.0001, 0.0005, 0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1};
static const double api_bounds[] = {0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10};
static const double etcd_bounds[] = {0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5};

/* clang-format off */
#define CLUSTER(X)                                                                                                      \
	X(family_cluster, "skein_cluster", INFO, .help = "The cluster", .labels = "cluster", .series = "1")              \
	X(family_services, "skein_services", GAUGE, .help = "Services", .series = "1")                                  \
	X(family_networks, "skein_networks", GAUGE, .help = "Networks, the predefined ones included", .series = "1")    \
	X(family_desired, "skein_service_desired_tasks", GAUGE,                                                         \
	  .help = "Tasks that a service should have: its replicas, or a global service's eligible nodes",               \
	  .labels = "service,service_id", .series = "1 per service")                                                    \
	X(family_running, "skein_service_running_tasks", GAUGE, .help = "Tasks of a service that are wanted and run",   \
	  .labels = "service,service_id", .series = "1 per service")                                                    \
	X(family_tasks, "skein_tasks", GAUGE, .help = "Tasks by state, history included", .labels = "state",            \
	  .series = "13")                                                                                               \
	X(family_pending, "skein_pending_tasks", GAUGE,                                                                 \
	  .help = "Tasks that wait for a node, by what refused most nodes (waiting: not looked at yet)",                \
	  .labels = "reason", .series = "11")                                                                           \
	X(family_nodes, "skein_nodes", GAUGE, .help = "Nodes", .labels = "state,availability,role", .series = "24")     \
	X(family_node_ready, "skein_node_ready", GAUGE, .help = "1 when the node is ready, whatever its availability",  \
	  .labels = "node,node_id", .series = "1 per node")                                                             \
	X(family_node_certificate, "skein_node_certificate_expiry_timestamp_seconds", GAUGE, .unit = "seconds",         \
	  .help = "When the node's certificate ends, as it said itself", .labels = "node,node_id", .series = "1 per node")

#define DECIDING(X)                                                                                                     \
	X(family_start, "skein_task_create_to_running_seconds", HISTOGRAM, .unit = "seconds",                                       \
	  .help = "From a task's creation until it runs: deciding, image, network, start", .series = "1",               \
	  BOUNDS(start_bounds))                                                                                         \
	X(family_plan, "skein_round_plan_seconds", HISTOGRAM, .unit = "seconds",                                        \
	  .help = "Planning of one round of all decisions; only the leader decides", .series = "1", BOUNDS(plan_bounds))\
	X(family_rounds, "skein_round_commits", COUNTER,                                                                \
	  .help = "Rounds that changed something: committed, planned again after a conflict, failed",                   \
	  .labels = "result", .series = "3")                                                                            \
	X(family_round_objects, "skein_round_objects", COUNTER, .help = "Objects that rounds wrote or deleted",         \
	  .series = "1")

#define MANAGER(X)                                                                                                      \
	X(family_manager, "skein_manager", INFO, .help = "This manager", .labels = "node,node_id,version",              \
	  .series = "1")                                                                                                \
	X(family_leader, "skein_manager_leader", GAUGE, .help = "1 on the manager that decides", .series = "1")         \
	X(family_leader_changes, "skein_manager_leader_changes", COUNTER,                                               \
	  .help = "Times that this manager saw another leader than before, itself included", .series = "1")             \
	X(family_managers, "skein_managers", GAUGE, .help = "Managers", .series = "1")                                  \
	X(family_managers_reachable, "skein_managers_reachable", GAUGE,                                                 \
	  .help = "Managers that this one has a stream to, itself included", .series = "1")                             \
	X(family_sessions, "skein_sessions", GAUGE, .help = "Agents with a session at this manager", .series = "1")     \
	X(family_registrations, "skein_session_registrations", COUNTER, .help = "Sessions that agents began",           \
	  .series = "1")                                                                                                \
	X(family_beats, "skein_session_beats", COUNTER, .help = "Beats of agents", .series = "1")                       \
	X(family_reports, "skein_session_reports", COUNTER, .help = "Statuses of tasks that agents reported",           \
	  .series = "1")                                                                                                \
	X(family_reports_dropped, "skein_session_reports_dropped", COUNTER,                                             \
	  .help = "Reported statuses that were not written: older than what is known, or of no task of the node",       \
	  .series = "1")                                                                                                \
	X(family_nodes_lost, "skein_nodes_lost", COUNTER, .help = "Nodes that this manager has declared down",          \
	  .series = "1")                                                                                                \
	X(family_certificate, "skein_manager_certificate_expiry_timestamp_seconds", GAUGE, .unit = "seconds",           \
	  .help = "When this manager's certificate ends", .series = "1")                                                \
	X(family_ca_certificate, "skein_ca_certificate_expiry_timestamp_seconds", GAUGE, .unit = "seconds",             \
	  .help = "When the cluster's root certificate ends", .series = "1")                                            \
	X(family_api_requests, "skein_api_requests", COUNTER,                                                           \
	  .help = "Calls that ended (streams as well), by the name of their code", .labels = "service,method,code",                \
	  .series = "at most 17 per method, a few in use")                                                              \
	X(family_api_seconds, "skein_api_request_seconds", HISTOGRAM, .unit = "seconds",                                \
	  .help = "Time to answer unary calls that succeeded", .labels = "service,method",                              \
	  .series = "1 per method in use", BOUNDS(api_bounds))

#define ETCD(X)                                                                                                         \
	X(family_etcd_seconds, "skein_etcd_request_seconds", HISTOGRAM, .unit = "seconds",                              \
	  .help = "Requests to etcd, retries included", .labels = "operation", .series = "4", BOUNDS(etcd_bounds))      \
	X(family_etcd_failures, "skein_etcd_request_failures", COUNTER, .help = "Requests to etcd that failed",         \
	  .labels = "operation", .series = "4")                                                                         \
	X(family_etcd_sent, "skein_etcd_sent_bytes", COUNTER, .unit = "bytes", .help = "Bodies sent to etcd",           \
	  .series = "1")                                                                                                \
	X(family_etcd_received, "skein_etcd_received_bytes", COUNTER, .unit = "bytes",                                  \
	  .help = "Bodies received from etcd, watches included", .series = "1")                                         \
	X(family_etcd_revision, "skein_etcd_revision", GAUGE, .help = "Revision that this manager's view has reached",  \
	  .series = "1")                                                                                                \
	X(family_etcd_watch_up, "skein_etcd_watch_up", GAUGE, .help = "1 while the watch of the state is connected",    \
	  .series = "1")                                                                                                \
	X(family_etcd_watch_silence, "skein_etcd_watch_silence_seconds", GAUGE, .unit = "seconds",                      \
	  .help = "Since the watch last said anything; an idle etcd speaks every 5 s", .series = "1")                   \
	X(family_etcd_watch_lag, "skein_etcd_watch_lag_seconds", HISTOGRAM, .unit = "seconds",                          \
	  .help = "From etcd's answer to a commit until the watch told it here", .series = "1", BOUNDS(etcd_bounds))    \
	X(family_etcd_commits, "skein_etcd_commits", COUNTER, .help = "Commits of this manager", .labels = "result",    \
	  .series = "3")                                                                                                \
	X(family_etcd_events, "skein_etcd_events", COUNTER, .help = "Changes of objects that the watch told",           \
	  .series = "1")                                                                                                \
	X(family_etcd_resyncs, "skein_etcd_resyncs", COUNTER,                                                           \
	  .help = "Times that everything was loaded anew, because etcd had compacted what was missing", .series = "1")  \
	X(family_etcd_database, "skein_etcd_database_bytes", GAUGE, .unit = "bytes",                                    \
	  .help = "Size of the embedded etcd's database file; etcd refuses writes beyond its quota", .series = "1")
/* clang-format on */

TABLE(cluster_table, "Cluster (every manager tells the same)", CLUSTER)
TABLE(deciding_table, "Deciding", DECIDING)
TABLE(manager_table, "Manager", MANAGER)
TABLE(etcd_table, "etcd, as the manager sees it", ETCD)

const struct metric_table *const manager_tables[] = {&cluster_table, &deciding_table, &manager_table, &etcd_table, &process_table};
const size_t manager_tables_n = ARRAY_SIZE(manager_tables);
