/*
 * allocator - give NEW tasks what they need before a node is chosen: then they are PENDING.
 * The networks "host" and "none" need nothing. A task of any other network waits, and its status
 * says so.
 */
#pragma once
struct plan;

void allocator_plan(struct plan *p);
