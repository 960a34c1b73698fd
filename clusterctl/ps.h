/* ps - lists of tasks: service ps, node ps, task ls. */
#pragma once
#include "verbs.h"

#include "proto/pb.h"

struct ctl;

extern const struct list_field ps_fields[];
#define PS_FILTERS "id|name|node|desired-state|service|label"

/* services, nodes: references; NULL = all. */
enum ctl_exit ps_run(struct ctl *ctl, const struct verb *verb, const struct list_flags *flags,
		     const struct strv *services, const struct strv *nodes, struct error *err);

/* ---- pure parts */

/* "Running" of a state. Static string. */
const char *ps_state_text(int state);
/* "web.3", or "web.<node id>" of a global service. Yours. */
char *ps_task_name(const pb_task *task);
/* By name, slot and node; in one slot the newest first. */
void ps_sort(pb_task **tasks, size_t n);
/*
 * A row per task, sorted already; older tasks of a slot get " \_ " before the name.
 *   services  whose ports of mode=host stand with their running tasks; NULL = no ports
 */
void ps_fill(struct listing *l, pb_task *const *tasks, size_t n, pb_kv *const *node_names,
	     size_t n_names, const Skein__ListServicesResponse *services,
	     const struct list_flags *flags, int64_t now_ns);
