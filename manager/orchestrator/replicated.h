/*
 * replicated - as many slots as replicas: make missing ones, remove surplus ones, restart, update.
 */
#pragma once
#include "manager/store/plan.h"

void replicated_plan(struct plan *p, const pb_service *service);
