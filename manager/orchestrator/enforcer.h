/*
 * enforcer - tasks on a node that changed and no longer suits them are REJECTED; the orchestrators
 * then replace them. Only on ACTIVE nodes: pause leaves tasks alone, drain is the orchestrators'
 * work.
 */
#pragma once
struct plan;

/* Looks at the dirty nodes only (at all of them when everything is dirty). */
void enforcer_plan(struct plan *p);
