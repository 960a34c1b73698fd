/* migrate_rules - when a task can be moved, by what is known without asking its node. Pure. */
#pragma once
#include "proto/pb.h"

struct error;
struct view;

#define MIGRATE_FREEZE_BUDGET_MAX_NS (INT64_C(3600) * 1000000000)
#define MIGRATE_TIMEOUT_MAX_NS (INT64_C(24) * 3600 * 1000000000)
#define MIGRATE_ROUNDS_MAX 100

/* Errors: ERR_INVALID names the option, its value and what is accepted. */
int migrate_rules_options(const pb_migration_options *options, struct error *err);

/* Errors: ERR_PRECONDITION the task cannot be moved now: the cause, and where. */
int migrate_rules_task(const struct view *v, const pb_task *task, struct error *err);

/* A node that somebody named, for a task that can be moved. Errors: ERR_PRECONDITION */
int migrate_rules_target(const pb_task *task, const pb_node *node, struct error *err);

/* Errors: ERR_PRECONDITION it is over, or cannot be stopped any more. */
int migrate_rules_cancel(const pb_migration *migration, struct error *err);

/* What moves this task, from or to where it is; NULL = nothing does. */
const pb_migration *migrate_rules_of_task(const struct view *v, const char *task_id);
