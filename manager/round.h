/*
 * round - one round of deciding: all stages, in order, in one staged transaction.
 *   migrator -> enforcer -> orchestrators -> allocator -> scheduler -> reaper
 */
#pragma once
struct plan;

/* p: everything but scope filled in; plan_fini() afterwards. meets_constraints and place are set here. */
void round_plan(struct plan *p);
