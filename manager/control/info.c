#include "health.h"
#include "internal.h"
#include "validate.h"

#include "common/clock.h"
#include "common/mem.h"
#include "manager/store/store.h"

#include <inttypes.h>

static bool is_ready(const pb_node *node)
{
	return node->status && (int)node->status->state == NODE_READY;
}

struct counts {
	uint32_t managers, managers_ready, nodes, nodes_ready, tasks_running;
};

static struct counts count(const struct view *v, const struct control_ops *ops)
{
	_cleanup_free_ const void **nodes = NULL, **tasks = NULL;
	struct counts counts = {0};
	size_t n;

	nodes = view_list(v, KIND_NODE, &n);
	counts.nodes = (uint32_t)n;
	for (size_t i = 0; i < n; i++) {
		const pb_node *node = nodes[i];

		counts.nodes_ready += is_ready(node);
		counts.managers += node->manager != NULL;
		counts.managers_ready += node->manager && ops->manager_alive(ops->data, node->id);
	}
	tasks = view_list(v, KIND_TASK, &n);
	for (size_t i = 0; i < n; i++) {
		const pb_task *task = tasks[i];

		counts.tasks_running += task->status && (int)task->status->state == TASK_RUNNING;
	}
	return counts;
}

static uint64_t desired(void *data, const void *service)
{
	const struct control *c = data;
	const pb_service *s = service;

	if (!s->spec)
		return 0;
	return s->spec->mode_case == SKEIN__SERVICE_SPEC__MODE_REPLICATED
		       ? s->spec->replicated->replicas
		       : c->ops.global_wanted(c->ops.data, control_view(c), s);
}

static void check(struct req *r, const struct counts *counts, bool embedded, struct health *health)
{
	const struct control_ops *ops = &r->c->ops;
	struct health_facts facts = {
		.connected = store_connected(r->c->store),
		.embedded = embedded,
		.has_leader = !str_empty(ops->leader_id(ops->data)),
		.managers = counts->managers,
		.managers_ready = counts->managers_ready,
		.complaint = ops->complaint(ops->data),
		.now = clock_wall_ns(),
		.desired = desired,
		.data = r->c,
	};

	health_check(control_view(r->c), &facts, health);
}

void step_get_info(struct req *r)
{
	Skein__Info info = SKEIN__INFO__INIT;
	_cleanup_strv_ struct strv endpoints = {0};
	const struct control_ops *ops = &r->c->ops;
	struct view *v = control_view(r->c);
	const pb_cluster *cluster = view_cluster(v);
	struct counts counts = count(v, ops);
	struct health health = {0};
	bool embedded = false;

	if (!cluster) {
		req_fail_with(r, ERR_UNAVAILABLE, "the cluster is not set up yet");
		return;
	}
	ops->etcd_info(ops->data, &embedded, &endpoints);
	check(r, &counts, embedded, &health);
	info.cluster_id = cluster->id;
	info.node_id = r->c->node_id;
	info.leader_id = (char *)ops->leader_id(ops->data);
	info.managers = counts.managers;
	info.nodes = counts.nodes;
	info.nodes_ready = counts.nodes_ready;
	info.services = (uint32_t)view_count(v, KIND_SERVICE);
	info.tasks_running = counts.tasks_running;
	info.spec = cluster->spec;
	info.created_at = cluster->meta ? cluster->meta->created_at : 0;
	info.warnings = health.what.v;
	info.n_warnings = health.what.n;
	info.advice = health.advice.v;
	info.n_advice = health.advice.n;
	info.etcd_embedded = embedded;
	info.etcd_endpoints = endpoints.v;
	info.n_etcd_endpoints = endpoints.n;
	req_reply(r, &info);
	health_fini(&health);
}

static void reply_empty(struct req *r)
{
	Skein__Empty response = SKEIN__EMPTY__INIT;

	req_reply(r, &response);
}

void step_update_cluster(struct req *r)
{
	const Skein__UpdateClusterRequest *request = r->msg;
	struct view *v = control_view(r->c);
	const pb_cluster *cluster = view_cluster(v);
	uint64_t revision = cluster && cluster->meta ? cluster->meta->revision : 0;
	struct error err = ERROR_INIT;
	pb_cluster *changed;
	struct txn *t;

	if (validate_cluster_spec(request->spec, &err) < 0) {
		req_fail(r, &err);
		return;
	}
	if (!cluster) {
		req_fail_with(r, ERR_UNAVAILABLE, "the cluster is not set up yet");
		return;
	}
	if (request->revision && request->revision != revision) {
		req_fail_with(r, ERR_CONFLICT,
			      "update out of sequence: the cluster is at revision %" PRIu64
			      ", the update was made from %" PRIu64 ": read it again",
			      revision, request->revision);
		return;
	}
	t = txn_begin(v);
	changed = txn_edit(t, KIND_CLUSTER, "cluster");
	pb_set_msg(&changed->spec, request->spec);
	txn_put(t, KIND_CLUSTER, changed);
	req_commit(r, t, reply_empty);
}
