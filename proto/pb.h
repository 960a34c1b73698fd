/*
 * pb - short names for the generated messages, and helpers to copy and change them.
 *
 * Messages that others may hold are `const`: pb_dup() first, then change the copy. Strings in a
 * message are heap memory (or the library's shared empty string): only the setters here assign them.
 */
#pragma once
#include "base.pb-c.h"
#include "ca.pb-c.h"
#include "control.pb-c.h"
#include "dispatcher.pb-c.h"
#include "local.pb-c.h"
#include "member.pb-c.h"
#include "migration.pb-c.h"
#include "network.pb-c.h"
#include "objects.pb-c.h"
#include "peer.pb-c.h"

#include <stdbool.h>

typedef Skein__KeyValue pb_kv;
typedef Skein__Cluster pb_cluster;
typedef Skein__ClusterSpec pb_cluster_spec;
typedef Skein__JoinToken pb_token;
typedef Skein__UiToken pb_ui_token;
typedef Skein__Node pb_node;
typedef Skein__NodeSpec pb_node_spec;
typedef Skein__NodeDescription pb_node_description;
typedef Skein__NodeStatus pb_node_status;
typedef Skein__Resources pb_resources;
typedef Skein__ImageInfo pb_image_info;
typedef Skein__Service pb_service;
typedef Skein__ServiceSpec pb_service_spec;
typedef Skein__Task pb_task;
typedef Skein__TaskSpec pb_task_spec;
typedef Skein__TaskStatus pb_task_status;
typedef Skein__ContainerSpec pb_container_spec;
typedef Skein__HealthCheck pb_health_check;
typedef Skein__TaskHealth pb_task_health;
typedef Skein__Mount pb_mount;
typedef Skein__Ulimit pb_ulimit;
typedef Skein__RestartPolicy pb_restart_policy;
typedef Skein__Placement pb_placement;
typedef Skein__UpdateConfig pb_update_config;
typedef Skein__UpdateStatus pb_update_status;
typedef Skein__LogLine pb_log_line;
typedef Skein__Event pb_event;
typedef Skein__NodeUsage pb_node_usage;
typedef Skein__TaskUsage pb_task_usage;
typedef Skein__Network pb_network;
typedef Skein__NetworkSpec pb_network_spec;
typedef Skein__IpamPool pb_ipam_pool;
typedef Skein__NetworkAttachment pb_attachment;
typedef Skein__NetworkAttachmentConfig pb_attachment_config;
typedef Skein__PortConfig pb_port;
typedef Skein__EndpointSpec pb_endpoint_spec;
typedef Skein__Endpoint pb_endpoint;
typedef Skein__VirtualIp pb_vip;
typedef Skein__NetState pb_net_state;
typedef Skein__NetNode pb_net_node;
typedef Skein__NetService pb_net_service;
typedef Skein__NetEndpoint pb_net_endpoint;
typedef Skein__Migration pb_migration;
typedef Skein__MigrationOptions pb_migration_options;
typedef Skein__MigrationReport pb_migration_report;
typedef Skein__MigrationRound pb_migration_round;
typedef Skein__MigrationOrder pb_migration_order;
typedef Skein__NetFlow pb_net_flow;
typedef Skein__NetExport pb_net_export;

/* Enumerators without the generated prefix. Macros, so that they keep the type of their enum. */
#define TASK_NEW SKEIN__TASK_STATE__TASK_NEW
#define TASK_PENDING SKEIN__TASK_STATE__TASK_PENDING
#define TASK_ASSIGNED SKEIN__TASK_STATE__TASK_ASSIGNED
#define TASK_ACCEPTED SKEIN__TASK_STATE__TASK_ACCEPTED
#define TASK_PREPARING SKEIN__TASK_STATE__TASK_PREPARING
#define TASK_READY SKEIN__TASK_STATE__TASK_READY
#define TASK_STARTING SKEIN__TASK_STATE__TASK_STARTING
#define TASK_RUNNING SKEIN__TASK_STATE__TASK_RUNNING
#define TASK_COMPLETE SKEIN__TASK_STATE__TASK_COMPLETE
#define TASK_SHUTDOWN SKEIN__TASK_STATE__TASK_SHUTDOWN
#define TASK_FAILED SKEIN__TASK_STATE__TASK_FAILED
#define TASK_REJECTED SKEIN__TASK_STATE__TASK_REJECTED
#define TASK_REMOVE SKEIN__TASK_STATE__TASK_REMOVE
#define TASK_ORPHANED SKEIN__TASK_STATE__TASK_ORPHANED

#define MIGRATION_NEW SKEIN__MIGRATION_PHASE__MIGRATION_NEW
#define MIGRATION_PREPARE SKEIN__MIGRATION_PHASE__MIGRATION_PREPARE
#define MIGRATION_COPY SKEIN__MIGRATION_PHASE__MIGRATION_COPY
#define MIGRATION_FREEZE SKEIN__MIGRATION_PHASE__MIGRATION_FREEZE
#define MIGRATION_SWITCH SKEIN__MIGRATION_PHASE__MIGRATION_SWITCH
#define MIGRATION_ABORT SKEIN__MIGRATION_PHASE__MIGRATION_ABORT
#define MIGRATION_RESUME SKEIN__MIGRATION_PHASE__MIGRATION_RESUME
#define MIGRATION_MOVED SKEIN__MIGRATION_PHASE__MIGRATION_MOVED
#define MIGRATION_CHECKED SKEIN__MIGRATION_PHASE__MIGRATION_CHECKED
#define MIGRATION_REFUSED SKEIN__MIGRATION_PHASE__MIGRATION_REFUSED
#define MIGRATION_ROLLED_BACK SKEIN__MIGRATION_PHASE__MIGRATION_ROLLED_BACK
#define MIGRATION_LOST SKEIN__MIGRATION_PHASE__MIGRATION_LOST

#define STEP_NONE SKEIN__MIGRATION_STEP__STEP_NONE
#define STEP_PREPARED SKEIN__MIGRATION_STEP__STEP_PREPARED
#define STEP_CONVERGED SKEIN__MIGRATION_STEP__STEP_CONVERGED
#define STEP_FROZEN SKEIN__MIGRATION_STEP__STEP_FROZEN
#define STEP_SENT SKEIN__MIGRATION_STEP__STEP_SENT
#define STEP_RECEIVED SKEIN__MIGRATION_STEP__STEP_RECEIVED
#define STEP_RESTORED SKEIN__MIGRATION_STEP__STEP_RESTORED
#define STEP_DISCARDED SKEIN__MIGRATION_STEP__STEP_DISCARDED
#define STEP_RESUMED SKEIN__MIGRATION_STEP__STEP_RESUMED
#define STEP_GONE SKEIN__MIGRATION_STEP__STEP_GONE

#define HEALTH_NONE SKEIN__HEALTH_STATE__HEALTH_NONE
#define HEALTH_STARTING SKEIN__HEALTH_STATE__HEALTH_STARTING
#define HEALTH_HEALTHY SKEIN__HEALTH_STATE__HEALTH_HEALTHY
#define HEALTH_UNHEALTHY SKEIN__HEALTH_STATE__HEALTH_UNHEALTHY

#define NODE_UNKNOWN SKEIN__NODE_STATE__NODE_UNKNOWN
#define NODE_DOWN SKEIN__NODE_STATE__NODE_DOWN
#define NODE_READY SKEIN__NODE_STATE__NODE_READY
#define NODE_DISCONNECTED SKEIN__NODE_STATE__NODE_DISCONNECTED

#define NODE_ROLE_WORKER SKEIN__NODE_ROLE__WORKER
#define NODE_ROLE_MANAGER SKEIN__NODE_ROLE__MANAGER

#define AVAILABILITY_ACTIVE SKEIN__AVAILABILITY__ACTIVE
#define AVAILABILITY_PAUSE SKEIN__AVAILABILITY__PAUSE
#define AVAILABILITY_DRAIN SKEIN__AVAILABILITY__DRAIN

#define RESTART_NONE SKEIN__RESTART_CONDITION__RESTART_NONE
#define RESTART_ON_FAILURE SKEIN__RESTART_CONDITION__RESTART_ON_FAILURE
#define RESTART_ANY SKEIN__RESTART_CONDITION__RESTART_ANY

#define MOUNT_BIND SKEIN__MOUNT_TYPE__MOUNT_BIND
#define MOUNT_VOLUME SKEIN__MOUNT_TYPE__MOUNT_VOLUME
#define MOUNT_TMPFS SKEIN__MOUNT_TYPE__MOUNT_TMPFS

#define IMAGE_FROM_REGISTRY SKEIN__IMAGE_ORIGIN__REGISTRY
#define IMAGE_LOADED SKEIN__IMAGE_ORIGIN__LOADED

#define ENDPOINT_VIP SKEIN__ENDPOINT_MODE__ENDPOINT_VIP
#define ENDPOINT_DNSRR SKEIN__ENDPOINT_MODE__ENDPOINT_DNSRR

#define PUBLISH_INGRESS SKEIN__PUBLISH_MODE__PUBLISH_INGRESS
#define PUBLISH_HOST SKEIN__PUBLISH_MODE__PUBLISH_HOST

/* "RUNNING", "READY", "ACTIVE", ... as generated, without the prefix. Static strings. */
const char *pb_task_state_name(int state);
const char *pb_node_state_name(int state);
const char *pb_migration_phase_name(int phase);     /* "prepare", "rolled-back" */
const char *pb_role_name(int role);                 /* "worker", "manager" */
const char *pb_availability_name(int availability); /* "active", ... */

/* ---- names that people know objects by */

#define PB_TASK_NAME_MAX 256
/* "web.1"; of a global service "web.<node id>", or with the task's id while it has no node. Into the buffer, which is returned. */
const char *pb_task_name(const pb_task *task, char buf[static PB_TASK_NAME_MAX]);
/* spec.name, else the hostname, else the id. Borrowed from the node. */
const char *pb_node_name(const pb_node *node);

/* Is it over? From then on nothing of it changes. */
static inline bool pb_migration_ended(const pb_migration *migration)
{
	return (int)migration->phase >= MIGRATION_MOVED;
}

/* ---- copies */

/* Deep copy of any message; free with pb_free. */
void *pb_dup(const void *msg);
/*
 * Deep copy with harmless strings: when they are not all what pb_unpack() takes, whatever is not printable ASCII becomes
 * '?' in the copy. What a container or a runtime printed is no reason to lose a message.
 */
void *pb_dup_clean(const void *msg);
/* Free a message and all it owns. NULL is fine. */
void pb_free(void *msg);
static inline void pb_freep(void *p)
{
	pb_free(*(void **)p);
	*(void **)p = NULL;
}
#define _cleanup_pb_ __attribute__((cleanup(pb_freep)))

/* A new message of a type on the heap, with its defaults: pb_new(&skein__task__descriptor). */
void *pb_new(const ProtobufCMessageDescriptor *type);

/* Serialised equality: same type, same bytes. NULL equals only NULL. */
bool pb_equal(const void *a, const void *b);

/* ---- strings and lists inside heap messages */

/* Assign a string field: frees the old one, copies the new; NULL means "". */
void pb_set_str(char **field, const char *value);
/* Replace a sub-message field by a copy (NULL: drop it). */
void pb_set_msg(void *field, const void *msg);
/* Append a copy to a repeated string field. */
void pb_strs_add(size_t *n, char ***list, const char *s);
/* Append a message to a repeated message field; takes it over. */
void pb_msgs_add(size_t *n, void *list, void *msg);
/* Remove (and free) entry i of a repeated message / string field; keeps the order. */
void pb_msgs_del(size_t *n, void *list, size_t i);
void pb_strs_del(size_t *n, char ***list, size_t i);

/* Labels. kv_get: NULL when absent; borrowed from the list. */
const char *pb_kv_get(pb_kv *const *list, size_t n, const char *key);
void pb_kv_set(size_t *n, pb_kv ***list, const char *key, const char *value);
bool pb_kv_del(size_t *n, pb_kv ***list, const char *key);

/* ---- checks of bytes from outside */

/*
 * Unpack and check: every string valid UTF-8 without control characters other than \t \n,
 * no trailing bytes. NULL on anything else.
 */
void *pb_unpack(const ProtobufCMessageDescriptor *type, const void *data, size_t len);

/* Swarm's defaults for whatever sub-message a service spec leaves out (heap message, changed in place). */
void pb_service_spec_defaults(pb_service_spec *spec);
