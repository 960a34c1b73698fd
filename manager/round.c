#include "round.h"

#include "allocator/allocator.h"
#include "migrator/migrator.h"
#include "orchestrator/enforcer.h"
#include "orchestrator/orchestrator.h"
#include "orchestrator/reaper.h"
#include "scheduler/constraint.h"
#include "scheduler/scheduler.h"
#include "store/plan.h"

void round_plan(struct plan *p)
{
	p->meets_constraints = constraint_all_match;
	p->place = scheduler_place;
	plan_scope(p);
	/* A large plan is committed in parts, in this order, and perhaps not to its end: networks come
	 * before the addresses that are in them. */
	allocator_networks_plan(p);
	migrator_plan(p);
	enforcer_plan(p);
	orchestrator_plan(p);
	allocator_plan(p);
	scheduler_plan(p);
	reaper_plan(p);
	migrator_reap(p);
}
