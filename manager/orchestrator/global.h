/*
 * global - one task on each node that is up, not drained and meets the constraints. The node is the
 * slot.
 */
#pragma once
#include "manager/store/plan.h"

void global_plan(struct plan *p, const pb_service *service);
