#include "internal.h"
#include "validate.h"

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

static void add_warnings(struct req *r, const struct counts *counts, bool embedded)
{
	uint32_t quorum = counts->managers / 2 + 1;

	if (!store_connected(r->c->store))
		req_warn(r, "etcd is not reachable from this manager: what it shows may be old, "
			    "and nothing can change");
	if (embedded && counts->managers_ready < quorum)
		req_warn(r,
			 "the managers have lost their quorum: %" PRIu32 " of %" PRIu32
			 " are healthy, %" PRIu32 " are needed; containers go on, but nothing can change",
			 counts->managers_ready, counts->managers, quorum);
	else if (embedded && counts->managers == 2)
		req_warn(r, "2 managers: losing either one loses the quorum; a third one would "
			    "make it safe");
	else if (embedded && counts->managers > 2 && counts->managers_ready <= quorum)
		req_warn(r,
			 "%" PRIu32 " of %" PRIu32
			 " managers are healthy: the quorum is lost when one more manager fails",
			 counts->managers_ready, counts->managers);
	else if (embedded && counts->managers > 2 && counts->managers % 2 == 0)
		req_warn(r,
			 "%" PRIu32
			 " managers: an even number tolerates no more failures than one less",
			 counts->managers);
	if (counts->nodes > counts->nodes_ready)
		req_warn(r, "%" PRIu32 " of %" PRIu32 " nodes are not ready",
			 counts->nodes - counts->nodes_ready, counts->nodes);
}

void step_get_info(struct req *r)
{
	Skein__Info info = SKEIN__INFO__INIT;
	_cleanup_strv_ struct strv endpoints = {0};
	const struct control_ops *ops = &r->c->ops;
	struct view *v = control_view(r->c);
	const pb_cluster *cluster = view_cluster(v);
	struct counts counts = count(v, ops);
	bool embedded = false;

	if (!cluster) {
		req_fail_with(r, ERR_UNAVAILABLE, "the cluster is not set up yet");
		return;
	}
	ops->etcd_info(ops->data, &embedded, &endpoints);
	add_warnings(r, &counts, embedded);
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
	info.warnings = r->warnings.v;
	info.n_warnings = r->warnings.n;
	info.etcd_embedded = embedded;
	info.etcd_endpoints = endpoints.v;
	info.n_etcd_endpoints = endpoints.n;
	req_reply(r, &info);
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
		req_fail_with(r, ERR_PRECONDITION,
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
