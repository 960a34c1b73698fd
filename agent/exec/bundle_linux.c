#include "agent/exec/bundle_int.h"
#include "agent/exec/seccomp.h"
#include "common/error.h"
#include "common/mem.h"
#include "common/str.h"

#include <inttypes.h>

#define CPU_PERIOD_US 100000
#define CPU_MIN_QUOTA_US 1000 /* the kernel's own lower bound */
#define MEM_MIN_BYTES (INT64_C(4) << 20)

/* Docker's lists. */
static const char *const masked[] = {
	"/proc/asound",	    "/proc/acpi",	 "/proc/interrupts",
	"/proc/kcore",	    "/proc/keys",	 "/proc/latency_stats",
	"/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug",
	"/proc/scsi",	    "/sys/firmware",	 "/sys/devices/virtual/powercap",
};
static const char *const read_only[] = {
	"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger",
};

static json_t *strings(const char *const *v, size_t n)
{
	json_t *list = json_array();

	for (size_t i = 0; i < n; i++)
		json_array_append_new(list, json_string(v[i]));
	return list;
}

/* ---------------------------------------------------------------- mounts */

struct default_mount {
	const char *target, *type, *source;
	const char *options[8];
};

static const struct default_mount defaults[] = {
	{"/proc", "proc", "proc", {"nosuid", "noexec", "nodev"}},
	{"/dev", "tmpfs", "tmpfs", {"nosuid", "strictatime", "mode=755", "size=65536k"}},
	{"/dev/pts",
	 "devpts",
	 "devpts",
	 {"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"}},
	{"/sys", "sysfs", "sysfs", {"nosuid", "noexec", "nodev", "ro"}},
	{"/sys/fs/cgroup", "cgroup", "cgroup", {"nosuid", "noexec", "nodev", "ro"}},
	{"/dev/mqueue", "mqueue", "mqueue", {"nosuid", "noexec", "nodev"}},
	{"/dev/shm", "tmpfs", "shm", {"nosuid", "noexec", "nodev", "mode=1777", "size=67108864"}},
};

static bool is_planned(const struct mount_plan *plan, const char *target)
{
	for (size_t i = 0; i < plan->n; i++)
		if (str_eq(plan->items[i].target, target))
			return true;
	return false;
}

static void add_mount(json_t *list, const char *target, const char *type, const char *source,
		      json_t *options)
{
	json_array_append_new(list, json_pack("{s:o,s:s,s:o,s:o}", "destination",
					      bundle_str(target), "type", type, "source",
					      bundle_str(source), "options", options));
}

static void add_defaults(json_t *list, const struct mount_plan *plan)
{
	for (size_t i = 0; i < ARRAY_SIZE(defaults); i++) {
		const struct default_mount *m = &defaults[i];
		size_t n = 0;

		if (is_planned(plan, m->target))
			continue;
		while (n < ARRAY_SIZE(m->options) && m->options[n])
			n++;
		add_mount(list, m->target, m->type, m->source, strings(m->options, n));
	}
}

/* Files that the agent makes for each container. */
static void add_etc(json_t *list, const struct bundle_input *in)
{
	static const char *const names[] = {"resolv.conf", "hostname", "hosts"};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		_cleanup_free_ char *source = xasprintf("%s/%s", in->etc_dir, names[i]);
		_cleanup_free_ char *target = xasprintf("/etc/%s", names[i]);

		if (!is_planned(in->mounts, target))
			add_mount(list, target, "bind", source,
				  json_pack("[s,s]", "rbind", "rprivate"));
	}
}

json_t *bundle_mounts(const struct bundle_input *in)
{
	json_t *list = json_array();

	add_defaults(list, in->mounts);
	add_etc(list, in);
	if (in->task->spec->container->init && in->init_path)
		add_mount(list, "/sbin/docker-init", "bind", in->init_path,
			  json_pack("[s,s,s]", "bind", "rprivate", "ro"));
	for (size_t i = 0; i < in->mounts->n; i++) {
		const struct mount_item *m = &in->mounts->items[i];
		bool tmpfs = m->type == MOUNT_TMPFS;

		add_mount(list, m->target, tmpfs ? "tmpfs" : "bind", tmpfs ? "tmpfs" : m->source,
			  strings((const char *const *)m->options.v, m->options.n));
	}
	return list;
}

/* ---------------------------------------------------------------- limits */

static int check_limits(const pb_resources *limits, struct error *err)
{
	if (limits->cpu_nano < 0 || limits->pids < 0 || limits->mem_bytes < 0)
		return error_set(err, ERR_INVALID,
				 "limits: cpu %" PRId64 ", memory %" PRId64 ", pids %" PRId64
				 " (accepted: 0 = none, or more)",
				 limits->cpu_nano, limits->mem_bytes, limits->pids);
	if (limits->mem_bytes && limits->mem_bytes < MEM_MIN_BYTES)
		return error_set(err, ERR_INVALID,
				 "memory limit %" PRId64 " bytes (accepted: at least 4 MiB)",
				 limits->mem_bytes);
	return 0;
}

static json_t *build_resources(const struct bundle_input *in, struct error *err)
{
	static const pb_resources none = SKEIN__RESOURCES__INIT;
	const Skein__ResourceRequirements *req = in->task->spec->resources;
	const pb_resources *limits = req && req->limits ? req->limits : &none;
	json_t *res;

	if (check_limits(limits, err) < 0)
		return NULL;
	/* Nothing but the runtime's own list of devices (null, zero, tty, ...). */
	res = json_pack("{s:[{s:b,s:s}]}", "devices", "allow", false, "access", "rwm");
	if (limits->cpu_nano) {
		int64_t quota = limits->cpu_nano / (1000000000 / CPU_PERIOD_US);

		json_object_set_new(res, "cpu",
				    json_pack("{s:I,s:I}", "quota",
					      (json_int_t)MAX(quota, (int64_t)CPU_MIN_QUOTA_US),
					      "period", (json_int_t)CPU_PERIOD_US));
	}
	if (limits->mem_bytes) {
		json_t *memory = json_pack("{s:I}", "limit", (json_int_t)limits->mem_bytes);

		/* As Docker: as much swap again as there is memory. */
		if (in->limit_swap && limits->mem_bytes < INT64_MAX / 2)
			json_object_set_new(memory, "swap", json_integer(2 * limits->mem_bytes));
		json_object_set_new(res, "memory", memory);
	}
	if (limits->pids)
		json_object_set_new(res, "pids",
				    json_pack("{s:I}", "limit", (json_int_t)limits->pids));
	return res;
}

/* ---------------------------------------------------------------- sysctls */

static bool is_one_of(const char *name, const char *const *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (str_eq(name, list[i]))
			return true;
	return false;
}

/* Only what belongs to a namespace of the container: everything else would change the host. */
static int check_sysctl(const char *name, bool host_network, struct error *err)
{
	static const char *const ipc[] = {"kernel.msgmax", "kernel.msgmnb",	    "kernel.msgmni",
					  "kernel.sem",	   "kernel.shmall",	    "kernel.shmmax",
					  "kernel.shmmni", "kernel.shm_rmid_forced"};

	if (is_one_of(name, ipc, ARRAY_SIZE(ipc)) || str_starts(name, "fs.mqueue."))
		return 0;
	if (str_starts(name, "net.")) {
		if (!host_network)
			return 0;
		return error_set(
			err, ERR_INVALID,
			"sysctl %.100s: not allowed with network host, it would change the host",
			name);
	}
	return error_set(
		err, ERR_INVALID,
		"sysctl %.100s: accepted are net.*, fs.mqueue.*, kernel.msgmax, kernel.msgmnb, "
		"kernel.msgmni, kernel.sem, kernel.shmall, kernel.shmmax, kernel.shmmni, "
		"kernel.shm_rmid_forced",
		name);
}

static json_t *build_sysctls(const pb_container_spec *spec, bool host_network, struct error *err)
{
	json_t *object = json_object();

	if (!host_network) {
		/* As Docker: low ports and ping need no privilege in a namespace of one's own. */
		json_object_set_new(object, "net.ipv4.ip_unprivileged_port_start",
				    json_string("0"));
		json_object_set_new(object, "net.ipv4.ping_group_range",
				    json_string("0 2147483647"));
	}
	for (size_t i = 0; i < spec->n_sysctls; i++) {
		if (check_sysctl(spec->sysctls[i]->key, host_network, err) < 0) {
			json_decref(object);
			return NULL;
		}
		json_object_set_new(object, spec->sysctls[i]->key,
				    bundle_str(spec->sysctls[i]->value));
	}
	return object;
}

/* ---------------------------------------------------------------- all */

static json_t *build_namespaces(const struct bundle_input *in, bool host_network)
{
	json_t *list = json_array();
	const char *types[6] = {"pid", "mount", "ipc", "uts"};
	size_t n = 4;

	if (!host_network && !str_empty(in->netns))
		json_array_append_new(list, json_pack("{s:s,s:o}", "type", "network", "path",
						      bundle_str(in->netns)));
	else if (!host_network)
		types[n++] = "network";
	if (in->cgroup_v2) /* as Docker: on v1 the container sees its own directories by bind mounts
			    */
		types[n++] = "cgroup";
	for (size_t i = 0; i < n; i++)
		json_array_append_new(list, json_pack("{s:s}", "type", types[i]));
	return list;
}

json_t *bundle_linux(const struct bundle_input *in, bool host_network, uint64_t caps,
		     struct error *err)
{
	const pb_container_spec *spec = in->task->spec->container;
	json_t *sysctls = build_sysctls(spec, host_network, err), *resources, *kernel;

	if (!sysctls)
		return NULL;
	resources = build_resources(in, err);
	if (!resources) {
		json_decref(sysctls);
		return NULL;
	}
	kernel = json_pack("{s:o,s:o,s:o,s:s,s:o,s:o}", "namespaces",
			   build_namespaces(in, host_network), "resources", resources, "sysctl",
			   sysctls, "cgroupsPath", in->cgroup_path, "maskedPaths",
			   strings(masked, ARRAY_SIZE(masked)), "readonlyPaths",
			   strings(read_only, ARRAY_SIZE(read_only)));
	if (in->seccomp)
		json_object_set_new(kernel, "seccomp", seccomp_profile(caps));
	return kernel;
}
