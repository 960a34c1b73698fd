/* internal - what the files of the migrator share. */
#pragma once
#include "manager/store/plan.h"

/* A NEW migration: give it a node and a task there, refuse it, or let it wait. `running` counts it from then on. */
struct running;
void begin_plan(struct plan *p, const pb_migration *m, struct running *running);

/* Migrations under way, by their nodes. */
struct running {
	struct {
		const char *source, *target;
	} v[64];
	size_t n;
};
void running_add(struct running *running, const pb_migration *m);

/* Stage the end of a migration that moved nothing. */
void begin_refuse(struct plan *p, const pb_migration *m, const char *why);

/* Ask for migrations of tasks that have to leave their nodes. */
void drain_plan(struct plan *p);
