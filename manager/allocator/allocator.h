/*
 * allocator - give everything what it needs of what there is only once: networks their subnets and numbers,
 * services their virtual addresses and published ports, tasks their addresses. All of it follows from the view:
 * what an object holds is in the object, and free again with it.
 *
 * A NEW task becomes PENDING when it has what it needs before a node is chosen; until then its status says what is
 * missing.
 */
#pragma once
struct plan;

/* The predefined networks, subnets, VNIs and keys of networks, indexes of nodes. */
void allocator_networks_plan(struct plan *p);
/* Virtual addresses and ports of services, addresses of tasks. */
void allocator_plan(struct plan *p);
