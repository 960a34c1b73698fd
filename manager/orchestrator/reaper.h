/*
 * reaper - delete tasks that are to be removed and have stopped (or whose node cannot tell), and
 * history beyond the cluster's limit: that many tasks per slot in total, the running one included.
 */
#pragma once
struct plan;

void reaper_plan(struct plan *p);
