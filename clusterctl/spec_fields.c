/* The manager's refusals speak of fields of a spec; who typed a flag wants to read the flag. */
#include "service_flags.h"

#include "common/error.h"
#include "common/mem.h"

#include <string.h>

/* The longer field first where one begins with the other. */
static const struct {
	const char *field, *flag;
} fields[] = {
	{"name", "name"},
	{"labels", "label"},
	{"replicated.replicas", "replicas"},
	{"task.network", "network"},
	{"task.networks", "network"},
	{"task.live_migrate", "live-migrate"},
	{"endpoint.mode", "endpoint-mode"},
	{"endpoint.ports", "publish"},
	{"task.container.dns_servers", "dns"},
	{"task.container.dns_search", "dns-search"},
	{"task.container.dns_options", "dns-option"},
	{"task.container.hosts", "host"},
	{"task.container.image", "image"},
	{"task.container.command", "entrypoint"},
	{"task.container.env", "env"},
	{"task.container.labels", "container-label"},
	{"task.container.hostname", "hostname"},
	{"task.container.user", "user"},
	{"task.container.groups", "group"},
	{"task.container.dir", "workdir"},
	{"task.container.stop_signal", "stop-signal"},
	{"task.container.stop_grace_period", "stop-grace-period"},
	{"task.container.ready_wait", "ready-wait"},
	{"task.container.health.test", "health-cmd"},
	{"task.container.health.interval", "health-interval"},
	{"task.container.health.timeout", "health-timeout"},
	{"task.container.health.retries", "health-retries"},
	{"task.container.health.start_period", "health-start-period"},
	{"task.container.health.start_interval", "health-start-interval"},
	{"task.container.mounts", "mount"},
	{"task.container.ulimits", "ulimit"},
	{"task.container.sysctls", "sysctl"},
	{"task.container.cap_add", "cap-add"},
	{"task.container.cap_drop", "cap-drop"},
	{"task.container.oom_score_adj", "oom-score-adj"},
	{"task.resources.limits.cpu_nano", "limit-cpu"},
	{"task.resources.limits.mem_bytes", "limit-memory"},
	{"task.resources.limits.pids", "limit-pids"},
	{"task.resources.reservations.cpu_nano", "reserve-cpu"},
	{"task.resources.reservations.mem_bytes", "reserve-memory"},
	{"task.restart.delay", "restart-delay"},
	{"task.restart.window", "restart-window"},
	{"task.placement.constraints", "constraint"},
	{"task.placement.spread", "placement-pref"},
	{"task.placement.max_replicas_per_node", "replicas-max-per-node"},
	{"update.parallelism", "update-parallelism"},
	{"update.delay", "update-delay"},
	{"update.monitor", "update-monitor"},
	{"rollback.parallelism", "rollback-parallelism"},
	{"rollback.delay", "rollback-delay"},
	{"rollback.monitor", "rollback-monitor"},
};

static bool has_flag(const struct option_def *defs, const char *name)
{
	for (; defs->name; defs++)
		if (str_eq(defs->name, name) && !defs->hidden)
			return true;
	return false;
}

void spec_name_flag(const struct option_def *defs, struct error *err)
{
	_cleanup_free_ char *text = NULL;

	if (err->code != ERR_INVALID && err->code != ERR_EXHAUSTED && err->code != ERR_NOT_FOUND)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
		const char *rest = err->msg + strlen(fields[i].field);
		const char *flag = fields[i].flag;

		if (!str_starts(err->msg, fields[i].field) || !strchr("[ .:", *rest) || !*rest)
			continue;
		if (*rest == '[') /* which of several: its value follows */
			rest = strchr(rest, ']') ? strchr(rest, ']') + 1 : rest;
		if (*rest == '.')
			rest++;
		text = xasprintf("--%s%s%s%s", flag, has_flag(defs, flag) ? "" : "-add",
				 *rest == ' ' || *rest == ':' ? "" : " ", rest);
		error_set(err, err->code, "%s", text);
		return;
	}
}
