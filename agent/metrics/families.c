#include "families.h"

#include "common/mem.h"
#include "common/metrics/process.h"

#define WHO "node,service,task,slot,container,image,label_*"
#define PER_CONTAINER "1 per running container"
#define PER_INTERFACE "1 per running container and network"
#define NETWORK_LABELS WHO ",interface,network"
#define COUNTER(id, name, unit, help) [id] = {"skein_container_" name, METRIC_COUNTER, unit, help, WHO, PER_CONTAINER}
#define GAUGE(id, name, unit, help) [id] = {"skein_container_" name, METRIC_GAUGE, unit, help, WHO, PER_CONTAINER}
#define TRAFFIC(id, name, unit, help) [id] = {"skein_container_network_" name, METRIC_COUNTER, unit, help, NETWORK_LABELS, PER_INTERFACE}

const struct metric_family container_families[CONTAINER_FAMILIES] = {
	COUNTER(C_CPU, "cpu_usage_seconds", "seconds", "CPU time used"),
	COUNTER(C_CPU_USER, "cpu_user_seconds", "seconds", "CPU time used in programs"),
	COUNTER(C_CPU_SYSTEM, "cpu_system_seconds", "seconds", "CPU time used in the kernel"),
	[C_CPU_LIMIT] = {"skein_container_cpu_limit_cores", METRIC_GAUGE, "cores", "CPU limit of the service", WHO,
			 "1 per running container with a CPU limit"},
	COUNTER(C_PERIODS, "cpu_periods", NULL, "Periods in which the CPU limit was enforced"),
	COUNTER(C_THROTTLED_PERIODS, "cpu_throttled_periods", NULL, "Periods in which the container had to wait because of its CPU limit"),
	COUNTER(C_THROTTLED, "cpu_throttled_seconds", "seconds", "Time that the container waited because of its CPU limit"),
	GAUGE(C_MEMORY, "memory_usage_bytes", "bytes", "Memory used, page cache included"),
	GAUGE(C_WORKING_SET, "memory_working_set_bytes", "bytes",
	      "Memory used less inactive file pages: what the kernel cannot take back at once. It is what a memory limit is about"),
	GAUGE(C_RSS, "memory_rss_bytes", "bytes", "Anonymous memory"),
	GAUGE(C_CACHE, "memory_cache_bytes", "bytes", "Page cache, tmpfs and shared memory"),
	GAUGE(C_SWAP, "memory_swap_bytes", "bytes", "Swap used"),
	[C_MEMORY_LIMIT] = {"skein_container_memory_limit_bytes", METRIC_GAUGE, "bytes", "Memory limit of the service", WHO,
			    "1 per running container with a memory limit"},
	COUNTER(C_FAULTS, "memory_page_faults", NULL, "Page faults"),
	COUNTER(C_MAJOR_FAULTS, "memory_major_page_faults", NULL, "Page faults that had to read from a disk"),
	COUNTER(C_OOM_KILLS, "oom_kills", NULL, "Processes killed for want of memory"),
	GAUGE(C_PIDS, "processes", NULL, "Processes and threads"),
	[C_PIDS_LIMIT] = {"skein_container_processes_limit", METRIC_GAUGE, NULL, "Limit of processes and threads", WHO,
			  "1 per running container with such a limit"},
	COUNTER(C_READ, "block_read_bytes", "bytes", "Bytes read from block devices"),
	COUNTER(C_WRITTEN, "block_written_bytes", "bytes", "Bytes written to block devices"),
	COUNTER(C_READS, "block_reads", NULL, "Reads from block devices"),
	COUNTER(C_WRITES, "block_writes", NULL, "Writes to block devices"),
	TRAFFIC(C_RECEIVED, "receive_bytes", "bytes", "Bytes received"),
	TRAFFIC(C_SENT, "transmit_bytes", "bytes", "Bytes sent"),
	TRAFFIC(C_RECEIVED_PACKETS, "receive_packets", NULL, "Packets received"),
	TRAFFIC(C_SENT_PACKETS, "transmit_packets", NULL, "Packets sent"),
	TRAFFIC(C_RECEIVED_ERRORS, "receive_errors", NULL, "Packets received that were damaged"),
	TRAFFIC(C_SENT_ERRORS, "transmit_errors", NULL, "Packets that could not be sent"),
	TRAFFIC(C_RECEIVED_DROPS, "receive_drops", NULL, "Packets on their way to the container that were dropped"),
	TRAFFIC(C_SENT_DROPS, "transmit_drops", NULL, "Packets of the container that were dropped"),
	[C_WAITING] = {"skein_container_pressure_waiting_seconds", METRIC_COUNTER, "seconds",
		       "Time in which some process of the container waited for the resource: cpu, memory, io (PSI; cgroup v2 only)",
		       WHO ",resource", "3 per running container"},
	[C_STALLED] = {"skein_container_pressure_stalled_seconds", METRIC_COUNTER, "seconds",
		       "Time in which all processes of the container waited for the resource: cpu, memory, io (PSI; cgroup v2 only)",
		       WHO ",resource", "3 per running container"},
	GAUGE(C_START_TIME, "start_time_seconds", "seconds", "When the container was started, since the epoch"),
	COUNTER(C_RESTARTS, "restarts", NULL, "How often the slot of the service was started again on this node"),
	[C_STATE] = {"skein_container_state", METRIC_GAUGE, NULL, "The state that the task is in, in the label: 1", WHO ",state",
		     "1 per task on the node, ended ones that are kept included"},
	[C_HEALTH] = {"skein_container_health", METRIC_GAUGE, NULL,
		      "Health of the container: 1 for the one that it is of none (it has no check), starting, healthy, unhealthy (it is being "
		      "stopped); 0 for the others", WHO ",health", "4 per started container with a check, 1 per other one"},
};

const struct metric_family node_families[NODE_FAMILIES] = {
	[N_INFO] = {"skein_node", METRIC_INFO, NULL, "What the node is", "node,node_id,version,kernel,arch,cgroup", "1"},
	[N_CPU_CAPACITY] = {"skein_node_cpu_capacity_cores", METRIC_GAUGE, "cores", "CPUs that the node has", "node", "1"},
	[N_MEMORY_CAPACITY] = {"skein_node_memory_capacity_bytes", METRIC_GAUGE, "bytes", "Memory that the node has", "node", "1"},
	[N_CPU_RESERVED] = {"skein_node_cpu_reserved_cores", METRIC_GAUGE, "cores", "CPUs reserved by tasks on the node", "node", "1"},
	[N_MEMORY_RESERVED] = {"skein_node_memory_reserved_bytes", METRIC_GAUGE, "bytes", "Memory reserved by tasks on the node", "node", "1"},
	[N_CPU_ALLOCATABLE] = {"skein_node_cpu_allocatable_cores", METRIC_GAUGE, "cores", "CPUs offered to the scheduler", "node", "1"},
	[N_MEMORY_ALLOCATABLE] = {"skein_node_memory_allocatable_bytes", METRIC_GAUGE, "bytes",
				  "Memory offered to the scheduler: capacity less --reserve-memory", "node", "1"},
	[N_TASKS] = {"skein_node_tasks", METRIC_GAUGE, NULL, "Tasks on the node by state", "node,state", "1 per state, 13 at most"},
	[N_SESSION_UP] = {"skein_agent_session_up", METRIC_GAUGE, NULL, "1 while the agent has a session with a manager", "node", "1"},
	[N_SESSIONS] = {"skein_agent_sessions", METRIC_COUNTER, NULL, "Sessions with managers so far: more than one means it was lost", "node", "1"},
	[N_RUNTIME_UP] = {"skein_agent_runtime_up", METRIC_GAUGE, NULL, "1 while an OCI runtime works", "node", "1"},
	[N_NETWORK_UP] = {"skein_agent_network_up", METRIC_GAUGE, NULL, "1 when the kernel can make the networks of tasks", "node", "1"},
	[N_CERTIFICATE] = {"skein_agent_certificate_expiry_timestamp_seconds", METRIC_GAUGE, "seconds",
			   "When the node's certificate expires, since the epoch", "node", "1 in a cluster"},
};

/* From a warm image's milliseconds to a pull over a slow line. */
static const double start_bounds[] = {0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300};

const struct metric_family work_families[WORK_FAMILIES] = {
	[W_IMAGES] = {"skein_images", METRIC_GAUGE, NULL, "Images that the node holds", "node", "1"},
	[W_IMAGE_BYTES] = {"skein_images_bytes", METRIC_GAUGE, "bytes", "Size of these images; layers that several share count for each", "node", "1"},
	[W_FETCHES] = {"skein_image_fetches", METRIC_COUNTER, NULL, "Attempts to get an image, by source (registry, peers, archive) and result",
		       "node,source,result", "6"},
	[W_START_DURATION] = {"skein_task_start_duration_seconds", METRIC_HISTOGRAM, "seconds",
			      "What starting a task took, by phase: image, network, mounts, runtime", "node,phase", "4 histograms", start_bounds,
			      ARRAY_SIZE(start_bounds)},
	[W_START_FAILURES] = {"skein_task_start_failures", METRIC_COUNTER, NULL, "Starts of tasks that failed, by phase", "node,phase", "4"},
	[W_OVERLAY_TASKS] = {"skein_overlay_tasks", METRIC_GAUGE, NULL, "Tasks of this node in an overlay network", "node,network",
			     "1 per overlay network with a task here"},
	[W_OVERLAY_PEERS] = {"skein_overlay_peers", METRIC_GAUGE, NULL, "Other nodes with tasks in an overlay network", "node,network",
			     "1 per overlay network with a task here"},
	[W_LB_SERVICES] = {"skein_lb_services", METRIC_GAUGE, NULL, "Virtual addresses that IPVS balances in a network", "node,network",
			   "1 per overlay network with a task here"},
	[W_LB_ENDPOINTS] = {"skein_lb_endpoints", METRIC_GAUGE, NULL, "Endpoints behind these addresses", "node,network",
			    "1 per overlay network with a task here"},
	[W_LB_CONNECTIONS] = {"skein_lb_connections", METRIC_GAUGE, NULL, "Connections to these endpoints, by state (active, inactive)",
			      "node,network,state", "2 per overlay network with a task here"},
	[W_DNS] = {"skein_dns_queries", METRIC_COUNTER, NULL,
		   "Questions of tasks for names, by result: answered (a name of the cluster), forwarded, failed (no resolver answered), "
		   "refused (too many), dropped (no question)", "node,result", "5"},
};

static const struct metric_table containers_table = {"Containers", container_families, CONTAINER_FAMILIES};
static const struct metric_table node_table = {"The node", node_families, NODE_FAMILIES};
static const struct metric_table work_table = {"What the agent does", work_families, WORK_FAMILIES};

const struct metric_table *const agent_tables[AGENT_TABLES] = {&containers_table, &node_table, &work_table, &process_table};
