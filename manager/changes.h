/*
 * changes - what deciding code has to look at again because an object changed. Plain data, no I/O.
 */
#pragma once
#include "store/plan.h"
#include "store/store.h"

struct rests;

/* rests (may be NULL) learns of addresses that came free at this wall time. */
void changes_note(struct dirty *dirty, struct rests *rests, const struct store_event *event, int64_t now);
