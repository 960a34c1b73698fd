#include "predefined.h"
#include "rests.h"

#include "vni.h"

#include "manager/store/plan.h"

#include "common/mem.h"
#include "common/str.h"

static const struct {
	const char *id, *driver;
	bool ingress;
} networks[] = {
	{"bridge", "bridge", false},
	{"host", "host", false},
	{"none", "none", false},
	{PREDEFINED_INGRESS, "overlay", true},
};

bool predefined_is_local(const char *network_id)
{
	for (size_t i = 0; i < ARRAY_SIZE(networks); i++)
		if (!networks[i].ingress && str_eq(networks[i].id, network_id))
			return true;
	return false;
}

static pb_network *make(size_t i)
{
	pb_network *n = pb_new(&skein__network__descriptor);
	pb_ipam_pool *pool;

	pb_set_str(&n->id, networks[i].id);
	n->predefined = true;
	n->spec = pb_new(&skein__network_spec__descriptor);
	pb_set_str(&n->spec->name, networks[i].id);
	pb_set_str(&n->spec->driver, networks[i].driver);
	n->spec->ingress = networks[i].ingress;
	if (!n->spec->ingress)
		return n;
	/* No gateway: each node has the address of its index. */
	n->vni = VNI_INGRESS;
	pool = pb_new(&skein__ipam_pool__descriptor);
	pb_set_str(&pool->subnet, PREDEFINED_INGRESS_SUBNET);
	pb_msgs_add(&n->n_pools, &n->pools, pool);
	return n;
}

void predefined_plan(struct plan *p)
{
	/* What the first manager writes comes first. */
	if (!view_cluster(p->view))
		return;
	for (size_t i = 0; i < ARRAY_SIZE(networks); i++) {
		if (view_network(p->view, networks[i].id) || view_network_by_name(p->view, networks[i].id))
			continue;
		txn_put(p->txn, KIND_NETWORK, make(i));
		if (networks[i].ingress && !rests_last_vni(p->rests))
			rests_set_last_vni(p->rests, VNI_INGRESS); /* nobody was before us */
	}
}
