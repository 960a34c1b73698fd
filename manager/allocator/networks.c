/* The part of a round that looks at networks. */
#include "allocator.h"

#include "keys.h"
#include "node_index.h"
#include "pools.h"
#include "predefined.h"
#include "vni.h"

#include "manager/store/plan.h"

#include "common/error.h"
#include "common/mem.h"
#include "common/str.h"

static bool lacks_vni(const pb_network *network)
{
	return !network->vni && network->spec && str_eq(network->spec->driver, "overlay");
}

static bool is_complete(const pb_network *network)
{
	return pools_complete(network) && !lacks_vni(network) && str_empty(network->err);
}

/* Everything that it lacks, or the reason why it goes on lacking it. */
static void complete(struct plan *p, struct pools **pools, pb_network *network)
{
	struct error err = ERROR_INIT;

	if (!pools_complete(network)) {
		if (!*pools)
			*pools = pools_new(p->view);
		pools_give(*pools, network, &err);
	}
	if (!error_is_set(&err) && lacks_vni(network))
		vni_next(p->view, p->rests, &network->vni, &err);
	pb_set_str(&network->err, error_is_set(&err) ? err.msg : NULL);
}

static void look_at(struct plan *p, struct pools **pools, const pb_network *network)
{
	_cleanup_pb_ pb_network *copy = NULL;

	if (!network)
		return;
	if (!is_complete(network) || keys_due(network, p->now)) {
		copy = txn_edit(p->txn, KIND_NETWORK, network->id);
		complete(p, pools, copy);
		if (keys_due(copy, p->now))
			keys_rotate(p, copy);
		if (!pb_equal(copy, network)) {
			network = copy;
			txn_put(p->txn, KIND_NETWORK, TAKE_PTR(copy));
		}
	}
	keys_wake(p, network);
}

void allocator_networks_plan(struct plan *p)
{
	_cleanup_free_ const void **networks = NULL;
	struct pools *pools = NULL;
	size_t n = 0;

	predefined_plan(p);
	node_index_plan(p);
	if (p->dirty->all || p->dirty->subnets)
		networks = view_list(p->view, KIND_NETWORK, &n);
	for (size_t i = 0; i < n; i++)
		look_at(p, &pools, networks[i]);
	for (struct idset_entry *e = p->dirty->networks.entries; e && !networks; e = e->hh.next)
		look_at(p, &pools, view_network(p->view, e->id));
	pools_free(pools);
}
