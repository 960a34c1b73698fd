/*
 * view - the cluster's objects in memory, with the indexes that deciding code needs.
 * Plain data, no I/O. The store fills it from etcd's watch; tests fill it by hand. Objects are const and
 * shared; replacing one frees the old unless a transaction holds it (see txn.h). Loop thread only.
 */
#pragma once
#include "proto/pb.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum kind {
	KIND_CLUSTER,  /* one object, id "cluster" */
	KIND_NODE,
	KIND_SERVICE,
	KIND_TASK,
	KIND_TOKEN,
	KIND_NETWORK,
	KIND_UI_TOKEN,
	KIND_MIGRATION,
	KIND_COUNT,
};

/* What a kind is: how its key looks and how its value is packed. */
struct kind_info {
	const char *name;                            /* part of the key: "node" */
	const ProtobufCMessageDescriptor *type;
	const char *(*id)(const void *obj);
	const char *(*unique_name)(const void *obj); /* "" = none; services and networks: spec.name */
	Skein__Meta **(*meta)(void *obj);
};
const struct kind_info *kind_info(enum kind kind);

struct view;

struct view *view_new(void);
void view_free(struct view *v);

/* Put an object (takes it over; must be of the kind's type with an id) or delete one by id.
 * Returns the object that was there, now the caller's to pb_free, or NULL. */
void *view_put(struct view *v, enum kind kind, void *obj);
void *view_del(struct view *v, enum kind kind, const char *id);

/* Borrowed until the object is replaced. NULL when there is none. */
const void *view_get(const struct view *v, enum kind kind, const char *id);
static inline const pb_cluster *view_cluster(const struct view *v) { return view_get(v, KIND_CLUSTER, "cluster"); }
static inline const pb_node *view_node(const struct view *v, const char *id) { return view_get(v, KIND_NODE, id); }
static inline const pb_service *view_service(const struct view *v, const char *id) { return view_get(v, KIND_SERVICE, id); }
static inline const pb_task *view_task(const struct view *v, const char *id) { return view_get(v, KIND_TASK, id); }
static inline const pb_token *view_token(const struct view *v, const char *id) { return view_get(v, KIND_TOKEN, id); }
static inline const pb_ui_token *view_ui_token(const struct view *v, const char *id) { return view_get(v, KIND_UI_TOKEN, id); }
static inline const pb_network *view_network(const struct view *v, const char *id) { return view_get(v, KIND_NETWORK, id); }
static inline const pb_migration *view_migration(const struct view *v, const char *id) { return view_get(v, KIND_MIGRATION, id); }
const pb_service *view_service_by_name(const struct view *v, const char *name);
const pb_network *view_network_by_name(const struct view *v, const char *name);

size_t view_count(const struct view *v, enum kind kind);
/* All objects of a kind, in no order; the view must not be changed meanwhile. */
void view_each(const struct view *v, enum kind kind, void (*cb)(void *data, const void *obj), void *data);

/*
 * Snapshots for iteration: an array of borrowed pointers, sorted by id (tasks of a service: by slot,
 * then created_at (not yet committed: last), then id). The array is the caller's (free()); *ret_n its length. Objects put or deleted while
 * it is in use stay readable only inside a transaction (txn.h keeps replaced ones).
 */
const void **view_list(const struct view *v, enum kind kind, size_t *ret_n);
const pb_task **view_tasks_of_service(const struct view *v, const char *service_id, size_t *ret_n);
const pb_task **view_tasks_of_node(const struct view *v, const char *node_id, size_t *ret_n);
/* Tasks with an attachment to the network in task.networks (ended ones included), by id. */
const pb_task **view_tasks_of_network(const struct view *v, const char *network_id, size_t *ret_n);
/* The same without a list, in no order; the view must not be changed meanwhile. */
void view_each_task_of_network(const struct view *v, const char *network_id,
			       void (*cb)(void *data, const pb_task *task), void *data);
/* Services that name the network in spec.task.networks, or have a virtual address in it; by id. Their previous spec
 * does not count. */
const pb_service **view_services_of_network(const struct view *v, const char *network_id, size_t *ret_n);
/* Tasks in a state below ASSIGNED whose desired state is at most RUNNING. */
const pb_task **view_tasks_unassigned(const struct view *v, size_t *ret_n);

/* ---- migrations */

/* It has come to one of its ends. */
static inline bool migration_over(const pb_migration *m) { return pb_migration_ended(m); }

/* All that are kept of a service, ended ones included: by slot, then created_at (not yet committed: last), then id. */
const pb_migration **view_migrations_of_service(const struct view *v, const char *service_id, size_t *ret_n);
/* Those that have not come to an end, by id. */
const pb_migration **view_migrations_active(const struct view *v, size_t *ret_n);
/* The one that has not come to an end and moves this task away (or waits to), or brings it; NULL = none. */
const pb_migration *view_migration_from(const struct view *v, const char *task_id);
const pb_migration *view_migration_to(const struct view *v, const char *task_id);
