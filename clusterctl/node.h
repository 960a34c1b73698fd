/* node - what the verbs of nodes share: read one, change one. */
#pragma once
#include "proto/pb.h"

struct ctl;
struct error;

/* "self" is the node that we run on. Heap, with node and spec; NULL on error. */
Skein__NodeResponse *node_get(struct ctl *ctl, const char *ref, struct error *err);

typedef int (*node_edit_fn)(pb_node_spec *spec, const void *data, struct error *err);

/*
 * Read, change, write with the revision read; again when somebody else was faster.
 *   ret_reply  the node as it was written, heap; may be NULL
 */
int node_change(struct ctl *ctl, const char *ref, node_edit_fn edit, const void *data, Skein__NodeResponse **ret_reply,
		struct error *err);
