#include "filters.h"
#include "internal.h"
#include "nodes_rules.h"
#include "redact.h"
#include "resolve.h"
#include "validate.h"

#include "common/mem.h"
#include "manager/store/store.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* ---------------------------------------------------------------- read */

static void reply_node(struct req *r)
{
	Skein__NodeResponse response = SKEIN__NODE_RESPONSE__INIT;
	const pb_node *node = view_node(control_view(r->c), r->id);

	if (!node) {
		req_fail_with(r, ERR_CONFLICT, "node %s was removed meanwhile", r->id);
		return;
	}
	response.node = (pb_node *)node;
	response.leader_id = (char *)r->c->ops.leader_id(r->c->ops.data);
	req_reply(r, &response);
}

static const pb_node *resolve(struct req *r, const char *ref)
{
	struct error err = ERROR_INIT;
	const pb_node *node = resolve_node(control_view(r->c), r->id[0] ? r->id : ref, &err);

	if (node)
		snprintf(r->id, sizeof(r->id), "%s", node->id);
	else
		req_fail(r, &err);
	return node;
}

void step_get_node(struct req *r)
{
	if (resolve(r, ((const Skein__RefRequest *)r->msg)->ref))
		reply_node(r);
}

static bool match_id(const struct view *v, const void *obj, const char *value)
{
	return str_starts(((const pb_node *)obj)->id, value);
}

static bool match_name(const struct view *v, const void *obj, const char *value)
{
	return str_starts(pb_node_name(obj), value);
}

static bool match_node_label(const struct view *v, const void *obj, const char *value)
{
	const pb_node_spec *spec = ((const pb_node *)obj)->spec;

	return spec && filters_label(spec->labels, spec->n_labels, value);
}

static bool match_engine_label(const struct view *v, const void *obj, const char *value)
{
	const pb_node_description *d = ((const pb_node *)obj)->description;

	return d && filters_label(d->engine_labels, d->n_engine_labels, value);
}

static bool match_role(const struct view *v, const void *obj, const char *value)
{
	return str_eq(pb_role_name((int)((const pb_node *)obj)->role), value);
}

static bool match_availability(const struct view *v, const void *obj, const char *value)
{
	const pb_node_spec *spec = ((const pb_node *)obj)->spec;

	return str_eq(pb_availability_name(spec ? (int)spec->availability : AVAILABILITY_ACTIVE),
		      value);
}

static bool match_state(const struct view *v, const void *obj, const char *value)
{
	const pb_node_status *status = ((const pb_node *)obj)->status;

	return strcasecmp(pb_node_state_name(status ? (int)status->state : NODE_UNKNOWN), value) ==
	       0;
}

static const struct filter_key node_filters[] = {
	{"id", match_id, NULL},
	{"name", match_name, NULL},
	{"label", match_engine_label, NULL},
	{"node.label", match_node_label, NULL},
	{"role", match_role, "worker|manager"},
	{"availability", match_availability, "active|pause|drain"},
	{"state", match_state, "unknown|down|ready|disconnected"},
	{0},
};

/* Of many nodes the images are what makes the answer large; `node inspect` has them. */
static pb_node *without_images(struct redact *redact, const pb_node *node)
{
	struct {
		pb_node node;
		pb_node_description description;
	} *copy = redact_alloc(redact, sizeof(*copy));

	copy->node = *node;
	if (!node->description)
		return &copy->node;
	copy->description = *node->description;
	copy->description.n_images = 0;
	copy->description.images = NULL;
	copy->node.description = &copy->description;
	return &copy->node;
}

void step_list_nodes(struct req *r)
{
	const Skein__ListRequest *request = r->msg;
	Skein__ListNodesResponse response = SKEIN__LIST_NODES_RESPONSE__INIT;
	_cleanup_redact_ struct redact redact = {0};
	_cleanup_free_ const void **nodes = NULL;
	struct view *v = control_view(r->c);
	struct error err = ERROR_INIT;
	size_t n;

	if (filters_check(node_filters, request->filters, request->n_filters, &err) < 0) {
		req_fail(r, &err);
		return;
	}
	nodes = view_list(v, KIND_NODE, &n);
	response.nodes = redact_alloc(&redact, n * sizeof(*response.nodes));
	for (size_t i = 0; i < n; i++)
		if (filters_pass(node_filters, request->filters, request->n_filters, v, nodes[i]))
			response.nodes[response.n_nodes++] = without_images(&redact, nodes[i]);
	response.leader_id = (char *)r->c->ops.leader_id(r->c->ops.data);
	req_reply_bounded(r, &response.base, "nodes");
}

/* ---------------------------------------------------------------- update, promote, demote */

static void commit_spec(struct req *r, const pb_node_spec *spec)
{
	struct view *v = control_view(r->c);
	struct txn *t = txn_begin(v);
	pb_node *node = txn_edit(t, KIND_NODE, r->id);

	pb_set_msg(&node->spec, spec);
	/* It is no member of the managers' etcd any more: agents must not be sent there. */
	if ((int)spec->role == NODE_ROLE_WORKER)
		pb_set_msg(&node->manager, NULL);
	txn_put(t, KIND_NODE, node);
	/* Two demotions at once must not both see the other as the manager that remains. */
	if ((int)spec->role == NODE_ROLE_WORKER)
		node_rules_require_managers(t, v, r->id);
	req_commit(r, t, reply_node);
}

static void on_member_removed(void *data, const struct error *err)
{
	struct req *r = data;

	if (err) {
		req_fail(r, err);
		return;
	}
	/* Behind this point the node must not stay a manager: the write is repeated through changes
	 * of endpoint. */
	r->member_done = true;
	r->retry_unavailable = true;
	r->step(r);
}

void step_update_node(struct req *r)
{
	const Skein__UpdateNodeRequest *request = r->msg;
	const pb_node *node = resolve(r, request->ref);
	struct error err = ERROR_INIT;
	bool demotes;

	if (!node)
		return;
	if (node_rules_update(control_view(r->c), node, request, r->member_done, &err) < 0) {
		req_fail(r, &err);
		return;
	}
	demotes = node->manager && (int)request->spec->role == NODE_ROLE_WORKER;
	if (demotes && !r->member_done)
		r->c->ops.remove_member(r->c->ops.data, r->id, on_member_removed, r);
	else
		commit_spec(r, request->spec);
}

/* ---------------------------------------------------------------- remove */

static void reply_empty(struct req *r)
{
	Skein__Empty response = SKEIN__EMPTY__INIT;

	req_reply(r, &response);
}

void step_remove_node(struct req *r)
{
	const Skein__RemoveNodeRequest *request = r->msg;
	const pb_node *node = resolve(r, request->ref);
	struct error err = ERROR_INIT;
	struct txn *t;

	if (!node)
		return;
	if (node_rules_remove(node, request->force, &err) < 0) {
		req_fail(r, &err);
		return;
	}
	t = txn_begin(control_view(r->c));
	txn_del(t, KIND_NODE, r->id);
	req_commit(r, t, reply_empty);
}
