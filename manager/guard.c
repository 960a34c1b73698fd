#include "guard.h"

#include "common/str.h"
#include "manager/store/view.h"

int guard_check(const struct view *view, const char *cluster_id, const struct rpc_peer *peer, struct error *err)
{
	if (!(peer->role & (RPC_ROLE_WORKER | RPC_ROLE_MANAGER)))
		return 0;
	if (!str_eq(peer->cluster_id, cluster_id))
		return error_set(err, ERR_DENIED, "the certificate is of cluster %s, this is %s", peer->cluster_id, cluster_id);
	if (!view_node(view, peer->node_id))
		return error_set(err, ERR_DENIED, "node %s was removed from the cluster", peer->node_id);
	return 0;
}
