#include "validate.h"

#include "common/clock.h"
#include "common/error.h"
#include "common/imageref.h"
#include "common/mem.h"
#include "common/str.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define CPU_MIN_NANO INT64_C(1000000)
#define CPU_MAX_NANO (INT64_C(65536) * 1000000000)
#define MEM_MIN_BYTES (INT64_C(4) << 20)
#define MEM_MAX_BYTES (INT64_C(1) << 50)
#define PIDS_MAX INT64_C(4194304)
#define CONSTRAINTS_MAX 100
#define SPREAD_MAX 16
#define SPREAD_KEY_MAX 256

/* ---------------------------------------------------------------- one form */

/* "net_admin" -> "CAP_NET_ADMIN", as Docker takes it. */
static void normalise_cap(char **cap)
{
	_cleanup_free_ char *upper = xstrdup(*cap);
	_cleanup_free_ char *full = NULL;

	for (char *p = upper; *p; p++)
		*p = (char)toupper((unsigned char)*p);
	if (!str_eq(upper, "ALL") && !str_starts(upper, "CAP_"))
		full = xasprintf("CAP_%s", upper);
	pb_set_str(cap, full ? full : upper);
}

void validate_normalise_service(pb_service_spec *spec)
{
	struct imageref ref;
	char buf[IMAGEREF_MAX];
	pb_container_spec *c;

	pb_service_spec_defaults(spec);
	c = spec->task->container;
	if (imageref_parse(c->image, &ref, NULL) == 0)
		pb_set_str(&c->image, imageref_format(&ref, buf));
	if (str_empty(spec->task->network))
		pb_set_str(&spec->task->network, "bridge");
	for (size_t i = 0; spec->endpoint && i < spec->endpoint->n_ports; i++)
		if (str_empty(spec->endpoint->ports[i]->protocol))
			pb_set_str(&spec->endpoint->ports[i]->protocol, "tcp");
	for (size_t i = 0; i < c->n_cap_add; i++)
		normalise_cap(&c->cap_add[i]);
	for (size_t i = 0; i < c->n_cap_drop; i++)
		normalise_cap(&c->cap_drop[i]);
}

/* ---------------------------------------------------------------- checks */

static int check_mode(const pb_service_spec *spec, struct error *err)
{
	switch (spec->mode_case) {
	case SKEIN__SERVICE_SPEC__MODE_REPLICATED:
		if (spec->replicated && spec->replicated->replicas > VALIDATE_REPLICAS_MAX)
			return error_set(err, ERR_INVALID,
					 "replicated.replicas %" PRIu64 ": must be 0 to %d",
					 spec->replicated->replicas, VALIDATE_REPLICAS_MAX);
		return spec->replicated ? 0 : error_set(err, ERR_INVALID, "replicated: is empty");
	case SKEIN__SERVICE_SPEC__MODE_GLOBAL:
		return 0;
	default:
		return error_set(err, ERR_INVALID, "mode: must be replicated or global");
	}
}

static int check_resources(const char *field, const pb_resources *r, struct error *err)
{
	char human[STR_HUMAN_MAX];

	if (!r)
		return 0;
	if (r->cpu_nano && (r->cpu_nano < CPU_MIN_NANO || r->cpu_nano > CPU_MAX_NANO))
		return error_set(err, ERR_INVALID,
				 "%s.cpu_nano %" PRId64 " (%g cores): must be 0 (none) or 0.001 to "
				 "65536 cores",
				 field, r->cpu_nano, (double)r->cpu_nano / 1e9);
	if (r->mem_bytes && (r->mem_bytes < MEM_MIN_BYTES || r->mem_bytes > MEM_MAX_BYTES))
		return error_set(err, ERR_INVALID,
				 "%s.mem_bytes %" PRId64
				 " (%s): must be 0 (none) or 4 MiB to 1 PiB",
				 field, r->mem_bytes, str_bytes_human(r->mem_bytes, human));
	if (r->pids < 0 || r->pids > PIDS_MAX)
		return error_set(err, ERR_INVALID,
				 "%s.pids %" PRId64 ": must be 0 (no limit) to %" PRId64, field,
				 r->pids, PIDS_MAX);
	return 0;
}

static int check_requirements(const Skein__ResourceRequirements *r, struct error *err)
{
	const pb_resources *limits = r ? r->limits : NULL, *reserved = r ? r->reservations : NULL;

	if (check_resources("task.resources.limits", limits, err) < 0 ||
	    check_resources("task.resources.reservations", reserved, err) < 0)
		return -1;
	if (reserved && reserved->pids)
		return error_set(err, ERR_INVALID,
				 "task.resources.reservations.pids %" PRId64
				 ": processes can only be limited",
				 reserved->pids);
	if (!limits || !reserved)
		return 0;
	if (limits->mem_bytes && reserved->mem_bytes > limits->mem_bytes)
		return error_set(err, ERR_INVALID,
				 "task.resources.reservations.mem_bytes %" PRId64
				 ": must not be above the limit of %" PRId64,
				 reserved->mem_bytes, limits->mem_bytes);
	if (limits->cpu_nano && reserved->cpu_nano > limits->cpu_nano)
		return error_set(err, ERR_INVALID,
				 "task.resources.reservations.cpu_nano %" PRId64
				 ": must not be above the limit of %" PRId64,
				 reserved->cpu_nano, limits->cpu_nano);
	return 0;
}

static int check_restart(const pb_restart_policy *r, struct error *err)
{
	if (!r)
		return 0;
	if ((int)r->condition < RESTART_NONE || (int)r->condition > RESTART_ANY)
		return error_set(err, ERR_INVALID,
				 "task.restart.condition %d: must be none, on-failure or any",
				 (int)r->condition);
	if (validate_duration("task.restart.delay", r->delay, err) < 0)
		return -1;
	return validate_duration("task.restart.window", r->window, err);
}

static int check_spread(const char *key, size_t i, struct error *err)
{
	static const char accepted[] = "must be node.labels.<name> or engine.labels.<name>";
	const char *name = str_starts(key, "node.labels.")     ? key + strlen("node.labels.")
			   : str_starts(key, "engine.labels.") ? key + strlen("engine.labels.")
							       : "";

	if (str_empty(name) || strlen(key) > SPREAD_KEY_MAX || strpbrk(name, "= \t\n"))
		return validate_refuse(err, key, accepted, "task.placement.spread[%zu]", i);
	return 0;
}

static int check_placement(const pb_placement *p, bool global, const struct validate_ops *ops,
			   struct error *err)
{
	if (!p)
		return 0;
	if (p->n_constraints > CONSTRAINTS_MAX)
		return error_set(err, ERR_EXHAUSTED,
				 "task.placement.constraints: %zu of them: at most %d",
				 p->n_constraints, CONSTRAINTS_MAX);
	for (size_t i = 0; i < p->n_constraints; i++)
		if (ops->constraint_check(ops->data, p->constraints[i], err) < 0)
			return error_wrap(err, "task.placement.constraints[%zu]", i);
	if (p->n_spread > SPREAD_MAX)
		return error_set(err, ERR_EXHAUSTED,
				 "task.placement.spread: %zu of them: at most %d", p->n_spread,
				 SPREAD_MAX);
	for (size_t i = 0; i < p->n_spread; i++)
		if (check_spread(p->spread[i], i, err) < 0)
			return -1;
	if (p->max_replicas_per_node && global)
		return error_set(err, ERR_INVALID,
				 "task.placement.max_replicas_per_node %" PRIu64
				 ": only for replicated services",
				 p->max_replicas_per_node);
	if (p->max_replicas_per_node > VALIDATE_REPLICAS_MAX)
		return error_set(err, ERR_INVALID,
				 "task.placement.max_replicas_per_node %" PRIu64
				 ": must be 0 (no limit) to %d",
				 p->max_replicas_per_node, VALIDATE_REPLICAS_MAX);
	return 0;
}

/* What a container has of its host's cannot go with it. Whether a node can carry it out is the scheduler's matter. */
static int check_live_migrate(const pb_task_spec *task, struct error *err)
{
	if (!task->live_migrate)
		return 0;
	if (str_eq(task->network, "host"))
		return error_set(err, ERR_INVALID,
				 "task.live_migrate true: not with network host, whose connections stay with the node");
	if (task->container->tty)
		return error_set(err, ERR_INVALID,
				 "task.live_migrate true: not with a terminal (tty), which cannot be taken to another node");
	return 0;
}

static int check_task(const pb_task_spec *task, bool global, const struct validate_ops *ops,
		      struct error *err)
{
	if (!task || !task->container)
		return error_set(err, ERR_INVALID, "task.container: is missing");
	if (validate_container(task->container, task->network, err) < 0 ||
	    check_requirements(task->resources, err) < 0 || check_restart(task->restart, err) < 0 ||
	    check_live_migrate(task, err) < 0)
		return -1;
	return check_placement(task->placement, global, ops, err);
}

static int check_update(const char *field, const pb_update_config *u, bool is_rollback,
			struct error *err)
{
	char name[64];

	if (!u)
		return 0;
	if (u->parallelism > VALIDATE_REPLICAS_MAX)
		return error_set(err, ERR_INVALID,
				 "%s.parallelism %" PRIu64 ": must be 0 (all) to %d", field,
				 u->parallelism, VALIDATE_REPLICAS_MAX);
	snprintf(name, sizeof(name), "%s.delay", field);
	if (validate_duration(name, u->delay, err) < 0)
		return -1;
	snprintf(name, sizeof(name), "%s.monitor", field);
	if (validate_duration(name, u->monitor, err) < 0)
		return -1;
	/* Written so that NaN is refused. */
	if (!(u->max_failure_ratio >= 0 && u->max_failure_ratio <= 1))
		return error_set(err, ERR_INVALID, "%s.max_failure_ratio %g: must be 0 to 1", field,
				 (double)u->max_failure_ratio);
	switch (u->failure_action) {
	case SKEIN__UPDATE_FAILURE_ACTION__FAILURE_PAUSE:
	case SKEIN__UPDATE_FAILURE_ACTION__FAILURE_CONTINUE:
		break;
	case SKEIN__UPDATE_FAILURE_ACTION__FAILURE_ROLLBACK:
		if (!is_rollback)
			break;
		/* fall through */
	default:
		return error_set(err, ERR_INVALID,
				 "%s.failure_action %d: must be pause%s continue%s", field,
				 (int)u->failure_action, is_rollback ? " or" : ",",
				 is_rollback ? "" : " or rollback");
	}
	if (u->order != SKEIN__UPDATE_ORDER__STOP_FIRST &&
	    u->order != SKEIN__UPDATE_ORDER__START_FIRST)
		return error_set(err, ERR_INVALID, "%s.order %d: must be stop-first or start-first",
				 field, (int)u->order);
	return 0;
}

int validate_service(const pb_service_spec *spec, const struct validate_ops *ops, struct error *err)
{
	bool global = spec->mode_case == SKEIN__SERVICE_SPEC__MODE_GLOBAL;
	size_t bytes = protobuf_c_message_get_packed_size(&spec->base);

	if (bytes > VALIDATE_SPEC_MAX_BYTES)
		return error_set(err, ERR_EXHAUSTED, "spec has %zu bytes: at most %u", bytes,
				 VALIDATE_SPEC_MAX_BYTES);
	if (validate_name("name", spec->name, err) < 0 ||
	    validate_labels("labels", spec->labels, spec->n_labels, err) < 0 ||
	    check_mode(spec, err) < 0 || check_task(spec->task, global, ops, err) < 0 ||
	    validate_endpoint(spec, err) < 0 ||
	    check_update("update", spec->update, false, err) < 0)
		return -1;
	return check_update("rollback", spec->rollback, true, err);
}
