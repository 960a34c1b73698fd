#include "nodes_rules.h"
#include "internal.h"
#include "validate.h"

#include "common/error.h"
#include "common/mem.h"
#include "common/str.h"
#include "manager/store/txn.h"
#include "manager/store/view.h"

#include <inttypes.h>

static bool wants_manager(const pb_node *node)
{
	return node->spec && (int)node->spec->role == NODE_ROLE_MANAGER;
}

static size_t other_managers(const struct view *v, const char *except)
{
	_cleanup_free_ const void **nodes = NULL;
	size_t n, managers = 0;

	nodes = view_list(v, KIND_NODE, &n);
	for (size_t i = 0; i < n; i++) {
		const pb_node *node = nodes[i];

		managers += wants_manager(node) && node->manager && !str_eq(node->id, except);
	}
	return managers;
}

void node_rules_require_managers(struct txn *t, const struct view *v, const char *except)
{
	_cleanup_free_ const void **nodes = NULL;
	size_t n;

	nodes = view_list(v, KIND_NODE, &n);
	for (size_t i = 0; i < n; i++) {
		const pb_node *node = nodes[i];

		if (wants_manager(node) && node->manager && !str_eq(node->id, except))
			txn_require(t, KIND_NODE, node->id);
	}
}

static int check_name(const struct view *v, const pb_node *node, const char *name,
		      struct error *err)
{
	_cleanup_free_ const void **nodes = NULL;
	size_t n;

	if (str_empty(name) || (node->spec && str_eq(node->spec->name, name)))
		return 0;
	nodes = view_list(v, KIND_NODE, &n);
	for (size_t i = 0; i < n; i++) {
		const pb_node *other = nodes[i];

		if (!str_eq(other->id, node->id) && other->spec && str_eq(other->spec->name, name))
			return error_set(err, ERR_EXISTS, "spec.name \"%s\" is in use by node %s",
					 name, other->id);
	}
	return 0;
}

int node_rules_update(const struct view *v, const pb_node *node,
		      const Skein__UpdateNodeRequest *request, bool member_removed,
		      struct error *err)
{
	uint64_t revision = node->meta ? node->meta->revision : 0;

	if (validate_node_spec(request->spec, err) < 0 ||
	    check_name(v, node, request->spec->name, err) < 0)
		return -1;
	/* Once it is out of etcd it has to become a worker, whatever else was changed meanwhile. */
	if (request->revision && request->revision != revision && !member_removed)
		return error_set(err, ERR_CONFLICT,
				 "update out of sequence: node %s is at revision %" PRIu64
				 ", the update was made "
				 "from %" PRIu64 ": read it again",
				 node->id, revision, request->revision);
	if (wants_manager(node) && (int)request->spec->role == NODE_ROLE_WORKER &&
	    !member_removed && other_managers(v, node->id) == 0)
		return error_set(err, ERR_PRECONDITION,
				 "node %s is the last manager: it cannot be demoted",
				 pb_node_name(node));
	return 0;
}

int node_rules_remove(const pb_node *node, bool force, struct error *err)
{
	int state = node->status ? (int)node->status->state : NODE_UNKNOWN;
	const char *name = pb_node_name(node);

	/* What its certificate says does not count: a lost manager is demoted, but never renews. */
	if (node->manager || wants_manager(node))
		return error_set(err, ERR_PRECONDITION,
				 "node %s is a manager: demote it before it is removed", name);
	if (state != NODE_DOWN && !force)
		return error_set(err, ERR_PRECONDITION,
				 "node %s is not down (%s): stop its agent, or remove it by force",
				 name, pb_node_state_name(state));
	return 0;
}
