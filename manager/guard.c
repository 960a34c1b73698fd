#include "guard.h"

#include "common/str.h"
#include "manager/store/view.h"

int guard_check(const struct view *view, const char *cluster_id, struct rpc_peer *peer, struct error *err)
{
	const pb_node *node;

	if (!(peer->role & (RPC_ROLE_WORKER | RPC_ROLE_MANAGER)))
		return 0;
	if (!str_eq(peer->cluster_id, cluster_id))
		return error_set(err, ERR_DENIED, "the certificate is of cluster %s, this is %s", peer->cluster_id, cluster_id);
	node = view_node(view, peer->node_id);
	if (!node)
		return error_set(err, ERR_DENIED, "node %s was removed from the cluster", peer->node_id);
	if (node->spec && (int)node->spec->role != NODE_ROLE_MANAGER)
		peer->role = RPC_ROLE_WORKER;
	return 0;
}
