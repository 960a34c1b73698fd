/* netstate_order - a growing list of operations, and the order in which the kernel takes them. Pure. */
#pragma once
#include "netstate.h"

struct oplist {
	struct netstate_op *v;
	size_t n, cap;
};

/* old may be NULL. */
void oplist_add(struct oplist *l, bool del, const struct netstate_entry *e, const struct netstate_entry *old);
/* Deletions first, from what stands on links down to links; then additions from links up, a link behind those that it
 * names as master or parent (looked up in `set`); otherwise in the order in which they were added. */
void oplist_finish(struct oplist *l, const struct netstate *set, struct netstate_ops *ret);
