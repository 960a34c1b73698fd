/*
 * orchestrator - tasks wanted against tasks there, for the services in the plan's scope: see
 * replicated.h, global.h, restart.h, updater.h. Tasks of a service that is gone are to be removed.
 */
#pragma once
struct plan;

void orchestrator_plan(struct plan *p);
