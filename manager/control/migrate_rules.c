#include "migrate_rules.h"

#include "common/clock.h"
#include "common/error.h"
#include "common/str.h"
#include "manager/store/plan.h"
#include "manager/store/view.h"

#include <ctype.h>

static int check_time(const char *name, int64_t ns, int64_t max, struct error *err)
{
	char value[STR_HUMAN_MAX], most[STR_HUMAN_MAX];

	if (ns >= 0 && ns <= max)
		return 0;
	return error_set(err, ERR_INVALID, "options.%s %s: must be 0 (the default) to %s", name, str_duration(ns, value),
			 str_duration(max, most));
}

int migrate_rules_options(const pb_migration_options *options, struct error *err)
{
	if (!options)
		return 0;
	if (check_time("freeze_budget", options->freeze_budget, MIGRATE_FREEZE_BUDGET_MAX_NS, err) < 0 ||
	    check_time("timeout", options->timeout, MIGRATE_TIMEOUT_MAX_NS, err) < 0)
		return -1;
	if (options->max_rounds > MIGRATE_ROUNDS_MAX)
		return error_set(err, ERR_INVALID, "options.max_rounds %u: must be 0 (the default) to %d",
				 options->max_rounds, MIGRATE_ROUNDS_MAX);
	return 0;
}

/* ---- the task */

const pb_migration *migrate_rules_of_task(const struct view *v, const char *task_id)
{
	const pb_migration *from = view_migration_from(v, task_id);

	return from ?: view_migration_to(v, task_id);
}

static const char *name_of(const struct view *v, const char *node_id)
{
	const pb_node *node = view_node(v, node_id);

	return node ? pb_node_name(node) : node_id;
}

static int check_state(const pb_task *task, const char *name, const char *where, struct error *err)
{
	char state[32];
	size_t i = 0;

	for (const char *p = pb_task_state_name(task_state(task)); *p && i + 1 < sizeof(state); p++)
		state[i++] = (char)tolower((unsigned char)*p);
	state[i] = '\0';
	if (task_state(task) != TASK_RUNNING)
		return error_set(err, ERR_PRECONDITION, "task %s%s%s is %s: only a running task can be moved", name,
				 *where ? " on node " : "", where, state);
	if (!task_live(task))
		return error_set(err, ERR_PRECONDITION, "task %s on node %s is being stopped: it cannot be moved", name, where);
	return 0;
}

static int check_not_moving(const struct view *v, const pb_task *task, const char *name, struct error *err)
{
	const pb_migration *m = migrate_rules_of_task(v, task->id);

	if (!m)
		return 0;
	return error_set(err, ERR_PRECONDITION, "task %s is being moved already, from node %s%s%s (migration %s: %s)", name,
			 name_of(v, m->source_node), str_empty(m->target_node) ? "" : " to node ",
			 str_empty(m->target_node) ? "" : name_of(v, m->target_node), m->id,
			 pb_migration_phase_name((int)m->phase));
}

int migrate_rules_task(const struct view *v, const pb_task *task, struct error *err)
{
	const pb_service *service = view_service(v, task->service_id);
	const pb_node *node = view_node(v, task->node_id);
	char name[PB_TASK_NAME_MAX];
	const char *where = node ? pb_node_name(node) : task->node_id;

	pb_task_name(task, name);
	if (!service)
		return error_set(err, ERR_PRECONDITION, "task %s: its service was removed", name);
	if (service_is_global(service))
		return error_set(err, ERR_PRECONDITION,
				 "task %s on node %s belongs to a global service: every node has its own task, none moves", name,
				 where);
	if (!task->spec || !task->spec->live_migrate)
		return error_set(err, ERR_PRECONDITION,
				 "task %s on node %s runs without --live-migrate: it cannot be moved (service update "
				 "--live-migrate %s replaces it by one that can)",
				 name, where, task->service_name);
	if (check_state(task, name, where, err) < 0)
		return -1;
	if (!node || node_state(node) != NODE_READY)
		return error_set(err, ERR_PRECONDITION, "task %s cannot be moved: its node %s is %s", name, where,
				 node ? pb_node_state_name(node_state(node)) : "not known");
	return check_not_moving(v, task, name, err);
}

int migrate_rules_target(const pb_task *task, const pb_node *node, struct error *err)
{
	char name[PB_TASK_NAME_MAX];

	pb_task_name(task, name);
	if (str_eq(node->id, task->node_id))
		return error_set(err, ERR_PRECONDITION, "task %s is on node %s already", name, pb_node_name(node));
	if (node_state(node) != NODE_READY)
		return error_set(err, ERR_PRECONDITION, "node %s is %s: it cannot take task %s", pb_node_name(node),
				 pb_node_state_name(node_state(node)), name);
	if (node_availability(node) != AVAILABILITY_ACTIVE)
		return error_set(err, ERR_PRECONDITION, "node %s has availability %s: it takes no new tasks, %s neither",
				 pb_node_name(node), pb_availability_name(node_availability(node)), name);
	return 0;
}

int migrate_rules_cancel(const pb_migration *m, struct error *err)
{
	const char *phase = pb_migration_phase_name((int)m->phase);

	if (pb_migration_ended(m))
		return error_set(err, ERR_PRECONDITION, "migration %s is over: %s", m->id, phase);
	if ((int)m->phase == MIGRATION_SWITCH)
		return error_set(err, ERR_PRECONDITION,
				 "migration %s cannot be stopped any more: its container has all gone over and starts at the "
				 "target (%s)",
				 m->id, phase);
	return 0;
}
